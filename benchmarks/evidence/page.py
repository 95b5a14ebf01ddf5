"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.evidence import answers, figures, thinned
from benchmarks.evidence.answers import ABEL, CELL_PAIRS, COOLDOWN, KL, KL_FINAL, RATE_PAIRS, Cell, Profiled
from benchmarks.evidence.stages import ACTING, PROFILED, RATES, counts, missing, stages
from benchmarks.plan import PULL
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED
from benchmarks.report.movements import counted, movements
from benchmarks.report.scores import MEASURES
from benchmarks.results import Results
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.over_rates import judged
from benchmarks.words import templates, wrapped

PAGE, DETAILS = "evidence.md", "evidence_details.md"
PROFILES, FOREST = "evidence_profiles.png", "evidence_differences.png"


def write_page(results: Results, folder: Path) -> Path:
    """Write both pages and their figures into ``folder``, and return the first page's path."""
    found = context(results)
    if found["profiles"]:
        (folder / PROFILES).write_bytes(figures.profiles(found["profiles"]))
    if found["sections"]:
        (folder / FOREST).write_bytes(figures.forest(found["sections"]))
    for name in (PAGE, DETAILS):
        text = templates("benchmarks.evidence").get_template(f"{name}.j2").render(found)
        (folder / name).write_text(wrapped(text), encoding="utf-8")
    return folder / PAGE


def context(results: Results) -> dict[str, Any]:
    """Return what the templates fill in.

    ``num_runs``; ``profiles``, ``cells`` and ``decisions``, see
    :mod:`benchmarks.evidence.answers`; ``bouncing``, the cells that tell of decays after bounces; ``bounced``, how
    often each part's norm bounced at the preset's rate; ``thinned``, what the rule finds by number of measurements,
    ``too_sparse``, the most that a run of other tasks has, and ``more_measurements``, whether more than now become the
    default;
    ``stages``, how many runs of each are there, and of how many; ``sections``, the rows of the figure of differences;
    ``savings``, what a batch that grows takes of the work.
    """
    ids, progressed = set(results.runs["run_id"]), progress(results.runs)
    dense, sparse = thinned.by_number(results), thinned.too_sparse(results)
    results = thinned.without_dense(results)
    runs = answers.scored(results)
    profiles, cells = answers.profiled(runs), answers.cells(runs)
    learned = {task: of for task, of in profiles.items() if of.learned}
    by_number = thinned.recall_and_false(dense) if len(dense) else None
    trained = {task: cell for task, cell in cells.items() if cell.learned}

    def over_rates_of(pair: tuple[str, str], which: str) -> dict[str, Interval]:
        return {task: getattr(of.differences["score"][pair], which) for task, of in learned.items()}

    return {
        "num_runs": len(ids),
        "profiles": profiles,
        "learned": learned,
        "cells": cells,
        "bouncing": answers.with_bounces(cells),
        "decisions": answers.decisions(profiles, cells),
        "bounced": bounced(results, cells),
        "thinned": by_number,
        "too_sparse": sparse,
        "more_measurements": thinned.more_pays(by_number) if counts("measurements", ids) else None,
        "savings": {arm: answers.savings(runs, arm) for arm in ACTING if arm != "abel-part"},
        "regularized": regularized(trained),
        "plain": plain(trained),
        "over_rates_of": over_rates_of,
        "stages": progressed,
        "unfinished": {name: (done, planned) for name, (done, planned) in progressed.items() if done < planned},
        "too_few": [name for name in stages() if not counts(name, ids)],
        "sections": sections(learned, cells),
        "of_pair": answers.of_pair,
        "over_tasks": answers.over_tasks,
        "num_tasks": lambda cells: len({answers.task_of(cell) for cell in cells}),
        "num_envs": num_envs,
        "means_of": lambda of, pair: {task: one.mean for task, one in answers.of_pair(of, pair).items()},
        "judged": judged,
        "ceiling": answers.CEILING,
        "fewest_bounced": answers.FEWEST_BOUNCED,
        "arms": PROFILED,
        "rates": RATES,
        "rate_pairs": RATE_PAIRS,
        "cell_pairs": CELL_PAIRS,
        "measures": MEASURES,
        "short": short,
        "pull": PULL,
        "pictures": {"profiles": PROFILES, "differences": FOREST},
    }


def progress(runs: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return, by stage, how many of its runs are there, and of how many."""
    left = missing(set(runs["run_id"]))
    planned = missing(())
    return {name: (len(planned[name]) - len(left[name]), len(planned[name])) for name in stages()}


def short(task: str) -> str:
    """Return a task's name for the pages, its strength of weight decay as in the plan.

    >>> short("PPO CartPole-v1, adamw 3"), short("PPO CartPole-v1, adamw 0.0782"), short("SAC-SimBa Pendulum-v1")
    ('PPO CartPole, ηλN 3', 'PPO CartPole, ηλN 0.078', 'SAC-SimBa Pendulum')
    """
    env, regularized, strength = task.partition(", adamw ")
    return env.rpartition("-v")[0] + (f", ηλN {float(strength):.2g}" if regularized else "")


def num_envs(cells: Iterable[str]) -> int:
    """Return in how many environments cells are: tasks of several agents may share one.

    >>> num_envs(["PPO CartPole-v1, adamw 3", "DQN CartPole-v1", "SAC Pendulum-v1"])
    2
    """
    return len({answers.task_of(cell).rpartition(" ")[2] for cell in cells})


def plain(cells: dict[str, Cell]) -> dict[str, Cell]:
    """Return the cells without weight decay of agents that have no KL divergence to be led by."""
    return {task: cell for task, cell in cells.items() if not cell.strength and not task.startswith("PPO")}


def regularized(cells: dict[str, Cell]) -> dict[str, Cell]:
    """Return the cells with weight decay."""
    return {task: cell for task, cell in cells.items() if cell.strength}


def bounced(results: Results, cells: dict[str, Cell]) -> list[dict[str, Any]]:
    """Return how often a norm bounced at a constant rate, a row for each cell and part that was measured."""
    at_presets = results.runs["rate_multiplier"] == 1
    moved = movements(Results(results.runs[at_presets], results.evaluations, results.traces))
    if not len(moved):
        return []
    return [
        {"task": task, "part": part, "learned": cells[str(task)].learned, "counts": counted(of)}
        for (task, part), of in moved.groupby(["task", "part"])
        if str(task) in cells
    ]


def sections(learned: dict[str, Profiled], cells: dict[str, Cell]) -> dict[str, list[tuple[str, Interval, bool]]]:
    """Return the rows of the figure of differences, by what is compared: task, difference, whether at the ceiling."""
    trained = {task: cell for task, cell in cells.items() if cell.learned}
    at_rates = (
        ("PPO over base rates: AutoLearningRate − constant rate", (KL_FINAL, UNDISTURBED), "mean"),
        ("PPO over base rates: AutoLearningRate with its final decay − without", (KL_FINAL, KL), "mean"),
        ("PPO, best rate of each: one decay near the end − linear decay", (CANDIDATE, BASELINE), "best"),
        ("PPO, best rate of each: one decay near the end − none", (CANDIDATE, UNDISTURBED), "best"),
        ("PPO, best rate of each: linear to 0 near the end − one decay there", (COOLDOWN, CANDIDATE), "best"),
    )
    rows = {
        heading: [
            (short(task), getattr(of.differences["score"][pair], which), False)
            for task, of in learned.items()
            if which != "best" or pair not in of.at_ceiling
        ]
        for heading, pair, which in at_rates
    }
    for heading, pair, of in (
        ("no weight decay, not PPO: one decay near the end − none", (CANDIDATE, UNDISTURBED), plain(trained)),
        ("weight decay: one decay near the end − none", (CANDIDATE, UNDISTURBED), regularized(trained)),
        ("norms that bounce: decays after bounces − without", (ABEL, CANDIDATE), answers.with_bounces(cells)),
    ):
        rows[heading] = [
            (short(task), found.mean, pair in of[task].at_ceiling) for task, found in answers.of_pair(of, pair).items()
        ]
    return {heading: of for heading, of in rows.items() if of}
