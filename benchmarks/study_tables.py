"""The study's own tables, beside those of every report, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.control_answers import SHALLOW, movement
from benchmarks.equivalence import MIN_SEEDS, Comparison, compare
from benchmarks.report import words
from benchmarks.report.answers import (
    CANDIDATE,
    GROUPS,
    LITERAL,
    SEED,
    UNDISTURBED,
    Answers,
    Prevalence,
    at_standard,
    prevalence,
    undisturbed,
    with_tasks,
)
from benchmarks.report.tables import Table
from benchmarks.results import Results
from benchmarks.statistics import FAILED_BELOW, exact_binomial_interval

PAPER = (
    ("Seaquest, labelled Qbert", "1750", "1850"),
    ("Pong, labelled Seaquest", "21.0", "20.7"),
    ("Qbert, labelled Pong", "22300", "23000"),
)
"""Lewkowycz 2021, Table 2, RL: PPO, three runs each, linear decay and constant with one decay at the end."""


PAPER_NOTE = (
    "The paper's rows are PPO on Atari, three runs each; its labels do not fit the scores, which are those of the "
    "games named first."
)


def alignment(trace: pd.DataFrame, part: str = "total") -> tuple[float, float]:
    """Return alignment as a multiple of displacement, in the first and the last third of a run.

    Above -1 the norm grows, at -1 it is at equilibrium, below it falls.
    """
    terms = trace[[f"displacement_{part}", f"alignment_{part}"]].dropna().to_numpy()
    third = len(terms) // 3
    shares = [part[:, 1].sum() / part[:, 0].sum() for part in (terms[:third], terms[len(terms) - third :])]
    return shares[0], shares[1]


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
        if (found := _difference(answers, group, CANDIDATE, UNDISTURBED)) and found.overall.num_pairs >= MIN_SEEDS
    ]
    if brought:
        yield f"What the one final decay brings, minus a constant rate: {'; '.join(brought)}."


def _brought(named: str, found: Comparison) -> str:
    by_task = [f"{task} {words.interval(of.mean)}" for task, of in found.tasks.items() if of.verdict == "different"]
    return f"{named}: {_judged(found)}" + (f" (different by itself on {', '.join(by_task)})" if by_task else "")


def _difference(answers: Answers, group: str, arm: str, other: str) -> Comparison | None:
    """Compare two arms on the tasks of a group; None where they have no run of one seed."""
    pair = {
        name: {task: of for task, of in answers.scores[name].items() if (task in answers.regularized) == GROUPS[group]}
        for name in (arm, other)
        if name in answers.scores
    }
    if len(pair) < 2 or not any(set(pair[arm][task]) & set(pair[other].get(task, ())) for task in pair[arm]):
        return None
    return compare(pair, arm, other, np.random.default_rng(SEED))


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
        f"{MIN_SEEDS} pairs of runs a task on.",
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
    return f"{comparison.overall.verdict}, {words.interval(comparison.overall.mean)}"


def in_words(main: Results) -> Iterator[str]:
    """Yield, without and with weight decay, which layers bounced, and why the norm moved as it did."""
    runs = with_tasks(main.runs)
    for group, regularized in GROUPS.items():
        tasks = undisturbed(main, runs[runs["regularized"] == regularized])
        if tasks:
            label = group[0].upper() + group[1:]
            yield f"{label}, by layer: {_layers_in_words(tasks)}."
            yield f"{label}, why: {_why_in_words([trace for traces in tasks.values() for trace in traces])}"


def candidate(main: Results, answers: Answers) -> Iterator[str]:
    """Yield, by task, whether the candidate for a bounce did: CrossQ's batch renormalisation with weight decay."""
    runs = with_tasks(main.runs)
    for task, traces in undisturbed(main, runs[runs["regularized"] & (runs["agent"] == "CrossQ")]).items():
        parts = [
            f"|w|² of the {part} bounced in {found.num_bounced} of {found.num_runs} runs (at the end "
            f"{_range(_growth(traces, part), '{:.2f}')} times that at the start)"
            for part, found in answers.prevalence[task].items()
        ]
        yield f"The candidate for a bounce, batch renormalisation with weight decay, {task}: {'; '.join(parts)}."


def _layers_in_words(tasks: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    found = {(task, layer): of_layer for task, layer, of_layer in _layers(tasks)}
    bounced = sum(of_layer.num_bounced for of_layer in found.values())
    all_ = sum(of_layer.num_runs for of_layer in found.values())
    said = f"{bounced:,} of {all_:,} bounced (up to ten a run, the largest)"
    if bounced:
        task, layer = max(found, key=lambda key: found[key].share.estimate)
        most = found[task, layer]
        said += f"; most often {layer} of {task}, in {most.num_bounced} of {most.num_runs} runs"
    return said


def _why_in_words(traces: Sequence[pd.DataFrame]) -> str:
    first, last = np.array([alignment(trace) for trace in traces]).T
    fell = first < -1
    again = f", of which {(fell & (last > -1)).sum():,} grew over the last third" if fell.any() else ""
    by_part = ""
    for part in ("policy", "value"):
        firsts = [alignment(trace, part)[0] for trace in traces if _moved(trace, part)]
        if firsts:
            by_part += f", that of the {part} network in {sum(first < -1 for first in firsts):,} of {len(firsts):,}"
    grown = _range(_growth(traces), "{:.2f}")
    return (
        "of Δ|w|² = |Δw|² + 2 w·Δw the second term outweighed the first over the first third of a run, so that the "
        f"norm fell, in {fell.sum():,} of {len(traces):,} runs{again}{by_part}; it was positive, so that nothing "
        f"pulled the norm down, in {(first > 0).sum():,}. At the end |w|² was {grown} times that at the start."
    )


def _moved(trace: pd.DataFrame, part: str) -> bool:
    return f"alignment_{part}" in trace and bool(trace[f"alignment_{part}"].notna().any())


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
            "what the norm does there is what it does in agents that do not learn, and schedules that all fail "
            "look equal."
        )


def why(main: Results) -> Table:
    """What pushed and pulled the norm at a constant rate."""
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for part in ("total", "policy", "value"):
            found = [trace for trace in traces if _moved(trace, part)]
            if found:
                shares = np.array([alignment(trace, part) for trace in found])
                ranges = [_range(values, "{:+.2f}") for values in shares.T]
                rows.append((task, part, str(len(found)), *ranges, _range(_growth(found, part), "{:.2f}")))
    note = (
        "Of Δ|w|² = |Δw|² + 2 w·Δw between measurements, runs at a constant rate: the second term, alignment, as a "
        "multiple of the first, displacement, which always adds. At −1 the norm is at equilibrium, below it falls, "
        "above it grows; where it is positive nothing pulls the norm down. Median over runs, and lowest to highest."
    )
    header = ("task", "part", "runs", "first third", "last third", "|w|² at the end / start")
    return Table("Why the norm moves as it does", note, header, rows)


def falls_and_rises(main: Results) -> Table:
    """Bounces as the positive control counts them, and what came after the decay of the rule."""
    rows = []
    for task, traces in undisturbed(main, with_tasks(main.runs)).items():
        for part in ("total", "policy", "value"):
            norms = [trace[part].to_numpy() for trace in traces if trace[part].notna().any()]
            found = [movement(of_run) for of_run in norms]
            seen = [(m.trend[0] - 1, of_run) for m, of_run in zip(found, norms) if m.trend]
            went_on = sum(of_run[at:].max() - of_run[at] > of_run[at] - of_run[: at + 1].min() for at, of_run in seen)
            if any(m.bounced for m in found) or seen:
                rows.append(
                    (task, part, str(len(norms)), str(sum(m.bounced for m in found)), str(len(seen)), f"{went_on}")
                )
    note = (
        "Where there were any: runs at a constant rate whose norm fell and rose significantly, each by at least "
        f"{100 * SHALLOW:g} % of the lowest (what the positive control calls a bounce); runs that the rule “trend” "
        "would decay, as the rise seems to level off; and of these, runs that rose by more afterwards than until then."
    )
    header = ("task", "part", "runs", "fell and rose", "bounced, by the rule", "of these, went on to rise")
    return Table("Falls and rises", note, header, rows)


def _growth(traces: Sequence[pd.DataFrame], part: str = "total") -> np.ndarray:
    return np.array([trace[part].iloc[-1] / trace[part].iloc[0] for trace in traces])


def _range(values: np.ndarray, form: str) -> str:
    low, middle, high = map(form.format, np.quantile(values, [0, 0.5, 1]))
    return f"{middle} ({low} to {high})".replace("-", "−")


def layers(main: Results) -> Table:
    """Which layers bounced at a constant rate."""
    found = _layers(undisturbed(main, with_tasks(main.runs)))
    return Table(
        "Layers that bounced",
        "Runs at a constant rate in which the rule “trend” sees a bounce of a layer, of up to ten a run, the largest. "
        "The sum of a layer that falls and one that grows may bounce where neither does.",
        ("task", "layer", "runs that bounced"),
        [(task, layer, words.part(of_layer)) for task, layer, of_layer in found if of_layer.num_bounced],
    )


def _layers(tasks: Mapping[str, Sequence[pd.DataFrame]]) -> Iterator[tuple[str, str, Prevalence]]:
    for task, traces in tasks.items():
        for name in (name for name in traces[0].columns if name.startswith("layer/")):
            norms = [trace[name].to_numpy(dtype=float) for trace in traces if trace[name].notna().any()]
            if norms:
                yield task, name.removeprefix("layer/"), prevalence(norms)


def decays_by_bounce(main: Results, answers: Answers) -> Table:
    """What the arm abel gains on constant + final decay, which differs from it by decays after bounces alone."""
    runs = at_standard(with_tasks(main.runs))
    runs = runs[(runs["arm"] == "abel") & (runs["status"] == "complete")]
    runs["bounced"] = runs["decays"].str.contains('"bounce"')
    abel, candidate = (answers.scores.get(arm, {}) for arm in ("abel", CANDIDATE))
    rows = []
    for group, regularized in GROUPS.items():
        tasks = [
            task
            for task in abel
            if (task in answers.regularized) == regularized and set(abel[task]) & set(candidate.get(task, ()))
        ]
        if not tasks:
            continue
        scores = {"abel": {t: abel[t] for t in tasks}, CANDIDATE: {t: candidate[t] for t in tasks}}
        found = compare(scores, "abel", CANDIDATE, np.random.default_rng(SEED))
        for label, judged, of_row in [
            (f"all, {group}", found.overall, tasks),
            *((t, found.tasks[t], [t]) for t in tasks),
        ]:
            bounced = runs.loc[runs["task"].isin(of_row), "bounced"]
            amounts = words.interval(judged.mean), words.interval(judged.iqm)
            same = not bounced.any() and all(abel[t].get(i, x) == x for t in of_row for i, x in candidate[t].items())
            verdict = "the same runs" if same else judged.verdict
            rows.append((label, f"{bounced.sum()} of {len(bounced)}", *amounts, verdict))
    note = (
        "The arm abel is constant + final decay, and a decay after every bounce that it sees: in how many of its runs "
        "there was one, and the difference of the score, abel minus constant + final decay, with 95 % intervals. "
        "Undecided is also what so few pairs say little about."
    )
    header = ("task", "runs with a decay by a bounce", "mean", "IQM", "verdict")
    return Table("What the decays by a bounce cost or bring", note, header, rows)


def single_decays(answers: Answers) -> Table:
    """What the final decay brings by itself, and what Algorithm 1 costs beside it."""
    rows = []
    for group in GROUPS:
        for arm, other in ((CANDIDATE, UNDISTURBED), (LITERAL, CANDIDATE)):
            found = _difference(answers, group, arm, other)
            if not found:
                continue
            for label, judged in [(f"all, {group}", found.overall), *found.tasks.items()]:
                amounts = words.interval(judged.mean), words.interval(judged.iqm)
                rows.append((label, f"{arm} − {other}", str(judged.num_pairs), *amounts, judged.verdict))
    note = (
        "Differences of the score with 95 % intervals: what the final decay alone costs or brings, and what the decays "
        "of the literal Algorithm 1 do beside it."
    )
    header = ("task", "difference", "pairs", "mean", "IQM", "verdict")
    return Table("What the final decay and the literal rule bring", note, header, rows)


def beside(main: Results) -> Table:
    """Final returns, in the form of the paper's Table 2."""
    runs = with_tasks(main.runs)
    runs = runs[runs["status"] == "complete"]
    rows = [(f"paper: {name}", "3", linear, final) for name, linear, final in PAPER]
    for task, of_task in runs.groupby("task"):
        returns = [of_task.loc[of_task["arm"] == arm, "final_return"] for arm in ("linear", "constant+final")]
        if min(map(len, returns)) > 1:
            rows.append((str(task), " / ".join(str(len(r)) for r in returns), *map(_with_error, returns)))
    note = (
        "Final returns: mean, here with its standard error. What the paper calls a complex schedule is linear decay, "
        f"and a simple one constant + final decay. {PAPER_NOTE}"
    )
    return Table("Beside the paper's Table 2", note, ("task", "runs", "linear", "constant+final"), rows)


def _with_error(values: pd.Series) -> str:
    return f"{values.mean():,.1f} ± {values.sem():.1f}".replace("-", "−")
