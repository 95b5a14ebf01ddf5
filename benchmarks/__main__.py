"""The benchmark's command: ``python -m benchmarks list | run | report | show``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.arguments import folder, positive
from benchmarks.suites import SUITES, find_suite

console = Console()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 if a run failed, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Does the weight norm bounce in RL?")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="suites, their tasks, runs and timesteps")
    listing.add_argument("suite", nargs="*", help="only these: names or .toml files")
    run = commands.add_parser("run", help="train what is missing of a suite")
    run.add_argument("suite", help=f"one of {', '.join(SUITES)}, a .toml file, or the run.json of a run to repeat")
    run.add_argument("--out", type=folder, required=True, help="folder of the runs")
    run.add_argument("--workers", type=positive(int), default=os.cpu_count() or 1, help="processes on this machine")
    run.add_argument("--scheduler", help="address of a dask scheduler, in place of this machine")
    run.add_argument("--retry-failed", action="store_true", help="try failed runs again")
    run.add_argument(
        "--no-branches", action="store_true", help="train each run alone, not together those that begin alike"
    )
    report = commands.add_parser("report", help="tables, figures and a page of what has been run")
    report.add_argument("out", type=folder, help="folder of the runs")
    show = commands.add_parser("show", help="one run: configuration, result, the command that repeats it")
    show.add_argument("run_id")
    show.add_argument("--out", type=folder, required=True)
    given = parser.parse_args(arguments)
    action = {"list": _list, "run": _run, "report": _report, "show": _show}[given.command]
    try:
        return action(given)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"{parser.prog} {given.command}: {error}", file=sys.stderr)
        return 2


def _list(given: argparse.Namespace) -> int:
    suites = [find_suite(name) for name in given.suite] if given.suite else list(SUITES.values())
    table = Table(title="Suites")
    for heading in ("suite", "what for", "runs", "timesteps"):
        table.add_column(heading, justify="left" if heading in ("suite", "what for") else "right")
    for suite in suites:
        runs = suite.runs()
        envs: dict[str, dict[str, None]] = {}
        for run in runs:
            envs.setdefault(run.agent, {})[run.env_id] = None
        tasks = "\n".join(f"{agent}: {', '.join(of_agent)}" for agent, of_agent in envs.items())
        table.add_row(
            suite.name,
            Text(f"{suite.about} ({len({run.arm for run in runs})} arms)\n") + Text(tasks, style="dim"),
            f"{len(runs):,}",
            f"{sum(run.timesteps for run in runs) / 1e6:,.1f} M",
        )
        table.add_section()
    console.print(table)
    return 0


def _run(given: argparse.Namespace) -> int:
    # dask and its worker processes are for this command alone.
    from benchmarks.launch import launch

    suite = find_suite(given.suite)
    return launch(
        suite.name,
        suite.runs(),
        given.out,
        console,
        given.workers,
        given.scheduler,
        given.retry_failed,
        not given.no_branches,
    )


def _report(given: argparse.Namespace) -> int:
    # matplotlib and pandas are for this command alone.
    from benchmarks.report import terminal
    from benchmarks.report.page import write_report

    terminal.show(write_report(given.out), console)
    return 0


def _show(given: argparse.Namespace) -> int:
    path = given.out / given.run_id / "run.json"
    if not path.is_file():
        known = sorted(path.parent.name for path in given.out.glob("*/run.json"))
        near = [run_id for run_id in known if given.run_id in run_id][:10]
        raise ValueError(
            f"no run {given.run_id!r} in {given.out}; " + (f"near it: {near}" if near else f"it has {len(known)} runs")
        )
    record = json.loads(path.read_text())
    table = Table(title=record["run_id"], show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in record.items():
        if key not in ("run_id", "config", "error"):
            table.add_row(key, json.dumps(value) if isinstance(value, (dict, list)) else str(value))
    for section, values in record.get("config", {}).items():
        table.add_row(section, json.dumps(values, indent=1) if isinstance(values, dict) else str(values))
    console.print(table)
    if record.get("error"):
        console.print(record["error"], markup=False)
    again = shlex.join(["python", "-m", "benchmarks", "run", str(path), "--out", f"{given.out}-again"])
    console.print(f"Repeat it: {again}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
