"""Growing the batch in place of the decay, on the positive control's net and images: the plan. No torch here.

A run is decayed in three steps, each by a half (Smith et al. 2018). Its arms differ in what that acts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from benchmarks.control.plan import TRAIN_IMAGES
from rl_abel.rules.batch_growth import POWERS, split

EPOCHS = 60
BATCH_SIZE = 8
MOST = TRAIN_IMAGES // 10
"""Largest batch: a tenth of the images, as in the paper."""

DECAY_FACTOR = 0.5
PLACES = (0.4, 0.6, 0.8)
"""Progress at which a run decays: three times, until the batch is as large as it may be."""

LEARNING_RATES = {"sgd": 0.03, "adam": 0.01}
"""Chosen on one seed of no run here, with the L2 of SGD: large enough that a decay is worth several points."""

L2 = {"sgd": 0.001, "adam": 0.0}

CONSTANT, DECAY = "constant", "learning_rate"
ARMS = {"sgd": (CONSTANT, DECAY, "batch_size"), "adam": (CONSTANT, DECAY, "batch_size", "mixed")}
SEEDS = tuple(range(10))
TUNING_SEED = 1000

LAST_EPOCHS = 5
"""An arm's accuracy is the mean over so many, which all of its decays are long before."""

EQUAL = 1.0
"""Points: two arms are equal where the whole interval of their difference is within it, as on the control's page."""


@dataclass(frozen=True)
class Run:
    """One training.

    :param optimizer: a key of ``ARMS``
    :param arm: what a decay acts on, one of ``ARMS[optimizer]``
    """

    optimizer: str
    arm: str
    seed: int
    epochs: int = EPOCHS

    @property
    def first_decay(self) -> int:
        """Epoch, counted from 0, before which all arms are the same."""
        return round(PLACES[0] * self.epochs)

    def at(self, epoch: int) -> tuple[int, float]:
        """Return batch size and learning rate of an epoch, counted from 0."""
        rate = LEARNING_RATES[self.optimizer]
        factor = DECAY_FACTOR ** sum(epoch >= round(place * self.epochs) for place in PLACES)
        if self.arm == CONSTANT:
            return BATCH_SIZE, rate
        if self.arm == DECAY:
            return BATCH_SIZE, rate * factor
        divided = split(factor, BATCH_SIZE, MOST, power=POWERS[self.arm])
        return divided.batch_size, rate * divided.rate


def all_runs() -> list[Run]:
    """All of them; those that begin alike stand together."""
    return [Run(optimizer, arm, seed) for seed, optimizer in product(SEEDS, ARMS) for arm in ARMS[optimizer]]
