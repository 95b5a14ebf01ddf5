"""Settings of the rule on recorded traces: what counts as a trace, a bounce, and a decay found."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.measure import defaults
from benchmarks.measure.calibration import MINIMUM, bounce
from benchmarks.measure.decaying import decaying
from benchmarks.measure.defaults import DEFAULT, Material, Setting, controls, measure, planted
from benchmarks.measure.shallow import shallow
from benchmarks.measure.synthetic import make_run
from benchmarks.results import Results, read_results
from rl_abel import find_decays, rule

RESULTS = Path(__file__).parent.parent / "docs" / "results"


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


def test_settings_of_the_last_decay_against_the_default(tmp_path):
    rng = np.random.default_rng(0)
    # A factor of 0.5 gains 0.1, no decay loses 0.2; a later place does nothing.
    gains = {("constant+final", 0.1, 0.85): 0, ("constant+final", 0.5, 0.85): 10, ("constant+final", 0.1, 0.95): 0}
    for number, ((arm, factor, at), gain) in enumerate({**gains, ("constant", 0.1, 0.85): -20}.items()):
        for seed in range(6):  # the sixth seed is of another stage
            make_run(tmp_path / str(number), "PPO", "A-v1", arm, seed, rng)
            path = tmp_path / str(number) / f"PPO_A-v1_{arm}_seed{seed}" / "run.json"
            changes = {"decay_factor": factor, "final_decay_at": at, "final_return": 50 + gain + seed % 5}
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    runs = pd.concat([read_results(tmp_path / str(number)).runs for number in range(4)], ignore_index=True)
    tasks, table = decaying(Results(runs, pd.DataFrame(), pd.DataFrame()))
    assert [(*row[:2], row[2].split()[0]) for row in table.rows] == [
        ("factor 0.1 at 95 %", "5", "0.00"),
        ("factor 0.5 at 85 %", "5", "0.10"),
        ("no decay", "5", "−0.20"),
    ]
    assert tasks == ["PPO A-v1"]


def test_how_deep_a_fall_has_to_be(tmp_path):
    # One run dips by 2 % in its policy, one without weight decay and one with it bounce as a whole, one only grows.
    x = np.arange(100.0)
    dip, growth = 2_000 + np.where(x < 30, 30 - x, np.minimum(x - 30, 40)), 100 + x
    norms = [(growth, dip), (bounce(), growth), (growth, growth), (bounce(), growth)]
    traces = []
    for seed, (total, policy) in enumerate(norms):
        make_run(tmp_path, "PPO", "A-v1", "constant", seed, np.random.default_rng(0))
        path = tmp_path / f"PPO_A-v1_constant_seed{seed}" / "run.json"
        if seed == 3:
            path.write_text(json.dumps(json.loads(path.read_text()) | {"regularization": "adamw", "strength": 1.0}))
        traces.append((total, policy))
    results = read_results(tmp_path)
    together = [
        trace.assign(total=total, policy=policy, value=1.0)
        for (_, trace), (total, policy) in zip(results.traces.groupby("run_id"), traces)
    ]
    table = shallow(Results(results.runs, results.evaluations, pd.concat(together)), [(bounce(), MINIMUM)])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["0 % (before)"] == ("2 of 3", "1 of 1", "1 of 1")
    assert rows["3 % (default)"] == ("1 of 3", "1 of 1", "1 of 1")


def test_without_other_settings_there_is_nothing_to_compare(tmp_path):
    make_run(tmp_path, "PPO", "A-v1", "constant+final", 0, np.random.default_rng(0))
    assert decaying(read_results(tmp_path))[1].rows == []


def test_what_half_the_measurements_find():
    """docs/rules.md and docs/api.md: of the control's runs that bounce, before their final decay."""
    runs, traces = (pd.read_parquet(RESULTS / f"control_{name}.parquet") for name in ("runs", "traces"))
    chosen = runs[(runs.arm == "simple") & (runs.l2 > 0) & (runs.decay_factor == 0.1) & (runs.learning_rate >= 0.03)]
    found = {1: 0, 2: 0}
    for _, trace in traces[traces.run_id.isin(chosen.run_id)].groupby("run_id"):
        constant = trace[trace.learning_rate == trace.learning_rate.iloc[0]].total.tolist()
        assert len(constant) == 128
        for every in found:
            found[every] += bool(find_decays(constant[::every]))
    assert (len(chosen), found) == (20, {1: 19, 2: 4})
