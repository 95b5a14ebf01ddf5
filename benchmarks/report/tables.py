"""Tables of a report: a title, a header and rows of text, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan import ARMS
from benchmarks.report.answers import PARTS, Answers, Prevalence, with_tasks
from benchmarks.report.words import escaped, grid, interval, number, percent, templates, text
from benchmarks.results import Results
from benchmarks.statistics.estimates import Summary, exact_binomial_interval


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
    :param answers: question -> sentences
    :param tables: those of the page, without the one of every run
    :param problems: what was left out, a sentence each
    :param works: likewise, what runs that are too few for these answers do tell; empty where there are enough
    """

    page: Path
    counts: str
    answers: dict[str, list[str]]
    tables: list[Table]
    problems: list[str]
    works: dict[str, list[str]]


def tables(answers: Answers) -> Iterator[Table]:
    """Yield the tables that these runs allow, in the order of the page."""
    if answers.prevalence:
        yield _prevalence(answers)
    if any(answers.sufficiency.values()):
        yield _verdicts(answers)
    for group in answers.summaries:
        yield _overall(answers, group)
    for group, summaries in answers.summaries.items():
        yield _by_task(group, summaries)


def _prevalence(answers: Answers) -> Table:
    parts = [part for part in PARTS if any(part in found for found in answers.prevalence.values())]
    rows = [(task, *(_part(found.get(part)) for part in parts)) for task, found in answers.prevalence.items()]
    return Table("Does the weight norm bounce?", _note("prevalence"), ("task", *parts), rows)


def _part(found: Prevalence | None) -> str:
    if not found:
        return "–"
    depth = f", depth {number(100 * found.depth, 1)} %" if found.num_bounced else ""
    return f"{found.num_bounced} of {found.num_runs}: {percent(found.share)}{depth}"


def _verdicts(answers: Answers) -> Table:
    rows = []
    compared = [found for comparisons in answers.sufficiency.values() for found in comparisons.items()]
    groups = [group for group, comparisons in answers.sufficiency.items() for _ in comparisons]
    for group, (kind, comparison) in zip(groups, compared):
        for task, judged in [(f"all, {group}", comparison.overall), *comparison.tasks.items()]:
            against = "linear" if kind == "linear" else f"best: {judged.best['mean']}"
            seeds = "–" if judged.equivalent_at is None else f"{judged.equivalent_at:,}"
            amounts = interval(judged.mean), interval(judged.iqm)
            rows.append((task, against, str(judged.num_pairs), *amounts, judged.verdict, seeds))
    header = ("task", "against", "pairs", "mean", "IQM", "verdict", "pairs for “equivalent”")
    note = _note("verdicts", compared[0][1].margin)
    return Table("Does constant + final decay suffice?", note, header, rows)


def _overall(answers: Answers, group: str) -> Table:
    improvement, rows, counts = answers.improvement.get(group, {}), [], []
    for arm, summary in _in_order(answers.summaries[group]):
        counts.append({task: of_task.num_runs for task, of_task in summary.tasks.items()})
        amounts = interval(summary.mean), interval(summary.iqm)
        better = interval(improvement[arm]) if arm in improvement else "–"
        rows.append((arm, str(len(counts[-1])), str(sum(counts[-1].values())), *amounts, better))
    header = ("arm", "tasks", "runs", "mean score", "IQM", "P(better than constant)")
    unequal = any(of_arm != counts[0] for of_arm in counts)
    return Table(f"All tasks, {group}", _note("overall", unequal), header, rows)


def _by_task(group: str, summaries: Mapping[str, Summary]) -> Table:
    rows = [
        (task, arm, str(of.num_runs), interval(of.mean), interval(of.iqm), percent(of.failed))
        for task in sorted({task for summary in summaries.values() for task in summary.tasks})
        for arm, summary in _in_order(summaries)
        if (of := summary.tasks.get(task))
    ]
    header = ("task", "arm", "runs", "mean score", "IQM", "failed")
    return Table(f"Every task, {group}", _note("by_task"), header, rows)


def runs_table(results: Results) -> Table:
    """Every run, a row each."""
    columns = {
        "run": lambda row: row["run_id"],
        "status": lambda row: row["status"],
        "task": lambda row: row["task"],
        "arm": lambda row: row["arm"],
        "base rate": lambda row: f"{row['learning_rate']:.3g}",
        "seed": lambda row: str(row["seed"]),
        "timesteps": lambda row: str(row["timesteps"]),
        "final return": lambda row: number(row["final_return"]),
        "score": lambda row: number(row["score"]),
        "bounces": lambda row: str(row["n_bounces"]),
        "seconds": lambda row: f"{row['wall_time_s']:.0f}",
        "error": lambda row: (row["error"].strip().splitlines() or [""])[-1][:200],
    }
    rows = [tuple(cell(row) for cell in columns.values()) for row in with_tasks(results.runs).to_dict("records")]
    return Table("Every run", "Click a heading to sort.", tuple(columns), rows)


def failures(results: Results) -> str:
    """Return in a line how many runs there are, and how many failed."""
    failed = int((results.runs["status"] == "failed").sum())
    share = percent(exact_binomial_interval(failed, len(results.runs)))
    return f"{len(results.runs):,} finished runs, {failed:,} of them failed ({share})"


def markdown(table: Table) -> str:
    """Return the table as Markdown; text from runs is escaped."""
    return f"## {escaped(table.title)}\n\n{escaped(table.note)}\n\n{grid(table.header, table.rows)}\n"


def _note(of: str, *values: object) -> str:
    return text(templates("benchmarks.report").get_template("sentences.j2"), f"{of}_note", *values)


def _in_order(summaries: Mapping[str, Summary]) -> Iterable[tuple[str, Summary]]:
    known = {arm: index for index, arm in enumerate(ARMS)}
    return sorted(summaries.items(), key=lambda item: (known.get(item[0], len(ARMS)), item[0]))
