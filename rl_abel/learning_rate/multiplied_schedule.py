"""The learning-rate schedule that multiplies the user's own by a factor a mover."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from stable_baselines3.common.utils import FloatSchedule

from rl_abel.rules.decays import OUTSIDE

if TYPE_CHECKING:
    from rl_abel.learning_rate.applied_rate import AppliedRate

Schedule = Callable[[float], float]

ORDER = ("lead", "abel", "part")  # movers in the order in which their factors are applied


@dataclass
class Multiplier:
    """What one mover multiplies the rate by; it alone sets it."""

    # Another object after each change of any: what was computed from them holds until then. Threads cannot repeat it.
    latest_change: ClassVar[object] = object()

    value: float = 1.0  # for all parameters
    by_part: dict[str, float] = field(default_factory=dict)  # for those of a part, in place of ``value``
    rate: float | None = None  # takes the place of the rate that goes in
    within: bool = False  # whether it does so within the policy alone
    high: float = math.inf  # largest rate that comes out
    floor: float = 0.0  # smallest rate that is applied in the end; never raises the user's own
    final: bool = False  # whether no rate may rise any more, as the last decay of a training is in force

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        Multiplier.latest_change = object()

    def __call__(self, rate: float, part: str | None = None) -> float:
        """Return the rate of a part after this mover, None for all that have no rate of their own."""
        moved = rate if self.rate is None or (self.within and part == OUTSIDE) else self.rate
        moved *= self.value if part is None else self.by_part.get(part, self.value)
        return min(moved, self.high)


def multiplied(learning_rate: float, factors: Mapping[str, Multiplier], part: str | None = None) -> float:
    """Return what all movers make of a rate of the user's, for one part or for parameters of none.

    >>> multiplied(1e-3, {"abel": Multiplier(0.1), "part": Multiplier(by_part={"value": 3.0})}, "value")
    0.00030000000000000003
    """
    moved = own = learning_rate
    floor = 0.0
    for name in ORDER:
        if factor := factors.get(name):
            moved = factor(moved, part)
            # A floor may raise no rate above the user's own, which includes the multiplier of a part.
            own = factor(own, part) if name == "part" else max(own, moved)
            floor = max(floor, factor.floor)
    # PPO overshoots its budget by up to a rollout, where a linear schedule is negative.
    return max(moved, min(own, floor), 0.0)


class MultipliedSchedule:
    """The user's schedule (``base``), times the factors of all movers of one ``learn()`` until that ends."""

    def __init__(self, base: Schedule, applied: AppliedRate) -> None:
        self.base, self.applied = base, applied

    def __call__(self, progress_remaining: float) -> float:
        """Return the applied learning rate, never below zero."""
        learning_rate = self.base(progress_remaining)
        return self.applied.answer(float(learning_rate), progress_remaining) if self.in_force else learning_rate

    @property
    def in_force(self) -> bool:
        """Whether it still is the latest schedule of a ``learn()`` that goes on: nothing may be multiplied twice."""
        return self.applied.schedule is self and self.applied.in_force

    def __reduce__(self) -> tuple[Callable[[Schedule], Schedule], tuple[Schedule]]:
        # Saved as the plain base, so that a zip loads where rl_abel is not installed.
        return copy.copy, (self.base,)


def described(schedule: Schedule) -> str:
    """Tell one schedule of a user's from another, over save and load: its kind, and the floats that it holds."""
    while isinstance(schedule, FloatSchedule):
        schedule = schedule.value_schedule
    # Floats of its code, its attributes, what it encloses, a partial's arguments. Integers may count its calls.
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
