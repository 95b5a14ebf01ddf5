"""What the callback writes into the user's logs: beside theirs, and never a reason to stop a training.

TensorBoard gets every measurement at its own timestep. ``progress.csv`` and the terminal hold the latest at each of
SB3's dumps. ``abel.csv``, beside progress.csv, holds all.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import CSVOutputFormat, JSONOutputFormat

from rl_abel._warnings import Harmless
from rl_abel.networks.diagnosis import RELATIVE, TERMS
from rl_abel.reporting.tensorboard import tensorboards
from rl_abel.training.state import TrainingState

TABLE = "abel.csv"
LAYER = "layer/"
STATUS = ("factor", "bounces", "decays")  # the product of the decays, bounces that the rule has seen, decays made
Scalars = Mapping[str, float]


class LogWriter:
    """Writes measurements and what is in force.

    :param model: its logger may be replaced at any time
    :param memory: what ``abel.csv`` holds
    :param diagnose: whether it holds the terms too
    :param quiet: whether the user has turned logging off; values are then recorded for a dump of another's alone
    """

    def __init__(self, model: BaseAlgorithm, memory: TrainingState, diagnose: bool, quiet: bool) -> None:
        self._model, self._memory, self._diagnose, self._quiet = model, memory, diagnose, quiet
        self._harmless = Harmless()
        self._columns: list[str] = []
        self._table: Path | None = None

    @property
    def emptied(self) -> bool:
        """Whether a dump has taken what was recorded."""
        return "abel/factor" not in self._model.logger.name_to_value

    def record_norms(self, norms: Scalars, terms: Scalars) -> None:
        """Hand the latest measurement to the next dump, except TensorBoard's, which has it already."""
        for name, value in {**{f"weight_norm_{part}": norm for part, norm in norms.items()}, **terms}.items():
            # A table of the terminal cuts long names, and fails where two become the same.
            others = ("stdout", "log") if name.startswith(LAYER) else ()
            self._model.logger.record(f"abel/{name}", value, exclude=("tensorboard", *others))

    def record_status(self, status: Scalars) -> None:
        """Hand to the next dump what is in force since the latest update, as ``train/learning_rate`` is."""
        for name, value in status.items():
            self._model.logger.record(f"abel/{name}", value)

    def write_measurement(self, timestep: int, norms: Scalars, terms: Scalars, status: Scalars) -> None:
        """Write one measurement into TensorBoard, at its own timestep, and into the table."""
        if self._quiet:
            return
        with self._harmless("a measurement in TensorBoard"):
            starts = self._memory.data["starts"]
            scalars = {f"weight_norm_{part}": norm for part, norm in norms.items()}
            scalars |= {f"over_start_{part}": norm / starts[part] for part, norm in norms.items() if starts.get(part)}
            for output in tensorboards(self._model.logger):
                for name, value in {**scalars, **terms, "timesteps": timestep}.items():
                    output.writer.add_scalar(f"abel/{name}", value, timestep)
        with self._harmless(TABLE):
            if self._place() != self._table:
                self.rewrite_table()
            else:
                self._write("a", [{"timesteps": timestep, **norms, **status, **terms}])

    def rewrite_table(self) -> None:
        """Write ``abel.csv`` from its beginning: a row for every measurement of the trace.

        Its columns: ``timesteps``, |w|^2 of each part, ``factor``, ``bounces``, ``decays``, and the terms if wanted.
        """
        with self._harmless(TABLE):
            self._table, trace, decided = self._place(), self._memory.trace, self._memory.decided
            terms = [f"{term}_{part}" for term in (*TERMS, RELATIVE) for part in trace if part != "timesteps"]
            self._columns = [*trace, *STATUS, *(terms if self._diagnose else [])]
            rows: list[dict[str, Any]] = [dict(zip(self._columns, self._columns))]
            for values in zip(*trace.values()):
                row = dict(zip(trace, values))
                made = [decay.factor for decay in decided.decays if decay.timestep <= row["timesteps"]]
                bounces = sum(timestep <= row["timesteps"] for timestep in decided.bounces)
                rows.append({**row, "factor": math.prod(made, start=1.0), "bounces": bounces, "decays": len(made)})
            self._write("w", rows)

    def write_last_update(self, timestep: int) -> None:
        """Let TensorBoard have what the last update recorded, which SB3 never dumps.

        No other output gets it: readers of progress.csv stumble over a last row without an episode's reward.
        """
        logger = self._model.logger
        with self._harmless("the last update in TensorBoard"):
            for output in tensorboards(logger) if not self._quiet else []:
                output.write(dict(logger.name_to_value), dict(logger.name_to_excluded), timestep)

    def _place(self) -> Path | None:
        for output in self._model.logger.output_formats if not self._quiet else []:
            if isinstance(output, (CSVOutputFormat, JSONOutputFormat)) and not output.file.closed:
                return Path(output.file.name).with_name(TABLE)
        return None

    def _write(self, mode: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if self._table:
            with self._table.open(mode, newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, restval="", extrasaction="ignore").writerows(rows)
