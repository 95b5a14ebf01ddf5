"""The report of a folder of runs: ``write_report``."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.report import words
from benchmarks.report.answers import Answers, answer, sensitivity
from benchmarks.report.figures import Picture, pictures
from benchmarks.report.tables import Report, Table, failures, markdown, runs_table, tables
from benchmarks.results import BESIDE, Results, read_results, write_parquet

PAGE, MARKDOWN = "report.html", "report.md"
MOST_BROKEN = 20


def write_report(out: Path) -> Report:
    """Read the runs in ``out`` and write report.html, report.md, figures and tables into it.

    :raises ValueError: if there is nothing to report on; the message says what to do
    """
    return write(read_results(out), out)


def write(results: Results, out: Path, title: str = "") -> Report:
    """Write the report of these results into ``out``."""
    worked_out = answer(results)
    varied = sensitivity(results.runs)
    report = Report(
        page=out / PAGE,
        counts=failures(results),
        answers=dict(zip(words.QUESTIONS, (list(words.bounce(worked_out)), list(words.sufficiency(worked_out))))),
        tables=list(tables(worked_out, varied)),
        problems=list(_problems(results, worked_out)),
    )
    drawn = list(pictures(results, worked_out, varied))
    title = title or f"Benchmark: {out.resolve().name}"
    (out / PAGE).write_text(_page(title, report, drawn, runs_table(results)), encoding="utf-8")
    beside = out / BESIDE
    beside.mkdir(exist_ok=True)
    for picture in drawn:
        (beside / f"{picture.name}.png").write_bytes(picture.png)
    write_parquet(results, beside)
    (out / MARKDOWN).write_text(_markdown(title, report, drawn), encoding="utf-8")
    return report


def _problems(results: Results, worked_out: Answers) -> Iterator[str]:
    if results.broken:
        yield f"{len(results.broken)} folders could not be read and are skipped:"
        for name, reason in list(results.broken.items())[:MOST_BROKEN]:
            yield f"{name}: {reason}"
        if len(results.broken) > MOST_BROKEN:
            yield f"… and {len(results.broken) - MOST_BROKEN} more"
    if results.unfinished:
        yield f"{results.unfinished} runs are under way or were cut off."
    yield from (f"{said}." for said in worked_out.left_out)


def _page(title: str, report: Report, drawn: list[Picture], runs: Table) -> str:
    environment = Environment(
        loader=PackageLoader("benchmarks.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=title,
        counts=report.counts,
        answers=list(report.answers.items()),
        problems=report.problems,
        tables=report.tables,
        pictures=[
            {"caption": p.caption, "base64": base64.b64encode(p.png).decode(), "answers": p.answers} for p in drawn
        ],
        runs=runs,
    )


def _markdown(title: str, report: Report, drawn: list[Picture]) -> str:
    lines = [f"# {words.escaped(title)}", "", f"{report.counts}.", ""]
    for question, sentences in report.answers.items():
        lines += [f"## {question}", "", *(f"- {words.escaped(sentence)}" for sentence in sentences), ""]
    if report.problems:
        lines += ["## What is not in these answers", "", *(f"- {words.escaped(p)}" for p in report.problems), ""]
    lines += [f"![{words.escaped(p.caption)}]({BESIDE}/{p.name}.png)\n" for p in drawn]
    return "\n".join([*lines, *map(markdown, report.tables)])
