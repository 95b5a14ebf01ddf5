"""The command ``rl-abel inspect``: do existing runs bounce?"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rl_abel import __version__
from rl_abel.inspection.readers.find_runs import Skipped, read_paths
from rl_abel.inspection.table import table
from rl_abel.inspection.text import LEGEND, complaints, page, summary, wrapped
from rl_abel.inspection.verdict import WATCHABLE, judge
from rl_abel.inspection.words import ASCII, BLOCKS
from rl_abel.rules.bounce import TrendRule


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if anything could be read, 1 if nothing, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="rl-abel", description="Weight norms and learning rates of finished runs.")
    inspect = parser.add_subparsers(dest="command", required=True).add_parser(
        "inspect", help="does the weight norm of finished runs bounce?"
    )
    for one in (parser, inspect):
        one.add_argument("--version", action="version", version=f"rl-abel {__version__}")
    add = inspect.add_argument
    add("path", nargs="+", type=Path, help="folders or files: TensorBoard events, CSVs, benchmark runs, SB3's zips")
    add("--rule", choices=["trend", "paper"], default="trend", help="whose decays are shown")
    add("--watch", choices=["any", *WATCHABLE], help="whose norm the rules see, as in AbelCallback")
    add("--window", type=int, default=TrendRule.window, help="of the rule trend: increments in a t-statistic")
    add("--z", type=float, default=TrendRule.z, help="of the rule trend: the t-statistic that is a trend")
    add("--depth", type=float, default=TrendRule.depth, help="of the rule trend: least fall and rise, as a share")
    add("--details", action="store_true", help="a page on every run, not a line")
    add("--json", action="store_true", help="print a list of objects, one a run")
    add("--html", type=Path, metavar="FILE", help="write a page of all runs, with charts of each")
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


def _inspect(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    options = {name: getattr(given, name) for name in ("window", "z", "depth")}
    try:
        TrendRule(**options)
    except ValueError as error:
        parser.error(str(error))
    results = read_paths(given.path)
    findings = [judge(result, given.watch, **options) for result in results if not isinstance(result, Skipped)]
    skipped = [result for result in results if isinstance(result, Skipped)]
    skipped += [Skipped(*item) for finding in findings for item in finding.trace.skipped.items()]
    print(*complaints(skipped), sep="\n", end="\n" * bool(skipped), file=sys.stderr)
    if given.html:
        from rl_abel.inspection.web_page import write_page

        used = ", ".join(f"{name} {value}" for name, value in options.items())
        asked = f"trend ({used}; watch={given.watch or 'any'}) and paper (watch={given.watch or 'total'})"
        try:
            write_page(findings, skipped, given.rule, asked, given.html)
        except OSError as error:
            parser.error(f"--html {given.html}: {error}")
    width = shutil.get_terminal_size().columns
    if given.json:
        text = json.dumps([finding.as_json() for finding in findings], indent=1, allow_nan=False)
    elif given.details or len(findings) < 2:
        text = "\n".join(page(finding, width) for finding in findings)
    else:
        text = f"{table(findings, given.rule, width)}\n{wrapped(f'{summary(findings)} {LEGEND}', width)}"
    encoding = sys.stdout.encoding or "ascii"
    if BLOCKS.encode(encoding, "replace").decode(encoding) != BLOCKS:
        text = text.translate(ASCII)
    if text:
        print(text, flush=True)
    return 0 if findings else 1


if __name__ == "__main__":
    sys.exit(main())
