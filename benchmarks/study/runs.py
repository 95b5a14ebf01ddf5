"""A study whose units are runs of the benchmark. A run has a folder until it is saved.

The saved runs are three parquet files a stage, which change no more once the stage is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.plan import Run
from benchmarks.results import FILES, Results, read_parquet, read_results, write_parquet

KEPT_OF_DENSE = ("run_id", "timesteps", "total", "policy", "value", "shared")
"""Columns of the trace of a run that measures more often than others."""


@dataclass(frozen=True)
class RunStudy:
    """A study of such runs.

    :param page: "module:function" that writes the page into the folder that has the study's folder
    :param stages: its runs by stage, in the order in which they are trained; a run may be in several
    :param fewest: seeds of all its arms from which on a stage counts; every stage has these first
    :param traced: arms whose norms are kept
    """

    name: str
    about: str
    page: str
    stages: Callable[[], Mapping[str, list[Run]]]
    fewest: int
    traced: tuple[str, ...]

    def missing(self, done: Collection[str]) -> dict[str, list[Run]]:
        """Return, by stage, the runs that are not done yet and in no earlier stage.

        :param done: run ids
        """
        seen, left = set(done), {}
        for name, runs in self.stages().items():
            left[name] = [run for run in runs if run.run_id not in seen]
            seen.update(run.run_id for run in runs)
        return left

    def counts(self, stage: str, done: Collection[str]) -> bool:
        """Return whether a stage has seeds enough of all its arms.

        :param done: run ids
        """
        return all(run.run_id in done for run in self.stages()[stage] if run.seed < self.fewest)

    def queue(self, done: Collection[str]) -> list[tuple[str, list[Run]]]:
        """Return what is trained next: first of all stages the seeds that make them count, then the others.

        :param done: run ids
        """
        left = self.missing(done).items()
        return [
            (name, [run for run in runs if (run.seed < self.fewest) == first])
            for first in (True, False)
            for name, runs in left
        ]

    def progress(self, folder: Path) -> dict[str, tuple[int, int]]:
        """Return, by stage, how many of its runs are saved, and of how many."""
        return self.progressed(self.saved_ids(folder))

    def progressed(self, done: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return, by stage, how many of its runs are done, and of how many.

        :param done: run ids
        """
        left, planned = self.missing(done), self.missing(())
        return {name: (len(runs) - len(left[name]), len(runs)) for name, runs in planned.items()}

    def saved(self, folder: Path) -> Results | None:
        """Return all saved runs; None if there are none."""
        found = [read_parquet(path) for name in self.stages() if (path := self.folder_of(name, folder)).is_dir()]
        return _joined(found) if found else None

    def saved_ids(self, folder: Path) -> set[str]:
        """Return the ids of all saved runs."""
        saved = self.saved(folder)
        return set() if saved is None else set(saved.runs["run_id"])

    def save(self, folder: Path, out: Path, failed: bool = False) -> tuple[int, list[str]]:
        """Add the finished runs in ``out`` to the files of the first stage that has them.

        :param failed: whether runs that failed are added: one that diverged scores 0, and stays so, but what a
            machine ended should run again
        :return: how many were new, and the ids of those that failed and were left out
        :raises ValueError: if there is no finished run in ``out``
        """
        if not any(out.glob("*/run.json")):
            raise ValueError(f"no finished run in {out}; `python -m benchmarks.study run {self.name}` makes them")
        new = self._new(read_results(out), self.saved_ids(folder))
        crashed = set() if failed else set(new.runs.loc[new.runs["status"] != "complete", "run_id"])
        left = set(new.runs["run_id"]) - crashed
        finished = len(left)
        for name, runs in self.stages().items():
            here = left & {run.run_id for run in runs}
            left -= here
            if here:
                added, path = _only(new, here), self.folder_of(name, folder)
                write_parquet(_sorted(_joined([read_parquet(path), added] if path.is_dir() else [added])), path)
        return finished - len(left), sorted(crashed)

    def folder_of(self, stage: str, folder: Path) -> Path:
        """Return the folder of a stage's files: "rates, CartPole" -> rates-cartpole."""
        return folder / self.name / stage.lower().replace(",", "").replace(" ", "-")

    def _new(self, results: Results, known: set[str]) -> Results:
        kept = _only(results, set(results.runs["run_id"]) - known)
        dense = {r.run_id for of in self.stages().values() for r in of if r.measurements != Run.measurements}
        runs, traces = kept.runs, kept.traces
        traces = traces[traces["run_id"].isin(dense | set(runs.loc[runs["arm"].isin(self.traced), "run_id"]))]
        often = traces["run_id"].isin(dense)
        others = traces.columns.difference(KEPT_OF_DENSE)
        traces = traces.assign(**{column: traces[column].mask(often) for column in others})
        small = traces.astype(dict.fromkeys(traces.select_dtypes("float64"), np.float32))
        return Results(runs, kept.evaluations, small)


def _joined(results: list[Results]) -> Results:
    return Results(*(pd.concat([getattr(of, name) for of in results], ignore_index=True) for name in FILES))


def _only(results: Results, run_ids: set[str]) -> Results:
    kept = (table[table["run_id"].isin(run_ids)] for table in (results.runs, results.evaluations, results.traces))
    return Results(*(table.reset_index(drop=True) for table in kept))


def _sorted(results: Results) -> Results:
    """In order, and without the norms of single layers: a third of all, and no question is about them."""
    traces = results.traces
    results = replace(results, traces=traces[[name for name in traces if not name.startswith("layer/")]])
    tables = (table.sort_values(["run_id", "timesteps"]) for table in (results.evaluations, results.traces))
    return Results(*(t.reset_index(drop=True) for t in (results.runs.sort_values("run_id"), *tables)))
