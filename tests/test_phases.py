"""The events of the moments' plan: traces that can be checked by eye, and the definitions once more by scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.moments.phases import EVENTS, bounce_by_rule, bounce_by_shape, equilibrium, minimum
from rl_abel.rules.bounce import TrendRule, replay

FALL = [float(norm) for norm in range(40, 20, -1)]
LEVEL = [20.0] * 12
RISE = [float(norm) for norm in range(21, 41)]


@pytest.mark.parametrize(
    ("norms", "index"),
    [
        ([10, 9, 8, 9], 2),
        ([10, 8, 9, 8], 1),  # the first of two
        ([10, 9.71, 10], None),  # not 3 %
        ([10, 9.7, 10], 1),
        ([8, 9, 10], None),  # nothing is above it before it
        ([9, 10, 9.5, 8.9], 3),
        ([5], None),
    ],
)
def test_minimum(norms, index):
    assert minimum(norms) == index


@pytest.mark.parametrize(
    ("norms", "index"),
    [
        ([10, 9, 9.1, 9.27, 9], 3),
        ([10, 9, 11], 2),  # past the old highest at once
        ([10, 9.8, 10.2], None),  # a fall by 2 %
        ([10, 9, 9.2], None),  # a rise by 2 %
        ([5, 10, 9, 8, 8.3], 4),
        ([10, 9.8, 12, 11, 11.1, 11.4], 5),  # from the new highest on
        ([10, 9, 8, 7], None),
        ([5], None),
    ],
)
def test_bounce_by_shape(norms, index):
    assert bounce_by_shape(norms) == index


@pytest.mark.parametrize(
    ("norms", "index"),
    [
        (FALL, None),  # it still falls
        (FALL + LEVEL, 24),  # with four increments of 0 in ten, t is 3.67
        ([40.0] * 30, None),  # level, and has not fallen
        ([40.0] * 20 + [39.0] * 20, None),  # by 2.5 %
        ([40.0] * 20 + [38.0] * 20, 20),  # a single step is no slope
        (RISE, None),
        (RISE + FALL[1:], 21),  # over its top it is level as well: 8 steps up and 2 down, and 5 % below the highest
        (FALL[:5] + LEVEL[:5], None),  # no window yet
        # A slope too smooth to be none, but by a tenth of the fall at most: 0.9^n (1 / 0.9^10 - 1) <= (1 - 0.9^n) / 10.
        ([0.9**step for step in range(40)], 29),
    ],
)
def test_equilibrium(norms, index):
    assert equilibrium(norms) == index


def test_the_bounce_by_rule_is_the_first_decay():
    trace = FALL + RISE + [40.0] * 12 + FALL + RISE + [40.0] * 12
    decays = [index for index, (_, decayed) in enumerate(replay(TrendRule(), trace)) if decayed]
    assert len(decays) == 2
    assert bounce_by_rule(trace) == decays[0]
    assert bounce_by_rule(FALL + RISE) is None, "it rises to the end"


def shape_by_the_definition(norms):
    for now in range(1, len(norms)):
        past = np.array(norms[:now])
        highest = len(past) - 1 - past[::-1].argmax()
        lowest = past[highest:].min()
        if lowest <= 0.97 * past[highest] and norms[now] >= 1.03 * lowest:
            return now
    return None


def equilibrium_by_the_definition(norms):
    for now in range(10, len(norms)):
        past = np.array(norms[: now + 1])
        highest = len(past) - 1 - past[::-1].argmax()
        fall = past[highest] - past[highest:].min()
        increments = np.diff(past[-11:])
        # Equal increments have no t: none of them is no slope, any of them is one.
        t = stats.ttest_1samp(increments, 0).statistic if np.ptp(increments) else np.inf * np.sign(increments[0])
        level = not increments.any() or abs(t) <= 3.7 or abs(past[-1] - past[-11]) <= 0.1 * fall
        if past[-1] <= 0.97 * past[highest] and level:
            return now
    return None


# Multiples of 1/4, exact in floating point.
traces = st.lists(st.integers(40, 400).map(lambda quarters: quarters / 4), min_size=1, max_size=60)
walks = st.lists(st.integers(-8, 6), min_size=1, max_size=60).map(
    lambda steps: [float(norm) for norm in 400 + np.cumsum(steps)]
)


@given(traces | walks)
def test_by_the_definitions(norms):
    assert bounce_by_shape(norms) == shape_by_the_definition(norms)
    assert equilibrium(norms) == equilibrium_by_the_definition(norms)


@given(walks, walks)
def test_later_measurements_move_no_event_but_the_minimum(norms, more):
    for name, find in EVENTS.items():
        found = find(norms)
        if name != "minimum" and found is not None:
            assert find(norms + more) == found == find(norms[: found + 1]), name


@given(walks, st.integers(-3, 3))
def test_the_unit_of_a_norm_does_not_matter(norms, power):
    for name, find in EVENTS.items():
        assert find([norm * 2.0**power for norm in norms]) == find(norms), name
