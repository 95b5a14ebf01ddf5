"""What docs/results/moments_plan.md says is run, as data. No torch: listing must be quick."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks import plan

PLACES = tuple(tenth / 10 for tenth in range(10))
"""Progress at which a branch leaves the trunk."""

SHARE = 0.1
"""Of the budget, for which a branch goes on."""

FACTOR = 0.1
"""Of the branch's learning rate."""

EPISODES = 30
"""Behind a score; the same ones for a branch and its trunk."""

SEEDS = tuple(range(10))

EXPLORATORY, HELD_OUT, CONTROL = "exploratory", "held out", "control"


@dataclass(frozen=True)
class Task:
    """What is trained, at one strength of weight decay.

    :param strength: ηλN of AdamW, 0 for none; of the digits the coefficient of L2
    :param part: whose norm the events are told from
    :param role: "exploratory", "held out" or "control"
    """

    agent: str
    env_id: str
    timesteps: int
    strength: float
    part: str
    role: str

    @property
    def name(self) -> str:
        """Name of the task without its weight decay, for people."""
        return f"{self.agent} {self.env_id.partition('-')[0]}".strip()

    def run(self, seed: int) -> plan.Run:
        """Return the trunk of a seed, as a run of the benchmark at a constant rate."""
        regularization = "adamw" if self.strength else "none"
        return plan.Run(self.agent, self.env_id, self.timesteps, "constant", seed, regularization, self.strength)


def _tasks(agent: str, env_id: str, timesteps: int, part: str, role: str, *strengths: float) -> list[Task]:
    return [Task(agent, env_id, timesteps, strength, part, role) for strength in strengths]


STAGES: tuple[list[Task], ...] = (
    _tasks("PPO", "CartPole-v1", 100_000, "policy", EXPLORATORY, 10.0, 0.0),
    _tasks("DQN", "CartPole-v1", 50_000, "value", HELD_OUT, 10.0, 0.0),
    _tasks("PPO", "LunarLander-v3", 250_000, "policy", HELD_OUT, 10.0, 0.0),
    _tasks("PPO", "CartPole-v1", 100_000, "policy", EXPLORATORY, 3.0)
    + _tasks("PPO", "Pendulum-v1", 150_000, "policy", EXPLORATORY, 0.0),
    _tasks("SAC", "Pendulum-v1", 10_000, "policy", EXPLORATORY, 10.0, 0.0),
)
"""In the order in which they are run."""

DIGITS = _tasks("", "digits", 150, "total", CONTROL, 0.016, 0.0)
"""A timestep is an epoch."""

DIGITS_RATE = 0.1


def first_at(place: float, timesteps: int) -> int:
    """Return the first timestep of which the progress is at least ``place``."""
    return math.ceil(round(place * timesteps, 6))
