"""Which runs begin alike, so that their beginning is trained once. No torch: listing must be quick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.plan import BATCH, KL, WITH_FINAL, Run

Unit = tuple[Run, ...]
"""Runs that are one training until their learning rates, or their weight decays, differ."""

STEP = 0.5
"""Progress at which "step" takes the first of its steps."""

ALONE = ("linear", "cosine", "abel-part", *BATCH)
"""Arms that share nothing: their rate is another at the first update, or a bounce moves more than one rate."""


def units(runs: Iterable[Run]) -> list[Unit]:
    """Group runs that differ in nothing but what becomes of a rate that begins alike, constant or led by the KL.

    :return: each run once; units in the order of their first runs
    """
    together: dict[Run, list[Run]] = {}
    for run in runs:
        begins = "kl-adaptive" if run.arm in KL else "constant"
        # Where measurements come in the middle of an update, the log of one would hold those of all.
        dense = run.measurements != Run.measurements
        alike = run if run.arm in ALONE or dense else replace(run, arm=begins, decay_factor=0, final_decay_at=0)
        together.setdefault(alike, []).append(run)
    return [tuple(group) for group in together.values()]


def leaves_at(run: Run) -> float:
    """Return the progress at which a run leaves how its unit begins, at the latest: a bounce comes when it comes."""
    if run.arm in ALONE:
        return 0.0
    if run.arm == "step":
        return STEP
    return run.final_decay_at if run.arm in WITH_FINAL else 1.0


def trained(unit: Sequence[Run]) -> float:
    """Return the least timesteps that a unit trains: all that is shared once, the rest of each run after it.

    A bounce makes it more, two arms that go on alike less.
    """
    places = [leaves_at(run) for run in unit]
    return unit[0].timesteps * (max(places) + sum(1 - place for place in places))


def saved(units: Sequence[Unit]) -> float:
    """Return the share of the runs' timesteps that need not be trained if no rate decays by a bounce."""
    alone = sum(run.timesteps for unit in units for run in unit)
    return 1 - sum(map(trained, units)) / alone if alone else 0.0
