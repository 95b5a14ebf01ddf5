"""All runs as one page that needs nothing else: a table that sorts, and the charts of each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from rl_abel import __version__
from rl_abel.inspection.readers.csv_table import CURVES
from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.text import (
    SOURCES,
    by_reason,
    common_folder,
    facts,
    number,
    remarks,
    short_path,
    span,
    summed_up,
)
from rl_abel.inspection.verdict import FEW, Finding
from rl_abel.rules.bounce import RULES

POINTS = 200
"""Of a line: more cannot be seen, and a thousand runs have to fit into a page."""

DIGITS = 5

COLORS = {"total": "#111111", "policy": "#9467bd", "value": "#17becf", "shared": "#bcbd22", "log_std": "#7f7f7f"}
"""The parts, as in all pictures of the project."""

DECAY = "#d62728"

BOUNCED = "Bounced"
RETURNS = ("evaluation", "episode reward")
"""The better first."""


class Cell(NamedTuple):
    """What a cell shows, and by what its column sorts; None where there is nothing."""

    text: str
    key: str | float | None


class Column(NamedTuple):
    """A column of the table."""

    name: str
    meaning: str
    numeric: bool
    make: Callable[[Finding], Cell]


def write_page(findings: Sequence[Finding], skipped: Iterable[Skipped], rule: str, settings: str, path: Path) -> None:
    """Write the page of all runs.

    :param rule: whose decays are marked on the norms
    :param settings: what was asked, in words
    :raises OSError: if the file cannot be written
    """
    loader = PackageLoader("rl_abel.inspection", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    folder = common_folder(findings)
    columns = _columns(findings, folder)
    page = {
        "title": folder or (findings[0].trace.path if findings else "nothing read"),
        "summary": _summary(findings),
        "settings": settings,
        "version": __version__,
        "few": f"“few” are under {FEW} measurements, on which the rule misses bounces",
        "folder": folder,
        "columns": columns,
        "bounced": BOUNCED,
        "rows": [_row(number, finding, columns) for number, finding in enumerate(findings)],
        "skipped": by_reason(skipped),
        "style": {"parts": COLORS, "decay": DECAY, "rule": rule},
    }
    text = environment.get_template("web_page.html").render(page=page)
    # Names of files may hold what no encoding can write.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _summary(findings: Sequence[Finding]) -> str:
    if not findings:
        return "No run could be read."
    return findings[0].verdict if len(findings) == 1 else summed_up(findings)


def _columns(findings: Sequence[Finding], folder: str) -> list[Column]:
    told = [name for name in ("algorithm", "environment") if any(name in f.trace.about for f in findings)]
    rules = sorted(RULES, reverse=True)
    return [
        Column("Run", "Its path", False, lambda f: _text(short_path(f, folder))),
        *(Column(name.capitalize(), "As the log says", False, _about(name)) for name in told),
        Column("Read from", "What was read", False, lambda f: _text(SOURCES[f.trace.source])),
        Column("Measured", "How often the weight norm was", True, lambda f: _number(len(f.trace.timesteps))),
        Column("To timestep", "Of the last measurement", True, lambda f: _number(f.trace.timesteps[-1])),
        Column(BOUNCED, "In training, or on the trace", False, lambda f: _text(_state(f)[1])),
        Column("First bounce", "Its timestep, by the rule trend", True, lambda f: _number(_first_bounce(f))),
        *(Column(f"{rule} would decay", "How often this rule would have", True, _decays(rule)) for rule in rules),
        Column("Decays, × at end", "Product of the decays made", True, lambda f: _number(_factor(f))),
        Column("|w|², × at end", "Last over first, of the total", True, lambda f: _number(_grown(f))),
        Column("Last return", "Evaluation, else episode reward", True, lambda f: _number(_last_return(f))),
    ]


def _about(name: str) -> Callable[[Finding], Cell]:
    return lambda finding: _text(finding.trace.about.get(name))


def _decays(rule: str) -> Callable[[Finding], Cell]:
    return lambda finding: _number(len(finding.decays[rule]))


def _text(text: str | None) -> Cell:
    return Cell(text or "–", text)


def _number(value: float | None) -> Cell:
    if value is None or not math.isfinite(value):
        return Cell("–", None)
    text = f"{value:,}" if isinstance(value, int) else number(value)
    return Cell(text.replace("-", "−"), value)


def _state(finding: Finding) -> tuple[str, str]:
    """The class of its row, and whether it bounced in words."""
    if finding.diverged:
        return "diverged", "diverged"
    if finding.bounced_in_training:
        return "bounced", "in training"
    if finding.bounced:
        return "bounced", "on the trace"
    if not finding.watched:
        return "", "no such part"
    if finding.measured < finding.needed:
        return "", "too few to tell"
    return "", "no" + (" (few)" if finding.measured < FEW else "")


def _first_bounce(finding: Finding) -> int | None:
    return finding.bounces[0].timestep if finding.bounces else None


def _factor(finding: Finding) -> float | None:
    return finding.trace.record.factor if finding.trace.record else None


def _grown(finding: Finding) -> float | None:
    total = finding.trace.norms["total"]
    first, last = total[0], total[-1]
    return last / first if first > 0 else None


def _last_return(finding: Finding) -> float | None:
    curves = finding.trace.curves
    return next((curves[name][-1][1] for name in RETURNS if name in curves), None)


def _row(number: int, finding: Finding, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "number": number,
        "state": _state(finding)[0],
        "cells": [column.make(finding) for column in columns],
        "path": finding.trace.path,
        "span": span(finding.trace),
        "sentences": remarks(finding),
        "facts": [*facts(finding), *((path, f"not read: {why}") for path, why in finding.trace.skipped.items())],
        "data": chart_data(finding),
    }


def chart_data(finding: Finding) -> dict[str, Any]:
    """Return what the charts of a run draw: at most about ``POINTS`` points of a line, null where it has a gap."""
    trace = finding.trace
    marked = {decay.timestep for decays in finding.decays.values() for decay in decays}
    marked_at = {index for index, timestep in enumerate(trace.timesteps) if timestep in marked}
    kept = thinned(list(trace.norms.values()), marked_at)
    terms = {name: _picked(values, kept) for name, values in trace.terms.items()}
    made = trace.record.decays if trace.record else []
    training = [[d.timestep, f"timestep {d.timestep:,}: ×{d.factor:.3g} ({d.cause})", d.cause, []] for d in made]
    marks = [{"name": "in training", "at": training}] if trace.record else []
    for rule, decays in sorted(finding.decays.items(), reverse=True):
        at = [[d.timestep, f"timestep {d.timestep:,}: {' and '.join(d.parts)}", rule, d.parts] for d in decays]
        marks.append({"name": f"rule {rule}", "at": at})
    return {
        "timesteps": [trace.timesteps[index] for index in kept],
        "norms": {part: _picked(over_start(norms), kept) for part, norms in trace.norms.items()},
        "marks": marks,
        "made": training,
        "curves": [_curve(name, trace.curves[name]) for name in CURVES.values() if name in trace.curves],
        "terms": {
            part: {term: terms[f"{term}_{part}"] for term in ("displacement", "alignment")}
            for part in trace.norms
            if {f"displacement_{part}", f"alignment_{part}"} <= terms.keys()
        },
        "updates": {part: terms[name] for part in trace.norms if (name := f"relative_update_{part}") in terms},
    }


def thinned(columns: Sequence[Sequence[float]], marked: Iterable[int] = (), most: int = POINTS) -> list[int]:
    """Return the places to draw, equally far apart, with the marked ones and the extremes of each column.

    >>> thinned([[3.0, 1.0, 2.0, 9.0, 4.0, 5.0]], most=2)
    [0, 1, 3, 5]
    """
    n = len(columns[0])
    if n <= most:
        return list(range(n))
    kept = {round(i * (n - 1) / (most - 1)) for i in range(most)} | set(marked)
    for column in columns:
        finite = [index for index in range(n) if math.isfinite(column[index])]
        if finite:
            kept |= {min(finite, key=column.__getitem__), max(finite, key=column.__getitem__)}
    return sorted(kept)


def _curve(name: str, points: Sequence[tuple[int, float]]) -> dict[str, Any]:
    values = [value for _, value in points]
    kept = thinned([values])
    return {"name": name, "t": [points[index][0] for index in kept], "v": _picked(values, kept)}


def _picked(values: Sequence[float], kept: Iterable[int]) -> list[float | None]:
    return [float(f"{values[i]:.{DIGITS}g}") if math.isfinite(values[i]) else None for i in kept]


def over_start(norms: Sequence[float]) -> list[float]:
    """Norms over the first that is above 0."""
    start = next((norm for norm in norms if math.isfinite(norm) and norm > 0), 1.0)
    return [norm / start for norm in norms]
