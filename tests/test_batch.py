"""Growing the batch in place of the decay: how much, in which algorithm, and what is left on the model."""

import json
import subprocess
import sys
import warnings
import zipfile
from itertools import groupby, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env

from rl_abel import AbelCallback
from rl_abel.learning_rate.batch_size import check_action
from rl_abel.rules.batch_growth import POWERS, split
from rl_abel.training.measure_interval import within_update
from tests.algorithms import ALGORITHMS, ON, DecayAt, make_model, torch_optimizers

GROWING = ["PPO", "SAC", "DQN"]
MINIBATCHES = ["PPO", "TRPO", "MaskablePPO", "RecurrentPPO"]

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")


# How much


@pytest.mark.parametrize(
    ("factor", "own", "most", "rollout", "batch_size", "sgd", "adam"),
    [
        (1.0, 64, 2048, 2048, 64, 1.0, 1.0),
        (0.5, 64, 2048, 2048, 128, 1.0, 0.5**0.5),
        (0.1, 64, 2048, 2048, 512, 0.8, 0.1 * 8**0.5),  # a divisor of the rollout
        (0.1, 64, 10_000, None, 640, 1.0, 0.1 * 10**0.5),  # batches that are drawn need not divide anything
        (0.1 * 0.1, 64, 10_000, None, 6400, 1.0, 0.1),  # a little more than 0.01
        (0.001, 64, 2048, 2048, 2048, 0.032, 0.001 * 32**0.5),  # the whole rollout, and the rest to the rate
        (0.1, 64, 256, 2048, 256, 0.4, 0.2),
        (0.1, 64, 300, 2048, 256, 0.4, 0.2),
        (0.1, 64, 32, 2048, 64, 0.1, 0.1),  # never below the user's own
        (0.1, 256, 100, None, 256, 0.1, 0.1),
        (0.7, 64, 2048, 2048, 64, 0.7, 0.7),  # no divisor between 64 and 91
        (0.5, 20, 97, 97, 40, 1.0, 0.5**0.5),  # a prime has none: 97 = 2 * 40 + 17
        (0.5, 24, 97, 97, 47, 0.5 * 47 / 24, 0.5 * (47 / 24) ** 0.5),  # 48 would leave a minibatch of one
        (0.5, 200, 128, 128, 200, 0.5, 0.5),  # larger than the rollout, as the user has it
        (0.6, 1, 100, None, 1, 0.6, 0.6),
    ],
)
def test_split(factor, own, most, rollout, batch_size, sgd, adam):
    for power, rate in ((POWERS["batch_size"], sgd), (POWERS["mixed"], adam)):
        assert split(factor, own, most, rollout, power) == (batch_size, pytest.approx(rate))


@given(st.floats(1e-6, 1.0), st.integers(2, 500), st.integers(2, 5000), st.none() | st.integers(2, 5000), st.booleans())
def test_no_split_is_lower_or_higher_than_the_decay(factor, own, most, rollout, mixed):
    power = POWERS["mixed" if mixed else "batch_size"]
    batch_size, rate = split(factor, own, most if rollout is None else min(most, rollout), rollout, power)
    assert own <= batch_size <= max(own, most)
    assert factor <= rate <= 1
    assert rate == pytest.approx(factor * (batch_size / own) ** power)
    if rollout is not None and batch_size > own:
        assert rollout % batch_size != 1


# In each algorithm


def batches(monkeypatch, model):
    """Sizes of the batches that the model's updates draw from its buffer, as they come."""
    sizes = []
    if hasattr(model, "rollout_buffer"):
        get = model.rollout_buffer.get

        def drawn(batch_size=None):
            for data in get(batch_size):
                # A recurrent policy's are padded.
                sizes.append(int(getattr(data, "mask", torch.ones(len(data.returns))).sum()))
                yield data

        monkeypatch.setattr(model.rollout_buffer, "get", drawn)
    else:
        sample = model.replay_buffer.sample

        def sampled(batch_size, *args, **kwargs):
            data = sample(batch_size, *args, **kwargs)
            sizes.append(len(data.rewards))
            return data

        monkeypatch.setattr(model.replay_buffer, "sample", sampled)
    return sizes


def counted(sizes):
    return [(size, len(list(group))) for size, group in groupby(sizes)]


def decaying(name, decay, measurements=(2,), **kwargs):
    """A callback that decays to a quarter after the second measurement: after 3 rollouts, or at step 200."""
    every = 1 if name in ON else 100
    given = {"decay_factor": 0.25, "final_decay_at": None, "measure_every": every, **kwargs}
    return AbelCallback(rule=DecayAt(*measurements), acts_on=decay, **given)


ROLLOUT = 160
OFF_STEPS, OFF_ARGUMENTS = 640, {"train_freq": 1, "gradient_steps": 1}


def small(name, **kwargs):
    return make_model(name, **({"n_steps": ROLLOUT} if name in ON else OFF_ARGUMENTS) | kwargs)


@pytest.mark.parametrize("decay", POWERS)
@pytest.mark.parametrize("name", MINIBATCHES)
def test_the_batches_of_each_on_policy_algorithm(name, decay, monkeypatch):
    model = small(name)
    sizes, callback = batches(monkeypatch, model), decaying(name, decay)
    rates = []
    for optimizer in torch_optimizers(model):
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    model.learn(5 * ROLLOUT, callback=callback)
    [(timestep, *_)] = callback.decays
    before = timestep // ROLLOUT - 1
    if name == "TRPO":  # its policy moves on the whole rollout; two passes of the value network
        sizes = [size for size in sizes if size != ROLLOUT]
    steps = [2 * ROLLOUT // 20 * before, 2 * ROLLOUT // 80 * (5 - before)]
    assert counted(sizes) == [(20, steps[0]), (80, steps[1])]
    left = 1e-3 if decay == "batch_size" else 0.5e-3
    assert rates == pytest.approx([1e-3] * steps[0] + [left] * steps[1])
    assert model.batch_size == 20
    assert model.abel_state["held"] == {}


@pytest.mark.parametrize("decay", POWERS)
@pytest.mark.parametrize("name", ["SAC", "DQN"])
def test_the_batches_and_updates_of_each_off_policy_algorithm(name, decay, monkeypatch):
    model = small(name)
    sizes, callback = batches(monkeypatch, model), decaying(name, decay)
    model.learn(OFF_STEPS, callback=callback)
    [(timestep, *_)] = callback.decays
    # Learning starts after 20 timesteps; the rollout at whose end it decays is learned from with the larger batch.
    assert counted(sizes) == [(16, timestep - 1 - 20), (64, (OFF_STEPS - timestep + 1) // 4)]
    assert model._n_updates == len(sizes)
    assert model.logger.name_to_value["train/learning_rate"] == pytest.approx({"batch_size": 1e-3}.get(decay, 5e-4))
    assert (model.batch_size, model.gradient_steps) == (16, 1)


def in_two_halves(tmp_path, model, steps, first, second):
    """Train, save, load, train on; return the model and how many updates the second half made."""
    model.learn(steps, callback=first)
    model.save(tmp_path / "model.zip")
    if hasattr(model, "replay_buffer"):
        model.save_replay_buffer(tmp_path / "buffer.pkl")
    again = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    if hasattr(model, "replay_buffer"):
        again.load_replay_buffer(tmp_path / "buffer.pkl")
    before = again._n_updates
    again.learn(steps, callback=second, reset_num_timesteps=False)
    return again, again._n_updates - before


@pytest.mark.parametrize(
    ("kwargs", "n_envs"),
    [
        ({"gradient_steps": 1}, 1),
        ({"gradient_steps": 3, "train_freq": 2}, 2),
        ({"gradient_steps": -1}, 1),  # as many as timesteps
        ({"gradient_steps": -1, "train_freq": 7}, 2),
        # stable-baselines3 has no episodes of several environments.
        ({"gradient_steps": -1, "train_freq": (1, "episode")}, 1),
        ({"gradient_steps": 0}, 1),
    ],
    ids=str,
)
def test_updates_fall_by_as_much_as_the_batch_grows(kwargs, n_envs, tmp_path):
    made = {}
    for decay in ("learning_rate", "batch_size"):
        env = make_vec_env("CartPole-v1", n_envs, seed=0)
        arguments = ALGORITHMS["DQN"][2] | kwargs | {"policy_kwargs": {"net_arch": [8]}}
        model = DQN("MlpPolicy", env, seed=0, device="cpu", **arguments)
        halves = (decaying("DQN", decay, (1,)) for _ in range(2))
        again, made[decay] = in_two_halves(tmp_path, model, 400, *halves)
        assert (again.gradient_steps, again.batch_size) == (kwargs["gradient_steps"], 16)
    assert made["batch_size"] == made["learning_rate"] // 4
    assert made["learning_rate"] >= 50 or not kwargs["gradient_steps"]


@pytest.mark.parametrize("name", ["PPO", "RecurrentPPO"])
def test_what_is_trained_is_what_the_larger_batch_would_have_been(name, tmp_path):
    model = small(name)
    model.learn(4 * ROLLOUT, callback=decaying(name, "batch_size"))
    model.save(tmp_path / "model.zip")
    weights = []
    for batch_size, callback in ((20, decaying(name, "batch_size", ())), (80, None)):
        again = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
        again.set_random_seed(7)
        again.batch_size = batch_size
        again.learn(2 * ROLLOUT, callback=callback, reset_num_timesteps=False)
        weights.append(torch.nn.utils.parameters_to_vector(again.policy.parameters()))
    assert torch.equal(*weights)


# What is left on the model


def data_of(path):
    return json.loads(zipfile.ZipFile(path).read("data"))


@pytest.mark.parametrize("checkpoints_first", [False, True])
@pytest.mark.parametrize("name", GROWING)
def test_every_zip_has_the_users_own_batch(name, checkpoints_first, tmp_path):
    model = small(name)
    callbacks = [decaying(name, "batch_size"), CheckpointCallback(50, str(tmp_path), name_prefix="model")]
    model.learn(4 * ROLLOUT, callback=callbacks[::-1] if checkpoints_first else callbacks)
    model.save(tmp_path / "model_end.zip")
    assert callbacks[0].decays
    zips = sorted(tmp_path.glob("*.zip"))
    assert len(zips) > 10
    own = 20 if name in ON else 16
    assert {data_of(path)["batch_size"] for path in zips} == {own}
    assert {data_of(path).get("gradient_steps", 1) for path in zips} == {1}


@pytest.mark.parametrize("name", GROWING)
def test_a_loaded_model_has_its_own_batch_alone_and_the_grown_one_with_the_callback(name, tmp_path, monkeypatch):
    model = small(name)
    model.learn(3 * ROLLOUT, callback=decaying(name, "batch_size"))
    model.save(tmp_path / "model.zip")
    own = 20 if name in ON else 16
    for callback, seen in ((None, {own}), (decaying(name, "batch_size", ()), {4 * own})):
        again = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
        sizes = batches(monkeypatch, again)
        again.learn(ROLLOUT, callback=callback, reset_num_timesteps=False)
        assert set(sizes) - ({ROLLOUT} if name == "TRPO" else set()) == seen
    # The live model, too.
    sizes = batches(monkeypatch, model)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert set(sizes) - ({ROLLOUT} if name == "TRPO" else set()) == {own}


def test_a_zip_loads_and_trains_where_the_package_is_not(tmp_path):
    model = small("PPO")
    model.learn(4 * ROLLOUT, callback=decaying("PPO", "mixed"))
    model.save(tmp_path / "model.zip")
    code = (
        "import sys; sys.modules['rl_abel'] = None; import gymnasium; from stable_baselines3 import PPO; "
        f"model = PPO.load({str(tmp_path / 'model.zip')!r}, env=gymnasium.make('Pendulum-v1'), device='cpu'); "
        f"model.learn({ROLLOUT}); assert model.batch_size == 20"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def interrupted(name, decay):
    """A model whose training was interrupted in an update after its decay."""
    model = small(name)

    def interrupt(*_):
        if model.abel_state.get("held"):
            raise KeyboardInterrupt

    hook = torch_optimizers(model)[0].register_step_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.learn(5 * ROLLOUT, callback=decaying(name, decay))
    hook.remove()
    return model


@pytest.mark.parametrize("next_decay", ["learning_rate", "batch_size"])
@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_what_an_interrupt_leaves_is_put_back(name, next_decay, tmp_path):
    model = interrupted(name, "batch_size")
    own = 20 if name == "PPO" else 16
    assert model.batch_size == 4 * own
    model.save(tmp_path / "model.zip")
    again = type(model).load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    seen = []

    class See(BaseCallback):
        def _on_step(self):
            seen.append((self.model.batch_size, getattr(self.model, "gradient_steps", 1)))
            return True

    again.learn(ROLLOUT, callback=[decaying(name, next_decay, ()), See()], reset_num_timesteps=False)
    assert set(seen) == {(own, 1)}
    assert again.abel_state["held"] == {}


def test_what_the_user_sets_after_an_interrupt_stays():
    model = interrupted("PPO", "batch_size")
    model.batch_size = 40
    model.learn(ROLLOUT, callback=decaying("PPO", "batch_size", ()), reset_num_timesteps=True)
    assert model.batch_size == 40


def test_a_batch_that_another_callback_sets_is_the_one_that_grows(monkeypatch):
    class Sets(BaseCallback):
        def _on_rollout_start(self):
            self.model.batch_size = 10 if self.num_timesteps < 4 * ROLLOUT else 40

        def _on_step(self):
            return True

    model = small("PPO")
    sizes, callback = batches(monkeypatch, model), decaying("PPO", "batch_size")
    model.learn(6 * ROLLOUT, callback=[callback, Sets()])
    assert counted(sizes) == [(10, 2 * 32), (40, 2 * 8), (160, 2 * 2)]
    assert model.batch_size == 40


# Limits


@pytest.mark.parametrize(
    ("name", "kwargs", "limit", "batch_size", "rate"),
    [
        ("PPO", {}, None, 160, 0.08),
        ("PPO", {}, 50, 40, 0.02),
        ("PPO", {"n_envs": 2}, None, 320, 0.16),
        ("RecurrentPPO", {}, 100, 80, 0.04),
        ("SAC", {"buffer_size": 10_000}, None, 100, 0.01 * 100 / 16),
        ("DQN", {"buffer_size": 400}, None, 40, 0.025),
        ("DQN", {"buffer_size": 10_000}, 32, 32, 0.02),
    ],
)
def test_what_does_not_fit_goes_to_the_rate(name, kwargs, limit, batch_size, rate, monkeypatch):
    kwargs = dict(kwargs)
    if n_envs := kwargs.pop("n_envs", None):
        model = PPO("MlpPolicy", make_vec_env("Pendulum-v1", n_envs), device="cpu", n_steps=ROLLOUT, batch_size=20)
    else:
        model = small(name, **kwargs)
    sizes = batches(monkeypatch, model)
    callback = decaying(name, "batch_size", (1,), max_batch_size=limit, decay_factor=0.01)
    model.learn(1000, callback=callback)
    assert sizes[-1] == max(sizes) == batch_size
    assert model.lr_schedule is not None
    assert model.logger.name_to_value["abel/batch_size"] == batch_size
    learning_rate = model.learning_rate * rate
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(learning_rate) if name != "SAC" else True
    assert torch_optimizers(model)[0].param_groups[0]["lr"] == pytest.approx(learning_rate)


@pytest.mark.parametrize(
    ("name", "kwargs", "limit", "says"),
    [
        ("PPO", {"batch_size": ROLLOUT}, None, "batch of 160 cannot grow, as the rollout is 160"),
        ("MaskablePPO", {"batch_size": None}, None, "batch of 160 cannot grow, as the rollout is 160"),
        ("SAC", {"batch_size": 128}, None, "batch of 128 cannot grow, as a tenth of the data is 50"),
        ("SAC", {}, 16, "batch of 16 cannot grow, as max_batch_size is 16"),
    ],
)
def test_a_batch_that_cannot_grow_is_said_and_the_rate_decays(name, kwargs, limit, says):
    model = small(name, **kwargs)
    callback = decaying(name, "batch_size", (1,), max_batch_size=limit)
    with pytest.warns(UserWarning, match=says):
        model.learn(500, callback=callback)
    assert model.logger.name_to_value["train/learning_rate"] == pytest.approx(2.5e-4)
    assert model.batch_size == kwargs.get("batch_size", 16)


def test_a_cooldown_is_the_rates_alone(monkeypatch):
    model = small("PPO")
    sizes, rates = batches(monkeypatch, model), []
    model.policy.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    callback = decaying("PPO", "batch_size", final_decay_shape="linear", final_decay_at=0.5)
    model.learn(10 * ROLLOUT, callback=callback)
    assert counted(sizes) == [(20, 32), (80, 32)]
    by_update = [rate for rate, _ in groupby(rates)]
    assert by_update == pytest.approx([1e-3, 8e-4, 6e-4, 4e-4, 2e-4])
    assert callback.factor == pytest.approx(0.25 * 0.2)


def test_a_final_decay_grows_the_batch_too(monkeypatch):
    model = small("PPO")
    sizes = batches(monkeypatch, model)
    model.learn(10 * ROLLOUT, callback=decaying("PPO", "batch_size", (), final_decay_at=0.5))
    assert counted(sizes) == [(20, 5 * 16), (80, 5 * 4)]


def test_decays_of_a_part_alone_stay_with_the_rate(tmp_path):
    model = small("PPO")
    alone = AbelCallback(DecayAt(2), watch="policy", scope="part", final_decay_at=None, decay_factor=0.5)
    alone.measure_every = 1
    model.learn(5 * ROLLOUT, callback=alone)
    assert [decay.part for decay in alone.decays] == ["policy"]
    callback = decaying("PPO", "mixed", (3,), watch="policy")
    model.learn(4 * ROLLOUT, callback=callback, reset_num_timesteps=False)
    assert model.logger.name_to_value["abel/batch_size"] == 80
    assert callback.factors["policy"] == pytest.approx(0.5 * 0.25)
    assert model.logger.name_to_value["train/learning_rate"] == pytest.approx(0.5e-3)


# Said and measured


@pytest.mark.parametrize("name", ["DQN"])
@pytest.mark.parametrize("decay", POWERS)
def test_an_update_that_is_put_off_is_no_rate_that_does_not_follow(name, decay):
    # A final decay comes between two measurements: weights have moved since the latest.
    callback = decaying(name, decay, (), final_decay_at=0.5, measure_every=300)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        small(name).learn(1000, callback=callback)
    assert [str(warning.message) for warning in said] == []
    assert [made.cause for made in callback.decays] == ["final"]
    assert callback.model.logger.name_to_value["abel/batch_size"] > callback.model.batch_size


def test_it_is_said_how_a_decay_is_divided(capsys):
    small("PPO").learn(4 * ROLLOUT, callback=decaying("PPO", "mixed", verbose=1))
    assert (
        "decay x 0.25 (in all x 0.25), which is batch size 20 -> 80 and learning rate x 0.5" in capsys.readouterr().out
    )


def test_the_batch_in_a_row_of_the_log_is_that_of_its_update(tmp_path):
    import pandas as pd
    from stable_baselines3.common.logger import configure

    model = small("PPO")
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(6 * ROLLOUT, callback=decaying("PPO", "mixed"))
    model.logger.close()
    # A rollout's row is written before its update: the third rollout's decay is in the row of the fourth.
    log = pd.read_csv(tmp_path / "progress.csv")
    assert log["abel/batch_size"].tolist() == [20, 20, 20, 80, 80, 80]
    assert log["train/learning_rate"].tolist()[1:] == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 5e-4])


def test_weights_are_measured_within_an_update_of_a_grown_batch(monkeypatch):
    model = small("PPO", n_epochs=4)
    callback = decaying("PPO", "batch_size", (6,), measure_every=None)
    model.learn(8 * ROLLOUT, callback=callback)
    assert within_update(model, ROLLOUT / 4) == [8, 16, 24]
    timesteps = callback.trace["timesteps"]
    # Every epoch of every update: four a rollout, evenly spaced, after the batch has grown too.
    assert callback.decays[0].timestep < timesteps[-8]
    assert {after - before for before, after in pairwise(timesteps)} == {ROLLOUT // 4}


# Where there is no batch


@pytest.mark.parametrize("decay", POWERS)
@pytest.mark.parametrize(
    ("name", "why"), [("A2C", "whole rollout, without minibatches"), ("ARS", "follows no gradient, so it has no batch")]
)
def test_an_algorithm_without_a_batch_is_refused(name, why, decay):
    with pytest.raises(ValueError, match=f"acts_on='{decay}'.*{name} has no batch that could grow.*{why}"):
        make_model(name).learn(100, callback=AbelCallback(acts_on=decay))


def test_an_algorithm_of_ones_own_is_refused_where_its_batch_is_not_known():
    class Own(BaseAlgorithm):
        batch_size = 64

        def _setup_model(self):
            pass

        def learn(self):
            pass

    with pytest.raises(ValueError, match="Own has no batch that could grow: it has no batch_size that"):
        check_action("batch_size", Own.__new__(Own))

    class Derived(PPO):
        pass

    check_action("batch_size", Derived("MlpPolicy", "Pendulum-v1", n_steps=64, device="cpu"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acts_on": "momentum"}, r"acts_on must be one of \['learning_rate', 'batch_size', 'mixed'\], got 'momentum'"),
        ({"max_batch_size": 512}, "max_batch_size=512 needs acts_on='batch_size' or 'mixed'"),
        ({"acts_on": "mixed", "max_batch_size": 0}, "max_batch_size must be an integer of at least 1, got 0"),
        ({"acts_on": "mixed", "max_batch_size": 64.0}, "max_batch_size must be an integer of at least 1, got 64.0"),
        ({"acts_on": "mixed", "scope": "part"}, "scope='part' cannot be had with acts_on='mixed'"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AbelCallback(**arguments)
