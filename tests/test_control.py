"""The positive control: its net and schedules, what is run again and what not, and its page."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from benchmarks.control import plan as control_plan
from benchmarks.control.answers import answer, movement
from benchmarks.control.page import PAGE, pattern, render, verdict, write_page
from benchmarks.control.plan import Run, first_epoch, main_runs, tune, tuning_runs
from benchmarks.control.study import CONTROL, TABLES, unit
from benchmarks.control.training import Training, as_rows, augment, layer_norms, load_digits, make_net, train
from benchmarks.statistics.estimates import Interval, mean_interval
from benchmarks.study import tables
from benchmarks.study.launch import run_units
from benchmarks.study.units import UnitStudy
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
    runs = pd.DataFrame(scores, columns=["place", "test_accuracy"]).assign(l2=0.0, learning_rate=0.1)
    assert tune(runs) == {(0.0, 0.1): 0.3}


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


def test_runs_of_one_seed_are_the_same_training_until_their_rates_differ(digits):
    runs = [Run(arm, 4e-3, 0.05, 3, place=place, epochs=5) for arm, place in [("simple", None), ("step", 0.2)]]
    first, second = (train(run, Training(3, 4e-3, digits))["trace"]["total"] for run in runs)
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_saved_run_is_trained_again_to_the_same_norms(digits):
    runs, traces = TABLES.read(SAVED)
    run = Run("simple", control_plan.L2, 0.1, 0)
    saved = traces[traces["run_id"] == run.run_id].set_index("epoch")["total"]
    training = Training(run.seed, run.l2, digits)
    norms = [training.epoch(epoch, run.planned_rate(epoch - 1))["total"] for epoch in range(1, 6)]
    np.testing.assert_allclose(norms, saved.loc[1:5], rtol=1e-3)
    assert run.run_id in set(runs["run_id"])


class Scripted:
    """A training whose norm after each epoch is given."""

    def __init__(self, totals):
        self.net, self.totals = torch.nn.Sequential(), totals
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.optimizer = torch.optim.SGD([self.weight], lr=0.0)

    def epoch(self, epoch, rate):
        self.optimizer.param_groups[0]["lr"] = rate
        self.weight.grad = torch.zeros(1)
        self.optimizer.step()
        self.weight.data.fill_(self.totals[epoch - 1] ** 0.5)
        return {"epoch": epoch, "learning_rate": rate, "test_accuracy": 0.5, "total": self.totals[epoch - 1]}


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
    """The trace tells where Algorithm 1 decays; a training at those rates by hand is the same."""
    run = Run("abel-paper", 0.1, 0.2, 3, decay_factor=0.5, epochs=20)
    record = train(run, Training(3, 0.1, digits))
    bounces = record["run"]["bounces"]
    assert bounces == [index + 1 for index in find_decays(record["trace"]["total"], rule="paper")] != []
    rates = record["trace"]["learning_rate"]
    assert rates == [0.2 * 0.5 ** (sum(b <= epoch for b in bounces) + (epoch >= 17)) for epoch in range(20)]
    alone = Training(3, 0.1, digits)
    assert [alone.epoch(epoch + 1, rates[epoch])["total"] for epoch in range(20)] == record["trace"]["total"]


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


@pytest.fixture
def small(monkeypatch):
    """One setting, two places, two seeds."""
    monkeypatch.setattr(control_plan, "SETTINGS", ((4e-3, 0.1),))
    monkeypatch.setattr(control_plan, "PLACES", (0.2, 0.5))
    monkeypatch.setattr(control_plan, "SEEDS", (0, 1))


def save(records, folder):
    TABLES.add(folder, map(as_rows, records))


def missing(folder):
    return [one.arguments[0] for units in CONTROL.missing(folder).values() for one in units]


def test_runs_that_are_saved_are_not_run_again(small, tmp_path):
    tuning = tuning_runs()
    assert missing(tmp_path) == tuning
    for first, last in ((0, 2), (2, 3)):
        save([made_up(run) for run in tuning[first:last]], tmp_path)
        assert missing(tmp_path) == tuning[last:]
    runs, traces = TABLES.read(tmp_path)
    assert runs["run_id"].is_unique
    assert set(traces["run_id"]) == set(runs["run_id"])
    assert len(traces) == runs["epochs"].sum()


def test_the_tuned_place_is_run_when_all_tuning_runs_are_there(small, tmp_path):
    save([made_up(run, accuracy=run.place) for run in tuning_runs()], tmp_path)
    assert missing(tmp_path) == main_runs({(4e-3, 0.1): 0.5})


def test_a_save_that_was_cut_off_leaves_the_runs_missing_and_harms_nothing(small, tmp_path, monkeypatch):
    first, second, *_ = tuning = tuning_runs()
    save([made_up(first)], tmp_path)

    def cut_off(table, path, write=tables.write_table):
        if path.name == "control_runs.parquet":
            raise OSError("no space left")
        write(table, path)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "write_table", cut_off)
        with pytest.raises(OSError, match="no space left"):
            save([made_up(second)], tmp_path)
    assert missing(tmp_path) == tuning[1:]
    save([made_up(second)], tmp_path)
    runs, traces = TABLES.read(tmp_path)
    assert len(traces) == runs["epochs"].sum()


def test_what_is_trained_is_saved_until_nothing_is_missing(digits, tmp_path):
    few = [Run("simple", 4e-3, 0.1, seed, epochs=5) for seed in (0, 1)]
    study = UnitStudy("few", "", "", lambda folder: {"all": list(map(unit, few))})
    assert run_units(study, tmp_path, Console(), workers=1) == 0
    assert sorted(TABLES.read(tmp_path)[0]["seed"]) == [0, 1]


# Numbers


def test_movement_of_a_bounce_and_of_growth():
    epochs = np.arange(1, 86)

    def told(norms, *names):
        return tuple(movement(norms + np.sin(7.0 * epochs) / 9)[name] for name in names)

    assert told(50 + abs(epochs - 30), "bounced", "minimum") == (True, 30)
    assert told(50 + epochs, "bounced", "trend", "falling") == (False, [], False)
    assert told(500 - epochs, "bounced", "trend", "falling") == (False, [], True)
    dip = movement(50 + abs(epochs - 30) / 1000)
    assert (dip["significant"], dip["bounced"]) == (True, False)
    assert dip["depth"] == pytest.approx(29 / 50_000)


def test_mean_interval_holds_its_estimate_and_is_wider_than_the_standard_error():
    values = np.random.default_rng(0).normal(size=10)
    interval = mean_interval(values)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low > 2 * 1.96 * values.std(ddof=1) / np.sqrt(10)
    assert mean_interval([0.25] * 5) == Interval(0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ((0.2, 0.8), "equivalent"),
        ((0.2, 2.0), "better"),
        ((-3.0, -0.1), "worse"),
        ((-2.0, 2.0), "undecided"),
        ((0, 0), "the same"),
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
    save([record(run) for run in runs if run.seed in (0, 1, 2, 3, *control_plan.TUNING_SEEDS)], tmp_path)
    page = write_page(tmp_path).read_text()
    found = {name: found for name, (found, _) in pattern(answer(*TABLES.read(tmp_path))).items()}
    assert found["without"] == "appears"
    assert found["founding"] == "appears"
    assert found["help"] == "in part"
    assert "4 schedules against one decay near the end: 3 better, 1 worse; differences from −10.0 to 10.0" in page
    assert found["no_help"] == "appears"
    assert found["place"] == "appears"
    assert "there are 4 comparisons. In 4 the rule saw no bounce" in " ".join(page.split())
    assert found["as_step"] == "appears"
    for picture in re.findall(r"\]\((control_\w+\.png)\)", page):
        assert (tmp_path / picture).stat().st_size > 10_000
    assert not re.search(r"\bnan\b", page)


@pytest.mark.published
@pytest.mark.skipif(not (SAVED / PAGE).is_file(), reason="there is no page yet")
def test_the_page_is_that_of_the_saved_runs():
    runs, traces = TABLES.read(SAVED)
    page = (SAVED / PAGE).read_text()
    assert page == render(answer(runs, traces)), "run `make results`"
    shown = re.findall(r"\]\((control_\w+\.png)\)", page)
    assert set(shown) == {path.name for path in SAVED.glob("control_*.png")}


@pytest.mark.skipif(not TABLES.path(SAVED).is_file(), reason="there are no saved runs yet")
def test_saved_runs_and_traces_agree():
    runs, traces = TABLES.read(SAVED)
    assert runs["run_id"].is_unique
    last = traces.sort_values("epoch").groupby("run_id").last()["test_accuracy"]
    np.testing.assert_allclose(last[runs["run_id"]], runs["test_accuracy"], atol=1e-6)
    np.testing.assert_allclose(traces[list(control_plan.LAYERS)].sum(axis=1), traces["total"], rtol=1e-4)
