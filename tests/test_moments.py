"""What a decay brings at each moment: what is trained, what is saved, and what the page makes of it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.moments.answers import EQUILIBRIUM, TASKS, answer, conditions, counted, follows, predicts
from benchmarks.moments.page import PAGE, write_page
from benchmarks.moments.plan import (
    CONTROL,
    DIGITS,
    HELD_OUT,
    PLACES,
    SEEDS,
    STAGES,
    Task,
    first_at,
)
from benchmarks.moments.predictors import at_equal_progress, correlation, line, measured, rank_correlation
from benchmarks.moments.study import DIGITS_RUNS, MOMENTS, RUNS
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.verdicts import judged
from benchmarks.study.__main__ import main

SAVED = Path(__file__).parent.parent / "docs" / "results"

PPO, PPO_WITHOUT = TASKS[:2]
MEASURED = 40

FALLS = [float(norm) for norm in range(60, 40, -1)] + [40.0] * 20
"""Level from the first half on; :data:`GROWS` never."""
GROWS = [float(norm) for norm in range(40, 80)]


@pytest.mark.parametrize(
    ("place", "timesteps", "first"),
    [(0.1, 100, 10), (0.3, 10, 3), (0.05, 150, 8), (0.7, 10, 7), (0.15, 100_000, 15_000)],
)
def test_first_at(place, timesteps, first):
    assert first_at(place, timesteps) == first


def test_every_trunk_is_trained_once_and_what_is_saved_is_not_trained_again(tmp_path):
    planned = MOMENTS.stages(tmp_path)
    units = [one for stage in planned.values() for one in stage]
    assert (
        len({(one.key, one.tables.files) for one in units})
        == len(units)
        == len(SEEDS) * sum(map(len, (DIGITS, *STAGES)))
    )
    task, seed = units[len(planned["control"])].arguments
    saved(tmp_path, unit(task, seed, PAYS))
    assert MOMENTS.missing(tmp_path) == planned | {"stage 1": planned["stage 1"][1:]}


def test_the_control_has_all_of_its_trunks_and_a_branch_at_each_place():
    saved = pd.read_parquet(SAVED / "moments_control.parquet")
    assert len(saved) == len(SEEDS) * len(DIGITS) * len(PLACES)
    assert set(saved["seed"]) == set(SEEDS)


def unit(task, seed, gains, norms=FALLS):
    """A trunk whose branches gain so much, each place after the other, with a measurement at each of its 40 steps."""
    of_unit = {"agent": task.agent, "env_id": task.env_id, "strength": task.strength, "seed": seed}
    at = [int(place * MEASURED) for place in PLACES]
    moments = [
        {
            **of_unit,
            "place": place,
            "timesteps": step,
            "end": step + 4,
            "before": 0.1,
            "trunk": 0.5,
            "branch": 0.5 + gain,
        }
        for place, step, gain in zip(PLACES, at, gains, strict=True)
    ]
    rows = [
        {**of_unit, "timesteps": step, task.part: norm, "train_return": math.nan} for step, norm in enumerate(norms, 1)
    ]
    return {"moments": moments, "trace": rows}


def tables(*units):
    return tuple(pd.DataFrame([row for one in units for row in one[name]]) for name in ("moments", "trace"))


PAYS = [-0.5] * 7 + [0.25] * 3
"""Equilibrium is at step 25, between the moments at 24 and 28: 0.25 after it, -0.5 before it."""


def test_a_difference_by_eye():
    units = [unit(PPO, seed, [gain + seed for gain in PAYS]) for seed in range(3)]
    flat = [unit(PPO_WITHOUT, seed, [0.0] * 7 + [0.125] * 3, GROWS) for seed in range(2)]
    found = answer(*tables(*units, *flat))
    assert list(found) == [PPO, PPO_WITHOUT]
    of = found[PPO].differences[EQUILIBRIUM]
    assert (of.both, of.pairs) == (3, 2)
    assert of.after.estimate == pytest.approx(1.25)
    assert of.difference == pytest.approx((0.75, 0.75, 0.75))
    assert of.twin == pytest.approx((0.125, 0.125, 0.125))
    assert of.beyond_time == pytest.approx((0.625, 0.625, 0.625))
    assert found[PPO].reached == {"minimum": 3, "bounce by rule": 0, "bounce by shape": 0, EQUILIBRIUM: 3}
    assert found[PPO_WITHOUT].reached == dict.fromkeys(found[PPO].reached, 0)
    assert found[PPO].differences["bounce by rule"] == (0, None, None, 0, None, None)
    assert found[PPO].by_place()[0.9].estimate == pytest.approx(1.25)


def test_runs_without_moments_on_both_sides_are_counted_and_left_out():
    never = unit(PPO, 1, [9.0] * 10, GROWS)
    found = answer(*tables(unit(PPO, 0, PAYS), never))[PPO]
    assert (found.seeds, found.differences[EQUILIBRIUM].both) == (2, 1)
    assert found.differences[EQUILIBRIUM].difference == (0.75, -math.inf, math.inf)


def test_a_moment_at_the_timestep_of_the_event_is_after_it():
    # The lowest is measured at step 28, that of the eighth moment.
    norms = [100.0] * 27 + [50.0] + [60.0] * 12
    after = answer(*tables(unit(PPO, 0, PAYS, norms)))[PPO].after["minimum"]
    assert after.loc[0].tolist() == [False] * 7 + [True] * 3


def test_a_norm_that_only_turns_is_told_apart():
    turns = [*GROWS[:20], *(57.0 - step for step in range(20))]
    found = answer(*tables(unit(PPO, 0, PAYS), unit(PPO, 1, PAYS, turns), unit(PPO, 2, PAYS, GROWS)))[PPO]
    assert (found.reached[EQUILIBRIUM], found.dips) == (2, 1)


@pytest.mark.parametrize(
    ("value", "word"),
    [((0.2, 0.1, 0.3), "better"), ((-0.2, -0.3, -0.1), "worse"), ((0.2, 0.0, 0.4), "undecided"), (None, "undecided")],
)
def test_verdict(value, word):
    assert judged(value and Interval(*value)) == word


HELD_OUT_TASKS = [task for task in TASKS if task.role == HELD_OUT]


def whole_study(gains=PAYS, without=None, norms_without=GROWS, tasks=TASKS, seeds=SEEDS):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (len(tasks), len(seeds), len(PLACES)))
    return tables(
        *(
            unit(
                task,
                seed,
                np.array(gains if task.strength else without or [0.0] * 10) + noise[number, seed],
                FALLS if task.strength else norms_without,
            )
            for number, task in enumerate(tasks)
            for seed in seeds
        )
    )


@pytest.mark.parametrize(
    ("study", "fails", "follow"),
    [
        ({}, set(), True),
        ({"gains": PAYS[::-1]}, {"higher", "above 0", "beyond time"}, False),
        ({"without": [2 * gain for gain in PAYS]}, {"beyond time"}, False),
        ({"norms_without": FALLS}, {"without"}, False),
    ],
)
def test_what_makes_a_rule(study, fails, follow):
    found = conditions(answer(*whole_study(**study)))
    assert {condition.name for condition in found if not condition.holds} == fails
    assert len(found) == 7, "three a held-out task with weight decay, and one of all runs without"
    assert follows(found) is follow


def test_without_the_held_out_stages_nothing_is_decided_unless_it_fails_for_good():
    exploratory = [task for task in TASKS if task.role != HELD_OUT]
    found = conditions(answer(*whole_study(tasks=exploratory)))
    assert {condition.holds for condition in found} == {None}
    assert follows(found) is None
    # One seed of a held-out task is missing.
    found = conditions(answer(*whole_study(seeds=SEEDS[:-1])))
    assert {condition.holds for condition in found} == {None}
    # 3 of 50 are more than one in twenty, whatever the others do; 2 are not.
    for reaching, holds in ((2, None), (3, False)):
        some = [unit(PPO_WITHOUT, seed, PAYS) for seed in range(reaching)]
        assert conditions(answer(*tables(*some)))[-1].holds is holds
    assert conditions({})[-1].holds is None


@pytest.mark.parametrize(("flipped", "said"), [((), True), (HELD_OUT_TASKS[:1], False)])
def test_a_predictor_predicts_by_one_sign_on_all_held_out_tasks(flipped, said):
    rng = np.random.default_rng(1)
    units = []
    for task in HELD_OUT_TASKS:
        for seed in SEEDS:
            gains = rng.normal(0, 0.1, len(PLACES))
            one = unit(task, seed, gains)
            for row, gain in zip(one["moments"], gains):
                row["before"] = -gain if task in flipped else gain
            units.append(one)
    found = answer(*tables(*units))
    assert predicts(found, "score") is said
    assert predicts(found, "KL divergence") is False, "it is measured nowhere"
    assert predicts(dict(list(found.items())[1:]), "score") is None


def test_the_rank_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 30).astype(float)
    y = x + rng.normal(0, 2, 30)
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    some = np.where(np.arange(30) % 7, x, np.nan)
    assert rank_correlation(some, y) == pytest.approx(stats.spearmanr(some, y, nan_policy="omit").statistic)
    assert rank_correlation(np.stack([x, y]), np.stack([y, y])) == pytest.approx([float(rank_correlation(x, y)), 1])
    assert np.isnan(rank_correlation(np.ones(30), y))


def test_at_equal_progress_only_differences_between_seeds_are_left():
    values = np.array([[1.0, 10.0], [3.0, np.nan]])
    assert at_equal_progress(values, np.isfinite(values))[0].tolist() == [-1, 0]
    # Over all moments the gain climbs with the progress; between the seeds it falls.
    gains = np.array([[0.0, 10.0, 20.0], [1.0, 11.0, 21.0], [2.0, 12.0, 22.0]])
    found = correlation(gains, gains * 1.0 - 2 * gains[:, :1])
    assert found.raw.estimate > 0.7
    assert found.equal.estimate == pytest.approx(-1)
    assert correlation(gains, np.full((3, 3), np.nan)) == (None, None)
    assert correlation(gains[:1], gains[:1]).raw == (1, -math.inf, math.inf)


def test_the_interval_of_a_correlation_covers_what_is_true():
    """Of 200 studies without any relation the interval holds 0 in about 95 %."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        gains, values = rng.normal(size=(2, 10, 3)) + rng.normal(size=(2, 10, 1))
        low, high = correlation(gains, values).equal[1:]
        held += low <= 0 <= high
    assert 180 <= held <= 199


def test_predictors_by_eye():
    names = ("displacement", "alignment", "relative_update")
    trace = pd.DataFrame({"timesteps": range(1, 21), "policy": [2.0**step for step in range(20)]})
    for factor, name in enumerate(names, 1):
        trace[f"{name}_policy"] = [math.nan, *([100.0] * 9), *([float(factor)] * 10)]
    trace["train_return"] = [0.0] * 10 + [0.1 * step for step in range(10)]
    trace.loc[15, "train_return"] = math.nan
    found = measured(trace, "policy", {"timesteps": 20, "before": 0.4, "place": 0.6})
    assert found == pytest.approx(
        {
            "slope of log |w|²": 10 * math.log(2),
            "relative update": 3,
            "alignment over displacement": 2,
            "slope of the return": 0.1,
            "volatility of the return": 0,
            "KL divergence": math.nan,
            "score": 0.4,
            "progress": 0.6,
        },
        nan_ok=True,
    )
    # At the second moment of a run that measures 100 times there are nine increments.
    assert measured(trace, "policy", {"timesteps": 10, "before": 0, "place": 0.1})["slope of log |w|²"] == (
        pytest.approx(9 * math.log(2))
    )
    assert line([1, 2, math.nan]) == pytest.approx((math.nan, math.nan), nan_ok=True)
    assert line([0, 1, 0, 1])[1] == pytest.approx(np.sqrt(0.2))


def test_the_control_by_other_means():
    """The numbers of H0 once more, from the tables."""
    moments, traces = (pd.read_parquet(SAVED / f"moments_control{rest}.parquet") for rest in ("", "_traces"))
    seeds = []
    for seed in SEEDS:
        gains = {}
        for l2 in (0.016, 0.0):
            of = moments[(moments["seed"] == seed) & (moments["strength"] == l2)].set_index("timesteps")
            gains[l2] = of["branch"] - of["trunk"]
        trace = traces[(traces["seed"] == seed) & (traces["strength"] == 0.016)]
        lowest = trace["timesteps"].iloc[trace["total"].argmin()]
        late = gains[0.0].index >= lowest
        seeds.append([of[late].mean() - of[~late].mean() for of in (gains[0.016], gains[0.016] - gains[0.0])])
    found = answer(moments, traces, DIGITS)[DIGITS[0]].differences["minimum"]
    for interval, values in zip((found.difference, found.beyond_time), np.transpose(seeds)):
        assert interval.estimate == pytest.approx(values.mean())
        # Student's t: another interval of the same mean.
        half = stats.t.ppf(0.975, 9) * stats.sem(values)
        assert interval[1:] == pytest.approx((values.mean() - half, values.mean() + half), abs=0.25 * half)
    assert judged(found.difference) == "better", "H0: the measure sees what is known"


def test_the_page_is_that_of_the_tables(tmp_path, capsys):
    for path in SAVED.glob("moments*.parquet"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    main(["report", "moments", "--saved", str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path / PAGE)
    assert (tmp_path / PAGE).read_text() == (SAVED / PAGE).read_text(), "python -m benchmarks.study report moments"
    assert (tmp_path / "moments_gains.png").stat().st_size > 10_000


def saved(folder, *units, tables=RUNS):
    for one in units:
        tables.add(folder, [one])
    return folder


def test_there_is_a_page_of_whatever_is_there(tmp_path):
    with pytest.raises(ValueError, match="no trunk"):
        write_page(tmp_path)
    one = write_page(saved(tmp_path, unit(PPO, 0, PAYS))).read_text()
    assert "PPO CartPole, ηλN 10 | exploratory | 1 of 10" in one
    assert "does not yet see" in one
    assert "**Not yet decidable**: held-out stages are missing." in one
    assert "0.75 [?]" in one
    control = Task(*DIGITS[0].__dict__.values())
    assert control.role == CONTROL
    for seed in range(3):
        saved(tmp_path, unit(control, seed, [gain + seed / 100 for gain in PAYS]), tables=DIGITS_RUNS)
    assert "better, so the measure sees it" in write_page(tmp_path).read_text()


@pytest.mark.published
def test_the_page_of_the_whole_study(tmp_path):
    moments, traces = whole_study()
    moments.to_parquet(tmp_path / "moments.parquet")
    traces.to_parquet(tmp_path / "moments_traces.parquet")
    assert [len(table) for table in RUNS.read(tmp_path)] == [len(moments), len(traces)]
    page = write_page(tmp_path).read_text()
    assert "**It follows**: all conditions hold." in page
    # A row a task, and of a task with weight decay one an event, of which bounces by rule and by shape never come.
    assert page.count("| 10 of 10 |") == len(TASKS) + 2 * len([task for task in TASKS if task.strength])
    assert page.count("| 0 of 10 |") == 2 * len([task for task in TASKS if task.strength]) + 1, "the control's too"
    assert "decidable" not in page
    assert counted(answer(moments, traces), TASKS) == (50, 100)
