"""A study whose units are trained on the benchmark's engine and saved into tables one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.study.tables import Tables


class Unit(NamedTuple):
    """A piece of work.

    :param name: for people
    :param key: its values in the key columns of its tables
    :param train: "module:function" that trains it, as torch is for the workers; it returns its rows by table
    """

    name: str
    key: tuple[Any, ...]
    train: str
    arguments: tuple[Any, ...]
    tables: Tables


@dataclass(frozen=True)
class UnitStudy:
    """A study of such units.

    :param page: "module:function" that writes the page into the folder of the tables
    :param stages: folder of the tables -> its units by stage, in the order in which they are trained
    """

    name: str
    about: str
    page: str
    stages: Callable[[Path], Mapping[str, list[Unit]]]

    def missing(self, folder: Path) -> dict[str, list[Unit]]:
        """Return the units that are not saved yet, by stage."""
        stages = self.stages(folder)
        tables = {unit.tables.files: unit.tables for units in stages.values() for unit in units}
        done = {files: of.done(folder) for files, of in tables.items()}
        return {
            stage: [unit for unit in units if unit.key not in done[unit.tables.files]]
            for stage, units in stages.items()
        }

    def progress(self, folder: Path) -> dict[str, tuple[int, int]]:
        """Return, by stage, how many of its units are saved, and of how many."""
        left = self.missing(folder)
        return {stage: (len(units) - len(left[stage]), len(units)) for stage, units in self.stages(folder).items()}
