"""Do decays by a bounce cost? The stages "fresh seeds, …", added after the results were known, by themselves."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from benchmarks.report.answers import CANDIDATE
from benchmarks.report.words import Grid, furthest, interval
from benchmarks.study.scores import Difference, between


class Fresh(NamedTuple):
    """abel minus constant + final decay on one task; ``bounced`` runs of abel decayed after a bounce."""

    task: str
    bounced: int
    found: Difference
    of_these: Difference | None


def decayed(runs: pd.DataFrame) -> pd.Series:
    """Whether each of these runs decayed after a bounce."""
    return runs["decays"].str.contains('"bounce"')


def on_fresh_seeds(runs: pd.DataFrame) -> list[Fresh]:
    """Return, by task, what decays by a bounce bring on seeds that had no part in asking.

    Until the first of them both arms are the same training, so the runs that have one carry it all.
    """
    rows = []
    for task, of_task in runs[runs["score"].notna()].groupby("task"):
        seeds = of_task.loc[(of_task["arm"] == "abel") & decayed(of_task), "seed"]
        if found := between(of_task, "abel", CANDIDATE):
            these = between(of_task[of_task["seed"].isin(seeds)], "abel", CANDIDATE)
            rows.append(Fresh(str(task), seeds.nunique(), found, these))
    return rows


def fresh_table(found: list[Fresh]) -> Grid:
    """Return a row a task."""
    rows = [
        (of.task, of.found.pairs, interval(of.found.mean), furthest(of.found.mean), str(of.bounced))
        + (interval(of.of_these.mean) if of.of_these else "–",)
        for of in found
    ]
    return Grid(("task", "pairs", "abel − constant+final", "not excluded", "decayed after a bounce", "in these"), rows)
