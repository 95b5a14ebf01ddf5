"""Whose norm is best watched by default? Bounces planted into one part of recorded traces, looked for in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from benchmarks.measure.calibration import MINIMUM, bounce
from benchmarks.report.answers import undisturbed, with_tasks
from benchmarks.results import Results
from benchmarks.words import Grid
from rl_abel import find_decays

SMOOTHED = 11
"""Measurements of the centred mean that is taken for the trend; the rest is noise."""

WATCHES = {
    "total": ("total",),
    "policy": ("policy",),
    "value": ("value",),
    "any": ("total", "policy", "value"),
}
"""What may decide -> the parts that are looked at; the first decay of any of them counts."""


def noise(norms: np.ndarray) -> np.ndarray:
    """Return what is left of a trace without its trend, relative to its median."""
    padded = np.pad(norms, SMOOTHED // 2, mode="reflect", reflect_type="odd")
    return (norms - np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), "valid")) / np.median(norms)


def plant(trace: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """Return the trace with the bounce of abel.md's calibration in one part, in its own noise; the rest as recorded.

    :param trace: |w|^2 by part, (num_measurements,) each
    """
    shape = bounce(len(trace[part]))
    bouncing = np.median(trace[part]) * shape / shape[0] * (1 + noise(trace[part]))
    return trace | {part: bouncing, "total": trace["total"] - trace[part] + bouncing}


def first_decay(trace: dict[str, np.ndarray], watch: str) -> int | None:
    """Return the first measurement at which the rule "trend" decays, None if it does not."""
    decays = [found[0] for part in WATCHES[watch] if part in trace and (found := find_decays(trace[part]))]
    return min(decays, default=None)


def watching(results: Results) -> Grid:
    """Return, by task and part with a planted bounce, in how many runs which watched part finds it."""
    runs = with_tasks(results.runs)
    rows = [
        row
        for task, traces in undisturbed(results, runs[~runs["regularized"]]).items()
        for row in _rows(task, list(map(_parts, traces)))
    ]
    return Grid(("task", "planted in", "size", *(f"watching {watch}" for watch in WATCHES)), rows)


def _parts(trace: pd.DataFrame) -> dict[str, np.ndarray]:
    parts = {part: trace[part].to_numpy(dtype=float) for part in ("total", "policy", "value")}
    return {part: norms for part, norms in parts.items() if np.isfinite(norms).all()}


def _rows(task: str, traces: Sequence[dict[str, np.ndarray]]) -> Iterator[tuple[str, ...]]:
    have = [part for part in ("policy", "value") if part in traces[0]]
    if len(have) < 2:
        return
    watches = [watch for watch, parts in WATCHES.items() if set(parts) <= set(traces[0])]
    yield (task, "nothing", "", *(_share([first_decay(t, w) is not None for t in traces], "false") for w in watches))
    for part in have:
        size = np.median([np.median(trace[part]) / np.median(trace["total"]) for trace in traces])
        found = ([(first_decay(plant(t, part), w) or 0) >= MINIMUM for t in traces] for w in watches)
        yield (task, part, f"{size:.0%}".replace("%", " %"), *(_share(f, "found") for f in found))


def _share(marks: Sequence[bool], what: str) -> str:
    return f"{sum(marks)} of {len(marks)} {what}"
