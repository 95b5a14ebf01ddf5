"""Whose rate decays after a bounce, and the final decay: decisions of plain values."""

import pytest

from rl_abel.rules.decay_controller import whose_decay
from rl_abel.rules.decays import Budget, Decay, final_factor


@pytest.mark.parametrize(
    ("began", "step", "factor"),
    [
        # A budget of 1,000 in rollouts of 10, decayed at 85 %.
        (800, 0.1, None),
        (840, 0.1, None),  # the rollout ends there
        (850, 0.1, 0.1),
        (990, 0.1, 0.1),
        (850, None, 1.0),
        (925, None, 0.5),
        (1000, None, 0.0),
    ],
)
def test_the_final_decay_begins_with_a_rollout(began, step, factor):
    found = final_factor(Budget(0, 1000).in_rollouts(10).progress(began), 0.85, step)
    assert found == (None if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(("rollouts", "decayed"), [(1, 0), (2, 0), (6, 0), (7, 1), (10, 1), (20, 3), (100, 15)])
def test_few_rollouts_lose_few_updates(rollouts, decayed):
    budget = Budget(0, 20 * rollouts).in_rollouts(20)
    factors = [final_factor(budget.progress(at), 0.85, 0.1) for at in range(0, 20 * rollouts, 20)]
    assert factors == [None] * (rollouts - decayed) + [0.1] * decayed


def test_without_a_budget_there_is_none():
    assert final_factor(Budget(0, None).in_rollouts(20).progress(10**9), 0.85, 0.1) is None


@pytest.mark.parametrize(
    ("bounced", "made", "most", "alone", "decays"),
    [
        (["policy"], [], None, False, {"total": "policy"}),
        (["policy", "value"], [], None, False, {"total": "policy and value"}),
        (["policy", "value"], ["total"], 1, False, {}),
        (["policy"], ["total"], 2, False, {"total": "policy"}),
        (["policy", "value"], [], 0, False, {}),
        (["policy", "total"], [], None, True, {"policy": "policy", "rest": "total"}),
        (["policy", "value"], ["policy"], 1, True, {"value": "value"}),
        (["policy"], ["total"], 1, True, {"policy": "policy"}),  # of a training with scope="model" before
        ([], [], None, True, {}),
    ],
)
def test_whose_rate_decays_after_a_bounce(bounced, made, most, alone, decays):
    before = [Decay(1, "bounce", 0.1, part) for part in made] + [Decay(2, "final", 0.1, "total")]
    assert whose_decay(bounced, before, most, alone) == decays
