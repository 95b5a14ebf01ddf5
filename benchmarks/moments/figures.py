"""The figure of the page: what a decay brings, by when it comes, and when the norm is at its lowest."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from benchmarks.colors import VERDICTS
from benchmarks.drawing import STYLE, legend, png
from benchmarks.moments.answers import Answer, Answers
from benchmarks.moments.plan import CONTROL, SEEDS
from benchmarks.statistics.verdicts import BETTER, WORSE, judged

PICTURE = "moments_gains.png"
LABELS = {BETTER: "a decay pays", WORSE: "it costs"}
OPEN = "#e4e4e4"
EVENT = "minimum"
FEWEST_SEEDS = 3
"""Of a task that is drawn; the intervals of fewer say nothing."""


def draw(answers: Answers, folder: Path) -> None:
    """Draw the figure into a folder."""
    with plt.rc_context(STYLE):
        (folder / PICTURE).write_bytes(png(gains(answers)))


def gains(answers: Answers) -> Figure:
    """Draw a row a task and a cell a moment: the mean gain, colored where its interval excludes 0."""
    answers = {task: answer for task, answer in answers.items() if answer.seeds >= FEWEST_SEEDS} or answers
    figure, axes = plt.subplots(figsize=(8.5, 1.4 + 0.42 * len(answers)))
    names, in_rl = [], []
    for row, (task, answer) in enumerate(answers.items()):
        for place, gain in answer.by_place().items():
            said = judged(gain)
            color = VERDICTS.get(said, OPEN)
            axes.bar(100 * place, 0.9, 9.4, row - 0.45, color=color, label=LABELS.get(said, "not decided"))
            axes.text(100 * place, row, f"{gain.estimate:.2f}".replace("-", "−"), fontsize=8, ha="center", va="center",
                      color="white" if said in VERDICTS else "black")  # fmt: skip
            in_rl += [said] * (task.role != CONTROL)
        if (lowest := _half_past(answer)) is not None:
            label = "half of the runs are past their lowest |w|²"
            axes.plot([100 * lowest - 5] * 2, [row - 0.4, row + 0.4], "k-", lw=3, label=label)
        kind = "L2" if task.role == CONTROL else "ηλN"
        seeds = "" if answer.seeds == len(SEEDS) else f" ({answer.seeds} of {len(SEEDS)} seeds)"
        name = "digits, not RL" if task.role == CONTROL else task.name
        names.append(f"{name}, {f'{kind} {task.strength:g}' if task.strength else 'no weight decay'}{seeds}")
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(-5, 95), xticks=range(0, 100, 10))
    axes.set_xlabel("the decay comes at % of the training")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if in_rl:
        pays, costs = in_rl.count(BETTER), in_rl.count(WORSE)
        title = f"In RL a lower rate pays at {pays} of {len(in_rl)} moments and costs at {costs}"
        figure.suptitle(title, fontweight="bold", fontsize=11)
    legend(figure, [axes])
    return figure


def _half_past(answer: Answer) -> float | None:
    """The first place at which half of the runs are past their lowest norm."""
    past = answer.after[EVENT].mean(axis=0)
    return float(past.index[int(np.argmax(past >= 0.5))]) if (past >= 0.5).any() else None
