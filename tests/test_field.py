"""Faults from the field: state of one training taken for another's, set up once and never compared, silence."""

import copy
import csv
import json
import math
import pickle
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, StopTrainingOnMaxEpisodes
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvMultiBinary, IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_abel import AbelCallback, AutoLearningRate, Decay, RateByPart, TrendRule, find_decays, weight_norms
from rl_abel.learning_rate.multiplied_schedule import MultipliedSchedule
from rl_abel.networks.norms import measured_parameters
from rl_abel.networks.optimizers import optimizers
from rl_abel.reporting.advice import weight_decay
from rl_abel.rules.decays import Budget
from rl_abel.training.state import MOST_MEASUREMENTS
from tests.algorithms import ALGORITHMS, ONE_OF_EACH, STEPS, DecayAt, Do, make_model, torch_optimizers

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm")
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


def rates_of(model):
    """Record (timestep, rate) of every optimizer step."""
    seen = []
    for optimizer in torch_optimizers(model):
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: seen.append((model.num_timesteps, optimizer.param_groups[0]["lr"]))
        )
    return seen


def said_by(train):
    """Our warnings, other than those about the number of measurements."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train()
    ours = [str(warning.message) for warning in caught if str(warning.message).startswith("rl_abel")]
    return [message for message in ours if "of the weight norm" not in message]


# A training has a beginning and an end


@pytest.mark.parametrize(
    ("begin", "end", "timestep", "progress"),
    [(0, 100, 85, 0.85), (400, 800, 740, 0.85), (0, None, 10**9, 0.0), (100, 100, 100, 0.0), (100, 300, 150, 0.25)],
)
def test_progress(begin, end, timestep, progress):
    assert Budget(begin, end).progress(timestep) == progress


@pytest.mark.parametrize("name", ["PPO", "DQN"])
@pytest.mark.parametrize("fresh", [True, False], ids=["a callback each", "one callback"])
def test_many_short_learns_decay_each_at_its_end(name, fresh):
    model = make_model(name)
    seen, abel = rates_of(model), AbelCallback(max_decays=0)
    for _ in range(12):
        model.learn(200, callback=AbelCallback(max_decays=0) if fresh else abel, reset_num_timesteps=False)
    begins = {(timestep - 1) // 200 for timestep, rate in seen if rate != 1e-3}
    assert begins == set(range(12)), "each of them is a training of its own"
    share = sum(rate != 1e-3 for _, rate in seen) / len(seen)
    assert 0.1 <= share <= 0.16
    assert all((timestep - 1) % 200 >= 170 for timestep, rate in seen if rate != 1e-3)


@pytest.mark.parametrize("more", [40, 60])
def test_a_finished_model_trained_on_by_little(more):
    """0.85 of the whole life was past: all that was added ran at a tenth."""
    model = make_model("PPO")
    model.learn(400, callback=AbelCallback())
    seen = rates_of(model)
    model.learn(more, callback=(abel := AbelCallback()), reset_num_timesteps=False)
    assert next(rate for _, rate in seen) == 1e-3
    assert all(rate == 1e-3 for timestep, rate in seen if timestep <= 400 + 0.85 * more)
    assert [decay for decay in abel.decays if decay.timestep <= 400] == []


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_the_trace_of_many_short_learns_thins_itself(name):
    model = make_model(name)
    for _ in range(40):
        model.learn(120, callback=AbelCallback(), reset_num_timesteps=False)
        assert len(model.abel_state["trace"]) <= MOST_MEASUREMENTS
    trace = AbelCallback()
    model.learn(120, callback=trace, reset_num_timesteps=False)
    timesteps = trace.trace["timesteps"]
    assert 60 <= len(timesteps) <= MOST_MEASUREMENTS
    assert timesteps == sorted(set(timesteps))
    assert timesteps[0] < 600, "thinned, not cut off"


@one_of_each
@pytest.mark.parametrize("cut", [90, 130])
def test_a_resume_goes_on_as_the_uninterrupted_run(name, cut, tmp_path):
    """The same measurements' places, decays and rates, though the environment begins anew."""
    rule = DecayAt(3, 7)
    whole, abel = make_model(name), AbelCallback(rule=rule, decay_factor=0.5)
    whole.learn(STEPS, callback=abel)
    model = make_model(name)
    model.learn(STEPS, callback=[AbelCallback(rule=rule, decay_factor=0.5), Do(step=lambda m: m.num_timesteps < cut)])
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=model.get_env())
    again = AbelCallback(rule=rule, decay_factor=0.5)
    loaded.learn(STEPS - loaded.num_timesteps, callback=again, reset_num_timesteps=False)
    if name != "ARS":  # its rollouts are as long as its episodes
        # SB3 itself loses the rollout that was cut, so on-policy the rest comes half a rollout later.
        assert abs(len(again.trace["timesteps"]) - len(abel.trace["timesteps"])) <= 2
        assert [decay[1:] for decay in again.decays] == [decay[1:] for decay in abel.decays]
        assert np.allclose([d.timestep for d in again.decays], [d.timestep for d in abel.decays], atol=20)
    assert again._state.budget == Budget(0, STEPS)


@pytest.mark.parametrize("extra", [300, 1000])
def test_a_reset_without_the_callback_ends_its_training(extra):
    model = make_model("PPO")
    model.learn(400, callback=AbelCallback(rule=DecayAt(2), measure_every=1, decay_factor=0.5))
    model.learn(extra)
    model.learn(200, callback=(abel := AbelCallback(measure_every=1)), reset_num_timesteps=False)
    assert abel.factor == pytest.approx(0.1), "its own final decay alone"
    assert abel.trace["timesteps"] == list(range(extra + 40, extra + 201, 20))


def test_a_model_first_trained_without_the_callback_has_its_budget_from_here():
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    model.learn(400)
    model.learn(200, callback=abel, reset_num_timesteps=False)
    assert abel.decays == [Decay(580, "final", 0.1)]


def test_of_a_zip_of_the_first_format_decays_stay(tmp_path):
    """Saved by the version before trainings had a beginning and an end, at 240 of 400 timesteps."""
    path = __file__.replace("test_field.py", "fixtures/state_version_0.zip")
    like = make_model("PPO")
    # What was pickled with numpy 2 no older one can read.
    arrays = {"observation_space": like.observation_space, "action_space": like.action_space}
    arrays |= {"_last_obs": None, "_last_episode_starts": None}
    model, abel = PPO.load(path, env=like.get_env(), custom_objects=arrays), AbelCallback(measure_every=20)
    [message] = said_by(lambda: model.learn(160, callback=abel, reset_num_timesteps=False))
    assert "of another version, so the measurements begin anew; decays that can be read stay" in message
    assert abel.decays == [Decay(80, "bounce", 0.5), Decay(380, "final", 0.1)]
    assert abel.n_bounces == 1
    assert abel.trace["timesteps"] == [*range(280, 401, 20)]
    model.learn(160, callback=(again := AbelCallback(measure_every=20)), reset_num_timesteps=False)
    assert again.decays == [Decay(80, "bounce", 0.5), Decay(540, "final", 0.1)], "read from now on"


@pytest.mark.parametrize(
    "state", [{"version": 99, "trace": []}, {}, "none", {"trace": [], "decays": [], "version": None}]
)
def test_a_memory_that_cannot_be_read_is_said(state):
    model = make_model("PPO")
    model.learn(100)
    model.abel_state = state
    [message] = said_by(lambda: model.learn(100, callback=AbelCallback(), reset_num_timesteps=False))
    assert "of another version" in message


# Few rollouts


@pytest.mark.parametrize(("rollouts", "decayed"), [(1, 0), (2, 0), (3, 0), (6, 0), (7, 1), (10, 1), (20, 3), (100, 15)])
@pytest.mark.parametrize("overshot", [0, 1, 13, 19])
def test_an_update_belongs_to_where_its_rollout_began(rollouts, decayed, overshot):
    model = make_model("PPO")
    seen = rates_of(model)
    model.learn(20 * rollouts - overshot, callback=AbelCallback(max_decays=0))
    assert sum(rate != 1e-3 for _, rate in seen) == 2 * decayed


@pytest.mark.filterwarnings("ignore:rl_abel. there is no final decay")
@pytest.mark.parametrize("env", [IdentityEnv(4), IdentityEnvMultiDiscrete(4), IdentityEnvMultiBinary(4)])
def test_a_peers_own_test_of_learning(env):
    """tests/test_identity.py::test_discrete of stable-baselines3: five rollouts, the last of which overshoots."""
    vec_env = DummyVecEnv([lambda: env])
    model = PPO("MlpPolicy", vec_env, gamma=0.4, learning_rate=0.002, seed=3, n_epochs=4, n_steps=256, device="cpu")
    model.learn(1200, callback=AbelCallback())
    assert evaluate_policy(model, vec_env, n_eval_episodes=20, warn=False)[0] > 90


def test_rollouts_outside_of_a_training():
    """As a test of stable-baselines3 collects them."""
    model = make_model("PPO")
    _, callback = model._setup_learn(100, AbelCallback())
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=20)


def test_no_budget_no_final_decay():
    """A loop of a user's own, that calls the callback by hand."""
    model, abel = make_model("PPO"), AbelCallback(verbose=1)
    model._logger = Logger(None, [])
    model._total_timesteps = 0
    abel.init_callback(model)
    abel.on_training_start({}, {})
    with pytest.warns(UserWarning, match="no budget is known"):
        abel.on_rollout_start()
    for _ in range(20):
        abel.on_rollout_start()
        model.num_timesteps += 20
        abel.on_step()
        abel.on_rollout_end()
        with torch.no_grad():
            model.policy.value_net.bias.add_(0.1)
        model._n_updates += 1
    abel.on_training_end()
    assert abel.decays == []
    assert len(abel.trace["total"]) == 19


@pytest.mark.parametrize("make", [AutoLearningRate, AbelCallback, lambda **_: RateByPart(value=2)])
@pytest.mark.parametrize("name", ["PPO", "SAC", "DQN"])
def test_a_training_without_an_end(name, make):
    model = make_model(name)
    stop = Do(step=lambda model: model.num_timesteps < 200)
    told = said_by(lambda: model.learn(math.inf, callback=[make(verbose=1), stop]))
    assert not getattr(model, "abel_state", {}).get("decays")
    # Only who decays near the end, or takes the rate from the budget, misses one.
    from_steps = ["the learning rate stays your own"] * (name != "PPO" and make is AutoLearningRate)
    missed = [*from_steps, *["no budget is known"] * (make in (AutoLearningRate, AbelCallback))]
    assert [part in line for part, line in zip(missed, told, strict=True)] == [True] * len(missed)
    # From here on there is one.
    end = model.num_timesteps + 300
    abel = AbelCallback()
    model.learn(300, callback=abel, reset_num_timesteps=False)
    assert [cause for _, cause, _ in abel.decays] == ["final"]
    assert abel.decays[0].timestep < end


@pytest.mark.parametrize("total", [300.0, np.int64(300), np.float32(300)])
def test_a_budget_of_any_type(total):
    model, abel = make_model("PPO"), AbelCallback()
    model.learn(total, callback=abel)
    assert [decay.timestep for decay in abel.decays] == [260]
    json.dumps(model.abel_state)


# Set up once, never compared


def test_the_critics_warm_up():
    """The actor is frozen at first: it is measured from when it is trained."""
    model, abel = make_model("SAC"), AbelCallback(measure_every=1, decay_factor=0.5, rule=DecayAt(5))

    def freeze(model, frozen):
        for parameter in model.actor.parameters():
            parameter.requires_grad_(not frozen)

    freeze(model, True)
    thaw = Do(step=lambda m: freeze(m, m.num_timesteps < 100))
    [message] = said_by(lambda: model.learn(200, callback=[thaw, abel]))
    assert "other weights are trained now (new: actor.latent_pi.0.weight" in message
    assert list(abel.trace) == ["timesteps", "total", "policy", "value"]
    assert min(abel.trace["timesteps"]) >= 100
    assert abel.factor == pytest.approx(0.5 * 0.5 * 0.5), "decays stay: one before, one after, the final one"


def test_an_optimizer_of_the_actor_alone():
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)

    def replace(model):
        if model.num_timesteps == 100:
            policy = model.policy
            model.policy.optimizer = torch.optim.Adam(
                [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()], lr=1e-3
            )

    messages = said_by(lambda: model.learn(200, callback=[Do(rollout_end=replace), abel]))
    assert any("other weights are trained now" in message for message in messages)
    assert list(abel.trace) == ["timesteps", "total", "policy"]
    assert abel.trace["timesteps"] == [100, 120, 140, 160, 180, 200]


def test_a_last_layer_that_is_replaced():
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    old = model.policy.value_net.weight

    def replace(model):
        if model.num_timesteps == 100:
            model.policy.value_net = torch.nn.Linear(8, 1)
            model.policy.optimizer = torch.optim.Adam(model.policy.parameters(), lr=1e-3)

    [message] = said_by(lambda: model.learn(200, callback=[Do(rollout_end=replace), abel]))
    assert "new: value_net.weight, value_net.bias; no longer: value_net.weight" in message
    assert all(old is not tensor for tensor in measured_parameters(model)["value"].values())
    assert abel.trace["timesteps"] == [100, 120, 140, 160, 180, 200]
    assert len(set(abel.trace["value"])) == 6


def test_another_network_with_the_memory_of_one_before():
    model = make_model("PPO")
    model.learn(200, callback=AbelCallback(measure_every=1))
    other, abel = make_model("PPO", policy_kwargs={"net_arch": [16]}), AbelCallback(measure_every=1)
    other.abel_state, other.num_timesteps, other._n_updates = model.abel_state, 200, 20
    [message] = said_by(lambda: other.learn(100, callback=abel, reset_num_timesteps=False))
    assert "their number differs" in message
    assert abel.trace["timesteps"] == [220, 240, 260, 280, 300]


# A guess whose gaps are silent


class Wrapper:
    """As Lookahead and SAM wrap an optimizer, without being one."""

    def __init__(self, inner):
        self.inner = inner
        self.param_groups = inner.param_groups

    def step(self, *arguments):
        self.inner.step(*arguments)

    def zero_grad(self, *arguments, **kwargs):
        self.inner.zero_grad(*arguments, **kwargs)


class Seen:
    """As accelerate wraps an optimizer."""

    def __init__(self, inner):
        self.inner = inner

    @property
    def param_groups(self):
        return self.inner.param_groups


@pytest.mark.parametrize(
    "place",
    [
        lambda model, optimizer: setattr(model, "optimizers", {"both": optimizer}),
        lambda model, optimizer: setattr(model, "optimizers", [None, optimizer]),
        lambda model, optimizer: setattr(model.policy, "optimizers", (optimizer,)),
        lambda model, optimizer: setattr(model, "own", optimizer),
        lambda model, optimizer: setattr(model, "own", Wrapper(optimizer)),
        lambda model, optimizer: setattr(model.policy, "own", Seen(optimizer)),
        lambda model, optimizer: setattr(model.policy, "own", {"a": Wrapper(optimizer)}),
    ],
    ids=["dict", "list", "tuple", "algorithm", "wrapper", "groups of what it wraps", "wrapped in a dict"],
)
def test_optimizers_are_found_where_they_are(place):
    model = make_model("PPO")
    norms = weight_norms(model)
    optimizer = torch.optim.AdamW(model.policy.parameters(), weight_decay=0.25)
    del model.policy.optimizer
    place(model, optimizer)
    assert len(optimizers(model)) == 1
    assert weight_norms(model) == norms
    assert weight_decay(model) == 0.25


def test_optimizers_of_others_do_not_count():
    """An opponent in the environment has a model of its own."""
    model, opponent = make_model("PPO"), make_model("PPO")
    model.get_env().opponent = opponent
    assert optimizers(model) == [model.policy.optimizer]


def test_frozen_weights_do_not_count():
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    whole = weight_norms(model)
    for parameter in model.policy.mlp_extractor.policy_net.parameters():
        parameter.requires_grad_(False)
    frozen = sum(p.square().sum().item() for p in model.policy.mlp_extractor.policy_net.parameters())
    assert weight_norms(model)["policy"] == pytest.approx(whole["policy"] - frozen, abs=1e-5)
    assert said_by(lambda: model.learn(100, callback=abel)) == []
    assert len(abel.trace["total"]) == 4


@one_of_each
def test_nothing_is_said_where_all_is_well(name):
    assert said_by(lambda: make_model(name).learn(STEPS, callback=AbelCallback())) == []


def test_weights_without_an_optimizer_are_said():
    model = make_model("PPO")
    model.policy.extra = torch.nn.Linear(2, 2)
    callbacks = [AbelCallback(), AbelCallback()]
    messages = said_by(lambda: [model.learn(60, callback=callbacks[0], reset_num_timesteps=False) for _ in range(3)])
    assert len(messages) == 1
    assert "2 trainable tensors of the policy belong to no optimizer" in messages[0]
    assert "extra.weight" in messages[0]


def test_no_optimizer_at_all_is_said():
    model = make_model("PPO")
    kept = []

    class Hidden:
        __slots__ = ()

        def step(self):
            kept[0].step()

        def zero_grad(self):
            kept[0].zero_grad()

    kept.append(model.policy.optimizer)
    model.policy.optimizer = Hidden()
    model._update_learning_rate = lambda optimizers: None
    abel = AbelCallback(measure_every=1)
    [message] = said_by(lambda: model.learn(100, callback=abel))
    assert "no optimizer of the policy's weights was found on PPO" in message
    assert len(abel.trace["total"]) == 4


def test_weights_outside_of_the_policy_are_said():
    """An encoder on the algorithm, trained by an optimizer of its own."""
    model = make_model("SAC")
    model.encoder = torch.nn.Linear(3, 3)
    model.encoder_optimizer = torch.optim.Adam(model.encoder.parameters())
    [message] = said_by(lambda: model.learn(60, callback=AbelCallback()))
    assert "2 tensors that optimizers of SAC own are not in its policy" in message


def test_all_frozen_is_said_and_nothing_breaks():
    model = make_model("PPO")
    for parameter in model.policy.parameters():
        parameter.requires_grad_(False)
    model.train = lambda: None
    abel = AbelCallback()
    [message] = said_by(lambda: model.learn(100, callback=abel))
    assert "no weight of the policy is trained now" in message
    assert abel.trace == {"timesteps": [], "total": []}


def write_through_data(model):
    for parameter in model.policy.parameters():
        parameter.data.add_(0.001)


@pytest.mark.parametrize(
    ("learn", "measured"),
    [
        (lambda model: None, 0),  # nothing
        (lambda model: setattr(model, "_n_updates", model._n_updates + 1), 0),  # counted, and nothing moved
        (write_through_data, 9),  # moved, and neither SB3 nor torch has counted
        (lambda model: [p.data.add_(0.001) for p in model.policy.parameters()], 9),
    ],
)
def test_the_weights_are_the_proof_of_learning(learn, measured):
    model, abel = make_model("PPO"), AbelCallback(measure_every=1, final_decay_at=None)
    model.train = lambda: learn(model)
    model.learn(200, callback=abel)
    assert len(abel.trace["total"]) == measured


def test_complex_weights_have_two_parts():
    weight = torch.tensor([3 + 4j, 1j])
    from rl_abel.networks.diagnosis import Diagnosis
    from rl_abel.networks.norms import squared_norms

    assert squared_norms([[weight]]) == [26.0]
    diagnosis = Diagnosis()
    diagnosis.observe(1, {"policy": {"w": weight}}, {})
    diagnosis.observe(2, {"policy": {"w": 2 * weight}}, {})
    assert diagnosis.latest["displacement_policy"] == 26.0


def test_a_policy_without_parameters_is_an_error():
    model = make_model("PPO")
    model.policy = type("Nothing", (torch.nn.Module,), {})()
    with pytest.raises(TypeError, match=r"ppo\.PPO: its policy, a Nothing, has no parameters of PyTorch$"):
        weight_norms(model)


# Decoration


class Strange(DummyVecEnv):
    """As a simulator's: what is called envs is no list."""

    @property
    def envs(self):
        return self._envs

    @envs.setter
    def envs(self, envs):
        self._envs = dict(enumerate(envs))


@pytest.mark.parametrize("tensorboard", [True, False])
def test_no_row_layout_or_hint_raises(tensorboard, tmp_path, monkeypatch):
    from rl_abel.reporting import advice
    from rl_abel.reporting import tensorboard as pages

    def fail(*_):
        raise RuntimeError("a fault in what is only to be looked at")

    model = make_model("PPO", tensorboard_log=str(tmp_path) if tensorboard else None)
    monkeypatch.setattr(pages, "hparams", fail)
    monkeypatch.setattr(pages, "layout", fail)
    monkeypatch.setattr(advice, "at_start", fail)
    abel = AbelCallback()
    messages = said_by(lambda: model.learn(200, callback=abel))
    assert len(messages) == (3 if tensorboard else 1)
    assert all("the training goes on" in message for message in messages)
    assert abel.decays


@pytest.mark.parametrize("envs", [{}, {"a": 1}, None, 3, [None]])
def test_the_row_of_an_environment_that_is_not_sb3s(envs, tmp_path):
    model = make_model("PPO", tensorboard_log=str(tmp_path))
    model.get_env().venv = type("Simulator", (), {"envs": envs})()
    assert said_by(lambda: model.learn(60, callback=AbelCallback())) == []


# Promises are verified


@pytest.mark.parametrize("name", ["PPO", "SAC"])
@pytest.mark.parametrize(
    "set_rate",
    [
        lambda model: setattr(model, "lr_schedule", lambda _: 2e-3),
        lambda model: (setattr(model, "learning_rate", 2e-3), model._setup_lr_schedule()),
    ],
    ids=["lr_schedule", "learning_rate"],
)
@pytest.mark.parametrize("first", [True, False], ids=["before ours", "after ours"])
def test_what_others_set_is_multiplied(name, set_rate, first):
    """Once, at a rollout's start: the decays stay in force."""
    model, abel = (
        make_model(name),
        AbelCallback(rule=DecayAt(2), measure_every=1, decay_factor=0.5, final_decay_at=None),
    )
    other = Do(rollout_start=lambda m: set_rate(m) if 120 <= m.num_timesteps < 140 else None)
    seen = rates_of(model)
    assert said_by(lambda: model.learn(STEPS, callback=[other, abel] if first else [abel, other])) == []
    assert {rate for timestep, rate in seen if timestep > 160} == {2e-3 * 0.5}


def test_a_schedule_that_calls_ours_is_multiplied_once():
    model, abel = (
        make_model("PPO"),
        AbelCallback(rule=DecayAt(2), measure_every=1, decay_factor=0.5, final_decay_at=None),
    )

    def halve(model):
        if model.num_timesteps == 120:
            before = model.lr_schedule
            model.lr_schedule = lambda remaining: 0.5 * before(remaining)

    seen = rates_of(model)
    model.learn(STEPS, callback=[abel, Do(rollout_start=halve)])
    assert {rate for timestep, rate in seen if timestep > 140} == {1e-3 * 0.5 * 0.5}


def test_a_schedule_set_after_ours_is_said():
    model, abel = make_model("PPO"), AbelCallback(rule=DecayAt(2), measure_every=1, final_decay_at=None)
    other = Do(rollout_end=lambda model: setattr(model, "lr_schedule", lambda _: 1e-3))
    [message] = said_by(lambda: model.learn(STEPS, callback=[abel, other]))
    assert "1 of 1 parameter groups does not follow" in message
    assert "1 of 1 parameter groups does not follow: the last update ran at 0.001" in message
    assert said_by(lambda: make_model("PPO").learn(STEPS, callback=[other, AbelCallback(rule=DecayAt(2))])) == []


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_schedule_that_counts_its_calls_is_asked_as_often_as_without_the_callback(name):
    calls = []
    for others in ([], [AbelCallback(rule=DecayAt(2, 4), measure_every=1)]):
        asked = []
        model = make_model(name, learning_rate=lambda remaining, asked=asked: asked.append(remaining) or 1e-3)
        before = len(asked)
        model.learn(STEPS, callback=others)
        calls.append(asked[before:])
    assert calls[0] == calls[1]


def test_a_callback_that_is_a_dataclass():
    """It has no hash, and is equal to another of the same values."""

    @dataclass
    class Own(BaseCallback):
        every: int = 1

        def __post_init__(self):
            super().__init__()

        def _on_step(self):
            return True

    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    model.learn(100, callback=[Own(), CallbackList([Own(), abel])])
    assert len(abel.trace["total"]) == 4


class OwnRate(SAC):
    """Keeps the critic at its own rate."""

    def _update_learning_rate(self, optimizers):
        super()._update_learning_rate([o for o in optimizers if o is not self.critic.optimizer])


def test_a_rate_of_the_algorithms_own_is_said():
    kwargs = {**ALGORITHMS["SAC"][2], "policy_kwargs": {"net_arch": [8]}}
    model = OwnRate("MlpPolicy", "Pendulum-v1", learning_rate=1e-3, seed=0, device="cpu", **kwargs)
    [message] = said_by(lambda: model.learn(200, callback=AbelCallback()))
    assert "1 of 2 parameter groups does not follow" in message
    stopped = [AbelCallback(rule=DecayAt(2)), Do(step=lambda m: m.num_timesteps < 100)]
    assert len(said_by(lambda: model.learn(200, callback=stopped))) == 1
    resumed = said_by(lambda: model.learn(100, callback=AbelCallback(), reset_num_timesteps=False))
    assert len(resumed) == 1, "and after a resume"


@one_of_each
def test_after_learn_the_model_trains_at_its_own_rate(name, tmp_path):
    """The live model and the saved one alike."""
    model = make_model(name)
    model.learn(STEPS, callback=AbelCallback(rule=DecayAt(2), measure_every=1))
    assert not isinstance(model.lr_schedule, MultipliedSchedule)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=model.get_env())
    for trained in (model, loaded):
        seen = rates_of(trained)
        trained.learn(60, reset_num_timesteps=False)
        assert {rate for _, rate in seen} == {1e-3} or name == "ARS"
        assert trained.lr_schedule(1.0) == 1e-3


def test_after_an_interrupt_too():
    """Which skips on_training_end."""
    model = make_model("PPO")

    def interrupt(model):
        if model.num_timesteps == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.learn(200, callback=[AbelCallback(rule=DecayAt(2), measure_every=1), Do(step=interrupt)])
    seen = rates_of(model)
    model.learn(60, reset_num_timesteps=False)
    assert {rate for _, rate in seen} == {1e-3}


def test_no_rollout_start_is_no_reason_to_refuse():
    """Forks of SB3 leave it out."""
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    abel.on_rollout_start = lambda: None
    model.learn(200, callback=CallbackList([CallbackList([abel])]))
    assert abel.decays == [Decay(180, "final", 0.1)]
    assert len(abel.trace["total"]) == 9


# The quick start, and budgets that are not meant


def test_the_quick_start_measures_about_a_hundred_times():
    """Default rollouts of 2048 in 100,000 timesteps are 49: weights are measured within updates too."""
    model, abel = PPO("MlpPolicy", "CartPole-v1", batch_size=2048, device="cpu", seed=0), AbelCallback()
    told = said_by(lambda: model.learn(10_000, callback=[abel, Do(step=lambda m: m.num_timesteps < 2 * 2048 + 1)]))
    assert [line.partition(":")[2][:28] for line in told] == [" there is no final decay: th"]
    model.learn(100_000, callback=[abel := AbelCallback(), Do(step=lambda m: m.num_timesteps < 3 * 2048 + 1)])
    assert abel.trace["timesteps"] == [2048 + 1024, 2 * 2048, 2 * 2048 + 1024, 3 * 2048, 3 * 2048 + 1024]


def test_within_an_update_weights_are_measured_at_ends_of_epochs():
    model, abel = make_model("PPO", n_epochs=4), AbelCallback(max_decays=0, final_decay_at=None)
    norms = []
    model.policy.optimizer.register_step_post_hook(lambda *_: norms.append(weight_norms(model)["total"]))
    model.learn(500, callback=abel)
    assert abel.trace["timesteps"] == [20 + 5 * i for i in range(1, 97)]
    assert abel.trace["total"] == norms[: len(abel.trace["total"])]


def test_a_trace_that_thins_itself_within_an_update_goes_on_in_order():
    """Half the measurements from there on, each later than the one before."""
    model = make_model("PPO", n_epochs=20)
    for _ in range(10):
        model.learn(100, callback=(abel := AbelCallback()), reset_num_timesteps=False)
        timesteps = abel.trace["timesteps"]
        assert timesteps == sorted(set(timesteps))


@pytest.mark.parametrize("name", ["PPO", "MaskablePPO", "RecurrentPPO"])
def test_hooks_end_with_the_training(name):
    model = make_model(name)
    model.learn(400, callback=AbelCallback())
    assert not model.policy.optimizer._optimizer_step_post_hooks


def test_a_bounce_within_an_update_decays_the_next():
    model, abel = make_model("PPO"), AbelCallback(rule=DecayAt(3), decay_factor=0.5, final_decay_at=None)
    seen = rates_of(model)
    model.learn(400, callback=abel)
    [decay] = abel.decays
    assert decay.timestep % 20 == 10
    first = min(timestep for timestep, rate in seen if rate == 0.5e-3)
    assert first == (decay.timestep // 20 + 1) * 20
    assert all((rate == 0.5e-3) == (timestep >= first) for timestep, rate in seen)
    assert find_decays(abel.trace["total"], rule=DecayAt(3)) == [2]


def test_a_training_that_others_stop_early_says_so():
    model = make_model("A2C")
    stop = StopTrainingOnMaxEpisodes(5)
    with pytest.warns(UserWarning, match=r"1 measurement .* every 10,000,000 timesteps; it stopped at .* of 1,000,000"):
        model.learn(1e9, [AbelCallback(), stop])


# Logs


def test_a_logger_that_is_replaced(tmp_path):
    model, abel = make_model("PPO"), AbelCallback(measure_every=20)

    def replace(model):
        if model.num_timesteps == 100:
            loggers.append(configure(str(tmp_path / "b"), ["csv", "tensorboard"]))
            model.set_logger(loggers[-1])

    loggers = [configure(str(tmp_path / "a"), ["csv"])]
    model.set_logger(loggers[0])
    model.learn(200, callback=[Do(rollout_start=replace), abel])
    for logger in loggers:
        logger.close()
    with open(tmp_path / "b" / "abel.csv") as file:
        assert [int(row["timesteps"]) for row in csv.DictReader(file)] == abel.trace["timesteps"]


def test_nothing_is_written_where_logging_is_off(tmp_path):
    model = make_model("PPO")
    logger = configure(str(tmp_path), ["csv"])
    model.set_logger(logger)
    model.learn(200, callback=AbelCallback(), log_interval=None)
    logger.close()
    assert [path.name for path in tmp_path.iterdir()] == ["progress.csv"]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    model, abel = make_model("PPO"), AbelCallback(measure_every=20)
    logger = configure(str(tmp_path / "log"), ["csv"])
    model.set_logger(logger)
    messages = said_by(
        lambda: model.learn(
            200, callback=[abel, Do(training_start=lambda _: (tmp_path / "log").rename(tmp_path / "other"))]
        )
    )
    logger.close()
    assert len(messages) == 1
    assert "abel.csv could not be written" in messages[0]
    assert len(abel.trace["total"]) == 9


# Small things


def test_numbers_of_numpy_and_true_for_verbose():
    rule = TrendRule(window=np.int64(12), z=np.float32(3.5), depth=np.float64(0.0))
    assert rule == TrendRule(12, 3.5, 0.0)
    assert (type(rule.window), type(rule.z)) == (int, float)
    assert AbelCallback(verbose=True).verbose == 1
    assert AbelCallback(verbose=False).verbose == 0
    assert AbelCallback(diagnose=np.bool_(True)).diagnose is True


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda callback: pickle.loads(pickle.dumps(callback))])
def test_a_callback_can_be_copied_after_a_training(clone):
    model, abel = make_model("PPO"), AbelCallback(rule="paper", diagnose=True)
    model.learn(200, callback=abel)
    again = clone(abel)
    assert (again.factor, again.decays, again.trace) == (abel.factor, abel.decays, abel.trace)
    model.learn(200, callback=again, reset_num_timesteps=False)
    assert again.trace["timesteps"][-1] > 380


def test_what_is_said_is_said_once(capsys):
    model, abel = make_model("PPO"), AbelCallback(max_decays=None, verbose=1, final_decay_at=None)
    for _ in range(5):
        model.learn(60, callback=abel, reset_num_timesteps=False)
    assert capsys.readouterr().out.count("weight decay") == 1


def test_a_warning_names_the_users_line():
    model = make_model("PPO")
    model.policy.extra = torch.nn.Linear(2, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(60, callback=AbelCallback(max_decays=0))
    assert [warning.filename for warning in caught] == [__file__]


def test_dqn_is_measured_by_its_online_network_alone():
    model = DQN("MlpPolicy", "CartPole-v1", learning_starts=10, policy_kwargs={"net_arch": [8]}, device="cpu")
    model.learn(60, callback=AbelCallback(measure_every=1, max_decays=0))
    assert all("target" not in name for named in measured_parameters(model).values() for name in named)
    assert re.match("value", next(iter(measured_parameters(model))))
    assert math.isfinite(weight_norms(model)["total"])
