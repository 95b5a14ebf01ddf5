"""The rate that follows from the number of optimizer steps: foretold steps, who gets the rate, and what is said."""

import io
import math
import re

import pytest
import torch
from stable_baselines3 import DQN, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize
from torch.optim.optimizer import register_optimizer_step_post_hook

from rl_abel import AbelCallback, BudgetRateCallback, KLAdaptiveCallback, RateByPart, finish
from rl_abel.rules.budget import budget_rate
from rl_abel.torch import BudgetScheduler
from tests.algorithms import ALGORITHMS, STEPS, Do, make_model, torch_optimizers
from tests.test_movers import said_by

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm")


def small(algorithm, env, **changes):
    kwargs = {"learning_starts": 20, "batch_size": 16, "buffer_size": 1000, "policy_kwargs": {"net_arch": [8]}}
    return algorithm("MultiInputPolicy" if "replay_buffer_class" in changes else "MlpPolicy", env, **kwargs | changes)


@pytest.mark.parametrize(
    ("steps", "scale", "most", "rate"),
    [
        (10_000, 0.3, 1e-2, 3e-3),
        (1_000_000, 0.3, 1e-2, 3e-4),
        (90_000, 0.3, 1e-2, 1e-3),
        (900, 0.3, 1e-2, 1e-2),
        (901, 0.3, 1e-2, 0.3 / 901**0.5),
        (1, 0.3, 1e-2, 1e-2),
        (0, 0.3, 1e-2, 1e-2),
        (10_000, 0.15, 1e-2, 1.5e-3),
        (10_000, 0.3, 1e-3, 1e-3),
    ],
)
def test_the_rate(steps, scale, most, rate):
    assert budget_rate(steps, scale, most) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("total", "changes", "rates"),
    [
        (10_000, {}, {0: 3e-3, 7999: 3e-3, 8000: 3e-3, 9000: 1.5e-3, 9900: 1.5e-4, 10_000: 0.0, 11_000: 0.0}),
        (10_000, {"final_decay_at": None}, {0: 3e-3, 10_000: 3e-3}),
        (10_000, {"final_decay_at": 0.5}, {5000: 3e-3, 7500: 1.5e-3}),
        (10_000, {"scale": 0.1, "max_learning_rate": 5e-4}, {0: 5e-4, 9000: 2.5e-4}),
        (100, {}, {0: 1e-2, 90: 5e-3}),
    ],
)
def test_the_scheduler(total, changes, rates):
    """All groups alike, over save and load of the state in its middle, whatever the rate was before."""
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]

    def made():
        groups = [{"params": [one], "lr": rate} for one, rate in zip(parameters, (1e-5, 1.0))]
        optimizer = torch.optim.Adam(groups)
        return optimizer, BudgetScheduler(optimizer, total, **changes)

    (optimizer, scheduler), found = made(), {}
    for step in range(max(rates) + 1):
        found[step] = [group["lr"] for group in optimizer.param_groups]
        assert scheduler.get_last_lr() == found[step]
        optimizer.step()
        scheduler.step()
        if step == total // 2:
            state = optimizer.state_dict(), scheduler.state_dict()
            optimizer, scheduler = made()
            optimizer.load_state_dict(state[0])
            scheduler.load_state_dict(state[1])
    assert {step: found[step] for step in rates} == {step: pytest.approx([rate] * 2) for step, rate in rates.items()}


class Counted(Do):
    """Notes the rate of each step of each optimizer, by its place."""

    def __init__(self):
        super().__init__(training_start=self.watch)
        self.rates = {}

    def watch(self, model):
        places = {
            "temperature": getattr(model, "ent_coef_optimizer", None),
            "value": getattr(getattr(model, "critic", None), "optimizer", getattr(model.policy, "optimizer", None)),
            "policy": getattr(getattr(model, "actor", None), "optimizer", None),
        }
        for place, optimizer in places.items():
            if optimizer is not None:
                self.rates[place] = seen = []
                optimizer.register_step_post_hook(lambda o, *_, seen=seen: seen.append(o.param_groups[0]["lr"]))


CHANGES = {
    "as it is": {},
    "two environments": {"n_envs": 2},
    "as many as timesteps": {"gradient_steps": -1},
    "as many, two environments": {"gradient_steps": -1, "n_envs": 2},
    "three an update": {"gradient_steps": 3},
    "a late start": {"learning_starts": 101},
    "an uneven rollout": {"train_freq": 7},
}


def cases():
    for name, (_, env, _) in ALGORITHMS.items():
        if name != "ARS":
            yield pytest.param(name, "as it is", id=name)
            if isinstance(env, str):
                yield pytest.param(name, "two environments", id=f"{name} two environments")
    yield from [pytest.param("TD3", what, id=f"TD3 {what}") for what in [*CHANGES][2:]]


def changed(name, what):
    changes = dict(CHANGES[what])
    if "n_envs" not in changes:
        return make_model(name, **changes)
    algorithm, env, kwargs = ALGORITHMS[name]
    env = make_vec_env(env, changes.pop("n_envs"), seed=0)
    policy = {"RecurrentPPO": "MlpLstmPolicy"}.get(name, "MlpPolicy")
    kwargs = {**kwargs, "policy_kwargs": dict(kwargs["policy_kwargs"]), **changes}
    return algorithm(policy, env, **kwargs, learning_rate=1e-3, device="cpu")


@pytest.mark.parametrize(("name", "what"), [*cases()])
def test_as_many_steps_are_made_as_were_foretold_and_all_at_the_rate(name, what):
    model, budget, counted = changed(name, what), BudgetRateCallback(), Counted()
    model.learn(STEPS + 3, callback=[budget, counted])
    assert budget.steps == len(counted.rates["value"]) > 0
    assert budget.rate == budget_rate(budget.steps)
    for place, rates in counted.rates.items():
        own = 1e-3 if place == "temperature" else budget.rate
        assert rates == pytest.approx([own] * len(rates)), place
    steps = budget.steps
    # Again, with a reset: the weights have been trained for as long.
    model.learn(STEPS + 3, callback=[again := BudgetRateCallback()])
    assert again.steps == pytest.approx(2 * steps, abs=3 * steps // 50)


def test_dict_observations_replayed_goals_and_normalised_rewards():
    env = VecNormalize(make_vec_env(lambda: BitFlippingEnv(4, continuous=True), 1), norm_obs=False)
    model = small(SAC, env, replay_buffer_class=HerReplayBuffer, train_freq=(1, "episode"), gradient_steps=-1)
    counted = Counted()
    model.learn(200, callback=[budget := BudgetRateCallback(), counted])
    assert budget.steps == pytest.approx(len(counted.rates["value"]), abs=8), "an episode begins before training does"
    assert set(counted.rates["policy"]) == {budget.rate}


def test_images():
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=True)
    model = DQN("CnnPolicy", env, learning_starts=20, batch_size=8, buffer_size=100, policy_kwargs={"net_arch": [8]})
    counted = Counted()
    model.learn(60, callback=[budget := BudgetRateCallback(), counted])
    assert counted.rates["value"] == [budget.rate] * budget.steps


def resumed(model):
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return type(model).load(buffer, env=model.get_env(), device="cpu")


def rates_of(model, timesteps, *callbacks, reset=False):
    counted = Counted()
    model.learn(timesteps, callback=[BudgetRateCallback(), *callbacks, counted], reset_num_timesteps=reset)
    return counted.rates["value"]


def test_a_training_that_is_resumed_keeps_its_rate():
    stop = Do(step=lambda model: model.num_timesteps < 1000)
    model = make_model("TD3")
    whole = rates_of(model, 1820, stop)
    assert len(whole) == 244
    again = resumed(model)
    assert rates_of(again, 1820 - again.num_timesteps) == pytest.approx([whole[0]] * 205, rel=1e-3)


def test_in_many_short_learns_the_rate_only_falls():
    model, rates = make_model("DQN", train_freq=1, learning_starts=0), []
    for _ in range(20):
        rates += rates_of(model, 400)
        model = resumed(model)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.3 / 8000**0.5, rel=1e-2)


def test_decays_and_multipliers_apply_to_it_and_a_decay_alone_to_the_temperature():
    counted, abel = Counted(), AbelCallback(max_decays=0, final_decay_at=0.5)
    make_model("SAC").learn(1620, callback=[BudgetRateCallback(), abel, RateByPart(value=2), counted])
    rate = budget_rate(400)
    expected = {"value": 2 * rate, "policy": rate, "temperature": 1e-3}
    for place, rates in counted.rates.items():
        assert rates[0] == pytest.approx(expected[place])
        assert rates[-1] == pytest.approx(expected[place] / 10)


def test_an_optimizer_that_sb3_does_not_set_keeps_its_rate():
    model = make_model("SAC")
    model.extra = torch.optim.Adam([extra := torch.nn.Parameter(torch.ones(2))], lr=0.5)
    extra.grad = torch.ones(2)
    seen = []
    model.extra.register_step_post_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
    train = model.train

    def training(*args, **kwargs):
        train(*args, **kwargs)
        model.extra.step()

    model.train = training
    model.learn(STEPS, callback=BudgetRateCallback())
    assert set(seen) == {0.5}


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("name", ["TD3", "SAC"])
def test_a_finished_copy_has_the_rate_that_was_found(name, within):
    model, seen = make_model(name), []

    def finishing(m):
        hook = register_optimizer_step_post_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
        finished = finish(m, 20)
        hook.remove()
        return finished

    copy = Do(rollout_end=lambda m: finishing(m) if m.num_timesteps == 200 else None)
    model.learn(1020, callback=[budget := BudgetRateCallback(), *([copy] if within else [])])
    rate = budget.rate
    assert rate == budget_rate(250)
    if not within:
        assert finishing(model).learning_rate == pytest.approx(rate / 10 if name == "TD3" else 1e-4)
    rates = {rate / 10, 1e-4} if name == "SAC" else {rate / 10}
    assert {round(one, 9) for one in seen} == {round(one, 9) for one in rates}


def episodes(**changes):
    return small(DQN, "CartPole-v1", train_freq=(1, "episode"), **changes)


def sgd():
    return make_model("TD3", policy_kwargs={"net_arch": [8], "optimizer_class": torch.optim.SGD})


SAID = {
    "no budget": (lambda: make_model("TD3"), math.inf, ["stays your own: .* learn.. has no budget"]),
    "episodes": (episodes, 200, [r"stays your own: .* train_freq=\(1, 'episode'\) and gradient_steps=1"]),
    "no step": (lambda: make_model("TD3", learning_starts=500), 200, ["stays your own: .* none fits"]),
    "long": (lambda: make_model("TD3"), 10**9, [r"249,999,995 optimizer steps, so the learning rate is 1.9e-05"]),
    "SGD": (sgd, 200, ["chosen with Adam, and SGD is another"]),
    "schedule": (
        lambda: make_model("TD3", learning_rate=LinearSchedule(1e-3, 0.0, 1.0)),
        200,
        ["the number of optimizer steps leads the learning rate from 0.01 on, and the schedule"],
    ),
    "nothing": (lambda: episodes(gradient_steps=-1), 200, []),
}


@pytest.mark.parametrize("what", SAID)
def test_what_is_said(what):
    make, timesteps, expected = SAID[what]
    model = make()
    stop = Do(step=lambda m: m.num_timesteps < 200)
    budget = BudgetRateCallback()
    said = said_by(lambda: model.learn(timesteps, callback=[budget, stop]))
    assert len(said) == len(expected), said
    for message, pattern in zip(said, expected):
        assert re.search(pattern, message), message
    own = "stays your own" in "".join(said)
    assert (budget.rate is None) == own
    if own:
        assert {o.param_groups[0]["lr"] for o in torch_optimizers(model)} <= {1e-3, 1e-4}, "SB3's, or the test's"


def test_other_steps_than_foretold_are_said():
    class Thrice(TD3):
        def train(self, gradient_steps, batch_size=100):
            super().train(3 * gradient_steps, batch_size)

    model = small(Thrice, "Pendulum-v1")
    [message] = said_by(lambda: model.learn(200, callback=BudgetRateCallback()))
    assert "made 540 optimizer steps and not the 180 from which the learning rate of 0.01 was taken" in message


def test_who_cannot_have_it():
    with pytest.raises(ValueError, match="BudgetRateCallback sets the rate of optimizers, and ARS has none"):
        make_model("ARS").learn(STEPS, callback=BudgetRateCallback())
    with pytest.raises(ValueError, match="one LeadingCallback a model, got BudgetRateCallback and KLAdaptiveCallback"):
        make_model("PPO").learn(STEPS, callback=[BudgetRateCallback(), KLAdaptiveCallback()])


def test_it_is_in_the_logs():
    seen = []
    model = make_model("SAC")
    note = Do(step=lambda m: seen.append(dict(m.logger.name_to_value)) or True)
    model.learn(1820, callback=[budget := BudgetRateCallback(), note], log_interval=1)
    assert all("abel/budget_factor" in values for values in seen)
    assert seen[-1]["abel/budget_factor"] == budget.factor == pytest.approx(budget.rate / 1e-3)
    assert [values["train/learning_rate"] for values in seen if "train/learning_rate" in values][-1] == budget.rate
