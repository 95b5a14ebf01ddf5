"""Rates beyond the largest of the tuning: the stage "lander, larger rates", added after the results were known."""

from __future__ import annotations

import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE
from benchmarks.report.words import Grid, interval
from benchmarks.study.scores import Difference, between
from benchmarks.study.settings import means
from benchmarks.study.stages import MULTIPLIERS


def against_linear(edge: pd.DataFrame) -> tuple[Difference, Difference] | None:
    """Compare constant + final decay at the tuning's largest rate with linear decay at that, and at its best.

    None where runs of these are wanting. The best is chosen anew in every bootstrap sample.
    """
    edge = edge.assign(label=edge["arm"] + edge["rate_multiplier"].map(" × {:g}".format).astype(str))
    largest = f"{CANDIDATE} × {max(MULTIPLIERS):g}"
    others = sorted(edge.loc[edge["arm"] == BASELINE, "label"].unique())
    if len(others) < 2 or largest not in set(edge["label"]):
        return None
    alike = between(edge, largest, f"{BASELINE} × {max(MULTIPLIERS):g}", by="label")
    best = between(edge, largest, others, by="label")
    return (alike, best) if alike and best else None


def over_rates(edge: pd.DataFrame) -> Grid:
    """Scores at the largest rate of the tuning and beyond, by arm."""
    rows = [
        (str(arm), *(interval(means(of_rate)) for _, of_rate in of_arm.groupby("rate_multiplier")))
        for arm, of_arm in edge.groupby("arm", sort=False)
    ]
    return Grid(("arm", *(f"× {m:g}" for m in sorted(edge["rate_multiplier"].unique()))), rows)
