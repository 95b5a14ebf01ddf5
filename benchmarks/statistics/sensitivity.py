"""How much does the base rate matter? Regret, the worst base rate, and the decades of base rate that are good enough.

Scores below that of a random policy count as 0: how far below one ends is a matter of the environment's scale. *Best*
is what the best constant rate scores, each seed at the rate that is best on the other seeds
(:func:`benchmarks.statistics.over_rates.best_elsewhere`). All schedules of a task are measured by that one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.effects import Effect, draws, effect_of, interval_of
from benchmarks.statistics.estimates import RESAMPLES, Array, Interval
from benchmarks.statistics.over_rates import best_elsewhere

BARS = (0.8, 0.95)
"""Shares of the best, from which on a base rate is good enough."""


class Schedule(NamedTuple):
    """What a schedule comes to over all base rates.

    :param by_rate: base rate -> mean score
    :param mean: over all of them
    :param regret: best minus mean
    :param worst: mean score at the base rate that is worst, which is ``worst_at``
    :param decades: bar -> of base rate, at which the score is at least that share of the best; at most the tested range
    """

    by_rate: dict[float, Interval]
    mean: Interval
    regret: Interval
    worst: Interval
    worst_at: float
    decades: dict[float, Interval]


class Sensitivity:
    """The schedules of one task over base rates, whose seeds are resampled together.

    :param rates: (num_rates,), multipliers of the preset's, rising
    :param scores: schedule -> (num_seeds, num_rates), normalised; the same seeds in the same rows
    :param measure: the schedule whose best rate the others are measured by
    """

    def __init__(
        self,
        rates: npt.ArrayLike,
        scores: Mapping[str, npt.ArrayLike],
        measure: str = "constant",
        resamples: int = RESAMPLES,
    ) -> None:
        self.rates: Array = np.asarray(rates, dtype=float)
        self.scores: dict[str, Array] = {arm: np.maximum(np.asarray(of, dtype=float), 0) for arm, of in scores.items()}
        self.num_seeds = len(self.scores[measure])
        self._counts = draws(self.num_seeds, resamples)
        self._means = {arm: self._counts @ of / self.num_seeds for arm, of in self.scores.items()}
        self._measure = self._best(measure)

    @property
    def range(self) -> float:
        """Decades of base rate that were tested."""
        return float(np.log10(self.rates[-1] / self.rates[0]))

    @property
    def best(self) -> Interval:
        """What the best rate scores of the schedule that the others are measured by."""
        return interval_of(self._measure, self.num_seeds)

    def schedule(self, arm: str) -> Schedule:
        """Return what a schedule comes to."""
        means = self._means[arm]
        worst, lowest, highest = interval_of(means.min(axis=1), self.num_seeds)
        return Schedule(
            {float(rate): interval_of(of, self.num_seeds) for rate, of in zip(self.rates, means.T)},
            interval_of(means.mean(axis=1), self.num_seeds),
            interval_of(self._measure - means.mean(axis=1), self.num_seeds),
            Interval(worst, max(lowest, 0.0), highest),
            float(self.rates[means[0].argmin()]),
            {bar: self._decades(means, bar) for bar in BARS},
        )

    def regret_at(self, arm: str, rate: float) -> Interval:
        """Return the regret of a schedule at this one base rate."""
        return interval_of(self._measure - self._at(arm, [rate]), self.num_seeds)

    def minus(self, arm: str, other: str, rates: Sequence[float] = ()) -> Effect:
        """Return a schedule minus another, as a mean over these base rates, or over all."""
        return effect_of(self._at(arm, rates) - self._at(other, rates), self.num_seeds)

    def minus_best(self, arm: str, other: str) -> Effect:
        """Return a schedule, as a mean over all base rates, minus another at its best rate."""
        return effect_of(self._at(arm, ()) - self._best(other), self.num_seeds)

    def best_minus_best(self, arm: str, other: str) -> Effect:
        """Return a schedule minus another, each at its best rate: not for one that forgets its base rate."""
        return effect_of(self._best(arm) - self._best(other), self.num_seeds)

    def _at(self, arm: str, rates: Sequence[float]) -> Array:
        chosen = np.isclose(self.rates[:, None], rates or self.rates).any(axis=1)
        result: Array = self._means[arm][:, chosen].mean(axis=1)
        return result

    def _decades(self, means: Array, bar: float) -> Interval:
        found, low, high = interval_of(decades_above(self.rates, means, bar * self._measure), self.num_seeds)
        return Interval(found, max(low, 0.0), min(high, self.range))

    def _best(self, arm: str) -> Array:
        return best_elsewhere(self.scores[arm], self._counts, self.rates)


def decades_above(rates: npt.ArrayLike, means: npt.ArrayLike, least: npt.ArrayLike) -> Array:
    """Return over how many decades of rate the mean is ``least`` or more, on straight lines over the log of the rate.

    :param rates: (num_rates,), rising
    :param means: (num_samples, num_rates)
    :param least: (num_samples,)

    >>> decades_above([1, 10, 100], [[0.0, 1.0, 1.0]], [0.5]).tolist()
    [1.5]
    """
    apart = np.diff(np.log10(np.asarray(rates, dtype=float)))
    above = np.asarray(means, dtype=float) - np.asarray(least, dtype=float)[:, None]
    high, low = np.maximum(above[:, 1:], above[:, :-1]), np.minimum(above[:, 1:], above[:, :-1])
    crossing = (low < 0) & (high >= 0)
    share = np.where(low >= 0, 1.0, 0.0)
    np.divide(high, high - low, out=share, where=crossing)
    result: Array = share @ apart
    return result
