"""By how much a constant learning rate has decayed by itself, as the weights grew."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rl_abel.inspection.traces import Trace

NETWORKS = ("policy", "value", "shared")
SHARE = 5
"""The first and the last of so many equal stretches of a run are compared."""

CONSTANT = 1e-6
"""Share by which a constant rate may differ from itself, in single precision."""


def growth(trace: Trace) -> dict[str, float]:
    """|w| at the last measurement over |w| at the first, of each network; empty where that cannot be told.

    A step of fixed length, as Adam's, turns the weights of a network with normalisation layers by
    1/|w|, so its rate is divided by this growth; one of SGD, whose gradient shrinks as well, by its
    square (Lyle et al. 2024, "Normalization and effective learning rates in reinforcement learning").
    """
    if len(trace.timesteps) < 2 or not all(map(math.isfinite, trace.norms["total"])):
        return {}
    grown = {}
    for part in [part for part in NETWORKS if part in trace.norms] or ["total"]:
        norms = [norm for norm in trace.norms[part] if math.isfinite(norm)]
        if len(norms) > 1 and norms[0] > 0 and norms[-1] > 0:
            grown[part] = math.sqrt(norms[-1] / norms[0])
    return grown


def effective_rate(trace: Trace) -> str:
    """Say it in a sentence, with the rate's own change and the measured updates where they were logged."""
    grown = growth(trace)
    if not grown:
        return ""
    times = _each({part: f"{ratio:.3g} times" for part, ratio in grown.items()})
    left = " and ".join(f"{1 / ratio:.0%}" for ratio in grown.values())
    verb = "decayed" if min(grown.values()) >= 1 else "grown" if max(grown.values()) < 1 else "come"
    rates = [rate for _, rate in trace.curves.get("learning rate", [])]
    constant = bool(rates) and max(rates) - min(rates) <= CONSTANT * max(rates)
    subject = f"the constant rate of {rates[0]:.4g} has" if constant else "a constant rate would have"
    own = f"; the rate itself went from {rates[0]:.4g} to {rates[-1]:.4g}" if rates and not constant else ""
    text = (
        f"Effective rate: |w| ended at {times} what it was, so with steps like Adam's {subject} {verb} by itself to "
        f"{left} of its start{own}. Only for networks with normalisation layers is that a rate in the sense of Lyle et "
        "al. (2024)."
    )
    measured = {part: _ends(trace.terms.get(f"relative_update_{part}", [])) for part in grown}
    if moved := {part: _moved(*ends) for part, ends in measured.items() if ends}:
        text += f" Measured, an update moved {_each(moved)}."
    return text


def _moved(first: float, last: float) -> str:
    return f"{100 * first:.2g}% of |w| at first and {100 * last:.2g}% lately"


def _each(texts: dict[str, str]) -> str:
    if list(texts) == ["total"]:
        return texts["total"]
    return " and ".join(f"{text} ({part})" for part, text in texts.items())


def _ends(values: Sequence[float]) -> tuple[float, float] | None:
    """Medians of the first and the last stretch."""
    known = [value for value in values if math.isfinite(value)]
    n = len(known) // SHARE
    return (statistics.median(known[:n]), statistics.median(known[-n:])) if n else None
