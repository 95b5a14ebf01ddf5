"""The studies' command: ``python -m benchmarks.study list | run | save | report [STUDY ...]``.

``run`` trains what is missing. It can be stopped at any time, and goes on when it is started again. Runs of the
benchmark wait in folders until ``save`` puts them into the tables; all other units are saved as they are trained.
"""

from __future__ import annotations

import argparse
import pkgutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.arguments import INTERRUPTED, folder, positive
from benchmarks.automatic.stages import AUTOMATIC
from benchmarks.control.study import CONTROL
from benchmarks.evidence.stages import EVIDENCE
from benchmarks.moments.study import MOMENTS
from benchmarks.ppo.stages import PPO
from benchmarks.study.runs import RunStudy
from benchmarks.study.units import UnitStudy

STUDIES: dict[str, RunStudy | UnitStudy] = {study.name: study for study in (EVIDENCE, CONTROL, MOMENTS, AUTOMATIC, PPO)}

SAVED = Path(__file__).parents[2] / "docs" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.partition(":")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="stages, their units, and how many are saved")
    running = commands.add_parser("run", help="train what is missing")
    running.add_argument("--workers", type=positive(int), default=2, help="processes, a thread each (default 2)")
    running.add_argument("--minutes", type=positive(float), help="stop after so many; started again, it goes on")
    running.add_argument("--retry-failed", action="store_true", help="train again what failed")
    saving = commands.add_parser("save", help="put finished runs into the tables")
    saving.add_argument("--failed", action="store_true", help="also runs that failed: they score 0 and stay so")
    commands.add_parser("report", help="pages and figures from the tables")
    for name, command in commands.choices.items():
        command.add_argument("study", nargs="*", help=f"of {', '.join(STUDIES)} (default all)")
        command.add_argument("--saved", type=folder, default=SAVED, help="folder of the tables (default docs/results)")
        if name in ("run", "save"):
            out = "folder of the runs that are not saved yet, a folder a study (default results)"
            command.add_argument("--out", type=folder, default=Path("results"), help=out)
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.study if name not in STUDIES]:
        parser.error(f"study must be one of {list(STUDIES)}, got {unknown[0]!r}")
    console = Console(soft_wrap=True)
    status = 0
    if getattr(given, "minutes", None):
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 60 * given.minutes)
    try:
        for study in [STUDIES[name] for name in given.study] or STUDIES.values():
            status = max(status, _run_one(study, given, console))
            if status == INTERRUPTED:
                break
    except (ValueError, RuntimeError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was finished is kept; the same command goes on from there.")
        return INTERRUPTED
    return status


def _is_not_begun(study: RunStudy | UnitStudy, saved: Path) -> bool:
    return not any(done for done, _ in study.progress(saved).values())


def _run_one(study: RunStudy | UnitStudy, given: argparse.Namespace, console: Console) -> int:
    if given.command == "list":
        console.print(f"{study.name}: {study.about}", highlight=False)
        for stage, (done, planned) in study.progress(given.saved).items():
            console.print(f"  {stage:<22} {done:>4} of {planned:>4}", highlight=False)
    elif given.command == "run":
        # dask and its worker processes are for this command alone.
        from benchmarks.study.launch import run_stages, run_units

        if isinstance(study, UnitStudy):
            return run_units(study, given.saved, console, given.workers)
        return run_stages(study, given.saved, given.out / study.name, console, given.workers, given.retry_failed)
    elif given.command == "report" and not given.study and _is_not_begun(study, given.saved):
        console.print(f"{study.name}: no run is saved yet, so it has no page")
    elif given.command == "report":
        console.print(str(pkgutil.resolve_name(study.page)(given.saved)), markup=False, highlight=False)
    elif isinstance(study, RunStudy):
        new, failed = study.save(given.saved, given.out / study.name, given.failed)
        console.print(f"{study.name}: {new:,} more runs in {given.saved}")
        for run_id in failed:
            console.print(f"failed, so left out without --failed: {run_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
