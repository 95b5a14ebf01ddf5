"""What schedules differ by in the study: over which tasks, by which measure, and how sure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.report.answers import BASELINE, CANDIDATE, LITERAL, STANDARD, UNDISTURBED
from benchmarks.report.scores import MEASURES, between
from benchmarks.statistics.equivalence import MIN_SEEDS, Comparison
from benchmarks.study.stages import CLASSIC, MULTIPLIERS, best_rate

PAIRS = ((CANDIDATE, BASELINE), (CANDIDATE, UNDISTURBED), (BASELINE, UNDISTURBED))


def best(runs: pd.DataFrame) -> pd.Series:
    """Return, by task, the mean score of the schedule that is best there."""
    return runs.groupby(["task", "arm"])["score"].mean().groupby("task").max()


def standard(runs: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Return the runs in which all settings but these are at their standard."""
    fixed = [np.isclose(runs[key], value) for key, value in STANDARD.items() if key not in keys]
    return runs[np.logical_and.reduce(fixed)]


def equal_care(runs: pd.DataFrame) -> tuple[Comparison | None, dict[str, dict[str, tuple[float, list[float]]]]]:
    """Constant + final decay minus linear decay, each arm of a task at the best base rate that was tried for it.

    Best by the tuning's rule on the seeds that all rates of the task have; then all runs at that rate
    count. That the rate was chosen on runs which count is to both arms' favour, and no part of the
    interval.

    :return: the difference; task -> arm -> the best rate, and those that were tried
    """
    rates: dict[str, dict[str, tuple[float, list[float]]]] = {}
    chosen = []
    for task, of_task in runs[runs["arm"].isin((CANDIDATE, BASELINE))].groupby("task"):
        scores = of_task.pivot_table(index="seed", columns=["arm", "rate_multiplier"], values="score").dropna()
        if len(scores) < MIN_SEEDS or {CANDIDATE, BASELINE} - set(scores.columns.get_level_values("arm")):
            continue
        for arm in (CANDIDATE, BASELINE):
            rate = best_rate(scores[arm].mean())
            rates.setdefault(str(task), {})[arm] = rate, sorted(scores[arm].columns)
            chosen.append(of_task[(of_task["arm"] == arm) & (of_task["rate_multiplier"] == rate)])
    return between(pd.concat(chosen), CANDIDATE, BASELINE) if chosen else None, rates


def by_rate(robust: pd.DataFrame) -> dict[float, tuple[Comparison, Comparison]]:
    """Return, by base rate, constant + final decay minus linear decay, and minus no decay."""
    found = {}
    for multiplier, of_rate in standard(robust, "rate_multiplier").groupby("rate_multiplier"):
        to_linear, to_none = (between(of_rate, *pair) for pair in PAIRS[:2])
        if to_linear and to_none:
            found[float(multiplier)] = to_linear, to_none
    return found


def against_linear(edge: pd.DataFrame) -> tuple[Comparison, Comparison] | None:
    """Compare constant + final decay at the tuning's largest rate with linear decay at that, and at its best.

    None where runs of these are wanting. The best is chosen anew in every bootstrap sample.

    :param edge: runs at rates beyond the largest of the tuning too, added after the results were known
    """
    edge = edge.assign(label=edge["arm"] + edge["rate_multiplier"].map(" × {:g}".format).astype(str))
    largest = f"{CANDIDATE} × {max(MULTIPLIERS):g}"
    others = sorted(edge.loc[edge["arm"] == BASELINE, "label"].unique())
    alike = between(edge, largest, f"{BASELINE} × {max(MULTIPLIERS):g}", by="label")
    best_of = between(edge, largest, others, by="label") if len(others) > 1 else None
    return (alike, best_of) if alike and best_of else None


class Fresh(NamedTuple):
    """abel minus constant + final decay on one task; ``bounced`` runs of abel decayed after a bounce."""

    task: str
    bounced: int
    found: Comparison
    of_these: Comparison | None


def on_fresh_seeds(runs: pd.DataFrame) -> list[Fresh]:
    """Return, by task, what decays by a bounce bring on seeds that had no part in asking.

    Until the first of them both arms are the same training, so the runs that have one carry it all.
    """
    rows = []
    for task, of_task in runs[runs["score"].notna()].groupby("task"):
        decayed = (of_task["arm"] == "abel") & of_task["decays"].str.contains('"bounce"')
        seeds = of_task.loc[decayed, "seed"]
        if found := between(of_task, "abel", CANDIDATE):
            these = between(of_task[of_task["seed"].isin(seeds)], "abel", CANDIDATE)
            rows.append(Fresh(str(task), seeds.nunique(), found, these))
    return rows


def effects(main: pd.DataFrame, robust: pd.DataFrame, edge: pd.DataFrame, fresh: pd.DataFrame) -> dict[str, Any]:
    """Work out what the arms differ by, over tasks that are learned; a difference is None where runs are wanting.

    :param main: with their scores (see :func:`measured`) and whether the task is ``learned``; the others likewise
    :return: ``equal``, constant + final decay minus linear decay at the best base rate tried for each, and
        ``chosen``, the same at the rates of the tuning, by measure; ``by_strength``, strength of the weight decay in
        e-folds a run -> (arm, other) -> difference (they go opposite ways, so they are never one group); ``judged``,
        on how many tasks constant + final decay was compared with no decay, and those on which it is worse
        (``costs``) or better (``gains``) beyond doubt; ``by_rate`` and ``fresh``, see there; ``literal``, training by
        Algorithm 1 minus no decay; ``rivals``, constant + final decay minus the best of ``num_rivals`` other
        schedules, abel not among them
    """
    learned = main[main["learned"]]
    classic = _classic(learned)
    brings = {str(task): between(of, CANDIDATE, UNDISTURBED) for task, of in learned.groupby("task")}
    sure = {task: found.mean for task, found in brings.items() if found and found.overall.verdict == "different"}
    rivals = [arm for arm in classic["arm"].unique() if arm not in (CANDIDATE, "abel")]
    return {
        "equal": equal_care(tried(main, robust, edge))[0],
        "chosen": {measure: between(classic, CANDIDATE, BASELINE, measure) for measure in MEASURES},
        "by_strength": {
            float(strength): {pair: between(of, *pair) for pair in PAIRS}
            for strength, of in learned.groupby("strength")
        },
        "judged": sum(found is not None for found in brings.values()),
        "costs": {task: mean for task, mean in sure.items() if mean.estimate < 0},
        "gains": {task: mean for task, mean in sure.items() if mean.estimate > 0},
        "by_rate": by_rate(robust),
        "fresh": on_fresh_seeds(fresh),
        "literal": between(classic, LITERAL, UNDISTURBED),
        "rivals": between(classic, CANDIDATE, rivals) if rivals else None,
        "num_rivals": len(rivals),
    }


def _classic(learned: pd.DataFrame) -> pd.DataFrame:
    return learned[(learned["agent"] == "PPO") & learned["env_id"].isin(CLASSIC) & ~learned["regularized"]]


def tried(main: pd.DataFrame, robust: pd.DataFrame, edge: pd.DataFrame) -> pd.DataFrame:
    """Return the runs at all base rates that were tried for tasks of PPO that are learned, without weight decay."""
    classic = _classic(main[main["learned"]])
    runs = pd.concat([classic, standard(pd.concat([robust, edge]), "rate_multiplier")]).drop_duplicates("run_id")
    return runs[runs["task"].isin(classic["task"])]
