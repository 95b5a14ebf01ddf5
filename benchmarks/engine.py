"""Where runs execute: this machine or a cluster, by one code path (dask distributed)."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed

from benchmarks.branches import Unit, units
from benchmarks.folders import aside, publish, read_record, status_of, unfinished
from benchmarks.lock import only_one
from benchmarks.plan import Run
from benchmarks.starter import call_apart

ATTEMPTS = 3
"""Times a run is begun if the workers that run it are killed."""

KEPT_BYTES = 2**30
"""Freed memory that a worker keeps for its next gradient step."""


Call = tuple[str, Callable[..., Any], tuple[Any, ...]]
"""A name, a function, and its arguments."""


@dataclass
class Progress:
    """What happened so far; ``failed`` has the run ids."""

    total: int
    already: int
    complete: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Runs that need no more work in this launch."""
        return self.already + self.complete + len(self.failed)


@contextlib.contextmanager
def connect(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Connect to a scheduler, or start a cluster on this machine that nobody else can reach."""
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    settings = {
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.logging.distributed": "error",
        # A terminal sends Ctrl-C to all of them, but it is for the launch, which ends its workers.
        "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        # dask has its workers give freed memory back at once; torch asks for it again at every
        # gradient step, and page by page: SAC and CrossQ take twice the processor time.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": KEPT_BYTES,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": KEPT_BYTES,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def missing(runs: Sequence[Run], out: Path, retry_failed: bool = False) -> list[Run]:
    """Return the runs that are not in ``out`` yet, in their order."""
    skip = ("complete",) if retry_failed else ("complete", "failed")
    return [run for run in runs if status_of(out / run.run_id) not in skip]


def execute(
    runs: Sequence[Run],
    out: Path,
    workers: int = 1,
    scheduler: str | None = None,
    retry_failed: bool = False,
    branches: bool = True,
    on_start: Callable[[Client, Progress], None] = lambda client, progress: None,
    on_done: Callable[[Progress, dict[str, Any]], None] = lambda progress, record: None,
) -> Progress:
    """Train what is missing in ``out``, and return what became of all.

    :param runs: what ``out`` shall hold when all is done
    :param workers: processes on this machine, one torch thread each; not used with ``scheduler``
    :param scheduler: address of a dask scheduler whose workers share this file system and checkout
    :param retry_failed: whether runs that failed before are tried again
    :param branches: whether runs that begin alike are trained together, their beginning once
    :param on_start: called when the cluster is up
    :param on_done: called with the record of each run that ends
    :raises AlreadyRunning: if another launch is at work on the folder
    """
    out = out.resolve()
    with only_one(out):
        # Only we are at work here, so what is aside is left from a launch that was killed.
        for cut_off in unfinished(out):
            shutil.rmtree(cut_off)
        left = missing(runs, out, retry_failed)
        progress = Progress(total=len(runs), already=len(runs) - len(left))
        if not retry_failed:
            progress.failed += [run.run_id for run in runs if status_of(out / run.run_id) == "failed"]
        progress.already -= len(progress.failed)
        if not left:
            return progress
        for run in left:
            # What is found there afterwards is of now.
            shutil.rmtree(out / run.run_id, ignore_errors=True)
        grouped = units(left) if branches else [(run,) for run in left]
        with connect(min(workers, len(grouped)), scheduler) as client:
            on_start(client, progress)
            _drain(client, grouped, out, progress, on_done)
    return progress


def each(client: Client, calls: Sequence[Call]) -> Iterator[tuple[int, BaseException | None]]:
    """Run calls on the workers, the first one first; yield the number of each as it ends, and its error."""
    # A scheduler takes two tasks of one name for the same, and another launch may use it too.
    launch = uuid.uuid4().hex[:8]
    futures = {
        # As a cluster takes them by priority.
        client.submit(function, *arguments, key=f"{name}-{launch}", priority=-number, retries=ATTEMPTS - 1): number
        for number, (name, function, arguments) in enumerate(calls)
    }
    for future in as_completed(futures):
        yield futures[future], future.exception()
        future.release()


def _drain(
    client: Client,
    grouped: Sequence[Unit],
    out: Path,
    progress: Progress,
    on_done: Callable[[Progress, dict[str, Any]], None],
) -> None:
    for number, error in each(client, [(unit[0].run_id, _train, (unit, str(out))) for unit in grouped]):
        for run in grouped[number]:
            record = read_record(out / run.run_id)
            if record is None:
                record = _record_loss(run, out, error)
            if record["status"] == "complete":
                progress.complete += 1
            else:
                progress.failed.append(run.run_id)
            on_done(progress, record)


def _train(unit: Unit, out: str) -> None:
    """On a worker: train what is not finished of a unit."""
    left = [run for run in unit if status_of(Path(out) / run.run_id) != "complete"]
    if left:
        call_apart(left[0].run_id, "benchmarks.train:train_unit", left, Path(out))


def _record_loss(run: Run, out: Path, error: BaseException | None) -> dict[str, Any]:
    """Write a run.json for a run whose every worker was killed, or that could not be sent to one."""
    from benchmarks.train import describe, failure

    lost = failure(f"{type(error).__name__}: {error}")
    record = {**describe(run), **lost, "branched_from": None, "wall_time_s": 0.0}
    publish(record, aside(run.run_id, out), out / run.run_id)
    return record
