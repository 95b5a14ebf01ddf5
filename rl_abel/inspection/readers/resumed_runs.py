"""Which rows of a log are of one training, told by the clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rl_abel.inspection.readers.csv_table import CURVES, TOTAL, Row

FIRST = 5
"""Increments of the clock that tell how far apart its ticks are."""


@dataclass
class Run:
    """One training, which may have been resumed.

    :param rows: timestep and values, oldest first
    :param overtaken: measurements that were dropped, as a resume from before them has written others
    """

    rows: list[Row]
    overtaken: int = 0


def join(blocks: Iterable[Sequence[Row]]) -> list[Run]:
    """Return the runs that blocks of rows make up, the blocks in the order in which they were written.

    A clock that is back at its start is a new run. One that goes back a little is a resume: what it
    overtakes goes. One that goes on is the same run.
    """
    runs: list[Run] = []
    for block in blocks:
        if not (ours := _ours(block)):
            continue
        run = next((run for run in reversed(runs) if not _starts_anew(ours, _ours(run.rows))), None)
        if run is None:
            runs.append(Run(list(block)))
            continue
        first, told = ours[0]
        # The factor in force is logged again where a training goes on: it does not replace a measurement there.
        kept = [row for row in run.rows if row[0] < first or (row[0] == first and TOTAL not in told)]
        # The end of one learn() may be written once more at the start of the next.
        run.overtaken += sum(timestep > first and TOTAL in values for timestep, values in run.rows)
        run.rows = kept + list(block)
    return runs


def _ours(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that hold more than SB3's curves: these may have a clock of their own."""
    return [row for row in rows if not row[1].keys() <= set(CURVES.values())]


def _starts_anew(rows: Sequence[Row], before: Sequence[Row]) -> bool:
    few = rows[: FIRST + 1]
    first, end = rows[0][0], before[-1][0]
    tick = (few[-1][0] - first) / max(1, len(few) - 1)
    # A training begins one tick before its first row.
    return first <= before[0][0] or first - tick <= min(first, end) / 2
