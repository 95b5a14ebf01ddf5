"""Differences between runs of the same seeds, with their intervals, and the smallest that could have been seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.statistics.estimates import RESAMPLES, SEED, TAILS, Array, Interval, draw_counts, quantiles, widened

POWER = 0.8
"""Share of such studies that find the smallest difference that could have been seen."""


class Effect(NamedTuple):
    """A difference on one task.

    :param error: standard error of the mean
    """

    mean: Interval
    num_pairs: int
    error: float

    @property
    def seen(self) -> float:
        """The smallest difference that could have been seen."""
        return errors_seen(self.num_pairs) * self.error


def seeds_to_see(of: Effect, difference: float) -> int:
    """Return how many seeds a study would need, for ``POWER`` of such studies to find a difference of this size.

    >>> seeds_to_see(Effect(Interval(0.0, -0.1, 0.1), num_pairs=6, error=0.04), 0.12)
    8
    """
    spread = of.error * np.sqrt(of.num_pairs)
    return next(num for num in range(2, 10_000) if errors_seen(num) * spread / np.sqrt(num) <= difference)


def errors_seen(num_pairs: int) -> float:
    """Return how many standard errors a difference has to have, for ``POWER`` of such studies to find it.

    >>> round(errors_seen(6), 1), round(errors_seen(30), 1)
    (3.5, 2.9)
    """
    return float(stats.t.ppf([TAILS[1], POWER], num_pairs - 1).sum()) if num_pairs > 1 else float("inf")


def draws(num_seeds: int, resamples: int = RESAMPLES) -> Array:
    """Return how often each seed is in each sample, (1 + resamples, num_seeds); the first has every seed once."""
    drawn = draw_counts(num_seeds, resamples, np.random.default_rng(SEED))
    return np.concatenate([np.ones((1, num_seeds)), drawn])


def interval_of(samples: Array, num_seeds: int) -> Interval:
    """Return an estimate with its interval, from what it is in each sample of :func:`draws`."""
    low, high = samples[0] + quantiles(widened([samples[1:] - samples[0]], [num_seeds]))
    return Interval(float(samples[0]), float(low), float(high))


def effect_of(samples: Array, num_seeds: int) -> Effect:
    """Return a difference, from what it is in each sample of :func:`draws`."""
    error = samples[1:].std() * np.sqrt(num_seeds / (num_seeds - 1)) if num_seeds > 1 else np.inf
    return Effect(interval_of(samples, num_seeds), num_seeds, float(error))


def effect(differences: npt.ArrayLike) -> Effect:
    """Return the mean of differences (num_seeds,)."""
    array = np.asarray(differences, dtype=float)
    return effect_of(draws(len(array)) @ array / len(array), len(array))
