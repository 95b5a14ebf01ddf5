"""The figures of the pages, drawn from what the package computes: ``python -m docs.figures [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.colors import ARM_COLORS, LITERAL_COLOR
from benchmarks.measure.calibration import bounce
from rl_abel import TrendRule, find_decays
from rl_abel.rule import STRIDES, replay, t_statistic
from rl_abel.schedule import Factor, Scaled

FOLDER = Path(__file__).parent / "figures"
WAITING = {"fall": "waiting for a fall", "minimum": "waiting for the minimum", "equilibrium": "waiting for the end"}
SHADES = {"fall": "0.95", "minimum": "#dceaf7", "equilibrium": "#fbe3cf"}
DECIDING = {
    "fall": "lowest of\nthe strides",
    "minimum": "highest of the strides:\nrising when above z",
    "equilibrium": "of stride 1: the rise is over\nwhen not above z",
}
PAPER, TREND = LITERAL_COLOR, ARM_COLORS["abel"]


def phases(path: Path) -> None:
    """What the rule "trend" waits for along a noisy bounce, and the t-statistic that decides each phase."""
    norms = (bounce() + 0.7 * np.random.default_rng(7).standard_normal(100)).tolist()
    rule = TrendRule()
    states = [state for state, _ in replay(rule, norms)]
    phase_at = [state["phase"] for state in states]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 5.6), sharex=True, height_ratios=[3, 2], layout="constrained"
    )
    start = 0
    for t in range(1, 101):
        if t == 100 or phase_at[t] != phase_at[start]:
            phase = phase_at[start]
            for axis in (above, below):
                axis.axvspan(start, t, color=SHADES[phase], zorder=0)
            above.text(
                (start + t) / 2, 310, WAITING[phase].replace(" for ", "\nfor "), ha="center", va="center", fontsize=9
            )
            below.text((start + t) / 2, 14, DECIDING[phase], ha="center", va="top", fontsize=8)
            start = t
    above.plot(norms, color="0.2", marker=".", markersize=4)
    _mark(above, norms)
    above.set(ylabel="squared weight norm |w|²", ylim=(165, 328), title="A bounce, as the rule “trend” sees it")
    above.legend(loc="lower right", fontsize=9)
    before = [rule.init(), *states]
    deciding = [_deciding(state, norm, rule) for state, norm in zip(before, norms)]
    for phase in DECIDING:
        values = [t if state["phase"] == phase else np.nan for state, t in zip(before, deciding)]
        below.plot(values, color="0.2", marker=".", markersize=4)
    for z in (-rule.z, rule.z):
        below.axhline(z, color="0.4", linestyle=":", linewidth=1)
    below.text(99, rule.z + 0.4, f"z = {rule.z:g}", fontsize=9, ha="right")
    below.text(99, -rule.z - 0.4, f"−z = −{rule.z:g}: falling when below", fontsize=9, ha="right", va="top")
    below.set(xlabel="measurement", ylabel="t-statistic", ylim=(-15, 15), xlim=(0, 100))
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
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (title, norms) in zip(axes, traces.items()):
        axis.plot(norms, color="0.2", marker=".", markersize=4)
        paper, trend = _mark(axis, norms.tolist())
        axis.set(title=f"{title}\nAlgorithm 1 decays {paper}×, trend {trend}×", xlabel="measurement")
        axis.title.set_fontsize(10)
    axes[0].set_ylabel("squared weight norm |w|²")
    axes[0].legend(loc="upper left", fontsize=9)
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
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
    for axis, (name, schedule) in zip(axes, own.items()):
        axis.plot(progress, [schedule(1 - p) for p in progress], "--", color="0.5", label="your learning_rate")
        applied = [Scaled(schedule, {"abel": Factor(0.1 ** (int(p >= 0.5) + int(p >= 0.85)))})(1 - p) for p in progress]
        axis.plot(progress, applied, color=TREND, linewidth=2, label="what is applied")
        axis.axvline(0.5, color=TREND, linestyle=":", linewidth=1.5, label="a bounce")
        axis.axvline(0.85, color="0.3", linestyle=":", linewidth=1.5, label="the final decay")
        axis.set(yscale="log", ylim=(3e-8, 3e-3), xlabel="progress", title=f"learning_rate: {name}")
    axes[0].set_ylabel("learning rate")
    axes[0].legend(loc="lower left", fontsize=9)
    _save(figure, path)


def _mark(axis: Any, norms: Sequence[float]) -> tuple[int, int]:
    """Mark the decays of both rules on a trace; return how many there are of each."""
    paper, trend = find_decays(norms, rule="paper"), find_decays(norms)
    axis.plot(
        paper, [norms[i] for i in paper], "x", color=PAPER, markersize=7, label=f"Algorithm 1 decays ({len(paper)}×)"
    )
    if trend:
        size = {"markersize": 11, "markeredgecolor": "black"}
        axis.plot(trend, [norms[i] for i in trend], "v", color=TREND, label=f"trend decays ({len(trend)}×)", **size)
    return len(paper), len(trend)


def _deciding(state: Mapping[str, Any], norm: float, rule: TrendRule) -> float:
    """The t-statistic by which the rule may leave a phase: of the strongest stride, or of stride 1 at the end."""
    phase, norms = state["phase"], [*state["norms"], norm]
    strides = (1,) if phase == "equilibrium" else STRIDES
    statistics = [t_statistic(norms, stride, rule.window) for stride in strides if len(norms) > stride * rule.window]
    return (min if phase == "fall" else max)(statistics, default=np.nan)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


FIGURES: dict[str, Callable[[Path], None]] = {"phases": phases, "no_bounce": no_bounce, "rates": rates}


def main(folder: Path = FOLDER) -> None:
    """Draw every figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(folder / f"{name}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
