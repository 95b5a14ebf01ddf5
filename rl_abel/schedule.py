"""The learning-rate schedule that multiplies the user's own."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Schedule = Callable[[float], float]


class Scaled:
    """``base(progress_remaining) * factor``, with a floor that never raises the user's own rate.

    It is in force in the ``learn()`` that it was made for, and plain ``base`` anywhere else: trained on
    without the callback, a live model does as one that was saved and loaded.

    :param base: the user's schedule, from SB3's ``progress_remaining`` (1 -> 0) to a learning rate
    :param factor: product of the decays in force; may be set later
    :param min_learning_rate: floor of the applied rate
    :param model: whose ``learn()`` it belongs to; None for any
    """

    def __init__(
        self, base: Schedule, factor: float, min_learning_rate: float = 0.0, model: BaseAlgorithm | None = None
    ) -> None:
        self.base, self.factor, self.min_learning_rate = base, factor, min_learning_rate
        self.retired = False
        # The user's rate and the applied one, as they were last asked for; None since begin_update.
        self.asked: tuple[float, float] | None = None
        # Weak, and left out of pickles: a schedule that holds the model would double its file.
        self._model = None if model is None else weakref.ref(model)
        self._started = getattr(model, "start_time", None)

    def __repr__(self) -> str:
        return f"Scaled({self.base!r}, {self.factor!r}, {self.min_learning_rate!r})"

    def __call__(self, progress_remaining: float) -> float:
        """Return the applied learning rate, never below zero."""
        learning_rate = self.base(progress_remaining)
        if not self.in_force:
            return learning_rate
        # PPO overshoots its budget by up to a rollout, where a linear schedule is negative.
        applied = max(float(learning_rate * self.factor), min(self.min_learning_rate, float(learning_rate)), 0.0)
        self.asked = float(learning_rate), applied
        return applied

    @property
    def in_force(self) -> bool:
        """Whether this is still the training that it was made for."""
        model = self._model() if self._model else None
        return not self.retired and (self._model is None or getattr(model, "start_time", None) == self._started)

    def __reduce__(self) -> tuple[Callable[[Schedule], Schedule], tuple[Schedule]]:
        # Saved as the plain base, so that a zip loads where rl_abel is not installed. The base's
        # own reduction cannot be returned here: pickle raises PicklingError.
        return copy.copy, (self.base,)


def unscaled(schedule: Schedule) -> Schedule:
    """Return the user's own schedule, which may be wrapped already from an earlier ``learn()``."""
    while isinstance(schedule, Scaled):
        schedule = schedule.base
    return schedule
