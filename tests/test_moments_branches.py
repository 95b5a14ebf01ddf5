"""A branch is, to the last bit, the run trained alone; each test trains in a process of its own, which is copied."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.starter import ONE_THREAD

ROOT = Path(__file__).parent.parent

# Two moments, so that the branch of the first ends where that of the second begins, and that one at the end.
TRUNK = """
    import json
    from benchmarks.moments import training
    from benchmarks.moments.plan import Task

    training.PLACES, training.SHARE, training.EPISODES = (0.4, 0.7), 0.3, 1
    task = Task({agent!r}, {env_id!r}, {timesteps}, {strength}, {part!r}, "exploratory")
"""

TOGETHER = """
    print(json.dumps(training.train_trunk(task, 3)))
"""

# No measuring, no copies and no look at the trunk: nothing but the schedule, and a score at the end.
ALONE = """
    from dataclasses import replace

    import numpy as np
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    from agents import find_preset
    from benchmarks.evaluation import evaluate, evaluation_env
    from benchmarks.schedules import make_arm
    from benchmarks.train import build
    from envs import find_env, make_env

    torch.set_num_threads(1)
    run = task.run(3)
    preset, seed = find_preset(run.agent, run.env_id), training.SEED + run.seed

    class Score(BaseCallback):
        def __init__(self, end):
            super().__init__()
            self.end, self.score = end, None

        def _on_step(self):
            return self.score is None

        def _on_rollout_end(self):
            if self.num_timesteps >= self.end and self.score is None:
                there = evaluation_env(run, training.EPISODES, training.FINAL_ENVS, seed, env)
                returns = evaluate(self.model, there, training.EPISODES, seed)
                self.score = find_env(run.env_id).score(float(np.mean(returns)))

    def train(decay_at, end):
        global env
        env = make_env(run.env_id, preset.n_envs, run.seed, normalize=preset.normalize, gamma=preset.gamma)

        def rate(progress_remaining):
            now = round((1 - progress_remaining) * run.timesteps)
            return run.learning_rate * (0.1 if now >= decay_at else 1.0)

        arm = replace(make_arm("constant", run.learning_rate, run.measure_every), learning_rate=rate)
        score = Score(end)
        build(run, arm, env).learn(run.timesteps, callback=score)
        return score.score

    print(json.dumps([train(*of) for of in {decays!r}]))
"""

FAILING = """
    def failing(self, looked=training.Moments._return):
        if self._pipe is not None:
            {how}
        return looked(self)

    training.Moments._return = failing
    try:
        training.train_trunk(task, 3)
    except training.BranchFailed as error:
        print(json.dumps(str(error)))
"""

NEVER = 10**9

PPO = {"agent": "PPO", "env_id": "CartPole-v1", "timesteps": 2560, "strength": 1.0, "part": "policy"}
DQN = {"agent": "DQN", "env_id": "CartPole-v1", "timesteps": 2560, "strength": 0.0, "part": "value"}


def run(program, **values):
    code = textwrap.dedent(TRUNK.format(**values)) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ | ONE_THREAD
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.cluster
def test_a_branch_is_the_run_trained_alone():
    task = DQN  # off-policy there is most to copy; PPO's branches are those of tests/test_branches.py
    together = run(TOGETHER, **task)
    rows, moments, end = together["moments"], (1024, 1792), 2560
    ends = (moments[1], end)
    assert [(row["place"], row["timesteps"], row["end"]) for row in rows] == list(zip((0.4, 0.7), moments, ends))
    decays = [*zip(moments, ends), (NEVER, end)]
    alone = run(ALONE.replace("{decays!r}", repr(decays)), **task)
    assert alone == [*(row["branch"] for row in rows), rows[1]["trunk"]]
    assert rows[1]["before"] == rows[0]["trunk"]
    assert all(row["branch"] != row["trunk"] for row in rows), "or nothing was told apart"
    steps = [row["timesteps"] for row in together["trace"]]
    assert steps == sorted(set(steps))
    assert all(row[task["part"]] > 0 for row in together["trace"])


@pytest.mark.parametrize(
    ("how", "said"),
    [("raise ArithmeticError('on purpose')", "ArithmeticError: on purpose"), ("training.os._exit(1)", "it was killed")],
)
def test_a_branch_that_fails_is_an_error_of_the_trunk(how, said):
    message = run(FAILING.replace("{how}", how), **PPO)
    assert "at 0.4" in message
    assert said in message
