"""What runs scored, by each of the outcomes, and what two arms differ by on the tasks and seeds that both have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.report.answers import scores_of, with_tasks
from benchmarks.results import Results
from benchmarks.statistics.equivalence import MIN_SEEDS, Comparison, compare, share_seeds
from benchmarks.statistics.estimates import SEED

MEASURES = ("score", "last_quarter", "area")
"""The last policy's score; the mean over the evaluations of the last quarter of a run, and over all of them."""


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


def between(runs: pd.DataFrame, arm: str, other: str, measure: str = "score", by: str = "arm") -> Comparison | None:
    """Compare two arms (or other labels, in the column ``by``) over these runs; None where nothing can be paired."""
    scores = scores_of(runs[runs[measure].notna()], measure, by)
    if not share_seeds(scores, arm, other):
        return None
    return compare(scores, arm, other, np.random.default_rng(SEED))
