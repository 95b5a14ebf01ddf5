"""How the norm moved in the study, and why: in words, and in tables beside those of every report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.control.answers import SHALLOW, movement
from benchmarks.report import words
from benchmarks.report.answers import (
    GROUPS,
    Answers,
    Prevalence,
    prevalence,
    undisturbed,
    with_tasks,
)
from benchmarks.report.tables import Table
from benchmarks.results import Results

SMOOTHED, DEEP = 5, 0.05
"""What counts as a bounce by shape: measurements of a running median, and a share of its start and of its lowest."""


def shaped(norms: npt.ArrayLike) -> bool:
    """Whether a norm, noise apart, falls below its start and later rises from its lowest, by 5 % each or more.

    >>> shaped([9, 9, 9, 8, 7, 7, 7, 8, 9, 9, 9]), shaped([5, 5, 5, 7, 9, 9, 9, 8, 7, 7, 7])
    (True, False)
    """
    smooth = pd.Series(norms, dtype=float).rolling(SMOOTHED, center=True).median().dropna().to_numpy()
    lowest = smooth.argmin()
    return bool(smooth[lowest] <= (1 - DEEP) * smooth[0] and smooth[lowest:].max() >= (1 + DEEP) * smooth[lowest])


def by_shape(main: Results) -> dict[str, dict[str, int]]:
    """Return, by task and part, how many runs at a constant rate bounced by the shape of their norm."""
    return {
        task: {
            part: sum(shaped(trace[part]) for trace in traces if trace[part].notna().any())
            for part in ("total", "policy", "value")
        }
        for task, traces in undisturbed(main, with_tasks(main.runs)).items()
    }


def outward(main: Results) -> dict[str, int]:
    """Return, by task, in how many runs at a constant rate 2 w·Δw was above 0 over the first third."""
    return {
        task: sum(alignment(trace)[0] > 0 for trace in traces)
        for task, traces in undisturbed(main, with_tasks(main.runs)).items()
    }


def alignment(trace: pd.DataFrame, part: str = "total") -> tuple[float, float]:
    """Return alignment as a multiple of displacement, in the first and the last third of a run.

    Above -1 the norm grows, at -1 it is at equilibrium, below it falls.
    """
    terms = trace[[f"displacement_{part}", f"alignment_{part}"]].dropna().to_numpy()
    third = len(terms) // 3
    shares = [part[:, 1].sum() / part[:, 0].sum() for part in (terms[:third], terms[len(terms) - third :])]
    return shares[0], shares[1]


def in_words(main: Results) -> Iterator[str]:
    """Yield, without and with weight decay, which layers bounced, and why the norm moved as it did."""
    runs = with_tasks(main.runs)
    for group, regularized in GROUPS.items():
        tasks = undisturbed(main, runs[runs["regularized"] == regularized])
        if tasks:
            label = group[0].upper() + group[1:]
            yield f"{label}, by layer: {_layers_in_words(tasks)}."
            why = _why_in_words([trace for traces in tasks.values() for trace in traces], regularized)
            yield f"{label}, why: {why}"


def candidate(main: Results, answers: Answers) -> Iterator[str]:
    """Yield, by task, whether the candidate for a bounce did: CrossQ's batch renormalisation with weight decay."""
    runs = with_tasks(main.runs)
    for task, traces in undisturbed(main, runs[runs["regularized"] & (runs["agent"] == "CrossQ")]).items():
        parts = [
            f"|w|² of the {part} bounced in {found.num_bounced} of {found.num_runs} runs, by shape in "
            f"{sum(shaped(trace[part]) for trace in traces)} (lowest at "
            f"{_range(_lowest_at(traces, part), '{:.0f}')} % of the run, at the end "
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


def _why_in_words(traces: Sequence[pd.DataFrame], regularized: bool) -> str:
    first, last = np.array([alignment(trace) for trace in traces]).T
    fell = first < -1
    again = f", of which {(fell & (last > -1)).sum():,} grew over the last third" if fell.any() else ""
    by_part = ""
    for part in ("policy", "value"):
        firsts = [alignment(trace, part)[0] for trace in traces if _moved(trace, part)]
        if firsts:
            by_part += f", that of the {part} network in {sum(first < -1 for first in firsts):,} of {len(firsts):,}"
    pushed = "weight decay pulled less than the gradients pushed" if regularized else "nothing pulled the norm down"
    grown = _range(_growth(traces), "{:.2f}")
    return (
        "of Δ|w|² = |Δw|² + 2 w·Δw the second term outweighed the first over the first third of a run, so that the "
        f"norm fell, in {fell.sum():,} of {len(traces):,} runs{again}{by_part}; it was positive, so that {pushed}, "
        f"in {(first > 0).sum():,}. At the end |w|² was {grown} times that at the start."
    )


def _moved(trace: pd.DataFrame, part: str) -> bool:
    return f"alignment_{part}" in trace and bool(trace[f"alignment_{part}"].notna().any())


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
        "above it grows; where it is positive the weights move outward, and what pull there is by weight decay is "
        "outweighed. Between measurements far apart displacement holds drift too, so it is no measure of noise here. "
        "Median over runs, and lowest to highest."
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
            if any(m.bounced for m in found) or seen or any(map(shaped, norms)):
                amounts = sum(map(shaped, norms)), sum(m.bounced for m in found), len(seen), went_on
                rows.append((task, part, str(len(norms)), *map(str, amounts)))
    note = (
        f"Where there were any: runs at a constant rate that bounced by shape (a running median over {SMOOTHED} "
        f"measurements falls by at least {100 * DEEP:g} % below its start, and then rises by at least {100 * DEEP:g} % "
        "from its lowest, however fast or late); runs whose norm fell and rose significantly, each by at least "
        f"{100 * SHALLOW:g} % of the lowest (what the positive control calls a bounce); runs that the rule “trend” "
        "would decay, as the rise seems to level off, wherever the fall began; and of these, runs that rose by more "
        "afterwards than until then."
    )
    header = ("task", "part", "runs", "by shape", "fell and rose", "by the rule", "of these, went on to rise")
    return Table("Falls and rises", note, header, rows)


def _growth(traces: Sequence[pd.DataFrame], part: str = "total") -> np.ndarray:
    return np.array([trace[part].iloc[-1] / trace[part].iloc[0] for trace in traces])


def _lowest_at(traces: Sequence[pd.DataFrame], part: str) -> np.ndarray:
    return np.array([100 * trace[part].to_numpy().argmin() / (len(trace) - 1) for trace in traces])


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
