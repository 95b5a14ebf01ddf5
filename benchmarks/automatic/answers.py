"""Saved runs -> what the plan asks: the regret of each rule, its worst base rate, and whether it ships."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.automatic.stages import AFTERWARDS, AUTOMATIC, COOLDOWN, FEWEST_SEEDS, FIXED, KINDS, RATES, TASKS
from benchmarks.plan import LED, Run
from benchmarks.results import clipped_scores
from benchmarks.statistics.effects import Effect, draws, effect, interval_of
from benchmarks.statistics.estimates import Array, Interval

REGRET, WORST, LEARNED = 0.05, 0.85, 0.1
"""What the plan asks of a rule, and of the best constant rate: a share of the reference, or the task is left out."""


class Rule(NamedTuple):
    """What a rule, or a fixed schedule, came to on one task; 1 is the best constant rate."""

    by_base: dict[float, float]
    regret: Interval

    @property
    def worst(self) -> float:
        """Lowest mean score among the base rates."""
        return min(self.by_base.values())


class Task(NamedTuple):
    """One stage that has seeds enough.

    :param seeds: that all its arms have
    :param best: score of the best constant rate, of the environment's reference
    :param chosen: that rate, over the preset's
    :param rules: by arm; of "best cooldown" the regret alone is asked
    """

    seeds: int
    best: float
    chosen: float
    rules: dict[str, Rule]

    @property
    def is_learned(self) -> bool:
        """Whether the task counts."""
        return self.best >= LEARNED


class Verdict(NamedTuple):
    """What becomes of a rule for one kind of agent.

    :param tasks: that are there and count
    :param missing: tasks that are not there yet
    :param constant: what a constant rate scores, over base rates
    :param preset: what the preset's rate scores
    :param late: whether a task is missing that can take the verdict back
    """

    tasks: int
    missing: int
    regret: float
    worst: float
    constant: float
    preset: float
    late: bool

    @property
    def ships(self) -> bool | None:
        """Whether it holds what the plan asks; None where the tasks that are missing can still tell."""
        holds = self.regret <= REGRET and self.worst >= WORST
        if self.missing:
            return None if self.worst >= WORST else False
        return holds


def answer(runs: pd.DataFrame) -> dict[str, Task]:
    """Return what is known of each stage that has seeds enough of all arms."""
    done, found = set(runs["run_id"]), {}
    planned = AUTOMATIC.stages()
    for name in TASKS:
        if AUTOMATIC.counts(name, done):
            of = [run.run_id for run in planned[name] + [run for run in planned[COOLDOWN] if _is_of(run, name)]]
            found[name] = task_of(runs[runs["run_id"].isin(of)])
    return found


def _is_of(run: Run, name: str) -> bool:
    return (run.agent, run.env_id, run.timesteps) == TASKS[name]


def task_of(runs: pd.DataFrame) -> Task:
    """Return what the runs of one task say, on the seeds that all its arms have; cooldown counts if it has them too."""
    by = runs.assign(score=clipped_scores(runs)).pivot_table(
        index="seed", columns=["arm", "rate_multiplier"], values="score"
    )
    by = by[by.drop(columns="cooldown", level="arm", errors="ignore").notna().all(axis=1)]
    short = [arm for arm in by.columns.unique("arm") if by[arm].isna().any(axis=None)]
    by = by.drop(columns=short, level="arm")
    by.columns = by.columns.remove_unused_levels()
    scores = {str(arm): by[arm].to_numpy() for arm in by.columns.levels[0]}
    rates = {str(arm): by[arm].columns.to_numpy(dtype=float) for arm in by.columns.levels[0]}
    counts = draws(len(by))
    best = _best(scores["constant"], counts)
    chosen = rates["constant"][np.argmax(scores["constant"].mean(axis=0))]
    rules = {
        arm: Rule(dict(zip(rates[arm].tolist(), (of.mean(axis=0) / best[0]).tolist())), _regret(of, best, counts))
        for arm, of in scores.items()
    }
    if "cooldown" in scores:
        ends = _best(scores["cooldown"], counts)
        rules["best cooldown"] = Rule({float("nan"): float(ends[0] / best[0])}, _share_lost(_over(ends, best), len(by)))
    return Task(len(by), float(best[0]), float(chosen), rules)


def falls(runs: pd.DataFrame) -> dict[str, Effect]:
    """Return, by task, what a fall to 0 at the end brings at the preset's own rate: cooldown minus constant.

    In scores of the environment's reference, on all seeds that have both; a task has ``FEWEST_SEEDS`` or is left out.
    """
    found = {}
    runs = runs.assign(score=clipped_scores(runs))[lambda all_runs: all_runs["rate_multiplier"] == 1]
    planned = [run for of in AUTOMATIC.stages().values() for run in of if run.arm in FIXED]
    for name in TASKS:
        of_task = runs[runs["run_id"].isin([run.run_id for run in planned if _is_of(run, name)])]
        by_arm = of_task.pivot_table("score", "seed", "arm").reindex(columns=FIXED)
        differences = (by_arm["cooldown"] - by_arm["constant"]).dropna()
        if len(differences) >= FEWEST_SEEDS:
            found[name] = effect(differences)
    return found


def _best(scores: Array, counts: Array) -> Array:
    """Return the mean score of the rate that is best in each sample of seeds."""
    best: Array = (counts @ scores / len(scores)).max(axis=1)
    return best


def _over(scores: Array, best: Array) -> Array:
    # A sample in which nothing is learned at any rate tells nothing.
    return np.divide(scores, best, out=np.ones_like(best), where=best > 0)


def _regret(scores: Array, best: Array, counts: Array) -> Interval:
    return _share_lost(_over(counts @ scores.mean(axis=1) / len(scores), best), len(scores))


def _share_lost(shares: Array, num_seeds: int) -> Interval:
    lost = 1 - shares
    found, low, high = interval_of(lost, num_seeds)
    return Interval(found, low, min(high, 1.0))


def verdicts(found: dict[str, Task]) -> dict[str, dict[str, Verdict]]:
    """Return, by kind and rule, what becomes of it; a kind is there once a task of it counts."""
    told: dict[str, dict[str, Verdict]] = {}
    for kind, agents in KINDS.items():
        planned = [name for name, (agent, *_) in TASKS.items() if agent in agents]
        tasks = [found[name] for name in planned if name in found and found[name].is_learned]
        missing = sum(name not in found and name not in AFTERWARDS for name in planned)
        late = any(name not in found for name in planned if name in AFTERWARDS)
        fixed = [task.rules["constant"] for task in tasks]
        # Where only the good rates were tried their mean tells nothing.
        constants = [of for of in fixed if len(of.by_base) == len(RATES)] or fixed
        for arm in LED:
            of_arm = [task.rules[arm] for task in tasks if arm in task.rules]
            if of_arm:
                regret = float(np.mean([rule.regret.estimate for rule in of_arm]))
                worst = min(rule.worst for rule in of_arm)
                constant = 1 - float(np.mean([of.regret.estimate for of in constants]))
                preset = float(np.mean([of.by_base[1.0] for of in fixed]))
                told.setdefault(kind, {})[arm] = Verdict(len(of_arm), missing, regret, worst, constant, preset, late)
    return told


SHOWN = (*FIXED, "best cooldown", *LED)
"""Arms in the order of the table."""
