"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.plan import SCHEDULES
from benchmarks.report import movements
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED, prevalences, sensitivity
from benchmarks.report.figures import Picture, forest, prevalence, sensitivity_pictures, task_pictures
from benchmarks.report.scores import between, measured
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison
from benchmarks.statistics.estimates import FAILED_BELOW, Interval
from benchmarks.study import norms, scores, tables
from benchmarks.study.stages import MAIN, MULTIPLIERS, choose, progress, split
from benchmarks.words import templates, wrapped

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
    """Return what the templates fill in, and the module whose tables they draw.

    Frames: ``runs``, all of them; ``main`` and the other parts of the study, with their scores; ``moved``, how the
    norm of each part moved in those of ``main`` at a constant rate (``movements.movements``); ``chosen``,
    multiplier of the base rate by arm, a column an environment. Mappings by task: ``best``, the score of its best
    schedule, and ``learned``. ``pictures`` are by name.
    """
    parts = split(results)
    scored = {part: measured(of) for part, of in parts.items()}
    best = scores.best(scored["main"])
    learned = (best >= FAILED_BELOW).to_dict()
    main = scored["main"].assign(learned=scored["main"]["task"].map(learned).astype(bool))
    scored["main"] = main
    moved = movements.movements(parts["main"]).merge(main[["task", "strength", "learned"]].drop_duplicates())
    effects = scores.effects(**scored)
    return {
        **scored,
        "runs": results.runs,
        "moved": moved,
        "chosen": pd.Series(choose(results.runs)).unstack(0, sort=False),
        "largest": max(MULTIPLIERS),
        "best": best.to_dict(),
        "learned": learned,
        "effects": effects,
        "bounced": norms.bounced(moved[moved["part"] == "total"]),
        "layers": norms.layers(parts["main"]),
        "shape": {"smoothed": movements.SMOOTHED, "deep": movements.DEEP},
        "lander": scores.against_linear(scored["edge"]),
        "tried": scores.tried(main, scored["robust"], scored["edge"]),
        "pictures": {picture.name: picture for picture in _drawn(parts, main, effects["equal"])},
        "tables": tables,
        "columns": {"main": MAIN, "all": SCHEDULES},
    }


def _drawn(parts: dict[str, Results], runs: pd.DataFrame, equal: Comparison | None) -> Iterator[Picture]:
    """Yield the figures, named after the study.

    :param runs: those of "main", with their scores
    :param equal: constant + final decay minus linear decay, at the best base rate of each
    """
    main = parts["main"]
    chosen = Results(main.runs.assign(rate_multiplier=1.0), main.evaluations, main.traces)
    drawn = (_differences(runs, equal), prevalence(prevalences(main, runs)))
    for picture in (*drawn, *task_pictures(chosen), *sensitivity_pictures(sensitivity(parts["robust"].runs))):
        yield replace(picture, name=f"study_{picture.name}")


def _differences(runs: pd.DataFrame, equal: Comparison | None) -> Picture:
    """Constant + final decay minus the other, on every task that is learned."""
    sections: dict[str, list[tuple[str, dict[str, Interval]]]] = {}
    if equal:
        sections["best base rate tried for each"] = [(f"PPO, {len(equal.tasks)} tasks", {BASELINE: equal.mean})]
    for (strength, task), of_task in runs[runs["learned"]].groupby(["strength", "task"]):
        heading = "no weight decay" if not strength else f"weight decay, ηλN = {strength:g}"
        pairs = {other: between(of_task, CANDIDATE, other) for other in (BASELINE, UNDISTURBED)}
        if row := {other: of.mean for other, of in pairs.items() if of}:
            sections.setdefault(heading, []).append((task.partition(",")[0], row))
    return forest(sections)
