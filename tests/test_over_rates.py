"""Scores over base rates: means that can be checked by eye, and a best rate that is chosen on other seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.over_rates import Profiles, best_elsewhere
from benchmarks.statistics.verdicts import MARGIN, WIDE_MARGIN, judged

RATES = [0.1, 1.0, 10.0]


def test_means_by_rate_over_rates_and_at_the_best():
    scores = {"a": [[0.1, 0.8, 0.3], [0.3, 1.0, 0.5]], "b": [[0.0, 0.4, 0.8], [0.0, 0.6, 1.0]]}
    profiles = Profiles(RATES, scores)
    a, b = profiles.profile("a"), profiles.profile("b")
    assert [round(of.estimate, 9) for of in a.by_rate.values()] == [0.2, 0.9, 0.4]
    assert (round(a.mean.estimate, 9), round(a.best.estimate, 9), a.chosen) == (0.5, 0.9, 1.0)
    assert (round(b.best.estimate, 9), b.chosen) == (0.9, 10.0)
    apart = profiles.difference("a", "b")
    assert round(apart.mean.estimate, 9) == round(0.5 - 2.8 / 6, 9)
    assert round(apart.best.estimate, 9) == 0
    assert apart.num_seeds == 2


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # Each seed is best where the other is worst: a maximum would say 1, other seeds' choice says 0.
        ([[1, 0], [0, 1]], 0.0),
        ([[1, 0], [1, 0]], 1.0),
        # A tie on the others goes to the preset's own rate, the first.
        ([[0.2, 0.9], [0.5, 0.505], [0.5, 0.5]], (0.2 + 0.505 + 0.5) / 3),
    ],
)
def test_the_best_rate_is_that_of_the_other_seeds(scores, expected):
    scores = np.array(scores, dtype=float)
    found = best_elsewhere(scores, np.ones((1, len(scores))), np.array([1.0, 3.0]))
    assert found == pytest.approx([expected])


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_best_elsewhere_is_what_a_loop_says(num_seeds, num_rates, seed):
    rng = np.random.default_rng(seed)
    scores, rates = rng.random((num_seeds, num_rates)), np.exp(rng.normal(size=num_rates))
    sample = rng.integers(num_seeds, size=num_seeds)
    if len(set(sample)) == 1:
        return
    judged_at = []
    for one in sample:
        means = [np.mean([scores[other, rate] for other in sample if other != one]) for rate in range(num_rates)]
        tied = [rate for rate in range(num_rates) if means[rate] >= max(means) - 0.01]
        judged_at.append(scores[one, min(tied, key=lambda rate: abs(np.log(rates[rate])))])
    counts = np.bincount(sample, minlength=num_seeds)[None].astype(float)
    assert best_elsewhere(scores, counts, rates) == pytest.approx([np.mean(judged_at)])


def test_noise_alone_is_not_better_at_its_best_rate():
    """Rates that differ by chance: the maximum of means is above their mean, the score elsewhere is not."""
    rng = np.random.default_rng(0)
    found, naive = [], []
    for _ in range(300):
        scores = rng.normal(0.5, 0.3, size=(10, 6))
        found.append(best_elsewhere(scores, np.ones((1, 10)), np.arange(1.0, 7.0))[0])
        naive.append(scores.mean(axis=0).max())
    assert abs(np.mean(found) - 0.5) < 0.02 < 0.08 < np.mean(naive) - 0.5


def test_the_interval_of_the_best_rate_covers():
    """Of the difference of two arms alike in all but noise, in nine of ten and more of the cases."""
    rng = np.random.default_rng(1)
    truth = np.array([0.2, 0.6, 0.65])
    hits = 0
    for _ in range(200):
        scores = {arm: truth + rng.normal(0, 0.2, size=(10, 3)) for arm in "ab"}
        best = Profiles(RATES, scores, resamples=400).difference("a", "b").best
        hits += best.low <= 0 <= best.high
    assert hits >= 180


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"a": [[1, 2, 3]]}, "at least two seeds"),
        ({"a": [[1, 2], [1, 2]]}, r"must be \(num_seeds, 3\)"),
        ({"a": [[1, 2, 3]] * 2, "b": [[1, 2, 3]] * 3}, "must be"),
        ({"a": [[1, 2, float("nan")]] * 2}, "finite"),
    ],
)
def test_what_cannot_be_compared(scores, said):
    with pytest.raises(ValueError, match=said):
        Profiles(RATES, scores)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.04, 0.03, "equivalent"),
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.11, 0.01, "undecided"),
        (-0.06, 0.01, "undecided, within 0.10"),
        (0.01, 0.09, "better, within 0.10"),
        (-0.09, -0.01, "worse, within 0.10"),
    ],
)
def test_judged(low, high, word):
    assert judged(Interval((low + high) / 2, low, high), MARGIN, WIDE_MARGIN) == word
