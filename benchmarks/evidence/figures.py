"""The two figures of the study, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from agents import find_preset
from benchmarks.colors import ARM_COLORS, NAMES, RATE_COLORS
from benchmarks.drawing import STYLE, forest, legend, png, standing
from benchmarks.evidence.answers import KL_FINAL
from benchmarks.evidence.base_rates import SB3_RATE, Task
from benchmarks.evidence.settings import LEAST
from benchmarks.evidence.stages import RATES
from benchmarks.report.answers import BASELINE, UNDISTURBED
from benchmarks.statistics.estimates import Interval

COLORS = ARM_COLORS | RATE_COLORS
DRAWN = (UNDISTURBED, BASELINE, KL_FINAL)
"""Arms; the others are in the tables."""


@plt.rc_context(STYLE)
def profiles(found: Mapping[str, Task], title: str) -> bytes:
    """Draw the mean score by learning rate, a task a panel and an arm a line, and on the right the mean over rates."""
    figure, panels = plt.subplots(1, len(found), figsize=(3.4 * len(found), 3.4), squeeze=False, sharey=True)
    positions, at_mean = np.arange(len(RATES)), len(RATES) + 0.4
    for axes, (task, of_task) in zip(panels[0], found.items()):
        preset = find_preset(*task.split(" ")).learning_rate
        for number, arm in enumerate(DRAWN):
            schedule, apart = of_task.schedules[arm], 0.08 * (number - 1)
            for at, values in (
                (positions + apart, list(schedule.by_rate.values())),
                ([at_mean + 3 * apart], [schedule.mean]),
            ):
                standing(axes, list(at), values, COLORS[arm], NAMES[arm])
        axes.axvline(len(RATES) - 0.4, color="#cccccc", lw=0.8)
        labels = [f"{rate * preset:.0e}".replace("e-0", "e-") for rate in RATES]
        axes.set_xticks([*positions, at_mean], [*labels, "mean"], fontsize=8)
        axes.set(title=task, xlabel="learning rate at the start", ylim=(-0.05, 1.08))
        default = float(np.interp(np.log(SB3_RATE), np.log(np.array(RATES) * preset), positions))
        axes.axvline(default, color="#888888", lw=1, ls=":", zorder=0)
        axes.text(default + 0.1, 0, "SB3's default", color="#666666", fontsize=8)
    panels[0][0].set_ylabel("score (0 random, 1 a good policy)")
    figure.suptitle(title, fontweight="bold", fontsize=11)
    legend(figure, panels[0])
    return png(figure)


@plt.rc_context(STYLE)
def differences(questions: Mapping[str, Sequence[tuple[str, Interval]]], title: str) -> bytes:
    """Draw differences with their intervals: what is compared -> settings, and the difference in each."""
    figure = forest(questions, LEAST)
    figure.suptitle(title, fontweight="bold", fontsize=11)
    legend(figure, figure.axes)
    return png(figure)
