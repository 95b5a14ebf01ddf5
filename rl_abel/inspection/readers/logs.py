"""Logs of one folder -> traces: tables, and TensorBoard's event files together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_abel.inspection.readers.csv_table import CURVES, PREFIX, Row, read_table, tag
from rl_abel.inspection.readers.event_file import read_events
from rl_abel.inspection.readers.resumed_runs import join
from rl_abel.inspection.traces import Trace, make_trace, state_record

TABLES = ("progress.csv", "abel.csv", "trace.csv")
"""Tables that stand for their folder."""

IN_RUN_JSON = {"algorithm": "agent", "environment": "env_id"}

NO_RUN = "not a run: give a progress.csv, TensorBoard events, an SB3 zip, or a folder of them"
ROUTE = (
    "it holds no weight norms. If you have checkpoints (any zips that SB3 saved), give their folder: "
    "the norms are computed from the weights"
)
EMPTY = "it holds no measurement"


def csv_traces(path: Path) -> list[Trace]:
    """Return the traces of a table.

    :raises ValueError: ``NO_RUN``, ``ROUTE`` or ``EMPTY``, where there is none
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        table = read_table(file)
    if not table.has_norms:
        raise ValueError(ROUTE if table.blocks else NO_RUN)
    record = _run_json(path)
    where = path.parent if path.name in TABLES else path
    source = "csv" if record is None else "run"
    traces = _traces(str(where), source, table.blocks, table.every_row_new)
    if not traces:
        raise ValueError(EMPTY)
    if table.lost:
        traces[0].skipped[str(path)] = table.lost
    if record and len(traces) == 1:
        weight_decay = record.get("weight_decay")
        traces[0] = replace(
            traces[0],
            weight_decay=float(weight_decay) if isinstance(weight_decay, (int, float)) else traces[0].weight_decay,
            record=state_record(record) or traces[0].record,
            about={name: str(record[key]) for name, key in IN_RUN_JSON.items() if key in record},
        )
    return traces


def _run_json(path: Path) -> dict[str, Any] | None:
    """Return what the benchmark's run.json beside its trace.csv holds; others write files of that name too."""
    if path.name != "trace.csv":
        return None
    try:
        record = json.loads(path.with_name("run.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "run_id" in record else None


def event_traces(paths: Sequence[Path]) -> list[Trace]:
    """Return the traces of the event files of one folder, in the order in which they were begun.

    :raises ValueError: where there is none: why files cannot be opened, else ``ROUTE``
    """
    files, skipped, cut = [], {}, {}
    for path in paths:
        try:
            files.append(read_events(path, (PREFIX, *CURVES)))
        except OSError as error:
            skipped[str(path)] = str(error)
            continue
        if files[-1].left_over:
            cut[str(path)] = f"cut off or damaged: its last {files[-1].left_over:,} bytes are no whole record"
    blocks = [rows for file in sorted(files, key=lambda file: file.begun) for rows in event_blocks(file.scalars)]
    traces = _traces(str(paths[0].parent), "tensorboard", blocks)
    if not traces:
        raise ValueError("; ".join(skipped.values()) or ROUTE)
    traces[0].skipped.update(skipped | cut)
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
            if n := run.overtaken:
                note = f"{n} measurement{'s' * (n > 1)} logged before a resume from an earlier timestep: left out"
                traces[-1].notes.append(note)
    return traces
