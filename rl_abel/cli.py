"""The command ``rl-abel inspect``: do existing runs bounce?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rl_abel.inspection import Finding, judge, spark
from rl_abel.rule import RULES, make_rule
from rl_abel.traces import read_path

MOST_IN_A_PLOT = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if anything could be read, 1 if nothing, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="rl-abel", description="The learning rate, decided by the weight norm.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="does the weight norm of finished runs bounce?")
    inspect.add_argument(
        "path",
        nargs="+",
        type=Path,
        help="folders (searched through) or files: TensorBoard events, progress.csv, benchmark runs, *_steps.zip",
    )
    inspect.add_argument("--rule", choices=list(RULES), default="trend", help="whose decays count as bounces")
    inspect.add_argument("--window", type=int, help="of the rule trend: increments in a t-statistic")
    inspect.add_argument("--z", type=float, help="of the rule trend: the t-statistic that is a trend")
    inspect.add_argument("--json", action="store_true", help="print a list of objects, one a run")
    inspect.add_argument("--plot", type=Path, metavar="FILE", help="draw the traces into a picture")
    given = parser.parse_args(arguments)
    options = {name: value for name in ("window", "z") if (value := getattr(given, name)) is not None}
    try:
        make_rule("trend", **options)
    except ValueError as error:
        inspect.error(str(error))
    findings: list[Finding] = []
    for path in given.path:
        for result in read_path(path):
            if isinstance(result, tuple):
                print(f"skipped {result[0]}: {result[1]}", file=sys.stderr)
                continue
            for name, reason in result.skipped.items():
                print(f"skipped {name}: {reason}", file=sys.stderr)
            findings.append(judge(result, given.rule, **options))
    if given.plot and findings:
        try:
            plot(findings, given.plot)
        except ImportError:
            inspect.error("--plot needs matplotlib: pip install matplotlib")
        except (OSError, ValueError) as error:
            inspect.error(f"--plot {given.plot}: {error}")
    if given.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(describe(finding))
        if len(findings) > 1:
            bounced = sum(bool(finding.bounces) for finding in findings)
            print(f"{bounced} of {len(findings)} runs bounce.")
    return 0 if findings else 1


def describe(finding: Finding) -> str:
    """Return a few lines on one run."""
    trace, total = finding.trace, finding.trace.norms["total"]
    lines = [
        f"{trace.path}  ({trace.source}, {len(total)} measurements to timestep {trace.timesteps[-1]:,})",
        f"  |w|²  {spark(total)}  {total[0]:.4g} → {total[-1]:.4g}, lowest {min(total):.4g}",
    ]
    for rule, decays in finding.decays.items():
        listed = ", ".join(f"{timestep:,}" for timestep in decays[:6]) + (", …" if len(decays) > 6 else "")
        lines.append(f"  {rule:<6} {f'{len(decays)} decay{_s(decays)}, at {listed}' if decays else 'no decay'}")
    lines += [f"  {sentence}" for sentence in (finding.verdict, finding.explanation) if sentence]
    return "\n".join([*lines, ""])


def _s(items: Sequence[object]) -> str:
    return "" if len(items) == 1 else "s"


def plot(findings: Sequence[Finding], path: Path) -> None:
    """Draw each run's total norm over its start, bounces marked, into a picture file."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for finding in findings[:MOST_IN_A_PLOT]:
        timesteps, total = finding.trace.timesteps, finding.trace.norms["total"]
        start = next((norm for norm in total if norm > 0), 1.0)
        (line,) = axes.plot(timesteps, [norm / start for norm in total], label=Path(finding.trace.path).name[-40:])
        at = {timestep: norm / start for timestep, norm in zip(timesteps, total)}
        axes.plot(finding.bounces, [at[t] for t in finding.bounces], "v", color=line.get_color(), mec="black", ms=8)
    shown = min(len(findings), MOST_IN_A_PLOT)
    axes.set(xlabel="timesteps", ylabel="|w|² over its start", title=f"Weight norm of {shown} runs; ▼ a bounce")
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
