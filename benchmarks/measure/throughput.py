"""How fast the engine is, as ratios measured in turn: ``python -m benchmarks.measure throughput``.

- two workers against one, on the same runs;
- five arms that begin alike against one of them, on the tasks of the suite "classic", each budget a fifth;
- evaluations as a share of a run, where they take most;
- one worker against a bare loop of ``model.learn`` and the same evaluations in one process;
- rl_zoo3 against one worker, on the same CartPole runs, end to end (processes started included);
- ``rl-abel inspect`` on 1,000 runs, from TensorBoard events and from progress.csv, in seconds.

Launches alternate, so that a machine whose speed drifts slows all alike.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents import find_preset
from benchmarks.plan import Run
from benchmarks.suites import CLASSIC

ROOT = Path(__file__).parents[2]
TIMESTEPS = 20_000
KINDS = ("workers", "branches", "evaluations", "bare", "zoo", "inspect")
FIVE = ("constant", "constant+final", "cooldown", "step", "abel")
DUMPS, TAGS = 100, 20
"""Of a made-up log, as SB3 writes it in a run of some length."""


def runs(n: int) -> list[Run]:
    """Return n CartPole runs of one arm."""
    return [Run("PPO", "CartPole-v1", TIMESTEPS, "constant", seed) for seed in range(n)]


def launch(n: int, workers: int) -> float:
    """Seconds of ``python -m benchmarks run`` on n runs."""
    block = {"agent": "PPO", "env_id": "CartPole-v1", "timesteps": TIMESTEPS, "arms": "constant", "seeds": n}
    return run_suite([block], workers)[0]


def run_suite(blocks: Sequence[Mapping[str, Any]], workers: int) -> tuple[float, list[dict[str, Any]]]:
    """Return the seconds of ``python -m benchmarks run`` on a suite of these blocks, and its run.json."""
    with tempfile.TemporaryDirectory() as folder:
        suite, out = Path(folder) / "suite.toml", Path(folder) / "out"
        tables = ("".join(f"{key} = {json.dumps(value)}\n" for key, value in block.items()) for block in blocks)
        suite.write_text("".join(f"[[block]]\n{table}" for table in tables))
        command = [sys.executable, "-m", "benchmarks", "run", str(suite), "--out", str(out), "--workers", str(workers)]
        return _seconds(command), [json.loads(path.read_text()) for path in sorted(out.glob("*/run.json"))]


def classic(arms: Sequence[str], regularization: Sequence[str], shorter: int = 1) -> list[dict[str, Any]]:
    """Return the blocks of the suite "classic" with one seed.

    :param shorter: divides budgets, evaluations and last episodes, so that their proportions stay
    """
    return [
        {"agent": "PPO", "env_id": env_id, "timesteps": timesteps // shorter, "arms": list(arms), "seeds": 1}
        | {"regularization": list(regularization), "strength": 10.0}
        | {"evaluations": 20 // shorter, "final_episodes": 100 // shorter}
        for env_id, timesteps in CLASSIC
    ]


def branches(arms: Sequence[str]) -> float:
    """Seconds of the suite "classic" with these arms, without and with weight decay, each budget a fifth."""
    return run_suite(classic(arms, ("none", "adamw"), shorter=5), 1)[0]


def evaluations() -> dict[str, float]:
    """Return the share of a whole run that its evaluations take, by agent and environment."""
    one = classic(FIVE[:1], ("none",))
    shares = {}
    for block in [*one, {**one[0], "agent": "SAC", "env_id": "Pendulum-v1", "timesteps": 20_000}]:
        [record] = run_suite([block], 1)[1]
        shares[f"{block['agent']} {block['env_id']}"] = record["evaluation_time_s"] / record["wall_time_s"]
    return shares


def bare(n: int) -> float:
    """Seconds of a loop of ``model.learn`` and the same evaluations, in one process, nothing written."""
    return _seconds([sys.executable, "-m", "benchmarks.measure", "throughput", "--bare", str(n)])


def bare_loop(n: int) -> None:
    """Train and evaluate n runs as a script would, with SB3's own parts alone."""
    import torch
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.evaluation import evaluate_policy

    from agents import make_agent
    from envs import make_env, make_evaluation_env

    torch.set_num_threads(1)
    for run in runs(n):
        preset = find_preset(run.agent, run.env_id)
        env, evaluation_env = make_env(run.env_id, preset.n_envs, run.seed), make_evaluation_env(run.env_id, 10, 10**6)
        model = make_agent(run.agent, run.env_id, env, learning_rate=run.learning_rate, seed=run.seed)
        every = run.timesteps // run.evaluations // preset.n_envs
        model.learn(
            run.timesteps, callback=EvalCallback(evaluation_env, eval_freq=every, n_eval_episodes=10, verbose=0)
        )
        evaluate_policy(model, evaluation_env, run.final_episodes, warn=False)


def zoo(n: int) -> float:
    """Seconds of n launches of rl_zoo3's command with the same hyperparameters, budget and evaluations."""
    preset = find_preset("PPO", "CartPole-v1")
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"n_envs: {preset.n_envs}", f"n_timesteps: {TIMESTEPS}", f"learning_rate: {preset.learning_rate}"]
        lines += [f"{name}: {value!r}" for name, value in preset.hyperparameters.items()]
        config = Path(folder) / "ppo.yml"
        config.write_text("CartPole-v1:\n" + "".join(f"  {line}\n" for line in lines))
        command = [sys.executable, "-m", "rl_zoo3.train", "--algo", "ppo", "--env", "CartPole-v1", "-conf", str(config)]
        command += ["-f", f"{folder}/logs", "--eval-freq", str(TIMESTEPS // 20), "--eval-episodes", "10"]
        command += ["--n-eval-envs", "10", "--device", "cpu", "--num-threads", "1", "--verbose", "0"]
        return sum(_seconds([*command, "--seed", str(run.seed)]) for run in runs(n))


def inspect(n: int, form: str) -> float:
    """Seconds of ``rl-abel inspect`` on n made-up runs.

    :param form: of their logs, as SB3 calls it: "tensorboard" or "csv"
    """
    with tempfile.TemporaryDirectory() as folder:
        models = [Path(folder) / "models" / str(number) for number in range(10)]
        for number, model in enumerate(models):
            log(model, form, number)
        for number in range(n):
            shutil.copytree(models[number % len(models)], Path(folder) / "runs" / f"{number:04}")
        return _seconds([sys.executable, "-m", "rl_abel.inspection.cli", "inspect", f"{folder}/runs"])


def log(folder: Path, form: str, number: int) -> None:
    """Write a made-up log with SB3's own logger: a norm with a minimum in the middle, and other tags."""
    from stable_baselines3.common.logger import configure

    logger = configure(str(folder), [form])
    others = [f"train/value_{tag}" for tag in range(TAGS - 3)]
    for dump in range(1, DUMPS + 1):
        for part in ("total", "policy", "value"):
            norm = 200 + number + 50 * math.cos(2 * math.pi * dump / DUMPS)
            logger.record(f"abel/weight_norm_{part}", norm)
        for tag in others:
            logger.record(tag, float(dump))
        logger.record("time/total_timesteps", 1000 * dump, exclude="tensorboard")
        logger.dump(1000 * dump)
    logger.close()


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def ratios(above: Callable[[], float], below: Callable[[], float], repeats: int) -> list[float]:
    """Return the ratio of the two durations, measured in turn."""
    return [above() / below() for _ in range(repeats)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print what was asked for, each beside its target."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.measure throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=24, help="runs a launch (default 24)")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of launches (default 3)")
    parser.add_argument("--only", nargs="*", choices=KINDS, help="these (default: all)")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.bare is not None:
        bare_loop(given.bare)
        return
    n, few = given.runs, max(2, given.runs // 4)
    comparisons: dict[str, tuple[str, Callable[[], float], Callable[[], float], str]] = {
        "workers": (f"one worker / two, {n} runs", lambda: launch(n, 1), lambda: launch(n, 2), "at least 1.9"),
        "branches": (
            "five arms / one, classic",
            lambda: branches(FIVE),
            lambda: branches(FIVE[:1]),
            "at most 2.2",
        ),
        "bare": (f"one worker / bare loop, {n} runs", lambda: launch(n, 1), lambda: bare(n), "at most 1.03"),
        "zoo": (f"rl_zoo3 / one worker, {few} runs", lambda: zoo(few), lambda: launch(few, 1), "at least 1.2"),
    }
    console = Console(width=100)
    _print(console, "durations", "median ratio", "all", "target")
    for name in given.only if given.only is not None else KINDS:
        if name in comparisons:
            label, above, below, target = comparisons[name]
            measured = ratios(above, below, given.repeats)
            _print(console, label, f"{statistics.median(measured):.3f}", " ".join(f"{r:.2f}" for r in measured), target)
        elif name == "evaluations":
            for task, share in evaluations().items():
                _print(console, f"evaluations, {task}", f"{share:.1%}", "", "at most 10 %")
        else:
            for form in ("tensorboard", "csv"):
                _print(console, f"inspect 1,000 runs, {form}", f"{inspect(1000, form):.1f} s", "", "at most 30 s")


def _print(console: Console, label: str, *figures: str) -> None:
    # A line at a time: the whole takes long, and what has been measured shall not be lost.
    console.print(f"{label:<36}" + "".join(f"{figure:>21}" for figure in figures), highlight=False)
