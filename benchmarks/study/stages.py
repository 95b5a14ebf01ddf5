"""The study that docs/results/plan.md fixed beforehand: its stages, and what of them is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.plan import SCHEDULES, Block, Run
from benchmarks.report.answers import with_tasks
from benchmarks.results import FILES, Results, read_parquet, read_results, write_parquet
from benchmarks.statistics.estimates import CRASHED

ARCHIVE = Path(__file__).parents[2] / "docs" / "results"
OUT = Path("results/study")

TUNING_SEEDS = (1000, 1001)
MULTIPLIERS = (0.3, 1.0, 3.0)
LARGER = (max(MULTIPLIERS), 6.0, 10.0)
TIE = 0.01
"""Scores closer than this are a tie, which the multiplier nearest to 1 wins."""

CENTRAL = ("constant", "linear", "constant+final")
MAIN = (*CENTRAL, "abel")
SCHEDULED = MAIN[1:]
FIVE, TEN = tuple(range(5)), tuple(range(10))

Tasks = Mapping[tuple[str, str], int]
"""(agent, environment) -> timesteps"""

QUICK: Tasks = {("PPO", "CartPole-v1"): 30_000, ("PPO", "Acrobot-v1"): 55_000, ("PPO", "Pendulum-v1"): 55_000}
LANDER: Tasks = {("PPO", "LunarLander-v3"): 104_000}
CLASSIC = [env_id for _, env_id in (*QUICK, *LANDER)]
WITH_DECAY: Tasks = {task: QUICK[task] for task in (("PPO", "CartPole-v1"), ("PPO", "Acrobot-v1"))}
OFF_POLICY: Tasks = {("DQN", "CartPole-v1"): 50_000, ("SAC", "Pendulum-v1"): 4_000, ("CrossQ", "Pendulum-v1"): 4_000}
GAMES: Tasks = {("PPO", "MinAtar/Breakout-v1"): 110_000, ("PPO", "MinAtar/SpaceInvaders-v1"): 110_000}
MUJOCO: Tasks = {("PPO", "Hopper-v5"): 205_000, ("PPO", "HalfCheetah-v5"): 205_000}

FEWER_EVALUATIONS = {"LunarLander-v3": 10, "Hopper-v5": 10, "HalfCheetah-v5": 10}
"""Where they take long; they change no training."""

Choice = Mapping[tuple[str, str], float]
"""(environment, arm) -> multiplier of the base rate, chosen on the tuning seeds."""


def progress(runs: pd.DataFrame | None) -> dict[str, tuple[int, int]]:
    """Return, by stage, how many of its runs are among these, and how many it has in all."""
    done: set[str] = set() if runs is None else set(runs["run_id"])
    of_all = stages({(env_id, arm): 1.0 for env_id in CLASSIC for arm in SCHEDULES})
    known_yet = stages({} if runs is None else choose(runs))
    return {name: (sum(run.run_id in done for run in known_yet[name]), len(all_)) for name, all_ in of_all.items()}


def stages(choice: Choice) -> dict[str, list[Run]]:
    """Return every run of the study by stage, in the order in which the stages are run.

    A stage that follows a tuning has no runs of an arm whose multiplier is not chosen yet.
    """
    strong = {"regularization": ("adamw",), "strength": (10.0,)}
    weak = {"regularization": ("adamw",), "strength": (1.0,)}
    both = {"regularization": ("adamw",), "strength": (1.0, 10.0)}
    rates = {"rate_multiplier": (0.1, 0.3, 1.0, 3.0, 10.0)}
    decays = {"decay_factor": (0.1, 0.2, 0.5), "final_decay_at": (0.7, 0.85, 0.95)}
    more = tuple(range(10, 30))
    classic = _runs(QUICK, SCHEDULES, TEN, choice)
    lander = _runs(LANDER, SCHEDULES, TEN, choice) + _runs(LANDER, CENTRAL, more, choice)
    robust = _runs(WITH_DECAY, MAIN, FIVE, **rates) + _runs(WITH_DECAY, SCHEDULED[1:], FIVE, **decays)
    larger = _runs(LANDER, CENTRAL, TEN, rate_multiplier=LARGER)
    shared = {*classic, *lander}
    sac = {task: OFF_POLICY[task] for task in [("SAC", "Pendulum-v1")]}
    cartpole = {task: QUICK[task] for task in [("PPO", "CartPole-v1")]}
    found = {
        "tuning": _runs(QUICK, SCHEDULES, TUNING_SEEDS, rate_multiplier=MULTIPLIERS),
        "classic": classic,
        "decay": _runs(WITH_DECAY, MAIN, TEN, choice, **both),
        "classic, more seeds": _runs(QUICK, CENTRAL, more, choice),
        "offpolicy, constant": _runs(OFF_POLICY, ("constant",), FIVE)
        + _runs(OFF_POLICY, ("constant",), FIVE, **strong),
        "games": _runs(GAMES, MAIN, FIVE),
        "offpolicy, other arms": _runs(OFF_POLICY, SCHEDULED, FIVE),
        "robust": _evaluated_once(robust, unless=shared),
        "offpolicy, weight decay": _runs(OFF_POLICY, SCHEDULED, FIVE, **strong),
        "lander, tuning": _runs(LANDER, SCHEDULES, TUNING_SEEDS, rate_multiplier=MULTIPLIERS),
        "lander": lander,
        "offpolicy, less weight decay": _runs(OFF_POLICY, ("constant",), FIVE, **weak),
        "lander, larger rates": _evaluated_once(larger, unless=shared),
        # abel, where it decays after bounces, and what it differs from by these decays alone.
        "fresh seeds, cartpole": _evaluated_once(_runs(cartpole, SCHEDULED[1:], more, **strong)),
        "fresh seeds, sac": _evaluated_once(_runs(sac, SCHEDULED[1:], tuple(range(5, 20)), **strong)),
        "mujoco": _runs(MUJOCO, MAIN, FIVE),
    }
    # Seed by seed, so that a stage cut short has all arms.
    return {name: sorted(dict.fromkeys(runs), key=lambda run: run.seed) for name, runs in found.items()}


def _runs(
    tasks: Tasks, arms: Sequence[str], seeds: tuple[int, ...], choice: Choice | None = None, **axes: Any
) -> list[Run]:
    """Return the runs of a product.

    :param choice: multipliers of the base rate; arms without one are left out. None for the preset's rate
    """
    blocks = [
        Block(
            agent,
            (env_id,),
            timesteps,
            (arm,),
            seeds,
            evaluations=FEWER_EVALUATIONS.get(env_id, Block.evaluations),
            **axes if choice is None else {**axes, "rate_multiplier": (choice[env_id, arm],)},
        )
        for (agent, env_id), timesteps in tasks.items()
        for arm in arms
        if choice is None or (env_id, arm) in choice
    ]
    return [run for block in blocks for run in block.runs()]


def _evaluated_once(runs: Iterable[Run], unless: Set[Run] = frozenset()) -> list[Run]:
    # A third of such a run was evaluations on the way, of which these questions have no use.
    return [run if run in unless else replace(run, evaluations=1) for run in runs]


def choose(runs: pd.DataFrame) -> Choice:
    """Return, where all runs of a tuning are there, the multiplier with the best mean score.

    :param runs: a row a run, as in :class:`Results`; only those of the tuning seeds count
    """
    scored = with_tasks(runs)
    scored = scored[scored["seed"].isin(TUNING_SEEDS) & (scored["regularization"] == "none")]
    scored["score"] = scored["score"].fillna(CRASHED)
    choice = {}
    for (env_id, arm), of_arm in scored.groupby(["env_id", "arm"]):
        scores = of_arm.groupby("rate_multiplier")["score"].agg(["mean", "count"])
        if list(scores["count"]) == [len(TUNING_SEEDS)] * len(MULTIPLIERS):
            choice[str(env_id), str(arm)] = best_rate(scores["mean"])
    return choice


def best_rate(means: pd.Series) -> float:
    """Return, of mean scores by multiplier, the best multiplier: of those within ``TIE`` the one nearest to 1."""
    return float(min(means.index[means >= means.max() - TIE], key=lambda multiplier: abs(np.log(multiplier))))


TUNINGS = ("tuning", "lander, tuning")
APART = {
    "robust": ("robust",),
    "edge": ("lander, larger rates",),
    "fresh": ("fresh seeds, cartpole", "fresh seeds, sac"),
}
"""Part of the study -> stages; all others but the tunings are "main"."""


def split(results: Results) -> dict[str, Results]:
    """Return the runs by part of the study, without those of the tuning.

    "main" answers its questions, each arm at the base rate that was chosen for it; "robust" has other base
    rates, decay factors and places of the decay; "edge" the rates beyond the tuning's (both share some with
    "main"); and "fresh" tells on other seeds what decays by a bounce bring.
    """
    by_stage = {name: {run.run_id for run in runs} for name, runs in stages(choose(results.runs)).items()}
    main = set(by_stage).difference(TUNINGS, *APART.values())
    parts = {"main": main, **APART}
    return {part: _only(results, set().union(*(by_stage[n] for n in names))) for part, names in parts.items()}


def _only(results: Results, run_ids: set[str]) -> Results:
    kept = (t[t["run_id"].isin(run_ids)] for t in (results.runs, results.evaluations, results.traces))
    return Results(*(table.reset_index(drop=True) for table in kept))


def known(out: Path = OUT, archive: Path = ARCHIVE) -> Results | None:
    """Return all finished runs, those that are committed and those in ``out``; None if there are none."""
    saved = read_parquet(archive) if (archive / f"{FILES[0]}.parquet").is_file() else None
    new = read_results(out) if any(out.glob("*/run.json")) else None
    if saved is None or new is None:
        return saved or new
    added = _only(new, set(new.runs["run_id"]) - set(saved.runs["run_id"]))
    return Results(*(pd.concat([getattr(saved, n), getattr(added, n)], ignore_index=True) for n in FILES))


def save(results: Results, archive: Path = ARCHIVE) -> None:
    """Write the three files, small enough to be committed."""
    traces = results.traces.astype(dict.fromkeys(results.traces.select_dtypes("float64"), np.float32))
    runs = results.runs.sort_values("run_id", ignore_index=True)
    tables = (table.sort_values(["run_id", "timesteps"], ignore_index=True) for table in (results.evaluations, traces))
    write_parquet(Results(runs, *tables), archive)
