"""The page of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.evidence.base_rates import FIXED_RATE
from benchmarks.evidence.stages import EVIDENCE
from benchmarks.ppo.answers import BAR, RULES, TASKS, Gap, gaps, goes_on, option, passing, scored, screened
from benchmarks.ppo.stages import DEVELOPMENT, PPO, TEST, TODAY, UPDATES
from benchmarks.statistics.effects import seeds_to_see
from benchmarks.words import templates, wrapped

PAGE = "ppo.md"
SCALE = 0.15
"""The first rule begins at SCALE / √N."""

WIDE = 0.2
"""An interval that reaches so far below 0 says nothing."""


def write_page(folder: Path) -> Path:
    """Write the page beside the saved runs in ``folder``; return it.

    :raises ValueError: if there is no saved run
    """
    if (results := PPO.saved(folder)) is None:
        raise ValueError(f"there is no saved run of {PPO.name} in {folder}; run and save come first")
    baselines = EVIDENCE.saved(folder)
    runs = [of.runs for of in (results, baselines) if of is not None]
    (folder / PAGE).write_text(render(pd.concat(runs), set(results.runs["run_id"])), encoding="utf-8")
    return folder / PAGE


def render(runs: pd.DataFrame, own: set[str]) -> str:
    """Return the page of these runs.

    :param own: ids of the runs that are this study's
    """
    found, means = gaps(runs), screened(runs)
    rules = [found[rule] for rule in UPDATES if set(found.get(rule, {})) == set(TASKS)]
    values = {
        "found": found,
        "passing": passing(found),
        "passed": next((rule for rule, passes in passing(found).items() if passes), None),
        "option": option(found),
        "below": [task for task in TASKS if rules and all(of[task].gap.mean.estimate < BAR for of in rules)],
        "wide": [task for task in TASKS if rules and all(of[task].gap.mean.low < -WIDE for of in rules)],
        "begins": begins(runs),
        "fixed": {task: score for task, score in fixed_rate(runs).items() if task in found.get(UPDATES[0], {})},
        "surely": surely_better(found, option(found)),
        "test": list(TEST),
        "means": None if means is None else means.assign(mean=means.mean(axis=1)).to_dict("index"),
        "goes_on": None if means is None else goes_on(means),
        "development": list(DEVELOPMENT),
        "tasks": list(TASKS),
        "missing": [task for task in TASKS if any(task not in found.get(rule, {}) for rule in (*UPDATES, TODAY))],
        "rules": RULES,
        "updates": UPDATES,
        "today": TODAY,
        "needed": seeds_needed(found),
        "bar": BAR,
        "progress": PPO.progressed(own),
        "num_runs": len(own),
    }
    return wrapped(templates("benchmarks.ppo").get_template(f"{PAGE}.j2").render(values))


def begins(runs: pd.DataFrame) -> pd.Series:
    """Return at which rate the first rule begins, by task."""
    steps = runs[runs["arm"] == UPDATES[0]].groupby("env_id")["optimizer_steps"].first()
    return SCALE / np.sqrt(steps.astype(float))


def fixed_rate(runs: pd.DataFrame) -> dict[str, float]:
    """Return the mean score of linear decay from the tested rate that is nearest to ``FIXED_RATE``, by task."""
    linear, found = scored(runs)[lambda of: of["arm"] == "linear"], {}
    for task, (env_id, timesteps) in TASKS.items():
        by_rate = linear[(linear["env_id"] == env_id) & (linear["timesteps"] == timesteps)].groupby("learning_rate")
        scores = by_rate["score"].mean()
        if len(scores):
            found[task] = float(scores.iloc[np.abs(np.log(scores.index / FIXED_RATE)).argmin()])
    return found


def surely_better(found: dict[str, dict[str, Gap]], rule: str | None) -> list[str]:
    """Return the tasks on which the interval of a rule's lead over today's excludes 0."""
    by_task = found.get(rule or "", {})
    return [task for task in TASKS if task in by_task and (gain := by_task[task].gain) and gain.mean.low > 0]


def seeds_needed(found: dict[str, dict[str, Gap]]) -> dict[str, int]:
    """Return, by task, how many seeds the bar asks for if the rule with the narrowest interval is as good as linear."""
    rules = [found[rule] for rule in UPDATES if rule in found]
    return {
        task: min(seeds_to_see(rule[task].gap, -BAR) for rule in rules if task in rule)
        for task in TASKS
        if any(task in rule for rule in rules)
    }
