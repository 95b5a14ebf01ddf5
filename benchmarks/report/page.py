"""The report of a folder of runs: ``write_report``."""

from __future__ import annotations

import base64
from pathlib import Path

from benchmarks.report.answers import answer, by_group, too_few
from benchmarks.report.figures import pictures
from benchmarks.report.tables import Report, markdown, runs_table, tables
from benchmarks.results import BESIDE, Results, read_results, write_parquet
from benchmarks.statistics.equivalence import MIN_SEEDS
from benchmarks.words import sentences, templates, text

PAGE, MARKDOWN = "report.html", "report.md"
MOST_BROKEN = 20
QUESTIONS = ("Does the weight norm bounce?", "Does one decay near the end suffice?")
WORKS = "Does it all work here?"  # of runs that are too few for these


def write_report(out: Path) -> Report:
    """Read the runs in ``out`` and write report.html, report.md, figures and tables into it.

    :raises ValueError: if there is nothing to report on; the message says what to do
    """
    return write(read_results(out), out)


def write(results: Results, out: Path, title: str = "") -> Report:
    """Write the report of these results into ``out``."""
    worked_out = answer(results)
    environment = templates("benchmarks.report")
    environment.filters["markdown"] = markdown
    said = environment.get_template("sentences.j2")
    groups = by_group(worked_out)
    short = (sentences(said, "bounce_short", groups), sentences(said, "sufficiency_short", worked_out.sufficiency))
    bounce = sentences(said, "bounce", groups, worked_out.literal)
    sufficiency = sentences(said, "sufficiency", worked_out.sufficiency)
    report = Report(
        page=out / PAGE,
        counts=text(said, "counts", results.runs),
        short=dict(zip(QUESTIONS, short)),
        answers=dict(zip(QUESTIONS, (bounce, sufficiency))),
        tables=list(tables(worked_out)),
        problems=sentences(said, "problems", results, worked_out.left_out, MOST_BROKEN),
        works={WORKS: sentences(said, "works", results.runs, MIN_SEEDS)} if too_few(worked_out) else {},
    )
    drawn = list(pictures(results, worked_out))
    about = {"title": title or f"Benchmark: {out.resolve().name}", "report": report}
    beside = out / BESIDE
    beside.mkdir(exist_ok=True)
    for picture in drawn:
        (beside / f"{picture.name}.png").write_bytes(picture.png)
    write_parquet(results, beside)
    beside_page = environment.get_template(f"{MARKDOWN}.j2").render(about, pictures=drawn, beside=BESIDE)
    (out / MARKDOWN).write_text(beside_page, encoding="utf-8")
    encoded = [(picture, base64.b64encode(picture.png).decode()) for picture in drawn]
    html = templates("benchmarks.report", autoescape=True).get_template("page.html")
    report.page.write_text(html.render(about, pictures=encoded, runs=runs_table(results)), encoding="utf-8")
    return report
