"""The real algorithms of SBX, trained: what is measured, and which rates its compiled updates run at."""

import io
import os
import subprocess
import sys
from collections import defaultdict
from functools import cache

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv

from rl_abel import (
    AbelCallback,
    AutoLearningRate,
    BudgetRateCallback,
    KLAdaptiveCallback,
    RateByPart,
    finish,
    weight_norms,
)
from rl_abel.finishing.finish import FinishedEval
from rl_abel.inspection.readers.sb3_zip import read_saved
from rl_abel.networks.jax_models import injected_in
from rl_abel.reporting.advice import weight_decay
from rl_abel.rules.kl import kl_adapted
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
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_disable_most_optimizations": True,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
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


class SaveAt(BaseCallback):
    """Keeps a zip of the model at the first rollout from a timestep on."""

    def __init__(self, timestep):
        super().__init__()
        self.timestep, self.zip = timestep, None

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        if self.zip is None and self.num_timesteps >= self.timestep:
            self.zip = io.BytesIO()
            self.model.save(self.zip)


def movers():
    return [AbelCallback(DecayAt(3), final_decay_at=0.7, measure_every=1, diagnose=True), RateByPart(value=3)]


@cache
def trained(name):
    """A model that has been trained with movers, and what was seen on the way."""
    model, save = make_model(name, noting), SaveAt(80)
    SEEN.clear()
    model.learn(120, callback=[*(callbacks := movers()), save])
    seen = steps_since(model)
    model.learn(40, reset_num_timesteps=False)
    return model, callbacks[0], seen, steps_since(model), save.zip.getvalue()


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


@pytest.mark.parametrize(("name", "steps"), [("PPO", 24), ("SAC", 10), ("DQN", 10)])
def test_the_rate_from_the_budget_reaches_every_compiled_step(name, steps):
    model, budget = make_model(name, noting), BudgetRateCallback()
    SEEN.clear()
    model.learn(120, callback=budget)
    assert (budget.steps, budget.rate) == (steps, 0.01)
    parts = ["value"] if name == "DQN" else ["policy", "value"]
    assert steps_since(model) == {part: [pytest.approx(0.01)] for part in parts}
    assert type(model) is getattr(sbx, name)


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


def critic_rate(name):
    return RATE if name in ("PPO", "DQN") else CRITICS


@pytest.mark.parametrize("name", ["PPO", "SAC", "DQN", "TD3"])
def test_save_load_learn_goes_on(name):
    original, abel, *_, zipped = trained(name)
    model = type(original).load(io.BytesIO(zipped), env=original.get_env())
    # A zip holds the user's rates, not the moved ones.
    assert rates(model) == pytest.approx(
        {n: RATE if n == "actor" else critic_rate(name) for n in sizes(model)}, rel=1e-5
    )
    begun = [*model.abel_state["trace"]]
    if name != "PPO":
        model.replay_buffer = original.replay_buffer
    resumed, by_part = movers()
    SEEN.clear()
    model.learn(120 - model.num_timesteps, reset_num_timesteps=False, callback=[resumed, by_part])
    seen = steps_since(model)
    assert seen["value"] == pytest.approx([critic_rate(name) * 0.3, critic_rate(name) * 0.03], rel=1e-5)
    # An actor may be updated more rarely.
    assert name == "DQN" or seen["policy"][-1] == pytest.approx(RATE / 100, rel=1e-5)
    assert resumed.decays == abel.decays
    assert resumed.trace["timesteps"][: len(begun)] == abel.trace["timesteps"][: len(begun)]
    assert len(resumed.trace["timesteps"]) > len(begun) > 2


WITHOUT_US = """
import sys, warnings
sys.modules["rl_abel"] = None
warnings.simplefilter("ignore")
import gymnasium, sbx
for path in sys.argv[1:]:
    algorithm = getattr(sbx, path.rpartition("/")[2].removesuffix(".zip"))
    model = algorithm.load(path, env=gymnasium.make("Pendulum-v1"))
    updates = model._n_updates
    model.learn(40, reset_num_timesteps=False)
    print(type(model).__name__, updates, model._n_updates)
"""


def test_a_zip_loads_and_trains_on_with_sbx_alone(tmp_path):
    names = ["TD3"]
    for name in names:
        model, save = make_model(name), SaveAt(40)
        model.learn(60, callback=[AbelCallback(DecayAt(1), measure_every=1), RateByPart(value=3), save])
        (tmp_path / f"{name}.zip").write_bytes(save.zip.getvalue())
    paths = [str(tmp_path / f"{name}.zip") for name in names]
    run = subprocess.run([sys.executable, "-c", WITHOUT_US, *paths], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [kind for kind, *_ in lines] == names
    assert all(0 < int(before) < int(after) for _, before, after in lines)


# Where a rate cannot be moved


@pytest.mark.parametrize("name", ["DQN", "TD3"])
@pytest.mark.parametrize("derived", [False, True])
def test_a_rate_that_was_fixed_is_an_error_that_mends_it(name, derived):
    model = make_model(name, policy_kwargs={"net_arch": [6]})
    if derived:
        model.__class__ = type("Own", (type(model),), {})
    for mover in (AbelCallback(), RateByPart(value=3), AbelCallback(max_decays=0), AutoLearningRate()):
        with pytest.raises(ValueError, match="Build the model with") as error:
            model.learn(30, callback=mover)
    assert model.num_timesteps == 0
    # What it says is what mends it.
    words = str(error.value).partition("policy_kwargs=")[2].partition(", or measure")[0]
    mended = make_model(name, policy_kwargs=eval(words, {"optax": optax, "dict": dict}))
    assert {*rates(mended)} == {*sizes(mended)}
    assert mended.policy.optimizer_kwargs == model.policy.optimizer_kwargs


def test_a_rate_that_was_fixed_can_be_measured_beside():
    model = make_model("DQN", policy_kwargs={"net_arch": [6]})
    abel = AbelCallback(max_decays=0, final_decay_at=None, measure_every=1)
    model.learn(60, callback=abel)
    assert len(abel.trace["total"]) > 2
    assert abel.decays == []


def test_a_model_without_anything_to_measure_is_an_error():
    model = make_model("SAC")
    del model.policy.actor_state, model.policy.qf_state
    with pytest.raises(TypeError, match=r"nothing to measure in sbx\.sac\.sac\.SAC, a model of SBX: its policy, a SAC"):
        weight_norms(model)


# KL divergence


def test_the_kl_adaptive_rate_follows_the_kl_of_each_update():
    model, kl, seen = make_model("PPO", learning_rate=1e-4), KLAdaptiveCallback(), []

    class Note(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            if (value := model.logger.name_to_value.get("train/approx_kl")) is not None:
                seen.append((value, model.logger.name_to_value["train/learning_rate"]))

    model.learn(160, callback=[Note(), kl], log_interval=100)
    expected = [1e-4]
    for value, rate in seen:
        assert rate == pytest.approx(expected[-1])
        expected.append(kl_adapted(expected[-1], value))
    assert len(seen) == 7
    assert len(set(expected)) > 3
    assert kl.factor == pytest.approx(expected[-1] / 1e-4, rel=0.51)


def test_a_target_kl_of_sbx_is_a_rule_of_its_own():
    for mover in (KLAdaptiveCallback(), AutoLearningRate()):
        with pytest.raises(ValueError, match="adapts its learning rate to the KL divergence by itself"):
            make_model("PPO", target_kl=0.01).learn(40, callback=mover)
    with pytest.warns(UserWarning, match="with target_kl=0.01 PPO of SBX adapts its learning rate by itself"):
        make_model("PPO", target_kl=0.01).learn(40, callback=AbelCallback())


# What else changes rates or weights


def test_parameters_that_sbx_resets_begin_anew_at_the_moved_rate():
    model = make_model("TD3", noting, param_resets=[60])
    SEEN.clear()
    abel = AbelCallback(DecayAt(1), final_decay_at=None, measure_every=1)
    with pytest.warns(UserWarning, match="other weights are trained now"):
        model.learn(120, callback=abel)
    assert steps_since(model) == {
        # The rule begins anew too, and so decays once more.
        "policy": pytest.approx([RATE / 10, RATE / 100], rel=1e-5),
        "value": pytest.approx([CRITICS, CRITICS / 10, CRITICS / 100], rel=1e-5),
    }
    assert [*rates(model).values()] == pytest.approx([RATE, CRITICS], rel=1e-5)
    assert abel.trace["timesteps"][0] > 60


def test_an_interrupted_update_leaves_the_users_rates():
    model = make_model("TD3")
    train, calls = sbx.TD3._train, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*args)

    model._train = interrupted
    with pytest.raises(KeyboardInterrupt):
        model.learn(200, callback=RateByPart(value=3, policy=0.5))
    assert [*rates(model).values()] == pytest.approx([RATE, CRITICS], rel=1e-5)
    del model._train
    model.learn(40)
    assert [*rates(model).values()] == pytest.approx([RATE, CRITICS], rel=1e-5)
    assert isinstance(model, sbx.TD3)


def test_a_rate_that_does_not_follow_is_said():
    by_schedule = optax.inject_hyperparams(lambda learning_rate: optax.adam(learning_rate))
    own = lambda learning_rate: by_schedule(learning_rate=lambda step: 1e-3)  # noqa: E731
    model = make_model("DQN", policy_kwargs={"net_arch": [6], "optimizer_class": own})
    with pytest.warns(UserWarning, match="of 1 optimizers does not follow: the last update ran at 0.001 in place of"):
        model.learn(80, callback=AbelCallback(DecayAt(1), measure_every=1, final_decay_at=None))


def test_a_train_of_the_users_own_that_moves_nothing_is_said():
    model = make_model("DQN")
    model.train = lambda **kwargs: sbx.DQN.train(model, **kwargs)
    with pytest.warns(UserWarning, match="the learning rate has moved nothing: weights were updated outside of train"):
        model.learn(80, callback=AbelCallback(DecayAt(1), measure_every=1, final_decay_at=None))


@pytest.mark.parametrize(
    ("optimizer", "kwargs", "expected"),
    [
        (optax.adam, {}, 0.0),
        (optax.adamw, {}, 1e-4),
        (optax.adamw, {"weight_decay": 0.01}, 0.01),
        (optax.sgd, {}, 0.0),
    ],
)
@pytest.mark.parametrize("name", ["PPO", "TD3"])
@pytest.mark.parametrize("injected", [False, True])
def test_weight_decay_is_known(name, injected, optimizer, kwargs, expected):
    own = optax.inject_hyperparams(optimizer) if injected else optimizer
    policy = {"net_arch": [6], "optimizer_class": own, "optimizer_kwargs": kwargs}
    assert weight_decay(make_model(name, policy_kwargs=policy)) == expected


def rate_in(optimizer, rate):
    return optax.inject_hyperparams(optimizer)(learning_rate=rate)


@pytest.mark.parametrize(
    ("optimizer", "found"),
    [
        (optax.adam(0.1), []),
        (rate_in(optax.adam, 0.1), [0.1]),
        (optax.chain(optax.clip(1.0), rate_in(optax.adam, 0.1)), [0.1]),
        # The one outside is not read once the one inside has its state.
        (rate_in(lambda learning_rate: rate_in(optax.adam, learning_rate), 0.1), [0.1, 0.1]),
        (
            optax.multi_transform(
                {"kernel": rate_in(optax.adam, 0.1), "bias": rate_in(optax.sgd, 0.2)},
                {"params": {"Dense_0": {"kernel": "kernel", "bias": "bias"}}},
            ),
            [0.2, 0.1],
        ),
    ],
)
def test_every_rate_within_an_optimizer_is_found(optimizer, found):
    params = {"params": {"Dense_0": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}}}
    rates_there = [float(state.hyperparams["learning_rate"]) for state in injected_in(optimizer.init(params))]
    assert sorted(rates_there) == pytest.approx(sorted(found))


def test_layers_that_ppo_shares_count_once():
    env = make_vec_env(lambda: FakeImageEnv(screen_height=36, screen_width=36, n_channels=1))
    model = sbx.PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"net_arch": [4]})
    model.learn(8)
    params = [state.params["params"] for state in (model.policy.actor_state, model.policy.vf_state)]
    squares = [
        {name: sum(float(np.square(x).sum()) for x in jax.tree_util.tree_leaves(layer)) for name, layer in p.items()}
        for p in params
    ]
    [shared] = {name for name in squares[0] if name.startswith("NatureCNN")}
    assert squares[0][shared] == squares[1][shared]
    norms = weight_norms(model)
    assert norms["shared"] == pytest.approx(squares[0][shared], rel=1e-5)
    assert norms["total"] == pytest.approx(sum(map(sum, map(dict.values, squares))) - squares[0][shared], rel=1e-5)


# What is not supported


def test_what_is_not_supported_says_so(tmp_path):
    model = make_model("PPO")
    with pytest.raises(TypeError, match="a model of SBX cannot be finished, got PPO"):
        finish(model, 100)
    with pytest.raises(TypeError, match="a model of SBX cannot be finished, got PPO"):
        model.learn(40, callback=FinishedEval(gymnasium.make("Pendulum-v1"), 20, 20))
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="a model of SBX, whose weights are read by SBX alone"):
        read_saved(tmp_path / "model.zip")
    for change in ({"log_std": 2.0}, {"shared": 2.0}):
        with pytest.raises(ValueError, match=r"trains no such part at a rate of its own; it has \['policy', 'value'\]"):
            model.learn(40, callback=RateByPart(**change))


def test_without_movers_the_package_loads_no_jax():
    movers = "rl_abel.callbacks.abel, rl_abel.callbacks.kl_adaptive, rl_abel.callbacks.rate_by_part"
    code = f"import sys, {movers}; assert not {{'jax', 'sbx', 'optax'}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_batch_cannot_grow():
    with pytest.raises(ValueError, match="acts_on='batch_size': models of SBX compile for one size of the batch"):
        make_model("SAC").learn(60, callback=AbelCallback(acts_on="batch_size"))
