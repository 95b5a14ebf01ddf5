"""Both answers of the study at a glance, and the tasks on which they say little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.equivalence import MIN_SEEDS, Comparison
from benchmarks.report import words
from benchmarks.report.answers import (
    CANDIDATE,
    GROUPS,
    UNDISTURBED,
    Answers,
    Prevalence,
)
from benchmarks.report.tables import Table
from benchmarks.statistics import FAILED_BELOW, exact_binomial_interval
from benchmarks.study_scores import difference, scores_of


def headlines(chapters: Mapping[str, Answers]) -> Iterator[str]:
    """Yield both answers, a sentence each, and what the final decay brings."""
    for group, regularized in GROUPS.items():
        found = [parts for answers in chapters.values() for parts in _of_group(answers, regularized).values()]
        if found:
            said = f"{group[0].upper()}{group[1:]} the total weight norm bounced in {_counted(found, 'total')} runs"
            learned = [
                parts
                for answers in chapters.values()
                for task, parts in _of_group(answers, regularized).items()
                if task not in _best(answers, below=FAILED_BELOW)
            ]
            if learned and len(learned) < len(found):
                said += f", on tasks that some schedule learns in {_counted(learned, 'total')}"
                found = learned
            yield f"{said} (policy network: {_counted(found, 'policy')}; value network: {_counted(found, 'value')})."
    judged = [
        f"{_named(title, group, answers)}: {_judged(comparisons['linear'])}"
        for title, answers in chapters.items()
        for group, comparisons in answers.sufficiency.items()
        if "linear" in comparisons and _judged(comparisons["linear"]) != "–"
    ]
    if judged:
        yield (
            "Constant + final decay minus linear decay, where a random policy scores 0 and the reference 1, and within "
            f"±0.05 counts as equivalent: {'; '.join(judged)}."
        )
    brought = [
        _brought(_named(title, group, answers), found)
        for title, answers in chapters.items()
        for group in GROUPS
        if (found := difference(scores_of(answers, group), CANDIDATE, UNDISTURBED))
        and found.overall.num_pairs >= MIN_SEEDS
    ]
    if brought:
        yield f"What the one final decay brings, minus a constant rate: {'; '.join(brought)}."


def _brought(named: str, found: Comparison) -> str:
    by_task = [f"{task} {words.interval(of.mean)}" for task, of in found.tasks.items() if of.verdict == "different"]
    return f"{named}: {_judged(found)}" + (f" (different by itself on {', '.join(by_task)})" if by_task else "")


def in_short(chapters: Mapping[str, Answers]) -> Table:
    """Both answers at a glance: a row for each chapter without regularization, and one with weight decay."""
    rows = []
    for title, answers in chapters.items():
        for group, regularized in GROUPS.items():
            tasks = _of_group(answers, regularized)
            verdicts = answers.sufficiency.get(group, {})
            if not tasks:
                continue
            judged = (_judged(verdicts.get(rival)) for rival in ("linear", "best"))
            rows.append((_named(title, group, answers), *_shares(tasks.values()), *judged))
            learned = {task: parts for task, parts in tasks.items() if task not in _best(answers, below=FAILED_BELOW)}
            if learned and len(learned) < len(tasks):
                rows.append(("… on tasks that some schedule learns", *_shares(learned.values()), "", ""))
    return Table(
        "In short",
        "Runs at a constant rate whose squared weight norm bounced, by part, with the exact 95 % interval; and "
        "constant + final decay minus the other, the mean score over the tasks with its 95 % interval, from "
        f"{MIN_SEEDS} pairs of runs a task on. A task is learned where some schedule comes to half of the reference.",
        ("", "total bounced", "policy bounced", "value bounced", "against linear decay", "against the best arm"),
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


def _counted(tasks: Sequence[Mapping[str, Prevalence]], part: str) -> str:
    found = [parts[part] for parts in tasks if part in parts]
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
