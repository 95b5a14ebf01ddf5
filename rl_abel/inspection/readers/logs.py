"""Logs of one folder -> traces: tables, and TensorBoard's event files together."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl_abel.inspection.readers.csv_table import CURVES, PREFIX, TOTAL, Row, read_table, tag
from rl_abel.inspection.readers.event_file import EventFile, read_events
from rl_abel.inspection.traces import Trace, make_trace, state_record
from rl_abel.inspection.words import count

TABLES = ("progress.csv", "abel.csv", "trace.csv")  # tables whose trace is named by their folder
IN_RUN_JSON = {"algorithm": "agent", "environment": "env_id"}

NO_RUN = "not a run: give a progress.csv, TensorBoard events, an SB3 zip, or a folder of them"
ROUTE = (
    "it holds no weight norms. If you have checkpoints (any zips that SB3 saved), give their folder: "
    "the norms are computed from the weights"
)


def csv_traces(path: Path) -> list[Trace]:
    """Return the traces of a table.

    :raises ValueError: where there is none, with the reason: ``NO_RUN``, ``ROUTE`` or another
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        table = read_table(file)
    if not table.has_norms:
        raise ValueError(ROUTE if table.blocks else NO_RUN)
    record: Any = None
    if path.name == "trace.csv":
        with suppress(OSError, ValueError, RecursionError):
            record = json.loads(path.with_name("run.json").read_bytes())
    # Others write files of that name, too.
    of_benchmark = isinstance(record, dict) and "run_id" in record
    where = path.parent if path.name in TABLES else path
    traces = _traces(str(where), "run" if of_benchmark else "csv", table.blocks, table.every_row_new)
    if not traces:
        raise ValueError("it holds no measurement")
    if table.lost:
        traces[0].skipped[str(path)] = table.lost
    if of_benchmark and len(traces) == 1:
        traces[0] = replace(
            traces[0],
            weight_decay=record.get("weight_decay"),
            record=state_record(record) or traces[0].record,
            about={name: str(record[key]) for name, key in IN_RUN_JSON.items() if key in record},
        )
    return traces


def event_traces(paths: Sequence[Path]) -> list[Trace]:
    """Return the traces of the event files of one folder, in the order in which they were begun.

    :raises ValueError: where there is none: why a file cannot be opened, else ``ROUTE``
    """
    files: list[EventFile] = []
    skipped: dict[str, str] = {}
    closed = ""
    for path in paths:
        try:
            files.append(read_events(path, (PREFIX, *CURVES)))
        except OSError as error:
            closed = skipped[str(path)] = str(error)
            continue
        if left := files[-1].left_over:
            skipped[str(path)] = f"cut off or damaged: its last {left:,} bytes are no whole record"
    blocks = [rows for file in sorted(files, key=lambda file: file.begun) for rows in event_blocks(file.scalars)]
    traces = _traces(str(paths[0].parent), "tensorboard", blocks)
    if not traces:
        raise ValueError(closed or ROUTE)
    traces[0].skipped.update(skipped)
    told = {item for file in files for item in file.hparams.items() if item[0] in IN_RUN_JSON}
    # Trainings of two algorithms in one folder: nothing tells which is which.
    about = dict(told) if len(dict(told)) == len(told) else {}
    return [replace(trace, about=about) for trace in traces]


def event_blocks(scalars: Iterable[tuple[int, str, float]]) -> list[list[Row]]:
    """Make rows of (step, tag, value), a new block where the clock of a tag of ours goes back.

    Tags may be written at timesteps of their own, in any order of tags. A tag that comes twice at one
    timestep makes two rows: the last update has the timestep of the last rollout.
    """
    blocks: list[dict[tuple[int, int], dict[str, float]]] = []
    last: dict[str, tuple[int, int]] = {}
    for step, name, value in scalars:
        if (bare := tag(name)) is None:
            continue
        before, times = last.get(bare, (-1, 0))
        if not blocks or (step < before and name not in CURVES):
            blocks.append({})
            last, times = {}, 0
        times = times + 1 if step == before else 0
        last[bare] = (step, times)
        blocks[-1].setdefault((step, times), {})[bare] = value
    return [[(step, rows[step, times]) for step, times in sorted(rows)] for rows in blocks]


def _traces(path: str, source: str, blocks: Iterable[Sequence[Row]], every_row_new: bool = False) -> list[Trace]:
    traces = []
    for run in join(blocks):
        with suppress(ValueError):
            traces.append(make_trace(path, source, run.rows, every_row_new))
            if run.overtaken:
                traces[-1].notes.append(
                    f"{count(run.overtaken, 'measurement')} from before a resume at an earlier timestep: left out"
                )
    return traces


@dataclass
class _Joined:
    """The rows of one training, and how many measurements a resume from before them has overtaken."""

    rows: list[Row]
    overtaken: int = 0


def join(blocks: Iterable[Sequence[Row]]) -> list[_Joined]:
    """Return the trainings, the blocks in the order in which they were written.

    A clock that is back at its start is a new run. One that goes back a little is a resume: what it
    overtakes goes. One that goes on is the same run.
    """
    runs: list[_Joined] = []
    for block in blocks:
        if not (ours := _ours(block)):
            continue
        run = next((run for run in reversed(runs) if not _starts_anew(ours, _ours(run.rows))), None)
        if run is None:
            runs.append(_Joined(list(block)))
            continue
        first, told = ours[0]
        # The factor in force is logged again where a training goes on: it does not replace a measurement there.
        kept = [row for row in run.rows if row[0] < first or (row[0] == first and TOTAL not in told)]
        run.overtaken += sum(timestep > first and TOTAL in values for timestep, values in run.rows)
        run.rows = [*kept, *block]
    return runs


def _ours(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that hold more than SB3's curves: these may have a clock of their own."""
    return [row for row in rows if not row[1].keys() <= set(CURVES.values())]


def _starts_anew(rows: Sequence[Row], before: Sequence[Row]) -> bool:
    few = rows[:6]
    first, end = rows[0][0], before[-1][0]
    tick = (few[-1][0] - first) / max(1, len(few) - 1)
    # A training begins one tick of its clock before its first row.
    return first <= before[0][0] or first - tick <= min(first, end) / 2
