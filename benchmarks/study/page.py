"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agents import find_preset
from benchmarks.plan import ARMS
from benchmarks.report.answers import LITERAL, prevalences, sensitivity
from benchmarks.report.figures import Picture, prevalence, sensitivity_pictures, task_pictures
from benchmarks.report.words import Grid, templates, wrapped
from benchmarks.results import Results
from benchmarks.statistics.estimates import exact_binomial_interval
from benchmarks.study import edge, fresh, headlines, norms, scores, settings
from benchmarks.study.stages import MULTIPLIERS, Choice, choose, progress, split

PAGE, DETAILS = "study.md", "study_details.md"


def write_page(results: Results, folder: Path) -> Path:
    """Write both pages and the figures of the study into ``folder``, and return the first page's path.

    While a stage lacks runs there is but one page, which says so.
    """
    missing = {name: planned - done for name, (done, planned) in progress(results.runs).items() if done < planned}
    pages, found, drawn = ((PAGE,), {}, []) if missing else ((PAGE, DETAILS), *context(results))
    for picture in drawn:
        (folder / f"{picture.name}.png").write_bytes(picture.png)
    for name in pages:
        text = templates("benchmarks.study").get_template(f"{name}.j2").render(found, missing=missing)
        (folder / name).write_text(wrapped(text), encoding="utf-8")
    return folder / PAGE


def context(results: Results) -> tuple[dict[str, Any], list[Picture]]:
    """Return what the templates fill in, and the figures."""
    parts = split(results)
    main, robust, beyond, again = (scores.measured(of) for of in parts)
    learned = scores.learned(main)
    main = main.assign(learned=main["task"].map(learned).astype(bool))
    moved = norms.movements(parts.main).merge(main[["task", "strength", "learned"]].drop_duplicates())
    effects = headlines.effects(main, robust, beyond, again)
    choice = choose(results.runs)
    classic = main[(main["agent"] == "PPO") & main["env_id"].isin({env_id for env_id, _ in choice})]
    drawn = {picture.name: picture for picture in _drawn(parts.main, parts.robust, main, effects)}
    return {
        "counts": {"runs": len(results.runs), "hours": results.runs["wall_time_s"].sum() / 3600}
        | {"crashed": int((results.runs["status"] == "failed").sum())},
        "effects": effects,
        "bounced": {part: headlines.bounced(moved, part) for part in norms.PARTS},
        "by_task": dict(iter(moved[moved["part"] == "total"].groupby("task"))),
        "unlearned": {task: float(_best(main, task)) for task, is_learned in learned.items() if not is_learned},
        "pictures": drawn,
        "at_the_edge": _at_the_edge(choice),
        "lander": edge.against_linear(beyond),
        **_course(main, moved),
        "shape": {"smoothed": norms.SMOOTHED, "deep": norms.DEEP},
        "grids": {
            "bounces": norms.bounces(moved, learned),
            "courses": norms.courses(moved),
            "layers": norms.layers(parts.main),
            "cells": scores.cells(main[main["arm"].isin(("constant", "linear", "constant+final", "abel"))], ARMS),
            "arms": scores.cells(classic[~classic["regularized"]], ARMS),
            "by_task": scores.by_task(main, learned),
            "equal": effects.rates,
            "rates": settings.rates(robust),
            "decays": settings.decays(robust),
            "edge": edge.over_rates(beyond),
            "fresh": fresh.fresh_table(effects.fresh),
            "literal": scores.literal(main),
            "beside": scores.beside(main),
            "multipliers": _multipliers(choice),
        },
    }, list(drawn.values())


def _course(main: pd.DataFrame, moved: pd.DataFrame) -> dict[str, Any]:
    """Return single numbers of the sentences on how the norm moved."""
    total = moved[moved["part"] == "total"].assign(below=lambda of: of["of_peak"] < 1 - norms.DEEP)
    plain = total[(total["strength"] == 0) & total["learned"]].groupby("task")["growth"].median()
    tasks = total.loc[total["strength"] == 0, "task"].nunique()
    below = {task: f"{int(of['below'].sum())} of {len(of)}" for task, of in total.groupby("task")}
    return {
        "growth": {"low": plain.min(), "high": plain.max()},
        "over_tasks": exact_binomial_interval(0, tasks).high,
        "below_peak": below,
        "cartpole": _best(main, "PPO CartPole-v1, adamw 10"),
        "sac_policy": norms.counted(
            moved[(moved["part"] == "policy") & (moved["task"] == "SAC Pendulum-v1, adamw 10")]
        ),
        "most_cuts": int(main.loc[main["arm"] == LITERAL, "decays"].str.count('"bounce"').max()),
    }


def _best(main: pd.DataFrame, task: str) -> float:
    return float(main[main["task"] == task].groupby("arm")["score"].mean().max())


def _drawn(main: Results, robust: Results, runs: pd.DataFrame, effects: headlines.Effects) -> Iterator[Picture]:
    """Yield the figures, named after the study."""
    chosen = Results(main.runs.assign(rate_multiplier=1.0), main.evaluations, main.traces)
    drawn = (headlines.picture(runs, effects), prevalence(prevalences(main, runs)))
    for picture in (*drawn, *task_pictures(chosen), *sensitivity_pictures(sensitivity(robust.runs))):
        yield replace(picture, name=f"study_{picture.name}")


def _at_the_edge(choice: Choice) -> dict[str, tuple[int, int]]:
    """Return, by task, how many arms chose the largest rate of the tuning, and of how many."""
    found: dict[str, list[bool]] = {}
    for (env_id, _), multiplier in choice.items():
        found.setdefault(env_id, []).append(multiplier == max(MULTIPLIERS))
    return {env_id: (sum(at), len(at)) for env_id, at in found.items() if any(at)}


def _multipliers(choice: Choice) -> Grid:
    envs = list(dict.fromkeys(env_id for env_id, _ in choice))
    rows = []
    for arm in dict.fromkeys(arm for _, arm in choice):
        of_arm = [choice.get((env_id, arm), np.nan) for env_id in envs]
        rates = [f"{m:g} ({m * find_preset('PPO', env_id).learning_rate:g})" for m, env_id in zip(of_arm, envs)]
        rows.append((arm, *("–" if m != m else rate for m, rate in zip(of_arm, rates))))
    return Grid(("arm", *envs), rows)
