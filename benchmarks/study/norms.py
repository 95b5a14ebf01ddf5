"""How often the norm bounced in the study, by strength of the weight decay, and in which layers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.report.answers import prevalence, undisturbed, with_tasks
from benchmarks.report.movements import counted
from benchmarks.results import Results
from benchmarks.statistics.estimates import exact_binomial_interval
from benchmarks.words import Grid


def bounced(moved: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how often a norm bounced, in tasks of which strength of weight decay, learned or not.

    :param moved: the movements of one part, with ``strength`` and ``learned``
    :return: a row for each strength, of the tasks that are learned and of those that are not: these, ``counts``,
        see :func:`counted`, and ``tasks``, by rule or by shape in any run, of all tasks
    """
    rows = []
    for (strength, learned), of in moved.groupby(["strength", "learned"]):
        tasks = (of["rule"] | of["shape"]).groupby(of["task"]).any()
        share = exact_binomial_interval(tasks.sum(), len(tasks))
        rows.append({"strength": strength, "learned": learned, "counts": counted(of), "tasks": share})
    return sorted(rows, key=lambda row: (row["strength"], not row["learned"]))


def layers(main: Results) -> Grid:
    """Layers that bounced by the rule at a constant rate, of up to ten a run, the largest."""
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for name in (name for name in traces[0].columns if name.startswith("layer/")):
            norms = [trace[name].to_numpy(dtype=float) for trace in traces if trace[name].notna().any()]
            if norms and (found := prevalence(norms)).num_bounced:
                rows.append((task, name.removeprefix("layer/"), f"{found.num_bounced} of {found.num_runs}"))
    return Grid(("task", "layer", "runs that bounced"), rows)
