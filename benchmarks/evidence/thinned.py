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

    :return: a row for each run, part and number: ``task``, ``strength``, ``part``, ``number``, ``measured``, how many
        these are in truth, ``shape``, whether the norm bounces by shape, seen with all of them; ``rule``, whether the
        rule decays
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
            for number in NUMBERS:
                left = thin(norms, number)
                rows.append(of_run | {"number": number, "measured": len(left), "rule": bool(find_decays(left))})
    return pd.DataFrame(rows, columns=["task", "strength", "part", "shape", "number", "measured", "rule"])


def too_sparse(results: Results) -> dict[str, int]:
    """Return the tasks of the stage whose runs are not dense, with the most measurements that one has."""
    runs = with_tasks(results.runs[results.runs["run_id"].isin(dense())])
    lengths = results.traces.groupby("run_id").size()
    most = runs.assign(length=runs["run_id"].map(lengths).fillna(0)).groupby("task")["length"].max()
    return {str(task): int(number) for task, number in most.items() if number < FEWEST}


def recall_and_false(found: pd.DataFrame) -> pd.DataFrame:
    """Return, by number of measurements, how many of those that bounce by shape the rule sees, and false decays.

    :return: indexed by number: with weight decay ``shaped``, and ``seen``, those of them in which the rule decays;
        ``unshaped`` and ``other`` likewise; ``plain``, those without weight decay, and ``false``; ``fewest`` and
        ``most`` measurements
    """
    rows = {}
    for number, of in found.groupby("number"):
        decayed = of["strength"] > 0
        groups = of[decayed & of["shape"]], of[decayed & ~of["shape"]], of[~decayed]
        counts = [count for group in groups for count in (len(group), group["rule"].sum())]
        rows[number] = (*counts, of["measured"].min(), of["measured"].max())
    names = ["shaped", "seen", "unshaped", "other", "plain", "false", "fewest", "most"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


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
