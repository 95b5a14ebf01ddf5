"""Are the defaults the right ones? ``python -m benchmarks.measure defaults``: settings of "trend" on recorded traces.

False decays are counted on the first study's tuning runs at a constant rate, without regularization; recall
on the positive control's runs that bounce, and on bounces planted into the recorded noise of RL.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.control.plan import DECAY_FACTOR
from benchmarks.measure.calibration import BOUNCE, MINIMUM, NO_BOUNCE, bounce
from benchmarks.measure.decaying import decaying
from benchmarks.measure.shallow import shallow
from benchmarks.measure.watching import noise, watching
from benchmarks.results import FIRST_STUDY, Results, read_parquet
from benchmarks.statistics.estimates import exact_binomial_interval
from benchmarks.words import percent, templates
from rl_abel.rules import bounce as rules
from rl_abel.rules.bounce import TrendRule, find_decays

PAGE = "defaults.md"
TUNING_SEEDS = (1000, 1001)
"""Of the first study's runs that chose base rates."""

PARTS = ("total", "policy", "value")
AMPLIFIED = (1, 10, 50)
"""Factors of the recorded noise under a planted bounce: as it is, it hides nothing."""


@dataclass(frozen=True)
class Setting:
    """What of the rule may be chosen, and every how many of the recorded measurements it sees."""

    window: int = TrendRule.window
    z: float = TrendRule.z
    strides: tuple[int, ...] = rules.STRIDES
    depth: float = TrendRule.depth
    every: int = 1

    def decays(self, norms: np.ndarray) -> list[int]:
        """Return where the rule decays, as indices of the whole trace."""
        with mock.patch.object(rules, "STRIDES", self.strides):
            thinned = norms[self.every - 1 :: self.every]
            found = find_decays(thinned.tolist(), TrendRule(self.window, self.z, self.depth))
        return [self.every * (index + 1) - 1 for index in found]


DEFAULT = Setting()
BEFORE = Setting(z=3.5, strides=(1, 2, 4), depth=0.0)
"""The first default, which watched the total alone."""
SETTINGS = tuple(
    dict.fromkeys(
        (
            DEFAULT,
            *(Setting(window=window, z=z) for window, z in itertools.product((6, 8, 10, 12, 15), (3.0, 3.7, 4.5))),
            *(Setting(strides=strides) for strides in ((1,), (1, 2), (1, 2, 4), (2, 3, 4))),
            BEFORE,
            *(Setting(every=every) for every in (2, 3, 4)),
        )
    )
)
FALSE, FOUND = 0.45, 0.86
"""Decays a random walk of 500, and share of bounces under noise of 4: what the rule has to hold, as its tests say."""

MADE_UP = 200
"""Traces of a made-up family."""


def recorded(results: Results) -> list[list[np.ndarray]]:
    """Return the traces of the parts of each tuning run at a constant rate.

    The runs that answer the study's questions have no part in choosing what answers them.
    """
    runs = results.runs
    wanted = (runs["arm"] == "constant") & (runs["regularization"] == "none") & (runs["status"] == "complete")
    ids = runs.loc[wanted & runs["seed"].isin(TUNING_SEEDS), "run_id"]
    return [
        [norms for part in PARTS if np.isfinite(norms := trace[part].to_numpy(dtype=float)).all()]
        for _, trace in results.traces[results.traces["run_id"].isin(ids)].groupby("run_id")
    ]


def planted(norms: np.ndarray, amplified: float) -> np.ndarray:
    """Return the bounce of abel.md's calibration over 100 measurements, in the noise of a recorded trace."""
    shape = bounce(100)
    return shape * (1 + amplified * np.resize(noise(norms), len(shape)))


def controls(folder: Path) -> list[tuple[np.ndarray, int]]:
    """Return the control's traces with L2 at a constant rate, each with the index of its minimum.

    Of one decay factor: until the final decay all of them are the same.
    """
    runs, traces = (pd.read_parquet(folder / f"control_{name}.parquet") for name in ("runs", "traces"))
    wanted = runs[(runs["arm"] == "simple") & (runs["l2"] > 0) & np.isclose(runs["decay_factor"], DECAY_FACTOR)]
    found = []
    for _, trace in traces[traces["run_id"].isin(wanted["run_id"])].groupby("run_id"):
        rate = trace["learning_rate"].to_numpy()
        norms = trace["total"].to_numpy(dtype=float)[rate == rate[0]]
        lowest = int(norms.argmin())
        # What falls to its end, or has hardly risen, has not bounced.
        if lowest < len(norms) - 1 and norms[-1] > 1.1 * norms[lowest] and norms[0] > 1.1 * norms[lowest]:
            found.append((norms, lowest))
    return found


@dataclass(frozen=True)
class Material:
    """What a setting is measured on.

    :param recorded: by run of RL without a bounce, the traces of its parts
    :param control: traces of the control with a bounce, and the index of each one's minimum
    :param wandering: made-up random walks, without a bounce
    :param bouncing: made-up bounces under strong noise
    """

    recorded: Sequence[Sequence[np.ndarray]]
    control: Sequence[tuple[np.ndarray, int]]
    wandering: Sequence[np.ndarray]
    bouncing: Sequence[np.ndarray]


HEADER = (
    "setting",
    "RL: false decays a run",
    "RL: runs with one",
    "control: found",
    *(f"planted, noise × {a}: found" for a in AMPLIFIED),
    "random walk of 500: false decays",
    "made-up, noise 4: found",
)


def measure(setting: Setting, on: Material) -> tuple[str, ...]:
    """Return the row of one setting."""
    name = f"window {setting.window}, z {setting.z:g}, strides {', '.join(map(str, setting.strides))}"
    name += f", depth {setting.depth:g}" if setting.depth != TrendRule.depth else ""
    name += f", 1 measurement in {setting.every}" if setting.every > 1 else ""
    false = np.array([sum(len(setting.decays(norms)) for norms in parts) for parts in on.recorded])
    noisy = [norms for parts in on.recorded for norms in parts]
    with_one = exact_binomial_interval(int((false > 0).sum()), len(false))
    shares = [
        [_found(setting.decays(norms), lowest) for norms, lowest in on.control],
        *([_found(setting.decays(planted(norms, a)), MINIMUM) for norms in noisy] for a in AMPLIFIED),
        [_found(setting.decays(norms), MINIMUM) for norms in on.bouncing],
    ]
    *found, made_up = (f"{np.mean(share):.2f}" for share in shares)
    wandering = np.mean([len(setting.decays(norms)) for norms in on.wandering])
    return (
        name + {DEFAULT: " (default)", BEFORE: " (before)"}.get(setting, ""),
        f"{false.mean():.3f}",
        percent(with_one),
        *found,
        f"{wandering:.2f}",
        made_up,
    )


def _found(decays: Sequence[int], lowest: int) -> bool:
    return bool(decays) and decays[0] >= lowest


def material(results: Results, folder: Path) -> Material:
    """Return recorded traces, those of the control in a folder, and made-up ones."""

    def family(make: Callable[[np.random.Generator], np.ndarray]) -> list[np.ndarray]:
        return [make(np.random.default_rng(seed)) for seed in range(MADE_UP)]

    return Material(
        recorded(results),
        controls(folder),
        family(NO_BOUNCE["random walk of 500"]),
        family(BOUNCE["bounce, noise 4"]),
    )


def write_page(folder: Path) -> Path:
    """Measure every setting and write the tables beside the files they are made from."""
    results = read_parquet(FIRST_STUDY)
    on = material(results, folder)
    rows = [measure(setting, on) for setting in SETTINGS]
    false, control, found = 1, 3, 5  # columns
    # What the recorded traces by themselves would favour.
    kept = [row for row in rows if row[false] <= rows[0][false] and row[control] >= rows[0][control]]
    lengths = (100, 200, 500)
    tasks, settings_of_the_last = decaying(results)
    page = (
        templates("benchmarks.measure")
        .get_template(f"{PAGE}.j2")
        .render(
            on=on,
            header=HEADER,
            rows=rows,
            most_false=FALSE,
            least_found=FOUND,
            amplified=AMPLIFIED,
            within=[row for row in rows if float(row[-2]) <= FALSE and float(row[-1]) >= FOUND],
            best=max(kept, key=lambda row: row[found]),
            fewer=[row for row in rows if " measurement in " in row[0]],
            by_length=[np.mean([len(DEFAULT.decays(norms[:n])) for norms in on.wandering]) for n in lengths],
            watching=watching(results),
            shallow=shallow(results, on.control),
            tasks=tasks,
            decaying=settings_of_the_last,
        )
    )
    path = folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Rebuild the page."""
    description = f"Rebuild docs/results/{PAGE}."
    argparse.ArgumentParser(prog="python -m benchmarks.measure defaults", description=description).parse_args(arguments)
    print(write_page(FIRST_STUDY.parent))
