"""What a user reads off an ``AbelCallback``: factors, decays, measurements."""

from __future__ import annotations

from typing import Any

from rl_abel.learning_rate.batch_size import OnRate
from rl_abel.training.gauge import Gauge
from rl_abel.training.state import NETWORKS, REST, Decay, TrainingState


class AbelReadings:
    """Seen through: what the memory of the training and the gauge hold."""

    _memory: TrainingState
    _gauge: Gauge
    _action: OnRate
    _parts: list[str]
    _apart: bool

    @property
    def factor(self) -> float:
        """Product of the decays in force: what they multiply the model's rate by.

        With ``scope="part"`` that of parameters of neither network alone, see :attr:`factors`.
        """
        return self._memory.factor

    @property
    def factors(self) -> dict[str, float]:
        """Product of the decays in force of each part of the model, ``total`` apart."""
        return {part: self._memory.factor_of(part if part in NETWORKS else REST) for part in self._parts}

    @property
    def n_bounces(self) -> int:
        """Bounces that the rule has seen, whether or not ``max_decays`` let them decay the rate."""
        return int(self._memory.data["n_bounces"])

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, each with its timestep, cause ("bounce" or "final") and factor."""
        return self._memory.decays

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements so far: ``timesteps`` and |w|^2 by part, lists of equal length."""
        return self._memory.trace

    @property
    def diagnosis(self) -> dict[str, list[float]]:
        """With ``diagnose=True``, at the measurements of this session: ``timesteps``, terms and layers by tag.

        The terms are NaN at the first one. They are not saved with the model.
        """
        return self._gauge.diagnosis.history if self._gauge.diagnosis else {}

    @property
    def _status(self) -> dict[str, float]:
        """What is in force, by name in the logs."""
        apart = {f"factor_{part}": self._memory.factor_of(part) for part in NETWORKS} if self._apart else {}
        counts = {"bounces": self.n_bounces, "decays": len(self.decays)}
        return {"factor": self.factor, **apart, **counts, **self._action.status}
