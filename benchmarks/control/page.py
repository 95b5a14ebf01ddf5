"""The page of the positive control: docs/results/control.md, from the two saved tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, answer, verdict
from benchmarks.control.figures import draw
from benchmarks.control.pattern import pattern
from benchmarks.report.words import number, templates, wrapped
from benchmarks.statistics.estimates import Interval

RUNS, TRACES, PAGE = "control_runs.parquet", "control_traces.parquet", "control.md"


def write_report(folder: Path) -> Path:
    """Write page and figures beside the tables in ``folder``; return the page."""
    answers = answer(pd.read_parquet(folder / RUNS), pd.read_parquet(folder / TRACES))
    draw(answers, folder)
    page = folder / PAGE
    page.write_text(render(answers), encoding="utf-8")
    return page


def render(answers: Answers) -> str:
    """Return the text of the page."""
    environment = templates("benchmarks.control")
    environment.filters.update(points=points, verdict=verdict, ranged=median_and_range)
    known = {"plan": plan, "arms": COMPLEX, "shallow": SHALLOW, "equal": EQUAL, "pattern": pattern(answers)}
    return wrapped(environment.get_template(f"{PAGE}.j2").render(known, answers=answers))


def points(value: Interval | None) -> str:
    """Return an accuracy or a difference of accuracies in percent, with its interval."""
    if value is None:
        return "–"
    estimate, low, high = (number(100 * end, 1) for end in value)
    return f"{estimate} [{low}, {high}]"


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """Return "34 (30 to 39)"; "–" for no values."""
    if not len(values):
        return "–"
    middle, low, high = (number(float(v), digits) for v in (np.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"
