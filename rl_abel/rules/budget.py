"""A training has a beginning and an end. SB3 counts over a model's whole life, over any number of ``learn()`` calls."""

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
