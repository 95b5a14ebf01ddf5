"""What finished runs are read into: a trace of weight norms, and what the callback did in training."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rl_abel.inspection.readers.csv_table import CURVES, DIAGNOSIS, NORM, PARTS, STATUS, TOTAL, Row

Curves = dict[str, list[tuple[int, float]]]  # name -> (timestep, value), in order
# Parts that do not count as weights, as in :mod:`rl_abel.networks.norms`, which needs torch
OUTSIDE_TOTAL = ("log_std",)
LIMITS = {"factor": 1.0, "bounces": 10_000.0, "decays": 10_000.0}  # what a log can hold of these unless it is damaged
LED = "led by"
# What may have led the rate -> its section in a saved model, its curve, and its name in a table
LEADERS = {
    "KL divergence": ("kl", "KL factor", "KL"),
    "number of optimizer steps": ("budget", "budget factor", "steps"),
}


class Decayed(NamedTuple):
    """A decay that was made in training: when, why ("bounce" or "final"), by what factor, and of what part."""

    timestep: int
    cause: str
    factor: float
    part: str = "total"


@dataclass(frozen=True)
class Record:
    """What the callback did in training, as it was logged or saved."""

    n_bounces: int  # bounces that the rule saw in training
    bounces: list[int]  # their timesteps, as far as they are known
    decays: list[Decayed]  # decays of the learning rate
    factor: float  # product of the decays in force at the end; with ``scope="part"`` of what is in neither network
    exact: bool  # whether timesteps are those of the events; else of the first row that tells of them

    def factor_of(self, part: str) -> float:
        """Product of the decays of a part."""
        return math.prod(decay.factor for decay in self.decays if decay.part in ("total", part))


@dataclass(frozen=True)
class Trace:
    """The weight norms of one run."""

    path: str  # of the file or folder
    # "run", "csv", "tensorboard", "model" (what the callback kept in a saved one) or "checkpoints" (computed from
    # the weights)
    source: str
    timesteps: list[int]  # of the measurements, (n,)
    norms: dict[str, list[float]]  # |w|^2 by part, (n,) each; "total" is always there
    # ``displacement_<part>`` and ``alignment_<part>`` since the measurement before, and
    # ``relative_update_<part>``; (n,) each, NaN where unknown; empty if they were not recorded
    terms: dict[str, list[float]] = field(default_factory=dict)
    weight_decay: float | None = None  # coefficient of the optimizer, None if it was not recorded
    skipped: dict[str, str] = field(default_factory=dict)  # files of the series that could not be read, with the reason
    record: Record | None = None  # what the callback did, None if that is not known
    notes: list[str] = field(default_factory=list)  # what a reader should know of how this was read, a sentence each
    of: tuple[int, int] = (1, 1)  # its number among the runs of this path, and how many there are
    # What was logged beside the norms: :data:`rl_abel.inspection.readers.csv_table.CURVES`
    curves: Curves = field(default_factory=dict)
    # ``algorithm``, ``environment`` and ``led by`` (what led the learning rate), where that is known
    about: dict[str, str] = field(default_factory=dict)

    @property
    def led(self) -> str:
        """What led the learning rate, in words; empty where nothing did, or nothing tells."""
        logged = (words for words, (_, curve, _) in LEADERS.items() if curve in self.curves)
        return self.about.get(LED) or next(logged, "")


def make_trace(path: str, source: str, rows: Sequence[Row], every_row_new: bool = False) -> Trace:
    """Make columns of the rows of one run.

    :param every_row_new: whether each row is a measurement; else it is the latest one, new or not
    :raises ValueError: if no row holds a norm
    """
    kept: list[Row] = []
    curves: Curves = {}
    latest = ""
    parts = {name for _, values in rows for name in values if name.startswith(NORM)} - {TOTAL}
    for timestep, values in rows:
        norms = {name: value for name, value in values.items() if name.startswith(NORM)}
        terms = {name: value for name, value in values.items() if name.startswith(DIAGNOSIS)}
        for name in CURVES.values():
            if math.isfinite(values.get(name, math.nan)):
                curves.setdefault(name, []).append((timestep, values[name]))
        if not norms and kept:
            # A dump tells the terms of the latest measurement, which may have been written before it.
            kept[-1] = (kept[-1][0], terms | kept[-1][1])
        # A sum of some of the parts would look like a fall.
        if not norms or (TOTAL not in norms and not parts <= norms.keys()):
            continue
        norms.setdefault(TOTAL, total({name.removeprefix(NORM): norm for name, norm in norms.items()}))
        # As text, for NaN is not equal to itself.
        if every_row_new or str(norms) != latest:
            if every_row_new and kept and kept[-1][0] == timestep:
                kept.pop()
            kept.append((timestep, norms | terms))
            latest = str(norms)
    if not kept:
        raise ValueError("it holds no measurement")
    found = {name for _, values in kept for name in values}
    first = [name for part in PARTS if (name := NORM + part) in found]
    columns = {n: [values.get(n, math.nan) for _, values in kept] for n in [*first, *sorted(found.difference(first))]}
    return Trace(
        path,
        source,
        [timestep for timestep, _ in kept],
        {name.removeprefix(NORM): column for name, column in columns.items() if name.startswith(NORM)},
        {name: column for name, column in columns.items() if name.startswith(DIAGNOSIS)},
        next((values["weight_decay"] for _, values in reversed(rows) if "weight_decay" in values), None),
        record=record_of(rows, exact=every_row_new),
        curves=curves,
    )


def total(norms: Mapping[str, float]) -> float:
    """Sum of the parts that count as weights."""
    counted = [norm for part, norm in norms.items() if part not in OUTSIDE_TOTAL]
    return math.fsum(counted) if all(map(math.isfinite, counted)) else math.nan


def record_of(rows: Sequence[Row], exact: bool) -> Record | None:
    """Tell bounces and decays from the counts and the factor that were logged; None if there are none."""
    bounces: list[int] = []
    decays: list[Decayed] = []
    seen = {"bounces": 0.0, "decays": 0.0, "factor": 1.0}
    for timestep, values in rows:
        now = {name: values[name] for name in STATUS if name in values and 0 <= values[name] <= LIMITS[name]}
        n_bounces = max(0, round(now.get("bounces", seen["bounces"]) - seen["bounces"]))
        bounces += [timestep] * n_bounces
        change = now.get("factor", seen["factor"]) / seen["factor"]
        n_decays = round(now["decays"] - seen["decays"]) if "decays" in now else int(change < 1)
        if n_decays > n_bounces > 0:
            # With scope="part" each network decays for itself. The logged factor is that of the rest.
            parts = ["rest", *["one part"] * (n_decays - 1)]
            decays += [Decayed(timestep, "bounce", change, part) for part in parts]
        elif n_decays > 0:
            cause = "bounce" if n_bounces else "final"
            decays += [Decayed(timestep, cause, change ** (1 / n_decays))] * n_decays
        if not n_decays and change < 1 and decays and decays[-1].cause == "final":
            # A linear one goes on.
            decays[-1] = decays[-1]._replace(factor=decays[-1].factor * change)
        seen |= {name: value for name, value in now.items() if name != "factor" or value > 0}
    told = any(name in values for _, values in rows for name in STATUS)
    return Record(len(bounces), bounces, decays, seen["factor"], exact) if told else None


def state_rows(state: Mapping[str, Any]) -> list[Row]:
    """Return the measurements that the callback has kept in a saved model, as far as they can be read."""
    rows: list[Row] = []
    trace = state.get("trace")
    for row in trace if isinstance(trace, list) else ():
        with suppress(KeyError, OverflowError, TypeError, ValueError):
            timestep, *norms = json.loads(row) if isinstance(row, str) else row
            named = {part: float(norm) for part, norm in zip(state["parts"], norms, strict=True)}
            rows.append((int(timestep), {TOTAL: total(named), **{NORM + part: named[part] for part in named}}))
    return rows


def state_record(state: Mapping[str, Any]) -> Record | None:
    """Return the bounces and decays that the callback has kept in a saved model, or a benchmark in its run.json."""
    try:
        decays = [Decayed(int(t), str(cause), float(factor), *part) for t, cause, factor, *part in state["decays"]]
        after = [decay.timestep for decay in decays if decay.cause == "bounce"]
        bounces = [int(timestep) for timestep in state.get("bounces", ())] or after
        record = Record(max(int(state["n_bounces"]), len(bounces)), bounces, decays, 1.0, True)
    except (KeyError, TypeError, ValueError):
        return None
    return replace(record, factor=record.factor_of("rest"))


def joined(states: Sequence[Mapping[str, Any]]) -> tuple[list[Row], Record | None]:
    """Return what the callback kept in the saved models of one run, oldest first: measurements, and what happened.

    Of each training the last memory counts. A budget that ends elsewhere is another training, with a memory that
    begins where it does.
    """
    last = {str(state.get("begin")): state for state in states}.values()
    rows: list[Row] = []
    for more in map(state_rows, last):
        rows = [row for row in rows if not more or row[0] < more[0][0]] + more
    records = [record for state in last if (record := state_record(state))]
    if not records:
        return rows, None
    bounces = sorted({timestep for record in records for timestep in record.bounces})
    decays = sorted({decay for record in records for decay in record.decays})
    n_bounces = max(len(bounces), *(record.n_bounces for record in records))
    return rows, Record(n_bounces, bounces, decays, records[-1].factor, True)
