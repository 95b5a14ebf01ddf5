"""Differences of scores in the study: over which tasks, by which measure, and how sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE, LITERAL, UNDISTURBED, with_tasks
from benchmarks.report.words import Grid, furthest, interval, number
from benchmarks.results import Results
from benchmarks.statistics.equivalence import MIN_SEEDS, Comparison, ScoresByArm, Verdict, compare, scores_by_arm
from benchmarks.statistics.estimates import FAILED_BELOW, SEED, Interval
from benchmarks.study.stages import TIE

MEASURES = ("score", "last_quarter", "area")
"""The last policy's score; the mean over the evaluations of the last quarter of a run, and over all of them."""

PAIRS = ((CANDIDATE, BASELINE), (CANDIDATE, UNDISTURBED), (BASELINE, UNDISTURBED))


@dataclass(frozen=True)
class Difference:
    """An arm minus another, the mean over tasks of their differences, on runs of the same seeds.

    :param by_task: task -> difference; ``overall`` their mean
    :param pairs: pairs of runs a task, "5 to 30"
    """

    by_task: dict[str, Verdict]
    overall: Verdict

    @property
    def mean(self) -> Interval:
        """Difference of the mean score."""
        return self.overall.mean

    @property
    def pairs(self) -> str:
        """Pairs of runs on the task that has fewest, and most."""
        low, *_, high = sorted([v.num_pairs for v in self.by_task.values()] * 2)
        return f"{low}" if low == high else f"{low} to {high}"

    @property
    def size(self) -> str:
        """Tasks × pairs of runs."""
        return f"{len(self.by_task)} × {self.pairs}"


def measured(results: Results) -> pd.DataFrame:
    """Return the runs with task and score, and as scores too the other ``MEASURES`` where a run has them."""
    runs = with_tasks(results.runs)
    at = results.evaluations.merge(runs[["run_id", "timesteps", "random_return", "reference_return"]], on="run_id")
    at["score"] = (at["return_mean"] - at["random_return"]) / (at["reference_return"] - at["random_return"])
    late = at[at["timesteps_x"] > 0.75 * at["timesteps_y"]]
    several = at.groupby("run_id")["score"].transform("size") >= MIN_SEEDS
    runs["area"] = runs["run_id"].map(at[several].groupby("run_id")["score"].mean())
    runs["last_quarter"] = runs["run_id"].map(late.groupby("run_id")["score"].mean()).where(runs["area"].notna())
    return runs


def learned(runs: pd.DataFrame) -> dict[str, bool]:
    """Return of each task whether some schedule comes, on average, to half of the reference."""
    best = runs.groupby(["task", "arm"])["score"].mean().groupby("task").max()
    return (best >= FAILED_BELOW).to_dict()


def difference(scores: ScoresByArm, arm: str, other: str | Sequence[str]) -> Comparison | None:
    """Compare two arms; None where they have no run of one task and seed."""
    theirs = [scores.get(name, {}) for name in (arm, *([other] if isinstance(other, str) else other))]
    if not any(set.intersection(*(set(of.get(task, ())) for of in theirs)) for task in theirs[0]):
        return None
    return compare(scores, arm, other, np.random.default_rng(SEED))


def between(
    runs: pd.DataFrame, arm: str, other: str | Sequence[str], measure: str = "score", by: str = "arm"
) -> Difference | None:
    """Compare two arms (or other labels, in the column ``by``) over these runs; None where nothing can be paired."""
    runs = runs[runs[measure].notna()]
    found = difference(scores_by_arm(runs["task"], runs[by], map(int, runs["seed"]), runs[measure]), arm, other)
    return Difference(found.tasks, found.overall) if found else None


def equal_care(runs: pd.DataFrame) -> tuple[Difference | None, Grid]:
    """Constant + final decay minus linear decay, each arm of a task at the best base rate that was tried for it.

    Best by the tuning's rule (of those within ``TIE`` the one nearest to 1) on the seeds that all
    rates of the task have; then all runs at that rate count. That the rate was chosen on runs which
    count is to both arms' favour, and no part of the interval.
    """
    runs = runs[runs["arm"].isin((CANDIDATE, BASELINE))]
    rows, chosen = [], []
    for task, of_task in runs.groupby("task"):
        scores = of_task.pivot_table(index="seed", columns=["arm", "rate_multiplier"], values="score").dropna()
        if len(scores) < MIN_SEEDS or {CANDIDATE, BASELINE} - set(scores.columns.get_level_values(0)):
            continue
        best = {}
        for arm in (CANDIDATE, BASELINE):
            means = scores[arm].mean()
            good = means.index[means >= means.max() - TIE]
            best[arm] = min(good, key=lambda multiplier: abs(np.log(multiplier)))
            chosen.append(of_task[(of_task["arm"] == arm) & (of_task["rate_multiplier"] == best[arm])])
        tried = {arm: ", ".join(f"{m:g}" for m in sorted(scores[arm].columns)) for arm in best}
        rows.append((str(task), *(f"× {best[arm]:g} of {tried[arm]}" for arm in best)))
    found = between(pd.concat(chosen), CANDIDATE, BASELINE) if chosen else None
    rows = [(*row, str(v.num_pairs), interval(v.mean)) for row in rows for v in [found.by_task[row[0]]]]
    return found, Grid(("task", "constant + final: best rate", "linear: best rate", "pairs", "difference"), rows)


def cells(runs: pd.DataFrame, arms: Iterable[str]) -> Grid:
    """Mean scores by task and arm, with the number of runs."""
    table = runs.pivot_table(index="task", columns="arm", values="score", aggfunc=["mean", "count"])
    arms = [arm for arm in arms if arm in table["mean"]]
    rows = [
        (task, *(f"{number(row['mean', arm])} ({row['count', arm]:.0f})" if row["count", arm] else "–" for arm in arms))
        for task, row in table.fillna({("count", arm): 0 for arm in arms}).iterrows()
    ]
    return Grid(("task", *arms), rows)


def by_task(runs: pd.DataFrame, is_learned: dict[str, bool]) -> Grid:
    """Every difference of ``PAIRS`` on every task: at the end, in the last quarter, over the run."""
    rows = []
    for task, of_task in runs.groupby("task"):
        for arm, other in PAIRS:
            found = [between(of_task, arm, other, measure) for measure in MEASURES]
            if found[0]:
                said = [interval(of.mean) if of else "–" for of in found]
                verdict = found[0].overall.verdict
                task_ = str(task) if is_learned[str(task)] else f"{task} (not learned)"
                rows.append((task_, f"{arm} − {other}", found[0].pairs, *said, furthest(found[0].mean), verdict))
    header = ("task", "difference", "pairs", "at the end", "last quarter", "whole run", "not excluded", "verdict")
    return Grid(header, rows)


def literal(runs: pd.DataFrame) -> Grid:
    """What Algorithm 1 did to the rate where it trained, which its replay on other runs does not tell."""
    rows = []
    for task, of_task in runs[runs["arm"] == LITERAL].groupby("task"):
        decays = of_task["decays"].str.count('"bounce"')
        counted = f"{decays.median():g} ({decays.min()} to {decays.max()})"
        factor = f"{of_task['factor'].median():.1g}".replace("e-", "e−")
        amounts = f"{(decays > 0).sum()} of {len(decays)}", counted, factor, number(of_task["score"].mean())
        rows.append((str(task), *amounts))
    return Grid(("task", "runs with a decay by a bounce", "such decays a run", "factor at the end", "mean score"), rows)


def beside(runs: pd.DataFrame) -> Grid:
    """Final returns, in the form of the paper's Table 2: mean and standard error."""
    rows = []
    for task, of_task in runs.groupby("task"):
        returns = [of_task.loc[of_task["arm"] == arm, "final_return"] for arm in (BASELINE, CANDIDATE)]
        if min(map(len, returns)) > 1:
            means = [f"{of.mean():,.1f} ± {of.sem():.1f}".replace("-", "−") for of in returns]
            rows.append((str(task), " / ".join(str(len(of)) for of in returns), *means))
    return Grid(("task", "runs", "linear", "constant+final"), rows)
