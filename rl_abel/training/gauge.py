"""Measures the weights that are trained now, and tells whether they have moved since the last time."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks import jax_models
from rl_abel.networks.diagnosis import Diagnosis
from rl_abel.networks.norms import measured_parameters, norms_of
from rl_abel.networks.optimizers import steps_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Gauge:
    """The weights of one model, as they are found at each measurement: networks and optimizers may be replaced.

    :param diagnose: whether the terms of each change are wanted too
    """

    def __init__(self, diagnose: bool = False) -> None:
        self.diagnose = diagnose
        self.parts: dict[str, dict[str, torch.Tensor]] = {}
        self.diagnosis: Diagnosis | None = None
        self._mark: list[tuple[int, Any]] = []
        self._model: weakref.ref[BaseAlgorithm] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy has what was found out, and not the weights.
        return {**vars(self), "parts": {}, "_mark": [], "_model": None}

    def find(self, model: BaseAlgorithm) -> str:
        """Find what is trained now; return in words how it differs from the last time, empty if it does not.

        Another model's weights are no change.
        """
        before, self.parts = self.parts, measured_parameters(model)
        known, self._model = self._model() if self._model else None, weakref.ref(model)
        if known is model and _same(before, self.parts):
            return ""
        self.diagnosis = None
        return _in_words(before, self.parts) if known is model else ""

    @property
    def sizes(self) -> dict[str, int]:
        """Weights in each part."""
        return {part: sum(tensor.numel() for tensor in named.values()) for part, named in self.parts.items()}

    def touched(self) -> bool:
        """Whether the weights were written since the last :meth:`mark`, as far as torch has counted.

        An optimizer that writes into ``parameter.data`` goes uncounted.
        """
        return self._mark != self._marks()

    def mark(self) -> None:
        """Remember the weights as they are."""
        self._mark = self._marks()

    def norms(self) -> dict[str, float]:
        """Squared norms by part with their total, of what was found last; empty where nothing is trained."""
        return norms_of(self.parts) if self.parts else {}

    def terms(self, timestep: int) -> dict[str, float]:
        """Why the norms have moved since the last call; empty unless wanted."""
        if not self.diagnose:
            return {}
        if self.diagnosis is None:
            self.diagnosis = Diagnosis()
        model = self._model() if self._model else None
        self.diagnosis.observe(timestep, self.parts, steps_of(model, self.parts) if model else {})
        return self.diagnosis.latest

    def _marks(self) -> list[tuple[int, Any]]:
        model = self._model() if self._model else None
        if model is not None and jax_models.is_jax(model):
            return jax_models.marks_of(model)
        # ARS gives its parameters new storage, optimizers write in place.
        return [(t.data_ptr(), t._version) for named in self.parts.values() for t in named.values()]


def finite(norms: dict[str, float]) -> bool:
    """Whether all of the norms are."""
    return all(map(math.isfinite, norms.values()))


def _same(before: dict[str, dict[str, torch.Tensor]], now: dict[str, dict[str, torch.Tensor]]) -> bool:
    return {part: list(map(id, named.values())) for part, named in before.items()} == {
        part: list(map(id, named.values())) for part, named in now.items()
    }


def _in_words(before: dict[str, dict[str, torch.Tensor]], now: dict[str, dict[str, torch.Tensor]]) -> str:
    were, are = ({id(t): name for named in parts.values() for name, t in named.items()} for parts in (before, now))
    new, gone = [are[key] for key in are if key not in were], [were[key] for key in were if key not in are]
    told = ((what, names) for what, names in (("new", new), ("no longer", gone)) if names)
    return "; ".join(f"{what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" for what, names in told)
