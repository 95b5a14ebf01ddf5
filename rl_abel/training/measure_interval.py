"""When the weights of a training are measured."""

import math

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from rl_abel.networks.jax_models import is_jax
from rl_abel.rules.decays import Budget

MEASUREMENTS = 100  # a training by default: the rule is calibrated on as many, and more of them see more noise


def default_interval(model: BaseAlgorithm, budget: Budget) -> float:
    """Timesteps between measurements: about :data:`MEASUREMENTS` in what is left of the budget.

    It is some whole rollouts, or a part of one where rollouts are few: then epochs within an update are measured too.
    Without a budget every rollout is measured, and the trace thins itself.
    """
    rollout, left = rollout_timesteps(model), left_to_train(model, budget)
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


def left_to_train(model: BaseAlgorithm, budget: Budget) -> int | None:
    """Timesteps of the budget in which SB3 trains."""
    return budget.left(max(model.num_timesteps, getattr(model, "learning_starts", 0)))
