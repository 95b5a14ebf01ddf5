"""The learning-rate schedule that multiplies the user's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Scaled:
    """``base(progress_remaining) * factor``, with a floor that never raises the user's own rate.

    :param base: the user's schedule, from SB3's ``progress_remaining`` (1 -> 0) to a learning rate
    :param factor: product of the decays in force
    :param min_learning_rate: floor of the applied rate
    """

    base: Schedule
    factor: float
    min_learning_rate: float = 0.0

    def __call__(self, progress_remaining: float) -> float:
        """Return the applied learning rate, never below zero."""
        learning_rate = self.base(progress_remaining)
        # PPO overshoots its budget by up to a rollout, where a linear schedule is negative.
        return max(float(learning_rate * self.factor), min(self.min_learning_rate, learning_rate), 0.0)

    def __reduce__(self) -> tuple[Callable[[Schedule], Schedule], tuple[Schedule]]:
        # Saved as the plain base, so that a zip loads where rl_abel is not installed. The base's
        # own reduction cannot be returned here: pickle raises PicklingError.
        return copy.copy, (self.base,)


def unscaled(schedule: Schedule) -> Schedule:
    """Return the user's own schedule, which may be wrapped already from an earlier ``learn()``."""
    while isinstance(schedule, Scaled):
        schedule = schedule.base
    return schedule
