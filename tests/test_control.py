"""The positive control: its net and schedules, what is run again and what not, and its page."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.control import __main__ as control
from benchmarks.control import plan as control_plan
from benchmarks.control.answers import answer, mean_interval, movement, verdict
from benchmarks.control.page import PAGE, render, write_report
from benchmarks.control.plan import Run, first_epoch, main_runs, tune, tuning_runs
from benchmarks.control.training import Branches, augment, layer_norms, load_digits, make_net, train
from benchmarks.control.words import pattern
from benchmarks.statistics.estimates import Interval
from rl_abel import find_decays

SAVED = Path(__file__).parent.parent / "docs" / "results"


# Schedules


@pytest.mark.parametrize(
    ("arm", "place", "rates"),
    [
        ("simple", None, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1]),
        ("step", 0.3, [1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01]),
        ("abel", None, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1]),
        ("cosine", None, [1, 0.976, 0.905, 0.794, 0.655, 0.5, 0.345, 0.206, 0.095, 0.024]),
    ],
)
def test_planned_rates(arm, place, rates):
    run = Run(arm, 0.0, 1.0, seed=0, place=place, epochs=10)
    assert [run.planned_rate(epoch) for epoch in range(10)] == pytest.approx(rates, abs=5e-4)


@pytest.mark.parametrize(
    ("place", "epochs", "first"), [(0.85, 100, 85), (0.85, 10, 9), (0.7, 10, 7), (0.3, 10, 3), (0.1, 100, 10)]
)
def test_first_epoch(place, epochs, first):
    assert first_epoch(place, epochs) == first


def test_a_place_belongs_to_step():
    with pytest.raises(ValueError, match="place is for the arm 'step'"):
        Run("simple", 0.0, 0.1, 0, place=0.5)
    with pytest.raises(ValueError, match="arm must be one of"):
        Run("linear", 0.0, 0.1, 0)


def test_the_plan():
    tuning, main = tuning_runs(), main_runs(dict.fromkeys(control_plan.SETTINGS, 0.4))
    assert not {run.seed for run in tuning} & {run.seed for run in main}
    assert len({run.run_id for run in tuning + main}) == len(tuning) + len(main)
    assert len({run.seed for run in main}) >= 10
    assert {run.arm for run in main} == set(control_plan.ARMS)
    assert {run.learning_rate for run in main if run.arm != "simple"} == set(control_plan.LEARNING_RATES)
    for setting in control_plan.SETTINGS:
        of_setting = [run for run in main if (run.l2, run.learning_rate) == setting]
        factors = {arm: {run.decay_factor for run in of_setting if run.arm == arm} for arm in control_plan.ARMS}
        assert factors.pop("simple") == {0.1, 0.2, 0.5, 0.01}
        assert factors.pop("cosine") == {0.1}
        assert set(map(frozenset, factors.values())) == {frozenset({0.1, 0.2, 0.5})}


def test_tune_takes_the_best_mean_and_of_equal_ones_the_first():
    scores = [(0.3, 0.5), (0.3, 0.7), (0.6, 0.9), (0.6, 0.3), (0.1, 0.2)]
    assert tune([((0.0, 0.1), place, score) for place, score in scores]) == {(0.0, 0.1): 0.3}


# Training


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return load_digits()


def test_norms_are_those_of_all_that_the_optimizer_owns():
    net = make_net(0)
    by_hand = sum(float((parameter.detach().numpy().astype(float) ** 2).sum()) for parameter in net.parameters())
    norms = layer_norms(net)
    assert tuple(norms) == control_plan.LAYERS
    assert sum(norms.values()) == pytest.approx(by_hand)
    assert norms["norm1"] == control_plan.CHANNELS[0]


def test_augment_shifts_by_at_most_a_pixel(monkeypatch):
    monkeypatch.setattr("benchmarks.control.training.NOISE", 0.0)
    image = torch.zeros(200, 8, 8)
    image[:, 4, 4] = 1
    _, _, rows, columns = augment(image, torch.Generator().manual_seed(0)).nonzero(as_tuple=True)
    assert set(rows.tolist()) == set(columns.tolist()) == {3, 4, 5}


def test_a_branch_is_the_run_by_itself(digits):
    runs = [Run(arm, 4e-3, 0.05, 3, place=place, epochs=5) for arm, place in [("simple", None), ("step", 0.2)]]
    shared = Branches(3, 4e-3, digits)
    together = [train(run, shared) for run in [*runs, runs[0]]]
    alone = [train(run, Branches(3, 4e-3, digits)) for run in runs]
    assert str(together) == str([*alone, alone[0]])  # as text, in which NaN is NaN
    first, second = (record["trace"]["total"] for record in alone)
    assert first[0] == second[0]
    assert first[1] != second[1]


class Scripted:
    """Branches whose norm after each epoch is given."""

    initial_norm = 4.0

    def __init__(self, totals):
        self.totals, self.weight = totals, torch.nn.Parameter(torch.ones(1))

    def new_optimizer(self):
        return torch.optim.SGD([self.weight], lr=0.0)

    def epoch(self, rates, learning_rate):
        total = self.totals[len(rates) - 1]
        self.weight.data.fill_(total**0.5)
        return {"epoch": len(rates), "learning_rate": rates[-1], "test_accuracy": 0.5, "total": total}


def test_a_bounce_decays_from_the_next_epoch_on():
    norms = [3.0, 2.0, 3.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    record = train(Run("abel-paper", 0.0, 1.0, 0, epochs=10), Scripted(norms))
    assert record["run"]["bounces"] == [4]
    assert record["trace"]["learning_rate"] == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(("arm", "late"), [("abel", False), ("abel-paper", True)])
def test_growth_that_the_final_decay_ends_is_no_bounce(arm, late):
    # Falls to 60 at 40, grows until the final decay, then little, to and fro for Algorithm 1.
    norms = [100.0 - epoch for epoch in range(1, 41)] + [60.0 + grown for grown in range(1, 46)]
    norms += [105 + 0.05 * (epoch - 85) + 0.1 * (epoch % 2) for epoch in range(86, 101)]
    bounces = train(Run(arm, 0.0, 1.0, 0, epochs=100), Scripted(norms))["run"]["bounces"]
    assert any(epoch > 85 for epoch in bounces) == late


def test_decays_of_a_real_run_are_those_of_the_rule_on_its_trace_and_are_applied(digits):
    """The trace tells where Algorithm 1 decays; a run at those rates, planned and by itself, is the same training."""
    run = Run("abel-paper", 0.1, 0.2, 3, decay_factor=0.5, epochs=20)
    shared = Branches(3, 0.1, digits)
    train(Run("simple", 0.1, 0.2, 3, 0.5, epochs=20), shared)
    record = train(run, shared)
    bounces = record["run"]["bounces"]
    assert bounces == [index + 1 for index in find_decays(record["trace"]["total"], rule="paper")] != []
    rates = record["trace"]["learning_rate"]
    assert rates == [0.2 * 0.5 ** (sum(b <= epoch for b in bounces) + (epoch >= 17)) for epoch in range(20)]
    alone = Branches(3, 0.1, digits)
    totals = [alone.epoch(tuple(rates[: epoch + 1]), rates[epoch])["total"] for epoch in range(20)]
    assert totals == record["trace"]["total"]


# Files


def made_up(run, accuracy=0.5):
    """A record as ``train`` returns it; with L2 its norms bounce."""
    epochs = np.arange(1, run.epochs + 1)
    rng = np.random.default_rng(run.seed)
    fall = 100 + abs(epochs - 30) * (2.0 if run.l2 else 0) + (0 if run.l2 else epochs) + rng.normal(size=run.epochs) / 9
    trace = {"epoch": epochs.tolist(), "learning_rate": [run.planned_rate(e) for e in range(run.epochs)]}
    trace |= {name: [accuracy] * run.epochs for name in ("test_accuracy", "train_loss")}
    trace |= {"total": fall.tolist()} | {layer: (fall / 7).tolist() for layer in control_plan.LAYERS}
    row = {"run_id": run.run_id, "arm": run.arm, "l2": run.l2, "learning_rate": run.learning_rate, "seed": run.seed}
    row |= {"decay_factor": run.decay_factor, "place": run.place, "epochs": run.epochs, "test_accuracy": accuracy}
    return {"run": row | {"best_test_accuracy": accuracy, "initial_norm": 90.0, "bounces": []}, "trace": trace}


def leave(records, out):
    out.mkdir(exist_ok=True)
    for record in records:
        (out / f"{record['run']['run_id']}.json").write_text(json.dumps(record))


@pytest.fixture
def small(monkeypatch):
    """One setting, two places, two seeds, two epochs."""
    for module in (control, control_plan):
        monkeypatch.setattr(module, "SETTINGS", ((4e-3, 0.1),), raising=False)
    monkeypatch.setattr(control_plan, "PLACES", (0.2, 0.5))
    monkeypatch.setattr(control_plan, "SEEDS", (0, 1))


def test_runs_that_are_finished_or_saved_are_not_run_again(small, tmp_path):
    out, saved = tmp_path / "out", tmp_path / "saved"
    tuning = tuning_runs()
    leave([made_up(run) for run in tuning[:2]], out)
    assert [r.run_id for r in control.missing_runs(control.all_runs(out, saved))] == [r.run_id for r in tuning[2:]]
    assert control.save(out, saved) == 2
    for path in out.iterdir():
        path.unlink()
    leave([made_up(run) for run in tuning[2:3]], out)
    assert [r.run_id for r in control.missing_runs(control.all_runs(out, saved))] == [r.run_id for r in tuning[3:]]
    assert control.save(out, saved) == 3
    assert control.save(out, saved) == 3
    runs, traces = control.read_saved(saved)
    assert runs["run_id"].is_unique
    assert set(traces["run_id"]) == set(runs["run_id"])
    assert len(traces) == runs["epochs"].sum()


def test_the_tuned_place_is_run_when_all_tuning_runs_are_there(small, tmp_path):
    leave([made_up(run, accuracy=run.place) for run in tuning_runs()], tmp_path)
    missing = control.missing_runs(control.all_runs(tmp_path, tmp_path))
    assert {run.place for run in missing if run.arm == "step"} == {0.5}
    assert [run.run_id for run in missing] == [run.run_id for run in main_runs({(4e-3, 0.1): 0.5})]


def test_a_torn_file_counts_as_missing(small, tmp_path):
    run = tuning_runs()[0]
    (tmp_path / f"{run.run_id}.json").write_text('{"run": {"run_id"')
    assert run in control.missing_runs(control.all_runs(tmp_path, tmp_path))


def test_families_begin_alike():
    runs = main_runs(dict.fromkeys(control_plan.SETTINGS, 0.5))
    found = control.families(runs)
    assert sum(map(len, found)) == len(runs)
    assert all(len({(r.l2, r.learning_rate, r.seed) for r in family}) == 1 for family in found)


def test_a_family_stops_at_the_deadline_and_leaves_whole_files(digits, tmp_path):
    runs = [Run(arm, 0.0, 0.1, 0, epochs=5) for arm in ("simple", "cosine")]
    assert control.train_family(runs, tmp_path, deadline=0) == 0
    assert control.train_family(runs, tmp_path, deadline=float("inf")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{run.run_id}.json" for run in runs)
    assert [record["run"]["seed"] for record in control.read_finished(tmp_path)] == [0, 0]


# Numbers


def test_movement_of_a_bounce_and_of_growth():
    epochs = np.arange(1, 86)
    bounce = movement(50 + abs(epochs - 30) + np.sin(7.0 * epochs) / 9)
    assert (bounce.bounced, bounce.minimum) == (True, 30)
    growth = movement(50 + epochs + np.sin(7.0 * epochs) / 9)
    assert (growth.bounced, growth.trend, growth.falling) == (False, (), False)
    fall = movement(500 - epochs + np.sin(7.0 * epochs) / 9)
    assert (fall.bounced, fall.trend, fall.falling) == (False, (), True)
    dip = movement(50 + abs(epochs - 30) / 1000)
    assert (dip.significant, dip.bounced) == (True, False)
    assert dip.depth == pytest.approx(29 / 50_000)


def test_mean_interval_holds_its_estimate_and_is_wider_than_the_standard_error():
    values = np.random.default_rng(0).normal(size=10)
    interval = mean_interval(values)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low > 2 * 1.96 * values.std(ddof=1) / np.sqrt(10)
    assert mean_interval([0.25] * 5) == Interval(0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ((0.002, 0.008), "equal"),
        ((0.002, 0.02), "better"),
        ((-0.03, -0.001), "worse"),
        ((-0.02, 0.02), "open"),
        ((0, 0), "same"),
    ],
)
def test_verdict(ends, word):
    assert verdict(Interval(sum(ends) / 2, *ends)) == word


# The page


def test_a_page_of_made_up_runs(tmp_path, monkeypatch):
    settings = ((control_plan.L2, 0.1), (0.0, 0.1))
    monkeypatch.setattr(control_plan, "SETTINGS", settings)
    accuracies = {"simple": 0.6, "step": 0.7, "cosine": 0.7, "abel-paper": 0.5, "abel": 0.7}

    def record(run):
        after = run.place is not None and run.place > 0.3
        tuning = run.seed in control_plan.TUNING_SEEDS
        return made_up(run, (0.7 if after else 0.4) if tuning else accuracies[run.arm] if run.l2 else 0.6)

    runs = [*tuning_runs(), *main_runs(dict.fromkeys(settings, 0.4))]
    leave([record(run) for run in runs if run.seed in (0, 1, 2, 3, *control_plan.TUNING_SEEDS)], tmp_path)
    control.save(tmp_path, tmp_path)
    page = write_report(tmp_path).read_text()
    found = {finding.name: finding for finding in pattern(answer(*control.read_saved(tmp_path)))}
    assert found["without"].found == "appears"
    assert found["founding"].found == "appears"
    assert found["help"].found == "in part"
    assert "4 arms against “simple”: 3 better, 1 worse; differences from −10.0 to 10.0" in page
    assert found["no_help"].found == "appears"
    assert found["place"].found == "appears"
    assert "0 of 4 comparisons are with a schedule that trained otherwise" in " ".join(page.split())
    assert found["as_step"].found == "appears"
    for picture in re.findall(r"\]\((control_\w+\.png)\)", page):
        assert (tmp_path / picture).stat().st_size > 10_000
    assert not re.search(r"\bnan\b", page)


@pytest.mark.skipif(not (SAVED / PAGE).is_file(), reason="there is no page yet")
def test_the_page_is_that_of_the_saved_runs():
    runs, traces = pd.read_parquet(SAVED / control.RUNS), pd.read_parquet(SAVED / control.TRACES)
    page = (SAVED / PAGE).read_text()
    assert page == render(answer(runs, traces), runs), "run `make results`"
    shown = re.findall(r"\]\((control_\w+\.png)\)", page)
    assert set(shown) == {path.name for path in SAVED.glob("control_*.png")}


@pytest.mark.skipif(not (SAVED / control.RUNS).is_file(), reason="there are no saved runs yet")
def test_saved_runs_and_traces_agree():
    runs, traces = pd.read_parquet(SAVED / control.RUNS), pd.read_parquet(SAVED / control.TRACES)
    assert runs["run_id"].is_unique
    last = traces.sort_values("epoch").groupby("run_id").last()["test_accuracy"]
    np.testing.assert_allclose(last[runs["run_id"]], runs["test_accuracy"], atol=1e-6)
    np.testing.assert_allclose(traces[list(control_plan.LAYERS)].sum(axis=1), traces["total"], rtol=1e-4)
