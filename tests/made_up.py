"""Made-up runs: folders with the files and sizes of real ones, and random numbers. Nothing is trained."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import SCHEDULES

TASKS = tuple((agent, f"Task{number}-v1") for agent in ("PPO", "SAC") for number in range(5))
EVALUATIONS, MEASUREMENTS, TIMESTEPS = 20, 100, 100_000


def make_run(out: Path, agent: str, env_id: str, arm: str, seed: int, rng: np.random.Generator) -> None:
    """Write the folder of one made-up run, which learns to a random level."""
    run_id = f"{agent}_{env_id}_{arm}_seed{seed}"
    folder = out / run_id
    folder.mkdir(parents=True)
    at = np.linspace(0, TIMESTEPS, EVALUATIONS + 1)[1:].astype(int)
    returns = 100 * rng.normal(0.9, 0.05) * (1 - np.exp(-at / 20_000)) + rng.normal(0, 3, EVALUATIONS)
    rates = 1e-3 * (1 - at / TIMESTEPS if arm == "linear" else np.ones(EVALUATIONS))
    _write(
        folder / "evaluations.csv",
        ("timesteps", "return_mean", "return_std", "learning_rate"),
        zip(at.tolist(), returns.tolist(), [3.0] * EVALUATIONS, rates.tolist()),
    )
    when = np.linspace(0, TIMESTEPS, MEASUREMENTS + 1)[1:].astype(int)
    policy, value = (50 + np.cumsum(np.abs(rng.normal(0.2, 0.1, MEASUREMENTS))) for _ in range(2))
    _write(
        folder / "trace.csv",
        ("timesteps", "total", "policy", "value"),
        zip(when.tolist(), (policy + value).tolist(), policy.tolist(), value.tolist()),
    )
    record = {
        "run_id": run_id,
        "agent": agent,
        "env_id": env_id,
        "arm": arm,
        "regularization": "none",
        "strength": 0.0,
        "weight_decay": 0.0,
        "learning_rate": 1e-3,
        "seed": seed,
        "timesteps": TIMESTEPS,
        "random_return": 0.0,
        "reference_return": 100.0,
        "status": "complete",
        "final_return": float(returns[-1]),
        "n_bounces": 0,
        "decays": [[85_000, "final", 0.1]] if arm in ("abel", "abel-paper") else [],
        "wall_time_s": 60.0,
    }
    (folder / "run.json").write_text(json.dumps(record, indent=1))


def make_runs(out: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` made-up runs, all tasks and arms of a seed before the next seed."""
    rng = np.random.default_rng(seed)
    cells = list(itertools.product(TASKS, SCHEDULES))
    for number in range(count):
        (agent, env_id), arm = cells[number % len(cells)]
        make_run(out, agent, env_id, arm, number // len(cells), rng)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
