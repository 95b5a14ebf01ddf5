"""The second study: the plan is the code, what is kept, and answers that can be checked by eye."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import launch
from benchmarks import results as parquet
from benchmarks.evidence import answers, thinned
from benchmarks.evidence.page import context, write, write_page
from benchmarks.evidence.stages import COEFFICIENT, DENSE, EVIDENCE, MORE_SEEDS, RATES, SEEDS, stages, strength_of
from benchmarks.plan import Run
from benchmarks.results import Results
from benchmarks.statistics.estimates import Interval
from benchmarks.study import __main__ as command
from benchmarks.study import runs as saving

DOCS = Path(__file__).parent.parent / "docs" / "results"
PLAN = (DOCS / "evidence_plan.md").read_text()


def test_the_plan_has_the_stages_of_the_code():
    rows = re.findall(r"^\| ([\w ,.]+) \| (\d+) \|", PLAN, re.MULTILINE)
    assert [(name, int(count)) for name, count in rows] == [(name, len(runs)) for name, runs in stages().items()]


def test_every_run_is_planned_once_and_what_is_done_is_not_run_again():
    left = EVIDENCE.missing(())
    ids = [run.run_id for runs in left.values() for run in runs]
    assert len(ids) == len(set(ids))
    assert set(ids) == {run.run_id for runs in stages().values() for run in runs}
    assert {run.seed for runs in left.values() for run in runs} == set(MORE_SEEDS) > set(SEEDS)
    one = left["rates, CartPole"][0]
    again = EVIDENCE.missing([one.run_id])
    assert [run for name in left for run in left[name] if run not in again[name]] == [one]


def test_six_seeds_of_every_stage_are_trained_before_the_others_of_any():
    order = EVIDENCE.queue([])
    seeds = [{run.seed for run in runs} for _, runs in order]
    # The stage with more seeds has its first ten from an earlier one.
    assert seeds[:15] == [{0, 1, 2, 3, 4, 5}] * 14 + [set()]
    assert seeds[15:] == [{6, 7, 8, 9}] * 14 + [set(MORE_SEEDS[10:])]
    assert [name for name, _ in order] == [*stages(), *stages()]
    assert sorted(run.run_id for _, runs in order for run in runs) == sorted(
        run.run_id for runs in EVIDENCE.missing(()).values() for run in runs
    )


def test_the_coefficient_is_that_of_adamw():
    presets = {(run.agent, run.env_id, run.timesteps) for runs in stages().values() for run in runs}
    assert max(strength_of(*preset) for preset in presets) < 0.6, "as the pages say"
    for run in stages()["coefficient 0.01"]:
        assert run.weight_decay == pytest.approx(COEFFICIENT)


def test_dense_runs_measure_a_thousand_times():
    for run in stages()["measurements"]:
        assert run.timesteps // run.measure_every >= DENSE


def row(run, score, **others):
    """A finished run of CartPole whose last policy has this score."""
    return {
        "run_id": run.run_id,
        "status": "complete",
        "agent": run.agent,
        "env_id": run.env_id,
        "arm": run.arm,
        "regularization": run.regularization,
        "strength": run.strength,
        "weight_decay": run.weight_decay,
        "learning_rate": run.learning_rate,
        "seed": run.seed,
        "timesteps": run.timesteps,
        "wall_time_s": 1.0,
        "rate_multiplier": run.rate_multiplier,
        "decay_factor": run.decay_factor,
        "final_decay_at": run.final_decay_at,
        "random_return": 0.0,
        "reference_return": 1.0,
        "final_return": score,
        "n_bounces": 0,
        "factor": 1.0,
        "optimizer_steps": 200.0 if run.arm == "abel" else 50.0,
        "decays": "[]",
        "error": "",
        "commit": "",
    } | others


def results(rows):
    """Runs that were evaluated at ten points, always at their last score, and whose norms only grow."""
    runs = pd.DataFrame(rows)
    at = [(r["run_id"], r["timesteps"] * k // 10, r["final_return"], 0.0, 1e-3) for r in rows for k in range(1, 11)]
    names = ["run_id", "timesteps", "return_mean", "return_std", "learning_rate"]
    norms = [
        (r["run_id"], k, 100.0 + k, 50.0 + k, 50.0) for r in rows if r["arm"] in EVIDENCE.traced for k in range(40)
    ]
    columns = ["run_id", "timesteps", "total", "policy", "value"]
    traces = pd.DataFrame(norms, columns=columns).assign(**{"layer/action_net": 1.0})
    return Results(runs, pd.DataFrame(at, columns=names), traces)


LEVELS = {"constant": 0.5, "linear": 0.4, "constant+final": 0.55, "cooldown": 0.55, "kl-adaptive": 0.9}


def of_rates(levels=LEVELS, seeds=range(6)):
    """PPO on CartPole: an arm scores its level at the preset's rate, 0.2 less elsewhere but where the KL leads."""
    rows = []
    for run in stages()["rates, CartPole"]:
        if run.seed in seeds:
            level = levels.get(run.arm, 0.95)
            off = 0.0 if run.arm.startswith("kl") or run.rate_multiplier == 1 else 0.2
            rows.append(row(run, level - off + 0.001 * run.seed))
    return rows


def of_strong(gain, bounced, seeds=range(6)):
    """PPO on CartPole under strong weight decay: abel gains so much, and so many seeds decay after a bounce."""
    rows = []
    for run in stages()["strong, CartPole"]:
        if run.seed in seeds:
            decays = [[500, "bounce", 0.1]] if run.arm == "abel" and run.seed < bounced else []
            rows.append(row(run, 0.7 + gain * (run.arm == "abel") + 0.001 * run.seed, decays=json.dumps(decays)))
    return rows


def test_profiles_over_rates():
    found = answers.profiled(answers.scored(results(of_rates())))
    (task,) = found
    of = found[task]
    assert (task, of.num_seeds, of.learned) == ("PPO CartPole-v1", 6, True)
    seed = 0.0025  # mean over six seeds
    means = {arm: round(profile.mean.estimate - seed, 3) for arm, profile in of.arms.items()}
    assert means["constant"] == round((0.5 + 5 * 0.3) / 6, 3)
    assert means["kl-adaptive"] == 0.9
    assert {arm: profile.chosen for arm, profile in of.arms.items()} == dict.fromkeys(of.arms, 1.0)
    kl = of.differences["score"]["kl-adaptive", "constant"]
    assert round(kl.mean.estimate, 3) == round(0.4 + 5 / 6 * 0.2, 3)
    assert round(kl.best.estimate, 3) == round(kl.by_rate[1.0].estimate, 3) == 0.4
    assert of.at_ceiling == set()
    assert {round(of.differences[m]["kl-adaptive", "constant"].mean.estimate, 3) for m in of.differences} == {0.567}


def test_too_few_seeds_or_a_missing_arm_are_no_profile():
    assert answers.profiled(answers.scored(results(of_rates(seeds=range(5))))) == {}
    wanting = [of for of in of_rates() if (of["arm"], of["rate_multiplier"]) != ("linear", 10.0)]
    assert answers.profiled(answers.scored(results(wanting))) == {}


def test_a_crashed_run_scores_as_a_random_policy():
    rows = of_rates()
    rows[0] |= {"status": "failed", "final_return": float("nan")}
    runs = answers.scored(results(rows)).set_index("run_id")
    assert list(runs.loc[rows[0]["run_id"], ["score", "last_quarter", "area"]]) == [0, 0, 0]


@pytest.mark.parametrize(
    ("gain", "bounced", "stays_on"), [(0.1, 6, True), (-0.1, 6, False), (0.0, 6, False), (0.1, 2, None)]
)
def test_decays_after_bounces_stay_on_only_if_they_gain(gain, bounced, stays_on):
    runs = answers.scored(results(of_strong(gain, bounced)))
    cells = answers.cells(runs)
    (cell,) = cells.values()
    assert (cell.strength, cell.num_bounced) == (10.0, bounced)
    assert answers.decisions({}, cells)["bounces"].changes is stays_on


@pytest.mark.parametrize(
    ("intervals", "gains"),
    [
        ([(0.1, 0.01, 0.2)], True),
        ([(0.1, -0.01, 0.2)], False),
        ([(0.1, 0.01, 0.2), (-0.1, -0.2, -0.01)], False),
        ([(0.1, 0.01, 0.2), (-0.1, -0.2, 0.01)], True),
    ],
)
def test_gains_somewhere_and_loses_nowhere(intervals, gains):
    assert answers.gains_somewhere(Interval(*of) for of in intervals) is gains


def test_what_ppo_users_are_told():
    decided = answers.decisions(answers.profiled(answers.scored(results(of_rates()))), {})
    assert (decided["kl"].changes, decided["kl_final"].changes, decided["linear"].changes) == (True, True, None)
    worse = of_rates(LEVELS | {"kl-adaptive+final": 0.8})
    assert answers.decisions(answers.profiled(answers.scored(results(worse))), {})["kl_final"].changes is False


def test_an_interval_over_tasks_is_students():
    found = answers.over_tasks({task: Interval(mean, 0, 1) for task, mean in (("A", 0.1), ("B", 0.2), ("C", 0.3))})
    half = 4.302653 * 0.1 / np.sqrt(3)  # t of two degrees of freedom
    assert found == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    of_strengths = {"A, adamw 1": 0.0, "A, adamw 10": 0.2, "B, adamw 1": 0.2, "C, adamw 3": 0.3}
    assert answers.over_tasks({task: Interval(mean, 0, 1) for task, mean in of_strengths.items()}) == found
    # Three strengths of one task are one task.
    assert answers.over_tasks({f"A, adamw {strength}": Interval(0.1, 0, 1) for strength in (1, 3, 10)}) is None


def test_thinned_traces_keep_the_last_measurement():
    for number in thinned.NUMBERS:
        thin = thinned.thin(np.arange(1000), number)
        assert (len(thin), thin[-1]) == (number, 999)


def test_recall_and_false_decays_by_number_of_measurements():
    x = np.arange(1000)
    dip = 100 - 40 * np.exp(-(((x - 400) / 120) ** 2))
    with_decay = Run("PPO", "CartPole-v1", 1000, "constant", 0, "adamw", 3.0)
    without = Run("PPO", "CartPole-v1", 1000, "constant", 0)
    traces = [
        pd.DataFrame({"run_id": run.run_id, "timesteps": x, "total": total, "policy": np.nan, "value": np.nan})
        for run, total in ((with_decay, dip), (without, 100 + 0.1 * x))
    ]
    runs = pd.DataFrame([row(with_decay, 1.0), row(without, 1.0)])
    found = thinned.recall_and_false(thinned.by_number(Results(runs, pd.DataFrame(), pd.concat(traces))))
    for number in (500, 100):
        assert found.loc[number].tolist() == [1, 1, 0, 0, 1, 0, number, number]


def test_the_tasks_that_cannot_be_measured_as_densely_are_named():
    first = [run for run in stages()["measurements"] if run.seed == 0 and not run.strength]
    sparse = next(run for run in first if run.agent == "DQN")
    enough = next(run for run in first if run.env_id == "Pendulum-v1")
    traces = [
        pd.DataFrame({"run_id": run.run_id, "timesteps": np.arange(number), "total": 1.0})
        for run, number in ((sparse, 192), (enough, 782))
    ]
    runs = pd.DataFrame([row(sparse, 1.0), row(enough, 1.0)])
    assert thinned.too_sparse(Results(runs, pd.DataFrame(), pd.concat(traces))) == {"DQN CartPole-v1": 192}


@pytest.mark.parametrize(
    ("by_number", "pays"),
    [
        # shaped, seen, plain, false
        ({50: (10, 1, 5, 0), 100: (10, 4, 5, 0), 200: (10, 5, 5, 0)}, True),
        ({50: (10, 9, 5, 0), 100: (10, 4, 5, 0), 200: (10, 4, 5, 0)}, False),  # fewer are another question
        ({100: (20, 4, 5, 1), 200: (20, 5, 5, 1)}, False),  # by 0.05
        ({100: (10, 4, 5, 0), 200: (10, 9, 5, 1)}, False),  # more false ones
        ({100: (10, 4, 5, 0), 200: (10, 9, 5, 1), 500: (10, 6, 5, 0)}, True),
        ({100: (0, 0, 5, 0), 200: (0, 0, 5, 0)}, None),
        (None, None),
    ],
)
def test_when_more_measurements_pay(by_number, pays):
    columns = ["shaped", "seen", "plain", "false"]
    counts = None if by_number is None else pd.DataFrame.from_dict(by_number, orient="index", columns=columns)
    assert thinned.more_pays(counts) is pays


def test_what_a_larger_batch_saves():
    runs = answers.scored(results(of_strong(0.0, 3)))
    ((task, shares),) = answers.savings(runs, "abel-batch").items()
    assert (task, len(shares)) == ("PPO CartPole-v1, adamw 10", 3), "of the seeds that decay after a bounce"
    assert set(shares["updates"]) == {0.25}
    assert answers.savings(answers.scored(results(of_strong(0.0, 0))), "abel-batch") == {}


def test_finished_runs_are_saved_by_stage_once(tmp_path, monkeypatch):
    rows = [*of_rates(seeds=[0]), *of_strong(0.0, 0, seeds=[0])]
    monkeypatch.setattr(saving, "read_results", lambda out: results(rows))
    archive = tmp_path / "archive"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    assert EVIDENCE.save(archive, tmp_path) == (len(rows), [])
    assert EVIDENCE.save(archive, tmp_path) == (0, [])
    assert sorted(path.name for path in (archive / "evidence").iterdir()) == ["rates-cartpole", "strong-cartpole"]
    again = EVIDENCE.saved(archive)
    assert set(again.runs["run_id"]) == {of["run_id"] for of in rows}
    assert list(again.traces) == ["run_id", "timesteps", "total", "policy", "value"], "no single layers"
    kept = again.traces.merge(again.runs[["run_id", "arm"]], on="run_id")["arm"]
    assert set(kept) == {"constant", "abel", "abel-part", "abel-batch", "abel-mixed"}
    assert not any(
        run.run_id in set(again.runs["run_id"]) for of in EVIDENCE.missing(again.runs["run_id"]).values() for run in of
    )


def test_progress_counts_a_shared_run_once():
    done = EVIDENCE.progressed({of["run_id"] for of in of_rates()})
    assert done["rates, CartPole"] == (216, 360)
    assert sum(planned for _, planned in done.values()) == sum(map(len, EVIDENCE.missing(()).values()))


def test_the_pages_say_what_was_found(tmp_path):
    rows = [*of_rates(), *of_strong(-0.1, 6)]
    page = write(results(rows), tmp_path)
    text = " ".join(page.read_text().split())
    assert "Begun at any of six base rates it scores 0.95 [0.95, 0.95]." in text
    assert "| PPO CartPole, ηλN 10 | 6 of 6 | −0.10 [−0.10, −0.10] (–) | −0.10 |" in text
    assert "LunarLander has 0 of 360 runs, too few for the tables over base rates." in text
    assert "CartPole has 216" not in text
    details = (tmp_path / "evidence_details.md").read_text()
    assert "| KL-adaptive rate − constant rate | 0.57 [0.57, 0.57] |" in details
    assert "| recommend decays after bounces? | no |" in details
    assert {path.name for path in tmp_path.iterdir()} >= {"evidence_profiles.png", "evidence_differences.png"}


def test_runs_that_are_measured_more_often_stand_apart():
    plain, dense = (
        next(run for run in stages()[name] if (run.agent, run.arm, run.strength) == ("DQN", "constant", 0.0))
        for name in ("strengths, DQN", "measurements")
    )
    assert (plain.seed, plain.timesteps) == (dense.seed, dense.timesteps)
    both = results([row(plain, 1.0), row(dense, 0.0)])
    assert list(thinned.without_dense(both).runs["run_id"]) == [plain.run_id]
    assert context(both)["num_runs"] == 2


def test_a_stage_counts_with_six_seeds_of_all_its_arms():
    ids = [run.run_id for run in stages()["measurements"] if run.seed < 6]
    assert EVIDENCE.counts("measurements", ids)
    assert not EVIDENCE.counts("measurements", ids[:-1])


def test_pages_without_any_whole_stage_say_so(tmp_path):
    page = write(results(of_rates(seeds=range(3))), tmp_path)
    assert "No stage is far enough" in page.read_text()
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.published
def test_the_committed_pages_are_those_of_the_committed_runs(tmp_path):
    for saved in ("evidence", "automatic"):
        if (DOCS / saved).is_dir():
            (tmp_path / saved).symlink_to(DOCS / saved)
    write_page(tmp_path)
    for name in ("evidence.md", "evidence_details.md"):
        assert (tmp_path / name).read_text() == (DOCS / name).read_text(), f"make results, for {name}"


def test_the_figure_asks_only_what_is_there():
    found = context(results([*of_strong(0.0, 6)]))
    assert [heading.partition(":")[0] for heading in found["questions"]] == ["the weight norm bounces"]


def test_list_prints_every_stage(capsys):
    assert command.main(["list", "evidence"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in stages())
    assert len(RATES) == 6


def test_run_trains_what_is_missing_until_it_is_interrupted(monkeypatch, tmp_path):
    launched = []

    def note(stage, runs, out, console, workers, retry_failed):
        launched.append((stage, len(runs)))
        return launch.INTERRUPTED if len(launched) == 2 else 0

    saved_runs = stages()["rates, CartPole"][:7]
    monkeypatch.setattr(launch, "launch", note)
    monkeypatch.setattr(saving.RunStudy, "saved", lambda study, folder: results([row(run, 1.0) for run in saved_runs]))
    assert command.main(["run", "evidence", "--out", str(tmp_path)]) == launch.INTERRUPTED
    assert launched == [("rates, CartPole", 209), ("rates, Pendulum", 216)]


def test_a_save_that_is_cut_off_loses_nothing(tmp_path, monkeypatch):
    first, second = of_rates(seeds=[0]), of_rates(seeds=[0, 1])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    archive, write = tmp_path / "archive", parquet.write_table

    def full(table, path):
        if path.name == "runs.parquet":
            raise OSError("no space left on device")
        write(table, path)

    for rows in (first, second):
        monkeypatch.setattr(saving, "read_results", lambda out, rows=rows: results(rows))
        if rows is second:
            monkeypatch.setattr(parquet, "write_table", full)
            with pytest.raises(OSError, match="no space"):
                EVIDENCE.save(archive, tmp_path)
            assert len(EVIDENCE.saved(archive).runs) == len(first)
            monkeypatch.setattr(parquet, "write_table", write)
        EVIDENCE.save(archive, tmp_path)
    again, expected = EVIDENCE.saved(archive), results(second)
    assert len(again.runs) == len(second)
    assert len(again.evaluations) == len(expected.evaluations)


def test_a_run_that_failed_is_saved_only_if_it_is_asked_for(tmp_path, monkeypatch):
    good, bad = of_rates(seeds=[0])[:2]
    monkeypatch.setattr(saving, "read_results", lambda out: results([good, {**bad, "status": "failed"}]))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    assert EVIDENCE.save(tmp_path / "archive", tmp_path) == (1, [bad["run_id"]])
    assert EVIDENCE.save(tmp_path / "archive", tmp_path, failed=True) == (1, [])
