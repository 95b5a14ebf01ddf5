"""BudgetRateCallback: a learning rate that follows from the number of optimizer steps in the training."""

from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from rl_abel._validation import check_number, known_arguments
from rl_abel.callbacks.base import as_given
from rl_abel.callbacks.leading import LeadingCallback
from rl_abel.networks.jax_models import is_jax
from rl_abel.networks.optimizers import optimizers
from rl_abel.rules.budget import MANY_STEPS, SCALE, budget_rate
from rl_abel.training.optimizer_steps import steps_made, steps_to_come
from rl_abel.training.state import budget_of, clock, section

# Whose steps are about as long as the rate, whatever the gradient
ADAPTIVE = (
    *(torch.optim.Adam, torch.optim.AdamW, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.RMSprop, RMSpropTFLike),
)
FACTOR = "abel/budget_factor"
# For which the rule was tried, and held: docs/results/automatic.md
ALGORITHMS = ("SAC", "TD3", "DDPG", "TQC", "CrossQ", "DQN", "QRDQN")

# What a user is told where the rule cannot be had, or goes where it was never tried
OWN = "the learning rate stays your own: it would follow from the number of optimizer steps, and "
NO_BUDGET = OWN + "learn() has no budget. Give it the timesteps that you expect"
EPISODES = (
    OWN + "with train_freq={freq} and gradient_steps={steps} that is not known beforehand. Count train_freq in steps, "
    "or set gradient_steps=-1"
)
UNKNOWN = OWN + "how many {name} makes is not known beforehand"
NONE_TO_COME = OWN + "none fits into this budget"
LONG = (
    "the budget has {steps:,} optimizer steps, so the learning rate is {rate:.2g}. So many were never tried. If you "
    "stop the training earlier, give learn() the timesteps that you expect"
)
OTHER = (
    "the training made {made:,} optimizer steps and not the {steps:,} from which the learning rate of {rate:.2g} was "
    "taken. For so many it would have been {other:.2g}"
)
NOT_ADAM = "the learning rate from the budget was chosen with Adam, and {kind} is another. Give it a scale of its own"


def has_tried_steps(model: BaseAlgorithm) -> bool:
    """Whether the rule was tried on a model's algorithm, or the one that it derives from, and on its optimizers."""
    kinds = {kind.__name__ for kind in type(model).__mro__}
    return not kinds.isdisjoint(ALGORITHMS) and all(isinstance(one, ADAPTIVE) for one in optimizers(model))


class BudgetRateCallback(LeadingCallback):
    """Set the learning rate of all networks to scale / sqrt(optimizer steps of the training).

    For off-policy algorithms: docs/results/automatic.md has what was measured. The rule that was measured also
    falls to 0 over the last fifth, as in :class:`AutoLearningRate`: put
    ``AbelCallback(max_decays=0, final_decay_at=0.8, final_decay_shape="linear")`` beside it. The steps are those that
    the model has made in its life, and those that fit into the budget of ``learn()``. So a training that is resumed
    keeps its rate.

    The user's rate and schedule count no more, but for what is not in the policy: the temperature of SAC and its kin
    keeps the user's rate. Without a budget all do, with a warning. Multiplied by :class:`AbelCallback` and
    :class:`RateByPart`.

    >>> from stable_baselines3 import DQN
    >>> callback = BudgetRateCallback()
    >>> model = DQN("MlpPolicy", "CartPole-v1", learning_rate=1e-6, learning_starts=100, train_freq=1)
    >>> _ = model.learn(1000, callback=callback)
    >>> callback.steps, round(callback.rate, 4)
    (900, 0.01)

    :param scale: of the rate; 0.3 was chosen with Adam
    :param max_learning_rate: largest rate, before the multipliers of :class:`RateByPart`
    :param verbose: 1 prints the rate and the number of steps
    :raises ValueError: for an argument out of its range; when a training begins, for an algorithm without an optimizer
    """

    BY = "the number of optimizer steps"

    @known_arguments
    def __init__(self, scale: float = SCALE, max_learning_rate: float = 1e-2, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.scale = check_number("scale", scale, above=0)
        self.max_learning_rate = check_number("max_learning_rate", max_learning_rate, above=0)

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the model's whole life, as foretold at the start, None where they cannot be."""
        return self._memory.get("steps")

    @property
    def rate(self) -> float | None:
        """The learning rate that follows from them, before any decay; None where it is the user's own."""
        return self._memory.get("rate")

    def _init_callback(self) -> None:
        super()._init_callback()
        found = optimizers(self.model)
        if not found and not is_jax(self.model):
            name = type(self.model).__name__
            raise ValueError(f"{type(as_given(self)).__name__} sets the rate of optimizers, and {name} has none")
        others = [type(one).__name__ for one in found if not isinstance(one, ADAPTIVE)]
        if others and self.scale == SCALE:
            self._warn("not Adam", NOT_ADAM.format(kind=others[0]))

    def _begin(self) -> None:
        self._memory = section(self.model, "budget")
        self._memory.update(self._foretold(), asked=None, seen=[*clock(self.model)])
        self._factor.rate, self._factor.within = self.rate, True
        self._record()

    def _foretold(self) -> dict[str, float | None]:
        budget, made = budget_of(self.model), steps_made(self.model)
        to_come = steps_to_come(self.model, budget)
        if not to_come:
            self._warn("not known", self._why_not(to_come, budget.end))
            return {"steps": None, "rate": None}
        self._before, steps = made, made + to_come
        rate = budget_rate(steps, self.scale, self.max_learning_rate)
        self._say(f"the learning rate is {rate:.2g}, from {steps:,} optimizer steps")
        if steps > MANY_STEPS:
            self._warn("long", LONG.format(steps=steps, rate=rate))
        return {"steps": steps, "rate": rate}

    def _why_not(self, to_come: int | None, end: int | None) -> str:
        if end is None:
            return NO_BUDGET
        if to_come is None and isinstance(self.model, OffPolicyAlgorithm):
            freq: Any = self.model.train_freq
            return EPISODES.format(freq=(freq.frequency, "episode"), steps=self.model.gradient_steps)
        return UNKNOWN.format(name=type(self.model).__name__) if to_come is None else NONE_TO_COME

    def _after_update(self) -> None:
        self._memory["seen"] = [*clock(self.model)]
        asked = self._rate.asked
        if asked is not None and asked != self._memory["asked"]:
            self._ask(asked)
            self._record()
        self._at_step()

    def _at_step(self) -> None:
        # Off-policy a dump, which empties the logger, comes at any step.
        if FACTOR not in self.logger.name_to_value:
            self._record()

    def _record(self) -> None:
        self.logger.record(FACTOR, self.factor)

    def _end(self) -> None:
        made, steps, rate = steps_made(self.model), self.steps, self.rate
        left = budget_of(self.model).left(self.model.num_timesteps)
        # An algorithm of the user's own may count no updates.
        if steps and rate and left == 0 and made != self._before and not steps / 2 < made < 2 * steps:
            other = budget_rate(made, self.scale, self.max_learning_rate)
            self._warn("other", OTHER.format(made=made, steps=steps, rate=rate, other=other))
