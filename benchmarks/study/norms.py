"""How the norm moved in the runs at a constant rate, and why: a row a run and part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.report.answers import prevalence, undisturbed, with_tasks
from benchmarks.report.words import Grid
from benchmarks.results import Results
from rl_abel.rule import TrendRule, replay

PARTS = ("total", "policy", "value")
SMOOTHED, DEEP = 5, 0.05
"""What counts as a bounce by shape: measurements of a running median, and a share of its start and of its lowest."""

WANTING = {"minimum": "fall", "equilibrium": "rise"}
"""Phase of the rule "trend" -> what a norm lacks, by significance, that never brings the rule so far."""


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


def alignment(trace: pd.DataFrame, part: str = "total") -> tuple[float, float]:
    """Return alignment as a multiple of displacement, in the first and the last third of a run.

    Above -1 the norm grows, at -1 it is at equilibrium, below it falls; NaN where it was not recorded.
    """
    names = [f"displacement_{part}", f"alignment_{part}"]
    if not set(names) <= set(trace) or trace[names].isna().all(axis=None):
        return np.nan, np.nan
    terms = trace[names].dropna().to_numpy()
    third = len(terms) // 3
    first, last = (part[:, 1].sum() / part[:, 0].sum() for part in (terms[:third], terms[len(terms) - third :]))
    return first, last


def movements(main: Results) -> pd.DataFrame:
    """Return how the norm of each part moved in each run at a constant rate.

    :return: task, part; ``rule`` and ``shape``, whether it bounced by either; ``wanting``, see there;
        ``growth``, at the end over the start; ``of_peak``, at the end over its highest; ``lowest_at``, %
        of the run; ``first`` and ``last``, alignment in the first and the last third
    """
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for trace in traces:
            for part in PARTS:
                if trace[part].isna().any():
                    continue
                norms, smooth = trace[part].to_numpy(), smoothed(trace[part])
                missed = wanting(norms)
                went = norms[-1] / norms[0], smooth[-1] / smooth.max(), 100 * norms.argmin() / (len(norms) - 1)
                rows.append((task, part, not missed, shaped(norms), missed, *went, *alignment(trace, part)))
    columns = ("task", "part", "rule", "shape", "wanting", "growth", "of_peak", "lowest_at", "first", "last")
    return pd.DataFrame(rows, columns=columns)


def counted(moved: pd.DataFrame) -> dict[str, int]:
    """Return how many of these bounced by rule, by shape, by both, and what the rule missed of those by shape."""
    missed = moved[moved["shape"] & ~moved["rule"]]["wanting"].value_counts()
    counts = {"runs": len(moved), "tasks": moved["task"].nunique(), "rule": moved["rule"].sum()}
    counts |= {"shape": moved["shape"].sum(), "both": (moved["rule"] & moved["shape"]).sum()}
    return {**{k: int(v) for k, v in counts.items()}, **{k: int(missed.get(k, 0)) for k in ("fall", "rise", "end")}}


def bounces(moved: pd.DataFrame, learned: Mapping[str, bool]) -> Grid:
    """Bounces by task and part, where there were any."""
    rows = []
    for (task, part), of in moved.groupby(["task", "part"], sort=False):
        n = counted(of)
        if n["rule"] or n["shape"]:
            amounts = (n[key] for key in ("runs", "rule", "shape", "both", "fall", "rise", "end"))
            rows.append((task, "yes" if learned[task] else "no", part, *map(str, amounts)))
    missed = (f"by shape alone: no {what}" for what in ("significant fall", "significant rise", "end of the rise"))
    return Grid(("task", "learned", "part", "runs", "by the rule", "by shape", "by both", *missed), rows)


def courses(moved: pd.DataFrame) -> Grid:
    """Where the norm went, and what pushed and pulled it: median over runs, lowest to highest."""
    rows = [
        (task, part, str(len(of)), *(_range(of[name], form) for name, form in _COURSE.items()))
        for (task, part), of in moved.groupby(["task", "part"], sort=False)
    ]
    names = ("end / start", "end / peak", "lowest at, % of the run", "pull, first third", "pull, last third")
    return Grid(("task", "part", "runs", *names), rows)


_COURSE = {"growth": "{:.2f}", "of_peak": "{:.2f}", "lowest_at": "{:.0f}", "first": "{:+.2f}", "last": "{:+.2f}"}


def _range(values: pd.Series, form: str) -> str:
    if values.isna().any():
        return "–"
    low, middle, high = map(form.format, np.quantile(values, [0, 0.5, 1]))
    return f"{middle} ({low} to {high})".replace("-", "−")


def layers(main: Results) -> Grid:
    """Layers that bounced by the rule at a constant rate, of up to ten a run, the largest."""
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for name in (name for name in traces[0].columns if name.startswith("layer/")):
            norms = [trace[name].to_numpy(dtype=float) for trace in traces if trace[name].notna().any()]
            if norms and (found := prevalence(norms)).num_bounced:
                rows.append((task, name.removeprefix("layer/"), f"{found.num_bounced} of {found.num_runs}"))
    return Grid(("task", "layer", "runs that bounced"), rows)
