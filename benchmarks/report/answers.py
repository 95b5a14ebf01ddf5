"""The two answers, as numbers: does the norm bounce, and does constant plus one final decay suffice?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.results import Results
from benchmarks.statistics.equivalence import MIN_SEEDS, Comparison, compare, scores_by_arm, share_seeds
from benchmarks.statistics.estimates import (
    CRASHED,
    SEED,
    Interval,
    Summary,
    exact_binomial_interval,
    summarise,
)
from rl_abel import find_decays

CANDIDATE = "constant+final"
BASELINE = "linear"
UNDISTURBED = "constant"
"""Bounces are counted on this arm: a decay changes what follows."""

LITERAL = "abel-paper"

STANDARD = {"rate_multiplier": 1.0, "decay_factor": 0.1, "final_decay_at": 0.85}
"""The setting that the answers are about."""

PARTS = ("total", "policy", "value", "shared")

GROUPS = {"without regularization": False, "with weight decay": True}


@dataclass(frozen=True)
class Prevalence:
    """How often one part's norm bounced in the runs of one task.

    :param share: of runs with a bounce by the rule "trend", with its exact interval
    :param depth: median over the runs that bounced of how far the norm fell, as a share of the
        maximum before; NaN if none did
    :param literal: runs in which Algorithm 1 to the letter decays
    """

    num_runs: int
    num_bounced: int
    share: Interval
    depth: float
    literal: int


@dataclass(frozen=True)
class Answers:
    """Everything the report says in numbers.

    :param scores: arm -> task -> seed -> normalised score, at the standard setting
    :param summaries: group -> arm -> summary over the tasks that the group's arms share
    :param prevalence: task -> part -> prevalence
    :param sufficiency: group -> "linear" or "constant" -> comparison of constant+final with it
    :param literal: group -> comparison of training by the literal Algorithm 1 with the constant rate
    :param regularized: the tasks with weight decay
    :param left_out: what was not compared, in words
    """

    scores: dict[str, dict[str, dict[int, float]]]
    summaries: dict[str, dict[str, Summary]]
    prevalence: dict[str, dict[str, Prevalence]]
    sufficiency: dict[str, dict[str, Comparison]]
    literal: dict[str, Comparison]
    regularized: frozenset[str]
    left_out: list[str]

    @property
    def compared(self) -> list[tuple[str, str, Comparison]]:
        """Every comparison of constant+final: group, "linear" or "constant", and what was found."""
        return [(group, *item) for group, comparisons in self.sufficiency.items() for item in comparisons.items()]


def with_tasks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a ``task`` and a ``score`` each.

    A task is agent, environment, regularization and strength, and the budget where runs differ in
    it. A run without reference returns has no score.
    """
    runs = runs.copy()
    plain = runs["agent"] + " " + runs["env_id"]
    # Without astype, the text of no runs at all would be a column of numbers.
    strength = runs["strength"].map("{:g}".format).astype(str)
    regularized = runs["regularization"] != "none"
    runs["task"] = plain.where(~regularized, plain + ", " + runs["regularization"] + " " + strength)
    several = runs.groupby("task")["timesteps"].transform("nunique") > 1
    steps = runs["timesteps"].map("{:,} steps".format).astype(str)
    runs["task"] = runs["task"].where(~several, runs["task"] + ", " + steps)
    distance = (runs["reference_return"] - runs["random_return"]).replace(0, math.nan)
    score = (runs["final_return"] - runs["random_return"]) / distance
    runs["score"] = score.where((runs["status"] == "complete") | distance.isna(), CRASHED)
    runs["regularized"] = regularized
    return runs


def at_standard(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs at the standard setting."""
    return runs[np.logical_and.reduce([np.isclose(runs[key], value) for key, value in STANDARD.items()])]


def answer(results: Results) -> Answers:
    """Work out both answers."""
    left_out: list[str] = []
    runs = with_tasks(results.runs)
    standard = at_standard(runs)
    unscored = standard["score"].isna()
    if unscored.any():
        left_out.append(f"{unscored.sum()} runs without reference returns have no score")
    scored = standard[~unscored]
    twice = scored.duplicated(["task", "arm", "seed"])
    if twice.any():
        left_out.append(
            f"{twice.sum()} runs repeat a task, arm and seed (another preset?); only the first of each counts: "
            + ", ".join(scored.loc[twice, "run_id"].head(5))
        )
        scored = scored[~twice]
    summaries, sufficiency, literal = {}, {}, {}
    for group, regularized in GROUPS.items():
        table = scores_of(scored[scored["regularized"] == regularized])
        if not table:
            continue
        rng = np.random.default_rng(SEED)
        summaries[group] = {
            arm: summarise({task: list(seeds.values()) for task, seeds in tasks.items()}, rng)
            for arm, tasks in table.items()
        }
        sufficiency[group] = _sufficiency(table, group, rng, left_out)
        if share_seeds(table, LITERAL, UNDISTURBED):
            literal[group] = compare(table, LITERAL, UNDISTURBED, rng)
    return Answers(
        scores=scores_of(scored),
        summaries=summaries,
        prevalence=prevalences(results, standard),
        sufficiency=sufficiency,
        literal=literal,
        regularized=frozenset(runs.loc[runs["regularized"], "task"]),
        left_out=left_out,
    )


def too_few(answers: Answers) -> bool:
    """Whether runs can answer neither question: too few for any verdict, and as few at a constant rate."""
    constant = sum(parts["total"].num_runs for parts in answers.prevalence.values() if "total" in parts)
    return max([constant, *(found.overall.num_pairs for *_, found in answers.compared)]) < MIN_SEEDS


def scores_of(runs: pd.DataFrame, score: str = "score", arm: str = "arm") -> dict[str, dict[str, dict[int, float]]]:
    """Return arm -> task -> seed -> score, from these columns of runs with their tasks."""
    return scores_by_arm(runs["task"], runs[arm], map(int, runs["seed"]), runs[score])


def _sufficiency(
    table: dict[str, dict[str, dict[int, float]]], group: str, rng: np.random.Generator, left_out: list[str]
) -> dict[str, Comparison]:
    if CANDIDATE not in table:
        left_out.append(f"{group}: no run of {CANDIDATE}")
        return {}
    rivals = [arm for arm in (BASELINE, UNDISTURBED) if share_seeds(table, CANDIDATE, arm)]
    if not rivals:
        left_out.append(f"{group}: {CANDIDATE} has no arm to be compared with on the same seeds")
    return {arm: compare(table, CANDIDATE, arm, rng) for arm in rivals}


def by_group(answers: Answers) -> dict[str, dict[str, dict[str, Prevalence]]]:
    """Return the prevalence by group, task and part, of the groups that have any."""
    found: dict[str, dict[str, dict[str, Prevalence]]] = {group: {} for group in GROUPS}
    for task, parts in answers.prevalence.items():
        if "total" in parts:
            found["with weight decay" if task in answers.regularized else "without regularization"][task] = parts
    return {group: tasks for group, tasks in found.items() if tasks}


def undisturbed(results: Results, runs: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """Return the traces of the finished runs at a constant rate, by task.

    :param runs: those of the results to be looked at, with their tasks
    """
    runs = runs[(runs["arm"] == UNDISTURBED) & (runs["status"] == "complete")]
    traces = dict(iter(results.traces.groupby("run_id", sort=False)))
    found = {str(task): [traces[i] for i in of_task["run_id"] if i in traces] for task, of_task in runs.groupby("task")}
    return {task: of_task for task, of_task in found.items() if of_task}


def prevalences(results: Results, runs: pd.DataFrame) -> dict[str, dict[str, Prevalence]]:
    """Return, by task and part, how often the norm bounced in these runs, as far as they are at a constant rate."""
    found: dict[str, dict[str, Prevalence]] = {}
    for task, traces in undisturbed(results, runs).items():
        for part in PARTS:
            norms = [trace[part].to_numpy() for trace in traces if part in trace and trace[part].notna().any()]
            if norms:
                found.setdefault(task, {})[part] = prevalence(norms)
    return found


def prevalence(traces: Sequence[np.ndarray]) -> Prevalence:
    """Replay both rules over the traces |w|^2 of several runs, (num_measurements,) each."""
    bounces = [find_decays(trace) for trace in traces]
    depths = [bounce_depth(trace[: first[0] + 1]) for trace, first in zip(traces, bounces) if first]
    return Prevalence(
        num_runs=len(traces),
        num_bounced=len(depths),
        share=exact_binomial_interval(len(depths), len(traces)),
        depth=float(np.median(depths)) if depths else math.nan,
        literal=sum(bool(find_decays(trace, rule="paper")) for trace in traces),
    )


def bounce_depth(norms: np.ndarray) -> float:
    """The largest fall of a norm, as a share of the maximum before; it need not be to the lowest.

    >>> bounce_depth(np.array([2.0, 4.0, 3.0, 5.0]))
    0.25
    """
    highest = np.fmax.accumulate(norms)
    falls = 1 - norms[highest > 0] / highest[highest > 0]
    return float(np.nanmax(falls, initial=0.0))
