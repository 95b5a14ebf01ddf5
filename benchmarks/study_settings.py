"""How much the base rate and the settings of the decays matter: the stage "robust" of the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.equivalence import Comparison, compare, scores_by_arm
from benchmarks.report import words
from benchmarks.report.answers import CANDIDATE, SEED, STANDARD, UNDISTURBED, with_tasks
from benchmarks.report.tables import Table
from benchmarks.results import Results

ABEL = ("abel", CANDIDATE)
"""Two arms with the same settings."""

ALL = "all of them"
SAME = "the same runs"


def settings_in_words(robust: Results) -> Iterator[str]:
    """Yield what the differences are over all base rates, and over all settings of the decays."""
    for name, rows in _compared(robust).items():
        said = "; ".join(f"{row.difference} {row.in_words}" for row in rows if row.label == ALL)
        yield f"{name}: {said}."


def over_settings(robust: Results) -> Table:
    """Differences between arms at base rates, and settings of the decays, other than the standard ones."""
    rows = [
        (name if row.label == ALL else row.label, row.difference, *row.cells)
        for name, of_name in _compared(robust).items()
        for row in of_name
    ]
    note = (
        "Here × 1 is the preset's base rate for every arm, and no arm's own. Differences of the score, the mean over "
        "tasks and settings, with 95 % intervals; last, the runs of abel that decayed after a bounce."
    )
    header = ("setting", "difference", "pairs", "mean", "IQM", "verdict", "decays by a bounce")
    return Table("At other settings", note, header, rows)


@dataclass(frozen=True)
class _Row:
    """Two arms at one setting, or over all.

    :param bounced: runs of the first arm that decayed after a bounce, of all its runs; None if it
        is not abel
    """

    label: str
    difference: str
    found: Comparison
    bounced: tuple[int, int] | None

    @property
    def verdict(self) -> str:
        overall = self.found.overall
        same = self.bounced is not None and self.bounced[0] == 0 and {*overall.mean, *overall.iqm} == {0.0}
        return SAME if same else overall.verdict

    @property
    def cells(self) -> tuple[str, ...]:
        pairs = sum(of_task.num_pairs for of_task in self.found.tasks.values())
        amounts = map(words.interval, (self.found.overall.mean, self.found.overall.iqm))
        return f"{pairs:,}", *amounts, self.verdict, "{:,} of {:,}".format(*self.bounced) if self.bounced else "–"

    @property
    def in_words(self) -> str:
        said = f"{words.interval(self.found.overall.mean)} ({self.verdict})"
        return f"{said}, with a decay after a bounce in {self.cells[-1]} runs" if self.bounced else said


def _compared(robust: Results) -> dict[str, list[_Row]]:
    runs = with_tasks(robust.runs)
    runs = runs[runs["score"].notna()].sort_values(list(STANDARD), kind="stable")
    found = {}
    for name, keys, form, pairs in (
        (
            "Over all base rates",
            ["rate_multiplier"],
            "base rate × {:g}",
            ((CANDIDATE, "linear"), (CANDIDATE, UNDISTURBED), ABEL),
        ),
        (
            "Over all settings of the decays",
            ["decay_factor", "final_decay_at"],
            "decay factor {:g}, final decay at {:g}",
            (ABEL,),
        ),
    ):
        fixed = {key: value for key, value in STANDARD.items() if key not in keys}
        chosen = runs[np.logical_and.reduce([runs[key] == value for key, value in fixed.items()])]
        labels = [form.format(*values) for values in chosen[keys].to_numpy()]
        if len(set(labels)) > 1 and (rows := list(_rows(chosen.assign(label=labels), pairs))):
            found[name] = rows
    return found


def _rows(runs: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Iterator[_Row]:
    for arm, other in pairs:
        for label in (ALL, *dict.fromkeys(runs["label"])):
            of_label = runs if label == ALL else runs[runs["label"] == label]
            cells = of_label["task"] + ", " + of_label["label"]
            scores = scores_by_arm(cells, of_label["arm"], of_label["seed"], of_label["score"])
            if _have_pairs(scores, (arm, other)):
                decays = of_label.loc[of_label["arm"] == arm, "decays"].str.contains('"bounce"')
                bounced = (int(decays.sum()), len(decays)) if arm == "abel" else None
                found = compare(scores, arm, other, np.random.default_rng(SEED))
                row = _Row(label, f"{arm} − {other}", found, bounced)
                yield row
                if label == ALL and row.verdict == SAME:
                    break


def _have_pairs(scores: dict[str, dict[str, dict[int, float]]], arms: Sequence[str]) -> bool:
    of_arms = [scores.get(arm, {}) for arm in arms]
    return any(set.intersection(*(set(tasks.get(task, ())) for tasks in of_arms)) for task in of_arms[0])
