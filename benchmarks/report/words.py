"""The answers as sentences that a stranger understands without the tables."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

from benchmarks.report.answers import CANDIDATE, GROUPS, PARTS, Answers, Prevalence
from benchmarks.statistics.equivalence import Comparison, Verdict
from benchmarks.statistics.estimates import Interval, exact_binomial_interval

QUESTIONS = ("Does the weight norm bounce?", "Does constant + one final decay suffice?")


def number(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign, and none on zero; "–" where there is none.

    >>> number(-0.001), number(-1.5)
    ('0.00', '−1.50')
    """
    if value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text).replace("-", "−")


def interval(value: Interval, digits: int = 2) -> str:
    """Return "0.93 [0.90, 0.96]"; a single run has no interval."""
    if value.low == float("-inf"):
        return f"{number(value.estimate, digits)} [?]"
    return f"{number(value.estimate, digits)} [{number(value.low, digits)}, {number(value.high, digits)}]"


def percent(value: Interval) -> str:
    """Return "20 % [1, 72]"."""
    return f"{value.estimate:.0%} [{100 * value.low:.0f}, {100 * value.high:.0f}]".replace("%", " %")


def bounce(answers: Answers) -> Iterator[str]:
    """Yield the first answer, a sentence each."""
    if not answers.prevalence:
        yield "Not answered: there is no run of the constant rate, in which alone bounces are counted."
        return
    for label, wanted in (("Without regularization", False), ("With weight decay", True)):
        tasks = {task: parts for task, parts in answers.prevalence.items() if (task in answers.regularized) == wanted}
        tasks = {task: parts for task, parts in tasks.items() if "total" in parts}
        if not tasks:
            continue
        runs = sum(parts["total"].num_runs for parts in tasks.values())
        bounced = sum(parts["total"].num_bounced for parts in tasks.values())
        share = exact_binomial_interval(bounced, runs)
        yield (
            f"{label}: the total weight norm bounced in {bounced:,} of {runs:,} runs at a constant rate "
            f"({percent(share)}){_where(tasks, 'total')}.{_parts(tasks)}"
        )
        literal = sum(round(parts["total"].literal.estimate * parts["total"].num_runs) for parts in tasks.values())
        group = next(group for group, regularized in GROUPS.items() if regularized == wanted)
        yield (
            f"Taken to the letter, Algorithm 1 would have decayed the rate in {literal:,} of these {runs:,} runs."
            + (_cost(answers.literal[group]) if group in answers.literal else "")
        )


def _parts(tasks: Mapping[str, Mapping[str, Prevalence]]) -> str:
    counts = []
    for name in PARTS[1:]:
        found = [parts[name] for parts in tasks.values() if name in parts]
        if found:
            bounced, runs = sum(f.num_bounced for f in found), sum(f.num_runs for f in found)
            share = percent(exact_binomial_interval(bounced, runs))
            counts.append(f"{name} {bounced:,} of {runs:,} ({share}){_where(tasks, name)}")
    return f" By part: {'; '.join(counts)}." if counts else ""


def _where(tasks: Mapping[str, Mapping[str, Prevalence]], name: str) -> str:
    where = [
        f"{task} ({parts[name].num_bounced} of {parts[name].num_runs})"
        for task, parts in tasks.items()
        if name in parts and parts[name].num_bounced
    ]
    return f", on {', '.join(where)}" if where else ""


def _cost(comparison: Comparison) -> str:
    return (
        f" Trained by it, the mean score differed from that at a constant rate by {interval(comparison.overall.mean)} "
        f"({_extent(comparison)})."
    )


def sufficiency(answers: Answers) -> Iterator[str]:
    """Yield the second answer, a sentence each."""
    if not any(answers.sufficiency.values()):
        yield f"Not answered: there are no runs of {CANDIDATE} and of another arm on the same tasks and seeds."
    for group, comparisons in answers.sufficiency.items():
        for kind, comparison in comparisons.items():
            yield f"{group[0].upper()}{group[1:]}, {_against(kind, comparison)}: {verdict(comparison)}"


def _against(kind: str, comparison: Comparison) -> str:
    return "against linear decay" if kind == "linear" else f"against the best of {len(comparison.others)} other arms"


def verdict(comparison: Comparison) -> str:
    """Return what an overall verdict says."""
    judged = comparison.overall
    amount = f"difference of the mean score {interval(judged.mean)}, of the IQM {interval(judged.iqm)}"
    said = judged_as(judged)
    if judged.verdict == "equivalent":
        said += f" within ±{comparison.margin:g}"
    elif judged.verdict == "undecided":
        said += f"; {_needed(judged)}"
    return f"{said} ({amount}; {_extent(comparison)})."


def judged_as(judged: Verdict) -> str:
    """Return the verdict in a word, and of a difference to which side."""
    if judged.verdict != "different":
        return judged.verdict
    return "different: " + ("better" if judged.mean.estimate > 0 else "worse")


def _extent(comparison: Comparison) -> str:
    tasks, pairs = len(comparison.tasks), comparison.overall.num_pairs
    over = f"{tasks} tasks" if tasks > 1 else "one task"
    return f"{over}, {pairs} {'pair' if pairs == 1 else 'pairs'} of runs each"


def _needed(judged: Verdict) -> str:
    ways = [
        f"{count:,} pairs a task for “{name}”"
        for name, count in (("equivalent", judged.equivalent_at), ("different", judged.different_at))
        if count is not None
    ]
    return (
        f"at these differences it would take {' or '.join(ways)}" if ways else "more seeds are needed to say how many"
    )


def part(value: Prevalence) -> str:
    """Return how often one part bounced, and how deep."""
    depth = f", depth {number(100 * value.depth, 1)} %" if value.num_bounced else ""
    return f"{value.num_bounced} of {value.num_runs}: {percent(value.share)}{depth}"


def escaped(text: str) -> str:
    """Return the text for Markdown on one line, nothing in it read as markup."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in "|\\`*_[]" else character for character in text)
