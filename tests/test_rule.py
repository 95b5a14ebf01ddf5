"""The rules: tables to check by eye, an independent transcription, properties, seeded families."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure.calibration import BOUNCE, MINIMUM, NO_BOUNCE, bounce, decays_of
from rl_abel import PaperRule, Rule, TrendRule, find_decays
from rl_abel.rules.bounce import make_rule, observe_each, replay, t_statistic

NORMS = st.lists(st.one_of(st.integers(0, 3).map(float), st.floats(0, 1e9)), max_size=60)
FALL = [100.0 - t for t in range(30)]
RISE = [70.0 + t for t in range(30)]


@pytest.mark.parametrize(
    ("norms", "decays"),
    [
        ([], []),
        ([3, 2, 1], []),
        ([3, 2, 3], []),  # the first minimum only sets the flag
        ([3, 2, 3, 2], [3]),
        ([1, 2, 1, 2], [3]),  # and so does a maximum
        ([3, 2, 3, 2, 3, 2], [3, 5]),  # the flag is cleared by a decay
        ([3, 2, 2, 3, 2], []),  # a product of 0 is no flip: from 2, 2, 3 on nothing but one flip
        ([3, 3, 3, 3, 3], []),
        ([0, 1, 0, 1], [3]),
    ],
)
def test_paper_rule_by_eye(norms, decays):
    assert find_decays(norms, rule="paper") == decays


def algorithm_1(w):
    """Algorithm 1 of arXiv 2103.12682, transcribed line by line, without its last decay."""
    decays = []
    reached_minimum = False
    for t in range(len(w)):
        if t >= 2 and (w[t] - w[t - 1]) * (w[t - 1] - w[t - 2]) < 0:
            if reached_minimum:
                reached_minimum = False
                decays.append(t)
            else:
                reached_minimum = True
    return decays


@given(NORMS)
def test_paper_rule_is_algorithm_1(norms):
    assert find_decays(norms, rule="paper") == algorithm_1(norms)


@pytest.mark.parametrize(
    ("norms", "n_decays"),
    [
        (FALL + RISE + [100.0] * 10, 1),
        (FALL + RISE, 0),  # still growing: not in equilibrium
        (RISE + [100.0] * 10, 0),  # a norm that only rises has not bounced
        (RISE + FALL + [70.0] * 10, 0),  # nor has one that rises and then falls
        ((FALL + RISE + [100.0] * 10) * 2, 2),
        ([5.0] * 100, 0),
        ([0.0] * 100, 0),
        (FALL[:5] + RISE[:5] + [75.0] * 3, 0),  # too short to tell from noise
        ([800 + norm for norm in FALL + RISE + [100.0] * 10], 1),  # falls by 3.2 %
        ([1400 + norm for norm in FALL + RISE + [100.0] * 10], 0),  # by 1.9 %: a dent
        ([800 + norm for norm in FALL + RISE[:20] + [RISE[19]] * 20], 0),  # rises by 2 %
    ],
)
def test_trend_rule_by_eye(norms, n_decays):
    assert len(find_decays(norms)) == n_decays


@pytest.mark.parametrize(
    ("phase", "norms", "norm", "becomes"),
    [
        ("fall", [20.0 - t for t in range(10)], 10.0, "minimum"),
        ("fall", [10.0 + t for t in range(10)], 20.0, "fall"),
        ("minimum", [20.0 - t for t in range(10)], 10.0, "minimum"),
        ("minimum", [10.0 + t for t in range(10)], 20.0, "equilibrium"),
        ("equilibrium", [10.0 + t for t in range(10)], 20.0, "equilibrium"),
        ("equilibrium", [19.0] * 10, 19.0, "decay"),
        ("equilibrium", [20.0 - t for t in range(10)], 10.0, "decay"),
        ("minimum", [30.0 + t for t in range(10)], 40.0, "fall"),  # it fell from 30 to 29.5 alone
        ("equilibrium", [9.2] * 10, 9.2, "minimum"),  # it rose from 9 to 9.2 alone
    ],
)
def test_trend_rule_takes_one_step(phase, norms, norm, becomes):
    seen = {"phase": phase, "norms": norms, "highest": 30.0, "lowest": min(9.0 if norm < 30 else 29.5, *norms)}
    state, decayed = TrendRule().observe(seen | {"largest_growth": 1.0}, norm)
    assert decayed == (becomes == "decay")
    assert state["phase"] == ("fall" if decayed else becomes)


@pytest.mark.parametrize(
    ("norms", "stride", "t"),
    [
        ([1, 2, 3, 4], 1, math.inf),
        ([4, 3, 2, 1], 1, -math.inf),
        ([2, 2, 2, 2], 1, 0.0),
        ([1, 2, 4, 7], 1, 2 / (1 / math.sqrt(3))),  # increments 1, 2, 3: mean 2, deviation 1
        ([1, 9, 2, 9, 4, 9, 7], 2, 2 / (1 / math.sqrt(3))),  # every second, none twice
    ],
)
def test_t_statistic(norms, stride, t):
    assert t_statistic(norms, stride, window=3) == pytest.approx(t)


# Row by row what the design measured for its reference rule (1,500 traces a family).
REFERENCE = {
    "steady growth, noise 0.25": 0,
    "steady growth, noise 1": 0,
    "steady growth, noise 2": 0,
    "growth by noisy steps, 0.5": 0,
    "growth by noisy steps, 1": 0,
    "growth by noisy steps, 2": 0.002,
    "random walk of 100": 0.019,
    "random walk of 500": 0.45,
    "AR(0.8)": 0,
    "sum of AR(0.5), 500": 2.7,
    "sum of AR(0.5), every fifth of 500": 0.054,
}


@pytest.mark.parametrize("family", NO_BOUNCE)
def test_false_decays(family):
    counts = np.array([len(d) for d in decays_of(TrendRule(), family, 400)])
    error = counts.std(ddof=1) / math.sqrt(len(counts))
    assert counts.mean() <= REFERENCE[family] + 2 * error + 1 / 400


@pytest.mark.parametrize("family", BOUNCE)
def test_recall(family):
    decays = decays_of(TrendRule(), family, 400)
    assert not any(d and d[0] < MINIMUM for d in decays), "a decay before the minimum"
    assert not any(len(d) > 1 for d in decays), "one bounce decayed twice"
    found = np.mean([bool(d) for d in decays])
    assert found >= (0.86 - 0.035 if family == "bounce, noise 4" else 1)


def test_the_literal_rule_decays_on_noise():
    """Why it is not the default: some twenty decays where there is nothing but noise."""
    assert np.mean([len(d) for d in decays_of(PaperRule(), "random walk of 100", 100)]) > 20


@given(
    noise=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-6, 1e-3, 1e3, 1e9]),
    amplitude=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_trend_rule_knows_no_scale(noise, scale, amplitude):
    trace = bounce(160) + amplitude * np.random.default_rng(noise).standard_normal(160)
    assert find_decays(scale * trace) == find_decays(trace)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize(
    ("trace", "n_decays"),
    [
        (bounce(400), 1),  # rounding noise on the plateau is no movement
        (bounce(200) - 180, 1),  # down to 0 exactly
        (np.concatenate([np.zeros(20), np.linspace(0, 50, 80)]), 0),  # ARS starts at 0
        (100 - 50 * np.exp(-np.arange(200) / 20), 0),
        (50 + 50 * np.exp(-np.arange(200) / 20), 0),
    ],
)
def test_noise_free_traces_of_any_scale(trace, n_decays, scale):
    assert len(find_decays(scale * trace)) == n_decays


@given(NORMS, st.sampled_from([PaperRule(), TrendRule(), TrendRule(window=2, z=1.0)]))
def test_states_survive_json(norms, rule):
    plain = list(replay(rule, norms))
    state, decays = rule.init(), []
    for norm in norms:
        state, decayed = rule.observe(json.loads(json.dumps(state)), norm)
        decays.append(decayed)
    assert decays == [decayed for _, decayed in plain]


@given(NORMS)
def test_observe_does_not_change_its_argument(norms):
    rule = TrendRule(window=3)
    for state, _ in replay(rule, norms):
        before = json.dumps(state)
        rule.observe(state, 1.0)
        assert json.dumps(state) == before


def test_non_finite_measurements_are_passed_over():
    norms = [3.0, math.nan, 2.0, math.inf, 3.0, 2.0]
    assert find_decays(norms, rule="paper") == [5]


class EveryThird:
    def init(self):
        return 0

    def observe(self, state, weight_norm):
        return state + 1, state % 3 == 2


def test_a_rule_of_the_users_own():
    assert isinstance(EveryThird(), Rule)
    assert find_decays([1.0] * 7, rule=EveryThird()) == [2, 5]


def test_options_reach_the_rule():
    quick = [100.0 - t for t in range(5)] + [95.0 + t for t in range(5)] + [99.0] * 5
    assert find_decays(quick) == []
    assert len(find_decays(quick, window=3, z=3.0)) == 1


@pytest.mark.parametrize("as_type", [tuple, np.array, iter])
def test_any_sequence_of_numbers(as_type):
    assert find_decays(as_type([3, 2, 3, 2]), rule="paper") == [3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_decays([1], rule="plateau"), r"rule must be one of \['paper', 'trend'\].*'plateau'"),
        (lambda: find_decays([1], rule=None), "got None"),
        (lambda: find_decays([1], rule=TrendRule), "got <class"),
        (
            lambda: find_decays([1], rule="trend", span=3),
            r"no option span; its options are: \['window', 'z', 'depth'\]",
        ),
        (lambda: find_decays([1], rule="paper", z=3), "no option z; its options are: none"),
        (lambda: find_decays([1], rule=TrendRule(), z=3), r"\['z'\] on the rule object"),
        (lambda: find_decays([1], window=1), "window must be an integer of at least 2, got 1"),
        (lambda: find_decays([1], window=2.5), "window must be an integer of at least 2, got 2.5"),
        (lambda: find_decays([1], depth=1), r"depth must be in \[0, 1\), got 1"),
        (lambda: find_decays([1], depth=-0.1), r"depth must be in \[0, 1\), got -0.1"),
        (lambda: find_decays([1], z=0), "z must be a finite number above 0, got 0"),
        (lambda: find_decays([1], z=math.nan), "z must be .* got nan"),
        (lambda: find_decays({"total": [1]}), "weight_norms must be a sequence of numbers, got {'total'"),
        (lambda: find_decays(3), "weight_norms must be a sequence of numbers, got 3"),
        (lambda: find_decays(["a"]), "weight_norms must be"),
    ],
)
def test_bad_input_is_named_and_shown(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("statement", ["import rl_abel", "from rl_abel import find_decays; find_decays([1, 2])"])
def test_the_rules_never_load_torch(statement):
    heavy = "{'torch', 'stable_baselines3', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"import sys; {statement}; assert not {heavy}, {heavy}"], check=True)


# Several parts


def together(rule, **norms):
    """Where which parts bounce, every part shown to the rule, measurement by measurement."""
    states, found = {}, []
    for t, row in enumerate(zip(*norms.values())):
        states, bounced = observe_each(rule, states, dict(zip(norms, row)))
        found += [(t, part) for part in bounced]
    return found


@given(NORMS)
def test_a_part_alone_is_the_rule_by_itself(norms):
    for name in ("paper", "trend"):
        assert together(make_rule(name), total=norms) == [(t, "total") for t in find_decays(norms, name)]


def test_a_part_that_others_hide_is_seen():
    policy = bounce()
    value = 1000 + 20.0 * np.arange(100)
    total = policy + value
    (decay,) = find_decays(policy)
    assert find_decays(total) == find_decays(value) == []
    assert together(TrendRule(), total=total, policy=policy, value=value) == [(decay, "policy")]


def test_parts_that_bounce_together_are_one_bounce():
    norms = bounce()
    (decay,) = find_decays(norms)
    assert together(TrendRule(), total=3 * norms, policy=2 * norms, value=norms) == [
        (decay, "total"),
        (decay, "policy"),
        (decay, "value"),
    ]


def test_a_bounce_of_one_part_makes_the_others_start_anew():
    early, late = [3, 2, 3, 2, 2, 2, 2, 2], [3, 2, 3, 4, 5, 4, 5, 4]
    assert (find_decays(early, "paper"), find_decays(late, "paper")) == ([3], [5, 7])
    # From its fifth measurement on the other sees 5, 4, 5, 4.
    assert together(PaperRule(), early=early, late=late) == [(3, "early"), (7, "late")]
