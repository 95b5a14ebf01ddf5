"""The page of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from agents import find_preset
from benchmarks.automatic.answers import REGRET, SHOWN, WORST, Task, answer, falls, verdicts
from benchmarks.automatic.stages import AFTERWARDS, AUTOMATIC, FEWEST_SEEDS, KINDS, TASKS
from benchmarks.plan import LED
from benchmarks.statistics.estimates import Interval
from benchmarks.words import templates, wrapped
from rl_abel.rules.budget import budget_rate

PAGE = "automatic.md"
FIXED_RATE = 0.002
"""What the formula comes to on these tasks, about."""

NEAR = 0.05
"""Shares of the best constant rate that differ by no more are as good."""


def write_page(folder: Path) -> Path:
    """Write the page beside the saved runs in ``folder``; return it.

    :raises ValueError: if there is no saved run
    """
    if (results := AUTOMATIC.saved(folder)) is None:
        raise ValueError(f"there is no saved run of {AUTOMATIC.name} in {folder}; run and save come first")
    (folder / PAGE).write_text(render(results.runs), encoding="utf-8")
    return folder / PAGE


def render(runs: pd.DataFrame) -> str:
    """Return the page of these runs."""
    found = answer(runs)
    decided = verdicts(found)
    shipped = [agent for kind, told in decided.items() if told[LED[0]].ships for agent in KINDS[kind]]
    values = {
        "tasks": found,
        "verdicts": decided,
        "kinds": list(KINDS),
        "formula": LED[0],
        "fewest": FEWEST_SEEDS,
        "wide": wide(found),
        "falls": falls(runs),
        "compared": compared({name: of for name, of in found.items() if TASKS[name][0] in shipped and of.is_learned}),
        **of_shipped(runs, [name for name, (agent, *_) in TASKS.items() if agent in shipped and name in found]),
        "fixed_rate": FIXED_RATE,
        "fixed": {kind: of_kind(found, kind) for kind in KINDS if KINDS[kind][0] in shipped},
        "near": NEAR,
        "any_yes": any(told.get(LED[0]) and told[LED[0]].ships for told in decided.values()),
        "progress": AUTOMATIC.progressed(set(runs["run_id"])),
        "missing": [name for name in TASKS if name not in found],
        "afterwards": AFTERWARDS,
        "arms": SHOWN,
        "most_regret": REGRET,
        "least": WORST,
        "num_runs": len(runs),
    }
    return wrapped(templates("benchmarks.automatic").get_template(f"{PAGE}.j2").render(values))


def of_shipped(runs: pd.DataFrame, names: list[str]) -> dict[str, list[str]]:
    """Return the shortest and the longest budget of some tasks, and the formula's lowest and highest rate on them."""
    timesteps = [TASKS[name][2] for name in names] or [0]
    planned = {run.run_id for name in names for run in AUTOMATIC.stages()[name] if run.arm == LED[0]}
    steps = runs.loc[runs["run_id"].isin(planned), "optimizer_steps"].dropna()
    rates = [budget_rate(int(of)) for of in steps] or [0.0]
    return {
        "short_and_long": [f"{of:,}" for of in (min(timesteps), max(timesteps))],
        "low_and_high": [f"{of:.2g}" for of in (min(rates), max(rates))],
    }


class Compared(NamedTuple):
    """Shares of the best constant rate's score: of the formula, of the preset's rate, and of one fixed rate."""

    formula: float
    preset: float
    fixed: float

    @property
    def is_ahead(self) -> bool:
        """Whether the formula is clearly above the preset's rate."""
        return -self.behind > NEAR

    @property
    def behind(self) -> float:
        """How far the formula is below the preset's rate."""
        return self.preset - self.formula


def compared(found: dict[str, Task]) -> dict[str, Compared]:
    """Return what the formula, the preset's rate and the tested rate nearest to ``FIXED_RATE`` come to, by task."""
    told = {}
    for name, task in found.items():
        constant, rate = task.rules["constant"].by_base, find_preset(*TASKS[name][:2]).learning_rate
        nearest = min(constant, key=lambda base: abs(math.log(base * rate / FIXED_RATE)))
        told[name] = Compared(1 - task.rules[LED[0]].regret.estimate, constant[1.0], constant[nearest])
    return told


def of_kind(found: dict[str, Task], kind: str) -> pd.Series:
    """Return what the tested rate nearest to ``FIXED_RATE`` comes to on the tasks of a kind."""
    tasks = {name: of for name, of in found.items() if TASKS[name][0] in KINDS[kind] and of.is_learned}
    return pd.Series({name: of.fixed for name, of in compared(tasks).items()})


def wide(found: dict[str, Task]) -> list[tuple[str, Interval]]:
    """Return what the formula loses on the tasks where that may be more than the bar allows."""
    lost = [(name, task.rules[LED[0]].regret) for name, task in found.items() if task.is_learned]
    return [(name, one) for name, one in lost if one.high > 1 - WORST]
