"""KLAdaptiveCallback: the rate of the robotics libraries, which rises where updates move the policy too little."""

import math
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from rl_abel._validation import check_number, known_arguments
from rl_abel.callbacks.base import as_given
from rl_abel.callbacks.leading import LeadingCallback
from rl_abel.learning_rate.multiplied_schedule import described, unscaled
from rl_abel.networks.jax_models import is_jax
from rl_abel.rules.kl import LOWEST, MANY, KLRule, KLState, Update, told
from rl_abel.training.measure_interval import steps_of_epoch
from rl_abel.training.measurement import DuringUpdate
from rl_abel.training.state import DOUBTFUL, goes_on, look, section

# Algorithms that log the KL divergence of steps made at the learning rate. TRPO's steps are a line search's.
ALGORITHMS = ("PPO", "MaskablePPO", "RecurrentPPO")
KL = "train/approx_kl"

_UNTOLD = f"{MANY} updates in a row did not tell whether the learning rate moves the policy enough, as"
_AT_BOUND = f"the learning rate has come to {{rate:g}} and goes no further, while {MANY} updates in a row moved"
# What a user is told where the rule says so
MESSAGES = {
    "cut": f"{_UNTOLD} target_kl ends them. It stays at {{rate:g}} until one does",
    "untold": f"{_UNTOLD} {KL} is no measure of it there: 0, not finite, or of one step. "
    "It stays at {rate:g} until one does",
    "unmoved": "the KL divergence of updates was {first[1]:.2g} at a learning rate of {first[0]:.2g}, and is "
    "{last[1]:.2g} at {last[0]:.2g}: something else makes it (dropout, batch normalisation, a policy that is frozen). "
    "So it leads no more, and the rate is the model's own again. Take AbelCallback alone",
    "min_learning_rate": f"{_AT_BOUND} the policy too far. Give another min_learning_rate, or another target_kl",
    "max_learning_rate": f"{_AT_BOUND} the policy too little. Give another max_learning_rate, or another target_kl",
}


def has_kl(model: BaseAlgorithm) -> bool:
    """Whether the model is of an algorithm that logs an approximate KL divergence, or derived from one."""
    return any(kind.__name__ in ALGORITHMS for kind in type(model).__mro__)


class KLAdaptiveCallback(LeadingCallback):
    """Raise the learning rate where updates move the policy too little, and lower it where they move it too far.

    The rule of rsl_rl, skrl and rl_games. After each update it takes the approximate KL divergence between the
    policies before and after, which PPO, MaskablePPO and RecurrentPPO log as ``train/approx_kl`` (the mean over the
    update's last epoch; in SBX's PPO over all epochs).

    The rate begins at the user's own, the first of a schedule. The rate that was found is kept with the model, until
    a reset or another ``learning_rate``. Beside :class:`AbelCallback` it cannot rise once the final decay is in force.

    If the model has a ``target_kl`` of its own, the smaller of the two targets counts, and an update that SB3 ends
    early can lower the rate and not raise it. If the KL divergence stays the same at any rate, as with dropout in the
    policy, the rate is the user's again.

    >>> from stable_baselines3 import PPO
    >>> callback = KLAdaptiveCallback()
    >>> _ = PPO("MlpPolicy", "CartPole-v1", n_steps=64, learning_rate=1e-5).learn(640, callback=callback)
    >>> callback.factor > 1
    True

    :param target_kl: KL divergence of an update after which the rate is left as it is
    :param step: above 1. The rate is divided by it after an update with a KL divergence above twice the target, and
        multiplied by it after one below half of the target
    :param min_learning_rate: smallest rate that is applied, whatever lowers it: the KL divergence or any decay. It
        never raises the user's own. None is 1e-5 for the KL divergence, and no bound for the decays
    :param max_learning_rate: largest rate, before the multipliers of :class:`RateByPart`
    :param verbose: 1 prints at the end where the rate has gone, 2 each change
    :raises ValueError: for an argument out of its range; when a training begins, for an algorithm without a KL
    """

    BY = "the KL divergence"

    @known_arguments
    def __init__(
        self,
        target_kl: float = 0.01,
        step: float = 1.5,
        min_learning_rate: float | None = None,
        max_learning_rate: float = 1e-2,
        *,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.target_kl = check_number("target_kl", target_kl, above=0)
        self.step = check_number("step", step, above=1)
        # The default bounds the KL divergence alone, not the decays.
        self._floor = 0.0 if min_learning_rate is None else check_number("min_learning_rate", min_learning_rate, 0)
        self.min_learning_rate = LOWEST if min_learning_rate is None else self._floor
        self.max_learning_rate = check_number("max_learning_rate", max_learning_rate, above=self.min_learning_rate)
        self._during = DuringUpdate()

    def _init_callback(self) -> None:
        super()._init_callback()
        name, given = type(self.model).__name__, type(as_given(self)).__name__
        if not has_kl(self.model):
            needs = f"an algorithm that logs an approximate KL divergence, one of {list(ALGORITHMS)}"
            raise ValueError(f"{given} needs {needs}, got {name}")
        if is_jax(self.model) and self._own_target is not None:
            raise ValueError(
                "PPO of SBX with a target_kl adapts its learning rate to the KL divergence by itself: leave out "
                f"target_kl, or take AbelCallback in place of {given}"
            )

    def _begin(self) -> None:
        self._recall()
        # Of this learn() alone, as are the rates that its updates ran at.
        self._state = KLState()
        self._rates: list[float] = []
        self._during.disarm()
        self._apply()

    def _before_update(self) -> None:
        self._made, self._whole = 0, 1
        if self._own_target is not None:
            self._during.follow(self.model, self._count)

    def _count(self, made: int) -> None:
        """Note the optimizer steps that were made, and those of a whole update, whose batch a decay may have grown."""
        model: Any = self.model
        self._made, self._whole = made, int(model.n_epochs * steps_of_epoch(model))

    def _after_update(self) -> None:
        updates, asked = self._memory["seen"][1], self._rate.asked
        self._memory["seen"] = look(self.model, "kl")
        if self._state.leads and self._memory["seen"][1] != updates and asked is not None and self._leads_from(asked):
            self._decide(self._measure())
        self._during.disarm()
        self._apply()

    def _recall(self) -> None:
        """Take up the rate that was found, if the model is still in the same training, with the same schedule."""
        memory = self._memory = section(self.model, "kl")
        schedule = described(unscaled(self.model.lr_schedule))
        on = memory.get("of") == schedule and goes_on(self.model, "kl", memory["seen"])
        if on is False:
            memory.clear()
            memory.update(of=schedule, rate=None, asked=None)
        elif on is None:
            self._rate.warn_once("doubtful", DOUBTFUL)
        memory["seen"] = look(self.model, "kl")

    def _leads_from(self, asked: float) -> bool:
        """Begin at the user's rate, and return whether it can: not from 0. A rate that changed since counts no more."""
        memory = self._memory
        self._ask(asked)
        if memory["rate"] is None and asked > 0:
            memory["rate"] = first = min(asked, self.max_learning_rate)
            if asked > first:
                self._warn("max", f"the learning rate begins at {first:g}, the max_learning_rate, not at {asked:g}")
        return bool(memory["rate"])

    def _measure(self) -> Update:
        # It stays in the logger until the next dump.
        logged = self.logger.name_to_value.get(KL)
        if logged is None:
            self._warn("no kl", f"{type(self.model).__name__} logs no {KL} in an update, so the rate stays as it is")
        if self._during.handle is None:
            self._count(0)
            return told(logged, self._whole, self._whole, None)
        return told(logged, self._made, self._whole, self._own_target)

    def _decide(self, update: Update) -> None:
        rate, target_kl = self._memory["rate"], min(self.target_kl, self._own_target or math.inf)
        rule = KLRule(target_kl, self.step, self.min_learning_rate, self.max_learning_rate)
        self._rates.append(rate)
        self._state, adapted, said = rule.observe(self._state, rate, update, may_rise=not self._rate.is_final)
        if said:
            first, last = (self._state.streak or [(rate, update.kl)])[0], (rate, update.kl)
            self._warn(said, MESSAGES[said].format(rate=rate, first=first, last=last))
        if adapted != rate and self.verbose >= 2:
            self._say(f"timestep {self.model.num_timesteps}: KL {update.kl:.2g}; learning rate {rate:g} -> {adapted:g}")
        self._memory["rate"] = adapted if self._state.leads else None

    def _end(self) -> None:
        if self._rates:
            first, last = self._rates[0], self._memory["rate"] or self._memory["asked"]
            low, high = min(*self._rates, last), max(*self._rates, last)
            led = f"from {first:.2g} to {last:.2g}, between {low:.2g} and {high:.2g}"
            self._say(f"the KL divergence of the updates has led the learning rate {led}")

    def _apply(self) -> None:
        self._factor.rate, self._factor.floor = self._memory["rate"], self._floor
        self._factor.high = self.max_learning_rate if self._state.leads else math.inf
        self.logger.record("abel/kl_factor", self.factor)

    @property
    def _own_target(self) -> float | None:
        """The ``target_kl`` at which the model ends an update, None if it has none."""
        return getattr(self.model, "target_kl", None)
