"""Measure: the weight norm of a model, when it is due, into the trace that is kept with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rl_abel.training.gauge import Gauge, finite
from rl_abel.training.resume import clock
from rl_abel.training.state import MOST_MEASUREMENTS, TrainingState

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Measuring:
    """Measurements of one model in one ``learn()``.

    :param model: its networks and optimizers may be replaced at any time
    :param gauge: which may know the model from an earlier ``learn()``
    :param memory: of the training, whose trace grows
    :param other_weights: called with what has changed where measurements cannot be compared any more
    :param warn: called with a key and a message
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        gauge: Gauge,
        memory: TrainingState,
        other_weights: Callable[[str], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._model, self._gauge, self._memory = model, gauge, memory
        self._other_weights, self._warn = other_weights, warn
        self.norms: dict[str, float] = {}
        self.terms: dict[str, float] = {}
        self.learned = False
        last = memory.last_timestep
        self._next = 0.0 if last is None else last + memory.data["measure_every"]
        self._next_look = self._next
        change = gauge.find(model)
        gauge.mark()
        if not memory.fits(gauge.sizes):
            self._begin_trace(change or "their number differs from that of the model that was measured before")
        elif change:
            self._begin_trace(change)
        elif last:
            self.norms = {part: norms[-1] for part, norms in memory.trace.items() if part != "timesteps"}
            self.terms = gauge.diagnosis.latest if gauge.diagnosis else {}
        # Weights that have moved since the last measurement, in an earlier session, are one to come.
        moved = clock(model).updates != memory.data["n_updates"]
        self._known = self.norms if self.norms or moved else gauge.norms()

    def is_due(self, timestep: int) -> bool:
        """Whether weights are to be measured at the end of this rollout."""
        early = timestep < self._next
        if early and self.learned:
            # Off-policy nearly every step: this has to be quick.
            return False
        moved = clock(self._model).updates != self._memory.data["n_updates"] or self._gauge.touched()
        self.learned = self.learned or moved
        if early or not (moved or timestep >= self._next_look):
            return False
        # Not every algorithm counts its updates, nor does torch count what is written into parameter.data.
        self._next_look = timestep + self._memory.data["measure_every"]
        if moved:
            # Whether or not it is kept: off-policy the next chance is a step away.
            self._next = self._next_look
        return True

    def measure(self, timestep: int) -> dict[str, float] | None:
        """Return |w|^2 by part, kept in the trace; None where weights have not moved or have no finite norm."""
        memory = self._memory
        if change := self._gauge.find(self._model):
            self._begin_trace(change)
        norms = self._gauge.norms()
        self._gauge.mark()
        memory.data["n_updates"] = clock(self._model).updates
        if not norms or norms == self._known:
            return None
        if not finite(norms):
            self._warn(
                "not finite",
                f"the weight norm is not finite at timestep {timestep}: {norms}. Such measurements are "
                "skipped and the learning rate is left as it is; the training has probably diverged.",
            )
            return None
        self.learned, self.norms, self._known = True, norms, norms
        self.terms = self._gauge.terms(timestep)
        memory.add_measurement(timestep, norms)
        return norms

    def thin(self, timestep: int) -> bool:
        """Thin a trace that has outgrown its interval, if nobody has fixed that; set when the next is due."""
        memory = self._memory
        thinned = memory.data["auto"] and len(memory.data["trace"]) > MOST_MEASUREMENTS
        if thinned:
            memory.thin()
        self._next = timestep + memory.data["measure_every"]
        return bool(thinned)

    def _begin_trace(self, change: str) -> None:
        """Measurements of other weights cannot be compared with those before."""
        kept = len(self._memory.data["trace"])
        self._memory.begin_trace(self._gauge.sizes)
        self.norms = {}
        if kept:
            self._warn(
                "other weights",
                f"other weights are trained now ({change}), so the trace and the rule begin anew; decays stay",
            )
            self._other_weights(change)
