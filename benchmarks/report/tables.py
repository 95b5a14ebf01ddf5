"""Tables of a report: a title, a header and rows of text, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.plan import ARMS, WITH_FACTOR, WITH_FINAL
from benchmarks.report.answers import Answers, Prevalence, with_tasks
from benchmarks.report.words import escaped, grid, interval, number, percent, templates, text
from benchmarks.results import Results
from benchmarks.statistics.estimates import Interval, exact_binomial_interval


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
    """

    page: Path
    counts: str
    answers: dict[str, list[str]]
    tables: list[Table]
    problems: list[str]


def tables(answers: Answers, sensitivity: pd.DataFrame) -> Iterator[Table]:
    """Yield the tables that these runs allow, in the order of the page."""
    if answers.prevalence:
        yield _prevalence(answers)
        yield _literal(answers)
    if any(answers.sufficiency.values()):
        yield _verdicts(answers)
    for group in answers.summaries:
        yield _overall(answers, group)
    for group, summaries in answers.summaries.items():
        yield _by_task(group, summaries)
    if len(sensitivity):
        yield _sensitivity(sensitivity)


def _prevalence(answers: Answers) -> Table:
    parts = [
        name for name in ("total", "policy", "value", "shared") if any(name in p for p in answers.prevalence.values())
    ]
    rows = [
        (task, *(_part(found[name]) if name in found else "–" for name in parts))
        for task, found in answers.prevalence.items()
    ]
    note = _note("prevalence")
    return Table("Does the weight norm bounce?", note, ("task", *parts), rows)


def _part(found: Prevalence) -> str:
    depth = f", depth {number(100 * found.depth, 1)} %" if found.num_bounced else ""
    return f"{found.num_bounced} of {found.num_runs}: {percent(found.share)}{depth}"


def _literal(answers: Answers) -> Table:
    rows = []
    for task, found in answers.prevalence.items():
        if total := found.get("total"):
            first = (
                "–" if total.literal_first != total.literal_first else f"{total.literal_first:.0%}".replace("%", " %")
            )
            rows.append((task, percent(total.literal), number(total.literal_decays, 1), first))
    note = _note("literal")
    header = ("task", "runs with a decay", "decays a run (median)", "first one comes at (median)")
    return Table("What the literal rule would have done", note, header, rows)


def _verdicts(answers: Answers) -> Table:
    rows = []
    for group, comparisons in answers.sufficiency.items():
        for kind, comparison in comparisons.items():
            for task, judged in [(f"all, {group}", comparison.overall), *comparison.tasks.items()]:
                against = "linear" if kind == "linear" else f"best: {judged.best['mean']}"
                seeds = "–" if judged.equivalent_at is None else f"{judged.equivalent_at:,}"
                amounts = interval(judged.mean), interval(judged.iqm)
                rows.append((task, against, str(judged.num_pairs), *amounts, judged.verdict, seeds))
    margin = next(c.margin for pair in answers.sufficiency.values() for c in pair.values())
    note = _note("verdicts", margin)
    header = ("task", "against", "pairs", "mean", "IQM", "verdict", "pairs for “equivalent”")
    return Table("Does constant + final decay suffice?", note, header, rows)


def _overall(answers: Answers, group: str) -> Table:
    improvement = answers.improvement.get(group, {})
    summaries = answers.summaries[group]
    rows = [
        (
            arm,
            str(len(summaries[arm].tasks)),
            str(sum(task.num_runs for task in summaries[arm].tasks.values())),
            interval(summaries[arm].mean),
            interval(summaries[arm].iqm),
            interval(improvement[arm]) if arm in improvement else "–",
        )
        for arm in sorted(summaries, key=_order)
    ]
    counts = [{task: of_task.num_runs for task, of_task in summary.tasks.items()} for summary in summaries.values()]
    note = _note("overall", any(of_arm != counts[0] for of_arm in counts))
    header = ("arm", "tasks", "runs", "mean score", "IQM", "P(better than constant)")
    return Table(f"All tasks, {group}", note, header, rows)


def _by_task(group: str, summaries: dict) -> Table:  # type: ignore[type-arg]
    tasks = sorted({task for summary in summaries.values() for task in summary.tasks})
    rows = []
    for task in tasks:
        for arm in sorted(summaries, key=_order):
            if task in summaries[arm].tasks:
                s = summaries[arm].tasks[task]
                rows.append((task, arm, str(s.num_runs), interval(s.mean), interval(s.iqm), percent(s.failed)))
    note = _note("by_task")
    return Table(f"Every task, {group}", note, ("task", "arm", "runs", "mean score", "IQM", "failed"), rows)


def _sensitivity(table: pd.DataFrame) -> Table:
    multipliers = sorted(table["rate_multiplier"].unique())
    rows = []
    for (task, arm, factor, final), of_row in table.groupby(["task", "arm", "decay_factor", "final_decay_at"]):
        cells = {row["rate_multiplier"]: row for row in of_row.to_dict("records")}
        settings = f"{factor:g}" if arm in WITH_FACTOR else "–", f"{final:g}" if arm in WITH_FINAL else "–"
        scores = (_score(cells[multiplier]) if multiplier in cells else "–" for multiplier in multipliers)
        rows.append((str(task), str(arm), *settings, *scores))
    rows.sort(key=lambda row: (row[0], _order(row[1])))
    header = ("task", "arm", "decay factor", "final decay at", *(f"base rate × {value:g}" for value in multipliers))
    note = _note("sensitivity")
    return Table("Sensitivity", note, header, rows)


def _score(cell: Mapping[str, Any]) -> str:
    return f"{interval(Interval(cell['mean'], cell['low'], cell['high']))} ({cell['num_runs']})"


def runs_table(results: Results) -> Table:
    """Every run, a row each."""
    runs = with_tasks(results.runs)
    rows = [
        (
            row["run_id"],
            row["status"],
            row["task"],
            row["arm"],
            f"{row['learning_rate']:.3g}",
            str(row["seed"]),
            str(row["timesteps"]),
            number(row["final_return"]),
            number(row["score"]),
            str(row["n_bounces"]),
            f"{row['wall_time_s']:.0f}",
            row["error"].strip().splitlines()[-1][:200] if row["error"].strip() else "",
        )
        for row in runs.to_dict("records")
    ]
    header = (
        "run",
        "status",
        "task",
        "arm",
        "base rate",
        "seed",
        "timesteps",
        "final return",
        "score",
        "bounces",
        "seconds",
        "error",
    )
    return Table("Every run", "Click a heading to sort.", header, rows)


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


def _order(arm: str) -> tuple[int, str]:
    return (ARMS.index(arm) if arm in ARMS else len(ARMS)), arm
