"""Whether norms bounced, by rule and by shape; the outcomes beside the final score; the first study's archive."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.report import movements
from benchmarks.report.scores import measured
from benchmarks.results import FIRST_STUDY, Results, read_parquet, read_results
from tests.made_up import make_run


@pytest.mark.parametrize(
    ("measured", "bounced"),
    [
        ([10] * 5 + [9] * 5 + [10] * 5, True),
        ([10] * 5 + [9.6] * 5 + [11] * 5, False),  # falls by 4 %
        ([10] * 5 + [9] * 5 + [9.4] * 5, False),  # rises by 4 %
        ([10] * 5 + [20] * 5 + [15] * 5 + [20] * 5, False),  # rises first, and never falls below its start
        ([10] * 7 + [1] * 2 + [10] * 6, False),  # two measurements are noise
        ([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], False),
    ],
)
def test_bounces_by_shape(measured, bounced):
    assert movements.shaped(measured) == bounced


def ramp(*levels):
    """Straight lines between these levels, a measurement a unit, and a little noise."""
    line = [float(levels[0])]
    for before, after in itertools.pairwise(levels):
        line += list(np.linspace(before, after, abs(after - before) + 1))[1:] if after != before else [before] * 20
    return np.array(line) + 0.05 * np.random.default_rng(0).normal(size=len(line))


@pytest.mark.parametrize(
    ("levels", "wanting"),
    [
        ((90, 60, 90, 90), ""),  # falls, rises, levels off
        ((90, 60, 90), "end"),
        ((90, 60), "rise"),
        ((90, 60, 60), "rise"),
        ((60, 90), "fall"),
        ((90, 86, 120, 120), "fall"),  # of 4 measurements
    ],
)
def test_what_the_rule_misses(levels, wanting):
    assert movements.wanting(ramp(*levels)) == wanting


def traced(folder, of_runs, **changes):
    """Runs at a constant rate whose total norms are these; policy and value stand still."""
    rng = np.random.default_rng(0)
    for seed in range(len(of_runs)):
        make_run(folder, "PPO", "A-v1", "constant", seed, rng)
        path = folder / f"PPO_A-v1_constant_seed{seed}" / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    results = read_results(folder)
    traces = [
        trace.assign(total=np.resize(total, len(trace)), policy=1.0, value=1.0)
        for (_, trace), total in zip(results.traces.groupby("run_id"), of_runs)
    ]
    return Results(results.runs, results.evaluations, pd.concat(traces))


def test_movements_are_counted_by_rule_by_shape_and_by_both(tmp_path):
    x = np.arange(100.0)
    both = 100 + np.where(x < 40, 40 - x, np.minimum(x - 40, 30))
    by_shape = 100 + np.where(x < 5, 20 - 4 * x, np.minimum(x - 5, 30))  # a fall of 5 measurements
    moved = movements.movements(traced(tmp_path, [both, by_shape, 100 + x]))
    total = moved[moved["part"] == "total"]
    assert list(zip(total["rule"], total["shape"], total["wanting"])) == [
        (True, True, ""),
        (False, True, "fall"),
        (False, False, "fall"),
    ]
    assert movements.counted(total) == {
        **{"runs": 3, "tasks": 1, "rule": 1, "shape": 2, "both": 1},
        **{"fall": 1, "rise": 0, "end": 0},
    }


def test_last_quarter_and_area_are_means_over_evaluations(tmp_path):
    for arm in ("constant", "linear"):
        make_run(tmp_path, "PPO", "A-v1", arm, 0, np.random.default_rng(0))
    results = read_results(tmp_path)
    at = results.evaluations
    step = np.where(at["timesteps"] > 75_000, 80.0, 20.0)  # 5 of 20 evaluations, on a scale from 0 to 100
    once = at["run_id"].str.contains("linear") & (at["timesteps"] < 100_000)
    runs = measured(Results(results.runs, at.assign(return_mean=step)[~once], results.traces))
    by_arm = runs.set_index("arm")
    assert by_arm.loc["constant", ["last_quarter", "area"]].tolist() == pytest.approx([0.8, 0.35])
    assert by_arm.loc["linear", ["last_quarter", "area"]].isna().all(), "evaluated at its end alone"


def test_the_first_studys_runs_are_read_from_their_archive():
    results = read_parquet(FIRST_STUDY)
    assert len(results.runs) == 1_641
    assert results.runs["run_id"].is_unique
    assert set(results.traces["run_id"]) <= set(results.runs["run_id"])
    with pytest.raises(ValueError, match=r"nothing has no runs\.parquet"):
        read_parquet(FIRST_STUDY.parent / "nothing")
