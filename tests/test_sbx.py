"""The real algorithms of SBX, trained: what is measured, and which rates its compiled updates run at."""

import io
import os
import subprocess
import sys
import zipfile
from collections import defaultdict
from functools import cache

import numpy as np
import pytest

from rl_abel import AbelCallback, AutoLearningRate, KLAdaptiveCallback, RateByPart, finish, weight_norms
from rl_abel.finishing import FinishedEval
from tests.algorithms import DecayAt

MISSING = "these tests train models of SBX, which is not installed: pip install rl_abel[sbx]"
jax = pytest.importorskip("jax", reason=MISSING)
optax = pytest.importorskip("optax", reason=MISSING)
sbx = pytest.importorskip("sbx", reason=MISSING)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # JAX's own
    pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm"),
]

FROM_SCHEDULE = ["PPO", "SAC", "TQC"]
FIXED = ["TD3", "DDPG", "DQN", "CrossQ"]
ALL = FROM_SCHEDULE + FIXED
RATE, CRITICS = 1e-3, 5e-4


@pytest.fixture(autouse=True, scope="module")
def _compiled_once(tmp_path_factory):
    """JAX compiles for each model anew; what it has compiled is found in a folder."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (folder, 0)):
        jax.config.update(name, value)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    yield
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    for name, value in before.items():
        jax.config.update(name, value)


def make_model(name, optimizer=None, **changes):
    kwargs = {"learning_rate": RATE, "seed": 0}
    if name == "PPO":
        kwargs |= {"n_steps": 20, "batch_size": 10, "n_epochs": 2}
    else:
        kwargs |= {"learning_starts": 20, "batch_size": 8, "buffer_size": 200, "train_freq": 10}
    if name not in ("PPO", "DQN"):
        kwargs["qf_learning_rate"] = CRITICS
    injected = optax.inject_hyperparams(optimizer or optax.adam)
    policy = {"net_arch": [6], "optimizer_class": injected if name in FIXED else optimizer or optax.adam}
    env = "CartPole-v1" if name == "DQN" else "Pendulum-v1"
    return getattr(sbx, name)("MlpPolicy", env, **{**kwargs, "policy_kwargs": policy, **changes})


def sizes(model):
    """An oracle of its own: numbers in each network, by SBX's names."""
    found = {}
    for name in ("actor", "vf", "qf", "qf1", "qf2"):
        if state := getattr(model.policy, f"{name}_state", None):
            found[name] = sum(leaf.size for leaf in jax.tree_util.tree_leaves(state.params))
    return found


def rates(model):
    """The rate in the state of each network's optimizer."""
    found = {}
    for name in sizes(model):
        state = getattr(model.policy, f"{name}_state").opt_state
        found[name] = float(optax.tree_utils.tree_get(state, "learning_rate"))
    return found


SEEN = []


def noting(learning_rate, weight_decay=0.0):
    """Adam, which notes the rate of each step from within the compiled update, and whose network it is."""
    adam = optax.adamw(learning_rate, weight_decay=weight_decay)

    def update(updates, state, params=None):
        size = sum(leaf.size for leaf in jax.tree_util.tree_leaves(updates))
        jax.debug.callback(lambda rate: SEEN.append((size, float(rate))), learning_rate)
        return adam.update(updates, state, params)

    return optax.GradientTransformation(adam.init, update)


def steps_since(model):
    """Rates of the steps since the last call, of actor and critic in order, each once where it repeats."""
    jax.effects_barrier()
    names, found = {size: name for name, size in sizes(model).items()}, defaultdict(list)
    for size, rate in SEEN:
        part = "policy" if names[size] == "actor" else "value"
        if not found[part] or found[part][-1] != pytest.approx(rate, rel=1e-5):
            found[part].append(rate)
    SEEN.clear()
    return dict(found)


@cache
def trained(name):
    """A model that has been trained with movers, and what was seen on the way."""
    model, zips = make_model(name, noting), []
    SEEN.clear()
    abel = AbelCallback(DecayAt(3), final_decay_at=0.7, decay_factor=0.1, measure_every=1, diagnose=True)
    model.learn(120, callback=[abel, RateByPart(value=3)])
    seen = steps_since(model)
    model.learn(40, reset_num_timesteps=False)
    return model, abel, seen, steps_since(model), zips


@pytest.mark.parametrize("name", ALL)
def test_every_compiled_step_runs_at_the_moved_rate(name):
    model, _, seen, without_us, _ = trained(name)
    critic = RATE if name in ("PPO", "DQN") else CRITICS
    expected = {"policy": [RATE, RATE / 10, RATE / 100], "value": [critic * 3, critic * 0.3, critic * 0.03]}
    plain = {"policy": [RATE], "value": [critic]}
    parts = ["value"] if name == "DQN" else ["policy", "value"]
    assert seen == {part: pytest.approx(expected[part], rel=1e-5) for part in parts}
    assert without_us == {part: pytest.approx(plain[part], rel=1e-5) for part in parts}
    assert type(model) is getattr(sbx, name)
    assert rates(model) == pytest.approx({n: RATE if n == "actor" else critic for n in sizes(model)}, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_norms_and_terms_are_those_of_the_networks(name):
    model, abel, *_ = trained(name)
    expected = defaultdict(float)
    for network in sizes(model):
        params = getattr(model.policy, f"{network}_state").params
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            part = "policy" if network == "actor" else "value"
            part = "log_std" if "log_std" in str(path) else part
            expected[part] += float(np.square(np.asarray(leaf, np.float64)).sum())
    expected["total"] = expected["policy"] + expected["value"]
    assert weight_norms(model) == pytest.approx({part: value for part, value in expected.items() if value}, rel=1e-6)
    assert set(abel.trace) == {"timesteps", *weight_norms(model)}
    assert len(abel.trace["total"]) == len(set(abel.trace["total"])) > 4
    assert [(decay.cause, decay.factor) for decay in abel.decays] == [("bounce", 0.1), ("final", 0.1)]
    moved = np.diff(abel.trace["total"])
    terms = [np.array(abel.diagnosis[f"{term}_total"][1:]) for term in ("displacement", "alignment")]
    assert terms[0] + terms[1] == pytest.approx(moved, rel=1e-3, abs=1e-7)
