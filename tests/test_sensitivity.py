"""Regret, the worst base rate and decades, of scores that can be checked by hand; effects and what could be seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics.effects import draws, effect, errors_seen, interval_of, seeds_to_see
from benchmarks.statistics.sensitivity import Sensitivity, decades_above

RATES = [0.1, 1.0, 10.0]
SCORES = {
    # Two seeds, alike but for the last rate of the schedule that forgets.
    "constant": [[-3.0, 0.8, 0.4], [-1.0, 0.8, 0.4]],
    "linear": [[0.0, 0.4, 1.0], [0.0, 0.4, 1.0]],
    "forgets": [[0.7, 0.7, 0.6], [0.7, 0.7, 0.8]],
}


@pytest.mark.parametrize(
    ("schedule", "mean", "regret", "worst", "worst_at", "decades"),
    [
        # Below a random policy counts as 0: (0 + 0.8 + 0.4) / 3. The bar is 0.95 of 0.8, 0.76: from 0 to 0.8
        # it is crossed at 0.95 of a decade, from 0.8 to 0.4 at 0.1. The other is 0.64: at 0.8 and 0.4.
        ("constant", 0.4, 0.4, 0.0, 0.1, (0.2 + 0.4, 0.05 + 0.1)),
        # From 0.4 to 1 it is crossed at 0.6: 0.4 of a decade is left. And at 0.4: 0.6 is left.
        ("linear", 1.4 / 3, 0.8 - 1.4 / 3, 0.0, 0.1, (0.6, 0.4)),
        ("forgets", 0.7, 0.1, 0.7, 0.1, (2.0, 0.0)),
    ],
)
def test_regret_worst_and_decades(schedule, mean, regret, worst, worst_at, decades):
    found = Sensitivity(RATES, SCORES).schedule(schedule)
    assert found.mean.estimate == pytest.approx(mean)
    assert found.regret.estimate == pytest.approx(regret)
    assert (found.worst.estimate, found.worst_at) == pytest.approx((worst, worst_at))
    assert [of.estimate for of in found.decades.values()] == pytest.approx(list(decades))
    assert {rate: of.estimate for rate, of in found.by_rate.items()} == pytest.approx(
        dict(zip(RATES, np.maximum(SCORES[schedule], 0).mean(axis=0)))
    )


def test_at_one_rate_and_against_another_schedule():
    found = Sensitivity(RATES, SCORES)
    assert (found.best.estimate, found.range) == pytest.approx((0.8, 2.0))
    assert found.regret_at("linear", 10.0).estimate == pytest.approx(-0.2)
    assert found.minus("forgets", "constant").mean.estimate == pytest.approx(0.7 - 0.4)
    assert found.minus("forgets", "constant", [1.0, 10.0]).mean.estimate == pytest.approx(0.7 - 0.6)
    assert found.minus_best("forgets", "linear").mean.estimate == pytest.approx(-0.3), "over all its rates"
    assert found.best_minus_best("constant", "linear").mean.estimate == pytest.approx(-0.2)


def test_intervals_stay_where_values_can_be():
    rng = np.random.default_rng(0)
    scores = {"constant": rng.uniform(0, 1, (6, 3)), "linear": rng.uniform(-1, 1, (6, 3))}
    found = Sensitivity(RATES, scores)
    for schedule in map(found.schedule, scores):
        for decades in schedule.decades.values():
            assert 0 <= decades.low <= decades.estimate <= decades.high <= 2
        assert 0 <= schedule.worst.low <= schedule.worst.estimate


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_decades_are_what_a_fine_grid_says(means, least):
    rates = 10.0 ** np.arange(len(means))
    grid = np.linspace(0, len(means) - 1, 20001)
    share = (np.interp(grid, np.arange(len(means)), means) >= least).mean()
    if np.abs(np.array(means) - least).min() > 1e-3:
        assert decades_above(rates, [means], [least])[0] == pytest.approx(share * (len(means) - 1), abs=2e-3)


def test_the_smallest_difference_that_could_have_been_seen():
    differences = np.array([0.1, 0.3, 0.2, 0.0, 0.4, 0.2])
    of = effect(differences)
    assert of.mean.estimate == pytest.approx(0.2)
    assert of.num_pairs == 6
    assert of.error == pytest.approx(differences.std(ddof=1) / np.sqrt(6), rel=0.05)
    assert of.seen == pytest.approx((2.5706 + 0.9195) * of.error, rel=1e-3), "by Student's t of five degrees of freedom"
    assert of.mean.low < 0.2 < of.mean.high


@pytest.mark.parametrize("num_pairs", [6, 30])
def test_such_a_difference_is_found_four_times_of_five(num_pairs):
    rng, hits, size = np.random.default_rng(0), 0, errors_seen(num_pairs) * 0.3 / np.sqrt(num_pairs)
    for _ in range(300):
        of = effect(size + rng.normal(0, 0.3, num_pairs))
        hits += of.mean.low > 0
    assert 0.72 < hits / 300 < 0.88


def test_with_so_many_seeds_a_bar_is_passed_four_times_of_five():
    rng, passed = np.random.default_rng(0), 0
    six = effect(0.1 * np.array([1, -1, 1, -1, 1, -1]) / np.std([1, -1, 1, -1, 1, -1], ddof=1))
    num = seeds_to_see(six, 0.05)
    for _ in range(300):
        passed += effect(rng.normal(0, 0.1, num)).mean.low > -0.05
    assert 0.72 < passed / 300 < 0.88


def test_of_one_seed_nothing_is_known():
    assert effect([0.2]).mean == (0.2, -np.inf, np.inf)
    assert effect([0.2]).seen == np.inf
    assert interval_of(draws(3)[:, 0], 3).estimate == 1
