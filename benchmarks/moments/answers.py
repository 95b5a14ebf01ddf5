"""Moments and traces -> the answers of docs/results/moments_plan.md. No torch, no words, no drawing.

A task is one at its strength of weight decay. What is not there yet is left out: a task without a
trunk has no answer, and what needs one is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from benchmarks.moments.phases import EVENTS, RULE
from benchmarks.moments.plan import HELD_OUT, SEEDS, STAGES, Task
from benchmarks.moments.predictors import PREDICTORS, Correlation, correlation, measured
from benchmarks.statistics.estimates import FAILED_BELOW, Interval, mean_interval
from benchmarks.statistics.verdicts import BETTER, WORSE, judged

BOUNCES = ("minimum", "bounce by rule", "bounce by shape")
"""Events of H1."""

EQUILIBRIUM = "equilibrium"
"""Event of H2."""

AT_MOST = 1 / 20
"""Of the runs without weight decay, that may reach equilibrium."""

TASKS = tuple(task for stage in STAGES for task in stage)


class Difference(NamedTuple):
    """The gain after an event, and minus that before it: means over runs that have moments on both sides.

    :param both: how many runs these are
    :param pairs: how many of them have a run of their seed without weight decay, which is subtracted beyond time
    :param twin: the difference in that run, at the same moments
    """

    both: int
    after: Interval | None
    difference: Interval | None
    pairs: int
    beyond_time: Interval | None
    twin: Interval | None


@dataclass(frozen=True)
class Answer:
    """What is known of a task at one strength.

    :param gains: score of the branch minus that of the trunk, (seeds x places)
    :param reached_score: what the trunks score on average when the last of their branches ends
    :param after: event -> whether a moment is after it, (seeds x places)
    :param reached: event -> how many runs reach it, be it after their last moment
    :param dips: runs that reach equilibrium within a window of their highest norm: they turn, and need not be level
    :param differences: event -> what it changes
    :param predictors: name -> how it goes with the gain; empty of the digits
    """

    task: Task
    gains: pd.DataFrame
    reached_score: float
    after: dict[str, pd.DataFrame]
    reached: dict[str, int]
    dips: int
    differences: dict[str, Difference]
    predictors: dict[str, Correlation]

    @property
    def learned(self) -> bool:
        """Whether the trunks come half of the way to the reference."""
        return self.reached_score >= FAILED_BELOW

    @property
    def seeds(self) -> int:
        """Number of trunks that are there."""
        return len(self.gains)

    @property
    def idle(self) -> int:
        """Number of moments at which branch and trunk score the same, as where both are at their best."""
        return int((self.gains == 0).to_numpy().sum())

    def by_place(self) -> dict[float, Interval]:
        """Return the mean gain at each place, over the seeds."""
        return {float(place): mean_interval(gains) for place, gains in self.gains.items()}


Answers = Mapping[Task, Answer]


class Condition(NamedTuple):
    """What has to hold for equilibrium to become a rule.

    :param name: "higher", "above 0", "beyond time" or "without"
    :param task: of which it is asked, None for all tasks
    :param holds: None as long as runs are missing that decide it
    """

    name: str
    task: Task | None
    holds: bool | None


def answer(moments: pd.DataFrame, traces: pd.DataFrame, tasks: Iterable[Task] = TASKS) -> dict[Task, Answer]:
    """Answer for each of the tasks that has a trunk, in their order.

    :param moments: a row a branch, as it is saved; ``traces``: a row a measurement
    """
    tables = {task: (_of(moments, task), _of(traces, task)) for task in tasks}
    tables = {task: (of_task, trace) for task, (of_task, trace) in tables.items() if len(of_task)}
    gains = {task: _gains(of_task) for task, (of_task, _) in tables.items()}
    return {task: _answer(task, *tables[task], gains[task], gains.get(without(task))) for task in tables}


def without(task: Task) -> Task:
    """Return the same task without weight decay."""
    return replace(task, strength=0.0)


def _of(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    same = (table["agent"] == task.agent) & (table["env_id"] == task.env_id) & (table["strength"] == task.strength)
    return table[same]


def _gains(moments: pd.DataFrame) -> pd.DataFrame:
    gains = moments.assign(gain=moments["branch"] - moments["trunk"])
    return gains.pivot(index="seed", columns="place", values="gain")


def _answer(
    task: Task, moments: pd.DataFrame, traces: pd.DataFrame, gains: pd.DataFrame, twin: pd.DataFrame | None
) -> Answer:
    by_seed = {seed: trace.sort_values("timesteps") for seed, trace in traces.groupby("seed")}
    at = moments.pivot(index="seed", columns="place", values="timesteps")
    after, reached = {}, {}
    for name, find in EVENTS.items():
        steps = pd.Series({seed: _first(find(trace[task.part].tolist()), trace) for seed, trace in by_seed.items()})
        # What never comes is after everything.
        after[name] = at.ge(steps.fillna(float("inf")), axis=0)
        reached[name] = int(steps.notna().sum())
    differences = {name: _difference(gains, after[name], twin) for name in EVENTS}
    dips = sum(_is_dip(trace[task.part].tolist()) for trace in by_seed.values())
    score = float(moments.loc[moments["place"] == moments["place"].max(), "trunk"].mean())
    return Answer(task, gains, score, after, reached, dips, differences, _predictors(task, moments, by_seed, gains))


def _is_dip(norms: list[float]) -> bool:
    index = EVENTS[EQUILIBRIUM](norms)
    return index is not None and max(norms[: index + 1]) in norms[index - RULE.window : index]


def _first(index: int | None, trace: pd.DataFrame) -> float:
    return float("nan") if index is None else float(trace["timesteps"].iloc[index])


def _difference(gains: pd.DataFrame, after: pd.DataFrame, twin: pd.DataFrame | None) -> Difference:
    late, early = _by_run(gains, after)
    difference, of_twin = late - early, pd.Series(dtype=float)
    if twin is not None and twin is not gains:
        shared = gains.index.intersection(twin.index)
        of_twin = pd.Series.sub(*_by_run(twin.loc[shared], after.loc[shared]))
    paired = (difference - of_twin).dropna()
    return Difference(len(late), _mean(late), _mean(difference), len(paired), _mean(paired), _mean(of_twin))


def _by_run(gains: pd.DataFrame, after: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Mean gain after an event and before it, of the runs that have moments on both sides."""
    late, early = gains.where(after).mean(axis=1), gains.where(~after).mean(axis=1)
    both = late.notna() & early.notna()
    return late[both], early[both]


def _mean(values: pd.Series) -> Interval | None:
    return mean_interval(values) if len(values) else None


def _predictors(
    task: Task, moments: pd.DataFrame, traces: Mapping[int, pd.DataFrame], gains: pd.DataFrame
) -> dict[str, Correlation]:
    if task not in TASKS:
        return {}
    # The first moment has no history.
    later = moments[moments["place"] > 0]
    rows = [measured(traces[row["seed"]], task.part, row) for row in later.to_dict("records")]
    values = pd.concat([later[["seed", "place"]].reset_index(drop=True), pd.DataFrame(rows)], axis=1)
    places = [place for place in gains if place > 0]
    return {
        name: correlation(gains[places].to_numpy(), values.pivot(index="seed", columns="place", values=name).to_numpy())
        for name in PREDICTORS
    }


def conditions(answers: Answers) -> list[Condition]:
    """Return what has to hold for equilibrium to become a rule, task by task."""
    found = []
    for task in (task for task in TASKS if task.role == HELD_OUT and task.strength):
        there = whole(answers, task)
        of = answers[task].differences[EQUILIBRIUM] if there else Difference(0, None, None, 0, None, None)
        beyond_time = of.beyond_time is not None and of.beyond_time.estimate > 0
        found += [
            Condition("higher", task, judged(of.difference) == BETTER if there else None),
            Condition("above 0", task, judged(of.after) == BETTER if there else None),
            Condition("beyond time", task, beyond_time if there and whole(answers, without(task)) else None),
        ]
    return [*found, Condition("without", None, _few(answers, [task for task in TASKS if not task.strength]))]


def whole(answers: Answers, task: Task) -> bool:
    """Whether all seeds of a task are there."""
    return task in answers and answers[task].seeds >= len(SEEDS)


def counted(answers: Answers, tasks: Iterable[Task]) -> tuple[int, int]:
    """Return how many runs of these tasks reach equilibrium, and how many there are."""
    there = [answers[task] for task in tasks if task in answers]
    return sum(of.reached[EQUILIBRIUM] for of in there), sum(of.seeds for of in there)


def _few(answers: Answers, tasks: list[Task]) -> bool | None:
    reached, there = counted(answers, tasks)
    planned = len(tasks) * len(SEEDS)
    if reached > AT_MOST * planned:
        return False
    return True if reached + planned - there <= AT_MOST * planned else None


def follows(found: Iterable[Condition]) -> bool | None:
    """Whether equilibrium becomes a rule: not if one condition fails, and None as long as one is not decided."""
    held = [condition.holds for condition in found]
    return False if False in held else None if None in held else True


def predicts(answers: Answers, name: str) -> bool | None:
    """Whether a predictor tells the gain at equal progress on all held-out tasks, to the same side."""
    tasks = [task for task in TASKS if task.role == HELD_OUT]
    if not all(whole(answers, task) for task in tasks):
        return None
    said = {judged(answers[task].predictors[name].equal) for task in tasks}
    return said in ({BETTER}, {WORSE})
