"""The answers of the study, as numbers: docs/results/evidence_plan.md says what each is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.evidence.stages import ACTING, FEWEST_SEEDS, PROFILED, RATES
from benchmarks.plan import PULL
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED
from benchmarks.report.scores import MEASURES, between, measured
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison
from benchmarks.statistics.estimates import CONFIDENCE, CRASHED, FAILED_BELOW, Interval
from benchmarks.statistics.over_rates import Difference, Profile, Profiles

KL, KL_FINAL = "kl-adaptive", "kl-adaptive+final"
ABEL, COOLDOWN = "abel", "cooldown"

RATE_PAIRS = (
    (KL_FINAL, UNDISTURBED),
    (KL, UNDISTURBED),
    (KL, BASELINE),
    (KL_FINAL, CANDIDATE),
    (KL_FINAL, KL),
    (CANDIDATE, BASELINE),
    (CANDIDATE, UNDISTURBED),
    (COOLDOWN, CANDIDATE),
)
"""Arm minus other, over base rates."""

CELL_PAIRS = (
    (CANDIDATE, UNDISTURBED),
    (BASELINE, UNDISTURBED),
    (CANDIDATE, BASELINE),
    (ABEL, CANDIDATE),
    *((arm, ABEL) for arm in ACTING),
    *((arm, UNDISTURBED) for arm in PULL),
)
"""Arm minus other, in a task at one strength of weight decay and the preset's base rate."""

CEILING = 0.97
FEWEST_BOUNCED = 3
"""Seeds that decay after a bounce, from which on a cell tells of such decays."""

FEWEST_TASKS = 3
"""For an interval over tasks."""


class Profiled(NamedTuple):
    """One task over base rates.

    :param differences: outcome -> (arm, other) -> difference
    :param at_ceiling: pairs whose better arm leaves no room at its best rate
    """

    num_seeds: int
    arms: dict[str, Profile]
    differences: dict[str, dict[tuple[str, str], Difference]]
    at_ceiling: set[tuple[str, str]]

    @property
    def learned(self) -> bool:
        """Whether any arm comes half of the way to the reference."""
        return max(of.best.estimate for of in self.arms.values()) >= FAILED_BELOW


class Cell(NamedTuple):
    """One task at one strength of weight decay.

    :param num_bounced: seeds of "abel" that decayed after a bounce
    :param at_ceiling: pairs of which both leave no room
    :param found: outcome -> (arm, other) -> comparison
    """

    strength: float
    learned: bool
    num_bounced: int
    at_ceiling: set[tuple[str, str]]
    found: dict[str, dict[tuple[str, str], Comparison]]


def scored(results: Results) -> pd.DataFrame:
    """Return the runs with task and outcomes; a crashed run has the score of a random policy in all of them."""
    runs = measured(results)
    crashed = runs["status"] != "complete"
    for measure in MEASURES:
        runs[measure] = runs[measure].mask(crashed, CRASHED)
    return runs


def profiled(runs: pd.DataFrame) -> dict[str, Profiled]:
    """Return, by task, what the arms score over base rates, where enough seeds have all of them at all rates."""
    plain = runs[~runs["regularized"] & runs["arm"].isin(PROFILED)]
    found = {}
    for task, of_task in plain.groupby("task"):
        tables = {
            measure: of_task.pivot_table(measure, "seed", ["arm", "rate_multiplier"]).dropna() for measure in MEASURES
        }
        num_seeds = len(tables["score"])
        if num_seeds < FEWEST_SEEDS or tables["score"].shape[1] < len(PROFILED) * len(RATES):
            continue
        profiles = {
            measure: Profiles(RATES, {arm: table[arm][list(RATES)] for arm in PROFILED})
            for measure, table in tables.items()
            if len(table)
        }
        arms = {arm: profiles["score"].profile(arm) for arm in PROFILED}
        differences = {m: {pair: of.difference(*pair) for pair in RATE_PAIRS} for m, of in profiles.items()}
        high = {pair for pair in RATE_PAIRS if max(arms[arm].best.estimate for arm in pair) > CEILING}
        found[str(task)] = Profiled(num_seeds, arms, differences, high)
    return found


def cells(runs: pd.DataFrame) -> dict[str, Cell]:
    """Return every task and strength at the preset's base rate, with the comparisons that enough seeds allow."""
    standard = runs[np.isclose(runs["rate_multiplier"], 1.0)]
    found = {}
    for task, of_task in standard.groupby("task"):
        comparisons: dict[str, dict[tuple[str, str], Comparison]] = {}
        for measure in MEASURES:
            for pair in CELL_PAIRS:
                of_pair = between(of_task, *pair, measure)
                if of_pair and of_pair.overall.num_pairs >= FEWEST_SEEDS:
                    comparisons.setdefault(measure, {})[pair] = of_pair
        bounced = of_task[(of_task["arm"] == ABEL) & of_task["decays"].str.contains('"bounce"')]
        means = of_task.groupby("arm")["score"].mean()
        high = {pair for pair in CELL_PAIRS if set(pair) <= set(means.index) and means[list(pair)].min() > CEILING}
        learned = bool(means.max() >= FAILED_BELOW)
        strength = float(of_task["strength"].iloc[0])
        found[str(task)] = Cell(strength, learned, bounced["seed"].nunique(), high, comparisons)
    return dict(sorted(found.items(), key=lambda of: (task_of(of[0]), of[1].strength)))


def task_of(cell: str) -> str:
    """Return the task of a cell, whose name ends with the strength of weight decay.

    >>> task_of("PPO CartPole-v1, adamw 3"), task_of("DQN CartPole-v1")
    ('PPO CartPole-v1', 'DQN CartPole-v1')
    """
    return cell.partition(",")[0]


def over_tasks(differences: Mapping[str, Interval]) -> Interval | None:
    """Return the mean difference with its t interval over tasks, the population; None for too few tasks.

    :param differences: by cell; the strengths of one task are averaged first, as they are no tasks of their own
    """
    by_task: dict[str, list[float]] = {}
    for cell, of in differences.items():
        by_task.setdefault(task_of(cell), []).append(of.estimate)
    estimates = np.array([np.mean(of_task) for of_task in by_task.values()])
    if len(estimates) < FEWEST_TASKS:
        return None
    return Interval(
        float(estimates.mean()), *map(float, stats.ttest_1samp(estimates, 0).confidence_interval(CONFIDENCE))
    )


def with_bounces(found: dict[str, Cell]) -> dict[str, Cell]:
    """Return the learned cells that tell what decays after bounces bring."""
    return {task: cell for task, cell in found.items() if cell.learned and cell.num_bounced >= FEWEST_BOUNCED}


def savings(runs: pd.DataFrame, arm: str) -> dict[str, pd.DataFrame]:
    """Return what an arm takes of the work of "abel", by task, of seeds in which "abel" decays after a bounce.

    :return: ``updates`` and ``time``, shares, a row a seed (times were taken beside other runs)
    """
    found = {}
    for task, of_task in runs[np.isclose(runs["rate_multiplier"], 1.0)].groupby("task"):
        by_arm = {name: of.set_index("seed") for name, of in of_task[of_task["status"] == "complete"].groupby("arm")}
        if not {ABEL, arm} <= set(by_arm):
            continue
        bounced = by_arm[ABEL][by_arm[ABEL]["decays"].str.contains('"bounce"')]
        both = bounced.merge(by_arm[arm], left_index=True, right_index=True, suffixes=("", "_of_arm"))
        shares = pd.DataFrame(
            {
                "updates": both["optimizer_steps_of_arm"] / both["optimizer_steps"],
                "time": both["wall_time_s_of_arm"] / both["wall_time_s"],
            }
        ).dropna()
        if len(shares):
            found[str(task)] = shares
    return found


def of_pair(found: dict[str, Cell], pair: tuple[str, str], measure: str = "score") -> dict[str, Comparison]:
    """Return a comparison in each cell that has it."""
    return {task: cell.found[measure][pair] for task, cell in found.items() if pair in cell.found.get(measure, {})}


class Decision(NamedTuple):
    """A default that follows: None where the runs that decide are missing.

    :param changes: whether the rule of the plan says so
    """

    changes: bool | None
    shown_by: dict[str, Interval]


def decisions(profiles: dict[str, Profiled], found: dict[str, Cell]) -> dict[str, Decision]:
    """Return what the plan makes of these, by the default in question.

    ``bounces``: decays after a bounce stay on; ``part``: a factor for each part; ``linear``: the last decay is
    linear; ``kl``: PPO users are told to take the KL-adaptive rate; ``kl_final``: and the final decay with it.
    """
    bouncing = with_bounces(found)
    learned = {task: of for task, of in profiles.items() if of.learned}

    def in_cells(pair: tuple[str, str]) -> Decision:
        shown = {task: of.mean for task, of in of_pair(bouncing, pair).items()}
        return Decision(gains_somewhere(shown.values()) if shown else None, shown)

    def over_rates(pair: tuple[str, str]) -> dict[str, Interval]:
        return {task: of.differences["score"][pair].mean for task, of in learned.items()}

    kl, final = over_rates((KL, UNDISTURBED)), over_rates((KL_FINAL, KL))
    cooled = {task: of.differences["score"][COOLDOWN, CANDIDATE] for task, of in learned.items()}
    with_room = {task: d.best for task, d in cooled.items() if (COOLDOWN, CANDIDATE) not in learned[task].at_ceiling}
    over = {task: d.mean for task, d in cooled.items()}
    ends = {"at the best rate": over_tasks(with_room), "over rates": over_tasks(over)}
    shown_ends = {name: value for name, value in ends.items() if value}
    return {
        "bounces": in_cells((ABEL, CANDIDATE)),
        "part": in_cells(("abel-part", ABEL)),
        "linear": Decision(gains_somewhere(shown_ends.values()) if shown_ends else None, shown_ends),
        "kl": Decision(all(of.low > 0 for of in kl.values()) if kl else None, kl),
        "kl_final": Decision(all(of.low >= -0.05 for of in final.values()) if final else None, final),
    }


def gains_somewhere(differences: Iterable[Interval]) -> bool:
    """Whether any interval excludes 0 upwards, and none downwards."""
    all_: Sequence[Interval] = list(differences)
    return any(of.low > 0 for of in all_) and not any(of.high < 0 for of in all_)
