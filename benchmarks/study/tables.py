"""The tables of the study's details; what is said of each stands in the template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from agents import find_preset
from benchmarks.report.answers import BASELINE, CANDIDATE, LITERAL
from benchmarks.report.movements import counted
from benchmarks.report.scores import MEASURES, between
from benchmarks.statistics.estimates import mean_interval
from benchmarks.study.scores import PAIRS, Fresh, equal_care, standard
from benchmarks.study.stages import CENTRAL
from benchmarks.words import Grid, cells, furthest, number, ranged

SAID = {"rate_multiplier": "× {:g}", "decay_factor": "× {:g}", "final_decay_at": "at {:.0%}"}
"""How a value of a setting is printed."""


def mean_scores(runs: pd.DataFrame, arms: Iterable[str]) -> Grid:
    """Mean scores by task and arm, with the number of runs."""
    of_arm = runs[runs["score"].notna()].groupby(["task", "arm"])["score"]
    table = of_arm.agg(lambda scores: f"{number(scores.mean())} ({len(scores)})").unstack().fillna("–")
    table = table[[arm for arm in arms if arm in table]]
    return Grid(("task", *table), list(table.itertuples(name=None)))


def over_settings(runs: pd.DataFrame, rows: Sequence[str], column: str) -> Grid:
    """Mean scores with their intervals, by keys in the rows and one more in the columns."""
    table = runs.groupby([*rows, column])["score"].apply(mean_interval).unstack()
    table = table.astype(object).where(table.notna(), None)
    header = [*(row.replace("_", " ") for row in rows), *(_said(column, value) for value in table)]
    of_rows = (key if isinstance(key, tuple) else (key,) for key in table.index)
    labels = [[_said(row, value) for row, value in zip(rows, key)] for key in of_rows]
    return cells(header, [(*label, *means) for label, means in zip(labels, table.to_numpy())])


def _said(key: str, value: object) -> str:
    return SAID.get(key, "{}").format(value).replace("%", " %")


def differences(runs: pd.DataFrame, is_learned: Mapping[str, bool]) -> Grid:
    """Every difference of ``PAIRS`` on every task: at the end, in the last quarter, over the run."""
    rows = []
    for task, of_task in runs.groupby("task"):
        for pair in PAIRS:
            found, *others = (between(of_task, *pair, measure) for measure in MEASURES)
            if found:
                means = [of and of.mean for of in (found, *others)]
                name = str(task) if is_learned[str(task)] else f"{task} (not learned)"
                rows.append((name, " − ".join(pair), found.pairs, *means, furthest(means[0]), found.overall.verdict))
    header = ("task", "difference", "pairs", "at the end", "last quarter", "whole run", "not excluded", "verdict")
    return cells(header, rows)


def equal(runs: pd.DataFrame) -> Grid:
    """By task, the best base rate of either arm, and the difference at these."""
    found, rates = equal_care(runs)
    rows = []
    for task, of_arm in rates.items() if found else ():
        tried = (f"× {rate:g} of {', '.join(f'{m:g}' for m in among)}" for rate, among in of_arm.values())
        rows.append((task, *tried, found.tasks[task].num_pairs, found.tasks[task].mean))
    return cells(("task", "constant + final: best rate", "linear: best rate", "pairs", "difference"), rows)


def rates(robust: pd.DataFrame) -> Grid:
    """Mean scores and differences by task and base rate, every arm of a task at the same rate."""
    rows = []
    for (task, rate), of_rate in standard(robust, "rate_multiplier").groupby(["task", "rate_multiplier"]):
        scores = [of_rate.loc[of_rate["arm"] == arm, "score"] for arm in CENTRAL]
        if all(map(len, scores)):
            found = [of and of.mean for of in (between(of_rate, *pair) for pair in PAIRS[:2])]
            rows.append((task, f"× {rate:g}", len(scores[0]), *map(mean_interval, scores), *found))
    return cells(("task", "base rate", "runs", *CENTRAL, *(" − ".join(pair) for pair in PAIRS[:2])), rows)


def decays(robust: pd.DataFrame) -> Grid:
    """Mean scores of constant + final decay by its factor and place."""
    runs = standard(robust[robust["arm"] == CANDIDATE], "decay_factor", "final_decay_at")
    return over_settings(runs, ("task", "decay_factor"), "final_decay_at")


def fresh(found: Iterable[Fresh]) -> Grid:
    """Return a row a task."""
    rows = [
        (of.task, of.found.pairs, of.found.mean, furthest(of.found.mean), of.bounced, of.of_these and of.of_these.mean)
        for of in found
    ]
    return cells(("task", "pairs", "abel − constant+final", "not excluded", "decayed after a bounce", "in these"), rows)


def literal(runs: pd.DataFrame) -> Grid:
    """What Algorithm 1 did to the rate where it trained, which its replay on other runs does not tell."""
    rows = []
    for task, of_task in runs[runs["arm"] == LITERAL].groupby("task"):
        by_bounce = of_task["decays"].str.count('"bounce"')
        some = f"{(by_bounce > 0).sum()} of {len(by_bounce)}"
        often = f"{by_bounce.median():g} ({by_bounce.min()} to {by_bounce.max()})"
        factor = f"{of_task['factor'].median():.1g}".replace("e-", "e−")
        rows.append((task, some, often, factor, of_task["score"].mean()))
    header = ("task", "runs with a decay by a bounce", "such decays a run", "factor at the end", "mean score")
    return cells(header, rows)


def beside(runs: pd.DataFrame) -> Grid:
    """Final returns, in the form of the paper's Table 2: mean and standard error."""
    rows = []
    for task, of_task in runs.groupby("task"):
        returns = [of_task.loc[of_task["arm"] == arm, "final_return"] for arm in (BASELINE, CANDIDATE)]
        if min(map(len, returns)) > 1:
            means = [f"{of.mean():,.1f} ± {of.sem():.1f}".replace("-", "−") for of in returns]
            rows.append((str(task), " / ".join(str(len(of)) for of in returns), *means))
    return Grid(("task", "runs", BASELINE, CANDIDATE), rows)


def multipliers(chosen: pd.DataFrame) -> Grid:
    """Return the base rates that were chosen: times the preset's, and in brackets the rate itself.

    :param chosen: multiplier by arm, a column an environment; NaN where none is chosen
    """
    presets = {env_id: find_preset("PPO", env_id).learning_rate for env_id in chosen}
    rows = [
        (arm, *("–" if np.isnan(m) else f"{m:g} ({m * presets[env_id]:g})" for env_id, m in of_arm.items()))
        for arm, of_arm in chosen.iterrows()
    ]
    return Grid(("arm", *chosen), rows)


def bounces(moved: pd.DataFrame, learned: Mapping[str, bool]) -> Grid:
    """Bounces by task and part, where there were any.

    :param moved: see :func:`benchmarks.study.norms.movements`
    """
    rows = []
    for (task, part), of in moved.groupby(["task", "part"], sort=False):
        n = counted(of)
        if n["rule"] or n["shape"]:
            amounts = (n[key] for key in ("runs", "rule", "shape", "both", "fall", "rise", "end"))
            rows.append((task, "yes" if learned[task] else "no", part, *amounts))
    missed = (f"by shape alone: no {what}" for what in ("significant fall", "significant rise", "end of the rise"))
    return cells(("task", "learned", "part", "runs", "by the rule", "by shape", "by both", *missed), rows)


COURSE = {
    "growth": ("end / start", 2),
    "of_peak": ("end / peak", 2),
    "lowest_at": ("lowest at, % of the run", 0),
    "first": ("pull, first third", 2),
    "last": ("pull, last third", 2),
}
"""Column of the movements -> its heading, and digits."""


def courses(moved: pd.DataFrame) -> Grid:
    """Where the norm went, and what pushed and pulled it: median over runs, lowest to highest."""
    rows = [
        (task, part, len(of), *(ranged(of[name], digits) for name, (_, digits) in COURSE.items()))
        for (task, part), of in moved.groupby(["task", "part"], sort=False)
    ]
    return cells(("task", "part", "runs", *(heading for heading, _ in COURSE.values())), rows)
