"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.evidence import answers, figures, thinned
from benchmarks.evidence.answers import ABEL, CELL_PAIRS, KL_FINAL, RATE_PAIRS, Cell, Profiled
from benchmarks.evidence.stages import ACTING, EVIDENCE, PROFILED, RATES
from benchmarks.plan import PULL
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED
from benchmarks.report.movements import counted, movements
from benchmarks.report.scores import MEASURES
from benchmarks.results import Results
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.verdicts import MARGIN, WIDE_MARGIN, judged
from benchmarks.words import templates, wrapped

PAGE, DETAILS = "evidence.md", "evidence_details.md"
PROFILES, FOREST = "evidence_profiles.png", "evidence_differences.png"


def write_page(folder: Path) -> Path:
    """Write both pages and their figures beside the saved runs in ``folder``; return the first page.

    :raises ValueError: if there is no saved run
    """
    if (results := EVIDENCE.saved(folder)) is None:
        raise ValueError(f"there is no saved run of {EVIDENCE.name} in {folder}; run and save come first")
    return write(results, folder)


def write(results: Results, folder: Path) -> Path:
    """Write both pages of these runs and their figures into ``folder``; return the first page."""
    found = context(results)
    any_rate = found["decisions"]["kl"].changes
    if found["profiles"]:
        title = "With AutoLearningRate it hardly matters which learning rate PPO begins with"
        drawn = figures.profiles(found["profiles"], title if any_rate else "PPO by the learning rate it begins with")
        (folder / PROFILES).write_bytes(drawn)
    if found["questions"]:
        title = "Better on every task: AutoLearningRate, where the rate is not tuned"
        (folder / FOREST).write_bytes(figures.differences(found["questions"], title if any_rate else "What pays"))
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
    ``stages``, how many runs of each are there, and of how many; ``questions``, the rows of the figure of differences;
    ``savings``, what a batch that grows takes of the work.
    """
    ids = set(results.runs["run_id"])
    progressed = EVIDENCE.progressed(ids)
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
        "more_measurements": thinned.more_pays(by_number) if EVIDENCE.counts("measurements", ids) else None,
        "savings": {arm: answers.savings(runs, arm) for arm in ACTING if arm != "abel-part"},
        "regularized": regularized(trained),
        "plain": plain(trained),
        "over_rates_of": over_rates_of,
        "stages": progressed,
        "unfinished": {name: (done, planned) for name, (done, planned) in progressed.items() if done < planned},
        "too_few": [name for name in progressed if not EVIDENCE.counts(name, ids)],
        "questions": questions(learned, cells),
        "of_pair": answers.of_pair,
        "over_tasks": answers.over_tasks,
        "num_tasks": lambda cells: len({answers.task_of(cell) for cell in cells}),
        "num_envs": num_envs,
        "means_of": lambda of, pair: {task: one.mean for task, one in answers.of_pair(of, pair).items()},
        "judged": lambda difference: judged(difference, MARGIN, WIDE_MARGIN),
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


def questions(learned: dict[str, Profiled], cells: dict[str, Cell]) -> dict[str, list[tuple[str, Interval]]]:
    """Return what the figure of differences shows: what is compared -> setting and difference, where there is room."""
    trained = {task: cell for task, cell in cells.items() if cell.learned}
    untuned, tuned, decay = (KL_FINAL, UNDISTURBED), (CANDIDATE, BASELINE), (CANDIDATE, UNDISTURBED)
    rows = {
        "PPO, rate not tuned:\nAutoLearningRate − constant rate": {
            task: of.differences["score"][untuned].mean for task, of in learned.items()
        },
        "PPO, rate tuned:\none decay near the end − linear decay": {
            task: of.differences["score"][tuned].best for task, of in learned.items() if tuned not in of.at_ceiling
        },
    }
    for heading, pair, of in (
        ("no weight decay:\none decay near the end − constant rate", decay, plain(trained)),
        ("weight decay (AdamW):\none decay near the end − constant rate", decay, regularized(trained)),
        (
            "the weight norm bounces:\nwith decays after bounces − without",
            (ABEL, CANDIDATE),
            answers.with_bounces(cells),
        ),
    ):
        found = answers.of_pair(of, pair).items()
        rows[heading] = {task: one.mean for task, one in found if pair not in of[task].at_ceiling}
    return {heading: [(short(task), value) for task, value in of.items()] for heading, of in rows.items() if of}
