"""AbelCallback beside the ten behaviours: resuming, the final decay, limits, scalars, bad input."""

import contextlib
import csv
import inspect
import math
import re
import warnings

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, HerReplayBuffer
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
)
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import RMSprop

from rl_abel import (
    AbelCallback,
    AutoLearningRate,
    Decay,
    KLAdaptiveCallback,
    RateByPart,
    TrendRule,
    find_decays,
    weight_norms,
)
from rl_abel.rules.bounce import observe_each
from rl_abel.training.state import TrainingState
from tests.algorithms import ONE_OF_EACH, STEPS, DecayAt, make_model, torch_optimizers

TOO_FEW = "ignore:rl_abel. about .* measurement"
pytestmark = pytest.mark.filterwarnings(TOO_FEW)
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


def callback(*decay_at, **kwargs):
    return AbelCallback(**{"rule": DecayAt(*decay_at), "measure_every": 1, "final_decay_at": None, **kwargs})


def bounces(abel):
    timesteps = abel.trace["timesteps"]
    return [timesteps.index(decay.timestep) for decay in abel.decays if decay.cause == "bounce"]


# Cut in two


@one_of_each
def test_a_run_cut_in_two_decides_as_one(name, tmp_path):
    """A rule that counts shows any measurement that is lost or seen twice."""
    rule = DecayAt(2, 5, 6, 12, 13, 17)
    model = make_model(name)
    model.learn(STEPS, callback=callback(rule=rule, decay_factor=0.9))
    model.save(tmp_path / "model")
    loaded, again = type(model).load(tmp_path / "model", env=model.get_env()), callback(rule=rule, decay_factor=0.9)
    loaded.learn(STEPS, callback=again, reset_num_timesteps=False)
    assert np.all(np.diff(again.trace["timesteps"]) > 0), "no weights are measured twice"
    assert find_decays(again.trace["total"], rule=rule) == bounces(again)
    assert len(bounces(again)) >= 2


def test_a_cut_run_measures_what_the_whole_run_does():
    traces = []
    for pieces in ([400], [160, 240], [60, 100, 240]):
        model, abel = make_model("PPO"), AbelCallback(measure_every=40, final_decay_at=None)
        for piece in pieces:
            model.learn(piece, callback=abel, reset_num_timesteps=False)
        traces.append(abel.trace)
    assert traces[0]["timesteps"] == [40, 80, 120, 160, 200, 240, 280, 320, 360, 400]
    assert traces[0] == traces[1] == traces[2]


class Stop(BaseCallback):
    def __init__(self, at, error=None):
        super().__init__()
        self.at, self.error = at, error

    def _on_step(self):
        if self.num_timesteps >= self.at and self.error:
            raise self.error
        return self.num_timesteps < self.at


@pytest.mark.parametrize("name", ["PPO", "SAC"])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_an_early_stop_or_interrupt_loses_nothing(name, error, tmp_path):
    model, abel = make_model(name), callback(2, decay_factor=0.5)
    with contextlib.suppress(KeyboardInterrupt):
        model.learn(STEPS, callback=[abel, Stop(130, error)])
    model.save(tmp_path / "model")
    again = callback(2, decay_factor=0.5)
    loaded = type(model).load(tmp_path / "model", env=model.get_env())
    loaded.learn(STEPS - model.num_timesteps, callback=again, reset_num_timesteps=False)
    assert again.decays == abel.decays
    assert len(again.decays) == 1
    length = len(abel.trace["total"])
    assert again.trace["total"][:length] == abel.trace["total"]
    assert {group["lr"] for group in torch_optimizers(loaded)[0].param_groups} == {0.5e-3}


@pytest.mark.parametrize("name", ["PPO", "SAC", "ARS"])
def test_checkpoints_resume(name, tmp_path):
    model, abel = make_model(name), callback(rule="paper", decay_factor=0.9)
    checkpoint = CheckpointCallback(90, tmp_path)
    model.learn(STEPS, callback=CallbackList([checkpoint, abel]))
    path = sorted(tmp_path.glob("*.zip"), key=lambda p: int(p.stem.split("_")[-2]))[0]
    loaded, again = type(model).load(path, env=model.get_env()), callback(rule="paper", decay_factor=0.9)
    loaded.learn(STEPS, callback=again, reset_num_timesteps=False)
    kept = [t for t in abel.trace["timesteps"] if t < int(path.stem.split("_")[-2])]
    assert again.trace["timesteps"][: len(kept)] == kept
    assert find_decays(again.trace["total"], rule="paper") == bounces(again)


def test_reset_num_timesteps_starts_anew():
    model, abel = make_model("PPO"), callback(1)
    model.learn(STEPS, callback=abel)
    first = abel.decays
    model.learn(STEPS, callback=abel)
    assert abel.decays == first, "as in the first run, not one more"
    assert len(abel.trace["timesteps"]) == STEPS // 20 - 1


@one_of_each
def test_a_run_cut_in_two_watches_every_part_as_one(name):
    model, arguments = make_model(name), {"rule": "paper", "watch": "any", "decay_factor": 0.9}
    for callback_of_piece in (callback(**arguments), again := callback(**arguments)):
        model.learn(STEPS, callback=callback_of_piece, reset_num_timesteps=False)
    parts = [part for part in ("total", "policy", "value") if part in again.trace]
    states, expected = {}, []
    for index, norms in enumerate(zip(*(again.trace[part] for part in parts))):
        states, bounced = observe_each(again.rule, states, dict(zip(parts, norms)))
        expected += [index] if bounced else []
    assert bounces(again) == expected
    assert again.n_bounces == len(expected)


@pytest.mark.parametrize(
    ("arguments", "watch"),
    [
        ({}, "any"),
        ({"rule": TrendRule(window=5)}, "any"),
        ({"rule": "paper"}, "total"),  # to the letter: Algorithm 1 has one norm
        ({"rule": DecayAt(1)}, "total"),
        ({"rule": "paper", "watch": "any"}, "any"),
        ({"watch": "value"}, "value"),
    ],
)
def test_what_is_watched(arguments, watch):
    assert AbelCallback(**arguments).watch == watch


def test_another_rule_or_part_begins_anew():
    model, arguments = make_model("PPO"), {"max_decays": None, "decay_factor": 0.9}
    model.learn(200, callback=callback(3))
    model.learn(200, callback=callback(rule="paper", watch="value", **arguments), reset_num_timesteps=False)
    abel = callback(rule="paper", watch="policy", **arguments)
    model.learn(200, callback=abel, reset_num_timesteps=False)
    timesteps = abel.trace["timesteps"]
    first, second = ([begin < timestep <= begin + 200 for timestep in timesteps].index(True) for begin in (200, 400))
    expected = [first + index for index in find_decays(abel.trace["value"][first:second], rule="paper")]
    expected += [second + index for index in find_decays(abel.trace["policy"][second:], rule="paper")]
    assert bounces(abel) == [2, *expected]


def test_the_interval_is_kept_over_a_resume(tmp_path):
    model, abel = make_model("A2C", n_steps=5), AbelCallback()
    model.learn(400 * 5, callback=[abel, Stop(200 * 5)])
    model.learn(200 * 5, callback=abel, reset_num_timesteps=False)
    assert set(np.diff(abel.trace["timesteps"])) == {20}


def test_another_training_has_an_interval_of_its_own():
    model, abel = make_model("A2C", n_steps=5), AbelCallback()
    model.learn(400 * 5, callback=abel)
    model.learn(100 * 5, callback=AbelCallback(), reset_num_timesteps=False)
    spacing = np.diff(model_trace(model)["timesteps"]).tolist()
    assert spacing == [20] * 99 + [15] + [5] * 99


def model_trace(model):
    """What a zip would hold."""
    return TrainingState.read(model.abel_state).trace


@pytest.mark.parametrize(("rollouts", "measured"), [(50, 49), (101, 100), (200, 100), (420, 105)])
def test_about_a_hundred_measurements_a_run(rollouts, measured):
    model, abel = make_model("A2C", n_steps=5), AbelCallback()
    model.learn(rollouts * 5, callback=abel)
    assert abs(len(abel.trace["total"]) - measured) <= 1


# The final decay


def test_the_final_decay_comes_once_at_its_place():
    model, abel = make_model("PPO"), AbelCallback(decay_factor=0.5)
    model.learn(400, callback=abel)
    assert abel.decays == [Decay(340, "final", 0.5)]
    assert abel.n_bounces == 0
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.5e-3


def test_a_single_rollout_is_not_decayed_as_a_whole():
    model, abel = make_model("PPO", n_steps=100), AbelCallback()
    model.learn(100, callback=abel)
    assert abel.decays == []
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-3


def test_the_final_decay_lapses_in_a_longer_learn_and_comes_again():
    model, abel = make_model("PPO"), AbelCallback(rule=DecayAt(3), decay_factor=0.5)
    model.learn(400, callback=abel)
    assert [decay.cause for decay in abel.decays] == ["bounce", "final"]
    seen = []

    class Look(BaseCallback):
        def _on_rollout_start(self):
            seen.append((self.num_timesteps, abel.factor))

        def _on_step(self):
            return True

    model.learn(400, callback=[abel, Look()], reset_num_timesteps=False)
    assert seen[0] == (400, 0.5), "the bounce's decay persists, the final one has lapsed"
    assert [decay.cause for decay in abel.decays] == ["bounce", "final"]
    assert abel.decays[1].timestep == 740, "of a training that began at 400"
    assert abel.factor == 0.25


def test_the_final_decay_stays_in_a_resume_of_its_training():
    model, abel = make_model("PPO"), AbelCallback()
    model.learn(400, callback=[abel, Stop(380)])
    model.learn(20, callback=(again := AbelCallback()), reset_num_timesteps=False)
    assert again.decays == abel.decays == [Decay(340, "final", 0.1)]


def test_the_final_decay_of_a_finished_run_is_kept_by_its_zip_and_no_more(tmp_path):
    model = make_model("PPO")
    model.learn(400, callback=AbelCallback())
    model.save(tmp_path / "model")
    loaded, abel = PPO.load(tmp_path / "model", env=model.get_env()), AbelCallback(final_decay_at=None)
    loaded.learn(40, callback=abel, reset_num_timesteps=False)
    assert abel.factor == 1.0


class Planted(BaseCallback):
    """Scales the weights to a trace of |w|^2: a fall, then growth that the final decay slows down."""

    def _on_training_start(self):
        self.weights = [parameter.detach().clone() for parameter in self.model.policy.parameters()]

    def _on_rollout_end(self):
        number = self.num_timesteps // 20
        norm = 100 - number if number <= 40 else 60 + (number - 40 if number <= 85 else 45 + 0.05 * (number - 85))
        for parameter, weight in zip(self.model.policy.parameters(), self.weights):
            parameter.data.copy_(weight * math.sqrt(norm / 100))

    def _on_step(self):
        return True


@pytest.mark.parametrize(
    ("arguments", "causes"),
    [
        ({}, ["final"]),
        ({"watch": "value"}, ["final"]),
        # The growth ends by itself, for all that the rule can know.
        ({"final_decay_at": None}, ["bounce"]),
        ({"final_decay_at": 0.95}, ["bounce", "final"]),
        ({"rule": DecayAt(30, 90)}, ["bounce", "final", "bounce"]),  # one's own rule decides alone
    ],
)
def test_growth_that_the_final_decay_ends_is_no_bounce(arguments, causes):
    model, abel = make_model("PPO"), AbelCallback(**arguments)
    model.learn(2000, callback=[Planted(), abel])
    assert [decay.cause for decay in abel.decays] == causes
    assert abel.n_bounces == causes.count("bounce")


CHOSEN = [name for name in inspect.signature(AbelCallback).parameters if name != "verbose"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"decay_factor": 0.5},
        {"acts_on": "batch_size"},
        {"scope": "model"},
        {"rule": "paper"},
        {"watch": "any"},
        {"watch": "policy"},
        {"rule": "paper", "watch": "policy"},
    ],
)
@pytest.mark.parametrize("most", [{}, {"max_decays": None}, {"max_decays": 2}, {"max_decays": 0}])
def test_what_is_asked_for_changes_what_it_names_alone(arguments, most):
    plain, abel = AbelCallback(), AbelCallback(**arguments, **most)
    assert abel.max_decays == most.get("max_decays", None)
    assert AutoLearningRate(**arguments, **most).abel.max_decays == most.get("max_decays", 0)
    named = {"rule", "watch"} if "rule" in arguments else set(arguments)
    changed = {name for name in CHOSEN if getattr(abel, name) != getattr(plain, name)}
    assert changed <= named | set(most)


def test_a_bounce_that_decays_nothing_is_counted_and_said(capsys):
    model, abel = make_model("PPO"), AbelCallback(max_decays=0, final_decay_at=0.99, verbose=1)
    model.learn(2000, callback=[Planted(), abel])
    assert (abel.n_bounces, [decay.cause for decay in abel.decays]) == (1, ["final"])
    assert re.search(
        r"timestep \d+: the .* weight norm has bounced; no decay \(max_decays=0\)", capsys.readouterr().out
    )


def test_each_decay_remembers_its_own_factor():
    model = make_model("PPO")
    model.learn(100, callback=callback(1, 7, decay_factor=0.5))
    abel = callback(1, 7, decay_factor=0.2)
    model.learn(100, callback=abel, reset_num_timesteps=False)
    assert [decay.factor for decay in abel.decays] == [0.5, 0.2]
    assert abel.factor == pytest.approx(0.1)


# Limits


def test_max_decays_limits_bounces_only():
    rule = DecayAt(1, 2, 3, 4)
    model, abel = make_model("PPO"), AbelCallback(rule=rule, max_decays=2, decay_factor=0.5, measure_every=1)
    model.learn(400, callback=abel)
    assert [decay.cause for decay in abel.decays] == ["bounce", "bounce", "final"]
    assert abel.n_bounces == 4, "seen, though not acted on"


@pytest.mark.parametrize(
    ("base", "floor", "applied"),
    [
        (1e-3, 0.0, 1e-6),
        (1e-3, 1e-5, 1e-5),
        (1e-3, 1e-2, 1e-3),  # never above the user's own
        (lambda remaining: 1e-3 if remaining > 0.05 else -1e-3, 1e-5, 0.0),  # negative rates are clamped
    ],
)
@pytest.mark.filterwarnings("ignore:rl_abel. min_learning_rate=0.01 is not below")
def test_min_learning_rate(base, floor, applied):
    model, abel = make_model("PPO", learning_rate=base), callback(1, 2, 3, min_learning_rate=floor)
    model.learn(100, callback=abel)
    assert abel.factor == pytest.approx(1e-3)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(applied)
    assert model.lr_schedule(0.5) == (base(0.5) if callable(base) else base), "the user's own again"


def test_a_linear_rate_is_not_negative_when_the_budget_is_overshot():
    model, abel = make_model("PPO", learning_rate=lambda remaining: 1e-3 * remaining), AbelCallback()
    model.learn(390, callback=abel)
    assert model.num_timesteps == 400
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0


# What is measured


def test_the_trace_holds_python_floats_of_the_models_parts():
    model, abel = make_model("PPO"), AbelCallback(measure_every=1)
    measured = []

    class Look(BaseCallback):
        def _on_rollout_end(self):
            measured.append(weight_norms(self.model))

        def _on_step(self):
            return True

    model.learn(100, callback=[abel, Look()])
    assert list(abel.trace) == ["timesteps", "total", "policy", "value", "log_std"]
    assert all(type(norm) is float for part, norms in abel.trace.items() if part != "timesteps" for norm in norms)
    assert [{part: abel.trace[part][i] for part in measured[0]} for i in range(4)] == measured[1:]


def test_before_any_training_everything_is_empty():
    abel = AbelCallback()
    assert (abel.factor, abel.n_bounces, abel.decays) == (1.0, 0, [])
    assert abel.trace == {"timesteps": [], "total": []}
    make_model("PPO").learn(20, callback=abel)
    assert abel.trace == {"timesteps": [], "total": [], "policy": [], "value": [], "log_std": []}


def test_a_non_finite_norm_is_skipped_with_one_warning():
    model, abel = make_model("PPO"), callback(rule="paper")

    class Break(BaseCallback):
        def _on_rollout_end(self):
            with torch.no_grad():
                self.model.policy.value_net.bias.fill_(
                    math.nan if self.num_timesteps in (60, 80, 100) else self.num_timesteps
                )

        def _on_step(self):
            return True

    model.train = lambda: setattr(model, "_n_updates", model._n_updates + 1)
    with pytest.warns(UserWarning, match="not finite at timestep 60") as warned:
        model.learn(200, callback=[Break(), abel])
    assert sum("not finite" in str(w.message) for w in warned) == 1
    assert abel.trace["timesteps"] == [20, 40, 120, 140, 160, 180, 200], "the bias was written before any update"
    assert abel.factor == 1.0


# In company


def test_her_and_vec_normalize():
    her = DQN(
        "MultiInputPolicy",
        BitFlippingEnv(n_bits=4, continuous=False),
        replay_buffer_class=HerReplayBuffer,
        learning_starts=20,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
    )
    abel = callback(1)
    her.learn(100, callback=abel)
    assert abel.n_bounces == 1

    env = VecNormalize(DummyVecEnv([lambda: __import__("gymnasium").make("Pendulum-v1")]))
    normalised = PPO("MlpPolicy", env, n_steps=20, batch_size=20, policy_kwargs={"net_arch": [8]}, device="cpu")
    abel = callback(1)
    normalised.learn(100, callback=abel)
    assert abel.n_bounces == 1


def test_compiled_policies_have_the_same_parts():
    model = make_model("PPO")
    plain = weight_norms(model)
    model.policy = torch.compile(model.policy, backend="eager")
    assert weight_norms(model) == plain


def test_two_of_them_on_one_model_are_an_error():
    with pytest.raises(ValueError, match="one AbelCallback a model"):
        make_model("PPO").learn(100, callback=CallbackList([AbelCallback(), CallbackList([AbelCallback()])]))


NAMES = {made.__name__: made for made in (AbelCallback, AutoLearningRate, KLAdaptiveCallback, RateByPart)}


def after(inner, env):
    return EvalCallback(env, callback_after_eval=inner, eval_freq=20, n_eval_episodes=1)


def on_best(inner, env):
    return EvalCallback(env, callback_on_new_best=inner, eval_freq=20, n_eval_episodes=1)


@pytest.mark.parametrize(
    ("nest", "beside"),
    [
        (after, ", EvalCallback(...)"),
        (on_best, ", EvalCallback(...)"),
        (lambda inner, env: after(CallbackList([inner]), env), ", EvalCallback(...)"),
        (lambda inner, env: after(CallbackList([CallbackList([inner])]), env), ", EvalCallback(...)"),
        (lambda inner, env: on_best(CallbackList([inner]), env), ", EvalCallback(...)"),
        (lambda inner, env: EveryNTimesteps(20, inner), ""),
        (lambda inner, env: EveryNTimesteps(20, CallbackList([CallbackList([inner])])), ", EveryNTimesteps(...)"),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        "AbelCallback()",
        "AbelCallback(rule='paper', watch='value', decay_factor=0.5)",
        "AutoLearningRate(target_kl=0.02, final_decay_shape='linear', verbose=1)",
        "KLAdaptiveCallback(target_kl=0.02, step=2.0)",
        "RateByPart(value=3)",
    ],
)
def test_as_a_child_it_says_what_to_do_with_what_the_user_wrote(code, nest, beside):
    model = make_model("PPO")
    env = model.get_env()
    with pytest.raises(ValueError, match="cannot work inside") as error:
        model.learn(STEPS, callback=nest(eval(code, NAMES), env))
    name = code.partition("(")[0]
    assert str(error.value).startswith(f"{name} cannot work inside ")
    assert str(error.value).endswith(f": model.learn(..., callback=[{code}{beside}])")


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (lambda: [AutoLearningRate(), AutoLearningRate()], "got AutoLearningRate and AutoLearningRate"),
        (lambda: [AutoLearningRate(), AbelCallback()], "one AbelCallback a model, got AbelCallback and AutoLearn"),
        (lambda: [KLAdaptiveCallback(), AutoLearningRate()], "got KLAdaptiveCallback and AutoLearningRate"),
    ],
)
def test_of_two_it_says_what_the_user_wrote(callbacks, said):
    with pytest.raises(ValueError, match=said):
        make_model("PPO").learn(40, callback=callbacks())


# Scalars


@pytest.fixture
def log_to(tmp_path):
    """Let a model log to files, which SB3 would leave open."""
    loggers = []

    def log(model, *formats):
        loggers.append(configure(str(tmp_path), list(formats)))
        model.set_logger(loggers[-1])
        return tmp_path

    yield log
    for logger in loggers:
        logger.close()


def rows_of(path):
    with open(path) as file:
        return [row for row in csv.DictReader(file) if row.get("abel/factor")]


@pytest.mark.parametrize("name", ["PPO", "SAC", "DQN", "ARS"])
def test_logs_and_trace_agree(name, log_to):
    """Every measurement is in TensorBoard at its own timestep, and in abel.csv; progress.csv has the latest."""
    model, abel = make_model(name), callback(2, final_decay_at=0.5)
    folder = log_to(model, "csv", "tensorboard")
    model.learn(500, callback=abel, log_interval=1)
    trace, parts = abel.trace, list(abel.trace)[1:]
    with open(folder / "abel.csv") as file:
        table = list(csv.DictReader(file))
    assert [int(row["timesteps"]) for row in table] == trace["timesteps"]
    assert {part: [float(row[part]) for row in table] for part in parts} == {part: trace[part] for part in parts}
    assert {row["factor"] for row in table} == {"1.0", "0.1", "0.010000000000000002"}
    assert (table[-1]["bounces"], table[-1]["decays"]) == ("1", "2")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for part in parts:
        scalars = events.Scalars(f"abel/weight_norm_{part}")
        assert [event.step for event in scalars] == trace["timesteps"]
        assert [event.value for event in scalars] == pytest.approx(trace[part], rel=1e-6)
    at = dict(zip(trace["timesteps"], trace["total"]))
    # Off-policy SB3 dumps within a rollout, before its end is measured.
    late = 0 if name in ("PPO", "ARS") else 1
    for row in rows_of(folder / "progress.csv"):
        if norm := row["abel/weight_norm_total"]:
            assert float(norm) == at[max(t for t in at if t <= int(row["time/total_timesteps"]) - late)]


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_row_holds_the_factor_of_its_rate(name, log_to):
    """The rate that SB3 logs is that of the latest update, and so is the factor beside it."""
    model, abel = make_model(name), callback(2, 4, decay_factor=0.5)
    folder = log_to(model, "csv", "tensorboard")
    model.learn(500, callback=abel, log_interval=1)
    rows = [row for row in rows_of(folder / "progress.csv") if row["train/learning_rate"]]
    assert {row["abel/factor"] for row in rows} >= {"0.25"}
    assert all(float(row["train/learning_rate"]) == 1e-3 * float(row["abel/factor"]) for row in rows)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    # The last update, which SB3 dumps nowhere, is in TensorBoard.
    for tag, expected in (("train/learning_rate", 0.25e-3), ("abel/factor", 0.25)):
        last = events.Scalars(tag)[-1]
        assert (last.step, last.value) == (model.num_timesteps, pytest.approx(expected))


@pytest.mark.parametrize("name", ["PPO", "DQN", "ARS"])
def test_the_users_logs_are_as_without_the_callback(name, log_to, tmp_path):
    """The same rows of the same values under the same names, and columns of ours."""
    logs = []
    for others in ([], [AbelCallback(max_decays=0, final_decay_at=None)]):
        model = make_model(name)
        folder = log_to(model, "csv", "json")
        model.learn(900, callback=others, log_interval=1)
        with open(folder / "progress.csv") as file:
            logs.append(
                [{k: v for k, v in row.items() if k[:4] not in ("abel", "time")} for row in csv.DictReader(file)]
            )
        assert logs[-1][-1]["rollout/ep_rew_mean"]
        lines = (folder / "progress.json").read_text().splitlines()
        assert len(lines) == len(logs[-1])
    assert logs[0] == logs[1]


def test_every_dump_has_the_scalars_even_between_rollouts(log_to):
    """An evaluation dumps in the middle of a rollout, and empties the logger."""
    model = make_model("PPO")
    folder = log_to(model, "csv")
    evaluation = EvalCallback(make_model("PPO").get_env(), eval_freq=7, n_eval_episodes=1, verbose=0)
    model.learn(200, callback=[evaluation, callback()])
    with open(folder / "progress.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 30
    assert all(row["abel/factor"] for row in rows)


def test_no_log_is_written_where_logging_is_off(log_to):
    model = make_model("PPO")
    folder = log_to(model, "csv")
    model.learn(100, callback=callback(), log_interval=None)
    assert (folder / "progress.csv").read_text() == ""


def test_the_last_values_can_be_read_from_the_logger():
    """As without the callback; SB3's own tests do."""
    model, abel = make_model("PPO"), callback()
    model.learn(100, callback=abel)
    assert model.logger.name_to_value["train/n_updates"] == model._n_updates == 10
    assert model.logger.name_to_value["abel/weight_norm_total"] == abel.trace["total"][-1]


# What it says

LONG = {"n_steps": 250, "batch_size": 250}
BOUNCES = {"max_decays": None, "final_decay_at": None}


def test_two_lines_say_what_to_expect(capsys):
    make_model("PPO").learn(200, callback=AbelCallback(max_decays=None, verbose=1))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("abel:")]
    assert lines[:2] == [
        "abel: final decay (x 0.1) from timestep 180 of 200 on: in the last 1 of 10 updates (10%)",
        "abel: no measured parameter has weight decay, so the weight norm is not expected to bounce "
        "(Lewkowycz 2021, Sec. 3)",
    ]
    assert lines[2:] == ["abel: timestep 180: 85% of the budget is used up; learning rate x 0.1 (in all x 0.1)"]


@pytest.mark.parametrize("verbose", [0, 1])
def test_with_weight_decay_or_without_verbose_nothing_is_said(verbose, capsys):
    kwargs = {"net_arch": [8], "optimizer_kwargs": {"weight_decay": 0.1 * verbose, "eps": 1e-5}}
    model = make_model("PPO", policy_kwargs=kwargs)
    model.learn(60, callback=AbelCallback(verbose=verbose, final_decay_at=None))
    assert "abel" not in capsys.readouterr().out


def test_trpo_says_what_the_rate_reaches(capsys):
    make_model("TRPO").learn(40, callback=AbelCallback(verbose=1))
    assert "the learning rate reaches the value network alone" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["A2C", "QRDQN"])
@pytest.mark.parametrize(
    ("given", "dropped"),
    [
        ({"optimizer_kwargs": {"weight_decay": 0.1}}, True),
        ({"optimizer_kwargs": {"weight_decay": 0.1}, "optimizer_class": torch.optim.AdamW}, False),
        ({"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}, False),
        ({"optimizer_kwargs": {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}, "optimizer_class": RMSprop}, False),
        ({}, False),
    ],
)
def test_only_dropped_optimizer_kwargs_warn(name, given, dropped, tmp_path):
    model = make_model(name, policy_kwargs={"net_arch": [8], **given})
    model.save(tmp_path / "model")
    for trained in (model, type(model).load(tmp_path / "model", env=model.get_env())):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trained.learn(60, callback=AbelCallback())
        assert any(f"{name} has dropped" in str(warning.message) for warning in caught) == dropped


@pytest.mark.parametrize(
    ("name", "changes", "arguments", "timesteps", "said"),
    [
        ("PPO", LONG, BOUNCES, 1250, "about 10 measurements .* one every 125 timesteps.* needs 21"),
        ("PPO", LONG, BOUNCES | {"measure_every": 1}, 1250, "about 5 measurements .* one every 250 .* needs 21"),
        (
            "PPO",
            {},
            BOUNCES | {"measure_every": 90},
            1200,
            "about 12 meas.* one every 100 .* Set a smaller measure_every",
        ),
        ("PPO", {"n_epochs": 1}, {"rule": "paper"}, 1200, None),
        (
            "SAC",
            {"learning_starts": 20, "train_freq": 100},
            BOUNCES,
            1500,
            "about 14 meas.* one every 100 timesteps",
        ),
        ("PPO", {}, BOUNCES, 1000, None),
        ("PPO", LONG, {"max_decays": 0, "final_decay_at": 0.8}, 1250, None),
        ("PPO", {}, BOUNCES, 100, None),  # a trial that it runs
    ],
)
def test_a_warning_when_too_few_measurements_fit(name, changes, arguments, timesteps, said, recwarn):
    model = make_model(name, **changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(timesteps, callback=AbelCallback(**arguments))
    assert len(caught) == (said is not None)
    for warning in caught:
        assert re.search(said, str(warning.message))
        assert warning.filename == __file__, "the line that called learn() is to be changed, not one of SB3"


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_where_the_rule_misses_bounces_that_can_be_expected(weight_decay, capsys):
    """A line for who asks; a warning where a bounce can be expected."""
    kwargs = {"net_arch": [8], "optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": weight_decay}}
    model = make_model("PPO", policy_kwargs=kwargs, n_epochs=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(1200, callback=AbelCallback(max_decays=None, verbose=1))
    said = "about 60 measurements of the weight norm fit into this training, one every 20 timesteps, and the rule is "
    assert [said in str(warning.message) for warning in caught] == [True] * (weight_decay > 0)
    assert (said in capsys.readouterr().out) == (weight_decay == 0)


def test_a_warning_where_a_training_ended_long_before_its_budget():
    with pytest.warns(
        UserWarning,
        match=r"1 measurement .* every 10,000,000 timesteps; it stopped at .* 200 of 1,000.* final decay",
    ):
        make_model("PPO").learn(1_000_000_000, callback=[AbelCallback(), Stop(200)])


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "plateau"}, r"rule must be one of \['paper', 'trend'\] .* got 'plateau'"),
        ({"rule": TrendRule}, "rule must be .* got <class"),
        ({"rule": type("NoJson", (DecayAt,), {"init": lambda self: {1, 2}})()}, r"JSON values, got \{1, 2\}"),
        ({"watch": "critic"}, r"watch must be one of \['any', 'total', 'policy', 'value'\], got 'critic'"),
        ({"decay_factor": 1.5}, r"decay_factor must be in \(0, 1\), got 1.5"),
        ({"decay_factor": 0}, r"decay_factor must be in \(0, 1\), got 0"),
        ({"decay_factor": "0.1"}, r"decay_factor must be in \(0, 1\), got '0.1'"),
        ({"decay_factor": True}, r"decay_factor must be in \(0, 1\), got True"),
        ({"decay_factor": math.nan}, r"decay_factor must be in \(0, 1\), got nan"),
        ({"final_decay_at": 1.0}, r"final_decay_at must be in \(0, 1\), got 1.0"),
        ({"final_decay_at": 0}, "final_decay_at=0 needs final_decay_shape='linear'"),
        ({"final_decay_at": -0.1, "final_decay_shape": "linear"}, r"final_decay_at must be in \[0, 1\), got -0.1"),
        ({"final_decay_at": 85}, r"final_decay_at must be in \(0, 1\), got 85"),
        ({"min_learning_rate": -1e-5}, "min_learning_rate must be a finite number of at least 0, got -1e-05"),
        ({"min_learning_rate": math.inf}, "min_learning_rate must be .* got inf"),
        ({"min_learning_rate": None}, "min_learning_rate must be .* got None"),
        ({"max_decays": -1}, "max_decays must be an integer of at least 0, got -1"),
        ({"max_decays": 1.0}, "max_decays must be an integer of at least 0, got 1.0"),
        ({"measure_every": 0}, "measure_every must be an integer of at least 1, got 0"),
        ({"measure_every": 1e4}, "measure_every must be an integer of at least 1, got 10000.0"),
        ({"verbose": "yes"}, "verbose must be an integer of at least 0, got 'yes'"),
    ],
)
def test_bad_arguments_are_named_and_shown(arguments, message):
    with pytest.raises(ValueError, match=message):
        AbelCallback(**arguments)


def test_numpy_numbers_are_fine():
    abel = AbelCallback(decay_factor=np.float32(0.5), max_decays=np.int64(3), measure_every=np.int64(10))
    assert (abel.decay_factor, type(abel.decay_factor), type(abel.max_decays)) == (0.5, float, int)


@pytest.mark.parametrize(
    ("name", "watch", "has"),
    [
        ("DQN", "policy", r"DQN has no such part; it has \['total', 'value'\]"),
        ("ARS", "value", r"ARS has no such part; it has \['total', 'policy'\]"),
    ],
)
def test_watching_a_part_that_is_not_there(name, watch, has):
    with pytest.raises(ValueError, match=has):
        make_model(name).learn(STEPS, callback=AbelCallback(watch=watch))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("A2C", ["policy", "value"]),
        ("PPO", ["policy", "value", "log_std"]),
        ("TRPO", ["policy", "value", "log_std"]),
        ("MaskablePPO", ["policy", "value"]),
        ("RecurrentPPO", ["policy", "value"]),
        ("DQN", ["value"]),
        ("QRDQN", ["value"]),
        ("DDPG", ["policy", "value"]),
        ("TD3", ["policy", "value"]),
        ("SAC", ["policy", "value"]),
        ("TQC", ["policy", "value"]),
        ("CrossQ", ["policy", "value"]),
        ("ARS", ["policy"]),
    ],
)
def test_parts_of_every_algorithm(name, parts):
    assert list(weight_norms(make_model(name))) == ["total", *parts]


@pytest.mark.parametrize(
    ("kwargs", "parts"),
    [
        ({"shared_lstm": True, "enable_critic_lstm": False}, ["policy", "value", "shared"]),
        ({"shared_lstm": False, "enable_critic_lstm": False}, ["policy", "value"]),
    ],
)
def test_recurrent_policies_that_share(kwargs, parts):
    model = make_model("RecurrentPPO", policy_kwargs={"net_arch": [8], "lstm_hidden_size": 4, **kwargs})
    assert list(weight_norms(model)) == ["total", *parts]


def test_gsde_noise_is_apart():
    model = make_model("SAC", use_sde=True)
    norms = weight_norms(model)
    assert norms["log_std"] == pytest.approx(model.actor.log_std.square().sum().item())
    assert norms["total"] == pytest.approx(norms["policy"] + norms["value"])


def test_batch_norm_statistics_are_not_weights():
    model = make_model("CrossQ")
    before = weight_norms(model)
    for _, buffer in model.policy.named_buffers():
        if buffer.is_floating_point():
            buffer.add_(1.0)
    assert any("ra_mean" in name for name, _ in model.policy.named_buffers())
    assert weight_norms(model) == before


@pytest.mark.parametrize("n", [1, 1023, 32_767, 32_768, 32_769, 3_000_000])
def test_norms_are_exact_to_six_digits(n):
    from rl_abel.networks.norms import squared_norms

    tensor = torch.randn(n, generator=torch.Generator().manual_seed(n))
    [norm] = squared_norms([[tensor]])
    assert norm == pytest.approx(tensor.double().square().sum().item(), rel=2e-7)


def test_a2c_keeps_its_own_rate_without_the_callback():
    """What the callback changes ends with it: nothing of SB3 is patched."""
    model = A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8]}, device="cpu")
    model.learn(100, callback=callback())
    assert model.lr_schedule(1.0) == 7e-4
