"""One run, start to end, written aside and put into its own folder when it is complete."""

from __future__ import annotations

import csv
import functools
import json
import os
import platform
import shutil
import subprocess
import time
import traceback
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.vec_env import VecEnv

from agents import find_preset, make_agent, regularized_optimizer
from benchmarks.plan import Run
from benchmarks.schedules import Arm, make_arm
from envs import find_env, make_env, make_evaluation_env

RUN_JSON = "run.json"
EVALUATION_ENVS = 10
FINAL_ENVS = 50
"""More episodes at once are fewer calls of the policy, which cost more than the environments do."""
# Seeds of training are small; these are streams of their own.
EVALUATION_SEED, FINAL_SEED = 1_000_000, 2_000_000
PACKAGES = ("rl_abel", "stable_baselines3", "sb3_contrib", "gymnasium", "torch", "numpy")


def train(run: Run, out: Path) -> dict[str, Any]:
    """Train one run and leave its folder in ``out``; return what its run.json holds.

    A run that raises is recorded as failed, with its traceback. A folder appears under its name
    only when everything else is in it, and its run.json last of all.
    """
    torch.set_num_threads(1)
    aside = out / f".{run.run_id}.{uuid.uuid4().hex[:8]}"
    aside.mkdir(parents=True)
    start = time.monotonic()
    try:
        result = {"status": "complete", **_train(run, aside), "error": None}
    except Exception:
        result = {"status": "failed", "final_return": None, "n_bounces": None, "decays": [], "factor": None}
        result["error"] = traceback.format_exc()
    record = {**describe(run), **result, "wall_time_s": round(time.monotonic() - start, 3)}
    publish(record, aside, out / run.run_id)
    return record


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


def publish(record: dict[str, Any], aside: Path, folder: Path) -> None:
    """Give a finished folder its name, and then its run.json; the first to finish a run wins."""
    text = json.dumps(record, indent=1)
    (aside / f".{RUN_JSON}").write_text(text)
    if folder.is_dir():
        if (folder / RUN_JSON).is_file() and json.loads((folder / RUN_JSON).read_text())["status"] == "complete":
            shutil.rmtree(aside)
            return
        shutil.rmtree(folder)
    aside.rename(folder)
    (folder / f".{RUN_JSON}").rename(folder / RUN_JSON)


def _train(run: Run, folder: Path) -> dict[str, Any]:
    preset = find_preset(run.agent, run.env_id)
    arm = make_arm(run.arm, run.learning_rate, run.measure_every, run.decay_factor, run.final_decay_at)
    env = make_env(run.env_id, preset.n_envs, run.seed, normalize=preset.normalize, gamma=preset.gamma)
    evaluation_env = make_evaluation_env(run.env_id, EVALUATION_ENVS, EVALUATION_SEED + run.seed, env)
    model = build(run, arm, env)
    logger = configure(str(folder), ["csv", "tensorboard"])
    model.set_logger(logger)
    evaluation = Evaluation(run, evaluation_env)
    try:
        # The evaluation notes the last rate before the callback gives the model its own schedule back.
        model.learn(run.timesteps, callback=[*arm.others, evaluation, arm.abel])
        returns = final_returns(model, run, env)
        log_return(logger, model.num_timesteps, returns)
    finally:
        logger.close()
        env.close()
        evaluation_env.close()
    _write_csv(folder / "evaluations.csv", Evaluation.COLUMNS, evaluation.rows)
    # One measurement gives both, so they have the same timesteps.
    trace = arm.abel.trace | arm.abel.diagnosis
    _write_csv(folder / "trace.csv", list(trace), zip(*trace.values()))
    return {
        "final_return": sum(returns) / len(returns),
        "n_bounces": arm.abel.n_bounces,
        "decays": [list(decay) for decay in arm.abel.decays],
        "factor": arm.abel.factor,
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


def evaluate(model: BaseAlgorithm, env: VecEnv, episodes: int, seed: int) -> list[float]:
    """Return the returns of the deterministic policy in episodes that depend on the seed alone."""
    env.seed(seed)
    returns, _ = evaluate_policy(model, env, episodes, deterministic=True, return_episode_rewards=True, warn=False)
    return [float(r) for r in returns]


def final_returns(model: BaseAlgorithm, run: Run, env: VecEnv) -> list[float]:
    """Return the returns of the last policy, on environments that have seen no other episode."""
    seed = FINAL_SEED + run.seed
    final_env = make_evaluation_env(run.env_id, min(FINAL_ENVS, run.final_episodes), seed, env)
    try:
        return evaluate(model, final_env, run.final_episodes, seed)
    finally:
        final_env.close()


def log_return(logger: Logger, timestep: int, returns: Sequence[float]) -> None:
    """Write the mean return under the name that SB3's EvalCallback gives it."""
    # A logger of its own on the same outputs: what the training has recorded stays for its own dump.
    apart = Logger(None, logger.output_formats)
    apart.record("eval/mean_reward", sum(returns) / len(returns))
    apart.record("time/total_timesteps", timestep, exclude="tensorboard")
    apart.dump(timestep)


class Evaluation(BaseCallback):
    """Evaluates the policy at equal distances, always on the same episodes, and notes the rate.

    The last one is of the policy after its last update. In the logs the final return, which is of
    that policy too, stands in its place.
    """

    COLUMNS = ("timesteps", "return_mean", "return_std", "learning_rate")

    def __init__(self, run: Run, env: VecEnv) -> None:
        super().__init__()
        self.run, self.env = run, env
        self.rows: list[tuple[float, ...]] = []

    def _on_step(self) -> bool:
        number = len(self.rows) + 1
        # The last update comes after the last step, and the last evaluation after that.
        if number < self.run.evaluations and self.num_timesteps * self.run.evaluations >= number * self.run.timesteps:
            log_return(self.logger, self.num_timesteps, self._evaluate())
        return True

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> list[float]:
        returns = evaluate(self.model, self.env, self.run.evaluation_episodes, EVALUATION_SEED + self.run.seed)
        mean = sum(returns) / len(returns)
        deviation = (sum((r - mean) ** 2 for r in returns) / len(returns)) ** 0.5
        rate = self.model.lr_schedule(self.model._current_progress_remaining)
        self.rows.append((self.num_timesteps, mean, deviation, rate))
        return returns


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
