"""The events of docs/results/moments_plan.md: squared norms in, the index of a measurement out. No numpy, no torch.

Each takes |w|² of one run, a finite number a measurement, oldest first, and returns the 0-based index
of the first measurement of the event, None if it never comes. But for :func:`minimum` each looks at
the past alone: more measurements never move an event that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rl_abel.rules.bounce import EQUILIBRATED, TrendRule, find_decays, t_statistic

RULE = TrendRule()
"""Of which window, z and depth are."""

Event = Callable[[Sequence[float]], int | None]


def minimum(norms: Sequence[float]) -> int | None:
    """Return the lowest of the whole run, if a measurement before it is that much above. Hindsight.

    >>> minimum([10.0, 9.0, 8.0, 9.0]), minimum([10.0, 9.9]), minimum([8.0, 9.0, 10.0])
    (2, None, None)
    """
    lowest = min(range(len(norms)), key=norms.__getitem__)
    return lowest if _fallen(max(norms[: lowest + 1]), norms[lowest]) else None


def bounce_by_rule(norms: Sequence[float]) -> int | None:
    """Return the first decay of the rule "trend"."""
    return next(iter(find_decays(norms, RULE)), None)


def bounce_by_shape(norms: Sequence[float]) -> int | None:
    """Return the first that is so much above the lowest since the highest, after a fall as deep; both before it.

    >>> bounce_by_shape([10.0, 9.0, 9.1, 9.3, 9.4]), bounce_by_shape([10.0, 9.0, 11.0])
    (3, 2)
    >>> bounce_by_shape([8.0, 9.0, 10.0, 9.8, 9.9, 11.0])  # a fall by 2 % is none
    """
    highest = lowest = norms[0]
    for index, norm in enumerate(norms):
        if _fallen(highest, lowest) and norm >= (1 + RULE.depth) * lowest:
            return index
        highest, lowest = (norm, norm) if norm >= highest else (highest, min(lowest, norm))
    return None


def equilibrium(norms: Sequence[float]) -> int | None:
    """Return the first that is so much below the highest, and level over the last window. It needs no rise.

    >>> equilibrium([10.0] * 9 + [9.0] * 9), equilibrium([float(norm) for norm in range(60, 20, -1)])
    (10, None)
    """
    highest = lowest = norms[0]
    for index, norm in enumerate(norms):
        highest, lowest = (norm, norm) if norm >= highest else (highest, min(lowest, norm))
        if index < RULE.window or not _fallen(highest, norm):
            continue
        recent = norms[index - RULE.window : index + 1]
        little = abs(recent[-1] - recent[0]) <= EQUILIBRATED * (highest - lowest)
        if little or abs(t_statistic(recent, 1, RULE.window)) <= RULE.z:
            return index
    return None


def _fallen(highest: float, norm: float) -> bool:
    return norm <= (1 - RULE.depth) * highest


EVENTS: dict[str, Event] = {
    "minimum": minimum,
    "bounce by rule": bounce_by_rule,
    "bounce by shape": bounce_by_shape,
    "equilibrium": equilibrium,
}
"""By name, in the order of the page."""
