"""Trunks are trained by the benchmark's engine: saved one by one, begun again, ended with who wanted them."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from rich.console import Console

from benchmarks.lock import only_one
from benchmarks.moments import digits
from benchmarks.moments.plan import DIGITS, Task
from benchmarks.moments.study import DIGITS_RUNS, unit
from benchmarks.study.__main__ import main
from benchmarks.study.launch import run_units
from benchmarks.study.units import UnitStudy
from tests.processes import gone, trainings, until

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parent.parent

SHORT = Task("", "digits", 10, DIGITS[0].strength, "total", "control")
FAILS = Task("", "digits", 10, -1.0, "total", "control")

# Hours of work for a process that is killed at once.
LONG = """
    from pathlib import Path
    from rich.console import Console
    from benchmarks.moments.plan import Task
    from benchmarks.moments.study import unit
    from benchmarks.study.launch import run_units
    from benchmarks.study.units import UnitStudy

    if __name__ == "__main__":
        one = unit(Task("SAC", "Pendulum-v1", 10**7, 0.0, "policy", "exploratory"), 0)
        folder = Path({folder!r})
        run_units(UnitStudy("long", "", "", lambda _: {{"all": [one]}}), folder, Console(), workers=1)
"""


def run(units, folder, workers):
    study = UnitStudy("few", "", "", lambda _: {"all": [unit(*one) for one in units]})
    return run_units(study, folder, Console(soft_wrap=True), workers)


def test_what_is_trained_is_saved_until_nothing_is_missing(tmp_path, capsys):
    units = [(SHORT, 0), (SHORT, 1)]
    assert run(units[:1], tmp_path, workers=1) == 0
    assert run(units, tmp_path, workers=2) == 0
    assert run(units, tmp_path, workers=2) == 0, "and nothing is trained again"
    assert capsys.readouterr().out.count("; 0 left after") == 2
    moments, traces = DIGITS_RUNS.read(tmp_path)
    ours = [digits.train_trunk(SHORT, seed) for seed in (0, 1)]
    expected = pd.DataFrame([row for unit in ours for row in unit["moments"]])
    pd.testing.assert_frame_equal(moments, expected)
    assert len(traces) == 2 * SHORT.timesteps


def test_a_trunk_that_fails_says_why_and_stops_no_other(tmp_path, capsys):
    assert run([(FAILS, 0), (SHORT, 0)], tmp_path, workers=1) == 1
    said = capsys.readouterr().out
    assert said.startswith("digits at -1, seed 0 failed: Traceback")
    assert "Invalid weight_decay" in said
    assert set(DIGITS_RUNS.read(tmp_path)[0]["timesteps"]) == set(range(10))


def test_a_second_launch_on_the_folder_is_refused(tmp_path, capsys):
    with only_one(tmp_path), pytest.raises(SystemExit, match="2"):
        main(["run", "moments", "--saved", str(tmp_path)])
    assert "another launch is at work on" in capsys.readouterr().err


def test_a_trunk_ends_with_a_launch_that_is_killed(tmp_path):
    script = tmp_path / "long.py"
    script.write_text("\n".join(line[4:] for line in LONG.format(folder=str(tmp_path / "saved")).splitlines()))
    launch = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        process = psutil.Process(launch.pid)
        assert until(lambda: trainings(process), seconds=240)
        all_of_it = process.children(recursive=True)
    finally:
        launch.kill()
        launch.wait()
    assert until(lambda: gone(all_of_it))
