"""What is announced at the beginning of a training is what then happens."""

import re
import warnings

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from rl_abel import AbelCallback, AutoLearningRate
from rl_abel.rules.decays import Budget, final_decay, final_factor
from tests.algorithms import ALGORITHMS, OFF, Do, make_model

RATE = 1e-3
COMES = re.compile(
    r"final decay \((x 0\.1|falling linearly to x [\d.e-]+)\) from timestep ([\d,]+) of .* "
    r"in the last ([\d,]+) of ([\d,]+) updates"
)
LATE = "leaves all updates but the first to the final decay"
UNKNOWN = re.compile(r"with the first rollout that begins at timestep ([\d,]+)")


@pytest.mark.parametrize(
    ("begin", "end", "rollout", "now", "starts", "at", "begins", "decayed", "updates"),
    [
        (0, 10_000, 2048, 0, 0, 0.85, None, 0, 5),  # PPO's defaults
        (0, 50_000, 2048 * 8, 0, 0, 0.85, None, 0, 4),
        (0, 7 * 2048, 2048, 0, 0, 0.85, 6 * 2048, 1, 7),
        (0, 20_000, 2048, 0, 0, 0.85, 9 * 2048, 1, 10),
        (0, 10_000, 2048, 0, 0, 0.8, 4 * 2048, 1, 5),
        (0, 1_000_000, 5, 0, 0, 0.85, 850_000, 30_000, 200_000),  # A2C
        (0, 1_000_000, 1, 0, 100, 0.85, 850_000, 150_000, 999_900),  # SAC
        (0, 1000, 4, 0, 100, 0.85, 852, 37, 225),  # DQN
        (0, 1000, 1, 0, 850, 0.85, 851, 149, 150),
        (0, 1000, 1, 0, 949, 0.85, 950, 50, 51),
        (0, 1000, 1, 0, 999, 0.85, None, 0, 1),
        (0, 1000, 1, 0, 5000, 0.85, None, 0, 0),
        (0, 2048, 2048, 0, 0, 0.85, None, 0, 1),
        (500, 1500, 100, 500, 0, 0.85, 1400, 1, 10),  # another training of the model
        (0, 1000, 100, 830, 0, 0.85, 930, 1, 2),  # resumed
        (0, 1000, 100, 1000, 0, 0.85, None, 0, 0),
    ],
)
def test_when_the_final_decay_will_come(begin, end, rollout, now, starts, at, begins, decayed, updates):
    coming = final_decay(Budget(begin, end), rollout, now, starts, at, 0.1)
    assert coming[:3] == (begins, decayed, updates)


def test_what_is_foretold_is_what_is_decided():
    rng = np.random.default_rng(0)
    for _ in range(300):
        rollout, end, at = int(rng.integers(1, 300)), int(rng.integers(1, 2000)), float(rng.uniform(0.01, 0.99))
        now, step = int(rng.integers(0, end)), (0.1, None)[rng.integers(2)]
        budget = Budget(0, end).in_rollouts(rollout)
        factors = [final_factor(budget.progress(t), at, step) for t in range(now, end, rollout)]
        made = [factor for factor in factors if factor is not None]
        coming = final_decay(Budget(0, end), rollout, now, 0, at, step, learned=True)
        assert (coming.decayed, coming.updates) == (len(made), len(factors))
        assert coming.factor == (made[-1] if made else 0)


def training(model, timesteps, callback, reset=True, stop_at=None):
    """Train; return the rate and the rollout's begin of each update, and all that was said."""
    rates, begun = [], []
    name = "train" if hasattr(model, "train") else "_do_one_update"
    update = getattr(type(model), name)

    def noted(*args, **kwargs):
        update(model, *args, **kwargs)
        rates.append((begun[-1], model.logger.name_to_value["train/learning_rate"]))

    setattr(model, name, noted)
    note = Do(
        rollout_start=lambda model: begun.append(model.num_timesteps),
        step=lambda model: stop_at is None or model.num_timesteps < stop_at,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(timesteps, callback=[callback, note], reset_num_timesteps=reset)
    delattr(model, name)
    return rates, [str(warning.message) for warning in caught]


def number(text):
    return int(text.replace(",", ""))


def check(rates, said, linear):
    """Compare what was announced with the rates of the updates that were made."""
    factors = [rate / RATE for _, rate in rates]
    decayed = [index for index, factor in enumerate(factors) if factor < 1]
    if match := COMES.search(said):
        by, begins, of_decayed, updates = match.groups()
        assert len(rates) == number(updates)
        first = len(rates) - number(of_decayed)
        assert rates[first][0] == number(begins)
        # The first update of a cooldown may be at its beginning.
        assert decayed == [index for index in range(first, len(rates)) if not linear or factors[index] != 1]
        assert factors[-1] == pytest.approx(float(by.split()[-1]), rel=0.06)
    elif LATE in said:
        assert decayed == list(range(1, len(rates)))
    elif match := UNKNOWN.search(said):
        late = [index for index, (begun, _) in enumerate(rates) if begun >= number(match.group(1)) and index]
        assert decayed == [index for index in late if not linear or factors[index] != 1]
    else:
        assert "there is no final decay" in said
        assert decayed == []


def trainings(name, count):
    """Budgets, environments and lengths of rollouts, each as likely to have the decay as not."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(count):
        n_envs, length = int(rng.integers(1, 4)), int(rng.integers(1, 12))
        if name in ("PPO", "A2C"):
            changes = {"n_steps": 2 * length}
            if name == "PPO":
                changes |= {"batch_size": 2 * length * n_envs, "n_epochs": 1}
            timesteps = int(rng.integers(1, 16 * 2 * length * n_envs))
        elif name == "ARS":
            changes, timesteps = {"n_delta": 1, "n_top": 1}, int(rng.integers(1, 600))
        elif rng.random() < 0.25:
            n_envs, changes, timesteps = 1, {"train_freq": (1, "episode")}, int(rng.integers(20, 300))
        else:
            timesteps = int(rng.integers(20, 200))
            changes = {"train_freq": length, "learning_starts": int(rng.integers(0, timesteps))}
        yield n_envs, changes, timesteps, ("step", "linear")[rng.integers(2)]


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN", "ARS"])
def test_what_is_announced_is_what_happens(name, capsys):
    kinds = set()
    for n_envs, changes, timesteps, shape in trainings(name, 16):
        env = make_vec_env("Pendulum-v1" if name == "SAC" else "CartPole-v1", n_envs)
        off = {"buffer_size": 1000, "batch_size": 8} if name in OFF else {}
        small = {"policy_kwargs": {"net_arch": [8]}, "learning_rate": RATE, "seed": 0, "device": "cpu"}
        model = ALGORITHMS[name][0]("MlpPolicy", env, **small, **off, **changes)
        abel = AbelCallback(max_decays=0, final_decay_shape=shape, verbose=1)
        rates, warned = training(model, timesteps, abel)
        said = capsys.readouterr().out + " ".join(warned)
        check(rates, said, shape == "linear")
        kinds.add("no final decay" in said)
    assert name == "ARS" or kinds == {True, False}, "both have been tried"


def test_a_training_that_is_resumed_says_it_anew(capsys):
    model, abel = make_model("PPO"), AbelCallback(max_decays=0, verbose=1)
    first, _ = training(model, 200, abel, stop_at=150)
    said = capsys.readouterr().out
    assert "from timestep 180 of 200 on: in the last 1 of 10 updates (10%)" in said
    assert "stopped at timestep 150 of 200, before its final decay" in said
    rates, _ = training(model, 50, AbelCallback(max_decays=0, verbose=1), reset=False)
    said = capsys.readouterr().out
    assert "from timestep 170 of 200 on: in the last 2 of 3 updates (67%)" in said
    check(rates, said, linear=False)
    assert [rate for _, rate in first] == [RATE] * 7


def said_by(model, timesteps, callback, capsys):
    _, warned = training(model, timesteps, callback)
    lines = [line[6:] for line in capsys.readouterr().out.splitlines() if line.startswith("abel: ")]
    return lines, warned


FEW_ROLLOUTS = {"n_steps": 400, "batch_size": 400, "n_epochs": 1}


@pytest.mark.parametrize(
    ("name", "changes", "timesteps", "arguments", "printed", "warned"),
    [
        ("PPO", FEW_ROLLOUTS, 2000, {}, None, r"last rollout .*\(400 .* 80% .* before 85%.* n_steps, .*at=0.8"),
        (
            "PPO",
            FEW_ROLLOUTS,
            2000,
            {"final_decay_at": 0.8},
            "from timestep 1,600 .* in the last 1 of 5",
            None,
        ),
        ("PPO", FEW_ROLLOUTS, 900, {}, "there is no final decay", None),  # a trial that it runs
        ("PPO", FEW_ROLLOUTS, 2000, {"final_decay_at": None}, None, None),
        ("TD3", {"train_freq": 600}, 1200, {}, None, "begins at 50% .* smaller train_freq, or final_decay_at=0.5"),
        ("DQN", {"learning_starts": 1150}, 1200, {}, None, "learning_starts=1,150 leaves all updates but the first"),
        ("DQN", {"learning_starts": 1200}, 1200, {}, None, "learning_starts=1,200 leaves no update"),
        ("SAC", {"train_freq": (1, "episode")}, 1190, {}, "rollout that begins at timestep 1,012", "no rollout began"),
        ("PPO", {}, float("inf"), {}, None, "no budget is known"),
    ],
)
def test_what_will_not_be_as_expected_is_a_warning(name, changes, timesteps, arguments, printed, warned, capsys):
    model = make_model(name, **changes)
    stop = 60 if timesteps == float("inf") else None
    abel = AbelCallback(max_decays=0, verbose=1, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(timesteps, callback=[abel, Do(step=lambda model: stop is None or model.num_timesteps < stop)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "final decay" in line]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (warned is not None)
    assert warned is None or re.search(warned, messages[0])
    assert bool(lines) == (printed is not None)
    assert printed is None or re.search(printed, lines[0])


@pytest.mark.parametrize(
    ("floor", "arguments", "printed", "warned"),
    [
        (RATE, {}, None, "min_learning_rate=0.001 is not below the learning rate of 0.001"),
        (5e-4, {}, "decays stop at min_learning_rate=0.0005", None),
        (5e-5, {"final_decay_shape": "linear"}, "decays stop at min_learning_rate=5e-05", None),
        (1e-6, {}, "min_learning_rate=1e-06 will not be reached: all decays together end at 0.0001", None),
        (1e-6, {"max_decays": None}, None, None),
        (RATE, {"learning_rate": lambda progress: RATE}, None, None),  # a schedule is not asked once more
        (0.0, {}, None, None),
    ],
)
def test_what_a_floor_does(floor, arguments, printed, warned, capsys):
    given = {"max_decays": 0, **arguments}
    model = make_model("A2C", learning_rate=given.pop("learning_rate", RATE))
    lines, messages = said_by(model, 200, AbelCallback(min_learning_rate=floor, verbose=1, **given), capsys)
    said = [line for line in lines if "min_learning_rate" in line]
    assert len(said) == (printed is not None)
    assert printed is None or printed in said[0]
    assert [warned in message for message in messages] == [True] * (warned is not None)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_the_recommendation_says_it_in_the_same_words(name, capsys):
    lines, warned = said_by(make_model(name), 240, AutoLearningRate(verbose=1), capsys)
    decay = {"final_decay_at": 0.8, "final_decay_shape": "linear"} if name == "SAC" else {}
    alone, _ = said_by(make_model(name), 240, AbelCallback(max_decays=0, verbose=1, **decay), capsys)
    assert alone[0] in lines
    assert ("falling linearly" if decay else "final decay (x 0.1) from timestep") in alone[0]
    assert ("the learning rate is 0.01, from 55 optimizer steps" in lines) == (name == "SAC")
    assert not warned
