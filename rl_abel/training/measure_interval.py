"""How many measurements fit into a training, and what that means for the rule."""

import math
from typing import NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from rl_abel.networks.jax_models import is_jax
from rl_abel.rules.bounce import Rule, TrendRule
from rl_abel.rules.budget import Budget

MEASUREMENTS = 100  # a training by default: the rule is calibrated on as many, and more of them see more noise
# With fewer the rule finds clearly fewer bounces: of 20 in the control's traces 19 on 128 measurements, 4 on 64
FEW = 80
TRIAL = 1000  # timesteps; who trains for fewer wants to see that it runs


class Notice(NamedTuple):
    """What a user is told."""

    message: str  # in words, and what to do
    warning: str = ""  # name of a warning, which is given once; empty for a line that verbose prints


def default_interval(model: BaseAlgorithm, budget: Budget) -> float:
    """Timesteps between measurements: about :data:`MEASUREMENTS` in what is left of the budget.

    It is some whole rollouts, or a part of one where rollouts are few: then epochs within an update are measured too.
    Without a budget every rollout is measured, and the trace thins itself.
    """
    rollout, left = rollout_timesteps(model), _left(model, budget)
    rollouts = 1.0 if left is None else left / MEASUREMENTS / rollout
    if rollouts >= 1:
        return rollout * round(rollouts)
    return rollout / min(_epochs(model), max(1, round(1 / rollouts) if rollouts else 1))


def within_update(model: BaseAlgorithm, interval: float) -> list[int]:
    """Optimizer steps of one update after which weights are measured, its last one apart.

    They are ends of epochs, at about equal distances. There are none where a rollout is no longer than the interval.
    """
    rollout, epochs = rollout_timesteps(model), _epochs(model)
    number = min(epochs, max(1, round(rollout / interval)))
    return [round(epochs * index / number) * steps_of_epoch(model) for index in range(1, number)]


def steps_of_epoch(model: BaseAlgorithm) -> int:
    """Optimizer steps of one pass over a rollout, at the batch size that there is now."""
    rollout = rollout_timesteps(model)
    # None is the whole rollout.
    return math.ceil(rollout / (getattr(model, "batch_size", None) or rollout))


def distance(model: BaseAlgorithm, interval: float, within: bool) -> float:
    """Timesteps from one measurement to the next; only those within an update may be closer than rollouts."""
    rollout = rollout_timesteps(model)
    return interval if within and interval < rollout else math.ceil(interval / rollout) * rollout


def expected_measurements(model: BaseAlgorithm, budget: Budget, made: int, every: float) -> int | None:
    """Measurements that the training will have made at its end, None where no budget is known."""
    left = _left(model, budget)
    return None if left is None else made + int(left / every)


def too_few_measurements(
    model: BaseAlgorithm, expected: int, rule: Rule, every: float, weight_decay: float
) -> Notice | None:
    """Tell where the rule can never decide, or will miss most bounces; None where it is at home.

    Without weight decay no bounce is expected, so there that is no warning.
    """
    needed = getattr(rule, "min_measurements", 0)
    if expected * every < TRIAL or expected >= (max(needed, FEW) if isinstance(rule, TrendRule) else needed):
        return None
    rollout = rollout_timesteps(model)
    mend = "Use shorter rollouts, or train longer" if rollout > 1 else "Train longer"
    mend = "Set a smaller measure_every" if every > rollout else mend
    means = f"the rule is calibrated on {MEASUREMENTS}: it will miss bounces, most of them where half as many fit"
    if expected < needed:
        means = f"the rule needs {needed} before it can see a bounce: as it is, no bounce can decay the rate"
    fit = "measurement of the weight norm fits" if expected == 1 else "measurements of the weight norm fit"
    return Notice(
        f"about {expected} {fit} into this training, one every {every:.0f} timesteps, and {means}. {mend}, or set "
        "max_decays=0 if you want the final decay alone.",
        "few measurements" if expected < needed or weight_decay > 0 else "",
    )


def rollout_timesteps(model: BaseAlgorithm) -> int:
    """Timesteps of a rollout where that is known beforehand, else 1."""
    return known_rollout(model) or 1


def known_rollout(model: BaseAlgorithm) -> int | None:
    """Timesteps of a rollout, None where that is not known beforehand: it may last for an episode."""
    if isinstance(model, OnPolicyAlgorithm):
        return int(model.n_steps * model.n_envs)
    frequency = getattr(model, "train_freq", None) if isinstance(model, OffPolicyAlgorithm) else None
    if isinstance(frequency, TrainFreq) and frequency.unit == TrainFrequencyUnit.STEP:
        return int(frequency.frequency * model.n_envs)
    return None


def _epochs(model: BaseAlgorithm) -> int:
    """Passes over a rollout in an update, where the optimizer is known to make them and can be followed."""
    followed = isinstance(model, OnPolicyAlgorithm) and not is_jax(model)
    epochs = getattr(model, "n_epochs", 1) if followed else 1
    return epochs if isinstance(epochs, int) and epochs > 0 else 1


def _left(model: BaseAlgorithm, budget: Budget) -> int | None:
    """Timesteps of the budget in which SB3 trains."""
    return budget.left(max(model.num_timesteps, getattr(model, "learning_starts", 0)))
