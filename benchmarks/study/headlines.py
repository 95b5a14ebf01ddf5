"""Both answers of the study at a glance, and the tasks on which they say little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.report import words
from benchmarks.report.answers import (
    CANDIDATE,
    GROUPS,
    UNDISTURBED,
    Answers,
    Prevalence,
)
from benchmarks.report.tables import Table
from benchmarks.statistics.equivalence import MIN_SEEDS, Comparison
from benchmarks.statistics.estimates import FAILED_BELOW, exact_binomial_interval
from benchmarks.study.scores import difference, scores_of


def bounce_headlines(
    chapters: Mapping[str, Answers], shapes: Mapping[str, Mapping[str, int]], outward: Mapping[str, int]
) -> Iterator[str]:
    """Yield the first answer, a sentence without regularization and one with weight decay.

    :param shapes: by task and part, runs at a constant rate that bounced by shape
    :param outward: by task, runs at a constant rate whose weights moved outward at first
    """
    for group, regularized in GROUPS.items():
        found = {task: p for answers in chapters.values() for task, p in _of_group(answers, regularized).items()}
        if not found:
            continue
        hopeless = {task for answers in chapters.values() for task in _best(answers, below=FAILED_BELOW)}
        learned = {task: parts for task, parts in found.items() if task not in hopeless}
        said = (
            f"{group[0].upper()}{group[1:]} the total weight norm bounced by the rule “trend” in "
            f"{_counted(found, 'total')} runs, by shape in {_by_shape(found, shapes)}"
        )
        if learned and len(learned) < len(found):
            said += (
                f"; on tasks that some schedule learns in {_counted(learned, 'total')}, by shape in "
                f"{_by_shape(learned, shapes)}"
            )
        parts = "; ".join(
            f"{part} network: {_counted(learned or found, part)}, by shape {_by_shape(learned or found, shapes, part)}"
            for part in ("policy", "value")
        )
        yield (
            f"{said} ({parts}). Over the first third of a run 2 w·Δw was positive, so that the weights moved outward, "
            f"in {sum(outward.get(task, 0) for task in found):,} of them all."
        )


def headlines(chapters: Mapping[str, Answers]) -> Iterator[str]:
    """Yield the second answer, and what the final decay brings."""
    for rival, said in (
        ("linear", "Against linear decay, constant + final decay is"),
        ("best", "Against the best of the other arms it is"),
        (UNDISTURBED, "Against a constant rate, that is, by what the one decay brings, it is"),
    ):
        verdicts = {
            _named(title, group, answers): found
            for title, answers in chapters.items()
            for group in GROUPS
            if (found := _against(answers, group, rival)) and found.overall.num_pairs >= MIN_SEEDS
        }
        if verdicts:
            yield f"{said} {'; '.join(_sorted_by_verdict(verdicts))}.{_by_itself(verdicts.values())}"


def _against(answers: Answers, group: str, rival: str) -> Comparison | None:
    if rival == UNDISTURBED:
        return difference(scores_of(answers, group), CANDIDATE, UNDISTURBED)
    return answers.sufficiency.get(group, {}).get(rival)


def _sorted_by_verdict(verdicts: Mapping[str, Comparison]) -> Iterator[str]:
    by_verdict: dict[str, list[str]] = {}
    for named, found in verdicts.items():
        by_verdict.setdefault(words.judged_as(found.overall), []).append(
            f"{named} ({words.interval(found.overall.mean)})"
        )
    for verdict in sorted(by_verdict, key=lambda verdict: verdict == "undecided"):
        yield f"{verdict} for {', '.join(by_verdict[verdict])}"


def _by_itself(verdicts: Iterable[Comparison]) -> str:
    different = [
        f"{task} ({words.interval(judged.mean)})"
        for found in verdicts
        for task, judged in found.tasks.items()
        if judged.verdict == "different"
    ]
    return f" Of single tasks it differs on {', '.join(different)}." if different else ""


def in_short(chapters: Mapping[str, Answers]) -> Table:
    """Both answers at a glance: a row for each chapter without regularization, and one with weight decay."""
    rows = []
    for title, answers in chapters.items():
        for group, regularized in GROUPS.items():
            tasks = _of_group(answers, regularized)
            if not tasks:
                continue
            judged = (_judged(_against(answers, group, rival)) for rival in ("linear", "best", UNDISTURBED))
            rows.append((_named(title, group, answers), *_shares(tasks.values()), *judged))
            learned = {task: parts for task, parts in tasks.items() if task not in _best(answers, below=FAILED_BELOW)}
            if learned and len(learned) < len(tasks):
                rows.append(("… on tasks that some schedule learns", *_shares(learned.values()), "", "", ""))
    return Table(
        "In short",
        "Runs at a constant rate whose squared weight norm bounced, by part, with the exact 95 % interval; and "
        "constant + final decay minus the other, the mean score over the tasks with its 95 % interval, from "
        f"{MIN_SEEDS} pairs of runs a task on: different, equivalent (within ±0.05) or undecided. A task is learned "
        "where some schedule comes to half of the reference.",
        (
            "",
            "total bounced",
            "policy bounced",
            "value bounced",
            "against linear decay",
            "against the best arm",
            "against no decay",
        ),
        rows,
    )


def _named(title: str, group: str, answers: Answers) -> str:
    hopeless = _of_group(answers, GROUPS[group]).keys() <= _best(answers, below=FAILED_BELOW).keys()
    return f"{title}, {group}" + (" (which no schedule learns)" if hopeless else "")


def _of_group(answers: Answers, regularized: bool) -> dict[str, dict[str, Prevalence]]:
    return {task: parts for task, parts in answers.prevalence.items() if (task in answers.regularized) == regularized}


def _shares(tasks: Iterable[Mapping[str, Prevalence]]) -> Iterator[str]:
    tasks = list(tasks)
    return (_share([parts[part] for parts in tasks if part in parts]) for part in ("total", "policy", "value"))


def _by_shape(tasks: Iterable[str], shapes: Mapping[str, Mapping[str, int]], part: str = "total") -> str:
    return f"{sum(shapes.get(task, {}).get(part, 0) for task in tasks):,}"


def _counted(tasks: Mapping[str, Mapping[str, Prevalence]], part: str) -> str:
    found = [parts[part] for parts in tasks.values() if part in parts]
    return f"{sum(of_task.num_bounced for of_task in found):,} of {sum(of_task.num_runs for of_task in found):,}"


def _share(found: Sequence[Prevalence]) -> str:
    bounced, runs = sum(of_task.num_bounced for of_task in found), sum(of_task.num_runs for of_task in found)
    return f"{bounced} of {runs}: {words.percent(exact_binomial_interval(bounced, runs))}" if runs else "–"


def _judged(comparison: Comparison | None) -> str:
    if comparison is None or comparison.overall.num_pairs < MIN_SEEDS:
        return "–"
    return f"{words.judged_as(comparison.overall)}, {words.interval(comparison.overall.mean)}"


def _best(answers: Answers, below: float) -> dict[str, float]:
    """Return, of each task on which every arm's mean score is below this, the best of them."""
    best: dict[str, float] = {}
    for tasks in answers.scores.values():
        for task, scores in tasks.items():
            best[task] = max(best.get(task, -np.inf), float(np.mean(list(scores.values()))))
    return {task: score for task, score in best.items() if score < below}


def unlearned(answers: Answers) -> Iterator[str]:
    """Yield what is to be known of tasks that no arm learns."""
    for task, best in _best(answers, below=FAILED_BELOW).items():
        yield (
            f"On {task} no schedule comes to half of the reference (the best mean score is {words.number(best)}): "
            "what the norm does there is what it does in agents that learn little, and schedules that all fall short "
            "look alike."
        )
