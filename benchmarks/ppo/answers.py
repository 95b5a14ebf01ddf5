"""Saved runs -> what the plan asks of each rule: the gap to linear decay at its best rate, on each task."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.ppo.stages import COOLDOWN, COOLED_AT, DEVELOPMENT, LED, SEEDS, TEST, TODAY, UPDATES
from benchmarks.results import clipped_scores
from benchmarks.statistics.effects import Effect, draws, effect, effect_of
from benchmarks.statistics.over_rates import best_elsewhere

TASKS = TEST | DEVELOPMENT
BAR = -0.03
"""The gap's interval has to lie above it."""

ALIKE = 0.05
COOLED = tuple(f"kl+cooldown at {at:g}" for at in COOLED_AT)
RULES = (*UPDATES, *LED, *COOLED, TODAY)


class Gap(NamedTuple):
    """What a rule comes to on one task.

    :param score: mean over its base rates
    :param gap: that minus linear decay at its best rate, chosen on other seeds
    :param gain: the score minus that of today's rule
    :param apart: the score from the largest base rate minus that from the smallest; None if it ignores the base rate
    """

    score: float
    gap: Effect
    apart: Effect | None
    gain: Effect | None = None

    @property
    def passes(self) -> bool:
        """Whether it holds what the plan asks on this task."""
        return self.gap.mean.low > BAR and self.is_insensitive

    @property
    def is_insensitive(self) -> bool:
        """Whether the score is the same from both base rates."""
        if self.apart is None:
            return True
        return abs(self.apart.mean.estimate) <= max(ALIKE, 2 * self.apart.error)


def gaps(runs: pd.DataFrame) -> dict[str, dict[str, Gap]]:
    """Return, by rule and task, what the runs tell; a task is there once it has all seeds of the rule and of linear.

    :param runs: of this study and of "evidence"
    """
    runs = runs[(runs["agent"] == "PPO") & (runs["regularization"] == "none") & runs["seed"].isin(SEEDS)]
    cooled = runs["arm"] == COOLDOWN
    named = runs["arm"].mask(cooled, "kl+cooldown at " + runs["final_decay_at"].map("{:g}".format))
    runs = runs.assign(arm=named, score=clipped_scores(runs))
    found: dict[str, dict[str, Gap]] = {}
    for task, (env_id, timesteps) in TASKS.items():
        of_task = runs[(runs["env_id"] == env_id) & (runs["timesteps"] == timesteps)]
        linear, today = _by_rate(of_task, "linear"), _by_rate(of_task, TODAY)
        for rule in RULES:
            of_rule = _by_rate(of_task, rule)
            if linear is not None and of_rule is not None:
                of = gap(of_rule, linear)
                if today is not None and rule != TODAY:
                    of = of._replace(gain=effect(of_rule.mean(axis=1) - today.mean(axis=1)))
                found.setdefault(rule, {})[task] = of
    return found


def gap(of_rule: pd.DataFrame, linear: pd.DataFrame) -> Gap:
    """Return what a rule comes to, of tables with a row a seed and a column a base rate."""
    of_rule = of_rule.loc[linear.index]
    counts, rates = draws(len(linear)), linear.columns.to_numpy(dtype=float)
    best = best_elsewhere(linear.to_numpy(), counts, rates)
    means = counts @ of_rule.mean(axis=1).to_numpy() / len(linear)
    apart = effect(of_rule.iloc[:, -1] - of_rule.iloc[:, 0]) if of_rule.shape[1] > 1 else None
    return Gap(float(of_rule.to_numpy().mean()), effect_of(means - best, len(linear)), apart)


def _by_rate(runs: pd.DataFrame, arm: str) -> pd.DataFrame | None:
    table = runs[runs["arm"] == arm].pivot_table("score", "seed", "rate_multiplier").dropna()
    return table if len(table) == len(SEEDS) else None


def passing(found: dict[str, dict[str, Gap]]) -> dict[str, bool | None]:
    """Return whether each rule passes on all tasks, None where tasks are missing and none has failed."""
    told: dict[str, bool | None] = {}
    for rule, by_task in found.items():
        failed = not all(of.passes for of in by_task.values())
        told[rule] = False if failed else True if set(by_task) == set(TASKS) else None
    return told


def best_led(found: dict[str, dict[str, Gap]]) -> str | None:
    """Return which rule that follows the KL divergence is best on the development tasks, None if one is missing."""
    led = (*LED, *COOLED)
    if not all(set(DEVELOPMENT) <= set(found.get(rule, {})) for rule in led):
        return None
    return max(led, key=lambda rule: np.mean([found[rule][task].gap.mean.estimate for task in DEVELOPMENT]))
