"""Runs and suites: identities, products, TOML files, bad input."""

import json
import textwrap
from dataclasses import asdict, replace

import pytest

from agents import find_preset
from benchmarks.plan import ARMS, SCHEDULES, Block, Run, read_suite
from benchmarks.suites import SUITES, find_suite

RUN = Run("PPO", "CartPole-v1", 100_000, "constant", 0)


def test_a_run_id_is_stable_and_tells_runs_apart():
    assert RUN.run_id.startswith("PPO_CartPole-v1_constant_seed0_")
    assert RUN.run_id == replace(RUN).run_id
    changes = [{"seed": 1}, {"arm": "abel"}, {"timesteps": 99}, {"decay_factor": 0.2}, {"final_episodes": 7}]
    assert len({RUN.run_id, *(replace(RUN, **change).run_id for change in changes)}) == 1 + len(changes)


def test_the_strength_is_e_folds():
    """Rate x coefficient x number of updates, by hand: 391 rollouts x 20 epochs x 1 minibatch."""
    run = replace(RUN, regularization="adamw", strength=10.0)
    assert find_preset("PPO", "CartPole-v1").n_updates(100_000) == 391 * 20
    assert run.learning_rate * run.weight_decay * 391 * 20 == pytest.approx(10.0)
    faster = replace(run, rate_multiplier=3.0)
    assert faster.weight_decay == pytest.approx(run.weight_decay / 3)
    assert RUN.weight_decay == 0.0
    sgd = replace(run, regularization="sgd-l2")
    assert sgd.learning_rate == pytest.approx(0.1)
    assert sgd.learning_rate * sgd.weight_decay * 391 * 20 == pytest.approx(10.0)


@pytest.mark.parametrize("suite", [suite for suite in SUITES.values() if suite.name != "smoke"], ids=lambda s: s.name)
def test_every_run_is_measured_a_hundred_times(suite):
    for run in suite.runs():
        preset = find_preset(run.agent, run.env_id)
        interval = run.measure_every // preset.rollout_timesteps
        assert (preset.n_trainings(run.timesteps) - 1) // interval >= 100, run


def test_suites():
    assert list(SUITES) == ["smoke", "classic", "offpolicy", "minatar", "mujoco", "paper"]
    for suite in SUITES.values():
        runs = suite.runs()
        assert len({run.run_id for run in runs}) == len(runs) > 0
    assert {run.arm for run in SUITES["smoke"].runs()} == set(ARMS)
    classic = SUITES["classic"].runs()
    assert {(run.env_id, run.timesteps) for run in classic} == {
        ("CartPole-v1", 100_000),
        ("Acrobot-v1", 200_000),
        ("Pendulum-v1", 150_000),
        ("LunarLander-v3", 250_000),
    }
    assert {(run.regularization, run.strength) for run in classic} == {("none", 0), ("adamw", 1), ("adamw", 10)}


def test_axes_that_an_arm_does_not_have_make_no_runs():
    block = Block("PPO", ("CartPole-v1",), 1000, seeds=(0,), decay_factor=(0.1, 0.5), final_decay_at=(0.7, 0.85))
    arms = [run.arm for run in dict.fromkeys(block.runs())]
    assert {arm: arms.count(arm) for arm in arms} == {
        "constant": 1, "linear": 1, "cosine": 1, "step": 1, "kl-adaptive": 1,
        "cooldown": 2, "constant+final": 4, "abel": 4, "abel-paper": 4,
    }  # fmt: skip


def test_an_agent_has_the_arms_that_it_can_have():
    block = Block("DQN", ("CartPole-v1",), 1000, seeds=(0,))
    assert [run.arm for run in block.runs()] == [arm for arm in SCHEDULES if arm != "kl-adaptive"]


@pytest.mark.parametrize(
    ("agent", "arm", "regularization", "message"),
    [
        ("DQN", "kl-adaptive", "none", "kl-adaptive needs an algorithm that logs an approximate KL"),
        ("A2C", "kl-adaptive+final", "none", "kl-adaptive.final needs .* got 'A2C'"),
        ("A2C", "abel-batch", "none", "abel-batch needs an algorithm that trains on minibatches"),
        ("PPO", "final-pull-held", "none", "final-pull-held needs weight decay that pulls .* got 'none'"),
        ("PPO", "final-pull-only", "adam-l2", "got 'adam-l2'"),
    ],
)
def test_arms_that_an_agent_cannot_have(agent, arm, regularization, message):
    with pytest.raises(ValueError, match=f"arms: .*{message}"):
        Block(agent, ("CartPole-v1",), 1000, (arm,), regularization=(regularization,))


def test_runs_from_before_measurements_could_be_chosen_have_their_names_still():
    run = Run("PPO", "CartPole-v1", 30_000, "constant", 0)
    assert run.run_id == "PPO_CartPole-v1_constant_seed0_5aebbab3"
    assert replace(run, measurements=1000).run_id != run.run_id


def test_a_suite_of_the_users_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        textwrap.dedent("""
        about = "two tasks"
        [[block]]
        agent = "PPO"
        env_id = ["CartPole-v1", "Acrobot-v1"]
        timesteps = 50_000
        arms = ["linear", "constant+final"]
        seeds = 3
        [[block]]
        agent = "SAC"
        env_id = "Pendulum-v1"
        timesteps = 5000
        arms = "constant"
        seeds = [7]
        regularization = "adamw"
        strength = 10
        """)
    )
    suite = find_suite(str(path))
    assert (suite.name, suite.about, len(suite.runs())) == ("mine", "two tasks", 2 * 2 * 3 + 1)
    last = suite.runs()[-1]
    assert (last.agent, last.seed, last.regularization, last.strength) == ("SAC", 7, "adamw", 10.0)


BLOCK = '[[block]]\nagent = "PPO"\nenv_id = "CartPole-v1"\ntimesteps = 1000\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about = ", "not a TOML file"),
        ("about = 'x'", r"at least one \[\[block\]\]"),
        ("blocks = 3", "unknown key 'blocks'"),
        (BLOCK + "arm = 'abel'", "block 1: unknown key 'arm'; known are"),
        ("[[block]]\nagent = 'PPO'", "missing key 'env_id'"),
        (BLOCK.replace("PPO", "PPG"), r"algorithm must be one of \['PPO'.*got 'PPG'"),
        (BLOCK.replace("CartPole-v1", "CartPole"), "must be one of .*'CartPole-v1'.*got 'CartPole'"),
        (BLOCK + "arms = ['abel', 'abell']", "arms must be among .*got 'abell'"),
        (BLOCK + "regularization = 'l2'", "regularization must be among .*'adamw'.*got 'l2'"),
        (BLOCK.replace("1000", "0"), "timesteps must be an integer of at least 1, got 0"),
        (BLOCK + "seeds = [-1]", "seeds must be integers of at least 0, got -1"),
        (BLOCK + "seeds = 'many'", "got 'many'"),
        (BLOCK + "decay_factor = 1.5", r"decay_factor must be in \(0, 1\), got 1.5"),
        (BLOCK + "final_decay_at = 85", r"final_decay_at must be in \(0, 1\), got 85"),
        (BLOCK + "rate_multiplier = 0", "rate_multiplier must be in .* got 0"),
    ],
)
def test_bad_suites_are_named_and_shown(text, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_suite(path)


@pytest.mark.parametrize("name", ["clasic", "missing.toml", "missing.json"])
def test_unknown_suites(name):
    with pytest.raises(ValueError, match=r"'smoke'.*got 'clasic'|no such file: 'missing"):
        find_suite(name)


@pytest.mark.parametrize(
    "changes", [{}, {"regularization": "adamw", "strength": 10.0}, {"arm": "abel", "decay_factor": 0.5}]
)
def test_a_run_json_names_the_run_again(changes, tmp_path):
    run = replace(RUN, **changes)
    (tmp_path / "run.json").write_text(json.dumps({"config": {"run": asdict(run)}}))
    assert find_suite(str(tmp_path / "run.json")).runs() == [run]
