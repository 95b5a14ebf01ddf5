"""Which runs begin alike, so that their beginning is trained once. No torch: listing must be quick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from benchmarks.plan import BATCH, FALLING, KL, LED, Run

Unit = tuple[Run, ...]
"""Runs that are one training until their learning rates, or their weight decays, differ."""

ALONE = ("linear", "cosine", "abel-part", *BATCH, *FALLING, *LED)
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
