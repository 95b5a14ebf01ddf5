"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.plan import ARMS
from benchmarks.report.answers import prevalences, sensitivity
from benchmarks.report.figures import Picture, prevalence, sensitivity_pictures, task_pictures
from benchmarks.report.words import templates, wrapped
from benchmarks.results import Results
from benchmarks.statistics.estimates import FAILED_BELOW
from benchmarks.study import headlines, norms, scores, tables
from benchmarks.study.stages import MAIN, MULTIPLIERS, choose, progress, split

PAGE, DETAILS = "study.md", "study_details.md"


def write_page(results: Results, folder: Path) -> Path:
    """Write both pages and the figures of the study into ``folder``, and return the first page's path.

    While a stage lacks runs there is but one page, which says so.
    """
    missing = {name: planned - done for name, (done, planned) in progress(results.runs).items() if done < planned}
    pages, found = ((PAGE,), {"pictures": {}}) if missing else ((PAGE, DETAILS), context(results))
    for name, picture in found["pictures"].items():
        (folder / f"{name}.png").write_bytes(picture.png)
    for name in pages:
        text = templates("benchmarks.study").get_template(f"{name}.j2").render(found, missing=missing)
        (folder / name).write_text(wrapped(text), encoding="utf-8")
    return folder / PAGE


def context(results: Results) -> dict[str, Any]:
    """Return what the templates fill in.

    Frames: ``runs``, all of them; ``main``, those that answer the questions, with their scores; ``moved``, how the
    norm of each part moved in those at a constant rate (see :func:`norms.movements`); ``chosen``, multiplier of the
    base rate by arm, a column an environment. Mappings by task: ``best``, the score of its best schedule, and
    ``learned``. ``pictures`` and ``grids`` are by name.
    """
    parts = split(results)
    main, robust, edge, fresh = (scores.measured(of) for of in parts)
    best = scores.best(main)
    learned = (best >= FAILED_BELOW).to_dict()
    main = main.assign(learned=main["task"].map(learned).astype(bool))
    moved = norms.movements(parts.main).merge(main[["task", "strength", "learned"]].drop_duplicates())
    effects = headlines.effects(main, robust, edge, fresh)
    chosen = pd.Series(choose(results.runs)).unstack(0, sort=False)
    plain = main[(main["agent"] == "PPO") & main["env_id"].isin(chosen.columns) & ~main["regularized"]]
    return {
        "runs": results.runs,
        "main": main,
        "moved": moved,
        "chosen": chosen,
        "largest": max(MULTIPLIERS),
        "best": best.to_dict(),
        "learned": learned,
        "effects": effects,
        "bounced": norms.bounced(moved[moved["part"] == "total"]),
        "shape": {"smoothed": norms.SMOOTHED, "deep": norms.DEEP},
        "lander": scores.against_linear(edge),
        "pictures": {picture.name: picture for picture in _drawn(parts.main, parts.robust, main, effects)},
        "grids": {
            "bounces": tables.bounces(moved, learned),
            "courses": tables.courses(moved),
            "layers": norms.layers(parts.main),
            "cells": tables.mean_scores(main, MAIN),
            "arms": tables.mean_scores(plain, ARMS),
            "by_task": tables.differences(main, learned),
            "equal": tables.equal(headlines.tried(main, robust, edge)),
            "rates": tables.rates(robust),
            "decays": tables.decays(robust),
            "edge": tables.over_settings(edge, ("arm",), "rate_multiplier"),
            "fresh": tables.fresh(effects.fresh),
            "literal": tables.literal(main),
            "beside": tables.beside(main),
            "multipliers": tables.multipliers(chosen),
        },
    }


def _drawn(main: Results, robust: Results, runs: pd.DataFrame, effects: headlines.Effects) -> Iterator[Picture]:
    """Yield the figures, named after the study."""
    chosen = Results(main.runs.assign(rate_multiplier=1.0), main.evaluations, main.traces)
    drawn = (headlines.picture(runs, effects), prevalence(prevalences(main, runs)))
    for picture in (*drawn, *task_pictures(chosen), *sensitivity_pictures(sensitivity(robust.runs))):
        yield replace(picture, name=f"study_{picture.name}")
