"""The report of a folder of runs: ``write_report``."""

from __future__ import annotations

import base64
from pathlib import Path

from benchmarks.report import words
from benchmarks.report.answers import answer, by_group, sensitivity, too_few
from benchmarks.report.figures import Picture, pictures
from benchmarks.report.tables import Report, Table, failures, markdown, runs_table, tables
from benchmarks.results import BESIDE, Results, read_results, write_parquet
from benchmarks.statistics.equivalence import MIN_SEEDS

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
    said = words.templates("benchmarks.report").get_template("sentences.j2")
    answers = (
        words.sentences(said, "bounce", by_group(worked_out), worked_out.literal),
        words.sentences(said, "sufficiency", worked_out.sufficiency),
    )
    report = Report(
        page=out / PAGE,
        counts=failures(results),
        answers=dict(zip(words.QUESTIONS, answers)),
        tables=list(tables(worked_out)),
        problems=words.sentences(said, "problems", results, worked_out.left_out, MOST_BROKEN),
        works={words.WORKS: words.sentences(said, "works", results.runs, MIN_SEEDS)} if too_few(worked_out) else {},
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


def _page(title: str, report: Report, drawn: list[Picture], runs: Table) -> str:
    encoded = [(picture, base64.b64encode(picture.png).decode()) for picture in drawn]
    page = words.templates("benchmarks.report", autoescape=True).get_template("page.html")
    return page.render(title=title, report=report, pictures=encoded, runs=runs)


def _markdown(title: str, report: Report, drawn: list[Picture]) -> str:
    environment = words.templates("benchmarks.report")
    environment.filters["markdown"] = markdown
    return environment.get_template("report.md.j2").render(title=title, report=report, pictures=drawn, beside=BESIDE)
