"""Arguments are checked once, where the user calls, naming the argument and showing the value."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_number(name: str, value: object, at_least: float) -> float:
    """Return the finite number as a float; numpy's are fine, booleans are not."""
    if not _is(Real, value) or not math.isfinite(number := float(value)) or number < at_least:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a finite number of at least {at_least:g}, got {value!r}")
    return number


def check_between(name: str, value: object, low: float, high: float) -> float:
    """Return the number as a float if it lies strictly between the two bounds."""
    if not _is(Real, value) or not low < (number := float(value)) < high:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be in ({low:g}, {high:g}), got {value!r}")
    return number


def check_integer(name: str, value: object, at_least: int) -> int:
    """Return the integer as Python's own."""
    if not _is(Integral, value) or int(value) < at_least:  # type: ignore[call-overload]
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}")
    return int(value)  # type: ignore[call-overload]


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
