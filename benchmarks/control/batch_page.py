"""The page on growing the batch: docs/results/batch.md and its figure, from the saved table alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.control import batch
from benchmarks.control.batch import ARMS, CONSTANT, DECAY, EQUAL, LAST_EPOCHS
from benchmarks.control.study import BATCH_TABLES
from benchmarks.drawing import STYLE, legend, png
from benchmarks.statistics.estimates import mean_interval
from benchmarks.statistics.verdicts import judged
from benchmarks.words import interval, templates, wrapped

PAGE, PICTURE = "batch.md", "batch_growth.png"

LABELS = {CONSTANT: "neither", DECAY: "decay the rate", "batch_size": "grow the batch", "mixed": "both, half each"}
COLORS = {CONSTANT: "#b0b0b0", DECAY: "#111111", "batch_size": "#2ca02c", "mixed": "#ff7f0e"}
TITLES = {"sgd": "SGD with momentum", "adam": "Adam"}


def write_page(folder: Path) -> Path:
    """Write page and figure beside the table in ``folder``; return the page.

    :raises ValueError: if there is no table
    """
    if not BATCH_TABLES.path(folder).is_file():
        raise ValueError(f"there is no {BATCH_TABLES.path(folder).name} in {folder}; run comes first")
    [table] = BATCH_TABLES.read(folder)
    with plt.rc_context(STYLE):
        (folder / PICTURE).write_bytes(png(draw(table)))
    page = folder / PAGE
    page.write_text(render(table), encoding="utf-8")
    return page


def render(table: pd.DataFrame) -> str:
    """Return the text of the page."""
    environment = templates("benchmarks.control")
    environment.filters["points"] = lambda value: interval(value)
    template = environment.get_template(f"{PAGE}.j2")
    return wrapped(template.render(batch=batch, labels=LABELS, titles=TITLES, **findings(table)))


def findings(table: pd.DataFrame) -> dict[str, Any]:
    """Return what the page tells: accuracies, in percent, and differences from the decay of the rate, in points."""
    last = table[table["epoch"] > table["epoch"].max() - LAST_EPOCHS]
    scores = 100 * last.pivot_table("test_accuracy", "seed", ["optimizer", "arm"])
    arms = [(optimizer, arm) for optimizer in ARMS for arm in ARMS[optimizer]]
    updates = table.groupby(["optimizer", "arm"])["updates"].max()
    return {
        "seeds": len(scores),
        "accuracy": {of: mean_interval(scores[of]) for of in arms},
        "updates": {of: int(updates[of]) for of in arms},
        "gain": {of: mean_interval(scores[of] - scores[of[0], DECAY]) for of in arms if of[1] != DECAY},
        "farthest": {of: _farthest(table, *of) for of in arms if of[1] not in (DECAY, CONSTANT)},
        "judged": lambda gain: judged(gain, EQUAL),
    }


def _farthest(table: pd.DataFrame, optimizer: str, arm: str) -> float:
    """Largest difference of the mean curves from that of the decay, in points, in any window of the last epochs."""
    curves = _curves(table, optimizer)
    means = {of: curves[of].mean(axis=1).rolling(LAST_EPOCHS).mean() for of in (arm, DECAY)}
    return float((means[arm] - means[DECAY]).abs().max())


def _curves(table: pd.DataFrame, optimizer: str) -> dict[str, pd.DataFrame]:
    """Accuracy in percent by arm: a row an epoch, a column a seed."""
    of = table[table["optimizer"] == optimizer]
    return {arm: 100 * of[of["arm"] == arm].pivot_table("test_accuracy", "epoch", "seed") for arm in ARMS[optimizer]}


def draw(table: pd.DataFrame) -> Figure:
    """Draw accuracy by epoch above, by updates below; an optimizer a column, means and intervals over seeds."""
    figure, panels = plt.subplots(2, len(ARMS), figsize=(9, 5.6), sharey=True)
    for (top, bottom), optimizer in zip(panels.T, ARMS):
        for arm, curves in _curves(table, optimizer).items():
            of = table[(table["optimizer"] == optimizer) & (table["arm"] == arm)]
            updates = of.groupby("epoch")["updates"].first().to_numpy() / 1000
            _line(top, curves.index.to_numpy(dtype=float), curves, arm)
            _line(bottom, updates, curves, arm)
            bottom.plot(updates[-1], curves.mean(axis=1).iloc[-1], "o", color=COLORS[arm], ms=5)
        for number, place in enumerate(batch.PLACES):
            label = "a decay by a half" if number == 0 else None
            top.axvline(round(place * batch.EPOCHS), color="#888888", lw=0.8, ls=":", label=label)
        top.set(title=TITLES[optimizer], xlabel="epoch")
        bottom.set_xlabel("updates, thousands; the dot is the last epoch")
    # The steep beginning, which all arms share, would flatten the rest.
    best = max(float(curves.mean(axis=1).max()) for of in ARMS for curves in _curves(table, of).values())
    panels.flat[0].set_ylim(best - 20, best + 2)
    figure.supylabel("test accuracy, %", fontsize=9)
    legend(figure, panels.flat)
    return figure


def _line(axes: Axes, x: np.ndarray[Any, Any], curves: pd.DataFrame, arm: str) -> None:
    intervals = [mean_interval(row) for row in curves.to_numpy()]
    axes.fill_between(x, [i.low for i in intervals], [i.high for i in intervals], color=COLORS[arm], alpha=0.15, lw=0)
    axes.plot(x, [i.estimate for i in intervals], color=COLORS[arm], lw=1.3, label=LABELS[arm])
