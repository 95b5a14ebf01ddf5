"""Differences between runs of the same seeds, with their intervals, and the smallest that could have been seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.estimates import RESAMPLES, SEED, Array, Interval, draw_counts, quantiles, widened

SEEN = 2.8
"""Standard errors: from 0 to a difference that four of five such studies find, 1.96 and 0.84."""


class Effect(NamedTuple):
    """A difference on one task.

    :param seen: the smallest difference that could have been seen
    """

    mean: Interval
    num_pairs: int
    seen: float


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
    return Effect(interval_of(samples, num_seeds), num_seeds, float(SEEN * error))


def effect(differences: npt.ArrayLike) -> Effect:
    """Return the mean of differences (num_seeds,)."""
    array = np.asarray(differences, dtype=float)
    return effect_of(draws(len(array)) @ array / len(array), len(array))
