"""Whether the norm bounced in the runs at a constant rate, by rule and by shape: a row a run and part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.report.answers import bounce_depth, undisturbed, with_tasks
from benchmarks.results import Results
from rl_abel.rules.bounce import TrendRule, replay

PARTS = ("total", "policy", "value")
SMOOTHED, DEEP = 5, 0.05
"""What counts as a bounce by shape: measurements of a running median, and a share of its start and of its lowest."""

WANTING = {"minimum": "fall", "equilibrium": "rise"}
"""Phase of the rule "trend" -> what a norm lacks, by significance, that never brings the rule so far."""

ENDS = ("fall", "rise", "end")
"""What the rule may have missed."""


def smoothed(norms: npt.ArrayLike) -> np.ndarray:
    """Running median of a norm."""
    return pd.Series(norms, dtype=float).rolling(SMOOTHED, center=True).median().dropna().to_numpy()


def shaped(norms: npt.ArrayLike) -> bool:
    """Whether a norm, noise apart, falls below its start and later rises from its lowest, by 5 % each or more.

    >>> shaped([9, 9, 9, 8, 7, 7, 7, 8, 9, 9, 9]), shaped([5, 5, 5, 7, 9, 9, 9, 8, 7, 7, 7])
    (True, False)
    """
    smooth = smoothed(norms)
    lowest = smooth.argmin()
    return bool(smooth[lowest] <= (1 - DEEP) * smooth[0] and smooth[lowest:].max() >= (1 + DEEP) * smooth[lowest])


def wanting(norms: npt.ArrayLike) -> str:
    """Return what the rule "trend" missed: a significant "fall", "rise" or its "end"; "" if it sees a bounce.

    >>> wanting([9.0] * 50), wanting([*range(90, 40, -1)])
    ('fall', 'rise')
    """
    phases, bounced = set(), False
    for state, decayed in replay(TrendRule(), np.asarray(norms, dtype=float).tolist()):
        phases.add(state["phase"])
        bounced |= decayed
    if bounced:
        return ""
    return next((what for phase, what in WANTING.items() if not phases & {phase, "equilibrium"}), "end")


def movements(results: Results) -> pd.DataFrame:
    """Return whether the norm of each part bounced in each run at a constant rate.

    :return: a row for each run and part: task, ``run``, its number within the task, and part; ``rule`` and ``shape``,
        whether it bounced by either; ``wanting``; ``fall``, its largest below the highest before, noise apart, a share
    """
    runs = undisturbed(results, with_tasks(results.runs))
    measured = [
        (task, run, trace, part) for task, traces in runs.items() for run, trace in enumerate(traces) for part in PARTS
    ]
    rows = [
        {"task": task, "run": run, "part": part, **_movement(trace, part)}
        for task, run, trace, part in measured
        if trace[part].notna().all()
    ]
    return pd.DataFrame(rows)


def _movement(trace: pd.DataFrame, part: str) -> dict[str, Any]:
    missed = wanting(trace[part])
    fall = bounce_depth(smoothed(trace[part]))
    return {"rule": not missed, "shape": shaped(trace[part]), "wanting": missed, "fall": fall}


def counted(moved: pd.DataFrame) -> dict[str, int]:
    """Return how many of these bounced by rule, by shape, by both, and what the rule missed of those by shape."""
    rule, shape = moved["rule"].astype(bool), moved["shape"].astype(bool)
    counts = {"runs": len(moved), "tasks": moved["task"].nunique()}
    counts |= {"rule": rule.sum(), "shape": shape.sum(), "both": (rule & shape).sum()}
    missed = moved.loc[shape & ~rule, "wanting"]
    return {name: int(n) for name, n in (counts | {end: (missed == end).sum() for end in ENDS}).items()}
