"""The study: ``python -m benchmarks.study list | run | save | report``.

``run`` trains what is missing, stage by stage; ``save`` puts what is finished into docs/results,
which is committed; a run that is there is not run again on any machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.arguments import positive
from benchmarks.plan import Run
from benchmarks.results import read_parquet
from benchmarks.study.stages import ARCHIVE, OUT, Choice, choose, known, progress, save, stages


def run(out: Path, workers: int, minutes: float | None, console: Console) -> int:
    """Train what is missing, stage by stage; return the exit status."""
    from benchmarks.launch import launch_stages

    def missing(stage: str) -> list[Run]:
        results = known(out)
        done = set() if results is None else set(results.runs["run_id"])
        choice: Choice = {} if results is None else choose(results.runs)
        return [run for run in stages(choice)[stage] if run.run_id not in done]

    return launch_stages(((stage, missing(stage)) for stage in stages({})), out, console, workers, minutes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description="The study of docs/results.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="train what is missing")
    running.add_argument("--workers", type=positive(int), default=2)
    running.add_argument("--minutes", type=positive(float), help="stop after so many; started again, it goes on")
    saving = commands.add_parser("save", help="put what is finished into docs/results")
    for command in (running, saving):
        command.add_argument("--out", type=Path, default=OUT, help=f"folder of the runs (default {OUT})")
    commands.add_parser("report", help="page and figures from the files in docs/results")
    commands.add_parser("list", help="stages, their runs, and how many are in docs/results")
    given = parser.parse_args(arguments)
    console = Console()
    if given.command == "run":
        return run(given.out, given.workers, given.minutes, console)
    if given.command == "save":
        results = known(given.out)
        if results is None:
            parser.error(f"no finished run in {given.out}")
        save(results)
        console.print(f"{len(results.runs):,} runs in {ARCHIVE}")
        return 0
    if given.command == "list":
        results = known()
        for name, (done, planned) in progress(None if results is None else results.runs).items():
            console.print(f"{name:<28} {done:>5} of {planned:>5} runs")
        return 0
    from benchmarks.study.page import write_page

    console.print(f"written: {write_page(read_parquet(ARCHIVE), ARCHIVE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
