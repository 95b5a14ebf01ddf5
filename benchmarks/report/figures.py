"""Figures of a report, as PNG. Names from runs' folders are drawn as they are, never as markup."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from benchmarks.colors import ARM_COLORS, BANDS, CAUSES, OTHERS, PART_COLORS
from benchmarks.plan import ARMS
from benchmarks.report.answers import (
    CANDIDATE,
    PARTS,
    SEED,
    STANDARD,
    UNDISTURBED,
    Answers,
    Prevalence,
    at_standard,
    with_tasks,
)
from benchmarks.results import Results, decays_of
from benchmarks.statistics.estimates import Interval, draw_counts, performance_profile, quantiles, widened

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "text.parse_math": False,
    "figure.dpi": 110,
}
RESAMPLES = 500
MOST_LINES = 10
"""Lines of single runs in a panel; more hide each other."""

FEWEST_FOR_A_BAND = 3
"""Seeds; the band of two spans several times their distance and hides everything."""

FEWEST_FOR_A_PROFILE = 10
"""Runs of each arm: with fewer a profile is a staircase of single runs."""


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


def pictures(results: Results, answers: Answers, sensitivity: pd.DataFrame) -> Iterator[Picture]:
    """Yield the figures that these runs allow, in the order of the page."""
    if answers.prevalence:
        yield prevalence(answers.prevalence)
    if any(answers.sufficiency.values()):
        yield forest(
            {
                f"{group}, against {'linear' if kind == 'linear' else 'the best other'}": [
                    (task, {judged.best["mean"]: judged.mean})
                    for task, judged in [("all tasks", found.overall), *found.tasks.items()]
                ]
                for group, comparisons in answers.sufficiency.items()
                for kind, found in comparisons.items()
            }
        )
    if drawn := profiles(answers):
        yield drawn
    yield from task_pictures(results)
    yield from sensitivity_pictures(sensitivity)


@plt.rc_context(STYLE)
def prevalence(found: Mapping[str, Mapping[str, Prevalence]]) -> Picture:
    """Share of runs that bounced, by task and part; tasks without any bounce share a row."""
    some = [task for task, parts in found.items() if any(of.num_bounced for of in parts.values())]
    none = [task for task in found if task not in some]
    parts = [part for part in PART_COLORS if any(part in of_task for of_task in found.values())]
    tasks = [*some, *([none] if none else [])]
    figure, axes = plt.subplots(figsize=(8.5, 1.3 + 0.5 * max(2, len(tasks))))
    for y, task in enumerate(reversed(tasks)):
        for place, part in enumerate(parts):
            height = y + 0.24 * ((len(parts) - 1) / 2 - place)
            if isinstance(task, str) and part in found[task]:
                share, color = found[task][part].share, PART_COLORS[part]
                axes.plot([share.low, share.high], [height] * 2, color=color, lw=2, alpha=0.25, solid_capstyle="butt")
                axes.plot(share.estimate, height, "o", color=color, ms=4, label=part)
                text = f"{found[task][part].num_bounced}/{found[task][part].num_runs}"
                axes.text(1.03, height, text, color=color, fontsize=7, va="center")
        if not isinstance(task, str):
            runs = sum(max(of.num_runs for of in found[name].values()) for name in task)
            axes.text(0.02, y, f"no bounce of any part: 0 of {runs} runs", fontsize=8, va="center", color="#444444")
    names = [task if isinstance(task, str) else f"{len(task)} other tasks" for task in reversed(tasks)]
    axes.set(yticks=range(len(tasks)), yticklabels=names, xlim=(-0.01, 1.0), ylim=(-0.6, len(tasks) - 0.4))
    axes.set_xlabel("share of runs at a constant rate whose weight norm bounced; pale: 95 % interval")
    legend(figure, [axes])
    caption = "A dot is the share of runs, its pale line what these few runs do not exclude."
    return _picture("prevalence", "Share of runs whose weight norm bounced, by task and part.", caption, figure, 0)


@plt.rc_context(STYLE)
def forest(sections: Mapping[str, Sequence[tuple[str, Mapping[str, Interval]]]]) -> Picture:
    """Constant + final decay minus other arms, with their intervals, against bands of ±0.05 and ±0.10.

    :param sections: heading -> rows; a row is a label, and the difference by other arm, which colors it
    """
    rows: list[tuple[str, Mapping[str, Interval] | None]] = []
    for heading, of_section in sections.items():
        rows += [(heading, None), *of_section]
    values = [value for _, of_row in rows if of_row for value in of_row.values()]
    ends = [abs(end) for value in values for end in value if np.isfinite(end)]
    limit = max([0.15, *ends]) * 1.05
    figure, axes = plt.subplots(figsize=(8.5, 1.1 + 0.24 * len(rows)))
    for width, color in BANDS:
        axes.axvspan(-width, width, color=color, lw=0, label=f"±{width:.2f}")
    axes.axvline(0, color="#888888", lw=0.8)
    for y, (_, of_row) in enumerate(reversed(rows)):
        for place, (arm, value) in enumerate((of_row or {}).items()):
            height = y + 0.26 * ((len(of_row or {}) - 1) / 2 - place)
            low, high = np.clip(value[1:], -limit, limit)
            axes.plot([low, high], [height] * 2, color=_color(arm), lw=1.6)
            axes.plot(value.estimate, height, "o", color=_color(arm), ms=4, ls="none", label=f"minus {arm}")
    axes.set(yticks=range(len(rows)), yticklabels=[label for label, _ in reversed(rows)])
    axes.set(xlim=(-limit, limit), ylim=(-0.7, len(rows) - 0.3))
    for text, (_, of_row) in zip(axes.get_yticklabels(), reversed(rows)):
        text.set_fontweight("normal" if of_row else "bold")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"← worse     {CANDIDATE} minus the other, normalised score     better →")
    legend(figure, [axes])
    caption = "A line is the 95 % interval over seeds: beyond the grey band a difference above 0.10 is not excluded."
    return _picture("differences", "Differences of scores by task, with their intervals.", caption, figure, 1)


@plt.rc_context(STYLE)
def profiles(answers: Answers) -> Picture | None:
    """Performance profiles of the groups whose arms have ``FEWEST_FOR_A_PROFILE`` runs on every task."""
    groups = {}
    for group, summaries in answers.summaries.items():
        runs = {arm: [of.num_runs for of in summary.tasks.values()] for arm, summary in summaries.items()}
        if arms := [arm for arm in _in_order(runs) if min(runs[arm]) >= FEWEST_FOR_A_PROFILE]:
            groups[group] = arms
    if not groups:
        return None
    figure, panels = plt.subplots(1, len(groups), figsize=(4.3 * len(groups), 3), squeeze=False, sharey=True)
    for axes, (group, arms) in zip(panels[0], groups.items()):
        rng = np.random.default_rng(SEED)
        scores = {
            arm: {task: list(answers.scores[arm][task].values()) for task in answers.summaries[group][arm].tasks}
            for arm in arms
        }
        taus = np.linspace(0, max(max(of) for tasks in scores.values() for of in tasks.values()), 61)
        for arm, tasks in scores.items():
            profile = performance_profile(tasks, taus, rng, RESAMPLES)
            axes.plot(taus, profile.shares, color=_color(arm), ls=_style(arm), label=_label(arm), lw=1.4)
            if arm in ARM_COLORS:
                axes.fill_between(taus, profile.low, profile.high, color=_color(arm), alpha=0.12, lw=0)
        axes.set(title=group, xlabel="score (0 random, 1 reference)", ylim=(0, 1.02), xlim=(0, taus[-1]))
    panels[0][0].set_ylabel("share of runs above")
    legend(figure, panels.ravel())
    caption = "A curve above another has more runs beyond that score; where curves touch, the arms are alike."
    return _picture("profiles", "Share of runs above a score, averaged over tasks.", caption, figure, 1)


def task_pictures(results: Results) -> Iterator[Picture]:
    """Yield a figure a task: return, learning rate and weight norms."""
    runs = at_standard(with_tasks(results.runs))
    runs = runs[runs["status"] == "complete"]
    evaluations = dict(iter(results.evaluations.groupby("run_id", sort=False)))
    traces = dict(iter(results.traces.groupby("run_id", sort=False)))
    for index, (task, of_task) in enumerate(runs.groupby("task")):
        yield _task(f"task-{index}", str(task), of_task, evaluations, traces)


@plt.rc_context(STYLE)
def _task(
    name: str,
    task: str,
    runs: pd.DataFrame,
    evaluations: Mapping[str, pd.DataFrame],
    traces: Mapping[str, pd.DataFrame],
) -> Picture:
    parts = [part for part in PARTS if any(_has(traces, r, part) for r in runs["run_id"])]
    parts = parts if len(parts) > 2 else parts[-1:]  # a single network is the total
    figure = plt.figure(figsize=(8.5, 5.2))
    above, below = figure.add_gridspec(2, 1)
    curve, rate = above.subgridspec(1, 2, width_ratios=(3, 2)).subplots()
    norms = below.subgridspec(1, max(1, len(parts))).subplots(squeeze=False)[0]
    # Those that matter last, above the grey ones.
    for arm in sorted(_in_order(runs["arm"].unique()), key=lambda arm: arm in ARM_COLORS):
        of_arm = [evaluations[run_id] for run_id in runs.loc[runs["arm"] == arm, "run_id"] if run_id in evaluations]
        if of_arm:
            _curve(curve, of_arm, arm)
            _rates(rate, of_arm, arm)
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
    legend(figure, (curve, rate, *norms))
    scores = runs.groupby("arm")["score"].mean()
    said = [
        f"{arm} {scores[arm]:.2f}".replace("-", "−")
        for arm in ARM_COLORS
        if arm in scores and scores[arm] == scores[arm]
    ]
    caption = f"Mean score at the end: {', '.join(said)}." if said else "No run here has a score."
    alt = f"{task}: mean return with its 95 % band, learning rate, and weight norms of single runs."
    return _picture(name, alt, caption, figure)


def _has(traces: Mapping[str, pd.DataFrame], run_id: str, part: str) -> bool:
    return run_id in traces and part in traces[run_id] and bool(traces[run_id][part].notna().any())


def _curve(axes: Axes, evaluations: Sequence[pd.DataFrame], arm: str) -> None:
    rows = min(len(table) for table in evaluations)
    timesteps = evaluations[0]["timesteps"].to_numpy()[:rows]
    returns = np.stack([table["return_mean"].to_numpy()[:rows] for table in evaluations])
    mean = returns.mean(axis=0)
    axes.plot(timesteps, mean, color=_color(arm), ls=_style(arm), label=_label(arm), lw=1.2)
    if arm in ARM_COLORS and len(returns) >= FEWEST_FOR_A_BAND:
        counts = draw_counts(len(returns), RESAMPLES, np.random.default_rng(SEED))
        low, high = mean + quantiles(widened([counts @ returns / len(returns) - mean], [len(returns)]))
        axes.fill_between(timesteps, low, high, color=_color(arm), alpha=0.1, lw=0)


def _rates(axes: Axes, evaluations: Sequence[pd.DataFrame], arm: str) -> None:
    rows = min(len(table) for table in evaluations)
    rates = np.median([table["learning_rate"].to_numpy()[:rows] for table in evaluations], axis=0)
    rates[rates <= 0] = np.nan  # where linear decay and cosine end
    at = evaluations[0]["timesteps"].to_numpy()[:rows]
    axes.plot(at, rates, ".", color=_color(arm), ls=_style(arm), lw=1.2, ms=3)


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


def sensitivity_pictures(sensitivity: pd.DataFrame) -> Iterator[Picture]:
    """Yield a figure for each task on which the settings were varied."""
    for index, (task, of_task) in enumerate(sensitivity.groupby("task")):
        yield _sensitivity(f"sensitivity-{index}", str(task), of_task)


@plt.rc_context(STYLE)
def _sensitivity(name: str, task: str, table: pd.DataFrame) -> Picture:
    varied = [key for key in ("rate_multiplier", "decay_factor", "final_decay_at") if table[key].nunique() > 1]
    figure, panels = plt.subplots(1, len(varied), figsize=(3.4 * len(varied) + 1.5, 2.8), squeeze=False, sharey=True)
    for axes, key in zip(panels[0], varied):
        # The other two settings stay at their standard; this one takes all its values.
        at = table.loc[at_standard(table.assign(**{key: STANDARD[key]})).index]
        values = sorted(at[key].unique())
        arms = [arm for arm in _in_order(at["arm"].unique()) if (at["arm"] == arm).sum() > 1]
        for place, arm in enumerate(arms):
            of_arm = at[at["arm"] == arm].sort_values(key)
            # Side by side: intervals of several arms at one value hide each other.
            beside = 0.08 * (place - (len(arms) - 1) / 2)
            positions = [values.index(value) + beside for value in of_arm[key]]
            ends = np.abs(of_arm[["low", "high"]].to_numpy() - of_arm[["mean"]].to_numpy()).T
            ends[~np.isfinite(ends)] = np.nan  # of a single run
            axes.errorbar(
                positions,
                of_arm["mean"],
                ends,
                fmt="o-",
                lw=1,
                ms=4,
                elinewidth=1,
                color=_color(arm),
                label=_label(arm),
            )
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set(xlabel={"rate_multiplier": "base rate, times the preset's"}.get(key, key.replace("_", " ")))
    panels[0][0].set_ylabel("mean score")
    figure.suptitle(task, fontweight="bold")
    legend(figure, panels.ravel())
    caption = "Where no norm bounces, abel is constant+final, and lies beside it."
    alt = f"{task}: mean scores with 95 % intervals by base rate and by the settings of the decays."
    return _picture(name, alt, caption, figure)


def _in_order(arms: Sequence[str] | Mapping[str, object]) -> list[str]:
    return [arm for arm in ARMS if arm in arms] + sorted(arm for arm in arms if arm not in ARMS)


def _color(arm: str) -> str:
    return ARM_COLORS.get(arm, OTHERS)


def _label(arm: str) -> str:
    return arm if arm in ARM_COLORS else "other arms"


def _style(arm: str) -> str:
    # Where nothing bounces this arm is the same as constant+final, which shows between the dashes.
    return "--" if arm == "abel" else "-"


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Draw one legend of all panels below the figure, each entry once."""
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    if entries:
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=7, fontsize=8)


def _picture(name: str, alt: str, caption: str, figure: Figure, question: int | None = None) -> Picture:
    figure.set_layout_engine("constrained")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return Picture(name, alt, caption, buffer.getvalue(), question)
