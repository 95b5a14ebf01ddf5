"""The command ``rl-abel inspect``: do existing runs bounce?"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_abel import __version__
from rl_abel.inspection.readers.find_runs import Skipped, read_paths
from rl_abel.inspection.text import ASCII, complaints, has_signs, page, summary, table
from rl_abel.inspection.verdict import WATCHABLE, Finding, judge
from rl_abel.rules.bounce import RULES, make_rule

OPTIONS = ("window", "z", "depth")
"""Of the rule "trend"."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if anything could be read, 1 if nothing, 2 for wrong usage."""
    parser, inspect = _parsers()
    given = parser.parse_args(arguments)
    # Names of files may hold what no encoding can write.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _inspect(given, inspect)
    except BrokenPipeError:
        # Whoever reads has read enough, as head does. What is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(prog="rl-abel", description="Weight norms and learning rates of finished runs.")
    parser.add_argument("--version", action="version", version=f"rl-abel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="does the weight norm of finished runs bounce?")
    inspect.add_argument(
        "path",
        nargs="+",
        type=Path,
        help="folders (searched through) or files: TensorBoard events, progress.csv, benchmark runs, SB3's zips",
    )
    inspect.add_argument("--rule", choices=list(RULES), default="trend", help="whose decays are shown")
    inspect.add_argument("--watch", choices=["any", *WATCHABLE], help="whose norm the rules see, as in AbelCallback")
    inspect.add_argument("--window", type=int, help="of the rule trend: increments in a t-statistic")
    inspect.add_argument("--z", type=float, help="of the rule trend: the t-statistic that is a trend")
    inspect.add_argument("--depth", type=float, help="of the rule trend: least fall and rise, as a share")
    inspect.add_argument("--details", action="store_true", help="a page on every run, not a line")
    inspect.add_argument("--version", action="version", version=f"rl-abel {__version__}")
    inspect.add_argument("--json", action="store_true", help="print a list of objects, one a run")
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write a page of all runs, with charts of each")
    return parser, inspect


def _inspect(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    options: dict[str, Any] = {name: getattr(given, name) for name in OPTIONS if getattr(given, name) is not None}
    try:
        trend = make_rule("trend", **options)
    except ValueError as error:
        parser.error(str(error))
    results = read_paths(given.path)
    findings = [judge(result, given.watch, **options) for result in results if not isinstance(result, Skipped)]
    skipped = [result for result in results if isinstance(result, Skipped)]
    skipped += [Skipped(*item) for finding in findings for item in finding.trace.skipped.items()]
    for line in complaints(skipped):
        print(line, file=sys.stderr)
    if given.html:
        from rl_abel.inspection.web_page import write_page

        parts = {"trend": given.watch or "any", "paper": given.watch or "total"}
        used = ", ".join(f"{name} {getattr(trend, name)}" for name in OPTIONS)
        asked = f"trend ({used}; watch={parts['trend']}) and paper (watch={parts['paper']})"
        try:
            write_page(findings, skipped, given.rule, asked, given.html)
        except OSError as error:
            parser.error(f"--html {given.html}: {error}")
    if given.json:
        text = json.dumps([finding.as_json() for finding in findings], indent=1, allow_nan=False)
    else:
        text = _text(findings, given)
    if text:
        print(text if has_signs(sys.stdout.encoding) else text.translate(ASCII), flush=True)
    return 0 if findings else 1


def _text(findings: Sequence[Finding], given: argparse.Namespace) -> str:
    width = shutil.get_terminal_size().columns
    if len(findings) == 1 or given.details:
        parts = [page(finding, width) for finding in findings]
    else:
        parts = [table(findings, given.rule, width)] if findings else []
    if len(findings) > 1:
        parts.append(summary(findings, width, legend=not given.details))
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
