"""A finished copy is what the model itself would have become; the model goes on as if never asked."""

import io
import random
from functools import partial
from multiprocessing import Pipe

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_abel import AbelCallback, FinishedEval, finish
from rl_abel.finishing.copies import check_copies
from tests.algorithms import ALGORITHMS, OFF_POLICY, ONE_OF_EACH, STEPS, DecayAt, make_model

RATE = 1e-3
SMALL = {"n_steps": 20, "batch_size": 20, "policy_kwargs": {"net_arch": [8]}, "device": "cpu", "seed": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement"),
    pytest.mark.filterwarnings("ignore:rl_abel. in this budget"),
    pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped"),
]


def everything(model):
    """All that a model and its environment hold, as bytes: of the same objects the same as long as nothing moves."""
    held = {name: value for name, value in vars(model).items() if name not in ("_logger", "env", "_vec_normalize_env")}
    level, levels = model.env, []
    while level is not None:
        levels.append({k: v for k, v in vars(level).items() if k not in ("venv", "class_attributes")})
        level = vars(level).get("venv")
    return cloudpickle.dumps([held, levels])


def random_states():
    return repr((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))


def outcome(model):
    """What came of a training: weights, the state of the optimizers, returns, random states."""
    buffer = io.BytesIO()
    torch.save([model.get_parameters(), getattr(model, "weights", None)], buffer)
    returns = [(episode["r"], episode["l"]) for episode in model.ep_info_buffer]
    states = random_states(), repr(model.action_space.np_random.bit_generator.state)
    return buffer.getvalue(), returns, states, model.num_timesteps


def weights(model):
    return torch.cat([tensor.flatten() for tensor in model.policy.state_dict().values()])


def rate_of(model):
    assert model.learning_rate == model.lr_schedule(1.0) == model.lr_schedule(0.0)
    return model.learning_rate


class At(BaseCallback):
    """Calls a function of the model once, within a step."""

    def __init__(self, timestep, call):
        super().__init__()
        self.timestep, self.call, self.result = timestep, call, None

    def _on_step(self):
        if self.result is None and self.num_timesteps >= self.timestep:
            self.result = self.call(self.model)
        return True


# The original


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "RecurrentPPO"])
def test_the_original_is_bit_identical(name):
    model = make_model(name)
    model.learn(STEPS)
    before, states = everything(model), random_states()
    finished = finish(model, 60)
    assert (everything(model), random_states()) == (before, states)
    assert not torch.equal(weights(model), weights(finished))
    assert finished.num_timesteps >= model.num_timesteps + 60
    assert rate_of(finished) == pytest.approx(RATE / 10)


@pytest.mark.parametrize(
    ("name", "when"),
    [(name, "within a step") for name in (*ONE_OF_EACH, "RecurrentPPO")]
    + [(name, "between") for name in ("PPO", "SAC")],
)
def test_the_training_goes_on_as_if_it_had_not_been_finished(name, when):
    def trained(call):
        model = make_model(name)
        model.learn(STEPS, callback=At(90, call) if when == "within a step" else None)
        if when == "between":
            call(model)
        model.learn(STEPS, reset_num_timesteps=False)
        return outcome(model)

    assert trained(lambda model: finish(model, 60)) == trained(lambda model: True)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_training_goes_on_as_if_it_had_not_been_evaluated(name):
    def trained(evaluated):
        model = make_model(name)
        _, env, _ = ALGORITHMS[name]
        eval_env = env() if callable(env) else gym.make(env)
        eval_env.reset(seed=1)
        evaluation = FinishedEval(eval_env, every=100, timesteps=40, n_eval_episodes=1)
        model.learn(2 * STEPS, callback=[AbelCallback(DecayAt(2)), *([evaluation] if evaluated else [])])
        return outcome(model), evaluation.finished

    (one, finished), (other, _) = trained(True), trained(False)
    assert one == other
    assert len(finished) >= 2


# The copy


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "RecurrentPPO"])
def test_the_copy_is_what_the_model_would_be_at_that_rate(name):
    """An independent way there: the model itself, at a constant rate, from a new episode on."""

    def trained():
        model = make_model(name)
        model.learn(STEPS)
        return model

    finished = finish(trained(), STEPS, decay_factor=0.3)
    itself = trained()
    itself.lr_schedule, itself._last_obs = FloatSchedule(0.3 * RATE), None
    if hasattr(itself, "exploration_schedule"):
        itself.exploration_schedule = FloatSchedule(itself.exploration_rate)
    itself.learn(STEPS, reset_num_timesteps=False)
    assert outcome(finished)[0] == outcome(itself)[0]
    assert outcome(finished)[1] == outcome(itself)[1]


def test_other_schedules_stay_where_they_are():
    seen = []
    model = PPO("MlpPolicy", "Pendulum-v1", clip_range=lambda p: 0.1 + 0.1 * p, **SMALL)
    model.clip_range_vf = lambda p: p
    model.learn(200, callback=At(100, lambda model: seen.append(finish(model, 20)) or True))
    assert [seen[0].clip_range(p) for p in (1, 0)] == pytest.approx([0.16, 0.16]), "after 80 of 200 timesteps"
    assert [seen[0].clip_range_vf(p) for p in (1, 0)] == pytest.approx([0.6, 0.6])
    assert (model.clip_range(1), model.clip_range_vf(0.3)) == (0.2, 0.3)


def decays_twice():
    return AbelCallback(DecayAt(2, 4), final_decay_at=None, measure_every=20)


def test_decays_count_once_within_learn_and_after_it():
    model = PPO("MlpPolicy", "Pendulum-v1", learning_rate=lambda p: RATE * (0.5 + p), **SMALL)
    rates = []
    look = At(70, lambda model: rates.append(rate_of(finish(model, 20))) or True)
    model.learn(200, callback=[decays_twice(), look])
    # The last update was after 60 of 200 timesteps, and one decay is in force.
    assert rates == pytest.approx([1.2 * RATE * 0.1 * 0.1])
    finished = finish(model, 20)
    assert rate_of(finished) == pytest.approx(0.5 * RATE * 0.01 * 0.1)
    assert rate_of(finish(finished, 20)) == pytest.approx(0.5 * RATE * 0.01 * 0.01), "the copy holds its decays"
    loaded = save_and_load(model)
    assert rate_of(finish(loaded, 20, env=gym.make("Pendulum-v1"))) == pytest.approx(0.5 * RATE * 0.01 * 0.1)
    model.learn(40, reset_num_timesteps=False)
    assert rate_of(finish(model, 20)) == pytest.approx(0.5 * RATE * 0.1), "trained on without them"


def save_and_load(model):
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return type(model).load(buffer, env=gym.make("Pendulum-v1"), device="cpu")


def test_a_floor_is_in_force_too():
    model, rates = make_model("PPO"), []
    abel = AbelCallback(DecayAt(2), final_decay_at=None, measure_every=20, min_learning_rate=RATE / 2)
    model.learn(100, callback=[At(90, lambda model: rates.append(rate_of(finish(model, 20))) or True), abel])
    assert rates == pytest.approx([RATE / 2 * 0.1])


def test_an_interrupted_training_counts_its_decays_once():
    model = make_model("PPO")
    with pytest.raises(ZeroDivisionError):
        model.learn(200, callback=[decays_twice(), At(150, lambda model: 1 / 0)])
    assert rate_of(finish(model, 20)) == pytest.approx(RATE * 0.01 * 0.1)


def test_a_schedule_that_counts_its_calls_is_not_asked():
    class Counting:
        calls = 0

        def __call__(self, progress):
            self.calls += 1
            return RATE

    model = make_model("PPO", learning_rate=Counting())
    model.learn(60)
    schedule = model.learning_rate
    calls = schedule.calls
    finish(model, 20)
    assert schedule.calls == calls


def test_a_rate_of_0_is_said():
    model = make_model("PPO", learning_rate=lambda p: p * RATE)
    model.learn(200)
    with pytest.warns(UserWarning, match="rate in force is 0"):
        finished = finish(model, 20)
    assert torch.equal(weights(model), weights(finished))


def test_frozen_and_replaced_layers_stay_so():
    model = make_model("PPO")
    model.policy.action_net = torch.nn.Linear(8, 1, bias=False)
    model.policy.value_net.requires_grad_(False)
    model.policy.optimizer = torch.optim.SGD([p for p in model.policy.parameters() if p.requires_grad], lr=RATE)
    model.learn(60)
    finished = finish(model, 60)
    assert torch.equal(model.policy.value_net.weight, finished.policy.value_net.weight)
    assert not torch.equal(model.policy.action_net.weight, finished.policy.action_net.weight)
    assert isinstance(finished.policy.optimizer, torch.optim.SGD)


COMPILED = {
    "the policy": lambda model: setattr(model, "policy", torch.compile(model.policy, backend="eager")),
    "in place": lambda model: model.policy.compile(backend="eager"),
    "a part": lambda model: setattr(
        model.policy, "mlp_extractor", torch.compile(model.policy.mlp_extractor, backend="eager")
    ),
    "a method": lambda model: setattr(model.policy, "forward", torch.compile(model.policy.forward, backend="eager")),
}


@pytest.mark.parametrize("how", COMPILED)
def test_compiled_policies(how):
    model = make_model("PPO")
    COMPILED[how](model)
    model.learn(60)
    before = weights(model)
    finished = finish(model, 40)
    assert torch.equal(weights(model), before)
    plain = make_model("PPO")
    plain.learn(60)
    torch.testing.assert_close(weights(finished), weights(finish(plain, 40)), rtol=1e-4, atol=1e-6)
    assert "forward" not in vars(finished.policy)


def test_a_gsde_policy():
    model = PPO("MlpPolicy", "Pendulum-v1", use_sde=True, **SMALL)
    model.learn(60)
    before = everything(model)
    finish(model, 20)
    assert everything(model) == before


def test_her_trains_in_the_copy():
    changes = {**OFF_POLICY, "policy_kwargs": {"net_arch": [8]}, "train_freq": 1, "seed": 0, "device": "cpu"}

    def make():
        env = BitFlippingEnv(n_bits=4, continuous=False)
        model = DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, **changes)
        return model.learn(103)

    model = make()
    before = everything(model)
    finished = finish(model, 50)
    assert everything(model) == before
    assert finished.replay_buffer.env is finished.env
    assert model.replay_buffer.env is model.env
    assert (model.replay_buffer.pos, finished.replay_buffer.pos) == (103, 153)
    assert finished.replay_buffer.ep_length[102, 0] > 0, "the episode that was under way is one"
    itself = make()
    itself.lr_schedule, itself._last_obs = FloatSchedule(1e-5), None
    itself.exploration_schedule = FloatSchedule(itself.exploration_rate)
    with pytest.warns(UserWarning, match="will be truncated"):
        itself.replay_buffer.truncate_last_trajectory()
    itself.learn(50, reset_num_timesteps=False)
    assert outcome(finished)[0] == outcome(itself)[0]


@pytest.mark.parametrize("changes", [{"n_steps": 3}, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}])
def test_no_transition_reaches_into_the_new_episode(changes):
    optimized = {"optimize_memory_usage": "replay_buffer_kwargs" in changes}
    model = make_model("DQN", train_freq=1, **changes, **optimized)
    model.learn(105)
    assert not model.replay_buffer.dones[104], "in mid-episode"
    finished = finish(model, 20)
    ends = finished.replay_buffer.dones if optimized["optimize_memory_usage"] else finished.replay_buffer.timeouts
    assert ends[104] == 1
    assert not model.replay_buffer.dones[104]


def test_a_real_timeout_stays_one():
    model = make_model("SAC", learning_starts=1)
    model.learn(200)
    assert model.replay_buffer.timeouts[199] == model.replay_buffer.dones[199] == 1, "Pendulum ends after 200"
    assert finish(model, 1).replay_buffer.timeouts[199] == 1


# The environment


def normalized(n_envs=1, **kwargs):
    return VecNormalize(make_vec_env("Pendulum-v1", n_envs=n_envs, seed=0, **kwargs))


def test_statistics_of_vec_normalize_are_copied():
    model = PPO("MlpPolicy", VecFrameStack(normalized(2), 2), **SMALL)
    model.learn(80)
    before = everything(model)
    count = model.get_vec_normalize_env().obs_rms.count
    finished = finish(model, 80)
    assert everything(model) == before
    assert model.get_vec_normalize_env() is not finished.get_vec_normalize_env()
    assert finished.get_vec_normalize_env().obs_rms.count == count + 2 + 80, "a reset of two, and the steps"


@pytest.mark.parametrize("given", [partial(make_vec_env, "Pendulum-v1", n_envs=2, seed=5), partial(normalized, 2)])
def test_a_given_environment_has_the_statistics(given):
    model = PPO("MlpPolicy", normalized(2), **SMALL)
    model.learn(80)
    before, mean = everything(model), model.get_vec_normalize_env().obs_rms.mean.copy()
    env = given()
    finished = finish(model, 1, env=env)
    assert everything(model) == before
    assert finished.get_vec_normalize_env() is (env if isinstance(env, VecNormalize) else finished.env)
    assert finished.get_vec_normalize_env().obs_rms.count == pytest.approx(80 + 2 + 2 + 40)
    assert np.array_equal(model.get_vec_normalize_env().obs_rms.mean, mean)


@pytest.mark.parametrize("each", [True, False])
def test_monitor_files_are_not_written_by_the_copy(each, tmp_path):
    if each:
        env = make_vec_env("Pendulum-v1", seed=0, monitor_dir=str(tmp_path))
    else:
        env = VecMonitor(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), str(tmp_path / "0"))
    model = PPO("MlpPolicy", env, **SMALL)
    model.learn(220)
    finished = finish(model, 400)
    assert len(finished.ep_info_buffer) == 3
    model.learn(200, reset_num_timesteps=False)
    env.close()
    head, names, *episodes = (tmp_path / "0.monitor.csv").read_text().splitlines()
    assert (head[0], names, len(episodes)) == ("#", "r,l,t", 2)


def test_box2d_is_made_anew_from_its_arguments():
    pytest.importorskip("Box2D")

    def rewards():
        model = PPO("MlpPolicy", gym.make("LunarLander-v3", gravity=-3.0), **SMALL)
        model.learn(60)
        lander, contents = model.env.envs[0].unwrapped.lander, random_states()
        finished = finish(model, 200)
        assert model.env.envs[0].unwrapped.lander is lander
        assert random_states() == contents
        assert finished.env.envs[0].unwrapped.gravity == -3.0
        return outcome(finished)[:2]

    assert rewards() == rewards(), "its generator is seeded"


def test_box2d_goes_on_as_if_it_had_not_been_evaluated():
    pytest.importorskip("Box2D")

    def trained(*evaluation):
        model = PPO("MlpPolicy", gym.make("LunarLander-v3"), **SMALL)
        return outcome(model.learn(80, callback=list(evaluation)))

    assert trained(an_eval(eval_env=gym.make("LunarLander-v3"), every=40, n_eval_episodes=1)) == trained()


class Piped(gym.Wrapper):
    """Holds a pipe to another process, which has its end."""

    def __init__(self, env):
        super().__init__(env)
        self.ours, self.theirs = Pipe()


class Itself(gym.Wrapper):
    def __deepcopy__(self, memo):
        return self


class Generating(gym.Wrapper):
    def __init__(self, env):
        super().__init__(env)
        self.steps = (step for step in range(10))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DummyVecEnv([lambda: Piped(gym.make("Pendulum-v1"))]), "PendulumEnv cannot be copied: give env="),
        (lambda: DummyVecEnv([lambda: Generating(gym.make("Pendulum-v1"))]), "PendulumEnv cannot be copied: give env="),
        (
            lambda: DummyVecEnv([lambda: Itself(gym.make("Pendulum-v1"))]),
            "two copies of PendulumEnv that do the same see",
        ),
        (lambda: SubprocVecEnv([lambda: gym.make("Pendulum-v1")]), "SubprocVecEnv cannot be copied: give env="),
    ],
)
def test_what_cannot_be_copied_asks_for_an_environment(make, said):
    env = make()
    model = PPO("MlpPolicy", env, **SMALL)
    model.learn(40)
    with pytest.raises(ValueError, match=said):
        finish(model, 20)
    with pytest.raises(ValueError, match=said):
        model.learn(40, callback=an_eval(), reset_num_timesteps=False)
    assert finish(model, 20, env=gym.make("Pendulum-v1")).num_timesteps == 60
    if isinstance(env, DummyVecEnv) and isinstance(env.envs[0], Piped):
        env.envs[0].ours.send("still open")
        assert env.envs[0].theirs.recv() == "still open"
    model.learn(40, reset_num_timesteps=False)
    env.close()


def test_a_model_that_holds_what_cannot_be_copied():
    model = make_model("PPO")
    model.steps = (step for step in range(10))
    with pytest.raises(ValueError, match="PPO holds what cannot be copied: cannot pickle 'generator'"):
        finish(model, 20)


# What a copy could share with the original, or write


class Game(gym.Env):
    """Against an opponent, a model; its state is its own, or that of a simulator which all share."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"
    observation_space = gym.spaces.Box(-9, 9, (2,))
    action_space = gym.spaces.Box(-1, 1, (1,))
    opponent = None

    def __init__(self, world=None, chance=None, log=None):
        self.world = {"t": 0} if world is None else world
        self.chance = chance
        self.log = log

    def _observed(self):
        rng = self.np_random if self.chance is None else self.chance()
        return np.float32([self.world["t"] % 8, rng.uniform(-1, 1)])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.world["t"] = 0
        return self._observed(), {}

    def step(self, action):
        self.world["t"] += 1
        other = 0.0 if self.opponent is None else self.opponent.predict(self._observed())[0].item()
        if self.log:
            print(other, file=self.log)
        return self._observed(), float(action[0]) - other, False, self.world["t"] >= 10, {}

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)


class TwoActions(gym.Wrapper):
    action_space = gym.spaces.Discrete(2)

    def step(self, action):
        return self.env.step(np.float32([action]))


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize, partial(VecFrameStack, n_stack=2)])
@pytest.mark.parametrize("kind", [PPO, DQN])
def test_in_self_play_each_environment_holds_the_other_model(kind, wrap):
    settings = SMALL if kind is PPO else {**OFF_POLICY, "policy_kwargs": {"net_arch": [8]}, "seed": 0}

    def make(game):
        return wrap(DummyVecEnv([lambda: TwoActions(game)]))

    def trained(evaluated):
        games = [Game(), Game()]
        models = [kind("MlpPolicy", make(game), verbose=1, **settings) for game in games]
        for game, other in zip(games, reversed(models)):
            game.opponent = Seat(other)
        timesteps = []
        for model in models * 2:
            callbacks = [an_eval(eval_env=make(Game()), every=60)] if evaluated else []
            model.learn(120, callback=callbacks, reset_num_timesteps=False)
            timesteps += [timestep for callback in callbacks for timestep, _ in callback.finished]
        return [outcome(model) for model in models], timesteps

    (one, _), (other, timesteps) = trained(evaluated=False), trained(evaluated=True)
    assert one == other
    assert timesteps == [60, 120, 60, 120, 180, 240, 180, 240]


class Seat:
    """Plays for a model that sees its own observations in its own way, of frames or normalized."""

    def __init__(self, model):
        self.model = model

    def predict(self, observation):
        return self.model.predict(np.resize(observation, self.model.observation_space.shape))


WORLD = {"t": 0}
GENERATOR = np.random.default_rng(0)


def test_a_simulator_that_copies_share_is_refused_at_the_start():
    class InTheSimulator(Game):
        world = property(lambda self: WORLD, lambda self, value: None)

    model = PPO("MlpPolicy", InTheSimulator(), **SMALL)
    with pytest.raises(ValueError, match=r"two copies of InTheSimulator that do the same see other things.*give env="):
        model.learn(40, callback=an_eval(eval_env=Game()))
    assert finish(model, 20, env=Game()).num_timesteps == 20


def test_a_generator_that_copies_share_is_refused_and_global_ones_are_not():
    model = PPO("MlpPolicy", Game(chance=lambda: GENERATOR), **SMALL)
    with pytest.raises(ValueError, match="two copies of Game that do the same see other things"):
        finish(model, 20)
    finish(PPO("MlpPolicy", Game(chance=lambda: np.random), **SMALL), 20)


def test_what_a_mask_forbids_is_no_reason_to_refuse():
    class Strict(Game):
        def step(self, action):
            raise ValueError("forbidden")

    check_copies(DummyVecEnv([Strict]))


@pytest.mark.parametrize("of", ["one", "all"])
def test_an_environment_that_records_videos_asks_for_another(of, tmp_path):
    pytest.importorskip("moviepy")
    if of == "one":
        env = gym.wrappers.RecordVideo(Game(), str(tmp_path / "0"), episode_trigger=lambda n: True, disable_logger=True)
    else:
        env = VecVideoRecorder(DummyVecEnv([Game]), str(tmp_path), lambda step: step % 20 == 5, video_length=5)
    model = PPO("MlpPolicy", env, **SMALL)
    model.learn(40)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert before
    with pytest.raises(ValueError, match=r"Game cannot be copied: give env=.*Video"):
        finish(model, 100)
    finish(model, 100, env=Game())
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")} == before
    env.close()


def test_an_environment_that_holds_a_file_asks_for_another(tmp_path):
    with (tmp_path / "log").open("w") as log:
        model = PPO("MlpPolicy", Game(log=log), **SMALL)
        model.learn(40)
        with pytest.raises(ValueError, match=r"Game cannot be copied: give env=.*cannot pickle '_io.TextIOWrapper'"):
            finish(model, 40)
        finish(model, 40, env=Game())
    assert len((tmp_path / "log").read_text().splitlines()) == 40


def test_what_can_no_longer_be_copied_ends_no_training():
    model = make_model("PPO")

    def spoil(model):
        model.env.envs[0].unwrapped.steps = (step for step in range(10))
        return True

    evaluation = an_eval(every=40, n_eval_episodes=1)
    with pytest.warns(UserWarning, match="FinishedEval stops here, the training goes on: ValueError: Pend") as said:
        model.learn(200, callback=[evaluation, At(60, spoil)])
    assert model.num_timesteps == 200
    assert [timestep for timestep, _ in evaluation.finished] == [40]
    assert len(said) == 1


# The logs


def test_the_copy_says_and_writes_nothing(tmp_path, capsys):
    model = make_model("PPO", verbose=1, tensorboard_log=str(tmp_path))
    model.learn(100)
    capsys.readouterr()
    finished = finish(model, 100)
    assert capsys.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["PPO_1"]
    finished.learn(100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PPO_1", "PPO_2"], "trained on it logs on its own"


@pytest.mark.parametrize("first", [True, False])
def test_results_are_logged_at_their_own_timesteps(first, tmp_path, capsys):
    model = make_model("PPO")
    model.set_logger(configure(str(tmp_path / "log"), ["csv", "tensorboard"]))
    evaluation = FinishedEval(gym.make("Pendulum-v1"), every=100, timesteps=20, n_eval_episodes=1, verbose=1)
    beside = [AbelCallback(DecayAt(2)), CheckpointCallback(50, str(tmp_path), save_replay_buffer=True)]
    model.learn(300, callback=[evaluation, *beside] if first else [*beside, evaluation], log_interval=4)
    model.logger.close()
    assert [timestep for timestep, _ in evaluation.finished] == [100, 200, 300]
    [events] = (tmp_path / "log").glob("events*")
    written = EventAccumulator(str(events)).Reload().Scalars("abel/finished_reward")
    assert [event.step for event in written] == [100, 200, 300]
    assert [event.value for event in written] == pytest.approx([reward for _, reward in evaluation.finished])
    assert "abel/finished_reward" in (tmp_path / "log" / "progress.csv").read_text()
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "RecurrentPPO"])
def test_each_kind_is_evaluated(name):
    _, env, _ = ALGORITHMS[name]
    model = make_model(name)
    evaluation = FinishedEval(env() if callable(env) else gym.make(env), every=100, timesteps=20, n_eval_episodes=1)
    model.learn(150, callback=evaluation)
    assert evaluation.finished
    assert all(np.isfinite(reward) for _, reward in evaluation.finished)


@pytest.mark.parametrize("wrapped", [True, False])
def test_evaluated_with_the_statistics_of_the_copy(wrapped):
    model = PPO("MlpPolicy", normalized(), **SMALL)
    plain = make_vec_env("Pendulum-v1", seed=1)
    env = VecNormalize(plain, training=False, norm_reward=False) if wrapped else plain
    evaluation = FinishedEval(env, every=40, timesteps=20, n_eval_episodes=1)
    model.learn(40, callback=evaluation)
    counts = [env.obs_rms.count for env in (model.get_vec_normalize_env(), evaluation.eval_env)]
    assert np.diff(counts) == [21], "a reset and the rollout of the copy"
    assert evaluation.finished[0][1] < -100, "a reward of Pendulum, not a normalized one"


def test_a_training_that_goes_on_keeps_to_the_multiples():
    model = make_model("PPO")
    evaluation = FinishedEval(gym.make("Pendulum-v1"), every=100, timesteps=20, n_eval_episodes=1)
    model.learn(140, callback=evaluation)
    model.learn(140, callback=evaluation, reset_num_timesteps=False)
    assert [timestep for timestep, _ in evaluation.finished] == [100, 200]


# Bad input


def an_eval(**changes):
    return FinishedEval(**{"eval_env": gym.make("Pendulum-v1"), "every": 20, "timesteps": 20, **changes})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: finish("model", 20), "model must be a model of stable-baselines3, got 'model'"),
        (lambda: finish(make_model("PPO"), 0), "timesteps must be an integer of at least 1, got 0"),
        (lambda: finish(make_model("PPO"), 1e3), "timesteps must be an integer of at least 1, got 1000.0"),
        (lambda: finish(make_model("PPO"), 20, 1), r"decay_factor must be in \(0, 1\), got 1"),
        (lambda: finish(make_model("PPO"), 20, env="Pendulum-v1"), "env must be an environment.*got 'Pendulum-v1'"),
        (lambda: an_eval(eval_env=None), "eval_env must be an environment of gymnasium or a VecEnv, got None"),
        (lambda: an_eval(every=0), "every must be an integer of at least 1, got 0"),
        (lambda: an_eval(timesteps=True), "timesteps must be an integer of at least 1, got True"),
        (lambda: an_eval(decay_factor=0), r"decay_factor must be in \(0, 1\), got 0"),
        (lambda: an_eval(n_eval_episodes=0), "n_eval_episodes must be an integer of at least 1, got 0"),
        (lambda: an_eval(env=3), "env must be an environment of gymnasium or a VecEnv, got 3"),
        (lambda: an_eval(verbose=-1), "verbose must be an integer of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_environments_that_do_not_fit():
    model = make_model("PPO")
    with pytest.raises(ValueError, match="env is the model's own environment"):
        finish(model, 20, env=model.env.envs[0])
    with pytest.raises(ValueError, match="eval_env is the model's own environment"):
        model.learn(40, callback=FinishedEval(model.get_env(), every=20, timesteps=20))
    with pytest.raises(ValueError, match="env must hold as many environments as the model's, 1, got 2"):
        finish(model, 20, env=make_vec_env("Pendulum-v1", n_envs=2))
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        finish(model, 20, env=gym.make("CartPole-v1"))
    model.env = None
    with pytest.raises(ValueError, match="the model has no environment: give env="):
        finish(model, 20)


@pytest.mark.parametrize(
    "nest",
    [
        lambda inner, env: EvalCallback(env, callback_after_eval=inner, eval_freq=20, n_eval_episodes=1),
        lambda inner, env: EvalCallback(env, callback_on_new_best=CallbackList([inner]), eval_freq=20),
        lambda inner, env: EveryNTimesteps(20, inner),
        lambda inner, env: EveryNTimesteps(20, CallbackList([CallbackList([inner])])),
    ],
)
def test_inside_an_evaluation_it_says_what_to_do(nest):
    model = make_model("PPO")
    with pytest.raises(ValueError, match=r"FinishedEval cannot work inside .*callback=\[FinishedEval\(.*every=\d+"):
        model.learn(100, callback=nest(an_eval(), make_vec_env("Pendulum-v1")))
