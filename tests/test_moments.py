"""What a decay brings at each moment: what is trained, and what is saved of the positive control."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.moments.plan import PLACES, SEEDS, all_units, digits_units, first_at, missing

SAVED = Path(__file__).parent.parent / "docs" / "results"


@pytest.mark.parametrize(
    ("place", "timesteps", "first"),
    [(0.1, 100, 10), (0.3, 10, 3), (0.05, 150, 8), (0.7, 10, 7), (0.15, 100_000, 15_000)],
)
def test_first_at(place, timesteps, first):
    assert first_at(place, timesteps) == first


def test_every_trunk_is_trained_once_and_what_is_saved_is_not_trained_again():
    units = all_units()
    assert len(set(units)) == len(units)
    assert {seed for _, seed in units} == set(SEEDS)
    (task, seed), *others = units
    assert missing(units, [(task.agent, task.env_id, task.strength, seed)]) == others


def test_the_control_has_all_of_its_trunks_and_a_branch_at_each_place():
    saved = pd.read_parquet(SAVED / "moments_control.parquet")
    assert len(saved) == len(digits_units()) * len(PLACES)
    assert set(saved["seed"]) == set(SEEDS)
