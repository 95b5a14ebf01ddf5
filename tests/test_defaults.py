"""Settings of the rule on recorded traces: what counts as a trace, a bounce, and a decay found."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import defaults
from benchmarks.calibration import MINIMUM, bounce
from benchmarks.defaults import DEFAULT, Material, Setting, controls, measure, planted
from rl_abel import find_decays, rule


def test_the_default_is_that_of_the_rule():
    assert defaults.SETTINGS[0] == DEFAULT
    assert DEFAULT.decays(bounce()) == find_decays(bounce())


def test_other_strides_are_for_this_measurement_alone():
    before = rule.STRIDES
    noisy = [bounce() + 4 * np.random.default_rng(seed).standard_normal(100) for seed in range(20)]
    found = [sum(bool(setting.decays(norms)) for norms in noisy) for setting in (Setting(strides=(1,)), DEFAULT)]
    assert found[0] < 5 < 15 < found[1], "a single stride misses slow bounces"
    assert before == rule.STRIDES


@pytest.mark.parametrize("every", [1, 2, 3])
def test_thinned_decays_are_indices_of_the_whole_trace(every):
    trace = np.repeat(bounce(100), every)
    (decay,) = Setting(every=every).decays(trace)
    assert decay == every * (DEFAULT.decays(bounce(100))[0] + 1) - 1


def test_no_noise_makes_a_planted_bounce_a_smooth_one():
    assert planted(100 + 0.5 * np.arange(100), 50) == pytest.approx(bounce(100))


def test_controls_are_those_that_bounce(tmp_path):
    fall = np.linspace(300, 100, 50)
    shapes = {"bounces": [*fall, *np.linspace(100, 200, 50)], "falls": [*fall, *np.linspace(100, 50, 50)]}
    rates = [0.1] * 90 + [0.01] * 10
    runs, traces = [], []
    for arm, l2, shape, factor in (
        ("simple", 0.1, "bounces", 0.1),
        ("simple", 0.1, "bounces", 0.5),
        ("simple", 0.1, "falls", 0.1),
        ("cosine", 0.1, "bounces", 0.1),
        ("simple", 0, "bounces", 0.1),
    ):
        run_id = f"{arm} {l2} {shape} {factor}"
        runs.append({"run_id": run_id, "arm": arm, "l2": l2, "decay_factor": factor})
        traces.append(pd.DataFrame({"total": shapes[shape], "learning_rate": rates}).assign(run_id=run_id))
    pd.DataFrame(runs).to_parquet(tmp_path / "control_runs.parquet")
    pd.concat(traces).to_parquet(tmp_path / "control_traces.parquet")
    ((norms, lowest),) = controls(tmp_path)
    assert (len(norms), norms[lowest]) == (90, 100.0)


def test_a_row():
    rising = [100.0 + np.arange(100)] * 4
    on = Material([rising[:3], rising[3:]], [(bounce(), MINIMUM)], [np.arange(500.0)], [bounce()])
    name, *figures = measure(DEFAULT, on)
    assert name == "window 10, z 3.7, strides 1, 2, 3, 4 (default)"
    assert figures == ["0.000", "0 % [0, 84]", "1.00", "1.00", "1.00", "1.00", "0.00", "1.00"]
