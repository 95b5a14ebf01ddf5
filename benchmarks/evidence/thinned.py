"""How many measurements does the rule need? Runs with a thousand, thinned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.evidence.stages import DENSE, dense
from benchmarks.report.answers import with_tasks
from benchmarks.report.movements import shaped
from benchmarks.results import Results
from rl_abel import find_decays

NUMBERS = (DENSE, 500, 200, 100, 50)
PARTS = ("total", "policy", "value")
FEWEST = DENSE // 2
"""Measurements of a run that counts as dense."""

DEFAULT, MORE = 100, 0.1
"""Measurements a run by default, and by how much the share found has to rise for more to become it."""


def thin(norms: np.ndarray, number: int) -> np.ndarray:
    """Return about ``number`` of the measurements, evenly apart, the last among them.

    >>> thin(np.arange(10), 5)
    array([1, 3, 5, 7, 9])
    """
    every = max(1, round(len(norms) / number))
    return norms[::-1][::every][::-1]


def without_dense(results: Results) -> Results:
    """Return the runs that are measured as all are: arm, task and seeds of a dense one are those of another, too."""
    return replace(results, runs=results.runs[~results.runs["run_id"].isin(dense())])


def by_number(results: Results) -> pd.DataFrame:
    """Return what the rule finds by the number of measurements.

    :return: a row for each run, part and number: ``task``, ``strength``, ``part``, ``number``, ``shape``, whether the
        norm bounces by shape, seen with all of them; ``rule``, whether the rule decays
    """
    runs = with_tasks(results.runs)
    traces = dict(iter(results.traces.groupby("run_id", sort=False)))
    rows = []
    for run in runs[(runs["arm"] == "constant") & (runs["status"] == "complete")].to_dict("records"):
        trace = traces.get(run["run_id"])
        if trace is None or len(trace) < FEWEST:
            continue
        for part in PARTS:
            norms = trace[part].dropna().to_numpy() if part in trace else np.empty(0)
            if len(norms) < FEWEST:
                continue
            shape = shaped(norms)
            of_run = {"task": run["task"], "strength": run["strength"], "part": part, "shape": shape}
            rows += [of_run | {"number": n, "rule": bool(find_decays(thin(norms, n)))} for n in NUMBERS]
    return pd.DataFrame(rows, columns=["task", "strength", "part", "shape", "number", "rule"])


def recall_and_false(found: pd.DataFrame) -> pd.DataFrame:
    """Return, by number of measurements, how many of those that bounce by shape the rule sees, and false decays.

    :return: indexed by number: ``shaped``, ``seen`` of them; ``plain``, those without weight decay, and ``false``,
        those of them in which the rule decays
    """
    rows = {}
    for number, of in found.groupby("number"):
        shaped_, plain = of[of["shape"] & (of["strength"] > 0)], of[of["strength"] == 0]
        rows[number] = (len(shaped_), shaped_["rule"].sum(), len(plain), plain["rule"].sum())
    return pd.DataFrame.from_dict(rows, orient="index", columns=["shaped", "seen", "plain", "false"])


def more_pays(counts: pd.DataFrame | None) -> bool | None:
    """Return whether more measurements than by default find more bounces and decay no more often without weight decay.

    :param counts: see :func:`recall_and_false`; None, or no norm that bounces by shape: nothing can be said
    """
    if counts is None or not counts.at[DEFAULT, "shaped"]:
        return None
    default = counts.loc[DEFAULT]
    more = counts[counts.index > DEFAULT]
    found = more["seen"] / more["shaped"] - default["seen"] / default["shaped"]
    return bool(((found >= MORE - 1e-9) & (more["false"] <= default["false"])).any())
