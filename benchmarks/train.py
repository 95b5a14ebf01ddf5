"""One run, start to end, written aside and put into its own folder when it is complete."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents import find_preset, make_agent, regularized_optimizer
from benchmarks.evaluation import Evaluation, log_return
from benchmarks.folders import aside, publish, read_record
from benchmarks.plan import Run
from benchmarks.schedules import Arm
from benchmarks.together import Branch, Group, flush
from envs import find_env, make_env
from rl_abel.networks.optimizers import optimizers

PACKAGES = ("rl_abel", "stable_baselines3", "sb3_contrib", "gymnasium", "torch", "numpy")


def train(run: Run, out: Path) -> dict[str, Any]:
    """Train one run and leave its folder in ``out``; return what its run.json holds.

    A run that raises is recorded as failed, with its traceback. A folder appears under its name
    only when everything else is in it, and its run.json last of all.
    """
    train_unit([run], out)
    record = read_record(out / run.run_id)
    assert record is not None
    return record


def train_unit(runs: Sequence[Run], out: Path) -> list[str]:
    """Train runs that begin alike, their beginning once; leave a folder for each in ``out``.

    With more than one run, call it in a process without threads, which is copied (``os.fork``); each
    copy ends in here. A run that raises stops no other.

    :param runs: one of :func:`benchmarks.branches.units`
    :return: ids of the runs whose process was killed; they have no folder
    """
    torch.set_num_threads(1)
    start = time.monotonic()
    group = Group([Branch(run, aside(run.run_id, out)) for run in runs])
    try:
        try:
            results = _train(group)
        except Exception:
            results = [(branch, failure(traceback.format_exc())) for branch in group.branches]
        results += [(branch, failure(branch.error)) for branch in group.stopped]
        for branch, result in results:
            seconds = round(time.monotonic() - start - group.waited, 3)
            record = {**describe(branch.run), **result, "branched_from": branch.left, "wall_time_s": seconds}
            publish(record, branch.folder, out / branch.run.run_id)
    finally:
        if group.forked:
            # Above us is the training of another run, which would not say why.
            if sys.exc_info()[0] is not None:
                sys.excepthook(*sys.exc_info())
            flush(sys.stderr)
            os._exit(int(sys.exc_info()[0] is not None or bool(group.killed)))
    return group.killed


def failure(error: str | None) -> dict[str, Any]:
    """Return what run.json says of a training that came to nothing."""
    unknown = ("final_return", "n_bounces", "factor", "optimizer_steps", "evaluation_time_s")
    nothing = {**dict.fromkeys(unknown), "decays": []}
    return {"status": "failed", **nothing, "error": error}


def describe(run: Run) -> dict[str, Any]:
    """Return what run.json says of a run before it is trained."""
    preset, spec = find_preset(run.agent, run.env_id), find_env(run.env_id)
    asked = asdict(run)
    return {
        "run_id": run.run_id,
        **{name: asked[name] for name in ("agent", "env_id", "arm", "regularization", "strength")},
        "weight_decay": run.weight_decay,
        "learning_rate": run.learning_rate,
        **{name: asked[name] for name in ("rate_multiplier", "decay_factor", "final_decay_at", "seed", "timesteps")},
        "random_return": spec.random_return,
        "reference_return": spec.reference_return,
        "config": {"run": asked, "preset": asdict(preset), "env": asdict(spec), "measure_every": run.measure_every},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": commit(),
        "machine": {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


def _train(group: Group) -> list[tuple[Branch, dict[str, Any]]]:
    run = group.branches[0].run
    preset = find_preset(run.agent, run.env_id)
    with contextlib.ExitStack() as to_close:
        to_close.callback(group.close)
        group.open()
        env = make_env(run.env_id, preset.n_envs, run.seed, normalize=preset.normalize, gamma=preset.gamma)
        to_close.callback(env.close)
        evaluation = Evaluation(run, env)
        to_close.callback(evaluation.close)
        model = build(run, group.branches[0].arm, env)
        # The evaluation notes the last rate before the callbacks give the model its own schedule back.
        model.learn(run.timesteps, callback=[evaluation, group.start(model)])
        returns = evaluation.final_returns(model)
        for branch in group.branches:
            log_return(branch.logger, model.num_timesteps, returns)
    leader, *others = group.branches
    for branch in others:
        branch.left = {"run_id": leader.run.run_id, "timesteps": model.num_timesteps}
    steps = optimizer_steps(model)
    return [(branch, _write(branch, evaluation, returns, steps)) for branch in group.branches]


def optimizer_steps(model: BaseAlgorithm) -> int:
    """Return how often the weights of a trained model were updated: minibatches, where SB3 counts epochs."""
    states = (state for optimizer in optimizers(model) for state in optimizer.state.values())
    return max((int(state["step"]) for state in states if "step" in state), default=0)


def _write(branch: Branch, evaluation: Evaluation, returns: Sequence[float], steps: int) -> dict[str, Any]:
    abel = branch.arm.abel
    _write_csv(branch.folder / "evaluations.csv", Evaluation.COLUMNS, evaluation.rows)
    # One measurement gives both, so they have the same timesteps.
    trace = abel.trace | abel.diagnosis
    _write_csv(branch.folder / "trace.csv", list(trace), zip(*trace.values()))
    return {
        "status": "complete",
        "final_return": sum(returns) / len(returns),
        "n_bounces": abel.n_bounces,
        "decays": [list(decay) for decay in abel.decays],
        "factor": abel.factor,
        "optimizer_steps": steps,
        "evaluation_time_s": round(evaluation.seconds, 3),
        "error": None,
    }


def build(run: Run, arm: Arm, env: VecEnv) -> BaseAlgorithm:
    """Return the untrained model of a run."""
    optimizer_class, optimizer_kwargs = regularized_optimizer(run.agent, run.regularization, run.weight_decay)
    return make_agent(
        run.agent,
        run.env_id,
        env,
        learning_rate=arm.learning_rate,
        seed=run.seed,
        optimizer_class=optimizer_class,
        optimizer_kwargs=optimizer_kwargs,
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def commit() -> str | None:
    """Commit of this checkout, with a mark if files have changed since; None outside of git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return run.stdout.strip()

    head = git("rev-parse", "HEAD")
    return head + ("-modified" if git("status", "--porcelain") else "") if head else None


@functools.cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
