"""Differences of scores in the study: what single decays cost or bring."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from benchmarks.report import words
from benchmarks.report.answers import (
    CANDIDATE,
    GROUPS,
    LITERAL,
    SEED,
    UNDISTURBED,
    Answers,
    at_standard,
    with_tasks,
)
from benchmarks.report.tables import Table
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison, ScoresByArm, compare

PAPER = (
    ("Seaquest, labelled Qbert", "1750", "1850"),
    ("Pong, labelled Seaquest", "21.0", "20.7"),
    ("Qbert, labelled Pong", "22300", "23000"),
)
"""Lewkowycz 2021, Table 2, RL: PPO, three runs each, linear decay and constant with one decay at the end."""


PAPER_NOTE = (
    "The paper's rows are PPO on Atari, three runs each; its labels do not fit the scores, which are those of the "
    "games named first."
)

SAME = "the same runs"
"""The verdict where two arms did the same."""


def difference(scores: ScoresByArm, arm: str, other: str) -> Comparison | None:
    """Compare two arms; None where they have no run of one task and seed."""
    theirs = scores.get(arm, {}), scores.get(other, {})
    if not any(set(theirs[0][task]) & set(theirs[1].get(task, ())) for task in theirs[0]):
        return None
    return compare(scores, arm, other, np.random.default_rng(SEED))


def same_runs(scores: ScoresByArm, arm: str, other: str, tasks: Iterable[str]) -> bool:
    """Whether every run of an arm scored as the other arm's run of the same seed."""
    return all(
        scores[arm][task].get(seed, score) == score for task in tasks for seed, score in scores[other][task].items()
    )


def by_bounce(runs: pd.DataFrame) -> tuple[int, int]:
    """Return how many of these runs decayed after a bounce, and how many there are."""
    return int(runs["decays"].str.contains('"bounce"').sum()), len(runs)


def scores_of(answers: Answers, group: str) -> ScoresByArm:
    """Return the scores on the tasks without regularization, or on those with weight decay."""
    return {
        arm: {task: of for task, of in tasks.items() if (task in answers.regularized) == GROUPS[group]}
        for arm, tasks in answers.scores.items()
    }


def decays_by_bounce(main: Results, answers: Answers) -> Table:
    """What the arm abel gains on constant + final decay, which differs from it by decays after bounces alone."""
    runs = at_standard(with_tasks(main.runs))
    runs = runs[(runs["arm"] == "abel") & (runs["status"] == "complete")]
    rows = []
    for group in GROUPS:
        scores = scores_of(answers, group)
        found = difference(scores, "abel", CANDIDATE)
        if not found:
            continue
        for label, judged, tasks in [
            (f"all, {group}", found.overall, [*found.tasks]),
            *((task, judged, [task]) for task, judged in found.tasks.items()),
        ]:
            bounced, of_all = by_bounce(runs[runs["task"].isin(tasks)])
            same = not bounced and same_runs(scores, "abel", CANDIDATE, tasks)
            amounts = words.interval(judged.mean), words.interval(judged.iqm)
            rows.append((label, f"{bounced} of {of_all}", *amounts, SAME if same else judged.verdict))
    note = (
        "The arm abel is constant + final decay, and a decay after every bounce that it sees: in how many of its runs "
        "there was one, and the difference of the score, abel minus constant + final decay, with 95 % intervals. "
        "Undecided is also what so few pairs say little about."
    )
    header = ("task", "runs with a decay by a bounce", "mean", "IQM", "verdict")
    return Table("What the decays by a bounce cost or bring", note, header, rows)


def single_decays(answers: Answers) -> Table:
    """What the final decay brings by itself, and what Algorithm 1 costs beside it."""
    rows = []
    for group in GROUPS:
        for arm, other in ((CANDIDATE, UNDISTURBED), (LITERAL, CANDIDATE)):
            found = difference(scores_of(answers, group), arm, other)
            if not found:
                continue
            for label, judged in [(f"all, {group}", found.overall), *found.tasks.items()]:
                amounts = words.interval(judged.mean), words.interval(judged.iqm)
                rows.append((label, f"{arm} − {other}", str(judged.num_pairs), *amounts, judged.verdict))
    note = (
        "Differences of the score with 95 % intervals: what the final decay alone costs or brings, and what the decays "
        "of the literal Algorithm 1 do beside it."
    )
    header = ("task", "difference", "pairs", "mean", "IQM", "verdict")
    return Table("What the final decay and the literal rule bring", note, header, rows)


def literal_in_training(main: Results) -> Table:
    """What Algorithm 1 did to the rate where it trained, which its replay on other runs does not tell."""
    runs = with_tasks(main.runs)
    runs = runs[(runs["arm"] == LITERAL) & (runs["status"] == "complete")]
    rows = []
    for task, of_task in runs.groupby("task"):
        bounced, of_all = by_bounce(of_task)
        decays = of_task["decays"].str.count('"bounce"')
        rates = " ".join(f"{rate:g}" for rate in sorted(of_task["learning_rate"].unique()))
        counted = f"{decays.median():g} ({decays.min()} to {decays.max()})"
        factor = f"{of_task['factor'].median():.1g}".replace("e-", "e−")
        rows.append(
            (str(task), rates, f"{bounced} of {of_all}", counted, factor, words.number(of_task["score"].mean()))
        )
    note = (
        f"The arm {LITERAL}, at the base rate that its own tuning chose: runs that decayed after a “bounce”, how often "
        "(median, and range), and the factor of the rate at the end (median), the final decay in it. Where it never "
        "decayed, it is constant + final decay at that base rate."
    )
    header = ("task", "base rate", "runs with a decay by a bounce", "a run", "factor at the end", "mean score")
    return Table("Algorithm 1 in training", note, header, rows)


def beside(main: Results) -> Table:
    """Final returns, in the form of the paper's Table 2."""
    runs = with_tasks(main.runs)
    runs = runs[runs["status"] == "complete"]
    rows = [(f"paper: {name}", "3", linear, final) for name, linear, final in PAPER]
    for task, of_task in runs.groupby("task"):
        returns = [of_task.loc[of_task["arm"] == arm, "final_return"] for arm in ("linear", "constant+final")]
        if min(map(len, returns)) > 1:
            rows.append((str(task), " / ".join(str(len(r)) for r in returns), *map(_with_error, returns)))
    note = (
        "Final returns: mean, here with its standard error. What the paper calls a complex schedule is linear decay, "
        f"and a simple one constant + final decay. {PAPER_NOTE}"
    )
    return Table("Beside the paper's Table 2", note, ("task", "runs", "linear", "constant+final"), rows)


def _with_error(values: pd.Series) -> str:
    return f"{values.mean():,.1f} ± {values.sem():.1f}".replace("-", "−")
