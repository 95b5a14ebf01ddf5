"""The figures of the pages, drawn from what the package computes: ``python -m docs.figures [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.colors import ARM_COLORS, LITERAL_COLOR
from benchmarks.drawing import png
from benchmarks.measure.calibration import bounce
from rl_abel import TrendRule, find_decays
from rl_abel.learning_rate.multiplied_schedule import Multiplier, multiplied
from rl_abel.rules.bounce import replay

FOLDER = Path(__file__).parent / "figures"
WAITING = {"fall": "1 waiting for a fall", "minimum": "2 waiting for a rise", "equilibrium": "3 waiting\nfor its end"}
SHADES = {"fall": "0.95", "minimum": "#dceaf7", "equilibrium": "#fbe3cf"}
PAPER, TREND = LITERAL_COLOR, ARM_COLORS["abel"]


def phases(path: Path) -> None:
    """What the rule "trend" waits for along a noisy bounce."""
    norms = (bounce() + 0.7 * np.random.default_rng(7).standard_normal(100)).tolist()
    waiting = [state["phase"] for state, _ in replay(TrendRule(), norms)]
    figure, axis = plt.subplots(figsize=(9, 4))
    starts = [0, *(t for t in range(1, 100) if waiting[t] != waiting[t - 1])]
    for start, end in zip(starts, [*starts[1:], 100]):
        phase = WAITING[waiting[start]].replace(" for ", "\nfor ")
        axis.axvspan(start, end, color=SHADES[waiting[start]], zorder=0)
        axis.text((start + end) / 2, 320, phase, ha="center", va="top", fontsize=9)
    axis.plot(norms, color="0.2", marker=".", markersize=4)
    paper, trend = _mark(axis, norms)
    axis.set(ylabel="squared weight norm |w|²", xlabel="measurement", ylim=(165, 328), xlim=(0, 100))
    axis.set_title(
        f"“trend” decays after a fall, a rise and its end: {trend}×; Algorithm 1 at turns of noise: {paper}×"
    )
    axis.legend(loc="lower right", fontsize=9)
    _save(figure, path)


def no_bounce(path: Path) -> None:
    """Traces that do not bounce: growth under noise, the mirror image of a bounce, and wandering."""
    rng = np.random.default_rng(11)
    t = np.arange(100)
    traces = {
        "It only grows": 100 + t + rng.standard_normal(100),
        "It rises, then falls": 130 + 60 * (1 - np.exp(-t / 8)) * np.exp(-t / 60) + rng.standard_normal(100),
        "It wanders": 100 + np.cumsum(rng.standard_normal(100)),
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    for axis, (title, norms) in zip(axes, traces.items()):
        axis.plot(norms, color="0.2", marker=".", markersize=4)
        paper, trend = _mark(axis, norms.tolist())
        axis.set(title=f"{title}: Algorithm 1 {paper}×, trend {trend}×", xlabel="measurement")
        axis.title.set_fontsize(10)
    axes[0].set_ylabel("squared weight norm |w|²")
    axes[0].legend(loc="upper left", fontsize=9)
    figure.suptitle("No bounce: “trend” leaves the rate alone, Algorithm 1 decays it again and again")
    _save(figure, path)


def rates(path: Path) -> None:
    """What the callback makes of three learning rates: one decay by a bounce, one at the end."""
    base = 1e-3
    own: dict[str, Callable[[float], float]] = {
        "a number": lambda _: base,
        "linear": lambda remaining: base * remaining,
        "cosine": lambda remaining: base * 0.5 * (1 - np.cos(np.pi * remaining)),
    }
    progress = np.linspace(0, 0.999, 1000)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True)
    for axis, (name, schedule) in zip(axes, own.items()):
        axis.plot(progress, [schedule(1 - p) for p in progress], "--", color="0.5", label="your learning_rate")
        applied = [
            multiplied(schedule(1 - p), {"abel": Multiplier(0.1 ** (int(p >= 0.5) + int(p >= 0.85)))}) for p in progress
        ]
        axis.plot(progress, applied, color=TREND, linewidth=2, label="what is applied")
        axis.axvline(0.5, color=TREND, linestyle=":", linewidth=1.5, label="a bounce")
        axis.axvline(0.85, color="0.3", linestyle=":", linewidth=1.5, label="the final decay")
        axis.set(yscale="log", ylim=(3e-8, 3e-3), xlabel="progress", title=f"learning_rate: {name}")
    axes[0].set_ylabel("learning rate")
    axes[0].legend(loc="lower left", fontsize=9)
    figure.suptitle("Whatever your learning rate is, a decay multiplies it")
    _save(figure, path)


def _mark(axis: Any, norms: Sequence[float]) -> tuple[int, int]:
    """Mark the decays of both rules on a trace; return how many there are of each."""
    paper, trend = find_decays(norms, rule="paper"), find_decays(norms)
    axis.plot(paper, [norms[i] for i in paper], "x", color=PAPER, markersize=7, label="Algorithm 1 decays")
    if trend:
        size = {"markersize": 11, "markeredgecolor": "black"}
        axis.plot(trend, [norms[i] for i in trend], "v", color=TREND, label="trend decays", **size)
    return len(paper), len(trend)


def _save(figure: Any, path: Path) -> None:
    path.write_bytes(png(figure))


FIGURES: dict[str, Callable[[Path], None]] = {"phases": phases, "no_bounce": no_bounce, "rates": rates}


def main(folder: Path = FOLDER) -> None:
    """Draw every figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(folder / f"{name}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
