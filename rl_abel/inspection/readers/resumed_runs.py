"""Which rows of a log are of one training, told by the clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rl_abel.inspection.readers.csv_table import TOTAL, Row

FIRST = 5
"""Increments of the clock that tell how far apart its ticks are."""

Curves = dict[str, list[tuple[int, float]]]
"""Name -> (timestep, value), in order."""


@dataclass
class Block:
    """Rows that one ``learn()`` has written, their clock going forward.

    :param rows: timestep and values, oldest first
    :param curves: what else was logged, name -> (timestep, value); it tells nothing of what belongs together
    :param about: what the log says of the training, as its algorithm
    """

    rows: list[Row]
    curves: Curves = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """One training, which may have been resumed.

    :param rows: timestep and values, oldest first
    :param blocks: what it was made of
    :param overtaken: measurements that were dropped, as a resume from before them has written others
    """

    rows: list[Row]
    blocks: list[Block]
    overtaken: int = 0

    @property
    def curves(self) -> Curves:
        """What else was logged; where a block goes on from an earlier timestep, it counts from there."""
        joined: Curves = {}
        for block in self.blocks:
            for name, points in block.curves.items():
                joined[name] = [point for point in joined.get(name, ()) if point[0] < points[0][0]] + points
        return joined


def join(blocks: Iterable[Block]) -> list[Run]:
    """Return the runs that blocks of rows make up, the blocks in the order in which they were written.

    A clock that is back at its start is a new run. One that goes back a little is a resume: what it
    overtakes goes. One that goes on is the same run.
    """
    runs: list[Run] = []
    for block in blocks:
        if not block.rows:
            continue
        run = next((run for run in reversed(runs) if not _starts_anew(block.rows, run.rows)), None)
        if run is None:
            runs.append(Run(list(block.rows), [block]))
            continue
        first, told = block.rows[0]
        # The factor in force is logged again where a training goes on: it does not replace a measurement there.
        kept = [row for row in run.rows if row[0] < first or (row[0] == first and TOTAL not in told)]
        # The end of one learn() may be written once more at the start of the next.
        run.overtaken += sum(timestep > first and TOTAL in values for timestep, values in run.rows)
        run.rows = kept + list(block.rows)
        run.blocks.append(block)
    return runs


def _starts_anew(rows: Sequence[Row], before: Sequence[Row]) -> bool:
    few = rows[: FIRST + 1]
    first, end = rows[0][0], before[-1][0]
    tick = (few[-1][0] - first) / max(1, len(few) - 1)
    # A training begins one tick before its first row.
    return first <= before[0][0] or first - tick <= min(first, end) / 2
