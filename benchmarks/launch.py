"""A launch as people see it: what is left of it, a display of its progress, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import engine
from benchmarks.arguments import INTERRUPTED
from benchmarks.branches import units
from benchmarks.plan import Run


@dataclass
class Shared:
    """Timesteps of the runs that have ended, and how many of them were trained with another run."""

    timesteps: int = 0
    of: int = 0

    def add(self, record: dict[str, Any]) -> None:
        """Count a run."""
        self.of += record["timesteps"]
        self.timesteps += (record["branched_from"] or {"timesteps": 0})["timesteps"]


def launch(
    name: str,
    runs: Sequence[Run],
    out: Path,
    console: Console,
    workers: int = 1,
    scheduler: str | None = None,
    retry_failed: bool = False,
    branches: bool = True,
) -> int:
    """Train what is missing in ``out``; return the exit status: 1 if a run failed, 130 after Ctrl-C.

    The parameters are those of :func:`benchmarks.engine.execute`.
    """
    where = f"the cluster at {scheduler}" if scheduler else f"{workers} workers"
    steps = sum(run.timesteps for run in runs)
    left = engine.missing(runs, out, retry_failed)
    which = "all of them" if len(left) == len(runs) else f"the {len(left)} that are missing"
    console.print(f"{name}: {len(runs)} runs, {steps:,} timesteps, on {where}; {which} now", soft_wrap=True)
    grouped = units(left)
    if branches and len(grouped) < len(left):
        console.print(f"{len(left)} runs in {len(grouped)} units: what arms have in common is trained once")
    if branches and not scheduler and len(grouped) < min(workers, len(left)):
        console.print(f"a unit is for one worker: --no-branches keeps {min(workers, len(left))} of them busy")
    shared = Shared()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
    )

    def started(client: Any, progress: engine.Progress) -> None:
        console.print(f"dashboard: {client.dashboard_link}")
        bar.add_task(name, total=progress.total, completed=progress.done)

    def ended(progress: engine.Progress, record: dict[str, Any]) -> None:
        bar.update(bar.task_ids[0], completed=progress.done)
        shared.add(record)
        if record["status"] == "failed":
            bar.print(f"[red]failed[/red] {record['run_id']}: {record['error'].strip().splitlines()[-1]}")

    try:
        with bar:
            progress = engine.execute(
                runs, out, workers, scheduler, retry_failed, branches, on_start=started, on_done=ended
            )
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was finished is kept; the same command goes on from there.")
        return INTERRUPTED
    console.print(
        f"{progress.total} runs: {progress.already} were there, {progress.complete} completed now, "
        f"{len(progress.failed)} failed."
    )
    if shared.timesteps:
        console.print(f"{shared.timesteps / shared.of:.0%} of the timesteps were shared by runs, and trained once.")
    for run_id in progress.failed[:10]:
        console.print(f"  failed: {run_id}   (python -m benchmarks show {run_id} --out {out})")
    if len(progress.failed) > 10:
        console.print(f"  and {len(progress.failed) - 10} more")
    return 1 if progress.failed else 0
