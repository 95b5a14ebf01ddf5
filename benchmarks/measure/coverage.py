"""Simulated coverage of the intervals, and how often verdicts are false: ``python -m benchmarks.measure coverage``."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.statistics.equivalence import MARGIN, VERDICTS, Verdict, compare
from benchmarks.statistics.estimates import Array, iqm, summarise

Rng = np.random.Generator
Family = Callable[[Rng, int], Array]

NUM_RUNS = (5, 10, 30)
NUM_TASKS = 4
RESAMPLES = 1000


def normal(mean: float, deviation: float) -> Family:
    """Scores (num_runs,) around a mean."""
    return lambda rng, n: mean + deviation * rng.standard_normal(n)


def skewed(best: float, shortfall: float) -> Family:
    """Scores that fall short of the best by an exponential amount."""
    return lambda rng, n: best - shortfall * rng.exponential(size=n)


def bimodal(failing: float, deviation: float = 0.02) -> Family:
    """Scores near 1, or near 0 with the probability ``failing``."""
    return lambda rng, n: (rng.random(n) >= failing) + deviation * rng.standard_normal(n)


FAMILIES: dict[str, Family] = {
    "normal": normal(0.8, 0.1),
    "skewed": skewed(1.0, 0.1),
    "bimodal, 40 % fail": bimodal(0.4),
    "bimodal, 20 % fail": bimodal(0.2),
}

PAIRS: dict[str, tuple[Family, Family]] = {
    "equal, normal 0.02": (normal(0.9, 0.02), normal(0.9, 0.02)),
    "equal, normal 0.1": (normal(0.9, 0.1), normal(0.9, 0.1)),
    "equal, skewed 0.1": (skewed(1.0, 0.1), skewed(1.0, 0.1)),
    "equal, 20 % fail": (bimodal(0.2), bimodal(0.2)),
    "worse by the margin, normal 0.02": (normal(0.9 - MARGIN, 0.02), normal(0.9, 0.02)),
    "worse by the margin, normal 0.1": (normal(0.9 - MARGIN, 0.1), normal(0.9, 0.1)),
    "worse by the margin, skewed 0.1": (skewed(1.0, 0.1 + MARGIN), skewed(1.0, 0.1)),
    "worse by the margin, 5 % fail": (bimodal(MARGIN), bimodal(0.0)),
    "worse by the margin, 10 % fail against 5 %": (bimodal(0.05 + MARGIN), bimodal(0.05)),
}
"""Arm and other arm, on every task. Of those worse by the margin none is equivalent."""


def _rngs(name: str, num_simulations: int) -> Iterator[Rng]:
    return (np.random.default_rng([zlib.crc32(name.encode()), seed]) for seed in range(num_simulations))


def coverage(family: str, num_runs: int, num_simulations: int) -> dict[str, float]:
    """Share of 95 % intervals that hold the truth: IQM and mean, of one task and of the mean over four."""
    make = FAMILIES[family]
    many = make(np.random.default_rng(0), 1_000_000)
    summaries = (
        summarise({str(task): make(rng, num_runs) for task in range(NUM_TASKS)}, rng, RESAMPLES)
        for rng in _rngs(f"{family} {num_runs}", num_simulations)
    )
    found = ((summary.tasks["0"], summary) for summary in summaries)
    return _held(found, {"iqm": iqm(many), "mean": float(many.mean())}, num_simulations)


def difference_coverage(family: str, num_runs: int, num_simulations: int) -> dict[str, float]:
    """The same for the difference of two arms that are truly equal: it is 0."""
    both = FAMILIES[family], FAMILIES[family]
    compared = _compared(lambda rng: _two(*both, num_runs, rng), family, num_simulations)
    return _held(compared, {"iqm": 0.0, "mean": 0.0}, num_simulations)


def _held(found: Iterable[tuple[Any, Any]], truth: Mapping[str, float], num_simulations: int) -> dict[str, float]:
    held = {f"{place} {name}": 0 for place in ("task", "overall") for name in truth}
    for of_task, overall in found:
        for place, of_place in (("task", of_task), ("overall", overall)):
            for name, value in truth.items():
                interval = getattr(of_place, name)
                held[f"{place} {name}"] += interval.low <= value <= interval.high
    return {name: count / num_simulations for name, count in held.items()}


def verdicts(pair: str, num_runs: int, num_simulations: int) -> dict[str, dict[str, float]]:
    """Share of each verdict, on one task and over all four."""
    arm, other = PAIRS[pair]
    return _shares(_compared(lambda rng: _two(arm, other, num_runs, rng), pair, num_simulations))


def _two(arm: Family, other: Family, num_runs: int, rng: Rng) -> dict[str, Mapping[str, Mapping[int, float]]]:
    return {
        name: _by_seed(np.stack([make(rng, num_runs) for _ in range(NUM_TASKS)]))
        for name, make in (("arm", arm), ("other", other))
    }


def _by_seed(scores: Array) -> dict[str, dict[int, float]]:
    return {str(task): dict(enumerate(row.tolist())) for task, row in enumerate(scores)}


def _compared(
    make: Callable[[Rng], dict[str, Mapping[str, Mapping[int, float]]]], name: str, num_simulations: int
) -> Iterator[tuple[Verdict, Verdict]]:
    for rng in _rngs(name, num_simulations):
        scores = make(rng)
        comparison = compare(scores, "arm", "other", rng, resamples=RESAMPLES)
        yield comparison.tasks["0"], comparison.overall


def _shares(compared: Iterator[tuple[Verdict, Verdict]]) -> dict[str, dict[str, float]]:
    places = zip(*((task.verdict, overall.verdict) for task, overall in compared))
    return {
        place: {verdict: found.count(verdict) / len(found) for verdict in VERDICTS}
        for place, found in zip(("task", "overall"), places)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the coverage of the intervals, and the shares of the verdicts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure coverage", description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000, help="a row (default 1000)")
    simulations = parser.parse_args(arguments).simulations
    error = np.sqrt(0.95 * 0.05 / simulations)
    console = Console(width=max(Console().width, 110))

    table = Table(title=f"Coverage of 95 % intervals, {simulations} simulations a row, standard error {error:.3f}")
    for heading in (
        "scores",
        "runs a task",
        *(f"{s}, {p}" for p in ("1 task", f"{NUM_TASKS} tasks") for s in ("IQM", "mean")),
    ):
        table.add_column(heading, justify="left" if heading == "scores" else "right")
    for title, measure in (("", coverage), ("difference of ", difference_coverage)):
        for family in FAMILIES:
            for num_runs in NUM_RUNS:
                shares = measure(family, num_runs, simulations)
                table.add_row(title + family, str(num_runs), *(f"{share:.3f}" for share in shares.values()))
    console.print(table)

    table = Table(title=f"Verdicts for a margin of {MARGIN:g}: share equivalent / different, the rest undecided")
    for heading in ("arm", "runs a task", "1 task", f"{NUM_TASKS} tasks"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for case in PAIRS:
        for num_runs in (*NUM_RUNS, 100):
            found = verdicts(case, num_runs, simulations)
            cells = (f"{found[p]['equivalent']:.3f} / {found[p]['different']:.3f}" for p in ("task", "overall"))
            table.add_row(case, str(num_runs), *cells)
    console.print(table)
