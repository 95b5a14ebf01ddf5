"""The studies of this room: the positive control, and growing the batch in place of the decay."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from benchmarks.control import batch
from benchmarks.control.plan import Run, main_runs, tune, tuning_runs
from benchmarks.study.tables import Tables
from benchmarks.study.units import Unit, UnitStudy

TABLES = Tables(
    files=("control_runs", "control_traces"),
    key=("run_id",),
    # Runs that begin alike stand together, which halves the size of the compressed file.
    order=("l2", "learning_rate", "seed", "arm", "decay_factor", "place"),
    within="epoch",
    small={"epoch": "int16"},
)

BATCH_TABLES = Tables(
    files=("batch_growth",),
    key=("optimizer", "seed"),
    order=("seed", "optimizer", "arm", "epoch"),
    small={"seed": "int16", "epoch": "int16", "batch_size": "int16", "updates": "int32", "test_accuracy": "float32"},
)


def unit(run: Run) -> Unit:
    """Return a run as a unit of the control."""
    return Unit(run.run_id, (run.run_id,), "benchmarks.control.training:train_alone", (run,), TABLES)


def stages(folder: Path) -> dict[str, list[Unit]]:
    """Return the runs that choose the places of "step", and all others once these are in ``folder``."""
    runs, tuning = TABLES.read(folder)[0], tuning_runs()
    found = {"tuning": list(map(unit, tuning))}
    of_tuning = runs[runs["run_id"].isin({run.run_id for run in tuning})]
    if len(of_tuning) == len(tuning):
        found["main"] = list(map(unit, main_runs(tune(of_tuning))))
    return found


def batch_stages(folder: Path) -> dict[str, list[Unit]]:
    """Return a unit for each optimizer and seed, whose runs begin alike."""
    train = "benchmarks.control.batch_training:train_family"
    keys = product(batch.ARMS, batch.SEEDS)
    return {
        "all": [Unit(f"{name}, seed {seed}", (name, seed), train, (name, seed), BATCH_TABLES) for name, seed in keys]
    }


CONTROL = UnitStudy(
    name="control",
    about="where the weight norm is known to bounce, does the pattern of the paper appear?",
    page="benchmarks.control.page:write_page",
    stages=stages,
)
BATCH = UnitStudy(
    name="batch",
    about="growing the batch in place of the decay, on the control's net and images",
    page="benchmarks.control.batch_page:write_page",
    stages=batch_stages,
)
