"""A trunk with its branches, by ``os.fork``: each branch is, to the last bit, that run trained alone.

Needs a process without threads. A branch sends what it was worth through a pipe, and ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from agents import find_preset
from benchmarks.evaluation import FINAL_ENVS, evaluate, evaluation_env
from benchmarks.moments.plan import EPISODES, FACTOR, PLACES, SHARE, Task, first_at
from benchmarks.plan import Run
from benchmarks.schedules import make_arm
from benchmarks.train import build
from envs import find_env, make_env
from rl_abel import AbelCallback

SEED = 3_000_000
"""Plus that of the run: of the evaluation's episodes, a stream of their own."""

KL = "train/approx_kl"


class BranchFailed(RuntimeError):
    """A branch ended without a score; its message holds the branch's traceback."""


class Rate:
    """SB3's schedule: a constant that a branch multiplies.

    :param base: learning rate of the trunk
    """

    def __init__(self, base: float) -> None:
        self.base, self.factor = base, 1.0

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate as it is now."""
        return self.base * self.factor


class Signals(BaseCallback):
    """What is seen between two measurements of the norm: returns of training episodes, and PPO's KL.

    :param abel: what measures, which is called before this
    """

    def __init__(self, abel: AbelCallback) -> None:
        super().__init__()
        self.abel = abel
        self.rows: list[dict[str, float]] = []
        """A row a measurement."""
        self._returns: list[float] = []
        self._kls: list[float] = []

    def _on_step(self) -> bool:
        self._returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        # Of the last update: the next dump, which empties the logger, is still to come.
        if (kl := self.logger.name_to_value.get(KL)) is not None:
            self._kls.append(float(kl))
        if len(self.abel.trace["timesteps"]) == len(self.rows):
            return
        returns, kls = (float(np.mean(seen)) if seen else math.nan for seen in (self._returns, self._kls))
        self.rows.append({"train_return": returns, "approx_kl": kls})
        self._returns, self._kls = [], []


class Moments(BaseCallback):
    """Evaluates the trunk at each moment, and has a copy of the process try the decay from there.

    :param run: the trunk
    :param env: the one that is trained on
    :param rate: the model's schedule
    """

    def __init__(self, run: Run, env: VecEnv, rate: Rate) -> None:
        super().__init__()
        self.run, self.rate = run, rate
        self.places = list(PLACES)
        self.trunk: list[tuple[int, float]] = []
        """Timesteps and mean return at each moment, and at the end."""
        self.branches: list[dict[str, float]] = []
        self._pipe: int | None = None
        self._until = math.inf
        self._seed = SEED + run.seed
        self._env = evaluation_env(run, EPISODES, FINAL_ENVS, self._seed, env)

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self._pipe is not None:
            if self.num_timesteps >= self._until:
                self._send({"timesteps": self.num_timesteps, "branch_return": self._return()})
            return
        reached = len(self.trunk)
        at = [*self.places, 1.0][reached] if reached <= len(self.places) else math.inf
        if at == math.inf or self.num_timesteps < first_at(at, self.run.timesteps):
            return
        self.trunk.append((self.num_timesteps, self._return()))
        if at < 1:
            self._branch(at)

    def _return(self) -> float:
        return float(np.mean(evaluate(self.model, self._env, EPISODES, self._seed)))

    def _branch(self, place: float) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._pipe, self._until = writing, first_at(place + SHARE, self.run.timesteps)
            self.rate.factor = FACTOR
            return
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        sent = json.loads(said) if said else {"error": "it was killed"}
        if "error" in sent:
            raise BranchFailed(f"the branch of {self.run.run_id} at {place:g}: {sent['error']}")
        self.branches.append({"place": place, **sent})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._pipe is not None
        try:
            with os.fdopen(self._pipe, "w") as pipe:
                json.dump(message, pipe)
        finally:
            # Above us is the training of the trunk, whether there is still someone to tell or not.
            os._exit(0)

    @contextlib.contextmanager
    def ending(self) -> Any:
        """Let a copy that raises, or is trained to the end, tell so and end here."""
        try:
            yield
        except BaseException:
            if self._pipe is not None:
                self._send({"error": traceback.format_exc()})
            raise
        if self._pipe is not None:
            self._send({"error": "its training was over before it was"})


def train_trunk(task: Task, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Train a trunk and its branches.

    :return: ``moments``, a row a branch, and ``trace``, a row a measurement of the trunk; returns are
        raw, scores normalised
    :raises BranchFailed: if a branch raised or was killed
    """
    torch.set_num_threads(1)
    run, score = task.run(seed), find_env(task.env_id).score
    trunk, branches, trace = _train(run)
    of_unit = {"agent": task.agent, "env_id": task.env_id, "strength": task.strength, "seed": seed}
    moments = [
        {
            **of_unit,
            "place": branch["place"],
            "timesteps": begun,
            "end": ended,
            "before": score(before),
            "trunk": score(after),
            "branch": score(branch["branch_return"]),
        }
        for branch, ((begun, before), (ended, after)) in zip(branches, pairwise(trunk), strict=True)
    ]
    # A branch that ended elsewhere would have had more updates than the trunk, or fewer.
    assert [row["end"] for row in moments] == [branch["timesteps"] for branch in branches]
    rows = [{**of_unit, **row, "train_return": score(row["train_return"])} for row in trace]
    return {"moments": moments, "trace": rows}


def _train(run: Run) -> tuple[Sequence[tuple[int, float]], list[dict[str, float]], list[dict[str, float]]]:
    preset = find_preset(run.agent, run.env_id)
    rate = Rate(run.learning_rate)
    arm = replace(make_arm("constant", run.learning_rate, run.measure_every), learning_rate=rate)
    with contextlib.ExitStack() as to_close:
        env = make_env(run.env_id, preset.n_envs, run.seed, normalize=preset.normalize, gamma=preset.gamma)
        to_close.callback(env.close)
        moments = Moments(run, env, rate)
        to_close.callback(moments.close)
        model = build(run, arm, env)
        model.set_logger(Logger(None, []))
        signals = Signals(arm.abel)
        with moments.ending():
            # What is measured at a moment is there when the moment comes.
            model.learn(run.timesteps, callback=[arm.abel, signals, moments])
    terms = {name: column for name, column in arm.abel.diagnosis.items() if not name.startswith("layer/")}
    measured = {**arm.abel.trace, **terms}
    rows = [dict(zip(measured, values)) | seen for *values, seen in zip(*measured.values(), signals.rows, strict=True)]
    return moments.trunk, moments.branches, rows
