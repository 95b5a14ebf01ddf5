"""Saved tables of whole units, a parquet file each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.results import write_table


@dataclass(frozen=True)
class Tables:
    """Tables that belong together. The first one says which units are there.

    :param files: names without ``.parquet``
    :param key: columns that tell a unit, in every table
    :param order: columns by which the first table is sorted; the others follow its order of units
    :param within: column by which the rows of a unit are sorted in the others
    :param small: column -> type in which it is kept
    """

    files: tuple[str, ...]
    key: tuple[str, ...]
    order: tuple[str, ...]
    within: str = "timesteps"
    small: Mapping[str, str] = field(default_factory=dict)

    def path(self, folder: Path) -> Path:
        """Return where the first table is."""
        return folder / f"{self.files[0]}.parquet"

    def read(self, folder: Path) -> list[pd.DataFrame]:
        """Return the tables, empty ones if there are none."""
        if not self.path(folder).is_file():
            return [pd.DataFrame(columns=list(self.key)) for _ in self.files]
        first, *others = (pd.read_parquet(folder / f"{name}.parquet") for name in self.files)
        # The first is written last: after a save that was cut off, the others have more.
        units = self._units(first).unique()
        return [first, *(table[self._units(table).isin(units)].reset_index(drop=True) for table in others)]

    def done(self, folder: Path) -> set[tuple[Any, ...]]:
        """Return the keys of the units that are there."""
        return set(self.read(folder)[0][list(self.key)].itertuples(index=False, name=None))

    def add(self, folder: Path, units: Iterable[Mapping[str, Any]]) -> None:
        """Add finished units: of each its rows, a list a table, in the order of the tables."""
        new = [pd.DataFrame(list(chain(*rows))) for rows in zip(*(unit.values() for unit in units))]
        both = [pd.concat([old, rows]) if len(old) else rows for old, rows in zip(self.read(folder), new)]
        first = both[0].sort_values(list(self.order), ignore_index=True)
        ranks = self._units(first).unique()
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in list(zip(self.files, both))[:0:-1]:
            ordered = table.iloc[np.lexsort((table[self.within], ranks.get_indexer(self._units(table))))]
            floats = ordered.select_dtypes("float64").columns.difference(list(self.key))
            self._write(ordered.astype(dict.fromkeys(floats, "float32")), folder / f"{name}.parquet")
        self._write(first, self.path(folder))

    def _units(self, table: pd.DataFrame) -> pd.MultiIndex:
        return pd.MultiIndex.from_frame(table[list(self.key)])

    def _write(self, table: pd.DataFrame, path: Path) -> None:
        small = {name: kind for name, kind in self.small.items() if name in table}
        write_table(table.astype(small).reset_index(drop=True), path)
