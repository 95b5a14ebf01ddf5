"""Figures of a report, as PNG. Names from runs' folders are drawn as they are, never as markup."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.plan import ARMS
from benchmarks.report.answers import PARTS, SEED, UNDISTURBED, Answers, at_standard, with_tasks
from benchmarks.results import Results, decays_of
from benchmarks.statistics.estimates import draw_counts, performance_profile, quantiles, widened

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "text.parse_math": False,
    "figure.dpi": 110,
}
COLORS = dict(
    zip(ARMS, ("#444444", "#1f77b4", "#17becf", "#9467bd", "#d62728", "#e377c2", "#2ca02c", "#bcbd22", "#ff7f0e"))
)
PART_COLORS = {"total": "#444444", "policy": "#1f77b4", "value": "#d62728", "shared": "#9467bd"}
NORMS = {
    "total": "|w|², total",
    "policy": "|w|², policy network",
    "value": "|w|², value network",
    "shared": "|w|², shared layers",
}
RESAMPLES = 500
MOST_LINES = 10
"""Lines of single runs in a panel; more hide each other."""

FEWEST_FOR_A_BAND = 3
"""Seeds; the band of two spans several times their distance and hides everything."""

CAUSES = {"bounce": ("v", "decay after a bounce"), "final": ("o", "final decay")}


@dataclass(frozen=True)
class Picture:
    """A figure: its file name, what it shows in a line, and the PNG itself.

    :param answers: which of the two questions it belongs to, None for neither
    """

    name: str
    caption: str
    png: bytes
    answers: int | None = None


def pictures(results: Results, answers: Answers, sensitivity: pd.DataFrame) -> Iterator[Picture]:
    """Yield the figures that these runs allow, in the order of the page."""
    with plt.rc_context(STYLE):
        if answers.prevalence:
            yield _prevalence(answers)
        if any(answers.sufficiency.values()):
            yield _differences(answers)
        if answers.summaries:
            yield _profiles(answers)
        runs = at_standard(with_tasks(results.runs))
        runs = runs[runs["status"] == "complete"]
        evaluations = dict(iter(results.evaluations.groupby("run_id", sort=False)))
        traces = dict(iter(results.traces.groupby("run_id", sort=False)))
        for number, (task, of_task) in enumerate(runs.groupby("task")):
            yield _task(f"task-{number}", str(task), of_task, evaluations, traces)
        for number, (task, of_task) in enumerate(sensitivity.groupby("task")):
            yield _sensitivity(f"sensitivity-{number}", str(task), of_task)


def _prevalence(answers: Answers) -> Picture:
    """Share of runs that bounced, by task and part, with the exact interval."""
    tasks = list(answers.prevalence)
    parts = [part for part in PART_COLORS if any(part in found for found in answers.prevalence.values())]
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + 0.34 * max(2, len(tasks))))
    for number, part in enumerate(parts):
        for y, task in enumerate(reversed(tasks)):
            if part in answers.prevalence[task]:
                share = answers.prevalence[task][part].share
                height = y + 0.22 * ((len(parts) - 1) / 2 - number)
                axes.plot([share.low, share.high], [height] * 2, color=PART_COLORS[part], lw=1.6, label=part)
                axes.plot(share.estimate, height, "o", color=PART_COLORS[part], ms=4)
    axes.set(yticks=range(len(tasks)), yticklabels=tasks[::-1], xlim=(-0.02, 1.02))
    axes.set_xlabel("share of runs at a constant rate whose weight norm bounced, with its exact 95 % interval")
    entries = dict(zip(*reversed(axes.get_legend_handles_labels())))
    axes.legend(entries.values(), entries, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4)
    return _picture("prevalence", "Does the weight norm bounce? Share of runs by task and part.", figure, 0)


def _differences(answers: Answers) -> Picture:
    """The verdicts: difference with its interval against the margin, by task and overall."""
    rows = []
    for group, comparisons in answers.sufficiency.items():
        for kind, comparison in comparisons.items():
            verdicts = [(f"ALL {group}", comparison.overall), *comparison.tasks.items()]
            for task, verdict in verdicts:
                against = "linear" if kind == "linear" else f"the best ({verdict.best['mean']})"
                rows.append((f"{task}  –  {against}", verdict))
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + 0.27 * max(2, len(rows))))
    margin = next((c.margin for pair in answers.sufficiency.values() for c in pair.values()), 0.05)
    axes.axvspan(-margin, margin, color="#cfe8cf", label=f"margin ±{margin:g}", lw=0)
    axes.axvline(0, color="#888888", lw=0.8)
    widest = [abs(end) for _, v in rows for end in (*v.mean, *v.iqm) if np.isfinite(end)]
    limit = max([3 * margin, *widest]) * 1.1
    for y, (_, verdict) in enumerate(reversed(rows)):
        for offset, value, marker, color in (
            (0.12, verdict.mean, "o", "#d62728"),
            (-0.12, verdict.iqm, "s", "#1f77b4"),
        ):
            ends = np.clip([value.low, value.high], -limit, limit)
            axes.plot(ends, [y + offset] * 2, color=color, lw=1.6)
            label = {"o": "mean", "s": "IQM"}[marker] if y == 0 else None
            axes.plot(value.estimate, y + offset, marker, color=color, ms=4, ls="none", label=label)
    axes.set(yticks=range(len(rows)), yticklabels=[label for label, _ in reversed(rows)], xlim=(-limit, limit))
    for text in axes.get_yticklabels():
        text.set_fontweight("bold" if text.get_text().startswith("ALL") else "normal")
    axes.set_xlabel("← worse     constant+final minus the other, normalised score     better →")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    return _picture(
        "differences", "Does constant + final decay suffice? Differences with their 95 % intervals.", figure, 1
    )


def _profiles(answers: Answers) -> Picture:
    taus = np.linspace(0, 1.2, 61)
    figure, panels = plt.subplots(1, len(answers.summaries), figsize=(8.5, 3), squeeze=False, sharey=True)
    for axes, (group, summaries) in zip(panels[0], answers.summaries.items()):
        rng = np.random.default_rng(SEED)
        for arm in _in_order(summaries):
            tasks = {task: list(answers.scores[arm][task].values()) for task in summaries[arm].tasks}
            profile = performance_profile(tasks, taus, rng, RESAMPLES)
            axes.plot(taus, profile.shares, color=_color(arm), ls=_style(arm), label=arm, lw=1.4)
            if min(map(len, tasks.values())) >= FEWEST_FOR_A_BAND and arm in ("constant", "constant+final", "linear"):
                axes.fill_between(taus, profile.low, profile.high, color=_color(arm), alpha=0.12, lw=0)
        axes.set(title=group, xlabel="score (0 random, 1 reference)", ylim=(0, 1.02))
    panels[0][0].set_ylabel("share of runs above")
    _legend(figure, panels.ravel())
    return _picture("profiles", "Performance profiles: share of runs above a score, averaged over tasks.", figure, 1)


def _task(
    name: str,
    task: str,
    runs: pd.DataFrame,
    evaluations: Mapping[str, pd.DataFrame],
    traces: Mapping[str, pd.DataFrame],
) -> Picture:
    parts = [part for part in PARTS if any(_has(traces, r, part) for r in runs["run_id"])]
    parts = parts if len(parts) > 2 else parts[-1:]  # a single network is the total
    figure, panels = plt.subplots(1, 2 + len(parts), figsize=(3.8 + 2.2 * len(parts), 2.8), squeeze=False)
    curve, rate, *norms = panels[0]
    for arm in _in_order(runs["arm"].unique()):
        of_arm = [evaluations[run_id] for run_id in runs.loc[runs["arm"] == arm, "run_id"] if run_id in evaluations]
        if of_arm:
            _curve(curve, of_arm, arm)
            _rates(rate, of_arm, arm)
    curve.set(title="return", xlabel="timesteps")
    rate.set(title="learning rate (median)", xlabel="timesteps")
    for axes, part in zip(norms, parts):
        for arm in (UNDISTURBED, "abel"):
            _norms(axes, runs[runs["arm"] == arm].head(MOST_LINES), traces, part, arm)
        axes.set(title=NORMS[part], xlabel="timesteps")
        axes.ticklabel_format(axis="y", useOffset=False)
    for axes in panels[0]:
        axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    figure.suptitle(task, fontweight="bold")
    _legend(figure, panels.ravel())
    caption = (
        f"{task}: mean return with its 95 % band, learning rate (both at the evaluations, joined by lines), and weight "
        "norms of single runs (constant and abel)."
    )
    return _picture(name, caption, figure)


def _has(traces: Mapping[str, pd.DataFrame], run_id: str, part: str) -> bool:
    return run_id in traces and part in traces[run_id] and bool(traces[run_id][part].notna().any())


def _curve(axes: Axes, evaluations: Sequence[pd.DataFrame], arm: str) -> None:
    rows = min(len(table) for table in evaluations)
    timesteps = evaluations[0]["timesteps"].to_numpy()[:rows]
    returns = np.stack([table["return_mean"].to_numpy()[:rows] for table in evaluations])
    mean = returns.mean(axis=0)
    axes.plot(timesteps, mean, color=_color(arm), ls=_style(arm), label=arm, lw=1.2)
    if len(returns) >= FEWEST_FOR_A_BAND:
        counts = draw_counts(len(returns), RESAMPLES, np.random.default_rng(SEED))
        low, high = mean + quantiles(widened([counts @ returns / len(returns) - mean], [len(returns)]))
        axes.fill_between(timesteps, low, high, color=_color(arm), alpha=0.1, lw=0)


def _rates(axes: Axes, evaluations: Sequence[pd.DataFrame], arm: str) -> None:
    rows = min(len(table) for table in evaluations)
    rates = np.median([table["learning_rate"].to_numpy()[:rows] for table in evaluations], axis=0)
    axes.plot(
        evaluations[0]["timesteps"].to_numpy()[:rows], rates, ".", color=_color(arm), ls=_style(arm), lw=1.2, ms=3
    )


def _norms(axes: Axes, runs: pd.DataFrame, traces: Mapping[str, pd.DataFrame], part: str, arm: str) -> None:
    for row in runs.to_dict("records"):
        if not _has(traces, row["run_id"], part):
            continue
        trace = traces[row["run_id"]]
        timesteps, norms = trace["timesteps"].to_numpy(), trace[part].to_numpy()
        axes.plot(timesteps, norms, color=_color(arm), lw=0.8, alpha=0.6)
        if arm == UNDISTURBED:
            continue
        for timestep, cause, _ in decays_of(row):
            marker, label = CAUSES.get(cause, ("x", cause))
            height = np.interp(timestep, timesteps, norms)
            axes.plot(timestep, height, marker, color=_color(arm), mec="black", mew=0.6, ms=5, ls="none", label=label)


def _sensitivity(name: str, task: str, table: pd.DataFrame) -> Picture:
    varied = [key for key in ("rate_multiplier", "decay_factor", "final_decay_at") if table[key].nunique() > 1]
    figure, panels = plt.subplots(1, len(varied), figsize=(3.4 * len(varied) + 1.5, 2.8), squeeze=False, sharey=True)
    for axes, key in zip(panels[0], varied):
        at = at_standard(
            table.assign(**{key: {"rate_multiplier": 1.0, "decay_factor": 0.1, "final_decay_at": 0.85}[key]})
        )
        # The other two settings stay at their standard; this one takes all its values.
        at = table.loc[at.index]
        values = sorted(at[key].unique())
        arms = [arm for arm in _in_order(at["arm"].unique()) if (at["arm"] == arm).sum() > 1]
        for number, arm in enumerate(arms):
            of_arm = at[at["arm"] == arm].sort_values(key)
            # Side by side: intervals of several arms at one value hide each other.
            beside = 0.08 * (number - (len(arms) - 1) / 2)
            positions = [values.index(value) + beside for value in of_arm[key]]
            ends = np.abs(of_arm[["low", "high"]].to_numpy() - of_arm[["mean"]].to_numpy()).T
            ends[~np.isfinite(ends)] = np.nan  # of a single run
            axes.errorbar(
                positions, of_arm["mean"], ends, fmt="o", ls="-", lw=1, ms=4, elinewidth=1, color=_color(arm), label=arm
            )
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set(xlabel={"rate_multiplier": "base rate, times the preset's"}.get(key, key.replace("_", " ")))
    panels[0][0].set_ylabel("mean score")
    figure.suptitle(task, fontweight="bold")
    _legend(figure, panels.ravel())
    return _picture(
        name,
        f"{task}: how much the setting matters. Mean scores with 95 % intervals, a color for each arm. Where no norm "
        "bounces, abel is constant+final, and lies beside it.",
        figure,
    )


def _in_order(arms: Sequence[str] | Mapping[str, object]) -> list[str]:
    return [arm for arm in ARMS if arm in arms] + sorted(arm for arm in arms if arm not in ARMS)


def _color(arm: str) -> str:
    return COLORS.get(arm, "#8c564b")


def _style(arm: str) -> str:
    # Where nothing bounces this arm is the same as constant+final, which shows between the dashes.
    return "--" if arm == "abel" else "-"


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    if entries:
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=6, fontsize=8)


def _picture(name: str, caption: str, figure: Figure, question: int | None = None) -> Picture:
    figure.set_layout_engine("constrained")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return Picture(name, caption, buffer.getvalue(), question)
