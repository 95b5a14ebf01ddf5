"""How many steps the optimizer of the value network makes: in an update, and in what is left of a budget."""

import math

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from rl_abel.rules.decays import Budget
from rl_abel.training.measure_interval import known_rollout, left_to_train, steps_of_epoch
from rl_abel.training.state import clock


def steps_to_come(model: BaseAlgorithm, budget: Budget) -> int | None:
    """Return the optimizer steps in what is left of a budget, None where they cannot be known beforehand.

    That is without a budget, and where a rollout lasts for an episode but its update has a fixed number of steps.
    """
    rollout, now = known_rollout(model), model.num_timesteps
    if budget.end is None:
        return None
    by_timestep = isinstance(model, OffPolicyAlgorithm) and model.gradient_steps < 0
    if rollout is None:
        return left_to_train(model, budget) if by_timestep else None
    # SB3 trains after a rollout that has passed learning_starts.
    before = max(0, getattr(model, "learning_starts", 0) - now) // rollout
    updates = max(0, math.ceil((budget.end - now) / rollout) - before)
    return updates * (rollout if by_timestep else _steps_of_update(model))


def steps_made(model: BaseAlgorithm) -> int:
    """Return the optimizer steps of a model's life, over any reset, as far as it counts its updates."""
    updates = clock(model).updates
    if not isinstance(model, OnPolicyAlgorithm):
        return updates
    # PPO counts epochs, all others updates.
    return updates * (steps_of_epoch(model) if hasattr(model, "n_epochs") else _steps_of_update(model))


def _steps_of_update(model: BaseAlgorithm) -> int:
    if isinstance(model, OnPolicyAlgorithm):
        # TRPO trains its value network alone, in epochs of its own. A2C has none.
        epochs = getattr(model, "n_epochs", getattr(model, "n_critic_updates", None))
        return 1 if epochs is None else int(epochs * steps_of_epoch(model))
    return int(getattr(model, "gradient_steps", 1))
