"""How much the base rate and the settings of the decays matter: the stage "robust" of the study."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE, STANDARD, UNDISTURBED
from benchmarks.report.words import Grid, interval
from benchmarks.statistics.estimates import SEED, Interval, summarise
from benchmarks.study.scores import Difference, between


def means(runs: pd.DataFrame) -> Interval:
    """Mean score of these runs, over tasks if there are several, with its interval."""
    scores = {str(task): list(of_task["score"]) for task, of_task in runs.groupby("task")}
    return summarise(scores, np.random.default_rng(SEED)).mean


def standard(runs: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Return the runs in which all settings but these are at their standard."""
    fixed = [np.isclose(runs[key], value) for key, value in STANDARD.items() if key not in keys]
    return runs[np.logical_and.reduce(fixed)]


def by_rate(robust: pd.DataFrame) -> dict[float, tuple[Difference, Difference]]:
    """Return, by base rate, constant + final decay minus linear decay, and minus no decay."""
    found = {}
    for multiplier, of_rate in standard(robust, "rate_multiplier").groupby("rate_multiplier"):
        pair = between(of_rate, CANDIDATE, BASELINE), between(of_rate, CANDIDATE, UNDISTURBED)
        if all(pair):
            found[float(multiplier)] = pair
    return found


def rates(robust: pd.DataFrame) -> Grid:
    """Mean scores and differences by task and base rate, every arm of a task at the same rate."""
    rows = []
    for task, of_task in standard(robust, "rate_multiplier").groupby("task"):
        for multiplier, of_rate in of_task.groupby("rate_multiplier"):
            arms = [of_rate[of_rate["arm"] == arm] for arm in (UNDISTURBED, BASELINE, CANDIDATE)]
            if all(map(len, arms)):
                pairs = (between(of_rate, CANDIDATE, other) for other in (BASELINE, UNDISTURBED))
                cells = [interval(means(of)) for of in arms] + [interval(of.mean) for of in pairs if of]
                rows.append((str(task), f"× {multiplier:g}", str(len(arms[0])), *cells))
    header = ("task", "base rate", "runs", UNDISTURBED, BASELINE, CANDIDATE)
    return Grid((*header, f"{CANDIDATE} − {BASELINE}", f"{CANDIDATE} − {UNDISTURBED}"), rows)


def decays(robust: pd.DataFrame) -> Grid:
    """Mean scores of constant + final decay by its factor and place."""
    runs = standard(robust[robust["arm"] == CANDIDATE], "decay_factor", "final_decay_at")
    places = sorted(runs["final_decay_at"].unique())
    rows = []
    for (task, factor), of_factor in runs.groupby(["task", "decay_factor"]):
        of_place = [of_factor[np.isclose(of_factor["final_decay_at"], place)] for place in places]
        rows.append((str(task), f"× {factor:g}", *(interval(means(of)) if len(of) else "–" for of in of_place)))
    return Grid(("task", "factor", *(f"at {100 * place:.0f} %" for place in places)), rows)
