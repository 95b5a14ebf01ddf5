"""Trunks are trained by the benchmark's engine: saved one by one, begun again, ended with who wanted them."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from benchmarks.lock import only_one
from benchmarks.moments import digits
from benchmarks.moments.__main__ import main
from benchmarks.moments.launch import run_missing
from benchmarks.moments.plan import DIGITS, Task
from benchmarks.moments.saved import CONTROL, RUNS, read_saved
from tests.processes import gone, until

ROOT = Path(__file__).parent.parent

SHORT = Task("", "digits", 10, DIGITS[0].strength, "total", "control")
NOWHERE = Task("PPO", "Nowhere-v1", 10, 0.0, "policy", "exploratory")

# Hours of work for a process that is killed at once.
LONG = """
    from pathlib import Path
    from benchmarks.moments.launch import run_missing
    from benchmarks.moments.plan import Task

    if __name__ == "__main__":
        unit = Task("SAC", "Pendulum-v1", 10**7, 0.0, "policy", "exploratory"), 0
        run_missing([unit], Path({folder!r}), "moments", 1, 60)
"""


def test_what_is_trained_is_saved_until_nothing_is_missing(tmp_path, capsys):
    units = [(SHORT, 0), (SHORT, 1)]
    assert run_missing(units, tmp_path, CONTROL, workers=1, minutes=1e-9) == 2
    assert run_missing(units[:1], tmp_path, CONTROL, workers=1, minutes=60) == 0
    assert run_missing(units, tmp_path, CONTROL, workers=2, minutes=60) == 0
    assert capsys.readouterr().out.count("; 0 left after") == 2
    moments, traces = read_saved(tmp_path, CONTROL)
    ours = [digits.train_trunk(SHORT, seed) for seed in (0, 1)]
    expected = pd.DataFrame([row for unit in ours for row in unit["moments"]])
    pd.testing.assert_frame_equal(moments, expected)
    assert len(traces) == 2 * SHORT.timesteps


def test_a_trunk_that_fails_says_why_and_stops_no_other(tmp_path, capsys):
    assert run_missing([(NOWHERE, 0)], tmp_path, RUNS, workers=1, minutes=60) == 1
    said = capsys.readouterr().out
    assert said.startswith("PPO Nowhere at 0, seed 0 failed: ")
    assert "env_id must be one of" in said


def test_a_second_launch_on_the_folder_is_refused(tmp_path, capsys):
    with only_one(tmp_path), pytest.raises(SystemExit, match="2"):
        main(["control", "--saved", str(tmp_path)])
    assert "another launch is at work on" in capsys.readouterr().err


def test_a_trunk_ends_with_a_launch_that_is_killed(tmp_path):
    script = tmp_path / "long.py"
    script.write_text("\n".join(line[4:] for line in LONG.format(folder=str(tmp_path / "saved")).splitlines()))
    launch = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    below = psutil.Process(launch.pid).children

    def trunks():
        return [p for p in below(recursive=True) if p.parent() and "benchmarks.starter" in p.parent().cmdline()]

    try:
        until(trunks, seconds=240)
        all_of_it = below(recursive=True)
    finally:
        launch.kill()
        launch.wait()
    until(lambda: gone(all_of_it))
