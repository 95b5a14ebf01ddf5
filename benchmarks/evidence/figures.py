"""The two figures of the study, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from benchmarks import drawing
from benchmarks.colors import ARM_COLORS, RATE_COLORS
from benchmarks.drawing import STYLE, Mark, legend, png, standing
from benchmarks.evidence.answers import Profiled
from benchmarks.evidence.stages import PROFILED, RATES
from benchmarks.statistics.estimates import Interval

COLORS = ARM_COLORS | RATE_COLORS
LOWEST = -0.05
"""Score that is drawn: some rates end far below a random policy."""


@plt.rc_context(STYLE)
def profiles(found: Mapping[str, Profiled]) -> bytes:
    """Draw the mean score by base rate, a task a panel and an arm a line, and on the right the mean over the rates."""
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(max(4.6 * columns, 7.4) + 0.6, 3 * rows), squeeze=False, sharey=True
    )
    positions = np.arange(len(RATES))
    for axes, (task, of_task) in zip(panels.flat, found.items()):
        for number, arm in enumerate(PROFILED):
            profile, apart = of_task.arms[arm], 0.07 * (number - (len(PROFILED) - 1) / 2)
            lines = (
                (positions + apart, list(profile.by_rate.values())),
                ([len(RATES) + 0.3 + 1.6 * apart], [profile.mean]),
            )
            for at, values in lines:
                standing(axes, list(at), values, COLORS[arm], arm)
                below = [x for x, value in zip(at, values) if value.estimate < LOWEST]
                axes.plot(
                    below, [LOWEST] * len(below), "v", color=COLORS[arm], ms=5, clip_on=False, in_layout=False, zorder=3
                )
        axes.axvline(len(RATES) - 0.4, color="#cccccc", lw=0.8)
        axes.set_xticks([*positions, len(RATES) + 0.3], [*(f"{rate:g}" for rate in RATES), "mean"])
        axes.set(title=task, xlabel="base rate, times the preset's", ylim=(LOWEST, 1.08))
    for axes in list(panels.flat)[len(found) :]:
        axes.remove()
    panels[0][0].set_ylabel("score (0 random, 1 reference)")
    legend(figure, panels.ravel()[: len(found)])
    return png(figure)


@plt.rc_context(STYLE)
def forest(sections: Mapping[str, Sequence[tuple[str, Interval, bool]]]) -> bytes:
    """Draw differences with their intervals against bands of ±0.05 and ±0.10, a section a comparison.

    :param sections: what is compared -> rows: a label, a difference, and whether both are at the ceiling
    """
    marked = {
        heading: [(label, [_mark(value, at_ceiling)]) for label, value, at_ceiling in of_section]
        for heading, of_section in sections.items()
    }
    figure, axes = drawing.forest(marked, "← worse     difference of the score     better →")
    legend(figure, [axes])
    return png(figure)


def _mark(value: Interval, at_ceiling: bool) -> Mark:
    if at_ceiling:
        return Mark(value, "#8a8a8a", "both at the best score", ring=True)
    sure = value.low > 0 or value.high < 0
    return Mark(value, "#111111" if sure else "#8a8a8a", "sure of its sign" if sure else "may be 0")
