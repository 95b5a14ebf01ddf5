"""The saved tables: a row a moment and a row a measurement, of whole units alone. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.moments.plan import Unit, missing
from benchmarks.results import write_table

UNIT = ["agent", "env_id", "strength", "seed"]

RUNS, CONTROL = "moments", "moments_control"
"""Names of the tables of the runs in RL, and of those of the positive control."""


def read_saved(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return moments and traces; empty ones if there are none."""
    if not (folder / f"{name}.parquet").is_file():
        return pd.DataFrame(columns=UNIT), pd.DataFrame(columns=UNIT)
    moments, traces = (pd.read_parquet(folder / f"{name}{rest}.parquet") for rest in ("", "_traces"))
    # The traces are written first: of a save that was cut off they have more.
    whole = traces[UNIT].apply(tuple, axis=1).isin(set(moments[UNIT].itertuples(index=False, name=None)))
    return moments, traces[whole].reset_index(drop=True)


def save(unit: dict[str, list[dict[str, Any]]], folder: Path, name: str) -> None:
    """Add a finished unit, as :func:`benchmarks.moments.training.train_trunk` returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    moments, traces = (
        pd.concat([old, pd.DataFrame(new)], ignore_index=True) if len(old) else pd.DataFrame(new)
        for old, new in zip(read_saved(folder, name), (unit["moments"], unit["trace"]))
    )
    # Rows of different workers arrive in any order; the same units make the same file.
    traces = traces.sort_values([*UNIT, "timesteps"], ignore_index=True)
    floats = traces.columns.difference([*UNIT, "timesteps"])
    write_table(traces.astype(dict.fromkeys(floats, "float32")), folder / f"{name}_traces.parquet")
    write_table(moments.sort_values([*UNIT, "place"], ignore_index=True), folder / f"{name}.parquet")


def missing_in(folder: Path, name: str, units: Sequence[Unit]) -> list[Unit]:
    """Return the units that are still to be trained, in their order."""
    return missing(units, read_saved(folder, name)[0][UNIT].itertuples(index=False, name=None))
