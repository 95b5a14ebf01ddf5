"""Figures of the positive control, as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.colors import ARM_COLORS, BANDS, MORE_COLORS, OTHERS
from benchmarks.control.answers import COMPLEX, EQUAL, Answers
from benchmarks.control.plan import (
    ARMS,
    DECAY_FACTOR,
    EPOCHS,
    FINAL_DECAY_AT,
    LAYERS,
    OTHER_FACTORS,
    WITH_FACTORS,
    Setting,
)
from benchmarks.control.words import label, showcase
from benchmarks.report.figures import STYLE, legend
from benchmarks.statistics.estimates import Interval

COLORS = {**ARM_COLORS, **MORE_COLORS, "simple": ARM_COLORS["constant+final"]}
"""What is "simple" here is constant+final in the benchmark."""

UNDISTURBED = ARM_COLORS["constant"]
"""Norms are drawn as far as the rate is constant."""


def draw(answers: Answers, folder: Path) -> None:
    """Draw the figures of the page into a folder."""
    with plt.rc_context(STYLE):
        for name, make in FIGURES.items():
            figure = make(answers)
            figure.set_layout_engine("constrained")
            figure.savefig(folder / f"control_{name}.png")
            plt.close(figure)


def _grid(settings: Sequence[Setting], xlabel: str) -> tuple[Figure, dict[Setting, Axes]]:
    """A panel a setting: base rates from left to right, with L2 above, without below."""
    rates = sorted({rate for _, rate in settings})
    l2s = sorted({l2 for l2, _ in settings}, reverse=True)
    size = (max(9, 2.6 * len(rates)), 2.5 * len(l2s))
    figure, panels = plt.subplots(len(l2s), len(rates), figsize=size, squeeze=False, sharex=True)
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    return figure, {(l2, rate): panels[row][column] for row, l2 in enumerate(l2s) for column, rate in enumerate(rates)}


def _norms(answers: Answers) -> Figure:
    figure, panels = _grid(answers.settings, "epoch")
    for setting, axes in panels.items():
        found = [movements["total"] for movements in answers.movements.get(setting, {}).values()]
        for movement in found:
            epochs = np.arange(1, len(movement.norms) + 1)
            axes.plot(epochs, movement.norms, color=UNDISTURBED, lw=0.7, alpha=0.5)
            for decays, marker, color, text in (
                (movement.paper[:1], "x", COLORS["abel-paper"], "first decay of Algorithm 1"),
                (movement.trend[:1], "v", COLORS["abel"], "first decay of “trend”"),
            ):
                for epoch in decays:
                    axes.plot(
                        epoch, movement.norms[epoch - 1], marker, color=color, ms=5, ls="none", label=text, zorder=3
                    )
        bounced = sum(movement.bounced for movement in found)
        weight = "bold" if answers.bounces(setting) else "normal"
        axes.set_title(f"{label(setting)}:\n{bounced} of {len(found)} bounce", fontsize=9, fontweight=weight)
        axes.set_ylim(bottom=0)
    figure.supylabel("|w|² at the constant rate", fontsize=9)
    legend(figure, panels.values())
    return figure


def _layers(answers: Answers) -> Figure:
    setting = showcase(answers)
    figure, panels = plt.subplots(2, 4, figsize=(9, 4.2), sharex=True)
    movements = answers.movements[setting].values()
    for axes, layer in zip(panels.flat, ("total", *LAYERS)):
        for of_run in movements:
            movement = of_run[layer]
            epochs = np.arange(1, len(movement.norms) + 1)
            axes.plot(epochs, movement.norms, lw=0.7, color=UNDISTURBED if movement.bounced else OTHERS)
        bounced = sum(of_run[layer].bounced for of_run in movements)
        axes.set_title(f"{layer}: {bounced} of {len(movements)} bounce", fontsize=9)
        axes.set_ylim(bottom=0)
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    figure.suptitle(f"|w|² by layer; {label(setting)}; dark: bounced", fontsize=10)
    return figure


def _places(answers: Answers) -> Figure:
    figure, panels = _grid(answers.compared, "epoch of the first decay")
    for setting, axes in panels.items():
        profile = answers.profiles.get(setting, {})
        places = np.array(sorted(profile))
        for minimum in answers.tuning_minima.get(setting, []) if answers.bounces(setting) else []:
            axes.axvline(minimum, color=UNDISTURBED, lw=1, ls="--", label="lowest |w|² of a seed at the constant rate")
        for number in range(min(map(len, profile.values()), default=0)):
            scores = [100 * profile[place][number] for place in places]
            axes.plot(EPOCHS * places, scores, ".", color=COLORS["step"], ms=4, label="a seed")
        means = [100 * np.mean(profile[place]) for place in places]
        axes.plot(EPOCHS * places, means, "-", color=COLORS["step"], label="mean")
        if setting in answers.tuned:
            place = answers.tuned[setting]
            axes.plot(EPOCHS * place, 100 * np.mean(profile[place]), "*", color=COLORS["step"], ms=12, label="chosen")
        bounces = answers.bounces(setting)
        axes.set_title(
            f"{label(setting)}: {'bounces' if bounces else 'does not bounce'}",
            fontweight="bold" if bounces else "normal",
            fontsize=9,
        )
        axes.set_xlim(0, EPOCHS * FINAL_DECAY_AT)
    figure.supylabel("final test accuracy, %", fontsize=9)
    legend(figure, panels.values())
    return figure


def _gains(answers: Answers) -> Figure:
    figure, axes = plt.subplots(figsize=(8.5, 4.8))
    settings = list(reversed(answers.compared))
    axes.axvspan(-100 * EQUAL, 100 * EQUAL, color=BANDS[-1][1], lw=0, label=f"±{100 * EQUAL:g} point")
    axes.axvline(0, color="#888888", lw=0.8)
    for y, setting in enumerate(settings):
        for number, arm in enumerate(COMPLEX):
            gain = answers.gain(setting, arm)
            if gain is not None:
                height = y + 0.17 * ((len(COMPLEX) - 1) / 2 - number)
                axes.plot([100 * gain.low, 100 * gain.high], [height] * 2, color=COLORS[arm], lw=1.6)
                axes.plot(100 * gain.estimate, height, "o", color=COLORS[arm], ms=4, label=arm)
    names = [f"{label(s)}\n{'bounces' if answers.bounces(s) else 'does not bounce'}" for s in settings]
    axes.set_yticks(range(len(settings)), names)
    for text, setting in zip(axes.get_yticklabels(), settings):
        text.set_fontweight("bold" if answers.bounces(setting) else "normal")
    axes.set_xlabel("← worse     final test accuracy minus that of “simple”, points     better →")
    legend(figure, [axes])
    return figure


def _sensitivity(answers: Answers) -> Figure:
    with_l2 = [setting for setting in answers.compared if setting[0]]
    without = [setting for setting in answers.compared if not setting[0]]
    figure, panels = plt.subplots(1, 2 + len(with_l2), figsize=(2.2 * (2 + len(with_l2)), 2.9), sharey=True)
    for axes, settings, title in zip(panels, (with_l2, without), ("base rate, with L2", "base rate, no L2")):
        rates = [rate for _, rate in settings]
        for arm in ARMS:
            _line(axes, rates, [answers.mean(setting, arm) for setting in settings], arm)
        axes.set(xscale="log", title=title, xlabel="base rate")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
    for axes, setting in zip(panels[2:], with_l2):
        factors = [DECAY_FACTOR, *OTHER_FACTORS]
        for arm in WITH_FACTORS:
            _line(axes, factors, [answers.mean(setting, arm, factor) for factor in factors], arm)
        axes.set(title=f"decay factor, L2,\nrate {setting[1]:g}", xlabel="decay factor", xlim=(0, 0.6))
        axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    panels[0].set_ylabel("final test accuracy, %")
    legend(figure, panels)
    return figure


def _line(axes: Axes, positions: list[float], values: list[Interval | None], arm: str) -> None:
    there = [(x, value) for x, value in zip(positions, values) if value is not None]
    means = np.array([100 * value.estimate for _, value in there])
    ends = 100 * np.array([[value.low, value.high] for _, value in there]).reshape(-1, 2)
    errors = np.abs(ends.T - means)
    axes.errorbar([x for x, _ in there], means, errors, fmt="o-", ms=3, lw=1.2, capsize=2, color=COLORS[arm], label=arm)


FIGURES: dict[str, Callable[[Answers], Figure]] = {
    "norms": _norms,
    "layers": _layers,
    "places": _places,
    "gains": _gains,
    "sensitivity": _sensitivity,
}
