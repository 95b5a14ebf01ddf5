"""A launch as people see it: what it will cost, a display of its progress, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import cost, engine
from benchmarks.plan import Run

INTERRUPTED = 130
"""Exit status that shells give to what Ctrl-C ended."""


def launch(
    name: str,
    runs: Sequence[Run],
    out: Path,
    console: Console,
    workers: int = 1,
    scheduler: str | None = None,
    retry_failed: bool = False,
) -> int:
    """Train what is missing in ``out``; return the exit status: 1 if a run failed, 130 after Ctrl-C.

    The parameters are those of :func:`benchmarks.engine.execute`.
    """
    where = f"the cluster at {scheduler}" if scheduler else f"{workers} workers"
    steps = sum(run.timesteps for run in runs)
    estimate = "" if scheduler else f"; all of them would take about {cost.in_words(cost.total(runs, workers))}"
    console.print(f"{name}: {len(runs)} runs, {steps:,} timesteps, on {where}{estimate}", soft_wrap=True)
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
        if record["status"] == "failed":
            bar.print(f"[red]failed[/red] {record['run_id']}: {record['error'].strip().splitlines()[-1]}")

    try:
        with bar:
            progress = engine.execute(runs, out, workers, scheduler, retry_failed, on_start=started, on_done=ended)
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was finished is kept; the same command goes on from there.")
        return INTERRUPTED
    console.print(
        f"{progress.total} runs: {progress.already} were there, {progress.complete} completed now, "
        f"{len(progress.failed)} failed."
    )
    for run_id in progress.failed[:10]:
        console.print(f"  failed: {run_id}   (python -m benchmarks show {run_id} --out {out})")
    if len(progress.failed) > 10:
        console.print(f"  and {len(progress.failed) - 10} more")
    return 1 if progress.failed else 0
