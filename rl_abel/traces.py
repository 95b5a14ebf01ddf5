"""Finished runs -> traces of weight norms: benchmark folders, progress.csv, TensorBoard, checkpoints."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rl_abel.events import scalars

PREFIX = "abel/"
NORM = "weight_norm_"
TOTAL = "weight_norm_total"
TERMS = ("displacement_total", "alignment_total")
"""What ``AbelCallback(diagnose=True)`` adds, of which the explanation is made."""

EVENTS = "events.out.tfevents"
ROUTE = (
    "it holds no weight norms. If you have checkpoints (CheckpointCallback's *_steps.zip), give their folder: "
    "the norms are computed from the weights"
)

Row = tuple[int, dict[str, float]]
"""Timestep, and what a log holds of it, under our tags without their prefix."""


@dataclass(frozen=True)
class Trace:
    """The weight norms of one run.

    :param path: of the file or folder
    :param source: "run", "csv", "tensorboard" or "checkpoints"
    :param timesteps: of the measurements, (n,)
    :param norms: |w|^2 by part, (n,) each; "total" is always there
    :param terms: displacement and alignment of the total norm since the measurement before, (n,)
        each, NaN where unknown; empty if they were not recorded
    :param weight_decay: coefficient of the optimizer, None if it was not recorded
    :param skipped: files of the series that could not be read, with the reason
    """

    path: str
    source: str
    timesteps: list[int]
    norms: dict[str, list[float]]
    terms: dict[str, list[float]] = field(default_factory=dict)
    weight_decay: float | None = None
    skipped: dict[str, str] = field(default_factory=dict)


def read_path(path: Path) -> Iterator[Trace | tuple[str, str]]:
    """Yield the trace of every run at or below a path, or (path, reason) for what cannot be read."""
    if not path.exists():
        yield str(path), "no such file or folder"
    elif path.is_file():
        yield from _attempt(path, [path.name], path.parent, named=True)
    else:
        found = False
        for folder, _, files in sorted(os.walk(path)):
            for result in _attempt(Path(folder), files, Path(folder), named=False):
                found = True
                yield result
        if not found:
            yield str(path), "no run in it: no run.json, progress.csv, TensorBoard events or *_steps.zip"


def _attempt(path: Path, files: list[str], folder: Path, named: bool) -> Iterator[Trace | tuple[str, str]]:
    """Yield what the files of one folder give: the first of the sources that holds norms."""
    readers: list[tuple[str, Callable[[], list[Row]]]] = []
    zips = sorted(name for name in files if name.endswith("_steps.zip") or (named and name.endswith(".zip")))
    if "run.json" in files:
        readers.append(("run", lambda: _run_rows(folder)))
    else:
        tables = [name for name in files if name == "progress.csv" or (named and name.endswith(".csv"))]
        events = sorted(name for name in files if EVENTS in name)
        if tables:
            readers.append(("csv", lambda: _csv_rows(folder / tables[0], "time/total_timesteps", _wanted)))
        if events:
            readers.append(("tensorboard", lambda: _event_rows([folder / name for name in events])))
    reasons = {}
    for source, read in readers:
        try:
            trace = _trace(path, source, read())
        except (OSError, ValueError) as error:
            reasons[source] = " ".join(str(error).split())[:200]
        else:
            yield trace
            return
    if zips:
        yield from _checkpoint_traces(path, [folder / name for name in zips], named)
    elif reasons:
        yield str(path), "; ".join(dict.fromkeys(reasons.values()))
    elif named:
        yield str(path), "not a run: give a progress.csv, TensorBoard events, an SB3 zip, or a folder of them"


def _wanted(tag: str) -> str | None:
    """Name of a log's tag without its prefix, None for those that are not ours."""
    name = tag.removeprefix(PREFIX)
    return name if tag != name and (name in (*TERMS, "weight_decay") or name.startswith(NORM)) else None


def _run_rows(folder: Path) -> list[Row]:
    def wanted(column: str) -> str | None:
        if column in ("timesteps", *TERMS):
            return column
        return None if column.startswith(("displacement_", "alignment_", "layer/")) else NORM + column

    rows = _csv_rows(folder / "trace.csv", "timesteps", wanted)
    record = json.loads((folder / "run.json").read_bytes())
    weight_decay = record.get("weight_decay") if isinstance(record, dict) else None
    if rows and isinstance(weight_decay, (int, float)):
        rows[-1][1]["weight_decay"] = float(weight_decay)
    return rows


def _csv_rows(path: Path, clock: str, wanted: Callable[[str], str | None]) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        header = rows.fieldnames or []
        if clock not in header:
            raise ValueError(f"{path.name} has no column {clock!r}")
        names = {column: name for column in header if column != clock and (name := wanted(column))}
        if TOTAL not in names.values():
            raise ValueError(ROUTE)
        # SB3 writes a shorter header first and pads; a row cut off has empty cells at its end.
        return [
            (int(float(row[clock])), {name: float(row[column]) for column, name in names.items() if row[column]})
            for row in rows
            if row[clock]
        ]


def _event_rows(paths: list[Path]) -> list[Row]:
    rows: list[Row] = []
    for path in paths:
        for step, tag, value in scalars(path, PREFIX):
            if name := _wanted(tag):
                # The last update has the timestep of the last rollout, and a dump of its own.
                if not rows or rows[-1][0] != step or name in rows[-1][1]:
                    rows.append((step, {}))
                rows[-1][1][name] = value
    if not any(TOTAL in values for _, values in rows):
        raise ValueError(ROUTE)
    return rows


def _trace(path: Path, source: str, rows: list[Row]) -> Trace:
    """Make columns of the rows, without repetitions: every dump of a log holds the latest measurement, new or not."""
    kept: list[Row] = []
    for timestep, values in rows:
        if TOTAL in values and (not kept or values[TOTAL] != kept[-1][1][TOTAL]):
            kept.append((timestep, values))
    if not kept:
        raise ValueError("it holds no measurement")
    names = dict.fromkeys(name for _, values in kept for name in values)
    columns = {name: [values.get(name, math.nan) for _, values in kept] for name in names}
    norms = {name.removeprefix(NORM): column for name, column in columns.items() if name.startswith(NORM)}
    terms = {name: column for name, column in columns.items() if name in TERMS}
    weight_decay = next((values["weight_decay"] for _, values in reversed(rows) if "weight_decay" in values), None)
    return Trace(str(path), source, [timestep for timestep, _ in kept], norms, terms, weight_decay)


def _checkpoint_traces(path: Path, paths: list[Path], named: bool) -> Iterator[Trace | tuple[str, str]]:
    # torch takes seconds to load, and only this needs it.
    from rl_abel.checkpoints import checkpoint_norms, series

    runs = series(paths)
    if named and not runs:
        runs = {"": [(0, paths[0])]}
    for run, checkpoints in runs.items():
        timesteps, rows, skipped = [], [], {}
        for steps, checkpoint in checkpoints:
            try:
                rows.append(checkpoint_norms(checkpoint))
                timesteps.append(steps)
            except ValueError as error:
                skipped[str(checkpoint)] = str(error)
        where = str(path if named else path / run) if run else str(path)
        if rows:
            norms = {part: [row.get(part, math.nan) for row in rows] for part in rows[0]}
            yield Trace(where, "checkpoints", timesteps, norms, skipped=skipped)
        else:
            yield from skipped.items()
