"""Runs and traces of the positive control -> numbers. No torch, no words, no drawing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.control.plan import DECAY_FACTOR, FINAL_DECAY_AT, LAYERS, TUNING_SEEDS, Setting, first_epoch, tune
from benchmarks.statistics.estimates import (
    RESAMPLES,
    Array,
    Interval,
    draw_counts,
    exact_binomial_interval,
    quantiles,
    widened,
)
from rl_abel.rule import find_decays, make_rule, replay

SEED = 0
"""Of the bootstrap, so that a report of the same runs is the same."""

EQUAL = 0.01
"""Differences of the test accuracy within one point, interval and all, count as none."""

SHALLOW = 0.01
"""A fall or rise below this share of the lowest norm is none that a stranger would see."""

COMPLEX = ("step", "cosine", "abel-paper", "abel")


@dataclass(frozen=True)
class Movement:
    """What a squared norm did while the rate was constant. Epochs are counted from 1.

    :param significant: a significant fall, then a significant rise, by the t-statistics of "trend"
    :param trend: epochs at which "trend" would decay: the rise has levelled off as well
    :param paper: epochs at which Algorithm 1 would decay
    """

    norms: tuple[float, ...]
    significant: bool
    trend: tuple[int, ...]
    paper: tuple[int, ...]

    @property
    def minimum(self) -> int:
        """Epoch of the lowest norm."""
        return int(np.argmin(self.norms)) + 1

    @property
    def falling(self) -> bool:
        """Whether it ends at its lowest, so that a bounce may only not have come yet."""
        return self.minimum == len(self.norms)

    @property
    def lowest(self) -> float:
        """The lowest norm."""
        return min(self.norms)

    @property
    def last(self) -> float:
        """The norm at the end of the constant rate."""
        return self.norms[-1]

    @property
    def percent_deep(self) -> float:
        """The depth in percent."""
        return 100 * self.depth

    @property
    def depth(self) -> float:
        """The smaller of fall and rise on either side of the lowest norm, as a share of it."""
        before, after = self.norms[: self.minimum], self.norms[self.minimum - 1 :]
        return min(max(before), max(after)) / min(self.norms) - 1

    @property
    def bounced(self) -> bool:
        """Whether fall and rise are significant, and deep enough to be seen."""
        return self.significant and self.depth >= SHALLOW


@dataclass(frozen=True)
class Answers:
    """All that the page says.

    :param settings: in the order of the page
    :param movements: setting -> seed -> layer or "total" -> what its norm did
    :param accuracies: setting, arm, decay factor -> final test accuracy by seed
    :param decays: setting, arm -> by seed, the epochs after which a bounce decayed the rate
    :param profiles: setting -> place of step's first decay -> final test accuracy by tuning seed
    :param tuning_minima: setting -> epoch of the lowest norm by tuning seed
    """

    settings: tuple[Setting, ...]
    movements: dict[Setting, dict[int, dict[str, Movement]]]
    accuracies: dict[tuple[Setting, str, float], dict[int, float]]
    decays: dict[tuple[Setting, str], dict[int, list[int]]]
    profiles: dict[Setting, dict[float, list[float]]]
    tuning_minima: dict[Setting, list[int]]

    def bounced(self, setting: Setting, layer: str = "total") -> Interval:
        """Share of runs whose norm bounced, with its exact interval."""
        found = [movements[layer].bounced for movements in self.movements[setting].values()]
        return exact_binomial_interval(sum(found), len(found))

    def bounces(self, setting: Setting) -> bool:
        """Whether the total bounced in most runs."""
        return self.bounced(setting).estimate > 0.5

    def gain(
        self, setting: Setting, arm: str, over: str = "simple", over_factor: float = DECAY_FACTOR
    ) -> Interval | None:
        """Final test accuracy minus that of another arm, paired by seed; None without two common seeds."""
        scores = self.accuracies.get((setting, arm, DECAY_FACTOR), {})
        others = self.accuracies.get((setting, over, over_factor), {})
        both = sorted(set(scores) & set(others))
        return mean_interval([scores[seed] - others[seed] for seed in both]) if len(both) > 1 else None

    def mean(self, setting: Setting, arm: str, decay_factor: float = DECAY_FACTOR) -> Interval | None:
        """Mean final test accuracy over seeds."""
        scores = self.accuracies.get((setting, arm, decay_factor))
        return mean_interval(list(scores.values())) if scores else None

    def spread(self, arm: str, settings: Sequence[Setting], factors: Sequence[float]) -> dict[int, float]:
        """By seed, the best minus the worst final test accuracy over these settings and decay factors."""
        scores = [self.accuracies.get((setting, arm, factor), {}) for setting in settings for factor in factors]
        seeds = sorted(set(scores[0]).intersection(*scores)) if scores else []
        return {seed: max(s[seed] for s in scores) - min(s[seed] for s in scores) for seed in seeds}

    @property
    def compared(self) -> list[Setting]:
        """The settings in which the arms were compared; in the others "simple" alone was run."""
        return [setting for setting in self.settings if (setting, COMPLEX[0], DECAY_FACTOR) in self.accuracies]

    @property
    def tuned(self) -> dict[Setting, float]:
        """Setting -> the place that was chosen for step's first decay."""
        return tune(
            (s, place, score) for s, p in self.profiles.items() for place, found in p.items() for score in found
        )


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of the values (num_seeds,) with its bootstrap interval over seeds."""
    array: Array = np.asarray(values, dtype=float)
    counts = draw_counts(len(array), RESAMPLES, np.random.default_rng(SEED))
    estimate = float(array.mean())
    low, high = quantiles(widened([counts @ (array - estimate) / len(array)], [len(array)]))
    return Interval(estimate, estimate + float(low), estimate + float(high))


def movement(norms: npt.ArrayLike) -> Movement:
    """Tell what a trace (num_epochs,) did."""
    trace = [float(norm) for norm in np.asarray(norms, dtype=float)]
    significant = any(
        state["phase"] == "equilibrium" or decayed for state, decayed in replay(make_rule("trend", depth=0), trace)
    )
    decays = {rule: tuple(index + 1 for index in find_decays(trace, rule=rule)) for rule in ("trend", "paper")}
    return Movement(tuple(trace), significant, **decays)


def verdict(gain: Interval) -> str:
    """Return "better", "worse", "equal" (within a point, interval and all), "open", or "same" trainings."""
    if gain.low == gain.high == 0:
        return "same"
    if gain.low > -EQUAL and gain.high < EQUAL:
        return "equal"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "open"


def answer(runs: pd.DataFrame, traces: pd.DataFrame) -> Answers:
    """Work out all numbers of the page.

    :param runs: a row a run
    :param traces: a row a run and epoch
    """
    runs = runs.assign(setting=list(zip(runs["l2"], runs["learning_rate"])))
    for_tuning = runs["seed"].isin(TUNING_SEEDS)
    tuning, main = runs[for_tuning], runs[~for_tuning]
    by_run = {run_id: trace.sort_values("epoch") for run_id, trace in traces.groupby("run_id", sort=False)}
    settings = tuple(sorted(set(main["setting"]), key=lambda setting: (-setting[0], setting[1])))
    standard = main[np.isclose(main["decay_factor"], DECAY_FACTOR)]
    movements: dict[Setting, dict[int, dict[str, Movement]]] = {setting: {} for setting in settings}
    for row in _rows(standard[standard["arm"] == "simple"]):
        # Its norm is undisturbed until the final decay.
        trace = by_run[row["run_id"]].head(first_epoch(FINAL_DECAY_AT, row["epochs"]))
        movements[row["setting"]][row["seed"]] = {part: movement(trace[part]) for part in ("total", *LAYERS)}
    by_arm = main.groupby(["setting", "arm", "decay_factor"])
    accuracies = {key: dict(zip(of["seed"], of["test_accuracy"])) for key, of in by_arm}
    bounces = standard.groupby(["setting", "arm"])
    decays = {key: dict(zip(of["seed"], of["bounces"].map(json.loads))) for key, of in bounces}
    profiles: dict[Setting, dict[float, list[float]]] = {}
    minima: dict[Setting, list[int]] = {}
    for row in _rows(tuning.sort_values(["place", "seed"])):
        profiles.setdefault(row["setting"], {}).setdefault(row["place"], []).append(row["test_accuracy"])
        if row["place"] == tuning["place"].max():
            undisturbed = by_run[row["run_id"]].head(first_epoch(row["place"], row["epochs"]))
            minima.setdefault(row["setting"], []).append(movement(undisturbed["total"]).minimum)
    return Answers(settings, movements, accuracies, decays, profiles, minima)


def _rows(table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    yield from table.to_dict("records")
