"""Arguments are checked once, where the user calls, naming the argument and showing the value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real


def check_number(name: str, value: object, at_least: float) -> float:
    """Return the finite number as a float; numpy's are fine, booleans are not."""
    number = _number(value)
    if not at_least <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least {at_least:g}, got {value!r}")
    return number


def check_between(name: str, value: object, low: float, high: float) -> float:
    """Return the number as a float if it lies strictly between the two bounds."""
    number = _number(value)
    if not low < number < high:
        raise ValueError(f"{name} must be in ({low:g}, {high:g}), got {value!r}")
    return number


def check_above(name: str, value: object, low: float) -> float:
    """Return the finite number as a float if it is above the bound."""
    number = _number(value)
    if not low < number < math.inf:
        raise ValueError(f"{name} must be a finite number above {low:g}, got {value!r}")
    return number


def check_integer(name: str, value: object, at_least: int) -> int:
    """Return the integer as Python's own."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return the value if it is one of those known, which the message lists."""
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")
    return value


def check_verbose(value: object) -> int:
    """Return SB3's level of verbosity, for which many write True."""
    return int(value) if isinstance(value, bool) else check_integer("verbose", value, at_least=0)


def check_flag(name: str, value: object) -> bool:
    """Return the boolean: a number or a text in its place is a slip."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _number(value: object) -> float:
    """Return NaN, which is in no range, for what is not a number."""
    return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
