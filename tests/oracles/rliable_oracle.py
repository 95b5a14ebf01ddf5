"""Writes rliable.json beside this file: scores, and what rliable 1.2.0 makes of them.

rliable needs an environment of its own, for it does not import with current arch and pandas:

    python3 -m venv /tmp/rliable-env
    /tmp/rliable-env/bin/pip install "rliable==1.2.0" "arch<8" "pandas<3"
    /tmp/rliable-env/bin/python tests/oracles/rliable_oracle.py
"""

import json
from pathlib import Path

import numpy as np

NUM_RUNS, TASKS, RESAMPLES = 10, ("a", "b", "c"), 20_000
TAUS = np.linspace(-0.25, 1.25, 7)


def make_scores():
    """Scores (num_runs x num_tasks) of two arms: normal, skewed, and failing in part; y has ties with x."""
    rng = np.random.default_rng(7)
    shape = (NUM_RUNS, len(TASKS))
    x, y = 0.8 + 0.1 * rng.standard_normal(shape), 0.75 + 0.1 * rng.standard_normal(shape)
    x[:, 1], y[:, 1] = 1 - 0.2 * rng.exponential(size=NUM_RUNS), 1 - 0.3 * rng.exponential(size=NUM_RUNS)
    x[:3, 2], y[:5, 2] = 0.0, 0.0
    return x.round(4), y.round(4)


def main():
    from rliable import library, metrics  # not at the top: pytest imports this file for its doctests

    np.random.seed(0)  # rliable ignores its random_state and draws from numpy's global one
    x, y = make_scores()

    def intervals(scores, func):
        estimate, interval = library.get_interval_estimates({"": scores}, func, reps=RESAMPLES)
        return {"estimate": estimate[""].tolist(), "low": interval[""][0].tolist(), "high": interval[""][1].tolist()}

    def means_over_tasks(scores):
        iqms = [metrics.aggregate_iqm(scores[:, [task]]) for task in range(scores.shape[1])]
        return np.array([np.mean(iqms), metrics.aggregate_mean(scores)])

    oracle = {
        "x": dict(zip(TASKS, x.T.tolist())),
        "y": dict(zip(TASKS, y.T.tolist())),
        "taus": TAUS.tolist(),
        "resamples": RESAMPLES,
        "iqm_by_task": [metrics.aggregate_iqm(x[:, [task]]) for task in range(len(TASKS))],
        "mean_by_task": [metrics.aggregate_mean(x[:, [task]]) for task in range(len(TASKS))],
        "iqm_and_mean_overall": intervals(x, means_over_tasks),
        "probability_of_improvement": intervals(
            [x, y], lambda a, b: np.array([metrics.probability_of_improvement(a, b)])
        ),
        "performance_profile": intervals(x, lambda scores: library.score_distributions(scores, TAUS)),
    }
    Path(__file__).with_name("rliable.json").write_text(json.dumps(oracle, indent=1) + "\n")


if __name__ == "__main__":
    main()
