"""The first screen of the study's page in numbers, and its figure."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE, LITERAL, UNDISTURBED
from benchmarks.report.figures import Picture, forest
from benchmarks.report.words import Grid
from benchmarks.statistics.estimates import Interval, exact_binomial_interval
from benchmarks.study.fresh import Fresh, on_fresh_seeds
from benchmarks.study.norms import counted
from benchmarks.study.scores import MEASURES, PAIRS, Difference, between, equal_care
from benchmarks.study.settings import by_rate
from benchmarks.study.stages import CLASSIC

STRONG, WEAK = 10.0, 1.0
"""Strengths of the weight decay, in e-folds a run: they go opposite ways, so they are never one group."""


@dataclass(frozen=True)
class Effects:
    """What the arms differ by, over tasks that are learned; None where runs are wanting.

    :param equal: constant + final decay minus linear decay at the best base rate tried for each, by task in ``rates``
    :param chosen: the same at the rates of the tuning, by measure
    :param by_strength: strength of the weight decay -> (arm, other) -> difference
    :param judged: tasks on which constant + final decay was compared with no decay; on ``costs`` of them it is
        worse beyond doubt, on ``gains`` better
    :param by_rate: base rate of the stage "robust" -> constant + final decay minus linear decay, and minus no decay
    :param literal: training by Algorithm 1 minus no decay
    :param rivals: constant + final decay minus the best of ``arms`` other schedules, abel not among them
    """

    equal: Difference | None
    rates: Grid
    chosen: dict[str, Difference | None]
    by_strength: dict[float, dict[tuple[str, str], Difference | None]]
    judged: int
    costs: dict[str, Interval]
    gains: dict[str, Interval]
    by_rate: dict[float, tuple[Difference, Difference]]
    fresh: list[Fresh]
    literal: Difference | None
    rivals: Difference | None
    num_rivals: int


def effects(main: pd.DataFrame, robust: pd.DataFrame, edge: pd.DataFrame, fresh: pd.DataFrame) -> Effects:
    """Work out the effects, from runs with their scores (see ``scores.measured``)."""
    learned = main[main["learned"]]
    classic = learned[(learned["agent"] == "PPO") & learned["env_id"].isin(CLASSIC) & ~learned["regularized"]]
    others = pd.concat([robust, edge])
    others = others[(others["decay_factor"] == 0.1) & (others["final_decay_at"] == 0.85)]
    tried = pd.concat([classic, others]).drop_duplicates("run_id")
    equal, rates = equal_care(tried[tried["task"].isin(set(classic["task"]))])
    brings = {str(task): between(of, CANDIDATE, UNDISTURBED) for task, of in learned.groupby("task")}
    sure = {task: found.mean for task, found in brings.items() if found and found.overall.verdict == "different"}
    rivals = [arm for arm in classic["arm"].unique() if arm not in (CANDIDATE, "abel")]
    return Effects(
        equal=equal,
        rates=rates,
        chosen={measure: between(classic, CANDIDATE, BASELINE, measure) for measure in MEASURES},
        by_strength={
            float(strength): {pair: between(of, *pair) for pair in PAIRS}
            for strength, of in learned.groupby("strength")
        },
        judged=sum(found is not None for found in brings.values()),
        costs={task: mean for task, mean in sure.items() if mean.estimate < 0},
        gains={task: mean for task, mean in sure.items() if mean.estimate > 0},
        by_rate=by_rate(robust),
        fresh=on_fresh_seeds(fresh),
        literal=between(classic, LITERAL, UNDISTURBED),
        rivals=between(classic, CANDIDATE, rivals) if rivals else None,
        num_rivals=len(rivals),
    )


@dataclass(frozen=True)
class Bounces:
    """How often the norm of a part bounced: in tasks of which strength of weight decay, learned or not.

    :param tasks: by rule or by shape in any run, of all tasks; with the interval over tasks
    """

    strength: float
    learned: bool
    part: str
    counts: dict[str, int]
    tasks: Interval


def bounced(moved: pd.DataFrame, part: str = "total") -> list[Bounces]:
    """Return a row for each strength, of the tasks that are learned and of those that are not.

    :param moved: see ``norms.movements``, with ``strength`` and ``learned``
    """
    rows = []
    for (strength, learned), of in moved[moved["part"] == part].groupby(["strength", "learned"]):
        tasks = (of["rule"] | of["shape"]).groupby(of["task"]).any()
        share = exact_binomial_interval(int(tasks.sum()), len(tasks))
        rows.append(Bounces(float(strength), bool(learned), part, counted(of), share))
    return sorted(rows, key=lambda row: (row.strength, not row.learned))


def picture(main: pd.DataFrame, found: Effects) -> Picture:
    """Constant + final decay minus the other, on every task that is learned."""
    sections: dict[str, list[tuple[str, dict[str, Interval]]]] = {}
    if found.equal:
        key = "best base rate tried for each"
        sections[key] = [(f"PPO, {len(found.equal.by_task)} tasks", {BASELINE: found.equal.mean})]
    for strength, of_strength in main[main["learned"]].groupby("strength"):
        name = "no weight decay" if not strength else f"weight decay, ηλN = {strength:g}"
        for task, of_task in of_strength.groupby("task"):
            pairs = {other: between(of_task, CANDIDATE, other) for other in (BASELINE, UNDISTURBED)}
            if row := {other: of.mean for other, of in pairs.items() if of}:
                sections.setdefault(name, []).append((str(task).partition(",")[0], row))
    return forest(sections)
