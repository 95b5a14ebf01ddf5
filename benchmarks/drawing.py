"""What the figures of report, study and control share. Names from runs' folders are drawn as they are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.colors import BANDS
from benchmarks.statistics.estimates import Interval

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


class Mark(NamedTuple):
    """A difference in a forest plot, with its interval."""

    value: Interval
    color: str
    label: str


SECTION_GAP = 0.5
"""Above a heading of a forest plot, in rows."""


def forest(sections: Mapping[str, Sequence[tuple[str, Sequence[Mark]]]], xlabel: str) -> tuple[Figure, Axes]:
    """Draw differences with their intervals, a row below another, against bands of ±0.05 and ±0.10.

    :param sections: heading -> rows, a label and its marks each
    """
    rows: list[tuple[float, str, Sequence[Mark]]] = []
    headings: list[tuple[float, str]] = []
    below = 0.0
    for heading, of_section in sections.items():
        headings.append((below + SECTION_GAP * bool(headings), heading))
        rows += [(headings[-1][0] + number, *row) for number, row in enumerate(of_section, start=1)]
        below = headings[-1][0] + len(of_section) + 1
    ends = [end for *_, marks in rows for mark in marks for end in mark.value if np.isfinite(end)]
    left, right = 1.05 * min([-0.15, *ends]), 1.05 * max([0.15, *ends])
    figure, axes = plt.subplots(figsize=(8.5, 1.1 + 0.24 * below))
    axes.set(xlim=(left, right), ylim=(below - 0.3, -0.7), xlabel=xlabel)
    for width, color in BANDS:
        axes.axvspan(-width, width, color=color, lw=0, label=f"±{width:.2f}")
    axes.axvline(0, color="#888888", lw=0.8)
    for y, _, marks in rows:
        for mark, apart in zip(marks, beside(len(marks), 0.26)):
            lying(axes, mark.value, y - apart, mark.color, mark.label)
    axes.set_yticks([y for y, *_ in rows], [label for _, label, _ in rows])
    axes.tick_params(axis="y", length=0)
    for y, heading in headings:
        axes.text(left, y, f" {heading}", fontweight="bold", va="center", in_layout=False)
    return figure, axes
