"""Figures of a report, as PNG. What is said of each stands in figures.j2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from benchmarks.colors import ARM_COLORS, CAUSES, NAMES, OTHERS, PART_COLORS
from benchmarks.drawing import STYLE, beside, forest, legend, lying, png
from benchmarks.plan import ARMS
from benchmarks.report.answers import (
    PARTS,
    UNDISTURBED,
    Answers,
    Prevalence,
    at_standard,
    with_tasks,
)
from benchmarks.results import Results, decays_of
from benchmarks.statistics.estimates import SEED, Interval, draw_counts, quantiles, widened
from benchmarks.words import templates, text

RESAMPLES = 500
MOST_LINES = 10
"""Lines of single runs in a panel; more hide each other."""

FEWEST_FOR_A_BAND = 3
"""Seeds; the band of two spans several times their distance and hides everything."""


@dataclass(frozen=True)
class Picture:
    """A figure: its file name, what it shows (``alt``), what to see in it (``caption``), and the PNG itself.

    :param answers: which of the two questions it belongs to, None for neither
    """

    name: str
    alt: str
    caption: str
    png: bytes
    answers: int | None = None


def pictures(results: Results, answers: Answers) -> Iterator[Picture]:
    """Yield the figures that these runs allow, in the order of the page."""
    if answers.prevalence:
        yield prevalence(answers.prevalence)
    questions = {
        f"{group},\nagainst {kind}": [("all tasks", found.mean), *((task, of.mean) for task, of in found.tasks.items())]
        for group, kind, found in answers.compared
    }
    if questions:
        yield differences(questions)
    yield from task_pictures(results)


@plt.rc_context(STYLE)
def prevalence(found: Mapping[str, Mapping[str, Prevalence]]) -> Picture:
    """Share of runs that bounced, by task and part; tasks without any bounce share a row."""
    some = [task for task, parts in found.items() if any(of.num_bounced for of in parts.values())]
    none = [max(of.num_runs for of in parts.values()) for task, parts in found.items() if task not in some]
    parts = [part for part in PART_COLORS if any(part in of_task for of_task in found.values())]
    names = [f"{len(none)} other tasks"] * bool(none) + some[::-1]
    figure, axes = plt.subplots(figsize=(8.5, 1.3 + 0.5 * max(2, len(names))))
    if none:
        axes.text(0.02, 0, f"no bounce of any part: 0 of {sum(none)} runs", fontsize=8, va="center", color="#444444")
    for y, task in enumerate(names):
        for part, apart in zip(parts, beside(len(parts), 0.24)):
            if of := found.get(task, {}).get(part):
                color = PART_COLORS[part]
                lying(axes, of.share, y + apart, color, part, lw=2, alpha=0.25, solid_capstyle="butt")
                counts = f"{of.num_bounced}/{of.num_runs}"
                axes.text(1.03, y + apart, counts, color=color, fontsize=7, va="center")
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(-0.01, 1.0), ylim=(-0.6, len(names) - 0.4))
    axes.set_xlabel("share of runs at a constant rate whose weight norm bounced; pale: 95 % interval")
    totals = [parts["total"] for parts in found.values() if "total" in parts]
    bounced, runs = sum(of.num_bounced for of in totals), sum(of.num_runs for of in totals)
    axes.set_title(f"The weight norm as a whole bounced in {bounced} of {runs} runs", fontweight="bold")
    return _picture("prevalence", figure, [axes], question=0)


@plt.rc_context(STYLE)
def differences(questions: Mapping[str, Sequence[tuple[str, Interval]]]) -> Picture:
    """Draw one decay near the end minus other arms: what is compared -> tasks, and the difference in each."""
    figure = forest(questions)
    return _picture("differences", figure, figure.axes, question=1)


def task_pictures(results: Results) -> Iterator[Picture]:
    """Yield a figure a task: return, learning rate and weight norms."""
    runs = at_standard(with_tasks(results.runs))
    runs = runs[runs["status"] == "complete"]
    for index, (task, of_task) in enumerate(runs.groupby("task")):
        evaluations, traces = (
            table[table["run_id"].isin(of_task["run_id"])] for table in (results.evaluations, results.traces)
        )
        yield _task(f"task-{index}", str(task), of_task, evaluations, traces)


@plt.rc_context(STYLE)
def _task(name: str, task: str, runs: pd.DataFrame, evaluations: pd.DataFrame, traces: pd.DataFrame) -> Picture:
    parts = [part for part in PARTS if part in traces and traces[part].notna().any()]
    parts = parts if len(parts) > 2 else parts[-1:]  # a single network is the total
    figure = plt.figure(figsize=(8.5, 5.2))
    above, below = figure.add_gridspec(2, 1)
    curve, rate = above.subgridspec(1, 2, width_ratios=(3, 2)).subplots()
    norms = below.subgridspec(1, max(1, len(parts))).subplots(squeeze=False)[0]
    # Those that matter last, above the grey ones.
    for arm in sorted(in_order(runs["arm"].unique()), key=lambda arm: arm in ARM_COLORS):
        of_arm = evaluations[evaluations["run_id"].isin(runs.loc[runs["arm"] == arm, "run_id"])]
        returns, rates = (
            of_arm.pivot_table(index="timesteps", columns="run_id", values=column).dropna()
            for column in ("return_mean", "learning_rate")
        )
        if len(returns):
            _curve(curve, returns, arm)
            # No rate is drawn where linear decay and cosine end, at 0.
            rate.plot(rates.median(axis=1).where(lambda median: median > 0), marker=".", lw=1.2, ms=3, **_line(arm))
    curve.set(title="return")
    rate.set(title="learning rate (median)", yscale="log")
    rate.yaxis.set_major_formatter("{x:g}")
    rate.yaxis.set_minor_formatter(NullFormatter())
    drawn = [y for line in rate.lines if line.get_color() != OTHERS for y in line.get_ydata() if y == y]
    if drawn:
        rate.set_ylim(bottom=min(drawn) / 2)  # Algorithm 1 goes down to 1e-10
    for axes, part in zip(norms, parts):
        for arm in (UNDISTURBED, "abel"):
            _norms(axes, runs[runs["arm"] == arm].head(MOST_LINES), traces, part, arm)
        axes.set(title=f"|w|², {part}", xlabel="timesteps")
        axes.ticklabel_format(axis="y", useOffset=False)
    for axes in (curve, rate, *norms):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlim(0, runs["timesteps"].max())
    figure.suptitle(task, fontweight="bold")
    scores = runs.groupby("arm")["score"].mean().dropna()
    return _picture(name, figure, (curve, *norms), task, {a: scores[a] for a in ARM_COLORS if a in scores})


def _curve(axes: Axes, returns: pd.DataFrame, arm: str) -> None:
    """Draw the mean of returns (num_evaluations, num_runs), with its band if there are enough runs."""
    mean, num_runs = returns.mean(axis=1).to_numpy(), returns.shape[1]
    axes.plot(returns.index, mean, lw=1.2, **_line(arm))
    if arm in ARM_COLORS and num_runs >= FEWEST_FOR_A_BAND:
        counts = draw_counts(num_runs, RESAMPLES, np.random.default_rng(SEED))
        low, high = mean + quantiles(widened([counts @ returns.to_numpy().T / num_runs - mean], [num_runs]))
        axes.fill_between(returns.index, low, high, color=_color(arm), alpha=0.1, lw=0)


def _norms(axes: Axes, runs: pd.DataFrame, traces: pd.DataFrame, part: str, arm: str) -> None:
    for row in runs.to_dict("records"):
        norms = traces[traces["run_id"] == row["run_id"]].set_index("timesteps")[part].dropna()
        axes.plot(norms, color=_color(arm), lw=0.8, alpha=0.6)
        for timestep, cause, _ in decays_of(row) if len(norms) else ():
            marker, label = CAUSES.get(cause, ("x", cause))
            height = np.interp(timestep, norms.index, norms)
            axes.plot(timestep, height, marker, color=_color(arm), mec="black", mew=0.6, ms=5, ls="none", label=label)


def in_order(arms: Iterable[str]) -> list[str]:
    """Return the arms in the benchmark's order; others come last."""
    return sorted(arms, key=lambda arm: (ARMS.index(arm) if arm in ARMS else len(ARMS), arm))


def _color(arm: str) -> str:
    return ARM_COLORS.get(arm, OTHERS)


def _label(arm: str) -> str:
    return NAMES[arm] if arm in ARM_COLORS else "other arms"


def _line(arm: str) -> dict[str, str]:
    # Where nothing bounces abel is the same as constant+final, which shows between the dashes.
    return {"color": _color(arm), "label": _label(arm), "ls": "--" if arm == "abel" else "-"}


def _picture(name: str, figure: Figure, panels: Iterable[Axes], *about: object, question: int | None = None) -> Picture:
    """Finish a figure: its legend, and what its macros, named after its kind, say about it."""
    legend(figure, panels)
    said = templates("benchmarks.report").get_template("figures.j2")
    kind = name.partition("-")[0]
    alt, caption = (text(said, f"{kind}_{which}", *about) for which in ("alt", "caption"))
    return Picture(name, alt, caption, png(figure), question)
