"""What does a decay bring, at each moment of a run?

::

    python -m benchmarks.moments control                      # the positive control, minutes
    python -m benchmarks.moments run --minutes 20 --workers 1 # train what is missing, as far as the time allows
    python -m benchmarks.moments report                       # docs/results/moments.md, of what is there

Each trunk is saved with its branches when it is done, into docs/results/moments*.parquet; the same
command goes on from there. The plan is docs/results/moments_plan.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from benchmarks.arguments import positive
from benchmarks.cost import in_words
from benchmarks.lock import AlreadyRunning, only_one
from benchmarks.moments.plan import Task, Unit, all_units, digits_units
from benchmarks.moments.saved import CONTROL, RUNS, missing_in, save
from benchmarks.starter import ONE_THREAD

SAVED = Path(__file__).parents[2] / "docs" / "results"

Trained = dict[str, list[dict[str, Any]]]


def run_missing(
    train: Callable[[Task, int], Trained], units: Sequence[Unit], folder: Path, name: str, workers: int, minutes: float
) -> int:
    """Train the units that are not saved yet; none is begun after the time is up.

    :return: how many are still missing; one that failed is among them, and its error is printed
    """
    start = time.time()
    waiting, running = missing_in(folder, name, units), dict[Future[Trained], Unit]()
    with only_one(folder), ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            while waiting and len(running) < workers and time.time() < start + 60 * minutes:
                unit = waiting.pop(0)
                try:
                    running[pool.submit(train, *unit)] = unit
                except BrokenProcessPool:
                    print("a worker was killed; the same command begins its trunk again", flush=True)
                    waiting.clear()
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, seed = running.pop(future)
                said = f"{task.name} at {task.strength:g}, seed {seed}"
                if error := future.exception():
                    print(f"{said} failed: {error!r}", flush=True)
                    continue
                save(future.result(), folder, name)
                print(f"{said}; {len(waiting) + len(running)} left after {in_words(time.time() - start)}", flush=True)
    return len(missing_in(folder, name, units))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "control", "report"))
    parser.add_argument("--workers", type=positive(int), default=2, help="processes, a thread each (default 2)")
    parser.add_argument("--minutes", type=positive(float), default=float("inf"), help="begin no trunk after so many")
    parser.add_argument("--saved", type=Path, default=SAVED, help="folder of the tables (default docs/results)")
    given = parser.parse_args(arguments)
    if given.command == "report":
        from benchmarks.moments.page import write_page

        try:
            print(write_page(given.saved))
        except ValueError as error:
            parser.error(str(error))
        return
    # For the workers, which copy themselves and so have no threads.
    os.environ.update(ONE_THREAD)
    train: Callable[[Task, int], Trained]
    if given.command == "run":
        from benchmarks.moments.training import train_trunk as train

        units, name = all_units(), RUNS
    else:
        from benchmarks.moments.digits import train_trunk as train

        units, name = digits_units(), CONTROL
    try:
        missing = run_missing(train, units, given.saved, name, given.workers, given.minutes)
    except AlreadyRunning as error:
        parser.error(str(error))
    print(f"{missing} trunks are missing" if missing else "all trunks are there")


if __name__ == "__main__":
    main()
