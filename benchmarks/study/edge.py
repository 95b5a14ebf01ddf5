"""Rates beyond the largest of the tuning: the stage "lander, larger rates", added after the results were known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.report import words
from benchmarks.report.answers import BASELINE, CANDIDATE, SEED, with_tasks
from benchmarks.report.tables import Table
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison, compare, scores_by_arm
from benchmarks.statistics.estimates import summarise
from benchmarks.study.scores import difference
from benchmarks.study.stages import LANDER, MULTIPLIERS

HEADER = ("arm", "base rate, times the preset's", "runs", "mean score", "IQM")


def edge_in_words(main: Results, edge: Results) -> Iterator[str]:
    """Yield what is left of the difference to linear decay where that may have a larger rate.

    :param main: runs that answer the questions, a multiplier of 1 being the chosen one
    :param edge: runs of the tasks of ``LANDER`` at the largest rate of the tuning, and beyond
    """
    found = against_linear(edge)
    if not found:
        return
    chosen, wider = found
    yield (
        f"The difference to linear decay on {', '.join(LANDER)} may be owed to the tuning, which ended at {LARGEST} "
        f"the preset's base rate: larger ones were tried afterwards, on {wider.overall.num_pairs} seeds. On these, "
        f"constant + final decay at {LARGEST} minus linear decay is {_judged(chosen)} with that at {LARGEST} too, and "
        f"{_judged(wider)} with the best of {', '.join(map(_times, _multipliers(edge)))}.{_without(main)}"
    )


def _without(main: Results) -> str:
    runs = with_tasks(main.runs)
    runs = runs[runs["score"].notna() & (runs["regularization"] == "none") & ~runs["env_id"].isin(LANDER)]
    found = difference(scores_by_arm(runs["task"], runs["arm"], runs["seed"], runs["score"]), CANDIDATE, BASELINE)
    return f" Over the other tasks ({len(found.tasks)}) it is {_judged(found)}." if found else ""


def _judged(found: Comparison) -> str:
    return f"{words.interval(found.overall.mean)} ({words.judged_as(found.overall)})"


def against_linear(edge: Results) -> tuple[Comparison, Comparison] | None:
    """Compare constant + final decay at the tuning's largest rate with linear decay at that, and at its best.

    None where runs of these are wanting. The best is chosen anew in every bootstrap sample.
    """
    scored = _scored(edge)
    scores = scores_by_arm(scored["task"], scored["label"], scored["seed"], scored["score"])
    arm, others = f"{CANDIDATE} {LARGEST}", [f"{BASELINE} {_times(m)}" for m in _multipliers(edge)]
    if len(others) < 2 or not {arm, *others} <= set(scores):
        return None
    return tuple(
        compare(scores, arm, other, np.random.default_rng(SEED)) for other in (f"{BASELINE} {LARGEST}", others)
    )


def over_rates(edge: Results) -> Table:
    """Scores at the largest rate of the tuning and beyond, by arm."""
    rows = []
    if len(multipliers := _multipliers(edge)) > 1:
        for (arm, multiplier), of_rate in _scored(edge).groupby(["arm", "rate_multiplier"], sort=False):
            scores = {str(task): list(of["score"]) for task, of in of_rate.groupby("task")}
            found = summarise(scores, np.random.default_rng(SEED))
            amounts = words.interval(found.mean), words.interval(found.iqm)
            rows.append((str(arm), _times(multiplier), str(len(of_rate)), *amounts))
    note = (
        f"{', '.join(LANDER)}: {LARGEST} is the largest base rate of the tuning. "
        f"{' and '.join(map(_times, multipliers[1:]))} were added after the results were known, and have no part in "
        "the planned answers."
    )
    return Table("Beyond the tuning's largest base rate", note, HEADER, rows)


def _multipliers(edge: Results) -> list[float]:
    return sorted(edge.runs["rate_multiplier"].unique())


def _scored(edge: Results) -> pd.DataFrame:
    runs = with_tasks(edge.runs)
    runs = runs[runs["score"].notna()].sort_values(["arm", "rate_multiplier", "seed"], kind="stable")
    return runs.assign(label=runs["arm"] + " " + runs["rate_multiplier"].map(_times).astype(str))


def _times(multiplier: float) -> str:
    return f"× {multiplier:g}"


LARGEST = _times(max(MULTIPLIERS))
