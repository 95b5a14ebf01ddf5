"""A training has a beginning and an end: how far it has come, and which training a model is in.

SB3 counts timesteps and updates over a model's whole life, over any number of ``learn()`` calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Clock(NamedTuple):
    """What SB3 has counted in a model's life."""

    timesteps: int
    updates: int


@dataclass(frozen=True)
class Budget:
    """Timesteps that one training has.

    :param begin: timestep at which it began
    :param end: timestep at which it will end, None if nobody has said
    """

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
        """The budget as it will be used: SB3 trains in whole rollouts, the last of which may overshoot the end.

        :param rollout: timesteps of a rollout
        """
        if self.end is None:
            return self
        return Budget(self.begin, self.begin + math.ceil((self.end - self.begin) / rollout) * rollout)

    def left(self, timestep: int) -> int | None:
        """Timesteps to come, None where no budget is known."""
        return None if self.end is None else max(0, self.end - timestep)


def began_anew(begin: Clock, seen: Clock, now: Clock) -> bool:
    """Whether a model was reset since it was last seen, by a ``learn()`` of which nobody told us.

    A reset sets timesteps to 0 and leaves updates as they are. Where both have grown since, the
    updates tell: at the pace of the training they took either all timesteps there are now, or
    those since the model was last seen.

    >>> began_anew(Clock(0, 0), Clock(400, 40), Clock(600, 60))  # trained on, without us
    False
    >>> began_anew(Clock(0, 0), Clock(400, 40), Clock(600, 100))  # reset, and trained for 600
    True

    :param begin: at the beginning of the training that was watched
    :param seen: when it was watched last
    :param now: at the start of a ``learn()`` that does not reset
    """
    if now.timesteps < seen.timesteps or now.updates < seen.updates:
        return True
    timesteps, updates = seen.timesteps - begin.timesteps, seen.updates - begin.updates
    if now.updates == seen.updates or timesteps <= 0 or updates <= 0:
        return False
    taken = (now.updates - seen.updates) * timesteps / updates
    return abs(taken - now.timesteps) < abs(taken - (now.timesteps - seen.timesteps))
