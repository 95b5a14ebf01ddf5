"""A decay of the learning rate, the budget of a training, and when its final decay comes. Standard library only."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

EVERY_PART = "total"
NETWORKS = ("policy", "value")  # parts that can decay alone
OUTSIDE = "outside"  # parameters that are not in the policy, such as the temperature of SAC
REST = "rest"  # parameters of neither network alone: shared ones, log_std, the entropy coefficient


class Clock(NamedTuple):
    """What SB3 has counted in a model's life."""

    timesteps: int
    updates: int


@dataclass(frozen=True)
class Budget:
    """The timesteps at which one training began, and at which it will end: None if nobody has said."""

    begin: int
    end: int | None

    def progress(self, timestep: int) -> float:
        """Share of the budget that is used up at a timestep, 0 where no budget is known.

        >>> Budget(100, 300).progress(150)
        0.25
        """
        if self.end is None or self.end <= self.begin:
            return 0.0
        return (timestep - self.begin) / (self.end - self.begin)

    def in_rollouts(self, rollout: int) -> Budget:
        """The budget in whole rollouts of so many timesteps: SB3's last rollout may overshoot the end."""
        if self.end is None:
            return self
        return Budget(self.begin, self.begin + math.ceil((self.end - self.begin) / rollout) * rollout)

    def left(self, timestep: int) -> int | None:
        """Timesteps to come, None where no budget is known."""
        return None if self.end is None else max(0, self.end - timestep)


class Decay(NamedTuple("Decay", [("timestep", int), ("cause", str), ("factor", float)])):
    """One decay in force: when, why ("bounce" or "final"), and by what factor.

    The final decay's timestep is the start of the first rollout that training uses at the lower rate. A linear decay
    has the factor that it has come to.

    ``part``, which is no item of the tuple, tells whose rate decays: "total" for all parameters; with
    ``scope="part"`` "policy", "value", or "rest" for those of neither.
    """

    part: str = EVERY_PART

    def __new__(cls, timestep: int, cause: str, factor: float, part: str = EVERY_PART) -> Decay:
        """Make one, by default of all parameters."""
        decay = super().__new__(cls, timestep, cause, factor)
        decay.part = part
        return decay

    @property
    def step(self) -> int:
        """The timestep, where the calls of ``AbelScheduler.step()`` are counted instead."""
        return self.timestep

    @property
    def row(self) -> list[Any]:
        """JSON values of which ``Decay(*row)`` makes it again."""
        return [*self] if self.part == EVERY_PART else [*self, self.part]


def final_factor(progress: float, at: float, step: float | None) -> float | None:
    """Return the factor of the final decay, None before its time; a step of None falls linearly to 0 at the end."""
    if progress < at:
        return None
    return max(0.0, (1 - progress) / (1 - at)) if step is None else step


class Coming(NamedTuple):
    """The final decay as it will come in what is left of a budget, in which each rollout has one update."""

    begins: int | None  # start of the first rollout that training uses at the lower rate, None if there is none
    decayed: int  # updates at the lower rate
    updates: int  # all updates
    factor: float  # of the last update
    waits: bool  # whether its time comes before anything is learned, so that it waits for the first update
    highest: float  # largest final_decay_at at which the last rollout would have the lower rate


def final_decay(
    budget: Budget, rollout: int, now: int, learning_starts: int, at: float, step: float | None, learned: bool = False
) -> Coming:
    """Foretell what :func:`final_factor` returns in what is left of a budget that has an end.

    An update counts at the start of its rollout, so of a few updates the decay does not take a large part. Of five
    rollouts the last begins at 80 %, so a decay at 85 % cannot come:

    >>> final_decay(Budget(0, 10_000), 2048, 0, 0, 0.85, 0.1).begins is None
    True
    >>> final_decay(Budget(0, 20_000), 2048, 0, 0, 0.85, 0.1)[:4]
    (18432, 1, 10, 0.1)

    :param rollout: timesteps of a rollout, the next of which begins ``now``
    :param learned: whether there has been an update before, without which there is no decay
    """
    whole, end = budget.in_rollouts(rollout), now if budget.end is None else budget.end
    rollouts = range(now, end, rollout)
    first = bisect_right(rollouts, learning_starts - rollout)
    late = bisect_left(rollouts, at, key=whole.progress)
    decayed = rollouts[max(late, first + (not learned)) :]
    highest = whole.progress(rollouts[-1] if rollouts else now)
    factor = final_factor(highest, at, step) if decayed else None
    waits = late <= first and not learned
    return Coming(decayed[0] if decayed else None, len(decayed), len(rollouts[first:]), factor or 0.0, waits, highest)
