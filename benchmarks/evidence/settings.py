"""Tasks at one strength of weight decay each and the preset's rate: what two arms differ by, and which norms bounce."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.evidence.answers import ABEL, CEILING, FEWEST_BOUNCED, task_of
from benchmarks.evidence.stages import FEWEST_SEEDS
from benchmarks.report.answers import CANDIDATE, STANDARD, UNDISTURBED, at_standard, with_tasks
from benchmarks.report.movements import PARTS
from benchmarks.report.scores import between
from benchmarks.results import FIRST_STUDY, read_parquet
from benchmarks.statistics.effects import Effect, effect
from benchmarks.statistics.estimates import FAILED_BELOW

TUNING_SEEDS = 1000
"""Seeds of the first study from here on chose its base rates."""

FEWEST_FIRST = 5
"""Seeds of a setting of the first study."""

LEAST = 0.01
"""By which an interval excludes 0, for the page to name it."""

SLOW = 0.3
"""Multiple of the preset's rate, at which PPO did not come to solve CartPole."""

USUAL = 0.2
"""Strength of weight decay: AdamW's default coefficient comes to less on all tasks here."""


class Setting(NamedTuple):
    """Two arms of one setting.

    :param level: mean score of the other arm, which nothing is subtracted from
    :param decays: share of the arm's runs that decay after a bounce
    """

    effect: Effect
    level: float
    decays: float

    @property
    def at_ceiling(self) -> bool:
        """Whether the other arm leaves no gain to be seen; a loss still could be."""
        return self.level > CEILING


def settings(runs: pd.DataFrame, arm: str, other: str, fewest: int = FEWEST_SEEDS) -> dict[str, Setting]:
    """Return an arm minus another in each setting that is learned and has so many seeds of both.

    :param runs: with task and score, those at the preset's rate
    """
    found = {}
    for task, of_task in runs.groupby("task"):
        by_arm = of_task.pivot_table("score", "seed", "arm")
        if not {arm, other} <= set(by_arm) or by_arm.mean().max() < FAILED_BELOW:
            continue
        differences = (by_arm[arm] - by_arm[other]).dropna()
        compared = between(of_task, arm, other)
        if compared and len(differences) >= fewest:
            decays = of_task[of_task["arm"] == arm].set_index("seed")["decays"].loc[differences.index]
            share = decays.str.contains('"bounce"').mean()
            # The interval is that of the details; theirs differs by its tails.
            of = effect(differences)._replace(mean=compared.mean)
            found[str(task)] = Setting(of, float(by_arm[other][differences.index].mean()), share)
    strengths = runs.groupby("task")["strength"].first()
    return dict(sorted(found.items(), key=lambda of: (task_of(of[0]), strengths[of[0]])))


def at_presets(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs at the preset's rate."""
    return runs[np.isclose(runs["rate_multiplier"], STANDARD["rate_multiplier"])]


class FirstStudy(NamedTuple):
    """What the first study says of the same two questions.

    :param final: one decay near the end minus none, at the preset's rate; ``slow``: at ``SLOW`` times that rate
    :param bounces: decays after bounces minus none, where enough runs make any
    """

    num_runs: int
    final: dict[str, Setting]
    slow: dict[str, Setting]
    bounces: dict[str, Setting]
    timesteps: dict[str, int]


@cache
def first_study() -> FirstStudy:
    """Return what the first study says, by settings of five seeds or more."""
    runs = with_tasks(read_parquet(FIRST_STUDY).runs)
    counted = runs[runs["seed"] < TUNING_SEEDS]
    final = settings(at_standard(counted), CANDIDATE, UNDISTURBED, FEWEST_FIRST)
    slow = settings(counted[np.isclose(counted["rate_multiplier"], SLOW)], CANDIDATE, UNDISTURBED, FEWEST_FIRST)
    bounces = settings(at_standard(counted), ABEL, CANDIDATE, FEWEST_FIRST)
    timesteps = counted.groupby("task")["timesteps"].first().to_dict()
    return FirstStudy(len(runs), final, slow, bouncing(bounces), timesteps)


def bouncing(found: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the settings in which enough seeds decay after a bounce."""
    return {task: of for task, of in found.items() if round(of.decays * of.effect.num_pairs) >= FEWEST_BOUNCED}


class AfterBounces(NamedTuple):
    """The settings of both studies that tell of decays after a bounce, by what they say.

    :param top: at the best score without such decays, so that no gain could show
    :param rest: neither that nor a gain nor a loss: they exclude gains above what their intervals hold
    """

    num_settings: int
    gains: list[tuple[str, Setting]]
    losses: list[tuple[str, Setting]]
    top: list[Setting]
    rest: list[Setting]


def after_bounces(found: Mapping[str, Setting], first: FirstStudy) -> AfterBounces:
    """Return what these settings and those of the first study say."""
    every = [*found.items(), *first.bounces.items()]
    gains = [(task, of) for task, of in every if of.effect.mean.low > 0]
    losses = [(task, of) for task, of in every if of.effect.mean.high < 0]
    others = [of for _, of in every if of.effect.mean.low <= 0 <= of.effect.mean.high]
    top, rest = [of for of in others if of.at_ceiling], [of for of in others if not of.at_ceiling]
    return AfterBounces(len(every), gains, losses, top, rest)


def clear(found: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the settings whose interval excludes 0 by ``LEAST`` or more."""
    return {task: of for task, of in found.items() if of.effect.mean.low >= LEAST or of.effect.mean.high <= -LEAST}


class Bounces(NamedTuple):
    """How many trainings at a constant rate bounced, in the norm of any part of the network.

    :param both: by rule and by shape, in one part
    :param where: task -> how many the rule sees, and of how many, where it sees any
    :param alone: part -> how many norms the rule alone sees, and by what share of the highest before they fall, least
        and most
    """

    runs: int
    rule: int
    shape: int
    both: int
    where: dict[str, tuple[int, int]]
    alone: dict[str, tuple[int, float, float]]


def bounces(moved: pd.DataFrame, strengths: Mapping[str, float]) -> dict[float, Bounces]:
    """Return how often norms bounced, by strength of weight decay, those of AdamW's default together as ``USUAL``.

    :param moved: a row a run and part, see :func:`benchmarks.report.movements.movements`
    """
    moved = moved[moved["task"].isin(list(strengths)) & moved["part"].isin(PARTS)]
    moved = moved.assign(both=moved["rule"] & moved["shape"], strength=moved["task"].map(strengths))
    moved["strength"] = moved["strength"].mask((moved["strength"] > 0) & (moved["strength"] < USUAL), USUAL)
    alone = moved[moved["rule"] & ~moved["shape"]]
    any_part = moved.groupby(["strength", "task", "run"])[["rule", "shape", "both"]].any()
    found = {}
    for strength, of in any_part.groupby("strength"):
        counts = of["rule"].groupby("task").agg(["sum", "size"])
        where = {str(task): (int(seen), int(size)) for task, seen, size in counts.itertuples() if seen}
        falls = alone[alone["strength"] == strength].groupby("part")["fall"].agg(["size", "min", "max"])
        parts = {str(part): (int(size), least, most) for part, size, least, most in falls.itertuples()}
        found[float(strength)] = Bounces(len(of), *map(int, of.sum()), where, parts)
    return found
