"""The positive control as a study: a run is a unit."""

from __future__ import annotations

from pathlib import Path

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


CONTROL = UnitStudy(
    name="control",
    about="where the weight norm is known to bounce, does the pattern of the paper appear?",
    page="benchmarks.control.page:write_page",
    stages=stages,
)
