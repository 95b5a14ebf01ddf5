"""Trains what is missing of a study."""

from __future__ import annotations

import pickle
import pkgutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import launch
from benchmarks.engine import connect, each
from benchmarks.lock import only_one
from benchmarks.starter import call_apart
from benchmarks.study.runs import RunStudy
from benchmarks.study.units import Unit, UnitStudy


def run_stages(study: RunStudy, folder: Path, out: Path, console: Console, workers: int, retry_failed: bool) -> int:
    """Train the runs that are not saved into ``out``, stage by stage; return the exit status of the launches."""
    failed = 0
    # What is only in ``out`` is found there by the launch itself.
    for stage, runs in study.queue(study.saved_ids(folder)):
        if runs:
            status = launch.launch(stage, runs, out, console, workers, retry_failed=retry_failed)
            if status == launch.INTERRUPTED:
                return status
            failed |= status
    return failed


def run_units(study: UnitStudy, folder: Path, console: Console, workers: int) -> int:
    """Train what is missing, and save each unit when it is done; return the exit status, 1 if one failed.

    :raises AlreadyRunning: if another launch is at work on the folder
    """
    failed: set[str] = set()
    with only_one(folder):
        # A stage may be known only when another is there.
        while left := [u for units in study.missing(folder).values() for u in units if u.name not in failed]:
            failed |= _train_all(left, folder, console, workers)
    return 1 if failed else 0


def _train_all(units: list[Unit], folder: Path, console: Console, workers: int) -> set[str]:
    """Train units and save them; return the names of those that failed."""
    begun, failed = time.monotonic(), set()
    with tempfile.TemporaryDirectory() as aside, connect(min(workers, len(units)), None) as client:
        files = [Path(aside) / f"{number}.unit" for number in range(len(units))]
        into = f"{__name__}:train_into"
        calls = [
            (unit.name, call_apart, (unit.name, into, file, unit.train, *unit.arguments))
            for unit, file in zip(units, files)
        ]
        for ended, (number, error) in enumerate(each(client, calls), start=1):
            unit, file = units[number], files[number]
            trained = pickle.loads(file.read_bytes()) if file.is_file() else {"error": str(error)}
            if "error" in trained:
                failed.add(unit.name)
                said = f" failed: {trained['error']}"
            else:
                unit.tables.add(folder, [trained])
                said = f"; {len(units) - ended} left after {time.monotonic() - begun:.0f} s"
            console.print(unit.name + said, markup=False, highlight=False)
    return failed


def train_into(file: Path, train: str, *arguments: Any) -> None:
    """Train a unit, and leave its rows in a file, or the error.

    :param file: of a pickled dict: rows by table, or ``error``
    """
    try:
        rows = pkgutil.resolve_name(train)(*arguments)
    except Exception:
        rows = {"error": traceback.format_exc()}
    # Whole or not at all: a unit that is killed in between is begun again.
    written = file.with_suffix(".part")
    written.write_bytes(pickle.dumps(rows))
    written.rename(file)
