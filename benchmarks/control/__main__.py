"""Positive control: where the weight norm does bounce, does the pattern of the paper appear?

::

    python -m benchmarks.control run --workers 2    # train what is missing, into docs/results/control_*.parquet
    python -m benchmarks.control report             # those two files -> docs/results/control.md
    python -m benchmarks.control batch              # growing the batch -> docs/results/batch.md

``run`` saves every few runs, and can be stopped at any time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.arguments import folder, positive
from benchmarks.control.plan import Run, main_runs, tune, tuning_runs
from benchmarks.cost import in_words
from benchmarks.results import write_table

SAVED = Path(__file__).parents[2] / "docs" / "results"
RUNS, TRACES = "control_runs.parquet", "control_traces.parquet"

AT_ONCE = 10
"""Runs between two saves, about a minute of work; no clock stops them in between."""


def read_saved(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the saved runs, a row each, and their traces, a row an epoch; empty ones if there are none."""
    if not (folder / RUNS).is_file():
        return pd.DataFrame({"run_id": []}), pd.DataFrame({"run_id": []})
    runs, traces = pd.read_parquet(folder / RUNS), pd.read_parquet(folder / TRACES)
    # The traces are written first: of a save that was cut off they have more.
    return runs, traces[traces["run_id"].isin(runs["run_id"])]


def save(records: Sequence[dict[str, Any]], folder: Path) -> None:
    """Add finished runs, as :func:`benchmarks.control.training.train` returns them, to the saved ones."""
    rows = [{**record["run"], "bounces": json.dumps(record["run"]["bounces"])} for record in records]
    added = pd.DataFrame(rows), *(pd.DataFrame(of["trace"]).assign(run_id=of["run"]["run_id"]) for of in records)
    runs, traces = read_saved(folder)
    runs = pd.concat([runs, added[0]]) if len(runs) else added[0]
    # Runs that begin alike stand together, which halves the size of the compressed file.
    order = ["l2", "learning_rate", "seed", "arm", "decay_factor", "place"]
    runs = runs.sort_values(order, ignore_index=True)
    rank = dict(zip(runs["run_id"], range(len(runs))))
    traces = pd.concat([traces, *added[1:]] if len(traces) else added[1:])
    traces = traces.sort_values(["run_id", "epoch"], key=lambda c: c.map(rank) if c.name == "run_id" else c)
    numbers = {name: "int16" if name == "epoch" else "float32" for name in traces if name != "run_id"}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(traces[["run_id", *numbers]].astype(numbers).reset_index(drop=True), folder / TRACES)
    write_table(runs, folder / RUNS)


def missing_runs(runs: pd.DataFrame) -> list[Run]:
    """Return what is to be trained next: the tuning runs, and when these are there all others.

    :param runs: those that are there
    """
    done, tuning = set(runs["run_id"]), tuning_runs()
    if missing := [run for run in tuning if run.run_id not in done]:
        return missing
    tuned = tune(runs[runs["run_id"].isin({run.run_id for run in tuning})])
    return [run for run in main_runs(tuned) if run.run_id not in done]


def run_missing(folder: Path, workers: int, minutes: float) -> int:
    """Train what is missing, as far as the time allows; return how many runs are still missing."""
    from benchmarks.control.training import train_alone

    start = time.time()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        while (missing := missing_runs(read_saved(folder)[0])) and time.time() < start + 60 * minutes:
            save(list(pool.map(train_alone, missing[:AT_ONCE])), folder)
            print(f"{len(missing[AT_ONCE:])} runs are left after {in_words(time.time() - start)}", flush=True)
    return len(missing)


def report_on_batch(folder: Path, workers: int) -> Path:
    """Write the page on growing the batch; train its runs, some minutes in all, where their table is not there."""
    from benchmarks.control.batch import all_runs
    from benchmarks.control.batch_page import TABLE, write_page

    if not (folder / TABLE).is_file():
        from benchmarks.control.batch_training import train_all

        write_table(train_all(all_runs(), workers), folder / TABLE)
    return write_page(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "report", "batch"))
    parser.add_argument("--workers", type=positive(int), default=2, help="processes, a thread each (default 2)")
    parser.add_argument("--minutes", type=positive(float), default=float("inf"), help="stop after so many")
    parser.add_argument("--saved", type=folder, default=SAVED, help="folder of the tables (default docs/results)")
    given = parser.parse_args(arguments)
    if given.command == "run":
        missing = run_missing(given.saved, given.workers, given.minutes)
        print(f"{missing} runs are missing" if missing else "all runs are there")
    elif given.command == "batch":
        print(report_on_batch(given.saved, given.workers))
    elif not (given.saved / RUNS).is_file():
        parser.error(f"there is no {RUNS} in {given.saved}; run comes first")
    else:
        from benchmarks.control.page import write_report

        print(write_report(given.saved))


if __name__ == "__main__":
    main()
