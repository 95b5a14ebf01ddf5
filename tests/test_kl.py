"""The rate that the KL divergence has led to: the rule, what is kept, for how long, and which updates can tell."""

import io
import json
import math
import warnings
from dataclasses import asdict
from functools import partial

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule

from rl_abel import AbelCallback, KLAdaptiveCallback, RateByPart, finish
from rl_abel.rules.kl import KLRule, KLState, Update, kl_adapted, told
from tests.algorithms import Do, make_model
from tests.test_movers import KL_ALGORITHMS, rates_of, said_by

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm")


def reloaded(model, **changes):
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return type(model).load(buffer, env=model.get_env(), device="cpu", custom_objects=changes)


class Told(KLAdaptiveCallback):
    """Told what the KL divergence of each update was."""

    def __init__(self, *kls, **kwargs):
        super().__init__(**kwargs)
        self.kls = list(kls)

    def _measure(self):
        return Update(self.kls.pop(0) if self.kls else 0.01)


def learn(model, *kls, reset=False, callbacks=(), **kwargs):
    """Train for as many updates and one more; return the rates of all."""
    seen = rates_of(model, "PPO")
    kwargs = {"callback": [Told(*kls, **kwargs), *callbacks], "reset_num_timesteps": reset}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rl_abel: the KL divergence leads")
        model.learn((len(kls) + 1) * 20, **kwargs)
    rates = {timestep: rate for timestep, _, rate in seen}
    return [rates[timestep] for timestep in sorted(rates)]


# The rule


@pytest.mark.parametrize(
    ("rate", "kl", "adapted"),
    [
        (1e-3, 0.021, 1e-3 / 1.5),
        (1e-3, 0.0049, 1.5e-3),
        (1e-3, 0.02, 1e-3),
        (1e-3, 0.005, 1e-3),
        (1e-3, 0.0, 1e-3),
        (1e-3, -0.001, 1e-3),
        (1e-3, math.nan, 1e-3),
        (1.2e-5, 1.0, 1e-5),
        (8e-3, 0.001, 1e-2),
    ],
)
def test_kl_adapted(rate, kl, adapted):
    assert kl_adapted(rate, kl) == adapted


@pytest.mark.parametrize(
    ("logged", "steps", "whole", "own_target", "update"),
    [
        (0.01, 8, 8, None, Update(0.01)),
        (0.01, 8, 8, 0.02, Update(0.01)),
        (0.01, 4, 8, 0.02, Update(0.06, cut=True)),  # 1.5 times the model's own target, in half an update
        (0.05, 4, 8, 0.02, Update(0.1, cut=True)),
        (0.01, 0, 8, 0.02, Update(math.nan, cut=True)),
        (0.01, 1, 1, None, Update(math.nan)),
        (1e-8, 8, 8, None, Update(math.nan)),
        (math.inf, 8, 8, None, Update(math.nan)),
        (None, 8, 8, None, Update(math.nan)),
        (None, 4, 8, 0.02, Update(math.nan, cut=True)),
    ],
)
def test_what_an_update_tells(logged, steps, whole, own_target, update):
    assert repr(told(logged, steps, whole, own_target)) == repr(update)


FAR, LITTLE, LEVEL = Update(0.03), Update(0.001), Update(0.01)
RISEN = tuple((1e-3 * 1.5**n, 0.001) for n in range(6))


@pytest.mark.parametrize(
    ("state", "rate", "update", "after", "adapted", "said"),
    [
        (KLState(), 1e-3, LEVEL, KLState(), 1e-3, ""),
        (KLState(), 1.5e-3, FAR, KLState(((1.5e-3, 0.03),)), 1e-3, ""),
        (KLState(), 1e-3, LITTLE, KLState(((1e-3, 0.001),)), 1.5e-3, ""),
        (KLState(((1e-3, 0.03),)), 1e-3, LITTLE, KLState(((1e-3, 0.001),)), 1.5e-3, ""),
        (KLState(((1e-3, 0.03),), untold=9), 1e-3, LEVEL, KLState(), 1e-3, ""),
        (KLState(untold=8), 1e-3, Update(math.nan), KLState(untold=9), 1e-3, ""),
        (KLState(untold=9), 1e-3, Update(math.nan), KLState(untold=10), 1e-3, "untold"),
        (KLState(untold=10), 1e-3, Update(math.nan), KLState(untold=11), 1e-3, ""),
        (KLState(untold=9), 1e-3, Update(0.001, cut=True), KLState(untold=10), 1e-3, "cut"),
        (KLState(untold=9), 1.5e-3, Update(0.03, cut=True), KLState(((1.5e-3, 0.03),)), 1e-3, ""),
        # At a bound for ten updates, where one step has not shown yet whether the rate matters.
        (KLState(at_bound=9), 1e-2, LITTLE, KLState(((1e-2, 0.001),), 10), 1e-2, "max_learning_rate"),
        (KLState(at_bound=9), 1e-5, FAR, KLState(((1e-5, 0.03),), 10), 1e-5, "min_learning_rate"),
        # A rate that has risen tenfold and moved nothing.
        (KLState(RISEN, 9), 1e-2, LITTLE, KLState((*RISEN, (1e-2, 0.001)), leads=False), 1e-2, "unmoved"),
        (KLState(RISEN, 9), 1e-2, Update(0.004), KLState((*RISEN, (1e-2, 0.004)), leads=False), 1e-2, "unmoved"),
        (KLState(RISEN, 8), 1e-2, LITTLE, KLState((*RISEN, (1e-2, 0.001)), 9), 1e-2, ""),
    ],
)
def test_one_update(state, rate, update, after, adapted, said):
    found = KLRule().observe(state, rate, update)
    assert found == (after, pytest.approx(adapted), said)
    assert json.loads(json.dumps(asdict(found[0])))["leads"] is after.leads


def test_a_rate_that_may_not_rise_falls_all_the_same():
    assert KLRule().observe(KLState(), 1e-3, LITTLE, may_rise=False) == (KLState(), 1e-3, "")
    assert KLRule().observe(KLState(), 1.5e-3, FAR, may_rise=False)[1] == pytest.approx(1e-3)


# What is kept

SCHEDULES = {
    "constant": 1e-3,
    "linear": LinearSchedule(1e-3, 0.0, 1.0),
    "lambda": lambda remaining: 1e-3 * remaining,
    "warm-up": lambda remaining: 1e-3 * min(1, (1 - remaining) * 10),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_itself_is_kept(schedule):
    """At the end of a schedule that falls to 0, and over save and load, and in learns of one update each."""
    model = make_model("PPO", learning_rate=SCHEDULES[schedule])
    first, *rates = learn(model, 0.03, 0.03, 0.01, 0.001, 0.01, reset=True)
    assert rates == pytest.approx([first / 1.5, first / 2.25, first / 2.25, first / 1.5, first / 1.5])
    for trained in (model, reloaded(model)):
        assert learn(trained, 0.03) == pytest.approx([first / 1.5, first / 2.25])
        for _ in range(3):
            assert learn(trained) == pytest.approx([first / 2.25])


@pytest.mark.parametrize(
    "other", [3e-4, LinearSchedule(3e-4, 3e-4, 1.0), lambda _: 3e-4, torch.tensor(3e-4, dtype=torch.float64).item()]
)
@pytest.mark.parametrize("before", SCHEDULES)
def test_another_rate_of_the_users_is_where_it_begins(before, other):
    """Fine-tuned: what was found for the old rate bears on it no more."""
    model = make_model("PPO", learning_rate=SCHEDULES[before])
    learn(model, 0.001, 0.001, 0.001, reset=True)
    loaded = reloaded(model, learning_rate=other)
    assert learn(loaded, 0.03)[0] == pytest.approx(3e-4)
    model.learning_rate = other
    assert learn(reloaded(model))[0] == pytest.approx(3e-4)


def halved(remaining, rate):
    return rate * max(remaining, 0.5)


@pytest.mark.parametrize(
    "linear", [lambda rate: lambda remaining: rate * max(remaining, 0.5), lambda rate: partial(halved, rate=rate)]
)
def test_a_schedule_with_another_number_is_another(linear):
    model = make_model("PPO", learning_rate=linear(1e-3))
    *_, found = learn(model, 0.001, 0.001, reset=True)
    assert learn(reloaded(model, learning_rate=linear(1e-3))) == pytest.approx([found])
    assert learn(reloaded(model, learning_rate=linear(1e-4)))[0] <= 1e-4


@pytest.mark.parametrize("told", [True, False])
def test_after_a_reset_it_begins_anew(told):
    model = make_model("PPO")
    learn(model, 0.001, 0.001, reset=True)
    if not told:
        model.learn(100)
    assert learn(model, 0.03, reset=told) == pytest.approx([1e-3, 1e-3 / 1.5])


def test_the_factor_is_over_the_users_rate():
    model, kl = make_model("PPO", learning_rate=LinearSchedule(1e-3, 0.0, 1.0)), Told(0.03)
    assert kl.factor == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rl_abel: the KL divergence leads")
        model.learn(100, callback=kl)
    # The user's at the last update is 0.
    assert kl.factor == 1
    kl = Told(0.03, 0.01)
    make_model("PPO").learn(60, callback=kl)
    assert kl.factor == pytest.approx(1 / 1.5)


def test_a_memory_with_a_factor_begins_anew():
    model = make_model("PPO")
    model.learn(100)
    model.abel_state = {"version": 2, "kl": {"factor": 964.0, "timesteps": 100, "n_updates": 10}}
    assert learn(model, 0.03) == pytest.approx([1e-3, 1e-3 / 1.5])


def test_decays_and_parts_multiply_the_rate_that_was_found():
    model = make_model("PPO", learning_rate=LinearSchedule(1e-3, 0.0, 1.0))
    abel = AbelCallback(max_decays=0, final_decay_at=0.5, decay_factor=0.1)
    seen = rates_of(model, "PPO")
    learn(model, 0.03, *[0.01] * 8, reset=True, callbacks=[abel, RateByPart(value=2)])
    found = 1e-3 * 0.9 / 1.5
    assert {round(rate / found, 6) for timestep, part, rate in seen if part == "policy" and timestep > 20} == {1.0, 0.1}
    assert {round(rate / found, 6) for timestep, part, rate in seen if part == "value" and timestep > 20} == {2.0, 0.2}


@pytest.mark.parametrize("within", [True, False])
def test_a_finished_copy_has_the_rate_that_was_found(within):
    model, copies = make_model("PPO", learning_rate=LinearSchedule(1e-3, 0.0, 1.0)), []
    copy = Do(rollout_end=lambda m: copies.append(finish(m, 20)) if m.num_timesteps == 80 else None)
    *_, found = learn(model, 0.03, 0.01, 0.01, 0.01, reset=True, callbacks=[copy] if within else [])
    finished = copies[0] if within else finish(model, 20)
    assert finished.learning_rate == pytest.approx(found / 10)


# Which updates can tell


@pytest.mark.parametrize("name", KL_ALGORITHMS)
@pytest.mark.parametrize("n_epochs", [1, 8])
def test_an_update_that_target_kl_has_ended_never_raises_the_rate(name, n_epochs):
    """It had a step or few of all: what it moved is no measure of a whole one."""
    model = make_model(name, target_kl=1e-7, n_steps=64, batch_size=8, n_epochs=n_epochs, learning_rate=1e-3)
    steps, changes = [], []

    def note(model):
        steps.append(0)
        changes.append(model.lr_schedule(0))

    model.policy.optimizer.register_step_post_hook(lambda *_: steps.append(steps.pop() + 1))
    model.learn(64 * 12, callback=[KLAdaptiveCallback(), Do(rollout_end=note)])
    cut = [done < n_epochs * 8 for done in steps]
    assert any(0 < done < n_epochs * 8 for done in steps)
    assert all(after <= before for before, after, was_cut in zip(changes, changes[1:], cut) if was_cut)
    assert changes[-1] < 1e-3, "the model's own target counts, being smaller"


class Noisy(ActorCriticPolicy):
    """As with dropout: the log probabilities of an update are others than those of its rollout, at any rate."""

    def evaluate_actions(self, *args):
        values, log_prob, entropy = super().evaluate_actions(*args)
        return values, log_prob + 0.3 * torch.randn_like(log_prob), entropy


def noisy(**changes):
    kwargs = {"n_steps": 64, "batch_size": 32, "n_epochs": 2, "seed": 0, "device": "cpu", **changes}
    return PPO(Noisy, "CartPole-v1", policy_kwargs={"net_arch": [8]}, **kwargs)


def test_a_kl_that_no_rate_moves_leads_no_more():
    model, kl = noisy(), KLAdaptiveCallback()
    rates = []
    model.policy.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    [message] = said_by(lambda: model.learn(64 * 20, callback=kl))
    assert "something else makes it (dropout" in message
    assert min(rates) < 1e-4
    assert set(rates[-20:]) == {3e-4}, "the model's own again"
    assert kl.factor == 1


def test_an_update_that_is_ended_before_its_first_step_tells_nothing():
    model, kl = noisy(target_kl=0.01), KLAdaptiveCallback()
    [message] = said_by(lambda: model.learn(64 * 20, callback=kl))
    assert "did not tell whether" in message
    assert "target_kl ends them" in message
    assert kl.factor == 1


@pytest.mark.parametrize(
    ("kl", "rate", "says"),
    [
        (float("nan"), 1e-3, "no measure of it there"),
        (float("inf"), 1e-3, "no measure of it there"),
        (-1.0, 1e-3, "no measure of it there"),
        (0.0, 1e-3, "no measure of it there"),
        (1e-8, 1e-3, "no measure of it there"),
        (0.01, 1e-3, None),
        (1e-4, 1e-2, "something else makes it"),
    ],
)
def test_what_is_no_measure_does_not_lead(kl, rate, says):
    """Logged by an algorithm of a user's own."""
    model, rates = make_model("PPO"), []
    log = Do(rollout_start=lambda m: m.logger.record("train/approx_kl", kl) if m.num_timesteps else None)
    model.policy.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    said = said_by(lambda: model.learn(20 * 22, callback=[log, KLAdaptiveCallback()]))
    assert [says in message for message in said] == ([True] if says else [])
    assert max(rates) == pytest.approx(rate)
    assert rates[-1] == pytest.approx(1e-3)


def test_one_step_an_update_is_no_measure():
    """SB3 measures before each step, so before the only one."""
    model, kl = make_model("PPO", n_epochs=1), KLAdaptiveCallback()
    [message] = said_by(lambda: model.learn(20 * 14, callback=kl))
    assert "of one step" in message
    assert kl.factor == 1


@pytest.mark.parametrize(
    ("kls", "bound"),
    [
        ([4.0, 2.0, 1.0, 0.5, 0.25, 0.12, 0.06, 0.05, 0.04, 0.03] + [0.025] * 20, "min_learning_rate"),
        ([1e-6 * 2**i for i in range(8)] + [2e-4] * 20, "max_learning_rate"),
    ],
)
def test_long_at_a_bound_is_said_once(kls, bound):
    model = make_model("PPO")
    kl = Told(*kls, min_learning_rate=1e-4)
    [message] = said_by(lambda: model.learn((len(kls) + 1) * 20, callback=kl))
    assert (
        f"goes no further, while 10 updates in a row moved the policy too {'far' if bound[1] == 'i' else 'little'}"
        in message
    )
    assert f"Give another {bound}" in message
    assert kl.factor == pytest.approx(0.1 if bound[1] == "i" else 10)


def test_the_smallest_rate_raises_no_rate_of_the_users():
    model = make_model("PPO", learning_rate=1e-6)
    assert learn(model, 0.03, 0.001, reset=True) == pytest.approx([1e-6, 1e-6, 1.5e-6])
