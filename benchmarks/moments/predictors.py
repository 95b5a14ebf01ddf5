"""What is measured at a moment, and whether it tells the gain: rank correlations with intervals over seeds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.moments.phases import RULE
from benchmarks.statistics.estimates import RESAMPLES, SEED, Interval, quantiles, widened

Array = npt.NDArray[np.float64]

PREDICTORS = (
    "slope of log |w|²",
    "relative update",
    "alignment over displacement",
    "slope of the return",
    "volatility of the return",
    "KL divergence",
    "score",
    "progress",
)
"""In the order of the page."""

DIGITS = 12
"""Decimals that count where equal values must stay equal."""


class Correlation(NamedTuple):
    """Of the gain with a predictor; None where either does not vary, or is not measured.

    :param raw: over all moments but the first
    :param equal: at equal progress, each value minus the mean of its place
    """

    raw: Interval | None
    equal: Interval | None


def measured(trace: pd.DataFrame, part: str, moment: dict[str, Any]) -> dict[str, float]:
    """Return the predictors at a moment, NaN where they were not measured.

    :param trace: a row a measurement, of one trunk, in order
    :param part: whose norm it is
    :param moment: its ``timesteps``, ``before``, the trunk's score then, and ``place``
    """
    past = trace[trace["timesteps"] <= moment["timesteps"]]
    # The first measurement has no increment behind it.
    recent = past.iloc[max(1, len(past) - RULE.window) :]
    logs = np.log(past[part].to_numpy(dtype=float)[-RULE.window - 1 :])
    displacement, alignment = (_column(recent, f"{name}_{part}").sum() for name in ("displacement", "alignment"))
    slope, volatility = line(_column(recent, "train_return"))
    return {
        "slope of log |w|²": logs[-1] - logs[0] if len(logs) > 1 else math.nan,
        "relative update": _mean(_column(recent, f"relative_update_{part}")),
        "alignment over displacement": alignment / displacement if displacement else math.nan,
        "slope of the return": slope,
        "volatility of the return": volatility,
        "KL divergence": _mean(_column(recent, "approx_kl")),
        "score": moment["before"],
        "progress": moment["place"],
    }


def line(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the least-squares slope of equally spaced values, and the standard deviation around that line.

    Values that are NaN are passed over; with fewer than three others there is neither.

    >>> [round(number, 2) for number in line([1, 3, float("nan"), 7])]
    [2.0, 0.0]
    """
    y = np.asarray(values, dtype=float)
    x = np.flatnonzero(np.isfinite(y))
    if len(x) < 3:
        return math.nan, math.nan
    coefficients = np.polyfit(x, y[x], 1)
    return float(coefficients[0]), float(np.std(y[x] - np.polyval(coefficients, x)))


def rank_correlation(x: Array, y: Array) -> Array:
    """Spearman's over the last axis; pairs with a NaN are left out, and it is NaN where x or y does not vary."""
    known = np.isfinite(x) & np.isfinite(y)
    ranks = (stats.rankdata(np.where(known, values, np.nan), axis=-1, nan_policy="omit") for values in (x, y))
    a, b = (np.where(known, of - _known_mean(of, known, -1), 0) for of in ranks)
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.divide((a * b).sum(axis=-1), spread, out=np.full(spread.shape, np.nan), where=spread > 0)


def at_equal_progress(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Return values (..., seeds, places) minus the mean of their place, those that are not known left out."""
    return np.round(values - _known_mean(values, known, -2), DIGITS)


def correlation(gains: Array, values: Array) -> Correlation:
    """Return how a predictor goes with the gain, both (seeds, places); a seed's moments are resampled together."""
    drawn = np.random.default_rng(SEED).integers(len(gains), size=(RESAMPLES, len(gains)))
    found = []
    for equal in (False, True):
        estimate, resampled = (_correlated(gains[of], values[of], equal) for of in (np.arange(len(gains))[None], drawn))
        found.append(_interval(float(estimate[0]), resampled, len(gains)))
    return Correlation(*found)


def _correlated(gains: Array, values: Array, equal: bool) -> Array:
    """Of gains and values, (samples, seeds, places) each, to (samples,)."""
    if equal:
        known = np.isfinite(gains) & np.isfinite(values)
        gains, values = at_equal_progress(gains, known), at_equal_progress(values, known)
    return rank_correlation(gains.reshape(len(gains), -1), values.reshape(len(values), -1))


def _interval(estimate: float, resampled: Array, num_seeds: int) -> Interval | None:
    if math.isnan(estimate):
        return None
    if num_seeds == 1:
        return Interval(estimate, -math.inf, math.inf)
    # A sample in which nothing varies shows no relation.
    deviations = np.nan_to_num(resampled, nan=0.0) - estimate
    low, high = estimate + quantiles(widened([deviations], [num_seeds]))
    return Interval(estimate, max(float(low), -1.0), min(float(high), 1.0))


def _known_mean(values: Array, known: npt.NDArray[np.bool_], axis: int) -> Array:
    total = np.where(known, values, 0).sum(axis=axis, keepdims=True)
    return total / np.maximum(known.sum(axis=axis, keepdims=True), 1)


def _column(trace: pd.DataFrame, name: str) -> Array:
    return trace[name].to_numpy(dtype=float) if name in trace else np.full(len(trace), np.nan)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
