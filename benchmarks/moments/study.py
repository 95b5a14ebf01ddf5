"""The study: a trunk with its branches is a unit. Those in RL and those of the digits have tables of their own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.moments.plan import CONTROL, DIGITS, SEEDS, STAGES, Task
from benchmarks.study.tables import Tables
from benchmarks.study.units import Unit, UnitStudy

KEY = ("agent", "env_id", "strength", "seed")


def _tables(name: str) -> Tables:
    return Tables(files=(name, f"{name}_traces"), key=KEY, order=(*KEY, "place"))


RUNS, DIGITS_RUNS = _tables("moments"), _tables("moments_control")


def unit(task: Task, seed: int) -> Unit:
    """Return the trunk of a task and seed."""
    module, tables = ("digits", DIGITS_RUNS) if task.role == CONTROL else ("training", RUNS)
    name = f"{task.name} at {task.strength:g}, seed {seed}"
    key = (task.agent, task.env_id, task.strength, seed)
    return Unit(name, key, f"benchmarks.moments.{module}:train_trunk", (task, seed), tables)


def stages(folder: Path) -> dict[str, list[Unit]]:
    """Return every trunk: the control, and in RL stage by stage, in each seed by seed."""
    tasks = {"control": DIGITS, **{f"stage {number}": stage for number, stage in enumerate(STAGES, start=1)}}
    return {name: [unit(task, seed) for seed in SEEDS for task in stage] for name, stage in tasks.items()}


MOMENTS = UnitStudy(
    name="moments",
    about="what a decay brings, at each moment of a run",
    page="benchmarks.moments.page:write_page",
    stages=stages,
)
