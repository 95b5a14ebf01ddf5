"""Finished runs -> traces of weight norms: benchmark folders, progress.csv, TensorBoard, checkpoints."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "abel/weight_norm_"
EVENTS = "events.out.tfevents"
ROUTE = (
    "it holds no weight norms. If you have checkpoints (CheckpointCallback's *_steps.zip), give their folder: "
    "the norms are computed from the weights"
)


@dataclass(frozen=True)
class Trace:
    """The weight norms of one run.

    :param path: of the file or folder
    :param source: "run", "csv", "tensorboard" or "checkpoints"
    :param timesteps: of the measurements, (n,)
    :param norms: |w|^2 by part, (n,) each; "total" is always there
    :param skipped: files of the series that could not be read, with the reason
    """

    path: str
    source: str
    timesteps: list[int]
    norms: dict[str, list[float]]
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
    readers: list[tuple[str, Callable[[], tuple[list[int], dict[str, list[float]]]]]] = []
    zips = sorted(name for name in files if name.endswith("_steps.zip") or (named and name.endswith(".zip")))
    if "run.json" in files:
        readers.append(("run", lambda: _csv_trace(folder / "trace.csv", "timesteps", "")))
    else:
        tables = [name for name in files if name == "progress.csv" or (named and name.endswith(".csv"))]
        events = sorted(name for name in files if EVENTS in name)
        if tables:
            readers.append(("csv", lambda: _csv_trace(folder / tables[0], "time/total_timesteps", PREFIX)))
        if events:
            readers.append(("tensorboard", lambda: _event_trace([folder / name for name in events])))
    reasons = {}
    for source, read in readers:
        try:
            timesteps, norms = read()
        except (OSError, ValueError) as error:
            reasons[source] = " ".join(str(error).split())[:200]
        else:
            yield Trace(str(path), source, timesteps, norms)
            return
    if zips:
        yield from _checkpoint_traces(path, [folder / name for name in zips], named)
    elif reasons:
        yield str(path), "; ".join(dict.fromkeys(reasons.values()))
    elif named:
        yield str(path), "not a run: give a progress.csv, TensorBoard events, an SB3 zip, or a folder of them"


def _csv_trace(path: Path, clock: str, prefix: str) -> tuple[list[int], dict[str, list[float]]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        header = rows.fieldnames or []
        if clock not in header:
            raise ValueError(f"{path.name} has no column {clock!r}")
        parts = {name: name.removeprefix(prefix) for name in header if name.startswith(prefix) and name != clock}
        if "total" not in parts.values():
            raise ValueError(ROUTE)
        timesteps: list[int] = []
        norms: dict[str, list[float]] = {part: [] for part in parts.values()}
        for row in rows:
            # SB3 writes a shorter header first and pads; a row cut off has empty cells at its end.
            values = {part: row[name] for name, part in parts.items()}
            if row[clock] in (None, "") or values["total"] in (None, ""):
                continue
            timesteps.append(int(float(row[clock])))
            for part, value in values.items():
                norms[part].append(float(value) if value else math.nan)
    return _each_once(timesteps, norms)


def _event_trace(paths: list[Path]) -> tuple[list[int], dict[str, list[float]]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    rows: list[tuple[int, dict[str, float]]] = []
    for path in paths:
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag.startswith(PREFIX):
                    part = value.tag.removeprefix(PREFIX)
                    # The last update has the timestep of the last rollout, and a dump of its own.
                    if not rows or rows[-1][0] != event.step or part in rows[-1][1]:
                        rows.append((event.step, {}))
                    rows[-1][1][part] = value.simple_value
    rows = [(step, norms) for step, norms in rows if "total" in norms]
    if not rows:
        raise ValueError(ROUTE)
    parts = dict.fromkeys(part for _, norms in rows for part in norms)
    return _each_once(
        [step for step, _ in rows], {part: [norms.get(part, math.nan) for _, norms in rows] for part in parts}
    )


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
            yield Trace(where, "checkpoints", timesteps, norms, skipped)
        else:
            yield from skipped.items()


def _each_once(timesteps: list[int], norms: dict[str, list[float]]) -> tuple[list[int], dict[str, list[float]]]:
    """Drop the repetitions: every dump of a log holds the latest measurement, new or not."""
    if not timesteps:
        raise ValueError("it holds no measurement")
    total = norms["total"]
    kept = [i for i in range(len(timesteps)) if i == 0 or total[i] != total[i - 1]]
    return [timesteps[i] for i in kept], {part: [values[i] for i in kept] for part, values in norms.items()}
