"""Trains the trunks that are missing, on the benchmark's engine."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, Future, as_completed

from benchmarks.cost import in_words
from benchmarks.engine import ATTEMPTS, connect
from benchmarks.lock import only_one
from benchmarks.moments.plan import Unit
from benchmarks.moments.saved import CONTROL, RUNS, missing_in, save
from benchmarks.starter import call_apart

INTO = "benchmarks.moments.training:train_into"
TRAIN = {RUNS: "benchmarks.moments.training:train_trunk", CONTROL: "benchmarks.moments.digits:train_trunk"}
"""What trains a unit, by names, as torch is for the workers."""


def run_missing(units: Sequence[Unit], folder: Path, name: str, workers: int, minutes: float) -> int:
    """Train the units that are not saved yet; none is begun after the time is up.

    :param name: of the tables, as in :mod:`benchmarks.moments.saved`
    :return: how many are still missing; one that failed is among them, and its error is printed
    :raises AlreadyRunning: if another launch is at work on the folder
    """
    start = time.time()
    with only_one(folder), contextlib.ExitStack() as to_close:
        if not (missing := missing_in(folder, name, units)):
            return 0
        trained = Path(to_close.enter_context(tempfile.TemporaryDirectory()))
        client = to_close.enter_context(connect(min(workers, len(missing)), None))
        work = _Work(client, trained, TRAIN[name], missing)
        ended = as_completed()
        while work.waiting and len(work.running) < workers and time.time() < start + 60 * minutes:
            ended.add(work.begin_one())
        for future in ended:
            said, file = work.running.pop(future)
            unit = pickle.loads(file.read_bytes()) if file.is_file() else {"error": str(future.exception())}
            if "error" in unit:
                print(f"{said} failed: {unit['error']}", flush=True)
            else:
                save(unit, folder, name)
                print(f"{said}; {work.left} left after {in_words(time.time() - start)}", flush=True)
            if work.waiting and time.time() < start + 60 * minutes:
                ended.add(work.begin_one())
    return len(missing_in(folder, name, units))


@dataclass
class _Work:
    client: Client
    trained: Path
    train: str
    waiting: list[Unit]
    running: dict[Future, tuple[str, Path]] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return len(self.waiting) + len(self.running)

    def begin_one(self) -> Future:
        task, seed = self.waiting.pop(0)
        said, file = f"{task.name} at {task.strength:g}, seed {seed}", self.trained / str(len(self.waiting))
        arguments = (said, INTO, file, self.train, task, seed)
        # Not pure: dask would take a second launch's for this one.
        future = self.client.submit(call_apart, *arguments, pure=False, retries=ATTEMPTS - 1)
        self.running[future] = said, file
        return future
