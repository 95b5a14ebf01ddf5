"""What the figures of report, study and control share. Names from runs' folders are drawn as they are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.colors import BANDS, UNDECIDED, VERDICTS
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.verdicts import judged

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "text.parse_math": False,
    "figure.dpi": 110,
}


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draw one legend of all panels below the figure, each entry once."""
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    if entries:
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=7, fontsize=8)


def png(figure: Figure) -> bytes:
    """Return the figure, which is closed, as a PNG."""
    figure.set_layout_engine("constrained")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return small(buffer.getvalue())


def small(picture: bytes) -> bytes:
    """Return a PNG with a palette in place of all colors: a third of its size, and looks the same."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def beside(count: int, gap: float) -> Iterator[float]:
    """Yield where ``count`` marks stand around their common place, from above."""
    yield from (gap * ((count - 1) / 2 - number) for number in range(count))


def lying(axes: Axes, value: Interval, height: float, color: str, label: str, **line: Any) -> None:
    """Draw an estimate at a height, and its interval as far as the axes reach, in the style of ``line``."""
    ends = np.clip(value[1:], *axes.get_xlim()) if not np.isfinite(value).all() else value[1:]
    axes.plot(ends, [height] * 2, color=color, **{"lw": 1.6, **line})
    axes.plot(value.estimate, height, "o", color=color, ms=4, label=label)


def standing(
    axes: Axes, positions: Sequence[float], values: Sequence[Interval], color: str, label: str, fmt: str = "o-"
) -> None:
    """Draw estimates along a line, each with its interval; that of a single run is none."""
    estimates, *ends = np.array(values, dtype=float).reshape(-1, 3).T
    errors = np.abs(np.array(ends) - estimates)
    errors[~np.isfinite(errors)] = np.nan
    axes.errorbar(positions, estimates, errors, fmt=fmt, ms=4, lw=1, elinewidth=1, color=color, label=label)


BETWEEN = 1.4
"""From the last row of a comparison to the first of the next, in rows."""


def forest(questions: Mapping[str, Sequence[tuple[str, Interval]]], least: float = 0.0) -> Figure:
    """Draw differences with their intervals, a question below another, the ones that are sure named and colored.

    :param questions: what is compared -> settings, and the difference in each
    :param least: by how much an interval has to exclude 0 for that
    """
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + 0.16 * sum(len(rows) + BETWEEN for rows in questions.values())))
    for width, color in BANDS:
        axes.axvspan(-width, width, color=color, lw=0, label=f"within ±{width:.2f}")
    axes.axvline(0, color="#888888", lw=0.8)
    unsure = f"comes within {least:g} of 0" if least else "includes 0"
    y, ticks = 0.0, {}
    for question, rows in questions.items():
        rows = sorted(rows, key=lambda row: -row[1].estimate)
        ticks[y + (len(rows) - 1) / 2] = question
        for setting, value in rows:
            said = judged(value) if value.low >= least or value.high <= -least else ""
            color = VERDICTS.get(said, UNDECIDED)
            lying(axes, value, y, color, said if said in VERDICTS else unsure)
            if said in VERDICTS:
                axes.text(value.high + 0.03, y, setting, color=color, fontsize=8, va="center")
            y += 1
        axes.axhline(y + BETWEEN / 2 - 0.5, color="#eeeeee", lw=0.8)
        y += BETWEEN
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(y - BETWEEN, -1), xlabel="← worse     difference of the score     better →")
    return figure
