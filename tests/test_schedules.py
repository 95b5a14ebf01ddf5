"""The arms: their rates by eye, and that arms are one training until their rates differ."""

from dataclasses import replace

import numpy as np
import pytest
from pandas import read_csv

from benchmarks.plan import ARMS, PULL, Run
from benchmarks.schedules import make_arm
from benchmarks.train import build, train
from envs import make_env

PROGRESS = [0.0, 0.25, 0.49, 0.5, 0.75, 0.85, 0.95, 1.0]


@pytest.mark.parametrize(
    ("arm", "rates"),
    [
        ("linear", [1, 0.75, 0.51, 0.5, 0.25, 0.15, 0.05, 0]),
        ("cosine", [1, 0.853553, 0.515705, 0.5, 0.146447, 0.054497, 0.006156, 0]),
        ("step", [1, 1, 1, 0.1, 0.01, 0.01, 0.01, 0.01]),
        ("cooldown", [1, 1, 1, 1, 1, 1, 0.333333, 0]),
    ],
)
def test_rates_over_a_run(arm, rates):
    schedule = make_arm(arm, base=1.0, measure_every=1).learning_rate
    assert [schedule(1 - progress) for progress in PROGRESS] == pytest.approx(rates, abs=1e-6)
    assert schedule(-0.01) == schedule(0.0), "a last rollout may overshoot the budget"


@pytest.mark.parametrize("arm", ["constant", "constant+final", "abel", "abel-paper"])
def test_arms_whose_base_is_constant(arm):
    assert make_arm(arm, base=3e-4, measure_every=1).learning_rate == 3e-4


def test_unknown_arms():
    with pytest.raises(ValueError, match=r"arm must be one of \['constant', 'linear'.*got 'konstant'"):
        make_arm("konstant", 1e-3, 1)


class Weights:
    """Weights, rate and coefficient of weight decay at every optimizer step."""

    def __init__(self, run):
        arm = make_arm(run.arm, run.learning_rate, run.measure_every)
        env = make_env(run.env_id, 8, run.seed)
        model = build(run, arm, env)
        self.rates, self.weights, self.coefficients = [], [], []

        def look(optimizer, args, kwargs):
            self.rates.append(optimizer.param_groups[0]["lr"])
            self.coefficients.append(optimizer.param_groups[0]["weight_decay"])
            self.weights.append(
                np.concatenate([p.detach().flatten().numpy().copy() for p in model.policy.parameters()])
            )

        model.policy.optimizer.register_step_pre_hook(look)
        model.learn(run.timesteps, callback=[*arm.others, arm.abel])
        env.close()


@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
def test_arms_are_one_training_until_their_rates_differ():
    arms = [arm for arm in ARMS if arm not in (*PULL, "abel-batch", "abel-mixed")]
    seen = {arm: Weights(Run("PPO", "CartPole-v1", 2048, arm, seed=3)) for arm in arms}
    constant = seen["constant"]
    for arm, other in seen.items():
        same = np.equal(constant.rates, other.rates)
        first = len(same) if same.all() else int(np.argmin(same))
        # The step at which the rate first differs starts from the same weights still.
        for ours, theirs in list(zip(constant.weights, other.weights))[: first + 1]:
            assert np.array_equal(ours, theirs), arm
        # The last weights are those before the last step.
        assert np.array_equal(constant.weights[-1], other.weights[-1]) == (first >= len(same) - 1), arm
        # Whether a bounce comes, or a KL divergence beyond its bounds, is for the seed and the version of torch.
        if arm not in ("constant", "abel", "abel-paper", "abel-part", "kl-adaptive"):
            assert first < len(same), f"{arm} never moved the rate"


@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
def test_the_pull_of_weight_decay_is_held_or_moved_alone():
    """From the update on at which the final decay comes; pull = rate x coefficient."""
    run = Run("PPO", "CartPole-v1", 2560, "", 0, "adamw", 10.0)
    seen = {arm: Weights(replace(run, arm=arm)) for arm in ("constant", "constant+final", *PULL)}
    rate, coefficient = run.learning_rate, run.weight_decay
    steps = len(seen["constant"].rates)
    at = seen["constant+final"].rates.index(pytest.approx(rate / 10))
    assert 0.85 <= at / steps < 0.95
    expected = {
        "constant": (1, 1), "constant+final": (0.1, 1), "final-pull-held": (0.1, 10), "final-pull-only": (1, 0.1),
    }  # fmt: skip
    for arm, (of_rate, of_coefficient) in expected.items():
        assert seen[arm].rates == pytest.approx([rate] * at + [rate * of_rate] * (steps - at)), arm
        late = [coefficient] * at + [coefficient * of_coefficient] * (steps - at)
        assert seen[arm].coefficients == pytest.approx(late), arm
    held, plain = (seen[arm].weights[-1] for arm in ("final-pull-held", "constant+final"))
    assert np.linalg.norm(held) < np.linalg.norm(plain), "at the lower rate as much is pulled as before"


@pytest.mark.parametrize(("agent", "env_id", "timesteps"), [("PPO", "CartPole-v1", 2560), ("SAC", "Pendulum-v1", 300)])
def test_more_measurements_change_no_training(agent, env_id, timesteps, tmp_path):
    """Asked for more often than rollouts end, they are made within updates too."""
    returns, traces = set(), []
    for measurements in (100, 50):
        run = Run(agent, env_id, timesteps, "constant", 1, evaluations=1, final_episodes=1, measurements=measurements)
        returns.add(train(run, tmp_path)["final_return"])
        traces.append(read_csv(tmp_path / run.run_id / "trace.csv").set_index("timesteps")["total"])
    few, many = sorted(traces, key=len)
    assert len(many) >= 45
    assert len(returns) == 1
    common = few.index.intersection(many.index)
    assert len(common) >= 9
    assert few[common].equals(many[common])


@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
def test_evaluations_do_not_touch_the_training(tmp_path):
    traces = []
    for evaluations in (1, 20):
        run = Run("PPO", "CartPole-v1", 2048, "constant", 1, evaluations=evaluations, final_episodes=1)
        record = train(run, tmp_path)
        traces.append((tmp_path / record["run_id"] / "trace.csv").read_text())
    assert traces[0] == traces[1]
