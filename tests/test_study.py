"""The study: what is run, what is chosen, what is kept, and that the page says what the files say."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import launch
from benchmarks.measure.synthetic import make_run
from benchmarks.plan import ARMS, Run
from benchmarks.report.answers import answer
from benchmarks.results import Results, read_parquet, read_results
from benchmarks.study import __main__ as command
from benchmarks.study import stages as study
from benchmarks.study.edge import edge_in_words, over_rates
from benchmarks.study.fresh import decays_on_fresh_seeds, fresh_in_words
from benchmarks.study.headlines import bounce_headlines, headlines, in_short, unlearned
from benchmarks.study.norms import alignment, candidate, falls_and_rises, in_words, shaped, why
from benchmarks.study.page import PAGE, split, write_page
from benchmarks.study.scores import decays_by_bounce, literal_in_training, single_decays
from benchmarks.study.settings import by_rate_in_words, over_settings, settings_in_words
from rl_abel import TrendRule
from rl_abel.rule import observe_each

DOCS = Path(__file__).parent.parent / "docs" / "results"
ALL = {(env_id, arm): 1.0 for env_id in study.CLASSIC for arm in ARMS}


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


def test_alignment_as_a_multiple_of_displacement():
    trace = pd.DataFrame(
        {"displacement_total": [None, *[2.0] * 9], "alignment_total": [None, *[-1.0] * 6, *[-3.0] * 3]}
    )
    assert alignment(trace.astype(float)) == (-0.5, -1.5)


# The page


def moving(folder, first, last):
    """Three runs at a constant rate, with these alignments in the first and the rest of each; displacement is 1."""
    rng = np.random.default_rng(0)
    for seed in range(len(first)):
        make_run(folder, "PPO", "A-v1", "constant", seed, rng)
    results = read_results(folder)
    traces = []
    for (_, trace), before, after in zip(results.traces.groupby("run_id"), first, last):
        bounce = 10 - 8 * np.exp(-((np.linspace(0, 1, 100) - 0.4) ** 2) / 0.02)
        layers = {"layer/deep": bounce if before < -1 else 1 + np.arange(100.0), "layer/flat": 1.0}
        terms = {"displacement_total": 1.0, "alignment_total": np.r_[np.full(40, before), np.full(60, after)]}
        traces.append(trace.assign(**layers, **terms))
    return Results(results.runs, results.evaluations, pd.concat(traces))


def test_why_and_by_layer_in_words(tmp_path):
    by_layer, movement = in_words(moving(tmp_path, first=[-3.0, -3.0, 2.0], last=[0.5, -2.0, 0.5]))
    assert by_layer == (
        "Without regularization, by layer: 2 of 6 bounced (up to ten a run, the largest); "
        "most often deep of PPO A-v1, in 2 of 3 runs."
    )
    assert "norm fell, in 2 of 3 runs, of which 1 grew over the last third; it was positive" in movement
    assert "nothing pulled the norm down, in 1. At the end" in movement


def test_the_candidate_is_crossq_with_weight_decay(tmp_path):
    rng = np.random.default_rng(0)
    for agent, changes in {"CrossQ": {"regularization": "adamw", "strength": 10.0}, "SAC": {}}.items():
        for seed in range(2):
            path = tmp_path / f"{agent}_A-v1_constant_seed{seed}" / "run.json"
            make_run(tmp_path, agent, "A-v1", "constant", seed, rng)
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    results = read_results(tmp_path)
    results = Results(results.runs, results.evaluations, results.traces.assign(total=1 + results.traces.index % 100))
    (said,) = candidate(results, answer(results))
    assert said.startswith(
        "The candidate for a bounce, batch renormalisation with weight decay, CrossQ A-v1, adamw 10: "
    )
    assert (
        "|w|² of the total bounced in 0 of 2 runs, by shape in 0 (lowest at 0 (0 to 0) % of the run, at the end "
        "100.00 (100.00 to 100.00) times that at the start)" in said
    )


def test_why_by_part(tmp_path):
    results = moving(tmp_path, first=[-3.0, -3.0, 2.0], last=[0.5, -2.0, 0.5])
    of_part = {"displacement_value": 2.0, "alignment_value": -2.0}
    rows = why(Results(results.runs, results.evaluations, results.traces.assign(**of_part))).rows
    assert [row[:3] for row in rows] == [("PPO A-v1", "total", "3"), ("PPO A-v1", "value", "3")]
    assert rows[0][3:5] == ("−3.00 (−3.00 to +2.00)", "+0.50 (−2.00 to +0.50)")
    assert rows[1][3:5] == ("−1.00 (−1.00 to −1.00)", "−1.00 (−1.00 to −1.00)")


def test_falls_and_rises(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(3):
        make_run(tmp_path, "PPO", "A-v1", "constant", seed, rng)
    results = read_results(tmp_path)
    x = np.arange(100.0)
    paused = np.select([x < 30, x < 50, x < 65], [30 - x, x - 30, 20], x - 45)  # 30 -> 0 -> 20 -> 20 -> 54
    norms = [100 + paused, 100 + np.where(x < 40, 40 - x, np.minimum(x - 40, 30)), 100 + x]
    traces = [
        trace.assign(total=of_run + 0.05 * rng.normal(size=100), policy=1.0, value=1.0)
        for (_, trace), of_run in zip(results.traces.groupby("run_id"), norms)
    ]
    table = falls_and_rises(Results(results.runs, results.evaluations, pd.concat(traces)))
    assert table.rows == [("PPO A-v1", "total", "3", "2", "2", "2", "1")]


def scored(folder, env_id, scores):
    """Six runs of each arm, whose normalised scores are these plus a hundredth of the seed."""
    rng = np.random.default_rng(0)
    for arm, score in scores.items():
        for seed in range(6):
            make_run(folder, "PPO", env_id, arm, seed, rng)
            path = folder / f"PPO_{env_id}_{arm}_seed{seed}" / "run.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": 100 * score + seed}))


def test_what_single_decays_bring(tmp_path):
    scored(tmp_path, "A-v1", {"constant": 0.5, "constant+final": 0.8, "abel-paper": 0.6})
    rows = single_decays(answer(read_results(tmp_path))).rows
    assert [row[1:4] for row in rows if row[0] == "PPO A-v1"] == [
        ("constant+final − constant", "6", "0.30 [0.30, 0.30]"),
        ("abel-paper − constant+final", "6", "−0.20 [−0.20, −0.20]"),
    ]
    assert rows[0][-1] == "different"


def test_headlines_and_the_short_table_tell_tasks_that_are_learned_apart(tmp_path):
    scored(tmp_path, "A-v1", {"constant": 0.5, "linear": 0.7, "constant+final": 0.8})
    scored(tmp_path, "B-v1", {"constant": 0.1, "linear": 0.1, "constant+final": 0.1})
    answers = answer(read_results(tmp_path))
    (bounce,) = bounce_headlines({"Made up": answers}, {"PPO A-v1": {"total": 2, "policy": 1}}, {"PPO B-v1": 5})
    assert bounce == (
        "Without regularization the total weight norm bounced by the rule “trend” in 0 of 12 runs, by shape in 2; on "
        "tasks that some schedule learns in 0 of 6, by shape in 2 (policy network: 0 of 6, by shape 1; value network: "
        "0 of 6, by shape 0). Over the first third of a run 2 w·Δw was positive, so that the weights moved outward, in "
        "5 of them all."
    )
    against_linear, against_best, brings = headlines({"Made up": answers})
    assert against_linear == (
        "Against linear decay, constant + final decay is different: better for Made up, without regularization "
        "(0.05 [0.05, 0.05]). Of single tasks it differs on PPO A-v1 (0.10 [0.10, 0.10])."
    )
    assert against_best.startswith("Against the best of the other arms it is different: better for Made up")
    assert brings == (
        "Against a constant rate, that is, by what the one decay brings, it is different: better for Made up, without "
        "regularization (0.15 [0.15, 0.15]). Of single tasks it differs on PPO A-v1 (0.30 [0.30, 0.30])."
    )
    assert [row[:2] for row in in_short({"Made up": answers}).rows] == [
        ("Made up, without regularization", "0 of 12: 0 % [0, 26]"),
        ("… on tasks that some schedule learns", "0 of 6: 0 % [0, 46]"),
    ]


def test_tasks_of_which_none_is_learned_are_marked(tmp_path):
    scored(tmp_path, "B-v1", {"constant": 0.1, "linear": 0.1, "constant+final": 0.1})
    answers = answer(read_results(tmp_path))
    assert "Made up, without regularization (which no schedule learns) (" in " ".join(headlines({"Made up": answers}))
    assert [row[0] for row in in_short({"Made up": answers}).rows] == [
        "Made up, without regularization (which no schedule learns)"
    ]


def test_both_answers_in_short(tmp_path):
    rng = np.random.default_rng(0)
    for arm in ("constant", "constant+final", "linear"):
        for seed in range(6):
            make_run(tmp_path, "PPO", "A-v1", arm, seed, rng)
    answers = answer(read_results(tmp_path))
    ((title, *bounced, linear, best, _),) = in_short({"Made up": answers}).rows
    assert (title, bounced) == ("Made up, without regularization", ["0 of 6: 0 % [0, 46]"] * 3)
    judged = answers.sufficiency["without regularization"]
    assert linear.startswith(judged["linear"].overall.verdict)
    assert best.startswith(judged["best"].overall.verdict)


def test_tasks_that_no_arm_learns_are_named(tmp_path):
    rng = np.random.default_rng(0)
    for env_id, returns in {"A-v1": (10, 30), "B-v1": (10, 80)}.items():
        for arm, final_return in zip(("constant", "linear"), returns):
            make_run(tmp_path, "PPO", env_id, arm, 0, rng)
            path = tmp_path / f"PPO_{env_id}_{arm}_seed0" / "run.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"final_return": final_return}))
    (said,) = unlearned(answer(read_results(tmp_path)))
    assert said.startswith("On PPO A-v1 no schedule comes to half of the reference (the best mean score is 0.30)")


@pytest.mark.parametrize(
    ("norms", "bounced"),
    [
        ([10] * 5 + [9] * 5 + [10] * 5, True),
        ([10] * 5 + [9.6] * 5 + [11] * 5, False),  # falls by 4 %
        ([10] * 5 + [9] * 5 + [9.4] * 5, False),  # rises by 4 %
        ([10] * 5 + [20] * 5 + [15] * 5 + [20] * 5, False),  # rises first, and never falls below its start
        ([10] * 7 + [1] * 2 + [10] * 6, False),  # two measurements are noise
        ([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], False),
    ],
)
def test_bounces_by_shape(norms, bounced):
    assert shaped(norms) == bounced


def test_algorithm_1_in_training(tmp_path):
    scored(tmp_path, "A-v1", {"abel-paper": 0.5, "abel": 0.5})
    for seed, times in ((4, 1), (5, 3)):
        path = tmp_path / f"PPO_A-v1_abel-paper_seed{seed}" / "run.json"
        decays = [[40_000, "bounce", 0.1]] * times + [[85_000, "final", 0.1]]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"decays": decays, "factor": 0.001}))
    ((task, _, bounced, counted, factor, score),) = literal_in_training(read_results(tmp_path)).rows
    assert (task, bounced, counted, factor) == ("PPO A-v1", "2 of 6", "0 (0 to 3)", "1")
    assert score == "0.53"  # 0.5 and a hundredth of the seed


def test_the_difference_to_linear_decay_by_base_rate(tmp_path):
    for multiplier, score in ((1.0, 0.4), (3.0, 0.7)):
        scored(tmp_path / f"{multiplier:g}", "A-v1", {"linear": score, "constant+final": 0.7})
        for path in (tmp_path / f"{multiplier:g}").glob("*/run.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"rate_multiplier": multiplier}))
    runs = pd.concat([read_results(tmp_path / name).runs for name in ("1", "3")], ignore_index=True)
    (said,) = by_rate_in_words(Results(runs, pd.DataFrame(), pd.DataFrame()))
    assert said.endswith("PPO A-v1: × 1 0.30 [0.30, 0.30], × 3 0.00 [0.00, 0.00].")
    assert not [*by_rate_in_words(Results(runs[runs["rate_multiplier"] == 1], pd.DataFrame(), pd.DataFrame()))]


def test_what_decays_by_a_bounce_bring(tmp_path):
    rng = np.random.default_rng(0)
    bounced = {"A-v1": [], "B-v1": [0, 2]}
    for env_id, seeds in bounced.items():
        for arm in ("abel", "constant+final"):
            for seed in range(6):
                make_run(tmp_path, "PPO", env_id, arm, seed, rng)
                path = tmp_path / f"PPO_{env_id}_{arm}_seed{seed}" / "run.json"
                record = json.loads(path.read_text()) | {"final_return": 50.0 + seed}
                if arm == "abel" and seed in seeds:
                    record["decays"] = [[40_000, "bounce", 0.1], *record["decays"]]
                    record["final_return"] += 12  # of a distance of 100 from random policy to reference
                path.write_text(json.dumps(record))
    results = read_results(tmp_path)
    rows = {row[0]: row[1:] for row in decays_by_bounce(results, answer(results)).rows}
    assert list(rows) == ["all, without regularization", "PPO A-v1", "PPO B-v1"]
    assert rows["PPO A-v1"] == ("0 of 6", "0.00 [0.00, 0.00]", "0.00 [0.00, 0.00]", "the same runs")
    assert rows["PPO B-v1"][0] == "2 of 6"
    assert rows["PPO B-v1"][1].startswith("0.04 ")  # 2 of 6 runs gained 0.12
    assert rows["all, without regularization"][:1] == ("2 of 12",)
    assert rows["all, without regularization"][1].startswith("0.02 ")
    assert rows["PPO B-v1"][-1] == "undecided"


def test_decays_by_a_bounce_on_fresh_seeds(tmp_path):
    # Of six runs abel decays in the last two, which gain 0.3 and 0.6; on B-v1 in none.
    for env_id in ("A-v1", "B-v1"):
        scored(tmp_path, env_id, {"constant+final": 0.5, "abel": 0.5})
    for seed, gain in ((4, 30), (5, 60)):
        path = tmp_path / f"PPO_A-v1_abel_seed{seed}" / "run.json"
        record = json.loads(path.read_text())
        record["decays"] = [[40_000, "bounce", 0.1], *record["decays"]]
        path.write_text(json.dumps(record | {"final_return": record["final_return"] + gain}))
    fresh = read_results(tmp_path)
    rows = [(*row[:3], row[3].split()[0]) for row in decays_on_fresh_seeds(fresh).rows]
    assert rows == [
        ("PPO A-v1", "all", "2 of 6", "0.15"),
        ("PPO A-v1", "that decayed after a bounce", "2 of 2", "0.45"),
        ("PPO B-v1", "all", "0 of 6", "0.00"),
    ]
    first, second = fresh_in_words(fresh)
    assert first.startswith("Decays by a bounce on fresh seeds, PPO A-v1: abel decayed after one in 2 of 6 runs; ")
    assert "abel − constant + final decay 0.15 [" in first
    assert second.endswith("in 0 of 6 runs; abel − constant + final decay 0.00 [0.00, 0.00] (the same runs).")


def test_over_settings(tmp_path):
    rng = np.random.default_rng(0)
    # At three times the rate linear decay costs 0.3; abel decays after a bounce in one run of ten and gains 0.1.
    for arm in ("linear", "constant+final", "abel"):
        for seed in range(10):
            make_run(tmp_path, "PPO", "A-v1", arm, seed, rng)
            path = tmp_path / f"PPO_A-v1_{arm}_seed{seed}" / "run.json"
            record = json.loads(path.read_text()) | {"final_return": 50.0 + seed % 5}
            if seed >= 5:
                record |= {"seed": seed - 5, "rate_multiplier": 3.0}
                record["final_return"] -= 30 * (arm == "linear")
                if arm == "abel" and seed == 5:
                    record["final_return"] += 10
                    record["decays"] = [[40_000, "bounce", 0.1], *record["decays"]]
            path.write_text(json.dumps(record))
    robust = read_results(tmp_path)
    rows = {row[:2]: (row[2], row[3].split()[0], *row[5:]) for row in over_settings(robust).rows}
    assert rows == {
        ("Over all base rates", "constant+final − linear"): ("10", "0.15", "different", "–"),
        ("base rate × 1", "constant+final − linear"): ("5", "0.00", "undecided", "–"),
        ("base rate × 3", "constant+final − linear"): ("5", "0.30", "different", "–"),
        ("Over all base rates", "abel − constant+final"): ("10", "0.01", "undecided", "1 of 10"),
        ("base rate × 1", "abel − constant+final"): ("5", "0.00", "the same runs", "0 of 5"),
        ("base rate × 3", "abel − constant+final"): ("5", "0.02", "undecided", "1 of 5"),
    }
    (said,) = settings_in_words(robust)
    assert said.startswith("Over all base rates: constant+final − linear 0.15 [0.15, 0.15] (different); abel − ")
    assert said.endswith(", with a decay after a bounce in 1 of 10 runs.")


def test_beyond_the_rates_of_the_tuning(tmp_path):
    # At 3 times the rate linear decay is 0.3 behind constant + final decay, at 6 times as good, at 10 worse.
    scored(tmp_path / "main", "A-v1", {"linear": 0.5, "constant+final": 0.6})
    for multiplier, score in ((3.0, 0.4), (6.0, 0.7), (10.0, 0.6)):
        scored(tmp_path / f"{multiplier:g}", "LunarLander-v3", {"linear": score, "constant+final": 0.7})
        for path in (tmp_path / f"{multiplier:g}").glob("*/run.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"rate_multiplier": multiplier}))
    runs = pd.concat([read_results(tmp_path / name).runs for name in ("3", "6", "10")], ignore_index=True)
    edge = Results(runs, pd.DataFrame(), pd.DataFrame())
    assert [(*row[:3], row[3].split()[0]) for row in over_rates(edge).rows] == [
        ("constant+final", "× 3", "6", "0.72"),
        ("constant+final", "× 6", "6", "0.72"),
        ("constant+final", "× 10", "6", "0.72"),
        ("linear", "× 3", "6", "0.42"),
        ("linear", "× 6", "6", "0.72"),
        ("linear", "× 10", "6", "0.62"),
    ]
    (said,) = edge_in_words(read_results(tmp_path / "main"), edge)
    assert "is 0.30 [0.30, 0.30] (different: better) with that at × 3 too" in said
    assert "and 0.00 [0.00, 0.00] (undecided) with the best of × 3, × 6, × 10" in said
    assert said.endswith("Over the other tasks (1) it is 0.10 [0.10, 0.10] (different: better).")
    only_largest = edge.runs[edge.runs["rate_multiplier"] == 3]
    assert not [*edge_in_words(edge, Results(only_largest, edge.evaluations, edge.traces))]


def test_before_there_is_an_answer_the_page_says_so(made_up, tmp_path):
    text = write_page(read_results(made_up / "out"), tmp_path).read_text()
    assert text.count("Not answered yet") == 2
    assert "Stage “classic” has not been run yet" in text


published = pytest.mark.skipif(not (DOCS / "runs.parquet").is_file(), reason="nothing has been published yet")


@published
def test_the_page_says_what_the_files_say(tmp_path):
    page = write_page(read_parquet(DOCS), tmp_path)
    assert page.read_text() == (DOCS / PAGE).read_text(), "run `make results`"
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in DOCS.glob("study_*.png")}


@published
def test_runs_of_the_tuning_are_in_no_answer():
    for parts in split(read_parquet(DOCS)).values():
        assert parts[0].runs["run_id"].is_unique
        for part in parts:
            assert not set(part.runs["seed"]) & set(study.TUNING_SEEDS)


@published
def test_every_abel_run_did_what_its_traces_say():
    # Runs from before the arm watched every part are among them.
    results = read_parquet(DOCS)
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
    pages = "".join((DOCS / name).read_text() for name in (PAGE, "control.md")).replace("\\", "")
    said = re.findall(r"[−\d.]+ \[[^\]]*\d\]|\d+ of \d+", " ".join(text.split()))
    assert len(said) > 4
    assert [number for number in said if number not in pages] == []


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in DOCS.glob("*.parquet")) < 20e6
