"""Whose norm is watched: what is planted, what hides it, and what is counted."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.measure.calibration import MINIMUM, bounce
from benchmarks.measure.watching import first_decay, noise, plant, watching
from benchmarks.results import Results

LENGTH = 100


def growing(policy: float, value: float) -> dict[str, np.ndarray]:
    """A run whose value norm doubles; what it is watched for is up to the test."""
    parts = {"policy": np.full(LENGTH, policy), "value": value * np.linspace(1, 2, LENGTH)}
    return parts | {"total": parts["policy"] + parts["value"]}


def test_noise_is_what_the_trend_leaves():
    steady = 100 + 0.5 * np.arange(LENGTH)
    assert noise(steady) == pytest.approx(np.zeros(LENGTH), abs=1e-12)
    jagged = steady + np.where(np.arange(LENGTH) % 2, 1.0, -1.0)
    assert np.abs(noise(jagged) * np.median(jagged)).mean() == pytest.approx(1, abs=0.1)


def test_a_bounce_is_planted_into_one_part_and_the_total_alone():
    trace = growing(50, 100)
    bouncing = plant(trace, "policy")
    assert bouncing["policy"] == pytest.approx(50 * bounce(LENGTH) / 300)
    assert bouncing["value"] is trace["value"]
    assert bouncing["total"] == pytest.approx(bouncing["policy"] + bouncing["value"])


@pytest.mark.parametrize(
    ("value", "watch", "found"),
    [
        (1000, "total", False),
        (1000, "policy", True),
        (1000, "value", False),
        (1000, "any", True),
        (1, "total", True),
    ],
)
def test_a_large_part_hides_a_small_one(value, watch, found):
    first = first_decay(plant(growing(50, value), "policy"), watch)
    assert (first is not None and first >= MINIMUM) is found


def test_what_is_counted():
    run = {
        "agent": "PPO",
        "env_id": "CartPole-v1",
        "arm": "constant",
        "regularization": "none",
        "strength": 0.0,
        "timesteps": 1000,
        "status": "complete",
        "final_return": 1.0,
        "reference_return": 1.0,
        "random_return": 0.0,
    }
    runs = pd.DataFrame(
        [
            {"run_id": "a"} | run,
            {"run_id": "b"} | run,
            {"run_id": "other arm"} | run | {"arm": "linear"},
            {"run_id": "regularized"} | run | {"regularization": "adamw", "strength": 1.0},
            {"run_id": "one part"} | run | {"agent": "DQN"},
        ]
    )
    traces = [pd.DataFrame(growing(50, 1000)).assign(run_id=run_id) for run_id in runs["run_id"]]
    traces[0] = pd.DataFrame(plant(growing(50, 1000), "policy")).assign(run_id="a")
    traces[-1]["policy"] = np.nan
    table = watching(Results(runs, pd.DataFrame(), pd.concat(traces)))
    assert [row[:3] for row in table.rows] == [
        ("PPO CartPole-v1", "nothing", ""),
        ("PPO CartPole-v1", "policy", "3 %"),
        ("PPO CartPole-v1", "value", "97 %"),
    ]
    nothing, policy, value = (row[3:] for row in table.rows)
    assert nothing == ("0 of 2 false", "1 of 2 false", "0 of 2 false", "1 of 2 false")
    assert policy == ("0 of 2 found", "2 of 2 found", "0 of 2 found", "2 of 2 found")
    assert value[2] == "2 of 2 found"
