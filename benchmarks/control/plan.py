"""The positive control's runs, and the learning rate each plans for its epochs. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pandas as pd

CHANNELS = (16, 16, 32)
"""Of the three convolutions, 3 x 3 each."""

LAYERS = ("conv1", "norm1", "conv2", "norm2", "conv3", "norm3", "linear")

MOMENTUM = 0.9
BATCH_SIZE = 128
NOISE = 0.3
"""Standard deviation of the Gaussian noise on each pixel, whose values are from 0 to 1."""

TRAIN_IMAGES = 640
"""Five updates an epoch: the fall at the largest rate, 70 updates, lasts for more than one window of "trend"."""

EPOCHS = 150
EVALUATE_EVERY = 5
"""Epochs; testing each would cost as much as training."""

FINAL_DECAY_AT = 0.85
L2 = 0.016
LEARNING_RATES = (0.01, 0.03, 0.1)
SLOW_RATE = 0.003
"""Of "simple" alone. Added when the first four seeds had shown that at 0.01 the norm is about to turn at the end."""

DECAY_FACTOR = 0.1
OTHER_FACTORS = (0.2, 0.5)
TWICE = 0.01
"""Of "simple" alone, which then ends at the rate of an arm that decays twice. Added when all other runs were there."""

SEEDS = tuple(range(10))
TUNING_SEEDS = (1000, 1001, 1002)
"""Used to choose the places of "step", and for nothing else."""

PLACES = (0.04, 0.08, 0.16, 0.25, 0.35, 0.5, 0.65)
"""Where the first of step's two decays is tried, as progress."""

ARMS = ("simple", "step", "cosine", "abel-paper", "abel")
WITH_FACTORS = ("simple", "step", "abel-paper", "abel")
"""The arms that have a decay factor."""

RULE_OF = {"abel-paper": "paper", "abel": "trend"}

Setting = tuple[float, float]
"""L2 coefficient and base learning rate."""

SETTINGS: tuple[Setting, ...] = tuple(product((L2, 0.0), LEARNING_RATES))


@dataclass(frozen=True)
class Run:
    """One training.

    :param arm: one of ``ARMS``
    :param l2: coefficient of torch's coupled weight decay
    :param place: progress at which "step" decays first, None for the other arms
    """

    arm: str
    l2: float
    learning_rate: float
    seed: int
    decay_factor: float = DECAY_FACTOR
    place: float | None = None
    epochs: int = EPOCHS

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise ValueError(f"arm must be one of {list(ARMS)}, got {self.arm!r}")
        if (self.place is not None) != (self.arm == "step"):
            raise ValueError(f"place is for the arm 'step' and needed there, got {self.place!r} for {self.arm!r}")

    @property
    def run_id(self) -> str:
        """Name of the run, the same on every machine."""
        place = "" if self.place is None else f"@{self.place:g}"
        return (
            f"{self.arm}{place}_l2-{self.l2:g}_lr-{self.learning_rate:g}_x{self.decay_factor:g}"
            f"_{self.epochs}-epochs_seed-{self.seed}"
        )

    def planned_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0, before any bounce has decayed it."""
        if self.arm == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        places = [FINAL_DECAY_AT] if self.place is None else [self.place, FINAL_DECAY_AT]
        return self.learning_rate * self.decay_factor ** sum(epoch >= first_epoch(p, self.epochs) for p in places)


def first_epoch(place: float, epochs: int) -> int:
    """First epoch, counted from 0, of which the progress at its start is at least ``place``."""
    return math.ceil(round(place * epochs, 9))


def tuning_runs(epochs: int = EPOCHS) -> list[Run]:
    """Runs that tell where "step" had best decay, in each setting."""
    return [
        Run("step", l2, learning_rate, seed, place=place, epochs=epochs)
        for seed, (l2, learning_rate), place in product(TUNING_SEEDS, SETTINGS, PLACES)
    ]


def main_runs(tuned: Mapping[Setting, float], epochs: int = EPOCHS) -> list[Run]:
    """Runs that the results are about.

    :param tuned: setting -> place of step's first decay
    """
    runs = []
    for seed, (l2, learning_rate) in product(SEEDS, SETTINGS):
        variants = [("cosine", DECAY_FACTOR), ("simple", TWICE)]
        variants += product(WITH_FACTORS, (DECAY_FACTOR, *OTHER_FACTORS))
        for arm, factor in variants:
            place = tuned[l2, learning_rate] if arm == "step" else None
            runs.append(Run(arm, l2, learning_rate, seed, factor, place, epochs))
    return runs + [Run("simple", l2, SLOW_RATE, seed, epochs=epochs) for seed, l2 in product(SEEDS, (L2, 0.0))]


def tune(runs: pd.DataFrame) -> dict[Setting, float]:
    """Choose each setting's best place: the highest mean of the final test accuracy; of equal ones the first.

    :param runs: a row for each tuning run
    """
    means = runs.groupby(["l2", "learning_rate", "place"])["test_accuracy"].mean()
    return {(l2, rate): of.idxmax()[-1] for (l2, rate), of in means.groupby(level=[0, 1])}
