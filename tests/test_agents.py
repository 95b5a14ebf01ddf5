"""The agents: the table, what is built from it, optimizers that decay matrices alone."""

import copy
import json
import math
import sys
from dataclasses import FrozenInstanceError, replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC

from agents import LEARNING_RATE_SCALE, PRESETS, REGULARIZATIONS, find_preset, make_agent, regularized_optimizer
from agents.networks import MinAtarCnn
from agents.optimizers import MatrixAdam, MatrixAdamW, MatrixSGD
from envs import ENVS, FAMILIES, find_env, make_env

MEASUREMENTS = 101
TINY = {
    "n_steps": 8, "batch_size": 8, "n_epochs": 2,
    "learning_starts": 10, "buffer_size": 200, "train_freq": 4, "gradient_steps": 2,
}  # fmt: skip
SMALL_NETWORK = {"net_arch": [8]}
REGULARIZED = [name for name in REGULARIZATIONS if name != "none"]


def tiny(preset):
    """Return the preset with short rollouts and few updates, and what to override to get it."""
    overrides = {key: value for key, value in TINY.items() if key in preset.hyperparameters}
    n_envs = min(preset.n_envs, 2)
    return replace(preset, n_envs=n_envs, hyperparameters=preset.hyperparameters | overrides), overrides


def agent(algorithm, env_id, seed=0, learning_rate=1e-3, n_envs=2, **settings):
    """Build a small agent on one of the classic environments."""
    env = make_env(env_id, n_envs, seed)
    settings["policy_kwargs"] = SMALL_NETWORK | settings.get("policy_kwargs", {})
    _, overrides = tiny(find_preset(algorithm, env_id))
    return make_agent(algorithm, env_id, env, learning_rate=learning_rate, seed=seed, **overrides | settings)


def optimizers(model):
    networks = [model.policy] if hasattr(model.policy, "optimizer") else [model.actor, model.critic]
    return [network.optimizer for network in networks]


def weights(model):
    return {name: value.detach().clone() for name, value in model.policy.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_table():
    # The rest are test tasks of docs/results/automatic_plan.md.
    others = {"InvertedPendulum-v5", "LunarLanderContinuous-v3", "MountainCar-v0", "MountainCarContinuous-v0"}
    assert {env_id for algorithm, env_id in PRESETS if algorithm == "PPO"} == set(ENVS) - others
    assert {key for key in PRESETS if key[0] != "PPO"} == {
        ("A2C", "CartPole-v1"), ("A2C", "LunarLander-v3"), ("DQN", "MountainCar-v0"), ("QRDQN", "MountainCar-v0"),
        ("SAC", "MountainCarContinuous-v0"), ("TD3", "LunarLanderContinuous-v3"), ("DDPG", "InvertedPendulum-v5"),
        ("TQC", "InvertedPendulum-v5"), ("CrossQ", "InvertedPendulum-v5"),
        ("DQN", "CartPole-v1"), ("DQN", "Acrobot-v1"), ("DQN", "LunarLander-v3"), ("DQN", "MinAtar/Breakout-v1"),
        ("SAC", "Pendulum-v1"), ("SAC", "HalfCheetah-v5"), ("SAC", "Hopper-v5"),
        ("TD3", "Pendulum-v1"),
        ("CrossQ", "Pendulum-v1"), ("CrossQ", "HalfCheetah-v5"), ("CrossQ", "Hopper-v5"),
        ("PPO-SimBa", "CartPole-v1"), ("PPO-SimBa", "Acrobot-v1"), ("PPO-SimBa", "Pendulum-v1"),
        ("PPO-SimBa", "LunarLander-v3"), ("PPO-SimBa", "HalfCheetah-v5"), ("PPO-SimBa", "Hopper-v5"),
        ("SAC-SimBa", "Pendulum-v1"), ("SAC-SimBa", "HalfCheetah-v5"), ("SAC-SimBa", "Hopper-v5"),
    }  # fmt: skip


@pytest.mark.parametrize("key", PRESETS)
def test_a_preset_is_plain_data_with_a_constant_rate_and_enough_rollouts(key):
    preset = PRESETS[key]
    assert (preset.algorithm, preset.env_id) == key
    assert json.loads(json.dumps(preset.hyperparameters)) == preset.hyperparameters
    assert isinstance(preset.learning_rate, float)
    assert "learning_rate" not in preset.hyperparameters
    assert preset.n_trainings(preset.timesteps) >= MEASUREMENTS
    assert preset.source
    with pytest.raises(FrozenInstanceError):
        preset.n_envs = 1


@pytest.mark.parametrize(
    ("algorithm", "env_id", "timesteps", "rollout", "trainings", "updates"),
    [
        ("PPO", "CartPole-v1", 100_000, 256, 391, 391 * 20),  # one batch an epoch
        ("PPO", "CartPole-v1", 256, 256, 1, 20),
        ("PPO", "CartPole-v1", 257, 256, 2, 40),  # SB3 finishes the rollout it has begun
        ("A2C", "CartPole-v1", 4_000, 40, 100, 100),
        ("DQN", "CartPole-v1", 50_000, 256, 196 - 3, 193 * 128),  # no training up to step 768
        ("DQN", "Acrobot-v1", 1_000, 4, 250, 1_000),  # as many updates as steps
        ("SAC", "Pendulum-v1", 1_000, 1, 900, 900),
        ("SAC", "Pendulum-v1", 50, 1, 0, 0),
    ],
)
def test_rollouts_and_updates_within_a_budget(algorithm, env_id, timesteps, rollout, trainings, updates):
    preset = find_preset(algorithm, env_id)
    assert preset.rollout_timesteps == rollout
    assert preset.n_trainings(timesteps) == trainings
    assert preset.n_updates(timesteps) == updates


@pytest.mark.parametrize(
    ("algorithm", "env_id", "message"),
    [
        ("ppo", "CartPole-v1", r"algorithm must be one of \['PPO', .*, got 'ppo'"),
        ("TD3", "CartPole-v1", r"env_id with algorithm 'TD3' must be one of \['Pendulum-v1', .*\], got 'CartPole-v1'"),
    ],
)
def test_an_unknown_preset_lists_the_known_ones(algorithm, env_id, message):
    with pytest.raises(ValueError, match=message):
        find_preset(algorithm, env_id)


@pytest.mark.parametrize("key", PRESETS, ids="-".join)
def test_a_preset_trains_as_often_as_it_says(key):
    if not all(map(find_spec, FAMILIES[find_env(key[1]).family])):
        pytest.skip(f"needs the extra {find_env(key[1]).family!r}")
    preset, overrides = tiny(PRESETS[key])
    env = make_env(preset.env_id, preset.n_envs, 0, normalize=preset.normalize, gamma=preset.gamma)
    before = copy.deepcopy(PRESETS[key])
    model = make_agent(*key, env, learning_rate=preset.learning_rate, seed=0, **overrides)
    assert PRESETS[key] == before
    updates = []
    optimizers(model)[-1].register_step_post_hook(lambda *_: updates.append(1))
    timesteps = 4 * preset.rollout_timesteps + 1
    start = weights(model)
    model.learn(timesteps)
    assert len(updates) == preset.n_updates(timesteps) > 0
    assert not equal(weights(model), start)
    env.close()


@pytest.mark.parametrize(
    ("algorithm", "env_id", "plain"),
    [
        ("PPO", "Pendulum-v1", lambda env: PPO("MlpPolicy", env, 1e-3, 8, 8, 2, 0.9, seed=1, device="cpu")),
        ("A2C", "CartPole-v1", lambda env: A2C("MlpPolicy", env, 1e-3, 8, seed=1, device="cpu")),
        (
            "SAC",
            "Pendulum-v1",
            lambda env: SAC(
                "MlpPolicy", env, 1e-3, 200, 10, 8, train_freq=4, gradient_steps=2, seed=1, device="cpu"
            ),
        ),
        (
            "DQN",
            "CartPole-v1",
            lambda env: DQN(
                "MlpPolicy", env, 1e-3, 200, 10, 8, train_freq=4, gradient_steps=2, target_update_interval=10,
                exploration_fraction=0.16, exploration_final_eps=0.04, seed=1, device="cpu",
                policy_kwargs={"net_arch": [256, 256]},
            ),
        ),
    ],
)  # fmt: skip
def test_without_regularization_a_model_is_sb3s_own_to_the_last_bit(algorithm, env_id, plain):
    _, overrides = tiny(find_preset(algorithm, env_id))
    optimizer_class, optimizer_kwargs = regularized_optimizer(algorithm, "none", 0.0)
    model = make_agent(
        algorithm, env_id, make_env(env_id, 2, 1), learning_rate=1e-3, seed=1,
        optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs, **overrides,
    )  # fmt: skip
    ours = weights(model.learn(64))
    # Not sooner: a model's seed is that of the whole process.
    theirs = weights(plain(make_env(env_id, 2, 1)).learn(64))
    assert equal(ours, theirs)


def test_a_seed_gives_the_same_model_again_and_no_other_seed_does():
    one, again, other = (weights(agent("PPO", "CartPole-v1", seed).learn(64)) for seed in (3, 3, 4))
    assert equal(one, again)
    assert not equal(one, other)


def test_two_groups_that_do_not_decay_train_as_sb3s_one():
    plain = agent("PPO", "Pendulum-v1").learn(64)
    for optimizer_class in (MatrixAdam, MatrixAdamW):
        assert equal(weights(plain), weights(agent("PPO", "Pendulum-v1", optimizer_class=optimizer_class).learn(64)))


@pytest.mark.parametrize(
    ("algorithm", "env_id", "settings", "optimizer_class", "kept"),
    [
        ("PPO", "CartPole-v1", {"optimizer_kwargs": {"weight_decay": 0.1}}, torch.optim.Adam, {"eps": 1e-5}),
        ("PPO", "CartPole-v1", {"optimizer_class": torch.optim.AdamW}, torch.optim.AdamW, {"eps": 1e-5}),
        ("PPO", "CartPole-v1", {"optimizer_kwargs": {"eps": 1e-7}}, torch.optim.Adam, {"eps": 1e-7}),
        ("PPO", "CartPole-v1", {"optimizer_class": torch.optim.SGD}, torch.optim.SGD, {"momentum": 0}),
        (
            "A2C", "CartPole-v1", {"optimizer_kwargs": {"weight_decay": 0.1}}, torch.optim.RMSprop,
            {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0.1},
        ),
        ("DQN", "CartPole-v1", {"optimizer_kwargs": {"weight_decay": 0.1}}, torch.optim.Adam, {"eps": 1e-8}),
        (
            "CrossQ", "Pendulum-v1", {"optimizer_kwargs": {"weight_decay": 0.1}}, torch.optim.Adam,
            {"betas": (0.5, 0.999)},
        ),
        ("CrossQ", "Pendulum-v1", {}, torch.optim.Adam, {"betas": (0.5, 0.999)}),
    ],
)  # fmt: skip
def test_what_sb3_sets_of_an_optimizer_is_kept(algorithm, env_id, settings, optimizer_class, kept):
    model = agent(algorithm, env_id, **settings)
    for optimizer in optimizers(model):
        assert type(optimizer) is optimizer_class
        given = settings.get("optimizer_kwargs", {})
        assert {key: optimizer.param_groups[0][key] for key in kept | given} == kept | given


@pytest.mark.parametrize(
    ("algorithm", "regularization", "optimizer_class", "optimizer_kwargs"),
    [
        ("PPO", "none", None, None),
        ("PPO", "adamw", MatrixAdamW, {"eps": 1e-5, "weight_decay": 0.1}),
        ("PPO", "adam-l2", MatrixAdam, {"eps": 1e-5, "weight_decay": 0.1}),
        ("PPO-SimBa", "adamw", MatrixAdamW, {"eps": 1e-5, "weight_decay": 0.1}),
        ("PPO", "sgd-l2", MatrixSGD, {"momentum": 0.9, "dampening": 0.9, "weight_decay": 0.1}),
        ("A2C", "adamw", MatrixAdamW, {"eps": 1e-5, "weight_decay": 0.1}),
        ("SAC", "adamw", MatrixAdamW, {"weight_decay": 0.1}),
        ("CrossQ", "adamw", MatrixAdamW, {"betas": (0.5, 0.999), "weight_decay": 0.1}),
    ],
)
def test_regularized_optimizer(algorithm, regularization, optimizer_class, optimizer_kwargs):
    weight_decay = 0.0 if regularization == "none" else 0.1
    assert regularized_optimizer(algorithm, regularization, weight_decay) == (optimizer_class, optimizer_kwargs)


def test_every_regularization_has_a_scale_of_its_rate():
    assert list(LEARNING_RATE_SCALE) == list(REGULARIZATIONS)


@pytest.mark.parametrize(
    ("regularization", "weight_decay", "message"),
    [
        ("l2", 0.1, r"regularization must be one of \['none', 'adamw', 'adam-l2', 'sgd-l2'\], got 'l2'"),
        ("none", 0.1, 'weight_decay must be 0 with regularization "none", got 0.1'),
        ("adamw", 0.0, "weight_decay must be a finite number above 0 with regularization 'adamw', got 0.0"),
        ("adamw", -1.0, "got -1.0"),
        ("adamw", math.nan, "got nan"),
        ("adamw", math.inf, "got inf"),
    ],
)
def test_regularization_out_of_range(regularization, weight_decay, message):
    with pytest.raises(ValueError, match=message):
        regularized_optimizer("PPO", regularization, weight_decay)


@pytest.mark.parametrize("regularization", REGULARIZED)
@pytest.mark.parametrize(
    ("algorithm", "env_id"), [("PPO", "Pendulum-v1"), ("CrossQ", "Pendulum-v1"), ("DQN", "Acrobot-v1")]
)
def test_without_gradients_matrices_shrink_and_nothing_else_does(algorithm, env_id, regularization):
    optimizer_class, optimizer_kwargs = regularized_optimizer(algorithm, regularization, 0.5)
    model = agent(algorithm, env_id, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs)
    owned = {id(p) for optimizer in optimizers(model) for group in optimizer.param_groups for p in group["params"]}
    named = {name: p for name, p in model.policy.named_parameters() if id(p) in owned}
    assert len(named) == len(owned)
    with torch.no_grad():
        for p in named.values():
            p.fill_(1.0)
            p.grad = torch.zeros_like(p)
    for optimizer in optimizers(model):
        optimizer.step()
    assert {name for name, p in named.items() if (p < 1).all()} == {name for name, p in named.items() if p.ndim >= 2}
    assert {name for name, p in named.items() if (p == 1).all()} == {name for name, p in named.items() if p.ndim < 2}
    assert ("log_std" in named) == (algorithm == "PPO")


@pytest.mark.parametrize("optimizer_class", [MatrixAdamW, MatrixSGD])
def test_rate_times_coefficient_times_updates_are_the_e_folds(optimizer_class):
    regularization = {MatrixAdamW: "adamw", MatrixSGD: "sgd-l2"}[optimizer_class]
    _, optimizer_kwargs = regularized_optimizer("PPO", regularization, 0.1)
    matrix = torch.ones(3, 3, requires_grad=True)
    optimizer = optimizer_class([matrix], lr=0.01, **optimizer_kwargs)
    for _ in range(2_000):
        matrix.grad = torch.zeros_like(matrix)
        optimizer.step()
    assert -math.log(matrix[0, 0].item()) == pytest.approx(0.01 * 0.1 * 2_000, rel=0.01)


@pytest.mark.parametrize("regularization", REGULARIZED)
@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [("PPO", "Pendulum-v1"), ("A2C", "CartPole-v1"), ("DQN", "CartPole-v1"), ("SAC", "Pendulum-v1"),
     ("TD3", "Pendulum-v1"), ("CrossQ", "Pendulum-v1")],
)  # fmt: skip
def test_a_saved_model_loads_and_learns_on(tmp_path, algorithm, env_id, regularization):
    optimizer_class, optimizer_kwargs = regularized_optimizer(algorithm, regularization, 0.1)
    model = agent(algorithm, env_id, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs).learn(32)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=make_env(env_id, 2, 0), device="cpu")
    assert equal(weights(model), weights(loaded))
    for optimizer, saved in zip(optimizers(loaded), optimizers(model)):
        assert type(optimizer) is optimizer_class
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
        states = [list(o.state_dict()["state"].values()) for o in (optimizer, saved)]
        assert all(np.array_equal(one[key], other[key]) for one, other in zip(*states) for key in one)
    start = weights(loaded)
    loaded.learn(32, reset_num_timesteps=False)
    assert not equal(start, weights(loaded))


def test_a_schedule_reaches_both_groups():
    optimizer_class, optimizer_kwargs = regularized_optimizer("PPO", "adamw", 0.1)
    model = agent(
        "PPO", "Pendulum-v1", learning_rate=lambda progress_remaining: 1e-3 * (1 + progress_remaining),
        optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs,
    )  # fmt: skip
    model.learn(32)
    assert [group["lr"] for group in model.policy.optimizer.param_groups] == [
        1e-3,
        1e-3,
    ]


@pytest.mark.parametrize("learning_rate", [0.0, -1e-3, math.nan, math.inf, "1e-3", None])
def test_learning_rate_out_of_range(learning_rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number above 0, or a schedule, got"):
        agent("PPO", "CartPole-v1", learning_rate=learning_rate)


def test_a_numpy_rate_still_loads(tmp_path):
    agent("PPO", "CartPole-v1", learning_rate=np.float64(1e-3)).save(tmp_path / "model")
    assert PPO.load(tmp_path / "model", device="cpu").learning_rate == 1e-3


def test_gsde_and_weight_decay_do_not_go_together():
    optimizer_class, optimizer_kwargs = regularized_optimizer("PPO", "adamw", 0.1)
    with pytest.raises(ValueError, match="use_sde must be off where weights decay"):
        agent("PPO", "Pendulum-v1", use_sde=True, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs)
    assert agent("PPO", "Pendulum-v1", use_sde=True).policy.log_std.ndim == 2


def test_overrides_keep_the_rest_of_policy_kwargs():
    model = agent("DQN", "CartPole-v1", policy_kwargs={"activation_fn": torch.nn.Tanh})
    assert model.policy_kwargs == {"net_arch": [8], "activation_fn": torch.nn.Tanh}
    assert model.gamma == find_preset("DQN", "CartPole-v1").gamma


def test_a_missing_extra_gives_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(ImportError, match=r'CrossQ needs the extra .*pip install -e "\.\[contrib\]"'):
        agent("CrossQ", "Pendulum-v1")


def test_the_minatar_network_sees_channels_as_channels():
    network = MinAtarCnn(spaces.Box(0, 1, (10, 10, 4), bool), features_dim=5)
    images = torch.randint(0, 2, (3, 10, 10, 4)).float()
    assert network(images).shape == (3, 5)
    convolution = network.layers[0]

    assert convolution.weight.shape == (16, 4, 3, 3)
    with pytest.raises(ValueError, match="observations must be height x width x channels"):
        MinAtarCnn(spaces.Box(0, 1, (400,)))
