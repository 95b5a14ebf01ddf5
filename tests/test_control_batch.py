"""Growing the batch on the positive control: its plan, its trainings, and what the saved ones say."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.control.batch import ARMS, EQUAL, SEEDS, TUNING_SEED, Run, all_runs
from benchmarks.control.batch_page import PAGE, PICTURE, findings, render
from benchmarks.control.batch_training import GhostNorm, train
from benchmarks.control.study import BATCH, BATCH_TABLES
from benchmarks.control.training import load_digits
from benchmarks.statistics.estimates import Interval
from benchmarks.statistics.verdicts import judged
from benchmarks.study.__main__ import main

SAVED = Path(__file__).parent.parent / "docs" / "results"


@pytest.fixture(scope="module")
def table():
    return BATCH_TABLES.read(SAVED)[0]


@pytest.mark.parametrize(
    ("optimizer", "arm", "batch_sizes", "rates"),
    [
        ("sgd", "constant", [8, 8, 8, 8], [1, 1, 1, 1]),
        ("sgd", "learning_rate", [8, 8, 8, 8], [1, 1 / 2, 1 / 4, 1 / 8]),
        ("sgd", "batch_size", [8, 16, 32, 64], [1, 1, 1, 1]),
        ("adam", "mixed", [8, 16, 32, 64], [1, 0.707, 0.5, 0.354]),
    ],
)
def test_the_plan_of_an_arm(optimizer, arm, batch_sizes, rates):
    run = Run(optimizer, arm, seed=0, epochs=10)
    of_epochs = [run.at(epoch) for epoch in (0, 3, 4, 5, 6, 7, 8, 9)]
    assert [batch_size for batch_size, _ in of_epochs] == [size for size in batch_sizes for _ in range(2)]
    base = of_epochs[0][1]
    assert [rate / base for _, rate in of_epochs[::2]] == pytest.approx(rates, abs=1e-3)
    assert run.first_decay == 4


def test_the_plan_has_ten_seeds_none_of_them_tuned_on():
    assert len(SEEDS) >= 10
    assert TUNING_SEED not in SEEDS
    assert len(set(all_runs())) == len(all_runs()) == len(SEEDS) * sum(map(len, ARMS.values()))


def test_small_batches_are_normalised_by_themselves():
    images = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    ghost, plain = GhostNorm(3), nn.BatchNorm2d(3)
    torch.testing.assert_close(ghost(images), torch.cat([plain(images[:8]), plain(images[8:])]))
    torch.testing.assert_close(ghost.running_mean, plain.running_mean)
    torch.testing.assert_close(ghost.eval()(images), plain.eval()(images))


@pytest.mark.parametrize("optimizer", ARMS)
def test_a_run_that_goes_on_from_a_shared_beginning_is_the_run_by_itself(optimizer):
    pytest.importorskip("sklearn")
    digits = load_digits()
    runs = [Run(optimizer, arm, 3, epochs=5) for arm in ("learning_rate", "batch_size")]
    both = train(runs, digits)
    together = [both[:5], both[5:]]
    assert together == [train([run], digits) for run in runs]
    assert [row["updates"] for row in together[1]] == [80, 160, 200, 220, 230], "640 images, 8 to 64 of them at a time"
    assert together[0][2]["test_accuracy"] != together[1][2]["test_accuracy"]


def test_the_saved_runs_are_those_of_the_plan(table):
    runs = {(run.optimizer, run.arm, run.seed): run for run in all_runs()}
    for of, rows in table.groupby(["optimizer", "arm", "seed"]):
        run = runs.pop(of)
        assert rows["epoch"].tolist() == list(range(1, run.epochs + 1))
        planned = [run.at(epoch) for epoch in range(run.epochs)]
        assert rows["batch_size"].tolist() == [batch_size for batch_size, _ in planned]
        assert rows["learning_rate"].tolist() == pytest.approx([rate for _, rate in planned])
    assert not runs


def test_growing_the_batch_is_the_decay_in_fewer_updates(table):
    found = findings(table)
    for of in [("sgd", "batch_size"), ("adam", "batch_size"), ("adam", "mixed")]:
        gain, updates = found["gain"][of], found["updates"]
        assert -EQUAL < gain.low < gain.high < EQUAL
        assert updates[of] < 0.6 * updates[of[0], "learning_rate"]
        # There was something to miss.
        assert found["gain"][of[0], "constant"].high < -EQUAL
    assert found["farthest"]["sgd", "batch_size"] < EQUAL


@pytest.mark.parametrize(
    ("gain", "word"),
    [
        (Interval(0.0, -0.2, 0.3), "equivalent"),
        (Interval(-0.2, -0.4, -0.1), "equivalent"),
        (Interval(2.0, 0.5, 3.5), "better"),
        (Interval(-2.0, -3.5, -0.5), "worse"),
        (Interval(0.2, -0.5, 1.5), "undecided"),
    ],
)
def test_judged(gain, word):
    assert judged(gain, EQUAL) == word


def test_the_page_is_that_of_the_table(table, tmp_path, capsys):
    assert render(table) == (SAVED / PAGE).read_text(encoding="utf-8")
    BATCH_TABLES.path(tmp_path).write_bytes(BATCH_TABLES.path(SAVED).read_bytes())
    assert set(BATCH.progress(tmp_path).values()) == {(20, 20)}
    main(["report", "batch", "--saved", str(tmp_path)])
    assert (tmp_path / PAGE).read_text(encoding="utf-8") == render(table)
    assert (tmp_path / PICTURE).stat().st_size > 10_000
    assert capsys.readouterr().out.strip() == str(tmp_path / PAGE)
