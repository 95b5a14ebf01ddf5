"""The saved runs: three parquet files a stage, which change no more once the stage is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.evidence.stages import dense, stages
from benchmarks.results import FILES, Results, read_parquet, read_results, write_parquet

ARCHIVE = Path(__file__).parents[2] / "docs" / "results" / "evidence"
OUT = Path("results/evidence")

NORMS_OF = ("constant", "abel", "abel-part", "abel-batch", "abel-mixed")
"""Arms whose norms are asked about; those of the others are not kept."""

KEPT_OF_DENSE = ("run_id", "timesteps", "total", "policy", "value", "shared")
"""Columns of the trace of a run with so many measurements."""


def folder_of(stage: str, archive: Path = ARCHIVE) -> Path:
    """Return the folder of a stage's files: "rates, CartPole" -> rates-cartpole."""
    return archive / stage.lower().replace(",", "").replace(" ", "-")


def known(out: Path | None = None, archive: Path = ARCHIVE) -> Results | None:
    """Return all finished runs, each once: those that are committed and those in ``out``; None if there are none."""
    found = [read_parquet(path) for name in stages() if (path := folder_of(name, archive)).is_dir()]
    if out is not None and any(out.glob("*/run.json")):
        found.append(_new(read_results(out), {run_id for saved in found for run_id in saved.runs["run_id"]}))
    if not found:
        return None
    return Results(*(pd.concat([getattr(of, name) for of in found], ignore_index=True) for name in FILES))


def save(out: Path, archive: Path = ARCHIVE, failed: bool = False) -> tuple[int, list[str]]:
    """Add the finished runs in ``out`` to the files of the first stage that has them.

    :param failed: whether those that failed are added: one that diverged scores 0, and stays so, but what a machine
        ended should run again
    :return: how many were new, and the ids of those that failed and were left out
    :raises ValueError: if there is no finished run in ``out``
    """
    if not any(out.glob("*/run.json")):
        raise ValueError(f"no finished run in {out}; `python -m benchmarks.evidence run --out {out}` makes them")
    saved = known(archive=archive)
    new = _new(read_results(out), set() if saved is None else set(saved.runs["run_id"]))
    crashed = set() if failed else set(new.runs.loc[new.runs["status"] != "complete", "run_id"])
    left = set(new.runs["run_id"]) - crashed
    planned = len(left)
    for name, runs in stages().items():
        here = left & {run.run_id for run in runs}
        left -= here
        if here:
            added, folder = _only(new, here), folder_of(name, archive)
            both = [read_parquet(folder), added] if folder.is_dir() else [added]
            write_parquet(_sorted(Results(*(pd.concat([getattr(of, f) for of in both]) for f in FILES))), folder)
    return planned - len(left), sorted(crashed)


def _new(results: Results, known_ids: set[str]) -> Results:
    kept = _only(results, set(results.runs["run_id"]) - known_ids)
    runs, traces = kept.runs, kept.traces
    often = set(runs.loc[runs["run_id"].isin(dense()), "run_id"])
    traced = set(runs.loc[runs["arm"].isin(NORMS_OF), "run_id"]) | often
    traces = traces[traces["run_id"].isin(traced)]
    others = traces.columns.difference(KEPT_OF_DENSE)
    traces = traces.assign(**{column: traces[column].mask(traces["run_id"].isin(often)) for column in others})
    return Results(runs, kept.evaluations, traces.astype(dict.fromkeys(traces.select_dtypes("float64"), np.float32)))


def _only(results: Results, run_ids: set[str]) -> Results:
    kept = (t[t["run_id"].isin(run_ids)] for t in (results.runs, results.evaluations, results.traces))
    return Results(*(table.reset_index(drop=True) for table in kept))


def _sorted(results: Results) -> Results:
    """In order, and without the norms of single layers, a third of all, of which nothing is asked."""
    traces = results.traces
    results = replace(results, traces=traces[[name for name in traces if not name.startswith("layer/")]])
    tables = (table.sort_values(["run_id", "timesteps"]) for table in (results.evaluations, results.traces))
    return Results(*(t.reset_index(drop=True) for t in (results.runs.sort_values("run_id"), *tables)))
