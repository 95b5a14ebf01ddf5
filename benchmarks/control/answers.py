"""Runs and traces of the positive control -> numbers. No torch, no words, no drawing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.control.plan import ARMS, DECAY_FACTOR, FINAL_DECAY_AT, LAYERS, TUNING_SEEDS, Setting, first_epoch, tune
from benchmarks.statistics.estimates import Interval, exact_binomial_interval, mean_interval
from rl_abel.rules.bounce import find_decays, make_rule, replay

EQUAL = 1.0
"""Differences of the test accuracy within one point of a hundred, interval and all, count as none."""

SHALLOW = 0.01
"""A fall or rise below this share of the lowest norm is none that a stranger would see."""

COMPLEX = tuple(arm for arm in ARMS if arm != "simple")


def label(l2: float, learning_rate: float) -> str:
    """Return a setting in words, which is its name on the page."""
    return f"{f'L2 {l2:g}' if l2 else 'no L2'}, rate {learning_rate:g}"


def movement(norms: npt.ArrayLike) -> dict[str, Any]:
    """Tell what a squared norm (num_epochs,) did while the rate was constant. Epochs are counted from 1.

    :return: ``norms``; ``first``, ``lowest`` and ``last`` of them, and ``minimum``, the epoch of the lowest;
        ``falling``, whether it ends at its lowest, so that a bounce may only not have come yet;
        ``depth``, the smaller of fall and rise on either side of the lowest norm, as a share of it;
        ``significant``, a significant fall and then a significant rise by the t-statistics of "trend";
        ``bounced``, that and deep enough to be seen; ``trend`` and ``paper``, the epochs at which either
        rule would decay, and ``trend_first`` and ``paper_first``, NaN if it would not
    """
    trace = [float(norm) for norm in np.asarray(norms, dtype=float)]
    at = int(np.argmin(trace))
    depth = min(max(trace[: at + 1]), max(trace[at:])) / trace[at] - 1
    significant = any(
        state["phase"] == "equilibrium" or decayed for state, decayed in replay(make_rule("trend", depth=0), trace)
    )
    found = {rule: [index + 1 for index in find_decays(trace, rule=rule)] for rule in ("trend", "paper")}
    return {
        "norms": trace,
        "first": trace[0],
        "lowest": trace[at],
        "last": trace[-1],
        "minimum": at + 1,
        "falling": at + 1 == len(trace),
        "depth": depth,
        "significant": significant,
        "bounced": significant and depth >= SHALLOW,
        **found,
        **{f"{rule}_first": epochs[0] if epochs else np.nan for rule, epochs in found.items()},
    }


@dataclass(frozen=True)
class Answers:
    """All that the page says.

    :param settings: name of a setting -> L2 coefficient and base rate, in the order of the page
    :param main: a row a run: setting, seed, arm, decay_factor, ``accuracy`` (final, of test images, in %), and
        ``bounces``, the epochs after which a bounce decayed the rate
    :param movements: a row a run of "simple" and ``part``, a layer or "total": see :func:`movement`
    :param tuning: a row for each tuning run: setting, seed, place, accuracy
    :param tuning_minima: setting -> epoch of the lowest norm by tuning seed
    :param tuned: setting -> the place that was chosen for step's first decay
    """

    settings: dict[str, Setting]
    main: pd.DataFrame
    movements: pd.DataFrame
    tuning: pd.DataFrame
    tuning_minima: dict[str, list[int]]
    tuned: dict[str, float]

    def moved(self, settings: Sequence[str], part: str = "total") -> pd.DataFrame:
        """Return how the norm of a part moved in the runs of these settings."""
        return self.movements[self.movements["setting"].isin(settings) & (self.movements["part"] == part)]

    def bounced(self, setting: str) -> Interval:
        """Share of runs whose total norm bounced, with its exact interval."""
        found = self.moved([setting])["bounced"]
        return exact_binomial_interval(found.sum(), len(found))

    def bouncing(self, wanted: bool = True) -> list[str]:
        """Return the settings in which the total bounced in most runs, or did not."""
        return [setting for setting in self.settings if (self.bounced(setting).estimate > 0.5) == wanted]

    @property
    def showcase(self) -> str:
        """The setting in which the bounce is clearest: most runs, then the highest rate."""
        return max(self.settings, key=lambda setting: (self.bounced(setting).estimate, self.settings[setting]))

    @property
    def compared(self) -> list[str]:
        """The settings in which the arms were compared; in the others "simple" alone was run."""
        return [setting for setting in self.settings if len(self.runs(setting, COMPLEX[0]))]

    def with_l2(self, wanted: bool = True) -> list[str]:
        """Return the settings with L2, or without, by base rate."""
        return [setting for setting, (l2, _) in self.settings.items() if (l2 > 0) == wanted]

    def runs(self, setting: str, arm: str, decay_factor: float = DECAY_FACTOR) -> pd.DataFrame:
        """Return the runs of an arm, by seed."""
        main = self.main
        of_arm = (main["setting"] == setting) & (main["arm"] == arm) & np.isclose(main["decay_factor"], decay_factor)
        return main[of_arm].set_index("seed")

    def mean(self, setting: str, arm: str, decay_factor: float = DECAY_FACTOR) -> Interval | None:
        """Mean final test accuracy over seeds."""
        scores = self.runs(setting, arm, decay_factor)["accuracy"]
        return mean_interval(scores) if len(scores) else None

    def gain(self, setting: str, arm: str, over: str = "simple", over_factor: float = DECAY_FACTOR) -> Interval | None:
        """Final test accuracy minus that of another arm, paired by seed; None without two common seeds."""
        scores, others = (self.runs(setting, *of)["accuracy"] for of in ((arm,), (over, over_factor)))
        differences = (scores - others).dropna()
        return mean_interval(differences) if len(differences) > 1 else None

    def gains(self, settings: Sequence[str], **over: float) -> dict[tuple[str, str], Interval]:
        """Return what each complex arm adds to "simple", by setting and arm."""
        found = {(setting, arm): self.gain(setting, arm, **over) for setting in settings for arm in COMPLEX}
        return {key: gain for key, gain in found.items() if gain is not None}

    def spread(self, arm: str, settings: Sequence[str], factors: Sequence[float]) -> pd.Series:
        """By seed, the best minus the worst final test accuracy over these settings and decay factors."""
        scores = [self.runs(setting, arm, factor)["accuracy"] for setting in settings for factor in factors]
        table = pd.concat(scores, axis=1).dropna()
        return table.max(axis=1) - table.min(axis=1)

    def profile(self, setting: str) -> pd.DataFrame:
        """Final test accuracy by place of step's first decay, a column a tuning seed."""
        of_setting = self.tuning[self.tuning["setting"] == setting]
        return of_setting.pivot_table(index="place", columns="seed", values="accuracy")


def answer(runs: pd.DataFrame, traces: pd.DataFrame) -> Answers:
    """Work out all numbers of the page.

    :param runs: a row a run
    :param traces: a row a run and epoch
    """
    names = list(map(label, runs["l2"], runs["learning_rate"]))
    runs = runs.assign(setting=names, bounces=runs["bounces"].map(json.loads), accuracy=100 * runs["test_accuracy"])
    by_run = {run_id: trace.sort_values("epoch") for run_id, trace in traces.groupby("run_id", sort=False)}
    main, tuning = (of for _, of in runs.groupby(runs["seed"].isin(TUNING_SEEDS)))
    tuning = tuning.sort_values(["place", "seed"])
    settings = sorted(set(zip(main["l2"], main["learning_rate"])), key=lambda setting: (-setting[0], setting[1]))
    moved = []
    for row in main[(main["arm"] == "simple") & np.isclose(main["decay_factor"], DECAY_FACTOR)].to_dict("records"):
        # Its norm is undisturbed until the final decay.
        trace = by_run[row["run_id"]].head(first_epoch(FINAL_DECAY_AT, row["epochs"]))
        of_run = {"setting": row["setting"], "seed": row["seed"]}
        moved += [{**of_run, "part": part, **movement(trace[part])} for part in ("total", *LAYERS)]
    minima: dict[str, list[int]] = {}
    for row in tuning[tuning["place"] == tuning["place"].max()].to_dict("records"):
        undisturbed = by_run[row["run_id"]].head(first_epoch(row["place"], row["epochs"]))
        minima.setdefault(row["setting"], []).append(int(undisturbed["total"].argmin()) + 1)
    tuned = {label(*setting): place for setting, place in tune(tuning).items()}
    return Answers({label(*s): s for s in settings}, main, pd.DataFrame(moved), tuning, minima, tuned)
