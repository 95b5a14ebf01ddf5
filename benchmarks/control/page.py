"""The page of the positive control: docs/results/control.md, from the two saved tables alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.control import plan
from benchmarks.control.answers import COMPLEX, EQUAL, SHALLOW, Answers, answer, verdict
from benchmarks.control.figures import draw
from benchmarks.control.pattern import pattern
from benchmarks.report.words import templates, wrapped

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
    environment.filters["verdict"] = verdict
    known = {"plan": plan, "arms": COMPLEX, "shallow": SHALLOW, "equal": EQUAL, "pattern": pattern(answers)}
    return wrapped(environment.get_template(f"{PAGE}.j2").render(known, answers=answers))
