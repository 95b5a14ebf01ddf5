"""Scores of many runs -> estimates with intervals over seeds. numpy and scipy only.

A score is normalised: 0 is a random policy, 1 the task's reference. Scores come as a mapping from
task to an array (num_runs,); tasks may have different numbers of runs. The unit that is resampled
is the seed, task by task (stratified), never the episode and never the task.

The interval is the percentile bootstrap, its deviations widened by sqrt(n / (n - 1)) and by
Student's t over the normal quantile: without that, five seeds cover 82 % instead of 95 %. The
same widening as Hesterberg's expanded percentile interval (The American Statistician 69, 2015,
Sec. 5.3), applied to the width since the tails of 2,000 resamples are too coarse for his. Its
coverage is measured by ``python -m benchmarks.measure coverage``. No resampling knows what no run has
shown: five runs that all succeed give a narrow interval of the mean, whatever the true share of
failures, so read it together with the exact interval of that share. And the IQM of a few runs is
biased where about a quarter of them fails, in a mean over tasks more visibly (coverage 0.83 to
0.91); the difference of two such arms is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)

RESAMPLES = 2000

SEED = 0
"""Of the bootstrap of what is published, so that the same runs make the same page."""

FAILED_BELOW = 0.5
"""A run failed if it crashed, or if its normalised score is below this."""

CRASHED = 0.0
"""Score of a crashed run, that of a random policy: to leave it out would reward crashing."""

TRIM = {"iqm": 0.25, "mean": 0.0}
"""The statistics of a task's scores, as the share that is cut off at either end."""


class Interval(NamedTuple):
    """An estimate and its 95 % interval, infinite where a single run tells nothing of the spread."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class TaskSummary:
    """What one arm reached on one task."""

    num_runs: int
    iqm: Interval
    mean: Interval
    failed: Interval


@dataclass(frozen=True)
class Summary:
    """What one arm reached: by task, and the means over tasks of the per-task statistics."""

    tasks: dict[str, TaskSummary]
    iqm: Interval
    mean: Interval


def iqm(scores: npt.ArrayLike) -> float:
    """Interquartile mean of one task's scores (num_runs,): floor(n / 4) are cut off at either end.

    Agarwal et al. 2021, *Deep RL at the Edge of the Statistical Precipice*, Sec. 4.3, but always of
    a single task: pooled over tasks it trims whole tasks away.

    >>> iqm([0, 1, 2, 9])
    1.5
    """
    return float(stats.trim_mean(_finite("scores", scores), TRIM["iqm"]))


def exact_binomial_interval(successes: int, trials: int) -> Interval:
    """Share of successes with its Clopper-Pearson interval.

    >>> [round(end, 4) for end in exact_binomial_interval(0, 10)]
    [0.0, 0.0, 0.3085]

    :raises ValueError: if there are no trials, or more successes than trials
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes must be in [0, trials], trials at least 1, got {successes!r} of {trials!r}")
    exact = stats.binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, method="exact")
    return Interval(successes / trials, float(exact.low), float(exact.high))


def summarise(scores: Mapping[str, npt.ArrayLike], rng: np.random.Generator, resamples: int = RESAMPLES) -> Summary:
    """IQM, mean and share of failed runs by task, and the means over tasks of IQM and mean.

    :param scores: task -> (num_runs,), normalised, of one arm
    :raises ValueError: if there is no task, or a task has no scores or one that is not finite
    """
    tasks = _checked(scores)
    num_runs = [len(values) for values in tasks.values()]
    by_statistic: dict[str, list[Interval]] = {}
    overall = {}
    counts = [draw_counts(n, resamples, rng) for n in num_runs]
    for name, trim in TRIM.items():
        estimates = [trimmed_mean(values, trim) for values in tasks.values()]
        deviations = [
            resampled_trimmed_mean(values, drawn, trim) - estimate
            for values, drawn, estimate in zip(tasks.values(), counts, estimates)
        ]
        by_statistic[name] = [
            _interval(estimate, widened([deviation], [n]))
            for estimate, deviation, n in zip(estimates, deviations, num_runs)
        ]
        overall[name] = _interval(float(np.mean(estimates)), widened(deviations, num_runs))
    failed = [exact_binomial_interval(int((values < FAILED_BELOW).sum()), len(values)) for values in tasks.values()]
    summaries = map(TaskSummary, num_runs, by_statistic["iqm"], by_statistic["mean"], failed)
    return Summary(dict(zip(tasks, summaries)), overall["iqm"], overall["mean"])


def mean_interval(scores: npt.ArrayLike) -> Interval:
    """Mean of the scores (num_runs,) with its interval, the same whenever asked."""
    return summarise({"": scores}, np.random.default_rng(SEED)).mean


def draw_counts(num_runs: int, resamples: int, rng: np.random.Generator) -> Array:
    """Draw bootstrap samples, as how often each run is in each: (resamples, num_runs)."""
    # Numbered through, so that one bincount serves all samples: ten times faster than a multinomial.
    drawn = rng.integers(num_runs, size=(resamples, num_runs)) + num_runs * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * num_runs).reshape(resamples, num_runs).astype(float)


def resampled_trimmed_mean(scores: Array, counts: Array, trim: float) -> Array:
    """Trimmed mean of each bootstrap sample: scores (num_runs,), counts (resamples, num_runs).

    In ascending order each score takes part by as much of its count as lies between the cuts.
    """
    num_runs = len(scores)
    cut = int(trim * num_runs)
    order = np.argsort(scores, kind="stable")
    weights = counts[:, order]
    if cut:
        reached = np.clip(np.cumsum(weights, axis=1), cut, num_runs - cut)
        weights = np.diff(reached, axis=1, prepend=cut)
    # Around a score, so that equal scores deviate by exactly nothing.
    centre = scores[order[num_runs // 2]]
    result: Array = centre + weights @ (scores[order] - centre) / (num_runs - 2 * cut)
    return result


def trimmed_mean(scores: Array, trim: float) -> float:
    """Trimmed mean of the scores (num_runs,) themselves: the sample in which each run is once."""
    return float(resampled_trimmed_mean(scores, np.ones((1, len(scores))), trim)[0])


def widened(deviations: Sequence[Array], num_runs: Sequence[int], level: float = TAILS[1]) -> Array:
    """Mean over tasks of bootstrap deviations, widened for few runs.

    :param deviations: a task each, (resamples, ...): bootstrap values minus the estimate
    :param num_runs: a task each
    :param level: of the quantile that they are for
    :return: (resamples, ...), half of them -inf and half inf if a task has a single run
    """
    if min(num_runs) < 2:
        signs = np.where(np.arange(len(deviations[0])) % 2, np.inf, -np.inf)
        return np.zeros_like(deviations[0]) + signs.reshape(-1, *[1] * (deviations[0].ndim - 1))
    unbiased = [d * np.sqrt(n / (n - 1)) for d, n in zip(deviations, num_runs)]
    # Welch and Satterthwaite: the freedom of a sum of variances, each known from its own runs.
    variances = np.stack([d.var(axis=0) for d in unbiased])
    freedom = np.array(num_runs, dtype=float).reshape(-1, *[1] * (variances.ndim - 1)) - 1
    squares = (variances**2 / freedom).sum(axis=0)
    total = np.divide(variances.sum(axis=0) ** 2, squares, out=np.ones_like(squares), where=squares > 0)
    factor = special.stdtrit(total, level) / special.ndtri(level)
    result: Array = np.mean(unbiased, axis=0) * factor
    return result


def quantiles(samples: Array) -> Array:
    """Both ends of the interval, (2, ...), of samples (resamples, ...)."""
    # Without interpolation, which makes NaN of two infinities.
    result: Array = np.quantile(samples, TAILS, axis=0, method="inverted_cdf")
    return result


def _interval(estimate: float, deviations: Array) -> Interval:
    low, high = quantiles(deviations)
    return Interval(estimate, estimate + float(low), estimate + float(high))


def _checked(scores: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    if not scores:
        raise ValueError("scores must have at least one task, got none")
    return {task: _finite(f"scores of {task!r}", values) for task, values in scores.items()}


def _finite(name: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be a non-empty 1-d array, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}; a crashed run scores {CRASHED}")
    return array
