"""Which rows of a folder are of one training: told by the clock, and by the norm where the clock does not say."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rl_abel.inspection.readers.csv_table import TOTAL, Row

FIRST = 5
"""Increments of the clock that tell how far apart its ticks are."""

JUMP = 0.02
"""Share of the norm by which one training may differ from itself where it was resumed, besides its usual steps."""

Curves = dict[str, list[tuple[int, float]]]
"""Name -> (timestep, value), in order."""


@dataclass
class Block:
    """Rows that one ``learn()`` has written, their clock going forward.

    :param rows: timestep and values, oldest first
    :param begin: timestep at which that ``learn()`` began, None where it is not known
    :param folder: where the rows are
    :param series: what a block that goes on from this one is likely to share, names without their numbers
    :param names: the same, more closely: names without the number that is the timestep
    :param curves: what else was logged, name -> (timestep, value); it tells nothing of what belongs together
    :param about: what the log says of the training, as its algorithm
    """

    rows: list[Row]
    begin: int | None = None
    folder: str = ""
    series: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
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
    overtakes goes. One that goes on is the same run, unless the norm says that it is another's.
    """
    runs: list[Run] = []
    for block in blocks:
        if not block.rows:
            continue
        run = _goes_on_with(block, runs) if block.begin is None else _resumed(block, block.begin, runs)
        if run is None:
            runs.append(Run(list(block.rows), [block]))
            continue
        first, told = block.rows[0]
        # What is in force is logged again where a training goes on: no measurement takes the place of another.
        again = block.begin is None and TOTAL not in told
        # A checkpoint saved where a resume began is of both; a row logged there is the later one's.
        cut = first + again if block.begin is None else min(block.begin + 1, first)
        kept = [row for row in run.rows if row[0] < cut]
        # The end of one learn() may be written once more at the start of the next.
        run.overtaken += sum(timestep > first and TOTAL in values for timestep, values in run.rows)
        run.rows = kept + list(block.rows)
        run.blocks.append(block)
    return runs


def _resumed(block: Block, begin: int, runs: Sequence[Run]) -> Run | None:
    """Return the run that a block goes on with whose beginning is known, None if it is a new one."""
    if begin == 0:
        return None
    exact = [run for run in runs if any(timestep == begin for timestep, _ in run.rows)]
    if len(exact) > 1:
        exact = [run for run in exact if any(block.names & other.names for other in run.blocks)]
    if exact:
        return exact[-1]
    related = [run for run in runs if any(block.series & other.series for other in run.blocks)]
    return next((run for run in reversed(related) if run.rows[0][0] <= begin and _here(block, run)), None)


def _here(block: Block, run: Run) -> bool:
    return any(other.folder == block.folder for other in run.blocks)


def _goes_on_with(block: Block, runs: Sequence[Run]) -> Run | None:
    """Return the run that a block goes on with, by clock and norm; None if it is a new one."""
    related = [run for run in runs if _here(block, run) and not _starts_anew(block.rows, run.rows)]
    # Of several the nearest, and the latest of those.
    return min(reversed(related), key=lambda run: _distance(block.rows, run.rows), default=None)


def _starts_anew(rows: Sequence[Row], before: Sequence[Row]) -> bool:
    first, end = rows[0][0], before[-1][0]
    if first <= before[0][0]:
        return True
    began = first - _tick(rows) if len(rows) > 1 else first
    at_start = began <= first / 2
    jumps = _distance(rows, before) > 1
    if first <= end:
        return at_start or jumps
    # It goes forward: a run that has just begun only if nothing else speaks for its being the same.
    return at_start and began < end / 2 and jumps


def _tick(rows: Sequence[Row]) -> float:
    clock = [timestep for timestep, _ in rows[: FIRST + 1]]
    return statistics.median(now - then for then, now in pairwise(clock))


def _distance(rows: Sequence[Row], before: Sequence[Row]) -> float:
    """Jump of the norm where rows follow others, over what is usual; 0 where no norms tell."""
    new, old = _norms(rows), _norms(before)
    if not new or not old:
        return 0.0
    timestep, norm = new[0]
    place = bisect.bisect_right([when for when, _ in old], timestep)
    near = old[max(0, place - FIRST) : place + FIRST]
    expected = old[max(0, place - 1)][1]
    if 0 < place < len(old):
        (left, low), (right, high) = old[place - 1], old[place]
        expected = low + (high - low) * (timestep - left) / max(1, right - left)
    steps = [abs(b - a) for part in (near, new[: FIRST + 1]) for (_, a), (_, b) in pairwise(part)]
    usual = JUMP * max(abs(expected), abs(norm)) + 3 * max(steps, default=0.0)
    return abs(norm - expected) / usual if usual > 0 else 0.0


def _norms(rows: Sequence[Row]) -> list[tuple[int, float]]:
    return [(timestep, v[TOTAL]) for timestep, v in rows if TOTAL in v and math.isfinite(v[TOTAL])]
