"""How far a training has come, and how many measurements fit into it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

MEASUREMENTS = 100
"""Measurements a run by default: the rule is calibrated on as many (more of them see more noise)."""


def progress(model: BaseAlgorithm) -> float:
    """Share of the budget that is used up; SB3's own is one rollout stale at a rollout's end."""
    total = model._total_timesteps
    return model.num_timesteps / total if total > 0 else 1.0


def default_interval(model: BaseAlgorithm) -> int:
    """Timesteps between measurements: whole rollouts, about :data:`MEASUREMENTS` in this training."""
    rollout = _rollout_timesteps(model)
    return rollout * max(1, round(_timesteps_left(model) / MEASUREMENTS / rollout))


def too_few_measurements(model: BaseAlgorithm, made: int, needed: int, measure_every: int) -> str | None:
    """Return a warning where the rule can never decide.

    :param made: measurements there are already
    :param needed: fewest measurements after which the rule can decay
    :param measure_every: timesteps between measurements
    """
    rollout = _rollout_timesteps(model)
    spacing = math.ceil(measure_every / rollout) * rollout
    expected = made + _timesteps_left(model) // spacing
    if expected >= needed:
        return None
    return (
        f"rl_abel: about {expected} measurements of the weight norm fit into this training, one every "
        f"{spacing} timesteps, and the rule needs {needed} before it can see a bounce. Train longer, use "
        "shorter rollouts (n_steps) or a smaller measure_every; as it is, no bounce can decay the rate."
    )


def _timesteps_left(model: BaseAlgorithm) -> int:
    """Timesteps of the budget in which SB3 trains."""
    begin = max(model.num_timesteps, getattr(model, "learning_starts", 0))
    return max(0, model._total_timesteps - begin)


def _rollout_timesteps(model: BaseAlgorithm) -> int:
    """Timesteps of a rollout where that is known beforehand, else 1."""
    return model.n_steps * model.n_envs if isinstance(model, OnPolicyAlgorithm) else 1
