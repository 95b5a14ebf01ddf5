"""Logs of one folder -> traces: tables, and TensorBoard's event files together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_abel.inspection.readers import event_file
from rl_abel.inspection.readers.csv_table import CURVES, PREFIX, Row, decoded, read_table, tag
from rl_abel.inspection.readers.resumed_runs import Block, Curves, join
from rl_abel.inspection.traces import Trace, make_trace, state_record

TABLES = ("progress.csv", "abel.csv", "trace.csv")
"""Tables that stand for their folder, and are read whatever their beginning looks like."""

IN_RUN_JSON = {"algorithm": "agent", "environment": "env_id"}

HEAD = 65536
"""Bytes of a file that tell what it is."""


def csv_traces(path: Path, where: Path) -> list[Trace] | None:
    """Return the traces of a table, none if it is a log without norms; None if it is no log."""
    with path.open("rb") as file:
        data = file.read(HEAD)
        if path.name not in TABLES and not read_table(decoded(data)).has_norms:
            return None
        table = read_table(decoded(data + file.read()))
    if not table.has_norms:
        return [] if table.has_clock else None
    source, record = "csv", _run_json(path)
    if record is not None:
        source = "run"
    blocks = [Block(rows, curves=curves) for rows, curves in map(_apart, table.blocks)]
    traces = _traces(str(where), source, blocks, table.every_row_new)
    if table.lost:
        traces[0].skipped[str(path)] = "; ".join(table.lost)
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


def _apart(rows: Sequence[Row]) -> tuple[list[Row], Curves]:
    """Return rows without what SB3 logs beside our tags, and that by name."""
    curves: Curves = {}
    for timestep, values in rows:
        for name in CURVES.values():
            if math.isfinite(values.get(name, math.nan)):
                curves.setdefault(name, []).append((timestep, values[name]))
    names = set(CURVES.values())
    return [(timestep, {n: v for n, v in values.items() if n not in names}) for timestep, values in rows], curves


def _traces(path: str, source: str, blocks: Sequence[Block], every_row_new: bool = False) -> list[Trace]:
    traces = []
    for run in join(blocks):
        try:
            trace = make_trace(path, source, run.rows, every_row_new, exact=every_row_new)
        except ValueError:
            continue
        about = {name: value for block in run.blocks for name, value in block.about.items()}
        trace = replace(trace, curves=run.curves, about=about)
        if run.overtaken:
            n = run.overtaken
            trace.notes.append(
                f"{n} measurement{'s' * (n > 1)} logged before a resume from an earlier timestep "
                f"{'are' if n > 1 else 'is'} left out"
            )
        traces.append(trace)
    if not traces:
        raise ValueError("it holds no measurement")
    return traces


def event_traces(paths: Sequence[Path], where: Path) -> tuple[list[Trace], dict[str, str]]:
    """Return the traces of the event files of one folder, in the order in which they were begun.

    :return: the traces, which hold what could not be read; files that could not be opened if there are none
    """
    begun: list[tuple[float, Path]] = []
    closed: dict[str, str] = {}
    cut: dict[str, str] = {}
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            closed[str(path)] = str(error)
            continue
        time = event_file.begun(data)
        begun.append((0.0 if time is None else time, path))
        if left := event_file.left_over(data):
            cut[str(path)] = f"cut off or damaged: its last {left:,} bytes are no whole record"
    blocks = []
    for _, path in sorted(begun):
        about = {name: value for name, value in event_file.hparams(path).items() if name in IN_RUN_JSON}
        for rows in event_blocks(event_file.scalars(path, (PREFIX, *CURVES))):
            ours, curves = _apart(rows)
            # A timestep that is SB3's alone is no row of ours.
            blocks.append(Block([row for row in ours if row[1]], about=about, curves=curves))
    try:
        traces = _traces(str(where), "tensorboard", blocks)
    except ValueError:
        return [], closed
    traces[0].skipped.update(closed | cut)
    return traces, {}


def event_blocks(scalars: Iterable[tuple[int, str, float]]) -> list[list[Row]]:
    """Make rows of (step, tag, value), a new block where the clock of any tag goes back.

    Tags may be written at timesteps of their own, in any order of tags. A tag that comes twice at one
    timestep makes two rows: the last update has the timestep of the last rollout.
    """
    blocks: list[dict[tuple[int, int], dict[str, float]]] = []
    last: dict[str, tuple[int, int]] = {}
    for step, name, value in scalars:
        if (bare := tag(name)) is None:
            continue
        before, times = last.get(bare, (-1, 0))
        if not blocks or step < before:
            blocks.append({})
            last, times = {}, 0
        times = times + 1 if step == before else 0
        last[bare] = (step, times)
        blocks[-1].setdefault((step, times), {})[bare] = value
    return [[(step, rows[step, times]) for step, times in sorted(rows)] for rows in blocks]
