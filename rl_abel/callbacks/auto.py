"""AutoLearningRate: what is recommended for the algorithm at hand, in one line."""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from rl_abel._validation import known_arguments
from rl_abel.callbacks.abel import AbelCallback
from rl_abel.callbacks.base import Portable
from rl_abel.callbacks.budget_rate import BudgetRateCallback, has_tried_steps
from rl_abel.callbacks.kl_adaptive import KLAdaptiveCallback, has_kl
from rl_abel.callbacks.settings import settings_in
from rl_abel.rules.bounce import Rule
from rl_abel.rules.decays import Decay

# What "auto" stands for; with the rate of BudgetRateCallback what was tried with it: docs/results/automatic.md
FINAL_DECAY = {"final_decay_at": 0.85, "final_decay_shape": "step"}
COOLDOWN = {"final_decay_at": 0.8, "final_decay_shape": "linear"}


class AutoLearningRate(Portable, CallbackList):
    """Decide the learning rate of any algorithm.

    Where updates have a KL divergence (PPO, MaskablePPO, RecurrentPPO) the rate adapts to it, and decays once near the
    end: :class:`KLAdaptiveCallback` beside :class:`AbelCallback`. For off-policy algorithms (SAC, TD3, DDPG, TQC,
    CrossQ, DQN, QRDQN) with Adam it follows from the number of optimizer steps, and falls to 0 over the last fifth:
    :class:`BudgetRateCallback` beside :class:`AbelCallback`. Elsewhere it is the model's own rate, with the decay near
    the end. Each argument is that of one of these. All have to be named.

    >>> from stable_baselines3 import PPO
    >>> callback = AutoLearningRate()
    >>> _ = PPO("MlpPolicy", "CartPole-v1", n_steps=64).learn(640, callback=callback)
    >>> callback.decays
    [Decay(timestep=576, cause='final', factor=0.1)]

    :param decay_factor: in (0, 1). Each decay multiplies the learning rate by it
    :param final_decay_at: progress in (0, 1) at which the rate decays once, whatever the norm did. "auto" is 0.8 where
        the rate follows from the number of optimizer steps, and 0.85 elsewhere. None turns it off
    :param final_decay_shape: as in :class:`AbelCallback`. "auto" is "linear" where the rate follows from the number of
        optimizer steps, and "step" elsewhere
    :param verbose: 1 prints what was taken, and what is decided; 2 each change by the KL divergence too
    :param min_learning_rate: smallest rate that is applied, whatever lowers it: the KL divergence or any decay. It
        never raises the user's own. None is 1e-5 for the KL divergence, and no bound for the decays
    :param target_kl: KL divergence of an update after which the rate is left as it is
    :param step: as in :class:`KLAdaptiveCallback`
    :param max_learning_rate: largest rate, before the multipliers of :class:`RateByPart`
    :param max_decays: most decays after a bounce of the weight norm: 0, as in RL these have not been shown to help
        (docs/results/evidence.md), or None for any number, as in the paper. With 0 bounces are counted all the same
    :param rule: as in :class:`AbelCallback`
    :param watch: as in :class:`AbelCallback`
    :param scope: as in :class:`AbelCallback`; "part" needs ``max_decays``
    :param acts_on: as in :class:`AbelCallback`
    :param max_batch_size: largest batch, for a memory that is small
    :param measure_every: as in :class:`AbelCallback`
    :param diagnose: as in :class:`AbelCallback`
    :raises TypeError: for an argument that there is not, with the right one where it can be guessed
    :raises ValueError: for a value out of its range, when it is made; when a training begins, for an argument about
        the KL divergence where there is none, and whatever the two callbacks refuse
    """

    @known_arguments
    def __init__(
        self,
        *,
        decay_factor: float = 0.1,
        final_decay_at: float | str | None = "auto",
        final_decay_shape: str = "auto",
        verbose: int = 0,
        min_learning_rate: float | None = None,
        target_kl: float = 0.01,
        step: float = 1.5,
        max_learning_rate: float = 1e-2,
        max_decays: int | None = 0,
        rule: str | Rule = "trend",
        watch: str | None = None,
        scope: str = "model",
        acts_on: str = "learning_rate",
        max_batch_size: int | None = None,
        measure_every: int | None = None,
        diagnose: bool = False,
    ) -> None:
        given = settings_in(locals())
        self._auto = [name for name in FINAL_DECAY if given[name] == "auto"]
        given.update({name: FINAL_DECAY[name] for name in self._auto})
        super().__init__([])
        # Made here, where the user calls: whatever is wrong with an argument is said at this line.
        self._kl = KLAdaptiveCallback(target_kl, step, min_learning_rate, max_learning_rate, verbose=verbose)
        self._budget = BudgetRateCallback(max_learning_rate=max_learning_rate, verbose=verbose)
        given["min_learning_rate"] = 0.0 if min_learning_rate is None else min_learning_rate
        self.abel = AbelCallback(**given, verbose=verbose)
        self.verbose = self.abel.verbose

    @property
    def kl(self) -> KLAdaptiveCallback | None:
        """The callback that adapts to the KL divergence, None where there is none."""
        return self._kl if self._kl in self.callbacks else None

    @property
    def budget(self) -> BudgetRateCallback | None:
        """The callback that sets the rate from the number of optimizer steps, None where it does not."""
        return self._budget if self._budget in self.callbacks else None

    @property
    def factor(self) -> float:
        """What the user's rate is multiplied by: product of the decays, and of what sets or adapts the rate."""
        lead = self.kl or self.budget
        return self.abel.factor * (lead.factor if lead else 1.0)

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, each with its timestep, cause ("bounce" or "final") and factor."""
        return self.abel.decays

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements of the weight norm so far: ``timesteps`` and |w|^2 by part."""
        return self.abel.trace

    def _init_callback(self) -> None:
        lead = self._kl if has_kl(self.model) else self._budget if has_tried_steps(self.model) else None
        self._refuse_what_nothing_uses(lead)
        for name in self._auto:
            setattr(self.abel, name, (COOLDOWN if lead is self._budget else FINAL_DECAY)[name])
        self.callbacks = [self.abel] if lead is None else [lead, self.abel]
        for callback in self.callbacks:
            # Whose errors speak of what the user wrote.
            callback.parent = self
            callback.init_callback(self.model)

    def _refuse_what_nothing_uses(self, lead: BaseCallback | None) -> None:
        name, given = type(self.model).__name__, getattr(self, "_given", ())
        for argument in ("target_kl", "step"):
            if argument in given and lead is not self._kl:
                value = getattr(self._kl, argument)
                raise ValueError(f"{argument}={value!r}: {name} has no KL divergence to adapt to")
        if "max_learning_rate" in given and lead is None:
            raise ValueError(f"max_learning_rate={self._kl.max_learning_rate!r}: nothing raises the rate of {name}")

    def _on_training_start(self) -> None:
        if self.verbose >= 1:
            whose = "is your own"
            if self.kl:
                whose = f"adapts to the KL divergence of each update (target {self.kl.target_kl:g})"
            elif self.budget:
                whose = "follows from the number of optimizer steps"
            bounces = ", and decays after a bounce of the weight norm" if self.abel.max_decays != 0 else ""
            print(f"abel: the learning rate of {type(self.model).__name__} {whose}{bounces}")
        super()._on_training_start()
