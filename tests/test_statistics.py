"""Statistics: tables to check by eye, properties, rliable as an oracle, simulated coverage."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.measure.coverage import coverage, difference_coverage, verdicts
from benchmarks.statistics.equivalence import compare, pair, scores_by_arm, verdict_of
from benchmarks.statistics.estimates import (
    Interval,
    draw_counts,
    exact_binomial_interval,
    iqm,
    quantiles,
    resampled_trimmed_mean,
    summarise,
    trimmed_mean,
    widened,
)

ORACLE = json.loads((Path(__file__).parent / "oracles" / "rliable.json").read_text())
SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=25)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def by_seed(**arms):
    """Scores of an arm on tasks "0", "1", ... as lists in the order of seeds."""
    return {arm: {str(t): dict(enumerate(task)) for t, task in enumerate(tasks)} for arm, tasks in arms.items()}


def width(interval):
    return interval.high - interval.low


# --- scores and single statistics


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7], 7),
        ([0, 3, 9], 4),  # three runs: nothing is cut off
        ([0, 1, 2, 9], 1.5),
        ([9, 0, 1, 2, 3], 2),
        ([0, 0, 0, 4, 5, 6, 9, 99], 3.75),
    ],
)
def test_iqm(scores, expected):
    assert iqm(scores) == pytest.approx(expected)


@given(SCORES, st.sampled_from([0.0, 0.25]), st.integers(0, 99))
def test_a_resampled_statistic_is_the_statistic_of_the_resample(scores, trim, seed):
    scores = np.array(scores)
    counts = draw_counts(len(scores), 3, np.random.default_rng(seed))
    assert (counts.sum(axis=1) == len(scores)).all()
    expected = [stats.trim_mean(np.repeat(scores, drawn.astype(int)), trim) for drawn in counts]
    np.testing.assert_allclose(resampled_trimmed_mean(scores, counts, trim), expected, atol=1e-9)
    assert trimmed_mean(scores, trim) == pytest.approx(stats.trim_mean(scores, trim), abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1), (0, 1, 0, 0.975), (1, 100, 0.0003, 0.0545)],
)
def test_exact_binomial_interval(successes, trials, low, high):
    assert exact_binomial_interval(successes, trials) == pytest.approx((successes / trials, low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 2), (0, 0)])
def test_no_share_of_what_was_not_tried(successes, trials):
    with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
        exact_binomial_interval(successes, trials)


# --- summaries of one arm


def test_summary_of_ragged_tasks(rng):
    summary = summarise({"a": [0.1, 0.6, 0.7, 0.8, 1.0], "b": [0.5, 0.4]}, rng)
    a, b = summary.tasks.values()
    assert (a.num_runs, b.num_runs) == (5, 2)
    assert (a.iqm.estimate, a.mean.estimate) == pytest.approx((0.7, 0.64))
    assert (b.iqm.estimate, b.mean.estimate) == pytest.approx((0.45, 0.45))
    assert (summary.iqm.estimate, summary.mean.estimate) == pytest.approx(((0.7 + 0.45) / 2, (0.64 + 0.45) / 2))
    # A score of exactly 0.5 has not failed.
    assert (a.failed.estimate, b.failed.estimate) == (0.2, 0.5)
    for interval in (a.iqm, a.mean, b.iqm, b.mean, summary.iqm, summary.mean):
        assert interval.low < interval.estimate < interval.high


def test_a_single_run_tells_nothing_of_the_spread(rng):
    summary = summarise({"a": [0.9, 0.8, 0.7], "b": [0.9]}, rng)
    assert summary.tasks["b"].mean == (0.9, -math.inf, math.inf)
    assert summary.iqm[1:] == (-math.inf, math.inf)
    assert math.isfinite(summary.tasks["a"].mean.low)


def test_equal_scores_have_no_spread(rng):
    assert summarise({"a": [0.3] * 7}, rng).tasks["a"].mean == pytest.approx((0.3, 0.3, 0.3), abs=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_a_number_never_passes(rng, bad):
    scores, fine = {"a": [0.5, bad]}, {"a": [0.5, 0.5]}
    for call in (
        lambda: summarise(scores, rng),
        lambda: iqm(scores["a"]),
        lambda: compare(by_seed(x=[fine["a"]], y=[scores["a"]]), "x", "y", rng),
        lambda: scores_by_arm(["a"], ["x"], [0], [bad]),
    ):
        with pytest.raises(ValueError, match="must be finite"):
            call()


@pytest.mark.parametrize(
    ("scores", "message"),
    [({}, "at least one task"), ({"a": []}, "scores of 'a' must be a non-empty"), ({"a": [[1.0]]}, r"shape \(1, 1\)")],
)
def test_summarise_refuses(rng, scores, message):
    with pytest.raises(ValueError, match=message):
        summarise(scores, rng)


@pytest.mark.parametrize(
    ("num_runs", "freedom"),
    [([5], 4), ([30], 29), ([5, 5, 5, 5], 16)],  # equal variances: the degrees of freedom add up
)
def test_small_samples_are_widened_as_student_would(num_runs, freedom):
    deviations = [np.tile([-1.0, 1.0], 500)] * len(num_runs)
    expected = math.sqrt(num_runs[0] / (num_runs[0] - 1)) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    assert widened(deviations, num_runs).max() == pytest.approx(expected)


def test_a_pooled_iqm_hides_a_task_that_is_worse_by_0_4(rng):
    other = {task: rng.uniform(0.85, 0.95, 20) for task in "abcd"}
    arm = {**other, "d": other["d"] - 0.4}
    pooled = iqm(np.concatenate(list(arm.values()))) - iqm(np.concatenate(list(other.values())))
    ours = summarise(arm, rng).iqm.estimate - summarise(other, rng).iqm.estimate
    assert abs(pooled) < 0.03
    assert ours == pytest.approx(-0.1)
    verdict = compare(by_seed(arm=arm.values(), other=other.values()), "arm", "other", rng).overall
    assert verdict.verdict == "different"


# --- rliable 1.2.0, in an environment of its own


def test_estimates_agree_with_rliable(rng):
    summary = summarise(ORACLE["x"], rng)
    assert [task.iqm.estimate for task in summary.tasks.values()] == pytest.approx(ORACLE["iqm_by_task"])
    assert [task.mean.estimate for task in summary.tasks.values()] == pytest.approx(ORACLE["mean_by_task"])
    assert [summary.iqm.estimate, summary.mean.estimate] == pytest.approx(ORACLE["iqm_and_mean_overall"]["estimate"])


def test_percentiles_agree_with_rliable_and_are_then_widened(rng):
    scores = [np.array(values) for values in ORACLE["x"].values()]
    counts = [draw_counts(len(values), 20_000, rng) for values in scores]
    summary = summarise(ORACLE["x"], rng, resamples=20_000)
    for k, (trim, ours) in enumerate(((0.25, summary.iqm), (0.0, summary.mean))):
        percentile = quantiles(np.mean([resampled_trimmed_mean(s, c, trim) for s, c in zip(scores, counts)], axis=0))
        theirs = [ORACLE["iqm_and_mean_overall"][end][k] for end in ("low", "high")]
        np.testing.assert_allclose(percentile, theirs, atol=0.005)
        # Three tasks of ten runs: between the factors of 9 and of 27 degrees of freedom.
        assert 1.10 < width(ours) / (theirs[1] - theirs[0]) < 1.22


# --- equivalence


@pytest.mark.parametrize(
    ("iqm_ends", "mean_ends", "unseen_ends", "num_pairs", "verdict"),
    [
        ((-0.02, 0.02), (-0.03, 0.03), (-0.04, 0.04), 30, "equivalent"),
        ((-0.02, 0.02), (-0.03, 0.03), (-0.04, 0.04), 4, "undecided"),  # too few
        ((-0.02, 0.02), (-0.03, 0.03), (-0.06, 0.04), 30, "undecided"),  # a failure may not have shown
        ((-0.02, 0.02), (-0.03, 0.05), (-0.03, 0.05), 30, "undecided"),  # the margin itself is outside
        ((-0.06, 0.02), (-0.03, 0.03), (-0.04, 0.04), 30, "undecided"),  # only the mean would be
        ((-0.03, -0.01), (-0.03, -0.01), (-0.04, 0.0), 30, "equivalent"),  # apart, but by less than matters
        ((-0.03, -0.01), (-0.03, -0.01), (-0.06, 0.0), 30, "undecided"),  # and so this is not "different"
        ((-0.3, -0.1), (-0.2, -0.01), (-0.3, 0.1), 30, "different"),
        ((0.1, 0.3), (0.01, 0.2), (-0.1, 0.3), 30, "different"),  # better
        ((0.1, 0.3), (-0.2, -0.01), (-0.3, 0.1), 30, "undecided"),  # the signs disagree
        ((-0.3, -0.1), (-0.2, 0.01), (-0.3, 0.1), 30, "undecided"),
        ((-math.inf, math.inf), (-math.inf, math.inf), (-math.inf, math.inf), 1, "undecided"),
    ],
)
def test_verdict(iqm_ends, mean_ends, unseen_ends, num_pairs, verdict):
    intervals = {
        name: Interval(sum(mean_ends if name == "unseen" else ends) / 2, *ends)
        for name, ends in (("iqm", iqm_ends), ("mean", mean_ends), ("unseen", unseen_ends))
        if math.isfinite(ends[0])
    } or dict.fromkeys(["iqm", "mean", "unseen"], Interval(0.0, -math.inf, math.inf))
    assert verdict_of(intervals, num_pairs, 0.05) == verdict


@pytest.mark.parametrize(
    ("num_tasks", "num_seeds", "verdict", "of_a_task"),
    [
        (1, 60, "undecided", "undecided"),  # one run in 20 may fail without showing: 0.95 ** 60 = 0.046
        (1, 90, "equivalent", "equivalent"),
        (4, 25, "equivalent", "undecided"),  # over four tasks it would have shown
        (30, 4, "undecided", "undecided"),  # four seeds are too few for an IQM
    ],
)
def test_identical_arms(rng, num_tasks, num_seeds, verdict, of_a_task):
    scores = by_seed(arm=[[0.9] * num_seeds] * num_tasks, other=[[0.9] * num_seeds] * num_tasks)
    comparison = compare(scores, "arm", "other", rng)
    assert comparison.overall.verdict == verdict
    assert {task.verdict for task in comparison.tasks.values()} == {of_a_task}
    assert comparison.overall.iqm == comparison.overall.mean == (0, 0, 0)
    # The exact bound for no failure in n trials is 1 - 0.025 ** (1 / n), about 3.7 / n.
    bound = -math.log(0.025) / (num_tasks * num_seeds)
    assert comparison.overall.unseen == pytest.approx((0, -bound, bound), rel=0.15)


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_arms_apart(rng, shift):
    noise = rng.uniform(0, 0.05, (2, 10))
    comparison = compare(by_seed(arm=(noise + shift).tolist(), other=noise.tolist()), "arm", "other", rng)
    for verdict in (comparison.overall, *comparison.tasks.values()):
        assert verdict.verdict == "different"
        assert verdict.mean == pytest.approx((shift, shift, shift))  # a shift of every seed: pairs have no spread
        assert verdict.num_pairs == 10


def test_pairs_cancel_what_seeds_share(rng):
    shared, own = rng.normal(0.8, 0.2, 20), rng.normal(0, 0.01, (2, 20))
    arm, other = (shared + own).tolist()
    paired = compare(by_seed(arm=[arm], other=[other]), "arm", "other", rng).overall
    mixed = compare(by_seed(arm=[arm], other=[other[1:] + other[:1]]), "arm", "other", rng).overall
    assert paired.mean.estimate == pytest.approx(mixed.mean.estimate)
    assert width(paired.mean) < width(mixed.mean) / 5


def test_the_difference_is_of_the_statistics(rng):
    scores = by_seed(arm=[[0, 1, 2, 9]], other=[[5, 0, 0, 0]])
    verdict = compare(scores, "arm", "other", rng).overall
    assert verdict.iqm.estimate == pytest.approx(1.5 - 0)
    assert verdict.mean.estimate == pytest.approx(3 - 1.25)


def test_a_table_of_runs_is_paired_by_seed(rng):
    rows = [
        ("a", "x", 1, 0.1), ("a", "x", 2, 0.2), ("a", "x", 3, 0.3), ("b", "x", 1, 0.4), ("c", "x", 1, 0.5),
        ("a", "y", 3, 0.6), ("a", "y", 2, 0.7), ("b", "y", 1, 0.8), ("c", "y", 9, 0.9),
    ]  # fmt: skip
    table = scores_by_arm(*zip(*rows))
    paired = {task: scores.tolist() for task, scores in pair(table, ["x", "y"]).items()}
    assert paired == {"a": [[0.2, 0.7], [0.3, 0.6]], "b": [[0.4, 0.8]]}  # c has no seed in common
    shuffled = scores_by_arm(*zip(*reversed(rows)))
    first, second = (compare(t, "x", "y", np.random.default_rng(3)) for t in (table, shuffled))
    assert first == second
    assert list(first.tasks) == ["a", "b"]
    with pytest.raises(ValueError, match="got two for 'a', 'x', 1"):
        scores_by_arm(*zip(*rows, rows[0]))


@pytest.mark.parametrize(
    ("arm", "other", "options", "message"),
    [
        ("x", "z", {}, r"unknown arm 'z'; known are: \['x', 'y'\]"),
        ("x", "x", {}, "not 'x' itself"),
        ("x", "y", {"margin": 0}, "margin must be a finite number above 0, got 0"),
        ("x", "y", {"margin": math.nan}, "above 0, got nan"),
    ],
)
def test_compare_refuses(rng, arm, other, options, message):
    with pytest.raises(ValueError, match=message):
        compare(by_seed(x=[[0.5, 0.6]], y=[[0.5, 0.6]]), arm, other, rng, **options)


def test_nothing_to_compare(rng):
    with pytest.raises(ValueError, match="'x', 'y' have no task and seed in common"):
        compare({"x": {"a": {0: 0.5}}, "y": {"a": {1: 0.5}}}, "x", "y", rng)


# --- simulated; `python -m benchmarks.measure coverage` is the long version


@pytest.mark.parametrize(
    ("family", "num_runs", "lowest"),
    [
        ("normal", 5, 0.88),
        ("normal", 30, 0.88),
        ("skewed", 5, 0.78),  # the mean of five: the tail has not shown
        ("skewed", 30, 0.88),
        ("bimodal, 40 % fail", 5, 0.78),  # nor has the other mode, in one of eleven samples
        ("bimodal, 40 % fail", 30, 0.88),
    ],
)
def test_simulated_coverage(family, num_runs, lowest):
    one_arm, difference = coverage(family, num_runs, 60), difference_coverage(family, num_runs, 60)
    assert min(one_arm.values()) >= lowest, one_arm
    assert min(difference.values()) >= 0.88, difference


@pytest.mark.parametrize(
    ("case", "num_runs"),
    [
        ("worse by the margin, normal 0.02", 30),
        ("worse by the margin, 5 % fail", 10),
        ("worse by the margin, 5 % fail", 30),
        ("worse by the margin, 10 % fail against 5 %", 30),
    ],
)
def test_simulated_equivalence_is_rarely_false(case, num_runs):
    shares = verdicts(case, num_runs, 60)
    assert shares["task"]["equivalent"] <= 0.05
    assert shares["overall"]["equivalent"] <= 0.1


def test_simulated_equivalence_is_found():
    assert verdicts("equal, normal 0.02", 30, 20)["overall"]["equivalent"] >= 0.95
