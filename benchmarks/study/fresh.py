"""Do decays by a bounce cost? The stages "fresh seeds, …", added after the results were known, by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.report import words
from benchmarks.report.answers import CANDIDATE, with_tasks
from benchmarks.report.tables import Table
from benchmarks.results import Results
from benchmarks.statistics.equivalence import Verdict, scores_by_arm
from benchmarks.study.scores import SAME, by_bounce, difference, same_runs

ALL, DECAYED = "all", "that decayed after a bounce"


class _Row(NamedTuple):
    task: str
    label: str
    bounced: int
    found: Verdict
    verdict: str


def fresh_in_words(fresh: Results) -> Iterator[str]:
    """Yield, by task, what decays by a bounce bring on seeds that had no part in asking."""
    for task, label, bounced, found, verdict in _rows(fresh):
        if label == ALL:
            yield (
                f"Decays by a bounce on fresh seeds, {task}: abel decayed after one in {bounced} of {found.num_pairs} "
                f"runs; abel − constant + final decay {words.interval(found.mean)} ({verdict})."
            )


def decays_on_fresh_seeds(fresh: Results) -> Table:
    """What decays by a bounce bring on seeds that had no part in asking."""
    rows = [
        (task, label, f"{bounced} of {found.num_pairs}", *map(words.interval, (found.mean, found.iqm)), verdict)
        for task, label, bounced, found, verdict in _rows(fresh)
    ]
    note = (
        "abel minus constant + final decay, on seeds that no other table has. Until the first decay by a bounce both "
        "are the same training, so all of the difference is owed to the runs that have one."
    )
    header = ("task", "runs", "with a decay by a bounce", "mean", "IQM", "verdict")
    return Table("Decays by a bounce, on fresh seeds", note, header, rows)


def _rows(fresh: Results) -> Iterator[_Row]:
    runs = with_tasks(fresh.runs)
    runs = runs[runs["score"].notna()].sort_values(["task", "arm", "seed"], kind="stable")
    for task, of_task in runs.groupby("task"):
        decayed = of_task.loc[(of_task["arm"] == "abel") & of_task["decays"].str.contains('"bounce"'), "seed"]
        for label, chosen in ((ALL, of_task), (DECAYED, of_task[of_task["seed"].isin(decayed)])):
            scores = scores_by_arm(chosen["task"], chosen["arm"], map(int, chosen["seed"]), chosen["score"])
            if found := difference(scores, "abel", CANDIDATE):
                bounced, _ = by_bounce(chosen[chosen["arm"] == "abel"])
                same = not bounced and same_runs(scores, "abel", CANDIDATE, found.tasks)
                verdict = SAME if same else words.judged_as(found.overall)
                yield _Row(str(task), label, bounced, found.overall, verdict)
