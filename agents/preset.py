"""What a preset is. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Preset:
    """An agent on an environment.

    :param algorithm: class of stable-baselines3 or sb3-contrib, or that and the name of its networks ("SAC-SimBa")
    :param env_id: Gymnasium's id
    :param n_envs: environments stepped side by side
    :param learning_rate: base rate
    :param timesteps: budget in steps of all environments together
    :param hyperparameters: of the class; ``action_noise_std`` is the deviation of normal exploration
        noise, and names of ``policy`` and in ``policy_kwargs`` may stand for classes
    :param source: where the hyperparameters are from, and what is different here
    :param normalize: whether the environment scales observations and rewards, or "observations" alone, by
        running statistics
    """

    algorithm: str
    env_id: str
    n_envs: int
    learning_rate: float
    timesteps: int
    hyperparameters: dict[str, Any]
    source: str
    normalize: bool | Literal["observations"] = False

    @property
    def gamma(self) -> float:
        """Discount."""
        return float(self.hyperparameters["gamma"])

    @property
    def on_policy(self) -> bool:
        """Whether it trains once on each rollout and forgets it."""
        return "train_freq" not in self.hyperparameters

    @property
    def rollout_timesteps(self) -> int:
        """Steps of all environments together in a rollout."""
        return int(self.hyperparameters["n_steps" if self.on_policy else "train_freq"]) * self.n_envs

    def n_trainings(self, timesteps: int) -> int:
        """Return the number of rollouts, within a budget, after which SB3 trains."""
        idle = 0 if self.on_policy else int(self.hyperparameters["learning_starts"]) // self.rollout_timesteps
        return max(math.ceil(timesteps / self.rollout_timesteps) - idle, 0)

    def n_updates(self, timesteps: int) -> int:
        """Return the number of optimizer steps within a budget, those of the critics where there are two kinds."""
        per_training = int(self.hyperparameters.get("gradient_steps", 1))
        if per_training < 0:
            per_training = self.rollout_timesteps
        if "n_epochs" in self.hyperparameters:
            batches = math.ceil(self.rollout_timesteps / int(self.hyperparameters["batch_size"]))
            per_training = int(self.hyperparameters["n_epochs"]) * batches
        return self.n_trainings(timesteps) * per_training


def class_name(algorithm: str) -> str:
    """Return the name of the algorithm's class: "SAC" of "SAC" and of "SAC-SimBa"."""
    return algorithm.partition("-")[0]
