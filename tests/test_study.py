"""The study: what is run, what is chosen, what is kept, and that the page says what the files say."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import launch
from benchmarks.measure.synthetic import make_run
from benchmarks.plan import SCHEDULES, Run
from benchmarks.report import movements
from benchmarks.report.scores import measured
from benchmarks.results import Results, read_parquet, read_results
from benchmarks.study import __main__ as command
from benchmarks.study import norms, page, scores, tables
from benchmarks.study import stages as study
from benchmarks.study.page import DETAILS, PAGE, context, write_page
from rl_abel import TrendRule
from rl_abel.rule import observe_each

DOCS = Path(__file__).parent.parent / "docs" / "results"
ALL = {(env_id, arm): 1.0 for env_id in study.CLASSIC for arm in SCHEDULES}


def test_the_plan_has_the_runs_of_the_code():
    rows = re.findall(r"^\| ([a-z, ]+) \| (\d+) \|", (DOCS / "plan.md").read_text(), re.MULTILINE)
    assert [(name, int(count)) for name, count in rows] == [
        (name, planned) for name, (_, planned) in study.progress(None).items()
    ]


def test_tuning_seeds_are_used_for_nothing_else():
    for name, runs in study.stages(ALL).items():
        assert {run.seed for run in runs}.isdisjoint(study.TUNING_SEEDS) != name.endswith("tuning")


def test_runs_of_the_robust_stage_are_shared_or_evaluated_at_their_end_alone():
    stages = study.stages(ALL)
    shared = [run for run in stages["robust"] if run in stages["classic"]]
    assert len(shared) == 2 * 4 * 5  # two tasks, four arms at the standard setting, five seeds
    assert {run.evaluations for run in shared} == {20}
    assert {run.evaluations for run in stages["robust"] if run not in shared} == {1}


def test_every_run_measures_a_hundred_times():
    for runs in study.stages(ALL).values():
        for run in runs:
            # The first rollout's weights are untrained, and those of the last update come after the last rollout.
            assert (run.timesteps - 1) // run.measure_every - 1 >= 99, run


def table(scores):
    """Runs whose returns on CartPole are these, by multiplier, one a tuning seed."""
    rows = []
    for multiplier, returns in scores.items():
        for seed, final_return in zip(study.TUNING_SEEDS, returns):
            rows.append(
                {"agent": "PPO", "env_id": "CartPole-v1", "arm": "linear", "regularization": "none", "strength": 0.0}
                | {"timesteps": 1, "random_return": 0.0, "reference_return": 500.0, "status": "complete"}
                | {"rate_multiplier": multiplier, "seed": seed, "final_return": final_return}
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({0.3: [100, 100], 1.0: [200, 200], 3.0: [300, 300]}, 3.0),
        ({0.3: [500, 500], 1.0: [400, 400], 3.0: [300, 300]}, 0.3),
        ({0.3: [500, 500], 1.0: [498, 498], 3.0: [500, 500]}, 1.0),  # a tie: nearest to 1
        ({0.3: [500, 500], 1.0: [100, 100], 3.0: [500, 500]}, 3.0),  # 3 is nearer to 1 than 1 / 0.3
        ({0.3: [500, 0], 1.0: [300, 300], 3.0: [200, 200]}, 1.0),  # the mean of both seeds
        ({0.3: [500, 500], 1.0: [400, 400]}, None),  # not all are there
        ({0.3: [500, 500], 1.0: [400], 3.0: [300, 300]}, None),
    ],
)
def test_choice(scores, chosen):
    assert study.choose(table(scores)) == ({} if chosen is None else {("CartPole-v1", "linear"): chosen})


def test_other_seeds_have_no_part_in_the_choice():
    runs = table({0.3: [100, 100], 1.0: [200, 200], 3.0: [300, 300]})
    others = table({0.3: [500, 500], 1.0: [200, 200], 3.0: [0, 0]}).assign(seed=0)
    assert study.choose(pd.concat([runs, others])) == {("CartPole-v1", "linear"): 3.0}


@pytest.fixture
def made_up(tmp_path):
    """Three runs in a folder, of which the first is archived too."""
    rng = np.random.default_rng(0)
    for seed in range(3):
        make_run(tmp_path / "out", "PPO", "Task-v1", "constant", seed, rng)
        if seed == 0:
            study.save(read_results(tmp_path / "out"), tmp_path / "archive")
    return tmp_path


def test_what_is_saved_and_what_is_new_come_together_once(made_up):
    whole = study.known(made_up / "out", made_up / "archive")
    assert sorted(whole.runs["seed"]) == [0, 1, 2]
    assert set(whole.traces["run_id"]) == set(whole.evaluations["run_id"]) == set(whole.runs["run_id"])
    assert whole.traces.groupby("run_id").size().unique().tolist() == [100]
    study.save(whole, made_up / "archive")
    alone = study.known(made_up / "nothing", made_up / "archive")
    assert len(alone.runs) == 3, "a fresh machine has only what is committed"
    assert study.known(made_up / "nothing", made_up / "nothing") is None


def test_saving_again_changes_nothing(made_up):
    study.save(study.known(made_up / "out", made_up / "archive"), made_up / "archive")
    before = [path.read_bytes() for path in sorted((made_up / "archive").iterdir())]
    study.save(study.known(made_up / "out", made_up / "archive"), made_up / "archive")
    assert [path.read_bytes() for path in sorted((made_up / "archive").iterdir())] == before


def test_a_torn_save_leaves_the_files_as_they_were(made_up, monkeypatch):
    whole = study.known(made_up / "out", made_up / "archive")

    def torn(table, path, **options):
        Path(path).write_bytes(b"PAR1")
        raise OSError("no space left")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", torn)
    with pytest.raises(OSError, match="no space left"):
        study.save(whole, made_up / "archive")
    assert len(read_parquet(made_up / "archive").runs) == 1


def test_only_what_is_missing_is_run(tmp_path, monkeypatch):
    first, second, third = (Run("PPO", "CartPole-v1", 1024, "constant", seed) for seed in range(3))
    launched = []
    monkeypatch.setattr(command, "stages", lambda choice: {"one": [first, second], "two": [third]})
    monkeypatch.setattr(launch, "launch", lambda name, runs, *rest: launched.append((name, runs)) or 0)
    there = Results(table({1.0: [1]}).assign(run_id=first.run_id), pd.DataFrame(), pd.DataFrame())
    monkeypatch.setattr(command, "known", lambda out: there)
    assert command.run(tmp_path, 1, None, None) == 0
    assert launched == [("one", [second]), ("two", [third])]
    monkeypatch.setattr(launch, "launch", lambda name, runs, *rest: launched.append(name) or launch.INTERRUPTED)
    assert command.run(tmp_path, 1, None, None) == launch.INTERRUPTED
    assert launched[2:] == ["one"], "Ctrl-C ends the study, not the stage alone"


def test_a_study_interrupted_by_its_clock_goes_on(tmp_path, monkeypatch):
    runs = [
        Run("PPO", "CartPole-v1", 1024, "constant", seed, evaluations=1, evaluation_episodes=1, final_episodes=1)
        for seed in range(200)
    ]
    monkeypatch.setattr(command, "stages", lambda choice: {"one": runs})
    monkeypatch.setattr(command, "known", lambda out: None)
    assert command.main(["run", "--out", str(tmp_path / "out"), "--workers", "1", "--minutes", "0.15"]) == 130
    done = len(read_results(tmp_path / "out").runs) if any((tmp_path / "out").glob("*/run.json")) else 0
    assert done < 200


# Norms


def test_alignment_as_a_multiple_of_displacement():
    trace = pd.DataFrame(
        {"displacement_total": [None, *[2.0] * 9], "alignment_total": [None, *[-1.0] * 6, *[-3.0] * 3]}
    )
    assert movements.alignment(trace.astype(float)) == (-0.5, -1.5)
    assert np.isnan(movements.alignment(trace, "value")).all()


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
    assert total["growth"].round(2).tolist() == [0.93, 1.08, 1.99]
    assert total["lowest_at"].round().tolist() == [40, 5, 0]
    assert movements.counted(total) == {
        **{"runs": 3, "tasks": 1, "rule": 1, "shape": 2, "both": 1},
        **{"fall": 1, "rise": 0, "end": 0},
    }
    (row,) = tables.bounces(moved, {"PPO A-v1": True}).rows
    assert row == ("PPO A-v1", "yes", "total", "3", "1", "2", "1", "1", "0", "0")


def test_the_interval_of_shares_is_over_tasks_and_dead_tasks_stand_apart():
    rows = [(f"T{task}", "total", task == 9, task == 9, "", 0.0, task < 9) for task in range(11) for _ in range(20)]
    moved = pd.DataFrame(rows, columns=["task", "part", "rule", "shape", "wanting", "strength", "learned"])
    alive, dead = norms.bounced(moved)
    assert (alive["learned"], alive["counts"]["runs"], alive["counts"]["tasks"]) == (True, 180, 9)
    assert alive["tasks"].high == pytest.approx(1 - 0.025 ** (1 / 9))  # of 9 tasks, not of 180 runs
    assert (dead["learned"], dead["counts"]["rule"], dead["tasks"].estimate) == (False, 20, 0.5)


# Scores


def scored(folder, env_id, scores, seeds=6, agent="PPO", **changes):
    """Runs of each arm, whose normalised scores are these plus a hundredth of the seed."""
    rng = np.random.default_rng(0)
    for arm, score in scores.items():
        for seed in range(seeds):
            make_run(folder, agent, env_id, arm, seed, rng)
            path = folder / f"{agent}_{env_id}_{arm}_seed{seed}" / "run.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": 100 * score + seed} | changes))
    return scores_of(folder)


def scores_of(folder):
    return measured(read_results(folder))


def test_last_quarter_and_area_are_means_over_evaluations(tmp_path):
    scored(tmp_path, "A-v1", {"constant": 0.9, "linear": 0.9}, seeds=1)
    results = read_results(tmp_path)
    at = results.evaluations
    step = np.where(at["timesteps"] > 75_000, 80.0, 20.0)  # 5 of 20 evaluations, on a scale from 0 to 100
    once = at["run_id"].str.contains("linear") & (at["timesteps"] < 100_000)
    runs = measured(Results(results.runs, at.assign(return_mean=step)[~once], results.traces))
    by_arm = runs.set_index("arm")
    assert by_arm.loc["constant", ["last_quarter", "area"]].tolist() == pytest.approx([0.8, 0.35])
    assert by_arm.loc["linear", ["last_quarter", "area"]].isna().all(), "evaluated at its end alone"


def test_the_best_arm_of_a_task(tmp_path):
    scored(tmp_path, "A-v1", {"constant": 0.1, "linear": 0.6}, seeds=1)
    best = scores.best(scored(tmp_path, "B-v1", {"constant": 0.4, "linear": 0.3}, seeds=1))
    assert best.to_dict() == {"PPO A-v1": 0.6, "PPO B-v1": 0.4}


def test_equal_care_takes_the_best_rate_of_each_arm(tmp_path):
    # Linear decay is best at × 3, the other at × 1 (a tie, nearest to 1); × 0.3 lacks seeds and so all rates have six.
    rates = {0.3: (0.1, 0.5), 1.0: (0.5, 0.8), 3.0: (0.75, 0.805)}
    runs = []
    for multiplier, (linear, constant) in rates.items():
        folder = tmp_path / f"{multiplier:g}"
        more = 12 if multiplier == 1 else 6
        runs.append(
            scored(folder, "A-v1", {"linear": linear, "constant+final": constant}, more, rate_multiplier=multiplier)
        )
    found, rates = scores.equal_care(pd.concat(runs, ignore_index=True))
    assert found.mean.estimate == pytest.approx(0.05)
    assert rates["PPO A-v1"]["linear"] == (3.0, [0.3, 1.0, 3.0])
    assert tables.equal(pd.concat(runs, ignore_index=True)).rows == [
        ("PPO A-v1", "× 1 of 0.3, 1, 3", "× 3 of 0.3, 1, 3", "6", "0.05 [0.05, 0.05]"),
    ]
    assert scores.equal_care(runs[0][runs[0]["arm"] == "linear"]) == (None, {})
    assert tables.equal(runs[0][runs[0]["arm"] == "linear"]).rows == []


def test_effects_hold_strengths_and_dead_tasks_apart(tmp_path):
    weak, strong = ({"regularization": "adamw", "strength": strength} for strength in (1.0, 10.0))
    scored(tmp_path / "1", "CartPole-v1", {"constant": 0.8, "linear": 0.8, "constant+final": 0.7}, **weak)
    scored(tmp_path / "10", "CartPole-v1", {"constant": 0.5, "linear": 0.9, "constant+final": 0.8}, **strong)
    scored(tmp_path / "10", "Acrobot-v1", {"constant": 0.2, "linear": 0.1, "constant+final": 0.0}, **strong)
    arms = {"constant": 0.9, "linear": 0.6, "constant+final": 0.7, "abel": 0.7, "step": 0.65, "abel-paper": 0.2}
    scored(tmp_path / "0", "CartPole-v1", arms)
    main = pd.concat([scores_of(tmp_path / name) for name in ("0", "1", "10")], ignore_index=True)
    main["learned"] = main["task"].map(scores.best(main) >= 0.5)
    empty = main.iloc[:0]
    found = scores.effects(main, empty, empty, empty)
    estimates = {
        strength: {pair: round(of.mean.estimate, 2) for pair, of in pairs.items()}
        for strength, pairs in found["by_strength"].items()
    }
    assert estimates[1.0] == dict(zip(scores.PAIRS, (-0.1, -0.1, 0.0)))
    assert estimates[10.0] == dict(zip(scores.PAIRS, (-0.1, 0.3, 0.4)))
    assert found["by_strength"][10.0][scores.PAIRS[0]].size == "1 × 6"
    assert (found["num_rivals"], round(found["rivals"].mean.estimate, 2)) == (4, -0.2), "abel is the same run"
    assert list(found["costs"]) == ["PPO CartPole-v1", "PPO CartPole-v1, adamw 1"]
    assert list(found["gains"]) == ["PPO CartPole-v1, adamw 10"]
    assert round(found["literal"].mean.estimate, 2) == -0.7
    # The figure has what is learned.
    assert page._differences(main, found["equal"]).png.startswith(b"\x89PNG")


def test_by_task_says_what_is_not_excluded(tmp_path):
    runs = scored(tmp_path, "A-v1", {"constant": 0.3, "constant+final": 0.4})
    (row,) = tables.differences(runs, {"PPO A-v1": False}).rows
    assert row[:4] == ("PPO A-v1 (not learned)", "constant+final − constant", "6", "0.10 [0.10, 0.10]")
    assert row[-2:] == ("0.10", "different")


def test_algorithm_1_in_training(tmp_path):
    scored(tmp_path, "A-v1", {"abel-paper": 0.5, "abel": 0.5})
    for seed, times in ((4, 1), (5, 3)):
        path = tmp_path / f"PPO_A-v1_abel-paper_seed{seed}" / "run.json"
        decays = [[40_000, "bounce", 0.1]] * times + [[85_000, "final", 0.1]]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"decays": decays, "factor": 0.001}))
    ((task, bounced, counted, factor, score),) = tables.literal(scores_of(tmp_path)).rows
    assert (task, bounced, counted, factor) == ("PPO A-v1", "2 of 6", "0 (0 to 3)", "1")
    assert score == "0.53"  # 0.5 and a hundredth of the seed


def test_by_base_rate(tmp_path):
    for multiplier, score in ((1.0, 0.4), (3.0, 0.7)):
        arms = {"constant": 0.6, "linear": score, "constant+final": 0.7}
        scored(tmp_path / f"{multiplier:g}", "A-v1", arms, rate_multiplier=multiplier)
    runs = pd.concat([scores_of(tmp_path / name) for name in ("1", "3")], ignore_index=True)
    found = {rate: [round(of.mean.estimate, 2) for of in pair] for rate, pair in scores.by_rate(runs).items()}
    assert found == {1.0: [0.3, 0.1], 3.0: [0.0, 0.1]}
    assert [(*row[:3], *row[-2:]) for row in tables.rates(runs).rows] == [
        ("PPO A-v1", "× 1", "6", "0.30 [0.30, 0.30]", "0.10 [0.10, 0.10]"),
        ("PPO A-v1", "× 3", "6", "0.00 [0.00, 0.00]", "0.10 [0.10, 0.10]"),
    ]
    (row,) = tables.decays(runs[runs["rate_multiplier"] == 1]).rows
    assert row[:2] == ("PPO A-v1", "× 0.1")
    assert row[2].startswith("0.72 ")


def test_beyond_the_rates_of_the_tuning(tmp_path):
    # At 3 times the rate linear decay is 0.3 behind constant + final decay, at 6 times as good, at 10 worse.
    for multiplier, score in ((3.0, 0.4), (6.0, 0.7), (10.0, 0.6)):
        arms = {"linear": score, "constant+final": 0.7}
        scored(tmp_path / f"{multiplier:g}", "LunarLander-v3", arms, rate_multiplier=multiplier)
    runs = pd.concat([scores_of(tmp_path / name) for name in ("3", "6", "10")], ignore_index=True)
    assert [
        [cell.split()[0] for cell in row] for row in tables.over_settings(runs, ("arm",), "rate_multiplier").rows
    ] == [
        ["constant+final", "0.72", "0.72", "0.72"],
        ["linear", "0.42", "0.72", "0.62"],
    ]
    alike, best = scores.against_linear(runs)
    assert (round(alike.mean.estimate, 2), round(best.mean.estimate, 2)) == (0.3, 0.0)
    assert scores.against_linear(runs[runs["rate_multiplier"] == 3]) is None


def test_decays_by_a_bounce_on_fresh_seeds(tmp_path):
    # Of six runs abel decays in the last two, which gain 0.3 and 0.6; on B-v1 in none.
    for env_id in ("A-v1", "B-v1"):
        scored(tmp_path, env_id, {"constant+final": 0.5, "abel": 0.5})
    for seed, gain in ((4, 30), (5, 60)):
        path = tmp_path / f"PPO_A-v1_abel_seed{seed}" / "run.json"
        record = json.loads(path.read_text())
        record["decays"] = [[40_000, "bounce", 0.1], *record["decays"]]
        path.write_text(json.dumps(record | {"final_return": record["final_return"] + gain}))
    first, second = scores.on_fresh_seeds(scores_of(tmp_path))
    assert (first.task, first.bounced, round(first.found.mean.estimate, 2)) == ("PPO A-v1", 2, 0.15)
    assert round(first.of_these.mean.estimate, 2) == 0.45
    assert (second.bounced, second.found.mean.estimate, second.of_these) == (0, 0.0, None)
    assert [row[-1] for row in tables.fresh([second]).rows] == ["–"]


# The page


def test_before_all_runs_are_there_the_page_says_so(made_up, tmp_path):
    text = write_page(read_results(made_up / "out"), tmp_path).read_text()
    assert "Not answered yet" in text
    assert "- classic: 270" in text


published = pytest.mark.skipif(not (DOCS / "runs.parquet").is_file(), reason="nothing has been published yet")


@pytest.fixture(scope="module")
def results():
    return read_parquet(DOCS)


@published
def test_the_page_says_what_the_files_say(results, tmp_path):
    write_page(results, tmp_path)
    for name in (PAGE, DETAILS):
        assert (tmp_path / name).read_text() == (DOCS / name).read_text(), "run `make results`"
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in DOCS.glob("study_*.png")}
    shown = re.findall(r"\]\((study_[\w-]+\.png)\)", (DOCS / PAGE).read_text() + (DOCS / DETAILS).read_text())
    assert drawn == set(shown)


@published
def test_what_the_sentences_take_for_granted_is_so(results):
    """What stands in the template as words, not as a number that is filled in."""
    found = context(results)
    counts = {(row["strength"], row["learned"]): row["counts"] for row in found["bounced"]}
    moved = dict(iter(found["moved"][found["moved"]["part"] == "total"].groupby("task")))
    assert counts[0.0, True]["shape"] == counts[0.0, True]["rule"] == 0
    assert counts[0.0, False]["shape"] == counts[0.0, False]["rule"] == 0
    assert (moved["PPO CartPole-v1"]["growth"] > 1).all()
    dips = moved["CrossQ Pendulum-v1, adamw 10"]  # "dips and then grows to the end"
    assert dips["lowest_at"].between(1, 15).all()
    assert (dips["of_peak"] > 0.99).all()
    rises = moved["CrossQ Pendulum-v1, adamw 1"]  # "rises and ends below its peak"
    assert (rises["growth"] > 1).all()
    assert (rises["of_peak"] < 0.95).all()
    assert not (dips["rule"] | dips["shape"] | rises["rule"] | rises["shape"]).any()
    assert (moved["SAC Pendulum-v1, adamw 10"]["growth"] > 1).all()
    by_shape = {task: int(of["shape"].sum()) for task, of in moved.items() if found["learned"][task]}
    assert max(by_shape, key=by_shape.get) == "PPO CartPole-v1, adamw 10"
    effects = found["effects"]
    assert list(effects["costs"]) == ["SAC Pendulum-v1"]
    assert min(effects["by_rate"][0.3][1].tasks.items(), key=lambda item: item[1].mean.estimate)[0] == "PPO CartPole-v1"
    assert all(of.found.mean.low < 0 < of.found.mean.high for of in effects["fresh"])
    assert effects["equal"].mean.low < 0 < effects["equal"].mean.high
    assert all(effects["by_strength"][10.0][pair].mean.low > 0 for pair in scores.PAIRS[1:])
    weak = effects["by_strength"][1.0][scores.PAIRS[1]].mean
    assert weak.low < 0 < weak.high
    assert found["chosen"]["LunarLander-v3"].tolist() == [found["largest"]] * 9


@published
def test_runs_of_the_tuning_are_in_no_answer(results):
    for part in study.split(results).values():
        assert part.runs["run_id"].is_unique
        assert not set(part.runs["seed"]) & set(study.TUNING_SEEDS)


@published
def test_every_abel_run_did_what_its_traces_say(results):
    # Runs from before the arm watched every part are among them.
    runs = results.runs[(results.runs["arm"] == "abel") & (results.runs["status"] == "complete")].set_index("run_id")
    assert len(runs)
    for run_id, trace in results.traces[results.traces["run_id"].isin(runs.index)].groupby("run_id"):
        states, bounces = {}, []
        parts = [part for part in ("total", "policy", "value") if trace[part].notna().any()]
        for row in trace.to_dict("records"):
            states, bounced = observe_each(TrendRule(), states, {part: row[part] for part in parts})
            bounces += [row["timesteps"]] if bounced else []
        decays = json.loads(runs.loc[run_id, "decays"])
        (final,) = [at for at, cause, _ in decays if cause == "final"]
        assert [at for at, cause, _ in decays if cause == "bounce"] == [at for at in bounces if at <= final], run_id


@published
def test_the_readme_says_what_the_pages_say():
    text = (DOCS.parent.parent / "README.md").read_text()
    pages = "".join((DOCS / name).read_text() for name in (PAGE, DETAILS, "control.md", "evidence_details.md")).replace(
        "\\", ""
    )
    pages = " ".join(pages.split())
    # Counts of runs are those of tests/test_claims.py.
    said = re.findall(r"[−\d.]+ \[[^\]]*\d\]", " ".join(text.split()))
    assert len(said) > 4
    assert [number for number in said if number not in pages] == []


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in DOCS.glob("*.parquet")) < 20e6
