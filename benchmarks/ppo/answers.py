"""Saved runs -> what the plan asks of each rule: the gap to linear decay at its best rate, on each task."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from benchmarks.ppo.stages import BASES, COOLDOWN, COOLED_AT, DEVELOPMENT, LED, SCREENED, SEEDS, TEST, TODAY, UPDATES
from benchmarks.results import clipped_scores
from benchmarks.statistics.effects import Effect, draws, effect, effect_of
from benchmarks.statistics.over_rates import best_elsewhere

TASKS = TEST | DEVELOPMENT
BAR = -0.03
"""The gap's interval has to lie above it."""

ALIKE = 0.05
COOLED = tuple(f"kl+cooldown at {at:g}" for at in COOLED_AT)
FOLLOWING = (*LED, *COOLED)
"""Rules that follow the KL divergence; they are screened."""

RULES = (*UPDATES, *FOLLOWING, TODAY)


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
    runs = scored(runs)
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


def scored(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that the plan is about, with scores, and rules by name."""
    runs = runs[(runs["agent"] == "PPO") & (runs["regularization"] == "none") & runs["seed"].isin(SEEDS)]
    cooled = runs["arm"] == COOLDOWN
    named = runs["arm"].mask(cooled, "kl+cooldown at " + runs["final_decay_at"].map("{:g}".format))
    return runs.assign(arm=named, score=clipped_scores(runs))


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


def option(found: dict[str, dict[str, Gap]]) -> str | None:
    """Return the rule that is better than today's on each development task, and no worse on the test tasks.

    Of several the one with the highest mean gap on the test tasks; None if there is none, or tasks are missing.
    """
    means = {rule: {task: of.gap.mean.estimate for task, of in by.items()} for rule, by in found.items()}
    today = means.get(TODAY, {})
    if set(today) != set(TASKS):
        return None
    better = [
        rule
        for rule, of in means.items()
        if set(of) == set(TASKS)
        and all(of[task] > today[task] for task in DEVELOPMENT)
        and all(of[task] >= today[task] for task in TEST)
    ]
    return max(better, key=lambda rule: sum(means[rule][task] for task in TEST), default=None)


def screened(runs: pd.DataFrame) -> pd.DataFrame | None:
    """Return mean scores on the seeds of the screening, a row a rule and a column a task; None if one is missing.

    The rows are the rules that follow the KL divergence, and the one that such a rule has to reach.
    """
    runs = scored(runs)
    runs = runs[runs["seed"].isin(SCREENED)]
    rows = {}
    for rule in (*FOLLOWING, UPDATES[1]):
        rates = (1.0,) if rule in UPDATES else BASES
        for task, (env_id, timesteps) in DEVELOPMENT.items():
            is_of = (runs["arm"] == rule) & (runs["env_id"] == env_id) & (runs["timesteps"] == timesteps)
            of = runs[is_of & runs["rate_multiplier"].isin(rates)]
            if len(of) < len(SCREENED) * len(rates):
                return None
            rows.setdefault(rule, {})[task] = float(of["score"].mean())
    return pd.DataFrame(rows).T


def goes_on(means: pd.DataFrame) -> str | None:
    """Return which of the screened rules goes on, None if none does."""
    over_tasks = means.mean(axis=1)
    best = over_tasks[list(FOLLOWING)].idxmax()
    return str(best) if over_tasks[best] >= over_tasks[UPDATES[1]] else None
