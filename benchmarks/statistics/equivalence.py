"""Does one arm suffice? The difference of two arms against a margin.

Runs of the same seed are one unit and are resampled together, task by task. The difference is that of the arms'
statistics (IQM, and mean), not the statistic of differences.

**Verdict.** *equivalent*: the 95 % intervals of both IQM and mean lie within (-margin, margin), and so does the mean's
interval widened by what no seed has shown. *different*: both exclude 0 on the same side, and they are not both within
the margin. Otherwise *undecided*, and always with fewer than ``MIN_SEEDS`` pairs on some task.

**What no seed has shown.** If 10 pairs of runs succeed, an arm that fails in one run out of 20 has still a chance of
0.6 to look like that. So the mean is also judged with one more pair, apart by ``UNSEEN``, of a random weight: Exp(1)
pairs. For runs that either succeed or fail this is the exact binomial bound in its Poisson limit. It needs about
3.7 / margin pairs over all tasks together, 74 for a margin of 0.05, before anything is called equivalent.

This is by hand, as scipy's bootstrap resamples neither tasks apart nor what no seed has shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.estimates import (
    RESAMPLES,
    TAILS,
    TRIM,
    Array,
    Interval,
    draw_counts,
    quantiles,
    resampled_trimmed_mean,
    trimmed_mean,
    widened,
)
from benchmarks.statistics.verdicts import MARGIN

MIN_SEEDS = 5
"""Pairs on every task for any verdict: with fewer the IQM trims nothing, or all but two."""

UNSEEN = 1.0
"""Difference that a pair of runs not yet seen could show: from a random policy to the reference."""

VERDICTS = ("undecided", "equivalent", "different")

ScoresByArm = Mapping[str, Mapping[str, Mapping[int, float]]]
"""arm -> task -> seed -> normalised score"""


@dataclass(frozen=True)
class Verdict:
    """The difference of an arm to another, and what it amounts to.

    :param iqm: difference of the IQMs, with its interval; ``mean`` likewise
    :param unseen: ``mean``, widened by what no seed has shown
    :param num_pairs: pairs of runs, on the task that has fewest
    :param verdict: "equivalent", "different" or "undecided"
    """

    iqm: Interval
    mean: Interval
    unseen: Interval
    num_pairs: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One arm against another: by task, and overall (the mean over tasks)."""

    arm: str
    other: str
    margin: float
    tasks: dict[str, Verdict]
    overall: Verdict

    @property
    def mean(self) -> Interval:
        """Difference of the mean score, over the tasks."""
        return self.overall.mean

    @property
    def pairs(self) -> str:
        """Pairs of runs on the task that has fewest, and most: "5 to 30"."""
        low, *_, high = sorted([judged.num_pairs for judged in self.tasks.values()] * 2)
        return f"{low}" if low == high else f"{low} to {high}"

    @property
    def size(self) -> str:
        """Tasks × pairs of runs."""
        return f"{len(self.tasks)} × {self.pairs}"


@dataclass(frozen=True)
class _Differences:
    """Of two arms on one task: estimates by statistic, and deviations (resamples,)."""

    num_pairs: int
    estimates: dict[str, float]
    deviations: dict[str, Array]


def scores_by_arm(
    tasks: Iterable[str], arms: Iterable[str], seeds: Iterable[int], scores: Iterable[float]
) -> dict[str, dict[str, dict[int, float]]]:
    """Turn the columns of a table, a run in each row, into arm -> task -> seed -> score.

    :raises ValueError: if columns differ in length, a run occurs twice, or a score is not finite
    """
    table: dict[str, dict[str, dict[int, float]]] = {}
    for task, arm, seed, score in zip(tasks, arms, seeds, scores, strict=True):
        of_task = table.setdefault(arm, {}).setdefault(task, {})
        if seed in of_task:
            raise ValueError(f"one run for a task, arm and seed, got two for {task!r}, {arm!r}, {seed!r}")
        of_task[seed] = float(score)
        if not np.isfinite(of_task[seed]):
            raise ValueError(f"scores must be finite, got {score!r} for {task!r}, {arm!r}, {seed!r}")
    return table


def share_seeds(scores: ScoresByArm, *arms: str) -> bool:
    """Whether all these arms have a run of some task and seed, so that they can be compared."""
    try:
        return bool(pair(scores, arms))
    except ValueError:
        return False


def pair(scores: ScoresByArm, arms: Sequence[str]) -> dict[str, Array]:
    """Runs of the seeds that all the arms have, as task -> (num_pairs x num_arms).

    A task without such a seed is left out.

    :raises ValueError: for an unknown arm, a score that is not finite, or if there is no pair at all
    """
    if unknown := [arm for arm in arms if arm not in scores]:
        raise ValueError(f"unknown arm {', '.join(map(repr, unknown))}; known are: {sorted(scores)}")
    paired = {}
    for task in sorted(set.intersection(*(set(scores[arm]) for arm in arms))):
        if seeds := sorted(set.intersection(*(set(scores[arm][task]) for arm in arms))):
            paired[task] = np.array([[scores[arm][task][seed] for arm in arms] for seed in seeds], dtype=float)
            if not np.isfinite(paired[task]).all():
                raise ValueError(f"scores must be finite, those of task {task!r} are not")
    if not paired:
        raise ValueError(f"the arms {', '.join(map(repr, arms))} have no task and seed in common")
    return paired


def compare(
    scores: ScoresByArm,
    arm: str,
    other: str,
    rng: np.random.Generator,
    margin: float = MARGIN,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two arms on the seeds that both have.

    :param scores: arm -> task -> seed -> normalised score
    :param margin: of the normalised score, fixed beforehand
    :return: differences "arm minus other": negative where the arm is worse. Tasks without a common
        seed take no part; ``Comparison.tasks`` has those that do
    :raises ValueError: if an argument is out of range, or there is nothing to compare
    """
    if arm == other:
        raise ValueError(f"other must be another arm, not {arm!r} itself")
    if not 0 < margin < np.inf:
        raise ValueError(f"margin must be a finite number above 0, got {margin!r}")
    of_task = {task: _differences(s, rng, resamples) for task, s in pair(scores, [arm, other]).items()}
    unseen = rng.exponential(size=resamples)
    tasks = {task: _judge([differences], margin, unseen) for task, differences in of_task.items()}
    return Comparison(arm, other, margin, tasks, _judge(list(of_task.values()), margin, unseen))


def _differences(scores: Array, rng: np.random.Generator, resamples: int) -> _Differences:
    """Difference of two arms, from scores (num_pairs x 2)."""
    counts = draw_counts(len(scores), resamples, rng)
    estimates, deviations = {}, {}
    for name, trim in TRIM.items():
        arm, other = (trimmed_mean(column, trim) for column in scores.T)
        of_arm, of_other = (resampled_trimmed_mean(column, counts, trim) for column in scores.T)
        estimates[name] = arm - other
        deviations[name] = of_arm - of_other - estimates[name]
    return _Differences(len(scores), estimates, deviations)


def _judge(tasks: Sequence[_Differences], margin: float, unseen: Array) -> Verdict:
    """Judge the mean over the tasks: one of them, or all."""
    pairs = [task.num_pairs for task in tasks]
    # A pair's weight is largest on the task with fewest: what has not been seen may hide there.
    weight = UNSEEN / (len(tasks) * min(pairs)) * unseen
    intervals = {}
    for name in TRIM:
        estimate = float(np.mean([task.estimates[name] for task in tasks]))
        deviations = [task.deviations[name] for task in tasks]
        intervals[name] = _interval(estimate, deviations, pairs)
        if name == "mean":
            intervals["unseen"] = _interval(estimate, deviations, pairs, weight)
    return Verdict(**intervals, num_pairs=min(pairs), verdict=verdict_of(intervals, min(pairs), margin))


def _interval(
    estimate: float, deviations: Sequence[Array], pairs: Sequence[int], unseen: Array | float = 0.0
) -> Interval:
    """Interval of a difference, from its deviations (resamples,) a task."""
    apart = widened(deviations, pairs)
    low = quantiles(estimate + apart - unseen)[0]
    ranks = np.searchsorted(np.sort(apart + unseen), apart + unseen)
    level = np.quantile(ranks, TAILS[1], method="inverted_cdf")
    far = np.sort(widened(deviations, pairs, (level + 0.5) / len(apart)) + unseen)
    return Interval(estimate, float(low), float(estimate + far[level]))


def verdict_of(intervals: Mapping[str, Interval], num_pairs: int, margin: float) -> str:
    """Return the verdict of the intervals that so many pairs gave: ``iqm``, ``mean`` and ``unseen``."""
    both = [intervals[name] for name in TRIM]
    if num_pairs < MIN_SEEDS or not all(np.isfinite(interval).all() for interval in intervals.values()):
        return "undecided"
    if all(-margin < of.low and of.high < margin for of in both):
        unseen = intervals["unseen"]
        return "equivalent" if -margin < unseen.low and unseen.high < margin else "undecided"
    return "different" if all(of.low > 0 for of in both) or all(of.high < 0 for of in both) else "undecided"
