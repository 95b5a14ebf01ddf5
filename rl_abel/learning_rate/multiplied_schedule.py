"""The learning-rate schedule that multiplies the user's own by a factor a mover."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stable_baselines3.common.utils import FloatSchedule

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Schedule = Callable[[float], float]

ORDER = ("kl", "abel", "part")
"""Movers in the order in which their factors are applied."""


@dataclass
class Multiplier:
    """What one mover multiplies the rate by; it alone sets it.

    :param value: for all parameters
    :param by_part: for those of a part, in place of ``value``
    :param rate: takes the place of the rate that goes in, None for that one
    :param high: largest rate that comes out
    :param floor: smallest rate that is applied in the end; never raises the user's own
    :param final: whether no rate may rise any more, as the last decay of a training is in force
    """

    value: float = 1.0
    by_part: dict[str, float] = field(default_factory=dict)
    rate: float | None = None
    high: float = math.inf
    floor: float = 0.0
    final: bool = False

    def __call__(self, rate: float, part: str | None = None) -> float:
        """Return the rate of a part after this mover, None for parameters of no part."""
        if self.rate is not None:
            rate = self.rate
        moved = rate * (self.value if part is None else self.by_part.get(part, self.value))
        if moved > self.high:
            moved = self.high
        return moved


class MultipliedSchedule:
    """The user's schedule, times the factors of all movers of a training.

    It is in force in the ``learn()`` that it was made for, and plain ``base`` anywhere else: trained on
    without the callbacks, a live model does as one that was saved and loaded.

    :param base: the user's schedule, from SB3's ``progress_remaining`` (1 -> 0) to a learning rate
    :param factors: of each mover by its name, in the order of :data:`ORDER`; they may change later
    :param model: whose ``learn()`` it belongs to; None for any
    :param when_asked: called before the first answer to each update; ``updating`` tells when one is under way
    """

    def __init__(
        self,
        base: Schedule,
        factors: dict[str, Multiplier],
        model: BaseAlgorithm | None = None,
        when_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self.base, self.factors = base, factors
        self.retired = False
        # Whether to answer with the user's rate, as what asks multiplies it itself.
        self.plain = False
        # The user's rate and the applied one, as an update last asked for them; None since one began. Anybody else
        # may ask too, between updates or at another progress: that sets no rate.
        self.asked: tuple[float, float] | None = None
        self.updating = False
        self._when_asked = when_asked
        # Weak, and left out of pickles: a schedule that holds the model would double its file.
        self._model = None if model is None else weakref.ref(model)
        self._started = getattr(model, "start_time", None)

    def __repr__(self) -> str:
        return f"Scaled({self.base!r}, {self.factors!r})"

    def __call__(self, progress_remaining: float) -> float:
        """Return the applied learning rate, never below zero; the user's own where that is wanted."""
        # SB3 asks for each optimizer anew, off-policy at every step: this has to be quick.
        learning_rate = self.base(progress_remaining)
        model = self._model() if self._model else None
        if not self.in_force:
            return learning_rate
        plain = float(learning_rate)
        told = plain, self.moved(plain)
        if self.updating and progress_remaining == getattr(model, "_current_progress_remaining", progress_remaining):
            if self.asked is None:
                self._when_asked()
            # The latest counts: another may ask before the update does, while factors still change.
            self.asked = told
        return told[0] if self.plain else told[1]

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's, for one part or for parameters of none."""
        moved = own = learning_rate
        for name, factor in self.factors.items():
            moved = factor(moved, part)
            # What a floor may not raise: the user's rate, and what it is multiplied by for a part.
            own = factor(own, part) if name == "part" else max(own, moved)
        least = min(own, max(factor.floor for factor in self.factors.values())) if self.factors else 0.0
        # PPO overshoots its budget by up to a rollout, where a linear schedule is negative.
        return max(moved, least, 0.0)

    @property
    def in_force(self) -> bool:
        """Whether this is still the training that it was made for."""
        model = self._model() if self._model else None
        return not self.retired and (self._model is None or getattr(model, "start_time", None) == self._started)

    def __reduce__(self) -> tuple[Callable[[Schedule], Schedule], tuple[Schedule]]:
        # Saved as the plain base, so that a zip loads where rl_abel is not installed. The base's
        # own reduction cannot be returned here: pickle raises PicklingError.
        return copy.copy, (self.base,)


def described(schedule: Schedule) -> str:
    """Tell one schedule of a user's from another, over save and load: its kind, and the floats that it holds."""
    while isinstance(schedule, FloatSchedule):
        schedule = schedule.value_schedule
    # Of its text, its attributes, what it encloses, a partial's arguments. Integers may count its calls.
    held = [*getattr(getattr(schedule, "__code__", None), "co_consts", ()), *getattr(schedule, "__dict__", {}).values()]
    held += [cell.cell_contents for cell in getattr(schedule, "__closure__", None) or ()]
    held += [*getattr(schedule, "args", ()), *(getattr(schedule, "keywords", None) or {}).values()]
    kind = getattr(schedule, "__qualname__", type(schedule).__qualname__)
    return f"{kind} {[float(value) for value in held if isinstance(value, float)]}"


def unscaled(schedule: Schedule) -> Schedule:
    """Return the user's own schedule, which may be wrapped already from an earlier ``learn()``."""
    while isinstance(schedule, MultipliedSchedule):
        schedule = schedule.base
    return schedule
