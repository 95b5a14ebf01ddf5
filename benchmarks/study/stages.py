"""The study that docs/results/plan.md fixed beforehand: its stages, and what of them is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.plan import ARMS, Block, Run
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

QUICK = {"CartPole-v1": 30_000, "Acrobot-v1": 55_000, "Pendulum-v1": 55_000}
LANDER = {"LunarLander-v3": 104_000}
CLASSIC = QUICK | LANDER
WITH_DECAY = ("CartPole-v1", "Acrobot-v1")
OFF_POLICY = {("DQN", "CartPole-v1"): 50_000, ("SAC", "Pendulum-v1"): 4_000, ("CrossQ", "Pendulum-v1"): 4_000}
GAMES = {"MinAtar/Breakout-v1": 110_000, "MinAtar/SpaceInvaders-v1": 110_000}
MUJOCO = {"Hopper-v5": 205_000, "HalfCheetah-v5": 205_000}

FEWER_EVALUATIONS = {"LunarLander-v3": 10, "Hopper-v5": 10, "HalfCheetah-v5": 10}
"""Where they take long; they change no training."""

Choice = Mapping[tuple[str, str], float]
"""(environment, arm) -> multiplier of the base rate, chosen on the tuning seeds."""


def progress(runs: pd.DataFrame | None) -> dict[str, tuple[int, int]]:
    """Return, by stage, how many of its runs are among these, and how many it has in all."""
    done: set[str] = set() if runs is None else set(runs["run_id"])
    of_all = stages({(env_id, arm): 1.0 for env_id in CLASSIC for arm in ARMS})
    known_yet = stages({} if runs is None else choose(runs))
    return {name: (sum(run.run_id in done for run in known_yet[name]), len(all_)) for name, all_ in of_all.items()}


def stages(choice: Choice) -> dict[str, list[Run]]:
    """Return every run of the study by stage, in the order in which the stages are run.

    A stage that follows a tuning has no runs of an arm whose multiplier is not chosen yet.
    """
    classic = _classic(choice, QUICK, TEN, ARMS)
    lander = _classic(choice, LANDER, TEN, ARMS) + _classic(choice, LANDER, tuple(range(10, 30)), CENTRAL)
    shared = {*classic, *lander}
    return {
        "tuning": _tuning(QUICK),
        "classic": classic,
        "decay": _by_seed(
            Block("PPO", (env_id,), QUICK[env_id], (arm,), TEN, ("adamw",), (1.0, 10.0), (choice[env_id, arm],))
            for env_id in WITH_DECAY
            for arm in MAIN
            if (env_id, arm) in choice
        ),
        "classic, more seeds": _classic(choice, QUICK, tuple(range(10, 30)), CENTRAL),
        "offpolicy, constant": _off_policy(("constant",), 0.0, 10.0),
        "games": _by_seed(Block("PPO", (env_id,), timesteps, MAIN, FIVE) for env_id, timesteps in GAMES.items()),
        "offpolicy, other arms": _off_policy(SCHEDULED, 0.0),
        "robust": [_evaluated_once(run, unless=shared) for run in _robust()],
        "offpolicy, weight decay": _off_policy(SCHEDULED, 10.0),
        "lander, tuning": _tuning(LANDER),
        "lander": lander,
        "offpolicy, less weight decay": _off_policy(("constant",), 1.0),
        "lander, larger rates": [
            _evaluated_once(run, unless=shared)
            for run in _by_seed(
                _block(env_id, timesteps, CENTRAL, TEN, rate_multiplier=LARGER) for env_id, timesteps in LANDER.items()
            )
        ],
        "fresh seeds, cartpole": _fresh("PPO", "CartPole-v1", QUICK["CartPole-v1"], range(10, 30)),
        "fresh seeds, sac": _fresh("SAC", "Pendulum-v1", OFF_POLICY["SAC", "Pendulum-v1"], range(5, 20)),
        "mujoco": _by_seed(_block(env_id, timesteps, MAIN, FIVE) for env_id, timesteps in MUJOCO.items()),
    }


def _tuning(tasks: Mapping[str, int]) -> list[Run]:
    return _by_seed(
        _block(env_id, timesteps, ARMS, TUNING_SEEDS, rate_multiplier=MULTIPLIERS)
        for env_id, timesteps in tasks.items()
    )


def _off_policy(arms: tuple[str, ...], *strengths: float) -> list[Run]:
    return _by_seed(
        Block(agent, (env_id,), timesteps, arms, FIVE, *((("adamw",), (strength,)) if strength else ()))
        for (agent, env_id), timesteps in OFF_POLICY.items()
        for strength in strengths
    )


def _robust() -> list[Run]:
    rates = {"rate_multiplier": (0.1, 0.3, 1.0, 3.0, 10.0)}
    decays = {"decay_factor": (0.1, 0.2, 0.5), "final_decay_at": (0.7, 0.85, 0.95)}
    return _by_seed(
        _block(env_id, QUICK[env_id], arms, FIVE, **varied)
        for env_id in WITH_DECAY
        for arms, varied in ((MAIN, rates), (("constant+final", "abel"), decays))
    )


def _fresh(agent: str, env_id: str, timesteps: int, seeds: Sequence[int]) -> list[Run]:
    """Runs of abel, where it decays after bounces, and of what it differs from by these decays alone."""
    arms, strong = ("constant+final", "abel"), (("adamw",), (10.0,))
    return _by_seed([Block(agent, (env_id,), timesteps, arms, tuple(seeds), *strong, evaluations=1)])


def _evaluated_once(run: Run, unless: Set[Run]) -> Run:
    # A third of such a run was evaluations on the way, of which the sensitivity has no use.
    return run if run in unless else replace(run, evaluations=1)


def _block(env_id: str, timesteps: int, arms: Sequence[str], seeds: tuple[int, ...], **axes: Any) -> Block:
    evaluations = FEWER_EVALUATIONS.get(env_id, Block.evaluations)
    return Block("PPO", (env_id,), timesteps, tuple(arms), seeds, evaluations=evaluations, **axes)


def _classic(choice: Choice, tasks: Mapping[str, int], seeds: tuple[int, ...], arms: Sequence[str]) -> list[Run]:
    return _by_seed(
        _block(env_id, timesteps, (arm,), seeds, rate_multiplier=(choice[env_id, arm],))
        for env_id, timesteps in tasks.items()
        for arm in arms
        if (env_id, arm) in choice
    )


def _by_seed(blocks: Any) -> list[Run]:
    """Runs of all blocks, each once, seed by seed, so that a stage cut short has all arms."""
    return sorted(dict.fromkeys(run for block in blocks for run in block.runs()), key=lambda run: run.seed)


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
"""Field of :class:`Parts` -> stages; all others but the tunings are "main"."""


class Parts(NamedTuple):
    """The runs of the study, without the tuning.

    :param main: those that answer its questions, each arm at the base rate that was chosen for it
    :param robust: those at other base rates, decay factors and places of the decay
    :param edge: those beyond the tuning's rates
    :param fresh: those that tell on other seeds what decays by a bounce bring
    """

    main: Results
    robust: Results
    edge: Results
    fresh: Results


def split(results: Results) -> Parts:
    """Return the runs by part; "robust" and "edge" share some with "main"."""
    by_stage = {name: {run.run_id for run in runs} for name, runs in stages(choose(results.runs)).items()}
    main = [
        name for name in by_stage if name not in {*TUNINGS, *(stage for names in APART.values() for stage in names)}
    ]
    parts = {"main": main, **APART}
    return Parts(*(_only(results, set().union(*(by_stage[name] for name in parts[part]))) for part in Parts._fields))


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
