"""Ten behaviours that naive code gets wrong: the third over every algorithm, the others over one of each kind."""

import pickle
import subprocess
import sys
import textwrap
from io import BytesIO

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, TRPO
from stable_baselines3 import PPO, SAC, TD3

from rl_abel import AbelCallback, Decay, weight_norms
from rl_abel.learning_rate.multiplied_schedule import MultipliedSchedule
from tests.algorithms import ALGORITHMS, OFF, ON, ONE_OF_EACH, STEPS, DecayAt, make_model, torch_optimizers

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


def callback(*decay_at, **kwargs):
    return AbelCallback(**{"rule": DecayAt(*decay_at), "measure_every": 1, "final_decay_at": None, **kwargs})


def watch_rates(model, abel):
    """Record (progress_remaining, rate, factor) at every step of every optimizer."""
    seen = []
    if isinstance(model, ARS):  # no optimizer: what it reads from the schedule is what it uses
        update = model._do_one_update

        def spy(*args):
            seen.append((p := model._current_progress_remaining, model.lr_schedule(p), abel.factor))
            update(*args)
            assert model.logger.name_to_value["train/learning_rate"] == seen[-1][1]

        model._do_one_update = spy
        return seen, lambda: delattr(model, "_do_one_update")
    handles = [
        optimizer.register_step_pre_hook(
            lambda optimizer, args, kwargs: seen.extend(
                (model._current_progress_remaining, group["lr"], abel.factor) for group in optimizer.param_groups
            )
        )
        for optimizer in torch_optimizers(model)
    ]
    return seen, lambda: [handle.remove() for handle in handles]


@one_of_each
def test_1_the_next_step_uses_the_decayed_rate(name):
    model, abel = make_model(name), callback(2, 4, decay_factor=0.5)
    rates, _ = watch_rates(model, abel)
    model.learn(STEPS, callback=abel)
    assert [rate for _, rate, _ in rates] == [1e-3 * factor for _, _, factor in rates]
    assert {factor for _, _, factor in rates} == {1.0, 0.5, 0.25}


@one_of_each
def test_2_a_linear_schedule_is_multiplied_at_every_train(name):
    model, abel = make_model(name, learning_rate=lambda remaining: 1e-3 * remaining), callback(3, decay_factor=0.5)
    rates, _ = watch_rates(model, abel)
    model.learn(STEPS, callback=abel)
    assert [rate for _, rate, _ in rates] == [max(0.0, 1e-3 * p * factor) for p, _, factor in rates]
    assert len({rate for _, rate, _ in rates}) > 3
    assert {factor for _, _, factor in rates} == {1.0, 0.5}


@every_algorithm
def test_3_save_load_learn_keeps_factor_and_history(name, tmp_path):
    model, abel = make_model(name), callback(2, 10_000, decay_factor=0.5)
    rates, stop = watch_rates(model, abel)
    model.learn(STEPS, callback=abel)
    stop()
    assert [rate for _, rate, _ in rates] == [1e-3 * factor for _, _, factor in rates]
    assert {factor for _, _, factor in rates} == {1.0, 0.5}, "the next step uses the decayed rate"
    model.save(tmp_path / "model")
    again = callback(2, 10_000, decay_factor=0.3)
    loaded = type(model).load(tmp_path / "model", env=model.get_env())
    rates, stop = watch_rates(loaded, again)
    loaded.learn(STEPS, callback=again, reset_num_timesteps=False)
    stop()
    assert {rate for _, rate, _ in rates} == {0.5e-3}, "applied once, from the first step on"
    n_optimizers = {"SAC": 3, "TQC": 3, "CrossQ": 3, "TD3": 2, "DDPG": 2, "ARS": 0}.get(name, 1)
    assert len(torch_optimizers(model)) == n_optimizers
    assert again.decays == abel.decays == [Decay(abel.decays[0].timestep, "bounce", 0.5)]
    length = len(abel.trace["timesteps"])
    assert length > 3
    assert {part: norms[:length] for part, norms in again.trace.items()} == abel.trace
    assert len(again.trace["timesteps"]) > length + 3


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    """A trained model of each kind, saved with verbose=1 and with a checkpoint's plain save beside it."""
    folder = tmp_path_factory.mktemp("zips")
    for name in ONE_OF_EACH:
        model = make_model(name, verbose=1)
        model.learn(STEPS, callback=callback(2))
        model.save(folder / f"{name}.zip")
        del model.abel_state
        model.save(folder / f"{name}-plain.zip")
    return folder


def test_4_zips_load_and_predict_without_rl_abel(zips):
    script = """
        import sys
        sys.modules["rl_abel"] = None
        import sb3_contrib, stable_baselines3
        for path in sys.argv[1:]:
            name = path.rpartition("/")[2].removesuffix(".zip")
            algorithm = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
            model = algorithm.load(path)
            model.predict(model.observation_space.sample())
            assert model.lr_schedule(1.0) == 1e-3, "without the callback the rate is the user's own"
            assert model.abel_state["n_bounces"] == 1
            try:
                import rl_abel
            except ImportError:
                print(name)
    """
    paths = [str(zips / f"{name}.zip") for name in ONE_OF_EACH]
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script), *paths], capture_output=True, text=True)
    assert run.stdout.split() == ONE_OF_EACH, run.stderr


@one_of_each
def test_5_a_save_grows_by_little(name, zips):
    grown = (zips / f"{name}.zip").stat().st_size - (zips / f"{name}-plain.zip").stat().st_size
    # Off-policy a short run without thinning has measured 220 times; every measurement is a short line.
    measurements = 220 if name in OFF else 12
    assert 0 < grown < 2000 + 80 * measurements


def test_5_a_full_trace_is_a_few_kilobytes():
    model, abel = make_model("PPO"), AbelCallback()
    model.learn(101 * 20, callback=abel)
    assert len(abel.trace["total"]) == 100
    ours, plain = BytesIO(), BytesIO()
    model.save(ours)
    del model.abel_state
    model.save(plain)
    assert len(ours.getvalue()) - len(plain.getvalue()) < 10_000


@pytest.mark.parametrize("name", ["DQN", "QRDQN", "DDPG", "TD3", "SAC", "TQC"])
def test_6_targets_are_not_counted(name):
    model = make_model(name)
    before = weight_norms(model)
    targets = [p for n, p in model.policy.named_parameters() if "_target" in n]
    assert targets
    with torch.no_grad():
        for parameter in targets:
            parameter.add_(1.0)
    assert weight_norms(model) == before


@every_algorithm
def test_7_each_parameter_counts_once(name):
    model = make_model(name)
    if name == "ARS":
        parameters = list(model.policy.parameters())
    else:
        parameters = [p for o in torch_optimizers(model) for g in o.param_groups for p in g["params"]]
    unique = {id(p): p for p in parameters if p is not getattr(model, "log_ent_coef", None)}
    if getattr(model.policy, "log_std", None) is not None:
        unique.pop(id(model.policy.log_std))
    assert weight_norms(model)["total"] == pytest.approx(sum(p.double().square().sum().item() for p in unique.values()))


class Pixels(gym.Env):
    """Small images, for policies with a features extractor that has weights."""

    observation_space = gym.spaces.Box(0, 255, (1, 36, 36), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", [TD3, SAC, PPO])
def test_7_a_shared_extractor_is_a_part_of_its_own(algorithm, share):
    kwargs = {"features_extractor_kwargs": {"features_dim": 8}, "net_arch": [8], "share_features_extractor": share}
    small = {} if algorithm is PPO else {"buffer_size": 10}
    policy = algorithm("CnnPolicy", Pixels(), policy_kwargs=kwargs, device="cpu", **small).policy
    model = type("Model", (), {"policy": policy})
    norms = weight_norms(model)
    assert ("shared" in norms) == share
    extractor = (
        sum(p.square().sum().item() for p in policy.pi_features_extractor.parameters())
        if algorithm is PPO
        else (sum(p.square().sum().item() for p in policy.actor.features_extractor.parameters()))
    )
    if share:
        assert norms["shared"] == pytest.approx(extractor, rel=1e-5)
    assert norms["total"] == pytest.approx(norms["policy"] + norms["value"] + norms.get("shared", 0))


@one_of_each
def test_8_nothing_is_measured_while_nothing_is_learned(name):
    if name in OFF:
        model = make_model(name, learning_starts=10 * STEPS)
    else:
        model = make_model(name)
        if name == "ARS":
            update = model._do_one_update

            def idle(*args):
                update(*args)
                model.policy.load_from_vector(model.weights.zero_().numpy())
                model._n_updates = 0

            model._do_one_update = idle
        else:
            model.train = lambda: None
    abel = callback(1, 2, 3)
    model.learn(STEPS, callback=abel)
    assert abel.trace["timesteps"] == []
    assert abel.decays == []
    assert abel.factor == 1.0


@one_of_each
def test_9_two_learns_with_one_callback(name):
    model, abel = make_model(name), callback(2, decay_factor=0.5)
    model.learn(STEPS, callback=abel)
    model.learn(STEPS, callback=abel, reset_num_timesteps=False)
    abel.on_training_end()
    assert abel.factor == 0.5
    assert all(group["lr"] == 0.5e-3 for optimizer in torch_optimizers(model) for group in optimizer.param_groups)
    assert not isinstance(model.lr_schedule, MultipliedSchedule), "after learn() the model has its own schedule back"
    assert model.lr_schedule(1.0) == 1e-3


def test_10_ars_decays_through_its_schedule_and_survives_a_zero_norm():
    model = ARS("LinearPolicy", "Pendulum-v1", n_delta=2, learning_rate=0.02, seed=0, device="cpu")
    assert weight_norms(model) == {"total": 0.0, "policy": 0.0}
    abel = callback(1, final_decay_at=0.5)
    rates, _ = watch_rates(model, abel)
    model.learn(6000, callback=abel)
    assert abel.decays[0].cause == "bounce"
    assert abel.decays[1].cause == "final"
    assert [rate for _, rate, _ in rates] == [0.02 * factor for _, _, factor in rates]
    assert rates[-1][1] == pytest.approx(0.02 * 0.01)


def test_schedules_pickle_as_the_users_own():
    base = make_model("PPO").lr_schedule
    restored = pickle.loads(pickle.dumps(MultipliedSchedule(base, 0.1)))
    assert type(restored) is type(base)
    assert restored(0.5) == 1e-3


def test_trpo_moves_its_policy_by_line_search():
    """The rate reaches the value network alone: with a rate of almost 0 the policy still moves."""
    model = make_model("TRPO", learning_rate=1e-30)
    before = weight_norms(model)
    model.learn(100, callback=callback())
    after = weight_norms(model)
    assert isinstance(model, TRPO)
    assert after["policy"] != before["policy"]
    assert after["value"] == pytest.approx(before["value"], rel=1e-9)


@pytest.mark.parametrize("name", ON)
def test_rates_in_optimizers_are_pythons_own(name):
    """A numpy rate in ``param_groups`` cannot be loaded with weights_only."""
    model = make_model(name, learning_rate=lambda remaining: np.float64(1e-3) * remaining)
    model.learn(60, callback=callback(1))
    assert all(type(g["lr"]) is float for o in torch_optimizers(model) for g in o.param_groups)
    buffer = BytesIO()
    model.save(buffer)
    buffer.seek(0)
    type(model).load(buffer)
