"""CSV files of a training, read as far as they can be: SB3's progress.csv, abel.csv, a benchmark's trace.csv."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PREFIX = "abel/"
NORM = "weight_norm_"
TOTAL = NORM + "total"
PARTS = ("total", "policy", "value", "shared", "log_std")
"""Columns of abel.csv and trace.csv that are norms."""

STATUS = ("factor", "bounces", "decays")
TERMS = ("displacement_total", "alignment_total")
"""Of which the explanation is made."""

DIAGNOSIS = ("displacement_", "alignment_", "relative_update_")
"""What ``AbelCallback(diagnose=True)`` adds, of each part."""

OTHERS = (*STATUS, "weight_decay")

CURVES = {
    "train/learning_rate": "learning rate",
    "rollout/ep_rew_mean": "episode reward",
    "eval/mean_reward": "evaluation",
    "abel/kl_factor": "KL factor",
    "abel/batch_size": "batch size",
    **{f"abel/factor_{part}": f"decays of the {part}" for part in ("policy", "value")},
    **{f"abel/learning_rate_{part}": f"learning rate of the {part}" for part in PARTS[1:]},
}
"""What is logged beside norms, at timesteps of its own."""

CLOCKS = ("time/total_timesteps", "timesteps", "total_timesteps", "num_timesteps", "global_step", "step")
"""Columns that tell the timestep, the best first."""

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Row = tuple[int, dict[str, float]]
"""Timestep, and what a log holds of it, under our tags without their prefix."""


@dataclass
class Table:
    """What could be read of a CSV file.

    :param blocks: rows in the order of the file, a new block at every header and where the clock goes back
    :param has_clock: whether any header names a clock
    :param has_norms: whether any header names a norm
    :param every_row_new: whether each row is a measurement of its own, as in abel.csv; a row of
        progress.csv holds the latest measurement, new or not
    :param lost: what could not be read, in words
    """

    blocks: list[list[Row]] = field(default_factory=list)
    has_clock: bool = False
    has_norms: bool = False
    every_row_new: bool = False
    lost: list[str] = field(default_factory=list)


def decoded(data: bytes) -> str:
    """Return the text of a file by its byte-order mark, else as UTF-8; what is neither becomes question marks."""
    encoding = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), "utf-8")
    return data.decode(encoding, errors="replace")


def tag(name: str) -> str | None:
    """Name of a log's tag without its prefix, or of a curve of SB3's; None for those that are neither."""
    bare = name.removeprefix(PREFIX)
    return bare if bare != name and (bare.startswith(NORM) or _is_other(bare)) else CURVES.get(name)


def _is_other(name: str) -> bool:
    return name in OTHERS or name.startswith(DIAGNOSIS)


def read_table(text: str) -> Table:
    """Read the rows that hold a timestep; a cell that is no number is left out, and counted.

    SB3 writes a shorter header first and pads; a row that was cut off lacks cells at its end. Both
    are as they should be, and so are empty cells.
    """
    table = Table()
    clock, width, last = "", 0, 0
    columns: dict[int, str] = {}
    bad_cells: list[str] = []
    bad_rows: list[str] = []
    for line, cells in _rows(text, bad_rows):
        if header := _header(cells):
            clock, columns, measured = header
            width, last = len(cells), 0
            table.has_clock = True
            table.has_norms |= any(name.startswith(NORM) for name in columns.values())
            table.every_row_new |= measured
            table.blocks.append([])
            continue
        if not clock or not any(cells):
            continue
        place = next(index for index, name in columns.items() if name == clock)
        # SB3 pads rows with commas, which a header that grew leaves too short, never too long.
        timestep = _timestep(cells[place]) if place < len(cells) and len(cells) <= width + 1 else None
        if timestep is None:
            if place < len(cells) and cells[place]:
                bad_rows.append(f"line {line}")
            continue
        values = {}
        for index, name in columns.items():
            cell = cells[index] if index < len(cells) else ""
            if name != clock and cell:
                number = _float(cell)
                if number is None:
                    bad_cells.append(f"{cell!r:.20} in line {line}")
                else:
                    values[name] = number
        if timestep < last:
            table.blocks.append([])
        last = timestep
        table.blocks[-1].append((timestep, values))
    for bad, what in ((bad_cells, "cell"), (bad_rows, "row")):
        if bad:
            table.lost.append(f"{len(bad)} {what}{'s' * (len(bad) > 1)} could not be read (first: {bad[0]})")
    return table


def _rows(text: str, bad: list[str]) -> Iterator[tuple[int, list[str]]]:
    lines = text.splitlines()
    start = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=start.count)
    for number, line in enumerate(lines, 1):
        try:
            quoted = '"' in line
            cells = next(csv.reader([line], delimiter=delimiter), []) if quoted else line.split(delimiter)
        except csv.Error:
            bad.append(f"line {number}")
            continue
        # Where a semicolon separates, the comma is the decimal point.
        yield number, [cell.strip().replace(",", ".") if delimiter == ";" else cell.strip() for cell in cells]


def _header(cells: Sequence[str]) -> tuple[str, dict[int, str], bool] | None:
    """Return clock, the columns that are ours by their place, and whether each row is a measurement; None for data."""
    lower = [cell.lower() for cell in cells]
    clock = next((name for name in CLOCKS if name in lower), None)
    if clock is None:
        return None
    logged = {index: name for index, cell in enumerate(lower) if (name := tag(cell))}
    ours = any(name not in CURVES.values() for name in logged.values())
    bare = {
        index: NORM + name if name in PARTS else name
        for index, name in enumerate(lower)
        if name in PARTS or _is_other(name)
    }
    measured = not ours and TOTAL in bare.values()
    return clock, {lower.index(clock): clock, **(bare if measured else logged)}, measured


def _timestep(cell: str) -> int | None:
    number = _float(cell)
    return int(number) if number is not None and 0 <= number < 2**63 else None


def _float(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
