"""The table of runs, a row each: one list of columns, for the terminal and for the web page."""

import math
import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from rl_abel.inspection.traces import LEADERS, Trace
from rl_abel.inspection.verdict import Finding
from rl_abel.inspection.words import number, spark

ROOM = 24  # characters of a path that a narrow terminal shows, if need be in place of columns
Value = str | float | None


class Column(NamedTuple):
    """A column: its head and what that means, and of each run a value and its text; None is a dash."""

    name: str
    meaning: str
    numeric: bool
    values: list[Value]
    texts: list[str]


def column(name: str, values: Sequence[Value], meaning: str = "") -> Column:
    """Make a column of values; what is not finite is nothing."""
    kept = [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
    numeric = any(isinstance(value, int | float) for value in kept)
    return Column(name, meaning, numeric, kept, [_text(value) for value in kept])


def _text(value: Value) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,}" if isinstance(value, int) else number(value).replace("-", "−")


def columns(findings: Sequence[Finding], rule: str) -> list[Column]:
    """Return the columns in which some run has something, what matters most first.

    :param rule: whose first decay is shown
    """
    folder = common_folder(findings)
    made: dict[str, tuple[str, Callable[[Finding], Value]]] = {
        "Run": ("Its path", lambda f: _short_path(f.trace, folder)),
        "Bounced": ("In training, or on the trace", lambda f: f.state),
        f"First by {rule}": ("Where it would decay", lambda f: next((d.timestep for d in f.decays[rule]), None)),
        "Norm": ("Of which part", lambda f: next((" and ".join(d.parts) for d in f.decays[rule]), None)),
        "Decays ×": ("Product of the decays made", lambda f: f.trace.record.factor if f.trace.record else None),
        "|w|²": ("Of all weights, ▁ lowest to █ highest", lambda f: spark(f.trace.norms["total"], 12)),
        "× at end": ("|w|² at the end over that at the start", lambda f: _grown(f.trace.norms["total"])),
        "Measured": ("How often the weight norm was", lambda f: len(f.trace.timesteps)),
        "To timestep": ("Of the last measurement", lambda f: f.trace.timesteps[-1]),
        "Led by": ("What led the learning rate", lambda f: LEADERS[f.trace.led][-1] if f.trace.led else None),
        "Trend decays": ("How often the rule trend would decay", lambda f: len(f.decays["trend"])),
        "Paper decays": ("How often the rule paper would decay", lambda f: len(f.decays["paper"])),
        "Last return": ("Evaluation, else episode reward", _last_return),
        "Algorithm": ("As the log says", lambda f: f.trace.about.get("algorithm")),
        "Environment": ("As the log says", lambda f: f.trace.about.get("environment")),
        "Read from": ("What was read", lambda f: f.trace.source),
    }
    found = [column(name, [make(f) for f in findings], meaning) for name, (meaning, make) in made.items()]
    return [one for one in found if any(value is not None for value in one.values)]


def common_folder(findings: Sequence[Finding]) -> str:
    """Return the folder that all runs are in, empty where there is none."""
    # By characters, up to a separator: some paths may be absolute and others not.
    return os.path.dirname(os.path.commonprefix([finding.trace.path for finding in findings]))  # noqa: RUF071


def _short_path(trace: Trace, folder: str) -> str:
    path = os.path.relpath(trace.path, folder) if folder else trace.path
    return f"{path} {trace.of[0]}/{trace.of[1]}" if trace.of[1] > 1 else path


def _grown(norms: Sequence[float]) -> float | None:
    return norms[-1] / norms[0] if norms[0] > 0 else None


def _last_return(finding: Finding) -> float | None:
    curves = [finding.trace.curves.get(name) for name in ("evaluation", "episode reward")]
    return next((curve[-1][1] for curve in curves if curve), None)


def table(findings: Sequence[Finding], rule: str, width: int) -> str:
    """Return the table as text: as many columns as fit, and of a path that is too long its end."""
    runs, *others = columns(findings, rule)
    sizes = [*accumulate(2 + max(map(len, [one.name, *one.texts])) for one in others)]
    least = min(ROOM, max(map(len, runs.texts)))
    shown = [one for one, size in zip(others, sizes) if least + size <= width]
    room = max(least, width - ([0, *sizes])[len(shown)])
    paths = [path if len(path) <= room else "…" + path[1 - room :] for path in runs.texts]
    folder = common_folder(findings)
    return "\n".join([*[f"In {folder}:"] * bool(folder), *lines([column("Run", paths), *shown]), ""])


def lines(columns: Sequence[Column]) -> list[str]:
    """Return the rows of columns as text, the heads first; numbers end where their column does."""
    padded = []
    for one in columns:
        form = f"{'>' if one.numeric else '<'}{max(map(len, [one.name, *one.texts]))}"
        padded.append([format(cell, form) for cell in (one.name, *one.texts)])
    return ["  ".join(row).rstrip() for row in zip(*padded)]
