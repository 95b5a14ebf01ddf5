"""What is dear is done seldom: calls are counted, no time is measured."""

import sys
from collections import Counter

import pytest
import torch

from rl_abel import AbelCallback, AutoLearningRate, BudgetRateCallback, RateByPart
from rl_abel.learning_rate import applied_rate
from rl_abel.training import measurement
from tests.algorithms import Do, make_model

STEPS, EVERY = 600, 100


@pytest.fixture
def calls(monkeypatch):
    """Calls of what searches a model, by name."""
    counts = Counter()

    def count(owner, name):
        call = getattr(owner, name)

        def counted(*args, **kwargs):
            counts[name] += 1
            return call(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    count(measurement, "norms_of")
    count(applied_rate, "optimizers")
    count(applied_rate, "labels")
    return counts


def frozen(model):
    for parameter in model.policy.parameters():
        parameter.register_hook(torch.zeros_like)


def broken(model):
    """No number, in a layer that no action is taken by."""
    network = getattr(model, "critic", None) or model.q_net
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    frozen(model)


@pytest.mark.filterwarnings("ignore:rl_abel. the weight norm is not finite", "ignore:rl_abel. learning_starts")
@pytest.mark.parametrize("name", ["DQN"])
@pytest.mark.parametrize(
    ("changes", "prepare", "kept"),
    [
        ({}, lambda model: None, True),
        ({"train_freq": 1}, frozen, False),
        ({"train_freq": 1}, broken, False),
        ({"learning_rate": 0.0}, lambda model: None, False),
        ({"learning_starts": 400}, lambda model: None, True),
        ({"learning_starts": 10_000}, lambda model: None, False),
        ({"gradient_steps": 0}, lambda model: None, False),
        ({"train_freq": 150}, lambda model: None, True),
    ],
)
def test_weights_are_measured_once_an_interval_whether_or_not_it_is_kept(name, changes, prepare, kept, calls):
    model, abel = make_model(name, **changes), AbelCallback(measure_every=EVERY, max_decays=0)
    prepare(model)
    model.learn(STEPS, callback=abel)
    assert bool(abel.trace["timesteps"]) == kept
    # One when it begins, and one at the first update.
    assert calls["norms_of"] <= STEPS / EVERY + 2


def test_weights_that_move_later_are_measured_then(calls):
    """From a rate of 0 on, as a warm-up has it."""
    model = make_model("SAC", learning_rate=lambda remaining: 1e-3 if remaining < 0.5 else 0.0)
    abel = AbelCallback(measure_every=EVERY, max_decays=0)
    model.learn(STEPS, callback=abel)
    assert STEPS / 2 < abel.trace["timesteps"][0] <= STEPS / 2 + EVERY


@pytest.mark.parametrize("beside", [[], [RateByPart(value=2)]])
@pytest.mark.parametrize(("name", "changes"), [("DQN", {"train_freq": 1}), ("DQN", {}), ("SAC", {}), ("A2C", {})])
def test_a_cooldown_searches_a_model_no_more_than_a_step_does(name, changes, beside, calls):
    counts = {}
    for shape in ("step", "linear"):
        calls.clear()
        abel = AbelCallback(max_decays=0, final_decay_at=0.1, final_decay_shape=shape, measure_every=EVERY)
        model = make_model(name, **changes)
        model.learn(STEPS, callback=[abel, *beside])
        counts[shape] = dict(calls)
    for call in ("optimizers", "labels"):
        assert counts["linear"][call] == counts["step"][call] <= 3


@pytest.mark.filterwarnings("ignore:rl_abel. the learning rate of 1 parameter groups was set")
def test_a_rate_that_leaves_a_cooldown_in_its_middle_is_told():
    model = make_model("DQN", train_freq=1)

    def hold(optimizer, *_):
        if model.num_timesteps > STEPS / 2:
            optimizer.param_groups[0]["lr"] = 1e-3

    model.policy.optimizer.register_step_pre_hook(hold)
    abel = AbelCallback(max_decays=0, final_decay_at=0.1, final_decay_shape="linear")
    with pytest.warns(UserWarning, match="does not follow"):
        model.learn(STEPS, callback=abel)


@pytest.mark.filterwarnings("ignore:rl_abel. 1 measurement")
@pytest.mark.parametrize(
    ("callback", "most"),
    [(lambda: AbelCallback(max_decays=0), 95), (BudgetRateCallback, 95), (AutoLearningRate, 135)],
)
def test_a_step_of_sac_calls_few_functions_of_ours(callback, most):
    """It has an update at every step, which takes as long as some hundred calls, so a hundred more would be seen."""
    calls = Counter()

    def count(frame, event, _):
        if event == "call" and "rl_abel" in frame.f_code.co_filename:
            calls[frame.f_code.co_name] += 1

    def step(model):
        if model.num_timesteps in (200, 300):
            sys.setprofile(count if model.num_timesteps == 200 else None)
        return model.num_timesteps < 300

    try:
        make_model("SAC", learning_starts=10, train_freq=1).learn(100_000, callback=[callback(), Do(step=step)])
    finally:
        sys.setprofile(None)
    assert sum(calls.values()) / 100 <= most, calls.most_common(20)
