"""Every public object, before, during and after a training: pickled, copied, and used in a process of its own."""

import copy
import functools
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import gymnasium as gym
import numpy as np
import pytest
import torch

import rl_abel
from rl_abel import (
    AbelCallback,
    AutoLearningRate,
    BudgetRateCallback,
    Decay,
    FinishedEval,
    KLAdaptiveCallback,
    PaperRule,
    RateByPart,
    TrendRule,
    finish,
)
from tests.algorithms import DecayAt, Do, make_model

pytestmark = pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")

CALLBACKS = {
    "abel": lambda: AbelCallback(DecayAt(2, 4), measure_every=20),
    "part": lambda: AbelCallback(DecayAt(2, 4), watch="any", scope="part", diagnose=True, measure_every=20),
    "linear": lambda: AbelCallback("paper", max_decays=0, final_decay_shape="linear", min_learning_rate=1e-4),
    "batch": lambda: AbelCallback(DecayAt(2), acts_on="batch_size", measure_every=20),
    "auto": lambda: AutoLearningRate(max_decays=2, rule=DecayAt(3), target_kl=0.02, measure_every=20),
    "kl": KLAdaptiveCallback,
    "budget": BudgetRateCallback,
    "rates": lambda: RateByPart(policy=0.5, value=2),
    "finished": lambda: FinishedEval(gym.make("Pendulum-v1"), every=60, timesteps=20, n_eval_episodes=1),
}
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda given: pickle.loads(pickle.dumps(given))}
STEPS = 140
READ = ("factor", "factors", "decays", "trace", "diagnosis", "n_bounces", "multipliers", "finished", "_given")


def read(callback):
    """What a user reads off a callback, as text: NaN is not equal to itself."""
    return repr([getattr(callback, name, None) for name in READ])


def train(*callbacks):
    model = make_model("PPO", n_epochs=1, batch_size=10)
    model.learn(STEPS, callback=list(callbacks))
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().numpy()


def use(callback):
    """What a worker finds in what it was sent, and learns with it; and the same, to be sent back."""
    return read(callback), train(callback), callback


plain = functools.cache(lambda name: train(CALLBACKS[name]()))


@pytest.fixture(scope="module")
def worker():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_copy_of_a_callback_knows_what_it_knew_and_trains_as_a_new_one(name, worker):
    callback, copies = CALLBACKS[name](), {}

    def note(phase):
        known = read(callback)
        copies[phase] = {how: make(callback) for how, make in COPIES.items()}
        assert {how: read(made) for how, made in copies[phase].items()} == dict.fromkeys(COPIES, known)
        return known

    note("before")
    during = Do(step=lambda model: note("during") and None if model.num_timesteps == 90 else None)
    assert np.array_equal(train(callback, during), plain(name)), "to be copied changes nothing"
    known = note("after")
    for phase, made in copies.items():
        assert not hasattr(made["pickle"], "model"), phase
        assert np.array_equal(train(made["pickle"]), plain(name)), phase
        assert np.array_equal(train(made["copy"]), plain(name)), phase
        assert read(callback) == known, "a copy writes into nothing of the original's"
    arrived, weights, returned = worker.submit(use, callback).result()
    assert arrived == known
    assert np.allclose(weights, plain(name))
    assert np.array_equal(train(returned), plain(name))


def a_schedule():
    """The wrapped one, in the middle of a training, as bytes of a pickle and as a copy."""
    model, found = make_model("PPO"), []

    def note(model):
        found.extend(make(model.lr_schedule) for make in COPIES.values())

    model.learn(60, callback=[AbelCallback(DecayAt(1), measure_every=1), Do(training_start=note, rollout_end=note)])
    return found


def a_scheduler(steps):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = rl_abel.torch.AbelScheduler(optimizer, DecayAt(2), total_steps=4, parts={"policy": [weight]})
    return go_on(scheduler, steps)


def go_on(scheduler, steps):
    for _ in range(steps):
        [weight] = scheduler.optimizer.param_groups[0]["params"]
        weight.grad = torch.ones(2)
        scheduler.optimizer.step()
        scheduler.step()
    return scheduler


VALUES = {
    "TrendRule": lambda: TrendRule(12, 3.0, 0.1),
    "PaperRule": PaperRule,
    "Decay": lambda: Decay(20, "bounce", 0.5, "policy"),
    "torch.Decay": lambda: rl_abel.torch.Decay(3, "final", 0.1),
    **{f"AbelScheduler after {steps}": functools.partial(a_scheduler, steps) for steps in range(5)},
}


def told(value):
    if isinstance(value, rl_abel.torch.AbelScheduler):
        return repr((value.state_dict(), value.get_last_lr(), value.optimizer.param_groups))
    return repr((value, getattr(value, "part", None)))


@pytest.mark.parametrize("name", VALUES)
def test_a_copy_of_a_value_is_one_like_it(name, worker):
    value = VALUES[name]()
    known = told(value)
    copies = [*(make(value) for make in COPIES.values()), worker.submit(same, value).result()]
    assert [told(made) for made in copies] == [known] * 4
    if isinstance(value, rl_abel.torch.AbelScheduler):
        # A copy.copy shares the optimizer, as copies of torch's schedulers do, and torch sends tensors to
        # processes in memory that is shared.
        left = 4 - value.last_epoch
        assert {told(go_on(made, left)) for made in copies[1:3]} == {told(a_scheduler(4))}
        assert told(value) == known


def same(value):
    return value


def test_a_copy_of_the_wrapped_schedule_is_the_users_own():
    assert {schedule(1.0) for schedule in a_schedule()} == {1e-3}


def test_what_finish_returns_is_a_model_like_any_other():
    """To be copied or sent to a process SB3's models, once trained, refuse by themselves: they hold a loss's graph."""
    model = make_model("PPO")
    model.learn(60, callback=AutoLearningRate())
    finished = finish(model, 20)
    made = pickle.loads(pickle.dumps(finished))
    made.learn(20)
    assert made.lr_schedule(1.0) == finished.lr_schedule(0.5)
    for trained in (finished, model):
        with pytest.raises(RuntimeError, match="deepcopy"):
            copy.deepcopy(trained)
