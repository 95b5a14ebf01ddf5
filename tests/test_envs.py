"""The environments: the table, seeds, what training and evaluation see, missing extras."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from importlib.util import find_spec

import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecNormalize

from envs import ENVS, FAMILIES, EnvSpec, MissingExtraError, find_env, make_env, make_evaluation_env
from envs import random_returns as command

STEPS = 30
INSTALLED = [env_id for env_id, spec in ENVS.items() if all(map(find_spec, FAMILIES[spec.family]))]
IMAGES = {"atari": (84, 84, 4), "minatar": (10, 10)}


def needs(family):
    return pytest.mark.skipif(not all(map(find_spec, FAMILIES[family])), reason=f"needs the extra {family!r}")


def rollout(env, n_steps=STEPS):
    """Return observations (n_steps + 1 x n_envs x ...) and rewards (n_steps x n_envs) of fixed actions."""
    env.action_space.seed(0)
    observations, rewards = [env.reset().copy()], []
    for _ in range(n_steps):
        observation, reward, *_ = env.step([env.action_space.sample() for _ in range(env.num_envs)])
        observations.append(observation.copy())
        rewards.append(reward.copy())
    return np.array(observations), np.array(rewards)


def play(env, until, most=3_000):
    """Step random actions until ``until(reward, done, info)`` of the first environment."""
    env.action_space.seed(0)
    env.reset()
    for _ in range(most):
        _, rewards, dones, infos = env.step([env.action_space.sample() for _ in range(env.num_envs)])
        if until(rewards[0], dones[0], infos[0]):
            return rewards[0], dones[0], infos[0]
    raise AssertionError(f"not seen in {most} steps")


def test_table():
    assert list(ENVS) == [
        "CartPole-v1", "Acrobot-v1", "Pendulum-v1", "LunarLander-v3", "LunarLanderContinuous-v3", "MountainCar-v0",
        "MountainCarContinuous-v0", "HalfCheetah-v5", "Hopper-v5", "InvertedPendulum-v5",
        "MinAtar/Breakout-v1", "MinAtar/Asterix-v1", "MinAtar/Freeway-v1", "MinAtar/Seaquest-v1",
        "MinAtar/SpaceInvaders-v1", "PongNoFrameskip-v4", "QbertNoFrameskip-v4", "SeaquestNoFrameskip-v4",
    ]  # fmt: skip
    for spec in ENVS.values():
        assert spec.family in FAMILIES
        assert spec.random_episodes >= 100
        assert spec.reference_return > spec.random_return
        assert spec.reference_source


def test_the_table_is_frozen():
    with pytest.raises(FrozenInstanceError):
        find_env("CartPole-v1").random_return = 0.0


@pytest.mark.parametrize(("mean_return", "score"), [(20, 0), (500, 1), (260, 0.5), (-460, -1)])
def test_score_is_0_for_random_and_1_for_the_reference(mean_return, score):
    spec = EnvSpec("CartPole-v1", "classic", 500.0, "", 20.0, 100)
    assert spec.score(mean_return) == score


@pytest.mark.parametrize("make", [find_env, lambda env_id: make_env(env_id, 1, 0)])
def test_an_unknown_id_lists_the_known_ones(make):
    with pytest.raises(ValueError, match=r"env_id must be one of \['CartPole-v1', .*, got 'CartPole-v0'"):
        make("CartPole-v0")


@pytest.mark.parametrize(
    ("n_envs", "seed", "message"),
    [
        (0, 0, "n_envs must be an integer of at least 1, got 0"),
        (1.5, 0, "n_envs must be an integer of at least 1, got 1.5"),
        (True, 0, "n_envs must be an integer of at least 1, got True"),
        (1, -1, "seed must be an integer of at least 0, got -1"),
        (1, None, "seed must be an integer of at least 0, got None"),
    ],
)
def test_arguments_out_of_range(n_envs, seed, message):
    with pytest.raises(ValueError, match=message):
        make_env("CartPole-v1", n_envs, seed)


def test_the_table_loads_neither_torch_nor_sb3():
    code = "import sys, agents, envs; sys.exit(bool({'torch', 'stable_baselines3', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("env_id", INSTALLED)
def test_a_seed_gives_the_same_rollout_again_and_no_other_seed_does(env_id):
    spec = find_env(env_id)
    observations, rewards = rollout(make_env(env_id, 2, 3))
    again, rewards_again = rollout(make_env(env_id, 2, 3))
    other, _ = rollout(make_env(env_id, 2, 4))
    assert np.array_equal(observations, again)
    assert np.array_equal(rewards, rewards_again)
    assert not np.array_equal(observations, other)
    assert not np.array_equal(observations[:, 0], observations[:, 1])
    assert observations.shape[2:][: len(IMAGES.get(spec.family, ()))] == IMAGES.get(spec.family, ())
    assert observations.dtype == {"minatar": bool, "atari": np.uint8}.get(spec.family, observations.dtype)


def test_seeds_of_neighbours_do_not_meet():
    seeds = [seed for run in range(50) for seed in make_env("CartPole-v1", 8, run).seed(run)]
    assert len(set(seeds)) == len(seeds)


def test_a_model_reseeds_its_environments_with_derived_seeds():
    env = make_env("CartPole-v1", 2, 5)
    model = A2C("MlpPolicy", make_env("CartPole-v1", 2, 0), seed=5, device="cpu")
    assert np.array_equal(model.get_env().reset(), env.reset())


def test_the_seed_can_be_given_again():
    env = make_env("LunarLander-v3" if "LunarLander-v3" in INSTALLED else "CartPole-v1", 2, 3)
    first, _ = rollout(env)
    env.seed(3)
    assert np.array_equal(first, rollout(env)[0])


@pytest.mark.parametrize(
    ("env_id", "module"),
    [
        ("LunarLander-v3", "Box2D"),
        ("Hopper-v5", "mujoco"),
        ("MinAtar/Freeway-v1", "minatar"),
        ("PongNoFrameskip-v4", "ale_py"),
        ("PongNoFrameskip-v4", "cv2"),
    ],
)
@pytest.mark.parametrize("make", [make_env, make_evaluation_env])
def test_a_missing_extra_gives_the_command_that_installs_it(monkeypatch, env_id, module, make):
    monkeypatch.setitem(sys.modules, "ale_py", object())
    monkeypatch.setitem(sys.modules, module, None)
    family = find_env(env_id).family
    with pytest.raises(
        MissingExtraError, match=rf'{env_id} needs the extra .*{module}.*pip install -e "\.\[{family}\]"'
    ):
        make(env_id, 1, 0)


@pytest.mark.parametrize(
    ("env_id", "module"),
    [
        ("LunarLander-v3", "pygame"),  # Gymnasium has an error of its own for it
        ("Hopper-v5", "imageio"),  # imported by Gymnasium as it makes the environment
        ("MinAtar/Freeway-v1", "minatar.gym"),
    ],
)
def test_a_missing_module_of_a_module_names_the_extra_too(env_id, module):
    if not all(map(find_spec, FAMILIES[find_env(env_id).family])):
        pytest.skip(f"needs the extra {find_env(env_id).family!r}")
    # In a process of its own, where nobody has imported it before.
    code = f"""
import sys
from envs import MissingExtraError, make_env
sys.modules[{module!r}] = None
try:
    make_env({env_id!r}, 1, 0)
except MissingExtraError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"{env_id} needs the extra '{find_env(env_id).family}' (")
    assert module in run.stdout


def test_what_has_no_extra_says_what_is_missing_itself(monkeypatch):
    monkeypatch.setattr("gymnasium.make", raise_missing)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'anything'$"):
        make_env("CartPole-v1", 1, 0)


def raise_missing(*_, **__):
    raise ModuleNotFoundError("No module named 'anything'")


def test_normalized_training_and_an_evaluation_that_reads_its_statistics():
    training = make_env("Pendulum-v1", 2, 0, normalize=True, gamma=0.9)
    assert isinstance(training, VecNormalize)
    assert training.gamma == 0.9
    evaluation = make_evaluation_env("Pendulum-v1", 2, 1, training)
    rollout(training)
    mean, count = training.obs_rms.mean.copy(), training.obs_rms.count
    observations, rewards = rollout(evaluation)
    raw_observations, raw_rewards = rollout(make_evaluation_env("Pendulum-v1", 2, 1))
    assert np.array_equal(rewards, raw_rewards)
    assert observations == pytest.approx(training.normalize_obs(raw_observations))
    assert np.array_equal(training.obs_rms.mean, mean)
    assert training.obs_rms.count == count
    rollout(training)
    assert evaluation.obs_rms.count == training.obs_rms.count > count


def test_observations_alone_may_be_scaled():
    training = make_env("Pendulum-v1", 1, 0, normalize="observations")
    rollout(training)
    assert training.norm_obs
    assert not training.norm_reward
    with pytest.raises(ValueError, match="normalize must be False, True or \"observations\", got 'rewards'"):
        make_env("Pendulum-v1", 1, 0, normalize="rewards")


def test_evaluation_of_training_as_it_is():
    training = make_env("Pendulum-v1", 2, 0)
    assert not isinstance(make_evaluation_env("Pendulum-v1", 2, 1, training), VecNormalize)


@needs("atari")
def test_atari_training_clips_rewards_and_ends_with_a_life_but_records_the_true_return():
    env = make_env("QbertNoFrameskip-v4", 1, 0)
    reward, _, _ = play(env, lambda reward, done, info: reward != 0)
    assert reward == 1  # Qbert gives 25
    _, _, info = play(env, lambda reward, done, info: done)
    assert "episode" not in info
    _, _, info = play(env, lambda reward, done, info: "episode" in info)
    assert info["episode"]["r"] % 25 == 0


@needs("atari")
def test_atari_evaluation_plays_whole_games_for_their_own_rewards():
    env = make_evaluation_env("QbertNoFrameskip-v4", 1, 0)
    total = 0.0

    def ended(reward, done, info):
        nonlocal total
        total += reward
        return done

    _, _, info = play(env, ended)
    assert info["episode"]["r"] == pytest.approx(total)
    assert total >= 25
    assert info["lives"] == 0


@needs("minatar")
def test_minatar_games_end():
    env = make_env("MinAtar/Breakout-v1", 1, 0)
    assert env.get_attr("spec")[0].max_episode_steps == 5_000
    assert env.action_space.n == 3  # the minimal set


@needs("mujoco")
def test_mujoco_leaves_no_log_in_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make_env("HalfCheetah-v5", 1, 0).close()
    assert list(tmp_path.iterdir()) == []


def test_the_stored_random_return_is_what_the_command_measures():
    spec = find_env("CartPole-v1")
    returns = command.random_returns("CartPole-v1", spec.random_episodes, seed=0)
    assert len(returns) == spec.random_episodes
    error = np.std(returns, ddof=1) / math.sqrt(len(returns))
    assert abs(np.mean(returns) - spec.random_return) < 4 * error


def test_the_command_prints_a_row_an_environment(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    command.main(["CartPole-v1", "Hopper-v5", "--episodes", "3"])
    header, cartpole, hopper = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["env_id", "random"]
    assert cartpole.split()[0] == "CartPole-v1"
    assert cartpole.split()[3] == "3"
    assert "pip install" in hopper


@pytest.mark.parametrize("arguments", [["Cartpole"], ["--episodes", "0"]])
def test_the_command_refuses(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert "must be" in capsys.readouterr().err
