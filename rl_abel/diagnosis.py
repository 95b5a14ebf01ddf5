"""Why the norm moves: the two terms of its change between measurements, and the norms of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from rl_abel.norms import with_total

LAYERS = 10
"""Largest layers that are recorded; in the paper's networks they hold half of |w|^2 (Sec. 4.1)."""


class Diagnosis:
    """Splits each change of |w|^2 into displacement and alignment (after Lewkowycz 2021, Eq. 1).

    For any optimizer and any interval, with w before and w + d after it::

        |w + d|^2 - |w|^2  =  |d|^2 + 2 w.d  =  displacement + alignment

    Over one update displacement is the noise that pushes the norm up. Over the many updates
    between two measurements it also holds coherent motion, which grows with the square of their
    number. Weight decay and whatever else pulls towards the origin is in the alignment. Weights that
    are others than before need a diagnosis of their own.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], torch.Tensor] = {}
        self._timesteps: list[int] = []
        self._rows: list[dict[str, float]] = []

    @property
    def latest(self) -> dict[str, float]:
        """The last measurement, without terms if it was the first; empty before it."""
        return self._rows[-1] if self._rows else {}

    @property
    def history(self) -> dict[str, list[float]]:
        """``timesteps``, ``displacement_<part>``, ``alignment_<part>`` and ``layer/<name>``, (n,) each."""
        columns = {name: [row.get(name, math.nan) for row in self._rows] for name in self.latest}
        return {"timesteps": [*self._timesteps], **columns}

    def observe(self, timestep: int, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Compare the weights with those of the last call, and keep a copy of them for the next.

        :param parts: part -> name -> parameter, the same in every call
        """
        self._timesteps.append(timestep)
        self._rows.append(self.compare(parts))
        self._before = {
            (part, name): parameter.detach().clone()
            for part, named in parts.items()
            for name, parameter in named.items()
        }

    @torch.no_grad()
    def compare(self, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, float]:
        """Return the terms of the change since the last :meth:`observe`, if there was one, and the layers."""
        names = [(part, name) for part, named in parts.items() for name in named]
        terms = [self._terms(self._before.get((part, name)), parts[part][name]) for part, name in names]
        # One synchronisation a call.
        values = torch.stack([term.to(terms[0]) for term in terms]).tolist()
        sums: dict[str, dict[str, float]] = {"displacement": {}, "alignment": {}}
        layers = dict.fromkeys(largest_layers(parts), 0.0)
        for (part, name), (square, *of_tensor) in zip(names, values):
            if (layer := layer_of(name)) in layers:
                layers[layer] += square
            for of_part, value in zip(sums.values(), of_tensor):
                of_part[part] = of_part.get(part, 0.0) + value
        row = {f"{term}_{part}": value for term in sums for part, value in with_total(sums[term]).items()}
        return (row if self._before else {}) | {f"layer/{layer}": square for layer, square in layers.items()}

    def _terms(self, before: torch.Tensor | None, now: torch.Tensor) -> torch.Tensor:
        """|w|^2, |d|^2 and 2 w.d of one tensor, in doubles: the terms are small beside the rounding of |w|^2."""
        accumulator = torch.float32 if now.device.type == "mps" else torch.float64
        now = _real(now).to(accumulator)
        before = now if before is None else _real(before).to(accumulator)
        change = now - before
        return torch.stack([torch.dot(now, now), torch.dot(change, change), 2 * torch.dot(before, change)])


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Flat, a complex weight as two real ones."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)


def largest_layers(parts: Mapping[str, Mapping[str, torch.Tensor]]) -> list[str]:
    """Names of the layers with most parameters, largest first.

    >>> largest_layers({"policy": {"net.0.weight": torch.ones(2, 2), "net.0.bias": torch.ones(2), "b": torch.ones(1)}})
    ['net.0', 'b']
    """
    sizes: dict[str, int] = {}
    for named in parts.values():
        for name, parameter in named.items():
            sizes[layer_of(name)] = sizes.get(layer_of(name), 0) + parameter.numel()
    return sorted(sizes, key=lambda layer: -sizes[layer])[:LAYERS]


def layer_of(name: str) -> str:
    """Module that owns a parameter of this dotted name, or the parameter's own name on the top level."""
    return name.rpartition(".")[0] or name
