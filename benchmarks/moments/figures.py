"""The figure of the page: what a decay brings, by when it comes, and who is past which event by then."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.colors import OTHERS, VERDICTS
from benchmarks.drawing import STYLE, legend, png
from benchmarks.moments.answers import Answer, Answers, verdict
from benchmarks.moments.plan import CONTROL, SEEDS

PICTURE = "moments_gains.png"

LABELS = {
    "higher": "a decay pays (interval above 0)",
    "lower": "it costs (below 0)",
    "open": "open",
}

MOST = 1.0
"""Gain that is drawn: the interval of a few seeds would flatten all others."""

FEWEST_SEEDS = 3
"""Of a task that is drawn; the intervals of fewer say nothing."""


def draw(answers: Answers, folder: Path) -> None:
    """Draw the figure into a folder."""
    with plt.rc_context(STYLE):
        (folder / PICTURE).write_bytes(png(gains(answers)))


def gains(answers: Answers) -> Figure:
    """Draw gain by progress, a panel a task, and below it the share of its runs that is past each event."""
    answers = {task: answer for task, answer in answers.items() if answer.seeds >= FEWEST_SEEDS} or answers
    columns = 2 if len(answers) <= 4 else 4
    rows = math.ceil(len(answers) / columns)
    figure = plt.figure(figsize=(4.5 * columns if columns == 2 else 3.4 * columns, 3.1 * rows))
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
    tops: list[Axes] = []
    for number, (task, answer) in enumerate(answers.items()):
        row, column = divmod(number, columns)
        top = figure.add_subplot(grid[2 * row, column], sharey=tops[0] if tops else None)
        _gain(top, answer)
        _shares(figure.add_subplot(grid[2 * row + 1, column], sharex=top), answer, named=column == 0)
        if column == 0:
            top.set_ylabel("gain")
        else:
            top.tick_params(labelleft=False)
        kind = "L2" if task.role == CONTROL else "ηλN ="
        strength = f"{kind} {task.strength:g}" if task.strength else "no weight decay"
        name = "digits, the control" if task.role == CONTROL else task.name
        seeds = "" if answer.seeds == len(SEEDS) else f" ({answer.seeds} of {len(SEEDS)} seeds)"
        top.set_title(f"{name}: {strength}{seeds}", fontsize=9)
        tops.append(top)
    low, high = tops[0].get_ylim()
    # No mean is cut off, only intervals are.
    means = [gain.estimate for answer in answers.values() for gain in answer.by_place().values()]
    tops[0].set_ylim(min(max(low, -MOST), min(means) - 0.1), max(min(high, MOST), max(means) + 0.1))
    legend(figure, tops)
    return figure


def _gain(axes: Axes, answer: Answer) -> None:
    by_place = answer.by_place()
    axes.axhline(0, color="#888888", lw=0.8)
    axes.plot(_percent(by_place), [gain.estimate for gain in by_place.values()], "-", color=OTHERS, lw=1, zorder=1)
    for place, gain in by_place.items():
        judged = verdict(gain)
        mark, color = VERDICTS[judged]
        ends = np.clip(gain[1:], min(-MOST, gain.estimate), max(MOST, gain.estimate))
        axes.plot([100 * place] * 2, ends, "-", color=color, lw=1.6)
        axes.plot(100 * place, gain.estimate, mark, color=color, ms=6, ls="none", label=LABELS[judged])
    axes.tick_params(labelbottom=False)


def _shares(axes: Axes, answer: Answer, named: bool) -> None:
    """A row an event, darker the more runs are past it."""
    shares = np.array([after.mean(axis=0) for after in answer.after.values()])
    places = _percent(answer.by_place())
    edges = [place - 5 for place in places] + [places[-1] + 5]
    axes.pcolormesh(edges, np.arange(len(shares) + 1), shares, cmap="Greys", vmin=0, vmax=1.3, edgecolor="white", lw=1)
    for (row, column), share in np.ndenumerate(shares):
        if share:
            color = "white" if share > 0.6 else "black"
            axes.text(
                places[column], row + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color
            )
    names = [f"runs past {name}, %" for name in answer.after] if named else []
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7)
    if not named:
        axes.set_yticks([])
    axes.set_ylim(len(shares), 0)
    axes.set_xticks(places[::2])
    axes.set_xlabel("the decay comes at % of the training", fontsize=8)


def _percent(by_place: dict[float, object]) -> list[float]:
    return [100 * place for place in by_place]
