"""Measure: the weight norm of a model, when it is due, into the trace that is saved with it."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_abel.networks import jax_models
from rl_abel.networks.diagnosis import Diagnosis
from rl_abel.networks.norms import measured_parameters, norms_of
from rl_abel.networks.optimizers import steps_of
from rl_abel.training.measure_interval import within_update
from rl_abel.training.state import TrainingState, clock

Parts = Mapping[str, Mapping[str, torch.Tensor]]
Warn = Callable[[str, str], None]


class Measurement:
    """Measures the weights of a model, whose networks and optimizers may be replaced at any time."""

    def __init__(self, diagnose: bool = False) -> None:
        self._diagnose = diagnose  # whether to find out too why the norms move
        self.diagnosis: Diagnosis | None = None
        self.parts: dict[str, dict[str, torch.Tensor]] = {}  # what is trained now: part -> name -> weights
        self.norms: dict[str, float] = {}  # the latest measurement of the trace
        self.terms: dict[str, float] = {}  # why the norms moved before it
        self.is_thinned = False  # whether that has thinned the trace
        self.learned = False  # whether weights have moved in this ``learn()``
        self._model: Any = None
        self._marks: list[tuple[int, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        # A copy keeps what was found out, and not the weights.
        return {**vars(Measurement(self._diagnose)), "diagnosis": self.diagnosis}

    def begin(self, model: BaseAlgorithm, state: TrainingState, warn: Warn) -> None:
        """Take up the trace of a training."""
        is_known, self._model, self._state, self._warn = self._model is model, model, state, warn
        self.learned = False
        if not is_known or not state.data["trace"]:
            self.diagnosis = None
        *_, last = -math.inf, *state.trace["timesteps"]
        self._next = self._next_look = last + state.data["measure_every"]
        self.look(is_known)
        self._marks = self._marked()
        self.norms = {part: norms[-1] for part, norms in state.trace.items() if part != "timesteps" and norms}
        self.terms = self.diagnosis.latest if self.diagnosis else {}
        # Weights that have moved since the last measurement, in an earlier session, are still to be measured.
        self._known = self.norms if self.norms or self._counted else norms_of(self.parts)

    def look(self, is_known: bool = True) -> bool:
        """Find what is trained now, and begin the trace anew if it is of other weights; return whether it was begun."""
        before, self.parts = self.parts, measured_parameters(self._model)
        # Weights of another model than before are no change.
        change = _difference(before, self.parts) if is_known else ""
        if change:
            self.diagnosis = None
        sizes = {part: sum(tensor.numel() for tensor in named.values()) for part, named in self.parts.items()}
        if not change and sizes == dict(zip(self._state.data["parts"], self._state.data["sizes"])):
            return False
        if self._state.data["trace"]:
            change = change or "their number differs from that of the model that was measured before"
            other = f"other weights are trained now ({change})"
            self._warn("other weights", f"{other}, so the trace and the rule begin anew; decays stay")
        self._state.begin_trace(sizes)
        self.norms = {}
        return True

    def is_due(self, timestep: int) -> bool:
        """Whether weights are to be measured at the end of this rollout."""
        early = timestep < self._next
        if early and self.learned:
            # Off-policy nearly every step: this has to be quick.
            return False
        moved = self._counted or self.touched()
        self.learned = self.learned or moved
        if early or not (moved or timestep >= self._next_look):
            return False
        # Not every algorithm counts its updates, and torch does not count what is written into parameter.data.
        self._next_look = timestep + self._state.data["measure_every"]
        if moved:
            # Off-policy the next chance is a step away, so this one counts even if nothing is kept.
            self._next = self._next_look
        return True

    def measure(self, timestep: int) -> dict[str, float] | None:
        """Return |w|^2 by part, kept in the trace; None where weights have not moved or have no finite norm."""
        norms, self._marks = norms_of(self.parts), self._marked()
        self._state.data["n_updates"] = clock(self._model).updates
        if not self.parts or norms == self._known:
            return None
        if not all(map(math.isfinite, norms.values())):
            message = f"the weight norm is not finite at timestep {timestep}: {norms}. Such measurements are skipped"
            self._warn("not finite", f"{message}, and decay nothing; the training has probably diverged.")
            return None
        self.learned, self.norms, self._known = True, norms, norms
        if self._diagnose:
            self.diagnosis = self.diagnosis or Diagnosis()
            self.diagnosis.observe(timestep, self.parts, steps_of(self._model, self.parts))
            self.terms = self.diagnosis.latest
        self.is_thinned = self._state.add_measurement(timestep, norms)
        self._next = timestep + self._state.data["measure_every"]
        return norms

    def touched(self) -> bool:
        """Whether weights were written since the latest measurement; torch counts no write into ``parameter.data``."""
        return self._marks != self._marked()

    @property
    def _counted(self) -> bool:
        """Whether the model has counted an update since the latest measurement."""
        return bool(clock(self._model).updates != self._state.data["n_updates"])

    def _marked(self) -> list[tuple[int, Any]]:
        if self._model is not None and jax_models.is_jax(self._model):
            return jax_models.marks_of(self._model)
        # ARS gives its parameters new storage, optimizers write in place.
        return [(t.data_ptr(), t._version) for named in self.parts.values() for t in named.values()]


class DuringUpdate:
    """Calls back after steps of the optimizer in one update; an optimizer that is not torch's has no hooks."""

    handle: Any = None  # of the hook, None where there is none

    def __getstate__(self) -> dict[str, Any]:
        # A copy has no update under way.
        return {}

    def follow(self, model: BaseAlgorithm, call: Callable[[int], None]) -> None:
        """Call with the number of each step in the update that comes, from 1 on."""
        self.disarm()
        optimizer, numbers = getattr(model.policy, "optimizer", None), itertools.count(1)
        if isinstance(optimizer, torch.optim.Optimizer):
            self.handle = optimizer.register_step_post_hook(lambda *_: call(next(numbers)))

    def arm(self, model: BaseAlgorithm, interval: float, call: Callable[[float], None]) -> None:
        """Call with the share of the update that is done, at each interval as if the update took a rollout's time."""
        at = within_update(model, interval)
        if at:
            self.follow(model, lambda made: call((1 + at.index(made)) / (1 + len(at))) if made in at else None)

    def disarm(self) -> None:
        """Take the hook away; harmless where there is none."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None


def _difference(before: Parts, now: Parts) -> str:
    """Tell in words which weights are new and which are gone, empty if they are the same."""
    were, are = ({id(t): name for named in parts.values() for name, t in named.items()} for parts in (before, now))
    new, gone = [are[key] for key in are if key not in were], [were[key] for key in were if key not in are]
    told = ((what, names) for what, names in (("new", new), ("no longer", gone)) if names)
    return "; ".join(f"{what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" for what, names in told)
