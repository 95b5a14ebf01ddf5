"""How deep must a fall be to count? Settings of ``depth`` on every run at a constant rate: a table of the defaults."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.report.answers import undisturbed, with_tasks
from benchmarks.results import Results
from benchmarks.words import Grid
from rl_abel.rules.bounce import TrendRule, find_decays

DEPTHS = (0.0, 0.01, 0.02, TrendRule.depth, 0.05, 0.1, 0.2)
PARTS = ("total", "policy", "value")


def shallow(results: Results, controls: Sequence[tuple[np.ndarray, int]]) -> Grid:
    """Runs in which some part decays, without and with weight decay, and bounces found in the control.

    :param controls: traces of the control that bounce, each with the index of its minimum
    """
    runs = with_tasks(results.runs)
    groups = [
        [
            [trace[part].tolist() for part in PARTS if trace[part].notna().all()]
            for traces in undisturbed(results, of_group).values()
            for trace in traces
        ]
        for of_group in (runs[~runs["regularized"]], runs[runs["regularized"]])
    ]
    rows = []
    for depth in DEPTHS:
        rule = TrendRule(depth=depth)
        with_one = [sum(any(find_decays(norms, rule) for norms in parts) for parts in group) for group in groups]
        decays = [(find_decays(norms.tolist(), rule), lowest) for norms, lowest in controls]
        found = sum(bool(at) and at[0] >= lowest for at, lowest in decays)
        name = f"{depth:.0%}".replace("%", " %") + {0.0: " (before)", TrendRule.depth: " (default)"}.get(depth, "")
        counts = (f"{n} of {len(group)}" for n, group in zip(with_one, groups))
        rows.append((name, *counts, f"{found} of {len(controls)}"))
    header = ("depth", "RL, without regularization: runs with a decay", "RL, with weight decay", "control: found")
    return Grid(header, rows)
