"""Numbers in words: counts, norms as a line of blocks, and what the learning rate came to."""

import math
from collections.abc import Sequence

from rl_abel.inspection.readers.csv_table import PARTS
from rl_abel.inspection.traces import Trace

BLOCKS = "▁▂▃▄▅▆▇█"
# What stands for our signs on a console that lacks them.
ASCII = str.maketrans(dict(zip(BLOCKS + "→×–−", "_.:-=+*#>x--"), **{"…": "...", "²": "^2"}))
NETWORKS = ("policy", "value")  # what can decay alone
ROUNDING = 0.05  # share by which equal rates may differ: a log may have the rate of one update, the factor of another


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def number(value: float) -> str:
    """Return four significant digits, without an exponent where one can do without."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def spark(values: Sequence[float], width: int = 60) -> str:
    """Return a line of blocks, lowest to highest, of at most ``width`` characters; the ends are kept.

    >>> spark([0, 1, 2, 3, 4, 5, 6, 7])
    '▁▂▃▄▅▆▇█'
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0)
    step = (max(finite, default=0.0) - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((value - low) / step)] if math.isfinite(value) else " " for value in values).rstrip()


def rate_in_words(trace: Trace) -> str:
    """Return what the learning rate came to, and by what; empty where nothing tells."""
    record, curves = trace.record, {name: [value for _, value in points] for name, points in trace.curves.items()}
    rates = curves.get("learning rate") or [math.nan]
    made = record.factor if record else 1.0
    parts = {part: curves[name][-1] for part in NETWORKS if (name := f"decays of the {part}") in curves}
    if record and any(decay.part != "total" for decay in record.decays):
        parts = {part: record.factor_of(part) for part in NETWORKS}
    decays = [f"×{factor:.3g} ({part})" for part, factor in parts.items()] or [f"×{made:.3g}"] * (made != 1)
    causes = [f"led by the {trace.led}"] * bool(trace.led) + ["decays " + " and ".join(decays)] * bool(decays)
    other = rates[-1] / (rates[0] * made) if rates[0] * made > 0 else 1.0
    # A cooldown goes on after the last row of a log.
    goes_on = other > 1 and len(rates) > 1 and rates[-1] < rates[-2]
    if not (trace.led or goes_on or math.isclose(other, 1, rel_tol=ROUNDING)):
        causes.append(f"its own schedule, or bounds, ×{other:.3g}")
    sizes = curves.get("batch size") or [0]
    if sizes[0] != sizes[-1]:
        causes.append(f"batch size {sizes[0]:g} to {sizes[-1]:g}")
    own = {part: curves[name][-1] for part in PARTS if (name := f"learning rate of the {part}") in curves}
    if len(set(own.values())) > 1:
        causes.append("at the end " + ", ".join(f"{rate:.3g} ({part})" for part, rate in own.items()))
    constant = math.isclose(rates[0], rates[-1], rel_tol=1e-3)
    rate = f"{rates[0]:.3g}" if constant else f"from {rates[0]:.3g} to {rates[-1]:.3g}"
    return ": ".join(text for text in (rate * ("learning rate" in curves), "; ".join(causes)) if text)
