"""Growing the batch on the positive control: what its page says, counted again from its runs."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.statistics.estimates import mean_interval
from benchmarks.words import interval

SAVED = Path(__file__).parent.parent / "docs" / "results"
LAST_EPOCHS, POINT = 5, 1.0


@pytest.fixture(scope="module")
def table():
    return pd.read_parquet(SAVED / "batch_growth.parquet")


@pytest.mark.parametrize(("optimizer", "arm"), [("sgd", "batch_size"), ("adam", "batch_size"), ("adam", "mixed")])
def test_growing_the_batch_is_the_decay_in_fewer_updates(optimizer, arm, table):
    of = table[table["optimizer"] == optimizer]
    last = of[of["epoch"] > of["epoch"].max() - LAST_EPOCHS]
    scores = 100 * last.pivot_table("test_accuracy", "seed", "arm")
    gain, constant = (mean_interval(scores[name] - scores["learning_rate"]) for name in (arm, "constant"))
    assert len(scores) == 10
    assert -POINT < gain.low < gain.high < POINT
    assert constant.high < -POINT, "there was something to miss"
    updates = of.groupby("arm")["updates"].max()
    assert updates[arm] < 0.6 * updates["learning_rate"]
    page = (SAVED / "batch.md").read_text(encoding="utf-8")
    assert f"| {interval(gain)} | equivalent |" in page
    assert f"| {interval(constant)} | worse |" in page
