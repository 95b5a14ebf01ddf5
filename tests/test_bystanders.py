"""Who only watches changes nothing: the user's schedule is asked as often, and the weights are the same to the bit."""

import random

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure

from rl_abel import AbelCallback, AutoLearningRate, FinishedEval, RateByPart
from tests.algorithms import ONE_OF_EACH, Do, make_model, torch_optimizers
from tests.test_movers import BUDGET_ALGORITHMS, KL_ALGORITHMS, assert_equal

pytestmark = pytest.mark.filterwarnings(
    "ignore:rl_abel. .* measurements? of the weight norm", "ignore:Evaluation environment is not wrapped"
)
STEPS = 160
OURS = {"abel_state"}


class Counting:
    """A schedule that counts its calls, and falls with each."""

    def __init__(self):
        self.calls = 0

    def __call__(self, _):
        self.calls += 1
        return 1e-3 / (1 + 0.01 * self.calls)


def watchers(name):
    env = make_model(name).get_env().envs[0]
    measuring = AbelCallback(final_decay_at=None, max_decays=0, diagnose=True, measure_every=20, scope="model")
    finished = FinishedEval(env, every=60, timesteps=20, n_eval_episodes=1)
    auto = [] if name in (*KL_ALGORITHMS, *BUDGET_ALGORITHMS) else [AutoLearningRate(final_decay_at=None)]
    return {"together": [measuring, RateByPart(), finished], **({"auto": auto} if auto else {})}


def trained(name, callbacks, folder):
    """Train; return everything that may tell that somebody has watched."""
    random.seed(0)
    schedule = Counting()
    model = make_model(name, learning_rate=schedule)
    if folder:
        model.set_logger(configure(str(folder), ["tensorboard"]))
    rewards = Do(rollout_end=lambda m: seen.append((m.num_timesteps, m._last_obs.copy(), m.lr_schedule.__class__)))
    seen = []
    model.learn(STEPS, callback=[*callbacks, rewards])
    states = [optimizer.state_dict() for optimizer in torch_optimizers(model)]
    hooks = [
        len(vars(optimizer)[hook])
        for optimizer in torch_optimizers(model)
        for hook in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_post_hooks")
    ]
    randoms = [random.random(), np.random.rand(), torch.rand(1), model.action_space.sample(), model.env.reset()]
    return {
        "calls": model.learning_rate.calls,
        "weights": [p.detach().clone() for p in model.policy.parameters()],
        "states": states,
        "hooks": hooks,
        "observations": [torch.as_tensor(observation) for _, observation, _ in seen],
        "timesteps": [timestep for timestep, *_ in seen],
        "randoms": [torch.as_tensor(value) for value in randoms],
        "attributes": sorted(set(vars(model)) - OURS),
        "schedule": type(model.lr_schedule),
    }


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_who_watches_changes_nothing(name, tmp_path):
    alone = trained(name, [], None)
    assert alone["calls"] > 0
    for who, callbacks in watchers(name).items():
        for folder in (None, tmp_path / who):
            assert_equal(alone, trained(name, callbacks, folder))
