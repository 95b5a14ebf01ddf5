"""Does one arm suffice? The difference of two arms, or to the best of several, against a margin.

Runs of the same seed in all the arms are one unit and are resampled together, task by task. The
difference is that of the arms' statistics (IQM, and mean), not the statistic of differences.

**Verdict.** *equivalent*: the 95 % intervals of both IQM and mean lie within (-margin, margin), and
so does the mean's interval widened by what no seed has shown (below). *different*: both exclude 0
on the same side, and they are not both within the margin. Otherwise *undecided*, and always with
fewer than ``MIN_SEEDS`` pairs on some task.

**What no seed has shown.** If 10 pairs of runs succeed, an arm that fails in one run out of 20 has
still a chance of 0.6 to look like that, and its mean is worse by 0.05; no interval made from the
runs seen can tell. So the mean is also judged with one more pair, apart by ``UNSEEN`` (as a random
policy is from the reference), of a random weight: Exp(1) pairs, which makes it, for runs that
either succeed or fail, the exact binomial bound in its Poisson limit. It needs about 3.7 / margin
pairs over all tasks together, 74 for a margin of 0.05, before anything is called equivalent.

**The best of several** is chosen anew in every bootstrap sample, by the statistic overall (or on
the task, for the task's verdict). The lower end is the percentile of "arm minus the best": chance
makes the best look better than it is, in the runs and again in the resamples, so this end errs to
the low side and 'equivalent' is not declared falsely; with eight truly equal arms it costs about
twice the seeds. That same bias would call equal arms different in a third of all cases, so the
upper end is the smallest of the upper bounds of all "arm minus other", which hold together: Hsu's
multiple comparison with the best (Annals of Statistics 9, 1981). Each is a percentile of its own
differences, at the level at which all hold in 97.5 % of the samples (balanced simultaneous
intervals: Beran, Journal of the American Statistical Association 83, 1988), so that an arm that
is far behind and erratic does not widen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

MAX_SEEDS = 10_000
"""Where the search for the number of seeds that it would take gives up."""

UNSEEN = 1.0
"""Difference that a pair of runs not yet seen could show: from a random policy to the reference."""

VERDICTS = ("undecided", "equivalent", "different")

ScoresByArm = Mapping[str, Mapping[str, Mapping[int, float]]]
"""arm -> task -> seed -> normalised score"""


@dataclass(frozen=True)
class Verdict:
    """The difference of an arm to another, or to the best of several, and what it amounts to.

    :param iqm: difference of the IQMs, with its interval; ``mean`` likewise
    :param unseen: ``mean``, widened by what no seed has shown
    :param best: the other arm by statistic, the best one of several
    :param num_pairs: pairs of runs, on the task that has fewest
    :param verdict: "equivalent", "different" or "undecided"
    :param equivalent_at: pairs a task at which the verdict would be "equivalent" if the differences
        stayed as they are and the intervals shrank as 1 / sqrt(n), the part no seed has shown as
        1 / n. None if no number up to ``MAX_SEEDS`` would do: then the difference itself is not
        inside the margin (or a single pair tells nothing). A forecast as rough as the differences
    :param different_at: likewise, for the verdict "different"
    """

    iqm: Interval
    mean: Interval
    unseen: Interval
    best: dict[str, str]
    num_pairs: int
    verdict: str
    equivalent_at: int | None
    different_at: int | None


@dataclass(frozen=True)
class Comparison:
    """One arm against others: by task, and overall (the mean over tasks)."""

    arm: str
    others: tuple[str, ...]
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
    """Of an arm to others on one task: estimates (num_others,), deviations (resamples, num_others)."""

    num_pairs: int
    estimates: dict[str, Array]
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
    others: str | Sequence[str],
    rng: np.random.Generator,
    margin: float = MARGIN,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare an arm with another, or with the best of several, on the seeds that all of them have.

    :param scores: arm -> task -> seed -> normalised score
    :param others: the other arm; or several, of which the best is chosen anew in every resample
    :param margin: of the normalised score, fixed beforehand
    :return: differences "arm minus other": negative where the arm is worse. Tasks without a common
        seed take no part; ``Comparison.tasks`` has those that do
    :raises ValueError: if an argument is out of range, or there is nothing to compare
    """
    others = (others,) if isinstance(others, str) else tuple(others)
    if not others or arm in others or len(set(others)) < len(others):
        raise ValueError(f"others must be different arms, and not {arm!r} itself, got {others!r}")
    if not 0 < margin < np.inf:
        raise ValueError(f"margin must be a finite number above 0, got {margin!r}")
    of_task = {task: _differences(s, rng, resamples) for task, s in pair(scores, [arm, *others]).items()}
    unseen = rng.exponential(size=resamples)
    return Comparison(
        arm=arm,
        others=others,
        margin=margin,
        tasks={task: _judge([differences], others, margin, unseen) for task, differences in of_task.items()},
        overall=_judge(list(of_task.values()), others, margin, unseen),
    )


def _differences(scores: Array, rng: np.random.Generator, resamples: int) -> _Differences:
    """Differences of the first arm to the others, from scores (num_pairs x num_arms)."""
    counts = draw_counts(len(scores), resamples, rng)
    estimates, deviations = {}, {}
    for name, trim in TRIM.items():
        estimate = np.array([trimmed_mean(column, trim) for column in scores.T])
        resampled = np.stack([resampled_trimmed_mean(column, counts, trim) for column in scores.T], axis=1)
        estimates[name] = estimate[0] - estimate[1:]
        deviations[name] = resampled[:, :1] - resampled[:, 1:] - estimates[name]
    return _Differences(len(scores), estimates, deviations)


def _judge(tasks: Sequence[_Differences], others: Sequence[str], margin: float, unseen: Array) -> Verdict:
    """Judge the mean over the tasks: one of them, or all."""
    pairs = [task.num_pairs for task in tasks]
    # A pair's weight is largest on the task with fewest: what has not been seen may hide there.
    weight = UNSEEN / (len(tasks) * min(pairs)) * unseen[:, None]
    intervals, best = {}, {}
    for name in TRIM:
        estimates = np.mean([task.estimates[name] for task in tasks], axis=0)
        deviations = [task.deviations[name] for task in tasks]
        best[name] = others[int(estimates.argmin())]  # the smallest difference is the one to the best arm
        intervals[name] = _to_the_best(estimates, deviations, pairs)
        if name == "mean":
            intervals["unseen"] = _to_the_best(estimates, deviations, pairs, weight)
    forecast = np.arange(min(pairs), max(MAX_SEEDS, min(pairs)) + 1)
    verdicts = verdicts_at(intervals, min(pairs), forecast, margin)
    return Verdict(
        **intervals,
        best=best,
        num_pairs=min(pairs),
        verdict=VERDICTS[verdicts[0]],
        equivalent_at=_first(forecast, verdicts == VERDICTS.index("equivalent")),
        different_at=_first(forecast, verdicts == VERDICTS.index("different")),
    )


def _to_the_best(
    estimates: Array, deviations: Sequence[Array], pairs: Sequence[int], unseen: Array | float = 0.0
) -> Interval:
    """Interval of the smallest difference: estimates (num_others,), deviations (resamples, num_others) a task."""
    apart = widened(deviations, pairs)
    low = quantiles((estimates + apart - unseen).min(axis=1))[0]
    ordered = np.sort(apart + unseen, axis=0)
    ranks = [np.searchsorted(*of_arm) for of_arm in zip(ordered.T, (apart + unseen).T)]
    level = np.quantile(np.max(ranks, axis=0), TAILS[1], method="inverted_cdf")
    # Few runs make the far tail, from which this level is taken, longer still.
    far = np.sort(widened(deviations, pairs, (level + 0.5) / len(apart)) + unseen, axis=0)
    return Interval(float(estimates.min()), float(low), float((estimates + far[level]).min()))


def verdicts_at(
    intervals: Mapping[str, Interval], num_pairs: int, forecast: npt.NDArray[np.int64], margin: float
) -> npt.NDArray[np.int64]:
    """Index into ``VERDICTS`` for each number of pairs, from intervals that ``num_pairs`` gave."""
    if not all(np.isfinite(interval).all() for interval in intervals.values()):
        return np.zeros(len(forecast), dtype=np.int64)
    shrunk = np.sqrt(num_pairs / forecast)
    ends = {name: _shrink(intervals[name], intervals[name].estimate, shrunk) for name in TRIM}
    lows, highs = (np.stack(end) for end in zip(*ends.values()))
    low, high = (
        end + (widest - narrow) * shrunk**2
        for end, widest, narrow in zip(ends["mean"], intervals["unseen"][1:], intervals["mean"][1:])
    )
    within = ((lows > -margin) & (highs < margin)).all(axis=0)
    equivalent = within & (low > -margin) & (high < margin)
    different = ~within & ((lows > 0).all(axis=0) | (highs < 0).all(axis=0))
    return np.where(forecast < MIN_SEEDS, 0, np.where(equivalent, 1, np.where(different, 2, 0)))


def _shrink(interval: Interval, towards: float, factor: Array) -> tuple[Array, Array]:
    return towards + (interval.low - towards) * factor, towards + (interval.high - towards) * factor


def _first(forecast: npt.NDArray[np.int64], hits: npt.NDArray[np.bool_]) -> int | None:
    return int(forecast[hits.argmax()]) if hits.any() else None
