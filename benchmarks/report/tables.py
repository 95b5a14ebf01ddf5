"""Tables of a report: a title, a header and rows of text, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.answers import PARTS, Answers, Prevalence, with_tasks
from benchmarks.report.figures import in_order
from benchmarks.results import Results
from benchmarks.statistics.estimates import Summary
from benchmarks.words import cells, escaped, grid, judged_as, number, percent, templates, text


@dataclass(frozen=True)
class Table:
    """A table of text.

    :param note: what to know to read it, a sentence or two
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Report:
    """A report that has been written.

    :param page: the HTML page; figures, Markdown and parquet files lie beside it
    :param short: question -> the answer without numbers, a sentence a group of tasks
    :param answers: likewise, with them
    :param tables: those of the page, without the one of every run
    :param problems: what was left out, a sentence each
    :param works: likewise, what runs that are too few for these answers do tell; empty where there are enough
    """

    page: Path
    counts: str
    short: dict[str, list[str]]
    answers: dict[str, list[str]]
    tables: list[Table]
    problems: list[str]
    works: dict[str, list[str]]


def tables(answers: Answers) -> Iterator[Table]:
    """Yield the tables that these runs allow, in the order of the page."""
    if answers.prevalence:
        yield _prevalence(answers)
    if answers.compared:
        yield _verdicts(answers)
    for group in answers.summaries:
        yield _overall(answers, group)
    for group, summaries in answers.summaries.items():
        yield _by_task(group, summaries)


def _prevalence(answers: Answers) -> Table:
    parts = [part for part in PARTS if any(part in found for found in answers.prevalence.values())]
    rows = [(task, *(_part(found.get(part)) for part in parts)) for task, found in answers.prevalence.items()]
    return Table("Does the weight norm bounce?", _note("prevalence"), *cells(("task", *parts), rows))


def _part(found: Prevalence | None) -> str | None:
    if not found:
        return None
    depth = f", depth {number(100 * found.depth, 1)} %" if found.num_bounced else ""
    return f"{found.num_bounced} of {found.num_runs}: {percent(found.share)}{depth}"


def _verdicts(answers: Answers) -> Table:
    rows = []
    for group, kind, comparison in answers.compared:
        for task, judged in [(f"all, {group}", comparison.overall), *comparison.tasks.items()]:
            amounts = judged.num_pairs, judged.mean, judged.iqm, judged_as(judged)
            rows.append((task, kind, *amounts))
    header = ("task", "against", "pairs", "mean", "IQM", "verdict")
    note = _note("verdicts", answers.compared[0][-1].margin)
    return Table("Does one decay near the end suffice?", note, *cells(header, rows))


def _overall(answers: Answers, group: str) -> Table:
    summaries = answers.summaries[group]
    counts = {arm: {task: of.num_runs for task, of in summary.tasks.items()} for arm, summary in summaries.items()}
    rows = [
        (arm, len(counts[arm]), sum(counts[arm].values()), of.mean, of.iqm)
        for arm in in_order(summaries)
        for of in [summaries[arm]]
    ]
    header = ("arm", "tasks", "runs", "mean score", "IQM")
    first, *others = counts.values()
    return Table(f"All tasks, {group}", _note("overall", any(of != first for of in others)), *cells(header, rows))


def _by_task(group: str, summaries: Mapping[str, Summary]) -> Table:
    rows = [
        (task, arm, of.num_runs, of.mean, of.iqm, percent(of.failed))
        for task in sorted({task for summary in summaries.values() for task in summary.tasks})
        for arm in in_order(summaries)
        if (of := summaries[arm].tasks.get(task))
    ]
    header = ("task", "arm", "runs", "mean score", "IQM", "failed")
    return Table(f"Every task, {group}", _note("by_task"), *cells(header, rows))


def runs_table(results: Results) -> Table:
    """Every run, a row each."""
    runs = with_tasks(results.runs)
    columns = {
        "run": runs["run_id"],
        "status": runs["status"],
        "task": runs["task"],
        "arm": runs["arm"],
        "base rate": runs["learning_rate"].map("{:.3g}".format),
        "seed": runs["seed"].map(str),
        "timesteps": runs["timesteps"],
        "final return": runs["final_return"],
        "score": runs["score"],
        "bounces": runs["n_bounces"],
        "seconds": runs["wall_time_s"].round().astype(int),
        "error": runs["error"].map(lambda error: (error.strip().splitlines() or [""])[-1][:200]),
    }
    return Table("Every run", "Click a heading to sort.", *cells(tuple(columns), zip(*columns.values())))


def markdown(table: Table) -> str:
    """Return the table as Markdown; text from runs is escaped."""
    return f"## {escaped(table.title)}\n\n{escaped(table.note)}\n\n{grid(table.header, table.rows)}\n"


def _note(of: str, *values: object) -> str:
    return text(templates("benchmarks.report").get_template("sentences.j2"), f"{of}_note", *values)
