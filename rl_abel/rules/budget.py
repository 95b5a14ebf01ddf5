"""The learning rate that follows from how many optimizer steps a training has. Standard library only."""

import math

SCALE = 0.3  # chosen with Adam on the development tasks of docs/results/automatic_plan.md
MANY_STEPS = 10_000_000  # more of them were never tried: such a budget may be a way to say "until I stop it"


def budget_rate(steps: float, scale: float = SCALE, max_learning_rate: float = 1e-2) -> float:
    """Return scale / sqrt(steps), at most ``max_learning_rate``.

    The square root is that of stochastic gradient descent with a fixed horizon (Nemirovski et al. 2009, Robust
    stochastic approximation, Sec. 2.2). A million steps give the 3e-4 that SAC has by default.

    >>> budget_rate(10_000), budget_rate(1_000_000), budget_rate(1)
    (0.003, 0.0003, 0.01)

    :param steps: optimizer steps in the whole training
    :param scale: the rate of a single step, if there were no bound
    """
    return min(scale / math.sqrt(max(steps, 1.0)), max_learning_rate)
