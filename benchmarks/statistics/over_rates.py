"""Scores over base rates -> what not knowing the rate costs, and what an arm is worth at its best rate.

**Best rate.** A maximum over rates, taken on the runs that are then averaged, is too high, and more so for an arm
that is noisy. So each seed is scored at the rate that is best on the *other* seeds of the bootstrap sample, and
the choice is made anew in every sample: its interval has the choice in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.effects import draws
from benchmarks.statistics.estimates import RESAMPLES, Array, Interval, quantiles, widened

TIE = 0.01
"""Rates whose mean scores are closer than this are a tie, which the one nearest to the preset's wins."""


class Profile(NamedTuple):
    """What an arm scores on one task: by base rate, on average over them, and at its best rate.

    :param by_rate: multiplier of the preset's rate -> mean
    :param chosen: the multiplier that is best on all seeds
    """

    by_rate: dict[float, Interval]
    mean: Interval
    best: Interval
    chosen: float


class Difference(NamedTuple):
    """An arm minus another on one task, and over how many seeds: by rate, over rates, at the best rate of each."""

    by_rate: dict[float, Interval]
    mean: Interval
    best: Interval
    num_seeds: int


class Profiles:
    """The arms of one task, whose seeds are resampled together.

    :param rates: (num_rates,), multipliers of the preset's
    :param scores: arm -> (num_seeds, num_rates), normalised; the same seeds in the same rows
    :raises ValueError: if shapes differ, a score is not finite, or there are fewer than two seeds
    """

    def __init__(self, rates: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike], resamples: int = RESAMPLES) -> None:
        self.rates: Array = np.asarray(rates, dtype=float)
        self.scores: dict[str, Array] = {arm: np.asarray(of, dtype=float) for arm, of in scores.items()}
        shapes = {of.shape for of in self.scores.values()}
        if len(shapes) != 1 or next(iter(shapes))[1:] != self.rates.shape:
            raise ValueError(f"scores must be (num_seeds, {self.rates.size}) of each arm, got {sorted(shapes)}")
        if not all(np.isfinite(of).all() for of in self.scores.values()):
            raise ValueError("scores must be finite")
        self.num_seeds = next(iter(shapes))[0]
        if self.num_seeds < 2:
            raise ValueError(f"at least two seeds must be there, to choose a rate on others, got {self.num_seeds}")
        self._counts = draws(self.num_seeds, resamples)
        self._samples = {arm: self._of(of) for arm, of in self.scores.items()}

    def profile(self, arm: str) -> Profile:
        """Return what an arm scores."""
        by_rate, mean, best = self._intervals(self._samples[arm])
        chosen = self.rates[_best(self.scores[arm].mean(axis=0), self.rates)]
        return Profile(by_rate, mean, best, float(chosen))

    def difference(self, arm: str, other: str) -> Difference:
        """Return an arm minus another, seed by seed."""
        return Difference(*self._intervals(self._samples[arm] - self._samples[other]), self.num_seeds)

    def _of(self, scores: Array) -> Array:
        """Means of each sample: by rate, and at the best rate; (1 + resamples, num_rates + 1)."""
        totals = self._counts @ scores
        best = best_elsewhere(scores, self._counts, self.rates)
        return np.concatenate([totals / self.num_seeds, best[:, None]], axis=1)

    def _intervals(self, samples: Array) -> tuple[dict[float, Interval], Interval, Interval]:
        with_mean = np.concatenate([samples, samples[:, :-1].mean(axis=1, keepdims=True)], axis=1)
        estimates, deviations = with_mean[0], with_mean[1:] - with_mean[0]
        low, high = estimates + quantiles(widened([deviations], [self.num_seeds]))
        *by_rate, best, mean = map(Interval, *map(np.ndarray.tolist, (estimates, low, high)))
        return dict(zip(self.rates.tolist(), by_rate)), mean, best


def best_elsewhere(scores: Array, counts: Array, rates: Array) -> Array:
    """Return the mean score of each sample, each seed at the rate that is best on the sample's other seeds.

    :param scores: (num_seeds, num_rates)
    :param counts: (num_samples, num_seeds), how often each seed is in each sample
    :param rates: (num_rates,), multipliers of the preset's
    :return: (num_samples,)
    """
    seeds = np.arange(scores.shape[0])
    totals = counts @ scores
    means = np.zeros(len(counts))
    for seed in seeds:
        of_seed = counts[:, seed]
        # In a sample of one seed alone there is no other; it is one of n^(n - 1).
        others = (totals - of_seed[:, None] * scores[seed]) / np.maximum(scores.shape[0] - of_seed, 1)[:, None]
        means += of_seed * scores[seed, _best(others, rates)]
    result: Array = means / scores.shape[0]
    return result


def _best(means: Array, rates: Array) -> npt.NDArray[np.intp]:
    """Index of the best of the means (..., num_rates); of a tie, the rate nearest to the preset's."""
    tied = means >= means.max(axis=-1, keepdims=True) - TIE
    return np.argmin(np.where(tied, np.abs(np.log(rates)), np.inf), axis=-1)
