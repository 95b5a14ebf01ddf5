"""What survives a save: decays and trace, as JSON values in one attribute of the model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rl_abel.norms import with_total

ATTRIBUTE = "abel_state"
"""SB3 saves whatever a model's attributes hold; JSON values load without our package."""


class Decay(NamedTuple):
    """One decay in force: when, why ("bounce" or "final"), and by what factor."""

    timestep: int
    cause: str
    factor: float


class Memory:
    """A view of the dict that SB3 saves with the model; every change is in it at once.

    :param data: JSON values; lists stand for tuples, as they come back so from a zip
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @classmethod
    def empty(cls, n_updates: int = 0, measure_every: int = 1, parts: Sequence[str] = ()) -> Memory:
        """Return the memory of a run that has measured nothing yet."""
        return cls(
            {
                "measure_every": measure_every,
                "n_updates": n_updates,
                "n_bounces": 0,
                "decays": [],
                "parts": list(parts),
                "trace": [],
            }
        )

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, in the order they were made."""
        return [Decay(*decay) for decay in self.data["decays"]]

    @property
    def factor(self) -> float:
        """Product of the decays in force."""
        return math.prod(decay.factor for decay in self.decays)

    def add_decay(self, decay: Decay) -> None:
        """Put one more decay in force."""
        self.data["decays"].append(list(decay))

    def lift_final_decay(self) -> None:
        """Let the final decay lapse: training goes on from before it (Lewkowycz 2021, Sec. 2)."""
        self.data["decays"] = [list(decay) for decay in self.decays if decay.cause != "final"]

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Timesteps and |w|^2 by part, a list each, one entry a measurement."""
        rows = [json.loads(row) for row in self.data["trace"]]
        norms = [with_total(dict(zip(self.data["parts"], row[1:]))) for row in rows]
        parts = with_total(dict.fromkeys(self.data["parts"], 0.0))
        return {"timesteps": [row[0] for row in rows], **{part: [norm[part] for norm in norms] for part in parts}}

    @property
    def last_timestep(self) -> int | None:
        """Timestep of the latest measurement, None before the first."""
        return int(json.loads(self.data["trace"][-1])[0]) if self.data["trace"] else None

    def add_measurement(self, timestep: int, norms: dict[str, float]) -> None:
        """Append a measurement to the trace."""
        # A row is one string: SB3 writes JSON with a line for every number, which is twice the size.
        # The text of a list of finite numbers is JSON, at half the price of dumping it.
        self.data["trace"].append(str([int(timestep), *(norms[part] for part in self.data["parts"])]))
