"""Figures of the positive control, as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.colors import ARM_COLORS, BANDS, CAUSES, MORE_COLORS, NAMES, OTHERS
from benchmarks.control.answers import COMPLEX, EQUAL, Answers
from benchmarks.control.plan import ARMS, DECAY_FACTOR, EPOCHS, FINAL_DECAY_AT, LAYERS, OTHER_FACTORS
from benchmarks.drawing import STYLE, beside, legend, lying, png, standing
from benchmarks.statistics.estimates import Interval

COLORS = {**ARM_COLORS, **MORE_COLORS, "simple": ARM_COLORS["constant+final"]}
"""What is "simple" here is constant+final in the benchmark."""

UNDISTURBED = ARM_COLORS["constant"]
"""Norms are drawn as far as the rate is constant."""

FIRST_DECAYS = (("paper", "x", "abel-paper", "Algorithm 1"), ("trend", CAUSES["bounce"][0], "abel", "“trend”"))
"""Rule, its mark, the arm that it is the rule of, and its name."""


def draw(answers: Answers, folder: Path) -> None:
    """Draw the figures of the page into a folder."""
    with plt.rc_context(STYLE):
        for name, make in FIGURES.items():
            (folder / f"control_{name}.png").write_bytes(png(make(answers)))


def _grid(answers: Answers, settings: Sequence[str], xlabel: str, ylabel: str) -> tuple[Figure, dict[str, Axes]]:
    """A panel a setting: base rates from left to right, with L2 above, without below."""
    of_panels = {setting: answers.settings[setting] for setting in settings}
    l2s, rates = (sorted(set(values)) for values in zip(*of_panels.values()))
    size = (max(9, 2.6 * len(rates)), 2.5 * len(l2s))
    figure, panels = plt.subplots(len(l2s), len(rates), figsize=size, squeeze=False, sharex=True)
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    figure.supylabel(ylabel, fontsize=9)
    return figure, {name: panels[-1 - l2s.index(l2), rates.index(rate)] for name, (l2, rate) in of_panels.items()}


def _traces(axes: Axes, moved: pd.DataFrame, colors: Sequence[str], title: str) -> None:
    for norms, color in zip(moved["norms"], colors):
        axes.plot(np.arange(1, len(norms) + 1), norms, color=color, lw=0.7)
    axes.set_title(f"{title}{moved['bounced'].sum()} of {len(moved)} bounce", fontsize=9)
    axes.set_ylim(bottom=0)


def _norms(answers: Answers) -> Figure:
    figure, panels = _grid(answers, list(answers.settings), "epoch", "|w|² at the constant rate")
    for setting, axes in panels.items():
        moved = answers.moved([setting])
        _traces(axes, moved, [UNDISTURBED] * len(moved), f"{setting}:\n")
        for rule, mark, arm, name in FIRST_DECAYS:
            for norms, epoch in moved[["norms", f"{rule}_first"]].dropna().itertuples(index=False):
                text = f"first decay of {name}"
                axes.plot(epoch, norms[int(epoch) - 1], mark, color=COLORS[arm], ms=5, ls="none", label=text, zorder=3)
        _embolden(axes.title, setting in answers.bouncing())
    legend(figure, panels.values())
    return figure


def _layers(answers: Answers) -> Figure:
    figure, panels = plt.subplots(2, 4, figsize=(9, 4.2), sharex=True)
    for axes, layer in zip(panels.flat, ("total", *LAYERS)):
        moved = answers.moved([answers.showcase], layer)
        _traces(axes, moved, [UNDISTURBED if bounced else OTHERS for bounced in moved["bounced"]], f"{layer}: ")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    figure.suptitle(f"|w|² by layer; {answers.showcase}; dark: bounced", fontsize=10)
    return figure


def _places(answers: Answers) -> Figure:
    figure, panels = _grid(answers, answers.compared, "epoch of the first decay", "final test accuracy, %")
    for setting, axes in panels.items():
        bounces = setting in answers.bouncing()
        for minimum in answers.tuning_minima.get(setting, []) if bounces else []:
            label = "lowest |w|² of a seed at the constant rate"
            axes.axvline(minimum, color=UNDISTURBED, lw=1, ls="--", label=label)
        profile = answers.profile(setting)
        means = profile.mean(axis=1)
        for _, scores in profile.items():
            axes.plot(EPOCHS * profile.index, scores, ".", color=COLORS["step"], ms=4, label="a seed")
        axes.plot(EPOCHS * means.index, means, "-", color=COLORS["step"], label="mean")
        if place := answers.tuned.get(setting):
            axes.plot(EPOCHS * place, means[place], "*", color=COLORS["step"], ms=12, label="chosen")
        axes.set_title(f"{setting}: {_said(bounces)}", fontsize=9)
        _embolden(axes.title, bounces)
        axes.set_xlim(0, EPOCHS * FINAL_DECAY_AT)
    legend(figure, panels.values())
    return figure


def _gains(answers: Answers) -> Figure:
    figure, axes = plt.subplots(figsize=(8.5, 4.8))
    settings = list(reversed(answers.compared))
    axes.axvspan(-EQUAL, EQUAL, color=BANDS[-1][1], lw=0, label=f"±{EQUAL:g} point")
    axes.axvline(0, color="#888888", lw=0.8)
    for y, setting in enumerate(settings):
        for arm, apart in zip(COMPLEX, beside(len(COMPLEX), 0.17)):
            if gain := answers.gain(setting, arm):
                lying(axes, gain, y + apart, COLORS[arm], NAMES[arm])
    axes.set_yticks(range(len(settings)), [f"{s}\n{_said(s in answers.bouncing())}" for s in settings])
    for text, setting in zip(axes.get_yticklabels(), settings):
        _embolden(text, setting in answers.bouncing())
    axes.set_xlabel(f"← worse     final test accuracy minus that of {NAMES['simple']}, points     better →")
    better = [s for s in answers.compared if any(gain.low > 0 for gain in answers.gains([s]).values())]
    figure.suptitle(f"Better than {NAMES['simple']} only at: {'; '.join(better) or 'none'}", fontweight="bold")
    legend(figure, [axes])
    return figure


def _sensitivity(answers: Answers) -> Figure:
    with_l2, without = ([s for s in answers.compared if s in answers.with_l2(wanted)] for wanted in (True, False))
    factors, showcase = (DECAY_FACTOR, *OTHER_FACTORS), answers.showcase
    rates = [answers.settings[setting][1] for setting in with_l2]
    rows: dict[str, tuple[Sequence[float], Callable[[int, str], Interval | None]]] = {
        "base rate, with L2": (rates, lambda i, arm: answers.mean(with_l2[i], arm)),
        "base rate, no L2": (rates, lambda i, arm: answers.mean(without[i], arm)),
        f"decay factor, {showcase}": (factors, lambda i, arm: answers.mean(showcase, arm, factors[i])),
    }
    figure, panels = plt.subplots(1, len(rows), figsize=(9, 3.6), sharey=True)
    for axes, (title, (values, mean)) in zip(panels, rows.items()):
        arms = [arm for arm in ARMS if all(mean(i, arm) for i in range(len(values)))]
        # Side by side: what sees no bounce trains alike.
        for arm, apart in zip(arms, beside(len(arms), -0.12)):
            found = [value for i in range(len(values)) if (value := mean(i, arm))]
            standing(axes, [i + apart for i in range(len(found))], found, COLORS[arm], NAMES[arm], "o")
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set(title=title, xlim=(-0.5, len(values) - 0.5))
    panels[0].set_ylabel("final test accuracy, %")
    figure.suptitle("Waiting for a bounce loses least where base rate or decay factor is wrong", fontweight="bold")
    legend(figure, panels)
    return figure


def _said(bounces: bool) -> str:
    return "bounces" if bounces else "does not bounce"


def _embolden(text: plt.Text, bounces: bool) -> None:
    text.set_fontweight("bold" if bounces else "normal")


FIGURES: dict[str, Callable[[Answers], Figure]] = {
    "norms": _norms,
    "layers": _layers,
    "places": _places,
    "gains": _gains,
    "sensitivity": _sensitivity,
}
