"""PPO over base rates, as numbers: what the base rate costs, and what the KL-led rate is worth against schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from agents import find_preset
from benchmarks.evidence.answers import KL, KL_FINAL, Profiled
from benchmarks.evidence.stages import PROFILED, RATES
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED
from benchmarks.results import Results
from benchmarks.statistics.effects import Effect, effect
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.sensitivity import Schedule, Sensitivity

SB3_RATE = 3e-4
"""Default of stable-baselines3's PPO."""

FIXED_RATE = 1e-3
"""One rate for all tasks."""

NEAR = 3.0
"""A base rate within this factor of the preset's is about right."""

AFTER = 0.875
"""Share of the budget: the evaluations from here on come after the decay at 0.85."""

EARLY = 0.1
"""Share of the budget, after which it is asked whether a schedule still knows its base rate."""


class Fixed(NamedTuple):
    """A base rate that someone would take without a search, over the preset's; and what schedules lose at it."""

    multiplier: float
    rate: float
    scores: dict[str, Interval]
    regrets: dict[str, Interval]


class Apart(NamedTuple):
    """How far apart the rates in force are, largest over smallest among the base rates (geometric means over seeds).

    :param p: of Friedman's test, that the final score does not depend on the base rate
    """

    at_first: float
    early: float
    p: float


class Task(NamedTuple):
    """One task over base rates; scores below a random policy count as 0.

    :param best: score of the best constant rate, chosen on other seeds
    :param fixed: "SB3", "preset" and "one" -> :class:`Fixed`, ``FIXED_RATE`` being the one
    :param over_all: arm -> AutoLearningRate minus the arm, over all base rates
    :param at_preset: AutoLearningRate minus a constant rate, both at the preset's; ``near``: within ``NEAR`` of it;
        ``lowest``: at the lowest rate
    :param best_linear: AutoLearningRate, over all base rates, minus linear decay at its best rate
    :param final: one decay near the end minus none, where the KL divergence leads; ``late``: at the preset's constant
        rate, by the evaluations after the decay; ``ends``: minus linear decay, each at its best rate
    """

    num_seeds: int
    best: Interval
    schedules: dict[str, Schedule]
    fixed: dict[str, Fixed]
    over_all: dict[str, Effect]
    at_preset: Effect
    near: Effect
    lowest: Effect
    best_linear: Effect
    final: Effect
    late: Effect | None
    ends: Effect
    apart: Apart
    range: float


def tasks(runs: pd.DataFrame, results: Results, profiles: Mapping[str, Profiled]) -> dict[str, Task]:
    """Return what is known of each task that is learned.

    :param runs: with task and score
    :param profiles: of the tasks that have seeds enough of all arms at all rates
    """
    plain = runs[~runs["regularized"] & runs["arm"].isin(PROFILED)]
    of_tasks = {name: plain[plain["task"] == name] for name, of in profiles.items() if of.learned}
    return {name: _task(name, of, results) for name, of in of_tasks.items()}


def _task(name: str, runs: pd.DataFrame, results: Results) -> Task:
    table = runs.pivot_table("score", "seed", ["arm", "rate_multiplier"]).dropna()
    sensitivity = Sensitivity(RATES, {arm: table[arm][list(RATES)] for arm in PROFILED}, UNDISTURBED)
    schedules = {arm: sensitivity.schedule(arm) for arm in PROFILED}
    preset = find_preset(*name.split(" ")).learning_rate
    asked = {"SB3": SB3_RATE, "preset": preset, "one": FIXED_RATE}
    fixed = {}
    for which, rate in asked.items():
        multiplier = min(RATES, key=lambda tried: abs(np.log(tried * preset / rate)))
        arms = (UNDISTURBED, BASELINE)
        fixed[which] = Fixed(
            multiplier,
            multiplier * preset,
            {arm: schedules[arm].by_rate[multiplier] for arm in arms},
            {arm: sensitivity.regret_at(arm, multiplier) for arm in arms},
        )
    near = [rate for rate in RATES if 1 / NEAR - 0.05 < rate < NEAR + 0.05]
    return Task(
        sensitivity.num_seeds,
        sensitivity.best,
        schedules,
        fixed,
        {arm: sensitivity.minus(KL_FINAL, arm) for arm in (UNDISTURBED, BASELINE)},
        sensitivity.minus(KL_FINAL, UNDISTURBED, [1.0]),
        sensitivity.minus(KL_FINAL, UNDISTURBED, near),
        sensitivity.minus(KL_FINAL, UNDISTURBED, RATES[:1]),
        sensitivity.minus_best(KL_FINAL, BASELINE),
        sensitivity.minus(KL_FINAL, KL),
        late(runs, results),
        sensitivity.best_minus_best(CANDIDATE, BASELINE),
        _apart(runs[runs["arm"] == KL_FINAL], results, table[KL_FINAL]),
        sensitivity.range,
    )


def late(runs: pd.DataFrame, results: Results) -> Effect | None:
    """Return one decay near the end minus none at the preset's rate, by the evaluations after it.

    :param runs: of one task without weight decay
    :return: None with fewer than two seeds
    """
    at = results.evaluations.merge(runs[np.isclose(runs["rate_multiplier"], 1)], on="run_id", suffixes=("", "_of_run"))
    at = at[at["timesteps"] > AFTER * at["timesteps_of_run"]]
    scores = (at["return_mean"] - at["random_return"]) / (at["reference_return"] - at["random_return"])
    by_arm = at.assign(late=scores).pivot_table("late", "seed", "arm").reindex(columns=[CANDIDATE, UNDISTURBED])
    differences = (by_arm[CANDIDATE] - by_arm[UNDISTURBED]).dropna()
    return effect(differences) if len(differences) > 1 else None


def _apart(runs: pd.DataFrame, results: Results, scores: pd.DataFrame) -> Apart:
    rates = results.evaluations.merge(runs, on="run_id", suffixes=("", "_of_run"))
    progress = rates["timesteps"] / rates["timesteps_of_run"]
    early = rates[(progress - EARLY).abs() == (progress - EARLY).abs().groupby(rates["run_id"]).transform("min")]
    means = np.log(early["learning_rate"]).groupby(early["rate_multiplier"]).mean()
    tied = (scores.nunique(axis=1) == 1).all()
    p = 1.0 if tied else float(stats.friedmanchisquare(*scores.to_numpy().T).pvalue)
    return Apart(RATES[-1] / RATES[0], float(np.exp(means.max() - means.min())), p)
