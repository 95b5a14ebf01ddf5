"""How much the base rate and the settings of the decays matter: the stage "robust" of the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.report import words
from benchmarks.report.answers import BASELINE, CANDIDATE, STANDARD, UNDISTURBED, with_tasks
from benchmarks.report.tables import Table
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Comparison, scores_by_arm
from benchmarks.study.scores import SAME, by_bounce, difference, same_runs

ABEL = ("abel", CANDIDATE)
"""Two arms with the same settings."""

ALL = "all of them"


def settings_in_words(robust: Results) -> Iterator[str]:
    """Yield what the differences are over all base rates, and over all settings of the decays."""
    for name, rows in _compared(robust).items():
        said = "; ".join(f"{row.difference} {row.in_words}" for row in rows if row.label == ALL)
        yield f"{name}: {said}."


def by_rate_in_words(robust: Results) -> Iterator[str]:
    """Yield the difference to linear decay at each base rate that was tried, task by task."""
    runs = with_tasks(robust.runs)
    runs = runs[runs["score"].notna() & runs["arm"].isin((CANDIDATE, BASELINE))]
    fixed = [np.isclose(runs[key], STANDARD[key]) for key in ("decay_factor", "final_decay_at")]
    runs = runs[np.logical_and.reduce(fixed)]
    said = []
    for task, of_task in runs.groupby("task"):
        found = []
        for multiplier, of_rate in of_task.groupby("rate_multiplier"):
            scores = scores_by_arm(of_rate["task"], of_rate["arm"], map(int, of_rate["seed"]), of_rate["score"])
            if judged := difference(scores, CANDIDATE, BASELINE):
                found.append(f"× {multiplier:g} {words.interval(judged.overall.mean)}")
        if len(found) > 1:
            said.append(f"{task}: {', '.join(found)}")
    if said:
        yield (
            "How much constant + final decay differs from linear decay, whose rate is half as large on average, is a "
            f"matter of the base rate, here as a multiple of the preset's, on few seeds. {'; '.join(said)}."
        )


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

    :param bounced: runs of abel that decayed after a bounce, "1 of 10"; "–" if it is another arm
    """

    label: str
    difference: str
    found: Comparison
    verdict: str
    bounced: str

    @property
    def cells(self) -> tuple[str, ...]:
        pairs = sum(of_task.num_pairs for of_task in self.found.tasks.values())
        amounts = map(words.interval, (self.found.overall.mean, self.found.overall.iqm))
        return f"{pairs:,}", *amounts, self.verdict, self.bounced

    @property
    def in_words(self) -> str:
        said = f"{words.interval(self.found.overall.mean)} ({self.verdict})"
        return said if self.bounced == "–" else f"{said}, with a decay after a bounce in {self.bounced} runs"


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
            found = difference(scores, arm, other)
            if not found:
                continue
            bounced, of_all = by_bounce(of_label[of_label["arm"] == arm])
            same = arm == "abel" and not bounced and same_runs(scores, arm, other, found.tasks)
            verdict = SAME if same else found.overall.verdict
            yield _Row(
                label, f"{arm} − {other}", found, verdict, f"{bounced:,} of {of_all:,}" if arm == "abel" else "–"
            )
            if same and label == ALL:
                break  # each setting would say it again
