"""The first screen of the study's page in numbers, and its figure."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE, LITERAL, UNDISTURBED
from benchmarks.report.figures import Picture, forest
from benchmarks.statistics.equivalence import Comparison
from benchmarks.statistics.estimates import Interval
from benchmarks.study.scores import MEASURES, PAIRS, Fresh, between, by_rate, equal_care, on_fresh_seeds, standard
from benchmarks.study.stages import CLASSIC


@dataclass(frozen=True)
class Effects:
    """What the arms differ by, over tasks that are learned; None where runs are wanting.

    :param equal: constant + final decay minus linear decay at the best base rate tried for each
    :param chosen: the same at the rates of the tuning, by measure
    :param by_strength: strength of the weight decay, in e-folds a run -> (arm, other) -> difference; they go opposite
        ways, so they are never one group
    :param judged: tasks on which constant + final decay was compared with no decay; on ``costs`` of them it is
        worse beyond doubt, on ``gains`` better
    :param by_rate: base rate of the stage "robust" -> constant + final decay minus linear decay, and minus no decay
    :param literal: training by Algorithm 1 minus no decay
    :param rivals: constant + final decay minus the best of ``arms`` other schedules, abel not among them
    """

    equal: Comparison | None
    chosen: dict[str, Comparison | None]
    by_strength: dict[float, dict[tuple[str, str], Comparison | None]]
    judged: int
    costs: dict[str, Interval]
    gains: dict[str, Interval]
    by_rate: dict[float, tuple[Comparison, Comparison]]
    fresh: list[Fresh]
    literal: Comparison | None
    rivals: Comparison | None
    num_rivals: int


def effects(main: pd.DataFrame, robust: pd.DataFrame, edge: pd.DataFrame, fresh: pd.DataFrame) -> Effects:
    """Work out the effects, from runs with their scores (see ``scores.measured``)."""
    learned = main[main["learned"]]
    classic = _classic(learned)
    equal, _ = equal_care(tried(main, robust, edge))
    brings = {str(task): between(of, CANDIDATE, UNDISTURBED) for task, of in learned.groupby("task")}
    sure = {task: found.mean for task, found in brings.items() if found and found.overall.verdict == "different"}
    rivals = [arm for arm in classic["arm"].unique() if arm not in (CANDIDATE, "abel")]
    return Effects(
        equal=equal,
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


def _classic(learned: pd.DataFrame) -> pd.DataFrame:
    return learned[(learned["agent"] == "PPO") & learned["env_id"].isin(CLASSIC) & ~learned["regularized"]]


def tried(main: pd.DataFrame, robust: pd.DataFrame, edge: pd.DataFrame) -> pd.DataFrame:
    """Return the runs at all base rates that were tried for tasks of PPO that are learned, without weight decay."""
    classic = _classic(main[main["learned"]])
    runs = pd.concat([classic, standard(pd.concat([robust, edge]), "rate_multiplier")]).drop_duplicates("run_id")
    return runs[runs["task"].isin(classic["task"])]


def picture(main: pd.DataFrame, found: Effects) -> Picture:
    """Constant + final decay minus the other, on every task that is learned."""
    sections: dict[str, list[tuple[str, dict[str, Interval]]]] = {}
    if found.equal:
        key = "best base rate tried for each"
        sections[key] = [(f"PPO, {len(found.equal.tasks)} tasks", {BASELINE: found.equal.mean})]
    for strength, of_strength in main[main["learned"]].groupby("strength"):
        name = "no weight decay" if not strength else f"weight decay, ηλN = {strength:g}"
        for task, of_task in of_strength.groupby("task"):
            pairs = {other: between(of_task, CANDIDATE, other) for other in (BASELINE, UNDISTURBED)}
            if row := {other: of.mean for other, of in pairs.items() if of}:
                sections.setdefault(name, []).append((str(task).partition(",")[0], row))
    return forest(sections)
