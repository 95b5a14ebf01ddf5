"""The second study: ``python -m benchmarks.evidence list | run | save | report``.

``run`` trains what is missing, stage by stage; ``save`` puts what is finished into docs/results/evidence,
which is committed; a run that is there is not run again on any machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.arguments import folder, positive
from benchmarks.evidence.saved import ARCHIVE, OUT, known, save
from benchmarks.evidence.stages import missing, queue, stages


def run(out: Path, workers: int, minutes: float | None, retry_failed: bool, console: Console) -> int:
    """Train what is missing, stage by stage; return the exit status."""
    from benchmarks.launch import launch_stages

    saved = known()
    # What is only in ``out`` is found there by the launch itself.
    left = queue(set() if saved is None else set(saved.runs["run_id"]))
    return launch_stages(left, out, console, workers, minutes, retry_failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__.partition(":")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="train what is missing")
    running.add_argument("--workers", type=positive(int), default=2)
    running.add_argument("--minutes", type=positive(float), help="stop after so many; started again, it goes on")
    running.add_argument("--retry-failed", action="store_true", help="train again what failed")
    saving = commands.add_parser("save", help=f"put what is finished into {ARCHIVE.parent.name}/{ARCHIVE.name}")
    saving.add_argument("--failed", action="store_true", help="also runs that failed: they score 0 and stay so")
    for command in (running, saving):
        command.add_argument("--out", type=folder, default=OUT, help=f"folder of the runs (default {OUT})")
    commands.add_parser("report", help="pages and figures from the saved files")
    commands.add_parser("list", help="stages, their runs, and how many are saved")
    given = parser.parse_args(arguments)
    console = Console()
    if given.command == "run":
        return run(given.out, given.workers, given.minutes, given.retry_failed, console)
    if given.command == "save":
        try:
            saved_now, failed = save(given.out, failed=given.failed)
            console.print(f"{saved_now:,} more runs in {ARCHIVE}")
            for run_id in failed:
                console.print(f"failed, so left out without --failed: {run_id}", soft_wrap=True)
        except ValueError as error:
            parser.error(str(error))
        return 0
    saved = known()
    if given.command == "report":
        from benchmarks.evidence.page import write_page

        if saved is None:
            parser.error(f"no run in {ARCHIVE}")
        console.print(f"written: {write_page(saved, ARCHIVE.parent)}")
        return 0
    left = missing(set() if saved is None else set(saved.runs["run_id"]))
    seen: set[str] = set()
    for name, runs in stages().items():
        new = {run.run_id for run in runs} - seen
        seen |= new
        console.print(f"{name:<22} {len(new) - len(left[name]):>4} of {len(new):>4} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
