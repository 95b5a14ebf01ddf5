"""How much of a decay a larger batch takes in the learning rate's place. Standard library only."""

import math
from functools import lru_cache
from typing import NamedTuple

# Of the batch's growth, by name: the factor on the rate that it is worth. The noise of SGD's updates goes with rate /
# batch (Smith et al. 2018, Eq. 5), that of Adam's with rate / sqrt(batch) (Malladi et al. 2022).
POWERS = {"batch_size": 1.0, "mixed": 0.5}


class Split(NamedTuple):
    """A decay, divided."""

    batch_size: int
    rate: float  # factor that is left to the learning rate


def split(factor: float, own: int, most: int, rollout: int | None = None, power: float = 1.0) -> Split:
    """Divide a decay between batch and rate: the batch grows by 1 / factor as far as it can (Smith et al. 2018).

    >>> split(0.1, own=64, most=2048), split(0.1, own=64, most=256), split(0.25, own=64, most=2048, power=0.5)
    (Split(batch_size=640, rate=1.0), Split(batch_size=256, rate=0.4), Split(batch_size=256, rate=0.5))

    :param own: batch of the user's, which may be larger than ``most``
    :param rollout: number of samples that are cut into batches, each used once; None where batches are drawn
    :param power: of :data:`POWERS`
    """
    # The product of two tenths is a little more than a hundredth.
    wanted = math.floor(own / factor * (1 + 1e-9))
    batch_size = _cut(max(own, min(wanted, most)), own, rollout)
    return Split(batch_size, min(1.0, factor * (batch_size / own) ** power))


@lru_cache
def _cut(limit: int, own: int, rollout: int | None) -> int:
    """The largest batch up to a limit that cuts a rollout into equal parts, else that leaves no part of one sample.

    PPO normalises the advantages of each minibatch, which needs two samples.
    """
    if rollout is None:
        return limit
    sizes = range(min(limit, rollout), own - 1, -1)
    even = (size for size in sizes if rollout % size == 0)
    return next(even, next((size for size in sizes if rollout % size != 1), own))
