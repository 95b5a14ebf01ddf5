"""Positive control: where the weight norm does bounce, does the pattern of the paper appear?

::

    python -m benchmarks.control run --workers 2    # train what is missing
    python -m benchmarks.control save               # finished runs -> docs/results/control_*.parquet
    python -m benchmarks.control report             # those two files -> docs/results/control.md
    python -m benchmarks.control batch              # growing the batch -> docs/results/batch.md

``run`` leaves a small file a run in results/control, and does nothing that is in one of those or
in the parquet files. It can be stopped at any time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.arguments import positive
from benchmarks.control.plan import SETTINGS, Run, main_runs, tune, tuning_runs
from benchmarks.cost import in_words
from benchmarks.results import write_table

OUT = Path("results/control")
SAVED = Path(__file__).parents[2] / "docs" / "results"
RUNS, TRACES = "control_runs.parquet", "control_traces.parquet"

SECONDS_PER_EPOCH = 0.053
"""Of one core; an epoch that several runs share is trained once."""


def read_finished(out: Path) -> list[dict[str, Any]]:
    """Return what finished runs left in ``out``; what cannot be read counts as missing."""
    records = []
    for path in sorted(out.glob("*.json")):
        try:
            record = json.loads(path.read_text())
            if record["run"]["run_id"] == path.stem and record["trace"]["total"]:
                records.append(record)
        except (ValueError, KeyError, TypeError):
            continue
    return records


def read_saved(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return the saved runs and traces, None if there are none."""
    if not (folder / RUNS).is_file() or not (folder / TRACES).is_file():
        return None
    return pd.read_parquet(folder / RUNS), pd.read_parquet(folder / TRACES)


def as_row(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run's row of the table: lists as JSON text."""
    return {**run, "bounces": json.dumps(run["bounces"])}


def all_runs(out: Path, folder: Path) -> pd.DataFrame:
    """Return a row for each run that is finished, saved or not."""
    saved = read_saved(folder)
    new = pd.DataFrame([as_row(record["run"]) for record in read_finished(out)])
    tables = [table for table in (new, saved[0] if saved else new) if len(table)]
    return pd.concat(tables).drop_duplicates("run_id") if tables else pd.DataFrame({"run_id": []})


def save(out: Path, folder: Path) -> int:
    """Add the finished runs to the saved ones and return how many there are now."""
    saved, records = read_saved(folder), read_finished(out)
    known = set(saved[0]["run_id"]) if saved else set()
    records = [record for record in records if record["run"]["run_id"] not in known]
    runs = [pd.DataFrame([as_row(record["run"]) for record in records])]
    traces = [pd.DataFrame(record["trace"]).assign(run_id=record["run"]["run_id"]) for record in records]
    if saved:
        runs, traces = [saved[0], *runs], [saved[1], *traces]
    if not any(map(len, runs)):
        return 0
    # Runs that begin alike stand together, which halves the size of the compressed file.
    order = ["l2", "learning_rate", "seed", "arm", "decay_factor", "place"]
    table = pd.concat([part for part in runs if len(part)]).sort_values(order, ignore_index=True)
    rank = dict(zip(table["run_id"], range(len(table))))
    trace = pd.concat(traces)
    trace = trace.sort_values(["run_id", "epoch"], key=lambda c: c.map(rank) if c.name == "run_id" else c)
    numbers = {name: "int16" if name == "epoch" else "float32" for name in trace if name != "run_id"}
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["run_id", *numbers]
    write_table(trace[columns].astype(numbers).reset_index(drop=True), folder / TRACES)
    write_table(table, folder / RUNS)
    return len(table)


def tuned_places(runs: pd.DataFrame) -> dict[tuple[float, float], float] | None:
    """Return the best place of "step" in each setting, None until all tuning runs are there."""
    wanted = {run.run_id for run in tuning_runs()}
    if not wanted <= set(runs["run_id"]):
        return None
    tuning = runs[runs["run_id"].isin(wanted)]
    return tune(
        ((row["l2"], row["learning_rate"]), row["place"], row["test_accuracy"]) for row in tuning.to_dict("records")
    )


def missing_runs(runs: pd.DataFrame) -> list[Run]:
    """Return what is to be trained next: the tuning runs, and when these are there all others."""
    tuned = tuned_places(runs)
    done = set(runs["run_id"])
    planned = tuning_runs() if tuned is None else main_runs(tuned)
    return [run for run in planned if run.run_id not in done]


def families(runs: Iterable[Run]) -> list[list[Run]]:
    """Put those together that begin as the same training, in the order of their first."""
    together: dict[tuple[float, float, int], list[Run]] = {}
    for run in runs:
        together.setdefault((run.l2, run.learning_rate, run.seed), []).append(run)
    return list(together.values())


def train_family(runs: Sequence[Run], out: Path, deadline: float) -> int:
    """Train runs of one beginning, a file each; return how many were finished by the deadline."""
    import torch

    from benchmarks.control.training import Branches, load_digits, train

    torch.set_num_threads(1)
    branches = Branches(runs[0].seed, runs[0].l2, load_digits())
    for number, run in enumerate(runs):
        if time.time() > deadline:
            return number
        record = json.dumps(train(run, branches))
        aside = out / f".{run.run_id}.{uuid.uuid4().hex[:8]}"
        aside.write_text(record)
        aside.rename(out / f"{run.run_id}.json")
    return len(runs)


def run_missing(out: Path, folder: Path, workers: int, minutes: float) -> int:
    """Train what is missing, as far as the time allows; return how many runs are still missing."""
    out.mkdir(parents=True, exist_ok=True)
    start, deadline = time.time(), time.time() + 60 * minutes
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            while (missing := missing_runs(all_runs(out, folder))) and time.time() < deadline:
                finished = 0
                futures = [pool.submit(train_family, family, out, deadline) for family in families(missing)]
                for future in as_completed(futures):
                    finished += future.result()
                    print(f"{finished} of {len(missing)} runs after {in_words(time.time() - start)}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing_runs(all_runs(out, folder)))


def report_on_batch(folder: Path, workers: int) -> Path:
    """Write the page on growing the batch; train its runs, some minutes in all, where their table is not there."""
    from benchmarks.control.batch import all_runs
    from benchmarks.control.batch_page import TABLE, write_page

    if not (folder / TABLE).is_file():
        from benchmarks.control.batch_training import train_all

        write_table(train_all(all_runs(), workers), folder / TABLE)
    return write_page(folder)


def plan_in_words() -> str:
    """Return how many runs there are and about how long they take."""
    tuning, main = tuning_runs(), main_runs(dict.fromkeys(SETTINGS, 0.5))
    # The rest is shared with another run of the family, as measured.
    epochs = sum(run.epochs for run in tuning) * 0.8 + sum(run.epochs for run in main) * 0.5
    minutes = epochs * SECONDS_PER_EPOCH / 60
    return f"{len(tuning)} runs to tune and {len(main)} runs: about {minutes:.0f} min on one core"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("plan", "run", "save", "report", "batch"))
    parser.add_argument("--workers", type=positive(int), default=2, help="processes, a thread each (default 2)")
    parser.add_argument("--minutes", type=positive(float), default=float("inf"), help="stop after so many")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of finished runs (default {OUT})")
    parser.add_argument("--saved", type=Path, default=SAVED, help="folder of the saved tables (default docs/results)")
    given = parser.parse_args(arguments)
    if given.command == "plan":
        print(plan_in_words())
    elif given.command == "run":
        missing = run_missing(given.out, given.saved, given.workers, given.minutes)
        print(f"{missing} runs are missing" if missing else "all runs are there")
    elif given.command == "save":
        print(f"{save(given.out, given.saved)} runs are saved")
    elif given.command == "batch":
        print(report_on_batch(given.saved, given.workers))
    elif not (given.saved / RUNS).is_file():
        parser.error(f"there is no {RUNS} in {given.saved}; run and save come first")
    else:
        from benchmarks.control.page import write_report

        print(write_report(given.saved))


if __name__ == "__main__":
    main()
