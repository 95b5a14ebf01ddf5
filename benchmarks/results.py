"""Folders of runs -> tables, and back from parquet. Whatever cannot be read is named, never dropped."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import folders

REQUIRED: dict[str, type | tuple[type, ...]] = {
    "run_id": str,
    "status": str,
    "agent": str,
    "env_id": str,
    "arm": str,
    "regularization": str,
    "weight_decay": (int, float),
    "learning_rate": (int, float),
    "seed": int,
    "timesteps": int,
    "wall_time_s": (int, float),
}
"""Keys that every run.json has, with their types."""

DEFAULTS: dict[str, Any] = {
    "strength": 0.0,
    "rate_multiplier": 1.0,
    "decay_factor": 0.1,
    "final_decay_at": 0.85,
    "random_return": math.nan,
    "reference_return": math.nan,
    "final_return": math.nan,
    "n_bounces": 0,
    "factor": 1.0,
    "optimizer_steps": math.nan,
    "error": "",
    "commit": "",
}
"""Keys that a run.json may lack or hold as null (a failed run has no return), and what stands for them."""

NUMBERS = ("strength", "rate_multiplier", "decay_factor", "final_decay_at", "random_return", "reference_return")

EVALUATION_COLUMNS = ("timesteps", "return_mean", "return_std", "learning_rate")
TRACE_COLUMNS = ("timesteps", "total")
BESIDE = "report"
"""Folder of a report's figures and tables, the one that is not a run's."""

FILES = ("runs", "evaluations", "traces")

FIRST_STUDY = Path(__file__).parents[1] / "docs" / "results" / "first_study.zip"
"""The runs of the first study, which a second has replaced, with the plan of it."""


@dataclass(frozen=True)
class Results:
    """All that a report is made from.

    :param runs: a row a run, with the scalars of its run.json, ``decays`` as JSON text
    :param evaluations: a row an evaluation: run_id, timesteps, return_mean, return_std, learning_rate
    :param traces: a row a measurement: run_id, timesteps, total, and |w|^2 by part (NaN where a run
        has no such part)
    :param broken: folders that could not be read, with the reason
    :param unfinished: runs that were under way, or cut off
    """

    runs: pd.DataFrame
    evaluations: pd.DataFrame
    traces: pd.DataFrame
    broken: dict[str, str] = field(default_factory=dict)
    unfinished: int = 0


def read_results(out: Path) -> Results:
    """Read every run's folder in ``out``; a broken one is named in the result and skipped.

    :raises ValueError: if there is no such folder, or no run in it that can be read
    """
    if not out.is_dir():
        raise ValueError(f"no such folder: {out}. `python -m benchmarks run SUITE --out {out}` makes it")
    rows: list[dict[str, Any]] = []
    evaluations: dict[str, pd.DataFrame] = {}
    traces: dict[str, pd.DataFrame] = {}
    broken: dict[str, str] = {}
    for folder in _folders(out):
        try:
            row, of_run, trace = _read_run(folder)
        except (OSError, ValueError, RecursionError) as error:
            broken[folder.name] = " ".join(str(error).split())[:300]
            continue
        rows.append(row)
        if of_run is not None and trace is not None:
            evaluations[row["run_id"]], traces[row["run_id"]] = of_run, trace
    # What a killed process left of a run that was then begun again is not under way.
    unfinished = len(set(folders.unfinished(out).values()) - {row["run_id"] for row in rows})
    if not rows:
        also = f"; {len(broken)} folders could not be read, the first: {next(iter(broken.items()))}" if broken else ""
        more = f"; {unfinished} under way" if unfinished else ""
        raise ValueError(
            f"no finished run in {out}{also}{more}. `python -m benchmarks run SUITE --out {out}` makes some"
        )
    runs = pd.DataFrame(rows).sort_values("run_id", ignore_index=True)
    return Results(
        runs,
        _together(evaluations, EVALUATION_COLUMNS),
        _together(traces, TRACE_COLUMNS),
        broken,
        unfinished,
    )


def write_parquet(results: Results, folder: Path) -> None:
    """Write runs, evaluations and traces, a file each; that of the runs last, as it says what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in reversed(FILES):
        write_table(getattr(results, name), folder / f"{name}.parquet")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a parquet file that is whole at any time: another process may be reading it."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        table.to_parquet(aside, index=False, compression="zstd")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_parquet(source: Path) -> Results:
    """Read what :func:`write_parquet` wrote, from its folder or from a zip of the files.

    :raises ValueError: if a file is missing
    """
    files = zipfile.Path(source) if source.suffix == ".zip" else source
    found = []
    for name in FILES:
        path = files / f"{name}.parquet"
        if not path.is_file():
            raise ValueError(f"{source} has no {name}.parquet")
        found.append(pd.read_parquet(io.BytesIO(path.read_bytes())))
    runs, *others = found
    # Of a save that was cut off there are rows more, of runs that will be saved again.
    return Results(runs, *(table[table["run_id"].isin(runs["run_id"])].reset_index(drop=True) for table in others))


def decays_of(row: Mapping[str, Any]) -> list[tuple[int, str, float]]:
    """Return a run's decays in force: timestep, cause, factor."""
    return [(int(timestep), str(cause), float(factor)) for timestep, cause, factor in json.loads(row["decays"])]


def _folders(out: Path) -> Iterator[Path]:
    for path in sorted(out.iterdir()):
        if path.is_dir() and path.name != BESIDE and not path.name.startswith("."):
            yield path


def _read_run(folder: Path) -> tuple[dict[str, Any], pd.DataFrame | None, pd.DataFrame | None]:
    path = folder / "run.json"
    if not path.is_file():
        raise ValueError("no run.json")
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"run.json is not JSON: {error}") from None
    row = _row(record)
    if row["run_id"] != folder.name:
        raise ValueError(f"run.json is of another run, {row['run_id']!r}")
    if row["status"] == "failed":
        return row, None, None
    evaluations = _read_csv(folder / "evaluations.csv", EVALUATION_COLUMNS)
    trace = _read_csv(folder / "trace.csv", TRACE_COLUMNS, may_be_empty=True)
    return row, evaluations, trace


def _row(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ValueError("run.json holds no object")
    for key, kind in REQUIRED.items():
        if key not in record:
            raise ValueError(f"run.json lacks {key!r}")
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            raise ValueError(f"run.json has {key} = {record[key]!r:.80}")
    if record["status"] not in ("complete", "failed"):
        raise ValueError(f"run.json has status = {record['status']!r:.80}")
    row = {key: record[key] for key in REQUIRED}
    row |= {key: default if record.get(key) is None else record[key] for key, default in DEFAULTS.items()}
    for key in (*NUMBERS, "final_return", "n_bounces", "factor", "optimizer_steps"):
        if not isinstance(row[key], (int, float)):
            raise ValueError(f"run.json has {key} = {row[key]!r:.80}")
    if row["status"] == "complete" and not math.isfinite(row["final_return"]):
        raise ValueError(f"run.json has final_return = {record.get('final_return')!r:.80}")
    numbers = (*NUMBERS, "final_return", "weight_decay", "learning_rate", "optimizer_steps")
    row |= {key: float(row[key]) for key in numbers}
    row |= {key: str(row[key]) for key in ("error", "commit")}
    row["decays"] = json.dumps(record.get("decays") or [])
    try:
        decays_of(row)
    except (TypeError, ValueError):
        raise ValueError(f"run.json has decays = {row['decays']:.80}") from None
    return row


def _read_csv(path: Path, columns: tuple[str, ...], may_be_empty: bool = False) -> pd.DataFrame:
    lines = path.read_text().splitlines()
    header = lines[0].split(",") if lines else []
    if missing := [column for column in columns if column not in header]:
        raise ValueError(f"{path.name} has no column {missing[0]!r}")
    if len(lines) < 2 and not may_be_empty:
        raise ValueError(f"{path.name} has no rows")
    # Ten times faster than pandas on files this small, of which there are thousands.
    values: npt.NDArray[np.float64] = (
        np.loadtxt(lines[1:], delimiter=",", ndmin=2) if len(lines) > 1 else np.empty((0, len(header)))
    )
    if values.shape[1] != len(header):
        raise ValueError(f"{path.name} has {values.shape[1]} columns under {len(header)} names")
    return pd.DataFrame(values, columns=header, copy=False)


def _together(frames: Mapping[str, pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame({"run_id": pd.Series(dtype=str), **{name: pd.Series(dtype=float) for name in columns}})
    table = pd.concat(frames.values(), ignore_index=True)
    table.insert(0, "run_id", np.repeat(list(frames), [len(frame) for frame in frames.values()]))
    table["timesteps"] = table["timesteps"].astype(np.int64)
    return table


def clipped_scores(runs: pd.DataFrame) -> pd.Series:
    """Return the final score of each run, 1 for the reference; below a random policy, or crashed, it is 0."""
    span = runs["reference_return"] - runs["random_return"]
    score = (runs["final_return"] - runs["random_return"]) / span
    return score.where(runs["status"] == "complete", 0.0).clip(lower=0)
