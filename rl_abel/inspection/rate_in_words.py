"""What the learning rate of a finished run came to, and by what."""

from __future__ import annotations

import math

from rl_abel.inspection.readers.csv_table import PARTS
from rl_abel.inspection.traces import Trace

EVERY_PART = "total"
NETWORKS = ("policy", "value")
"""What can decay alone."""

ROUNDING = 0.05
"""Share by which rates may differ that are the same; a log has the rate of one update, and the factor of another."""

TINY = 1e-30


def rate_in_words(trace: Trace) -> str:
    """What the learning rate came to, and by what; empty where nothing tells."""
    ends = {name: (points[0][1], points[-1][1]) for name, points in trace.curves.items() if points}
    causes = ["led by the KL divergence"] if trace.led else []
    made = trace.record.factor if trace.record else 1.0
    parts = {part: ends[f"decays of the {part}"][1] for part in NETWORKS if f"decays of the {part}" in ends}
    if trace.record and any(decay.part != EVERY_PART for decay in trace.record.decays):
        parts = {part: trace.record.factor_of(part) for part in NETWORKS}
    if parts:
        causes.append("decays " + " and ".join(f"×{factor:.3g} ({part})" for part, factor in parts.items()))
    elif made != 1:
        causes.append(f"decays ×{made:.3g}")
    first, last = ends.get("learning rate", (math.nan, math.nan))
    rates = [rate for _, rate in trace.curves.get("learning rate", [])]
    other = max(last, TINY) / first / made if first > 0 else 1.0
    # A cooldown goes on after the last row of a log.
    goes_on = other > 1 and len(rates) > 1 and rates[-1] < rates[-2]
    if not trace.led and not goes_on and abs(math.log(other)) > ROUNDING:
        causes.append(f"its own schedule, or bounds, ×{other:.3g}")
    if "batch size" in ends and len(set(ends["batch size"])) > 1:
        causes.append("batch size {:g} to {:g}".format(*ends["batch size"]))
    own = {part: ends[name][1] for part in PARTS if (name := f"learning rate of the {part}") in ends}
    if len(set(own.values())) > 1:
        causes.append("at the end " + ", ".join(f"{rate:.3g} ({part})" for part, rate in own.items()))
    constant = math.isclose(first, last, rel_tol=1e-3)
    rate = "" if math.isnan(first) else f"{first:.3g}" if constant else f"from {first:.3g} to {last:.3g}"
    return ": ".join(text for text in (rate, "; ".join(causes)) if text)
