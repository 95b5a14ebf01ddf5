"""CSV files of a training, read as far as they can be: SB3's progress.csv, abel.csv, a benchmark's trace.csv."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PREFIX = "abel/"
NORM = "weight_norm_"
TOTAL = NORM + "total"
PARTS = ("total", "policy", "value", "shared", "log_std")  # columns of abel.csv and trace.csv that are norms
STATUS = ("factor", "bounces", "decays")
TERMS = ("displacement_total", "alignment_total")  # the explanation of why the norm moves is made of these
# ``AbelCallback(diagnose=True)`` logs tags that begin so, one for each part
DIAGNOSIS = ("displacement_", "alignment_", "relative_update_")
# Tags that are logged beside the norms, and what they are called here
CURVES = {
    "train/learning_rate": "learning rate",
    "rollout/ep_rew_mean": "episode reward",
    "eval/mean_reward": "evaluation",
    "abel/kl_factor": "KL factor",
    "abel/budget_factor": "budget factor",
    "abel/batch_size": "batch size",
    **{f"abel/factor_{part}": f"decays of the {part}" for part in ("policy", "value")},
    **{f"abel/learning_rate_{part}": f"learning rate of the {part}" for part in PARTS[1:]},
}
# Columns that tell the timestep, the best first
CLOCKS = ("time/total_timesteps", "timesteps", "total_timesteps", "num_timesteps", "global_step", "step")
CLOCK = "clock"  # our name of that column
NO_HEADER = 100  # A file without a header in this many lines is not read on
Row = tuple[int, dict[str, float]]  # timestep, and what a log holds of it, under our tags without their prefix


@dataclass
class Table:
    """What could be read of a CSV file."""

    # Rows in the order of the file, a new block at every header and where the clock goes back
    blocks: list[list[Row]] = field(default_factory=list)
    has_norms: bool = False  # whether any header names a norm
    # Whether each row is a measurement of its own, as in abel.csv; a row of progress.csv holds the latest
    # measurement, new or not
    every_row_new: bool = False
    lost: str = ""  # what could not be read, in words


def tag(name: str) -> str | None:
    """Name of a log's tag without its prefix, or of a curve of SB3's; None for those that are neither."""
    bare = name.removeprefix(PREFIX)
    ours = bare != name and (bare in (*STATUS, "weight_decay") or bare.startswith((NORM, *DIAGNOSIS)))
    return bare if ours else CURVES.get(name)


def read_table(lines: Iterable[str]) -> Table:
    """Read the rows that hold a timestep. A cell that is no number is left out, and counted.

    Empty cells, and rows that are shorter or longer than the header, are as they should be: SB3 pads rows when
    its header grows.
    """
    table = Table()
    columns: dict[int, str] = {}
    bad: list[str] = []
    last = 0
    for line, text in enumerate(lines, 1):
        cells = _cells(text)
        if header := _header(cells):
            columns, measured = header
            last = 0
            table.has_norms |= any(name.startswith(NORM) for name in columns.values())
            table.every_row_new |= measured
            table.blocks.append([])
            continue
        if not columns and line > NO_HEADER:
            break
        values: dict[str, float] = {}
        for index, name in columns.items():
            if cell := cells[index] if index < len(cells) else "":
                try:
                    values[name] = float(cell)
                except ValueError:
                    bad.append(f"{cell!r:.20} in line {line}")
        timestep = values.pop(CLOCK, -1.0)
        if 0 <= timestep < 2**63:
            if timestep < last:
                table.blocks.append([])
            last = int(timestep)
            table.blocks[-1].append((last, values))
    if bad:
        table.lost = f"{len(bad)} cell{'s' * (len(bad) > 1)} could not be read (first: {bad[0]})"
    return table


def _cells(line: str) -> list[str]:
    # A reader for each line: a quote that is never closed would take in all lines that follow.
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip()]), [])]
    except csv.Error:
        return []


def _header(cells: Sequence[str]) -> tuple[dict[int, str], bool] | None:
    """Return our columns by their place, and whether each row is a measurement; None for a row of data."""
    lower = [cell.lower() for cell in cells]
    clock = next((name for name in CLOCKS if name in lower), None)
    if clock is None:
        return None
    names = [tag(cell) for cell in lower]
    measured = "total" in lower and TOTAL not in names
    if measured:
        # abel.csv and trace.csv have names without our prefixes.
        names = [tag(PREFIX + (NORM + cell if cell in PARTS else cell)) for cell in lower]
    names[lower.index(clock)] = CLOCK
    return {index: name for index, name in enumerate(names) if name}, measured
