"""By how much should the last decay lower the rate, and when? The first study's settings against the default ones."""

from __future__ import annotations

import numpy as np

from benchmarks.report.answers import CANDIDATE, STANDARD, UNDISTURBED, with_tasks
from benchmarks.report.scores import between
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison
from benchmarks.words import Grid, cells, judged_as

SEEDS = range(5)
"""Of those settings; of the default one there are more."""

DEFAULT = (STANDARD["decay_factor"], STANDARD["final_decay_at"])


def decaying(results: Results) -> tuple[list[str], Grid]:
    """Constant + final decay at each setting, minus that at the default one, on runs of the same seeds.

    Runs without weight decay at the preset's base rate, of the tasks that have every setting, which come first.
    """
    differences = _against_default(results)
    rows = [
        (label, found.overall.num_pairs, found.mean, found.overall.iqm, judged_as(found.overall))
        for label, found in differences.items()
    ]
    tasks = sorted({task for found in differences.values() for task in found.tasks})
    return tasks, cells(("setting", "pairs a task", "mean", "IQM", "verdict"), rows)


def _against_default(results: Results) -> dict[str, Comparison]:
    runs = with_tasks(results.runs)
    runs = runs[runs["arm"].isin((CANDIDATE, UNDISTURBED)) & (runs["regularization"] == "none")]
    runs = runs[np.isclose(runs["rate_multiplier"], 1) & runs["score"].notna()]
    runs = runs[runs["seed"].isin(SEEDS)]
    settings = runs.groupby("task")[["decay_factor", "final_decay_at"]].nunique()
    runs = runs[runs["task"].isin(settings.index[(settings > 1).all(axis=1)])]
    labels = [
        _label(factor, at) if arm == CANDIDATE else "no decay"
        for arm, factor, at in zip(runs["arm"], runs["decay_factor"], runs["final_decay_at"])
    ]
    runs, default = runs.assign(label=labels), _label(*DEFAULT)
    found = {label: between(runs, label, default, by="label") for label in sorted(set(labels)) if label != default}
    return {label: of_label for label, of_label in found.items() if of_label}


def _label(decay_factor: float, final_decay_at: float) -> str:
    return f"factor {decay_factor:g} at {final_decay_at:.0%}".replace("%", " %")
