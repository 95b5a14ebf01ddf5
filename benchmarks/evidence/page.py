"""The pages of the study, from the committed files alone: ``write_page``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.automatic.answers import answer as automatic_answer
from benchmarks.automatic.answers import falls, verdicts
from benchmarks.automatic.stages import AUTOMATIC, KINDS
from benchmarks.evidence import answers, base_rates, figures, settings, thinned
from benchmarks.evidence.answers import ABEL, CELL_PAIRS, RATE_PAIRS, Cell, Profiled
from benchmarks.evidence.base_rates import Task
from benchmarks.evidence.names import FILTERS, short
from benchmarks.evidence.settings import FirstStudy, Setting
from benchmarks.evidence.stages import ACTING, EVIDENCE, FEWEST_SEEDS, PROFILED, RATES
from benchmarks.plan import LED
from benchmarks.report.answers import BASELINE, CANDIDATE, UNDISTURBED
from benchmarks.report.movements import counted, movements
from benchmarks.report.scores import MEASURES
from benchmarks.results import Results
from benchmarks.statistics.effects import errors_seen
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.sensitivity import BARS
from benchmarks.statistics.verdicts import MARGIN, WIDE_MARGIN, judged
from benchmarks.words import templates, wrapped

DQN = "DQN CartPole-v1"
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
    found = context(results) | of_automatic(folder)
    tasks = found["tasks"]
    if tasks:
        any_rate = found["decisions"]["kl"].changes
        title = "With AutoLearningRate it hardly matters which learning rate PPO begins with"
        drawn = figures.profiles(tasks, title if any_rate else "PPO by the learning rate it begins with")
        (folder / PROFILES).write_bytes(drawn)
    if found["questions"]:
        title = "AutoLearningRate: far better than a bad rate, not than linear decay from the best of six"
        title = title if found["insured"] else "What pays"
        (folder / FOREST).write_bytes(figures.differences(found["questions"], title))
    environment = templates("benchmarks.evidence")
    environment.filters |= {f.__name__: f for f in FILTERS}
    for name in (PAGE, DETAILS):
        text = environment.get_template(f"{name}.j2").render(found)
        (folder / name).write_text(wrapped(text), encoding="utf-8")
    return folder / PAGE


def context(results: Results) -> dict[str, Any]:
    """Return what the templates fill in, of both pages."""
    ids = set(results.runs["run_id"])
    dense, sparse = thinned.by_number(results), thinned.too_sparse(results)
    results = thinned.without_dense(results)
    runs = answers.scored(results)
    profiles, cells = answers.profiled(runs), answers.cells(runs)
    progressed = EVIDENCE.progressed(ids)
    first_page = of_first_page(runs, results, profiles, cells)
    shared = {
        "decisions": answers.decisions(profiles, cells),
        "stages": progressed,
        "unfinished": {name: (done, planned) for name, (done, planned) in progressed.items() if done < planned},
        "too_few": [name for name in progressed if not EVIDENCE.counts(name, ids)],
        "done_and_planned": tuple(map(sum, zip(*progressed.values()))),
        "num_runs": len(ids),
        "ceiling": answers.CEILING,
        "fewest_seeds": FEWEST_SEEDS,
        "errors_seen": errors_seen(FEWEST_SEEDS),
        "rates": RATES,
        "pictures": {"profiles": PROFILES, "differences": FOREST},
    }
    return shared | first_page | of_details(runs, results, profiles, cells) | of_thinned(dense, sparse, ids)


def of_first_page(
    runs: pd.DataFrame, results: Results, profiles: dict[str, Profiled], cells: dict[str, Cell]
) -> dict[str, Any]:
    """Return what the first page alone needs.

    ``tasks``, see :mod:`benchmarks.evidence.base_rates`; ``final``, one decay near the end minus none by setting, and
    ``to_linear``, minus linear decay; ``usual`` and ``strong``, those of ``final`` by strength of weight decay;
    ``bouncing``, decays after a bounce minus none, where enough runs make any, and ``after_bounces``, the same of both
    studies by what they say; ``bounces``, how many norms do; ``first``, the first study; ``questions``, the rows of the
    figure; ``insured``, whether AutoLearningRate beats a constant rate over base rates on every task, and linear decay
    from its best rate on none.
    """
    standard = settings.at_presets(runs)
    strengths = {task: cell.strength for task, cell in cells.items()}
    moved = movements(Results(results.runs[results.runs["rate_multiplier"] == 1], results.evaluations, results.traces))
    tasks = base_rates.tasks(runs, results, profiles)
    final = settings.settings(standard, CANDIDATE, UNDISTURBED)
    strong = {task: of for task, of in final.items() if strengths[task] >= settings.USUAL}
    usual = {task: of for task, of in final.items() if task not in strong}
    bouncing = settings.bouncing(settings.settings(standard, ABEL, CANDIDATE))
    first = settings.first_study()
    to_linear = settings.settings(standard, CANDIDATE, BASELINE)
    return {
        "tasks": tasks,
        "seeds": " or ".join(map(str, sorted({of.num_seeds for of in tasks.values()}))),
        "insured": bool(tasks)
        and all(of.over_all[UNDISTURBED].mean.low > 0 >= of.best_linear.mean.low for of in tasks.values()),
        "near_helps": sum(of.near.mean.low > 0 for of in tasks.values()),
        "one_rate": base_rates.FIXED_RATE,
        "apart_early": max((of.apart.early for of in tasks.values()), default=float("nan")),
        "least_p": min((of.apart.p for of in tasks.values()), default=float("nan")),
        "final": final,
        "dqn_late": base_rates.late(standard[(standard["task"] == DQN) & ~standard["regularized"]], results),
        "usual": usual,
        "strong": strong,
        "to_linear": to_linear,
        "worse_linear": settings.clear({task: of for task, of in to_linear.items() if of.effect.mean.estimate > 0}),
        "ppo_gains": {task: of for task, of in settings.clear(usual).items() if task in tasks},
        "bars": BARS,
        "bouncing": bouncing,
        "after_bounces": settings.after_bounces(bouncing, first),
        "bounces": settings.bounces(moved, strengths) if len(moved) else {},
        "usual_strength": settings.USUAL,
        "usual_range": " and ".join(
            f"{of:.2f}" for of in sorted({s for s in strengths.values() if 0 < s < settings.USUAL})
        ),
        "clear": settings.clear,
        "least": settings.LEAST,
        "slow_rate": settings.SLOW,
        "first": first,
        "questions": questions(tasks, usual, bouncing, first),
        "fewest_bounced": answers.FEWEST_BOUNCED,
    }


def of_automatic(folder: Path) -> dict[str, Any]:
    """Return what the first page needs of another study, None in place of each if that has no run.

    ``automatic``: which kinds of agents it has decided on, and on how many seeds; ``falls``, see
    :func:`benchmarks.automatic.answers.falls`.
    """
    if (results := AUTOMATIC.saved(folder)) is None:
        return {"automatic": None, "falls": None}
    found = automatic_answer(results.runs)
    told = {kind: of[LED[0]].ships for kind, of in verdicts(found).items() if LED[0] in of}
    seeds = {
        kind: min((of.seeds for name, of in found.items() if name.partition(",")[0] in agents), default=0)
        for kind, agents in KINDS.items()
    }
    decided = {kind: (ships, seeds[kind]) for kind, ships in told.items() if ships is not None}
    return {"automatic": decided, "falls": falls(results.runs)}


def of_details(
    runs: pd.DataFrame, results: Results, profiles: dict[str, Profiled], cells: dict[str, Cell]
) -> dict[str, Any]:
    """Return what the page of details needs.

    ``profiles``, ``learned`` and ``cells``, see :mod:`benchmarks.evidence.answers`; ``bounced``, how often each part's
    norm bounced at the preset's rate; ``savings``, what a batch that grows takes of the work.
    """
    learned = {task: of for task, of in profiles.items() if of.learned}

    def over_rates_of(pair: tuple[str, str], which: str) -> dict[str, Interval]:
        return {task: getattr(of.differences["score"][pair], which) for task, of in learned.items()}

    return {
        "profiles": profiles,
        "learned": learned,
        "cells": cells,
        "bounced": bounced(results, cells),
        "savings": {arm: answers.savings(runs, arm) for arm in ACTING if arm != "abel-part"},
        "regularized": regularized({task: cell for task, cell in cells.items() if cell.learned}),
        "over_rates_of": over_rates_of,
        "of_pair": answers.of_pair,
        "over_tasks": answers.over_tasks,
        "judged": lambda difference: judged(difference, MARGIN, WIDE_MARGIN),
        "arms": PROFILED,
        "rate_pairs": RATE_PAIRS,
        "cell_pairs": CELL_PAIRS,
        "measures": MEASURES,
        "short": short,
    }


def of_thinned(dense: pd.DataFrame, sparse: dict[str, int], ids: set[str]) -> dict[str, Any]:
    """Return what the rule finds by number of measurements, and whether more than now become the default."""
    by_number = thinned.recall_and_false(dense) if len(dense) else None
    more = thinned.more_pays(by_number) if EVIDENCE.counts("measurements", ids) else None
    return {"thinned": by_number, "too_sparse": sparse, "more_measurements": more}


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


def questions(
    tasks: Mapping[str, Task],
    usual: Mapping[str, Setting],
    bouncing: Mapping[str, Setting],
    first: FirstStudy,
) -> dict[str, list[tuple[str, Interval]]]:
    """Return what the figure of differences shows: what is compared -> setting and difference, none left out."""
    plain = {task: of for task, of in first.final.items() if ", adamw" not in task}
    rows = {
        "PPO, rate not known:\nAutoLearningRate − constant rate": [
            (short(task), of.over_all[UNDISTURBED].mean) for task, of in tasks.items()
        ],
        "PPO, the preset's rate:\nAutoLearningRate − constant rate": [
            (short(task), of.at_preset.mean) for task, of in tasks.items()
        ],
        "PPO, a rate near the preset's:\nAutoLearningRate − constant rate": [
            (short(task), of.near.mean) for task, of in tasks.items()
        ],
        "PPO, the best of six rates:\nAutoLearningRate − linear decay": [
            (short(task), of.best_linear.mean) for task, of in tasks.items()
        ],
        "no weight decay, or AdamW's default:\none decay near the end − none": [
            *_effects(usual),
            *((f"{name} (first study)", of) for name, of in _effects(plain) if usual),
        ],
        "the weight norm bounces:\nwith decays after bounces − without": [
            *_effects(bouncing),
            *((f"{name} (first study)", of) for name, of in _effects(first.bounces) if bouncing),
        ],
    }
    return {heading: of for heading, of in rows.items() if of}


def _effects(found: Mapping[str, Setting]) -> list[tuple[str, Interval]]:
    return [(short(task), of.effect.mean) for task, of in found.items()]
