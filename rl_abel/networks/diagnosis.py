"""Why the norm moves: the two terms of its change between measurements, how far an update goes, and layers."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from rl_abel.networks.norms import flat, precise, with_total

TERMS = ("displacement", "alignment")
RELATIVE = "relative_update"

LAYERS = 10  # largest layers that are recorded; in the paper's networks they hold half of |w|^2 (Sec. 4.1).


class Diagnosis:
    """Splits each change of |w|^2 into displacement and alignment (after Lewkowycz 2021, Eq. 1).

    For any optimizer and any interval, with w before and w + d after it::

        |w + d|^2 - |w|^2  =  |d|^2 + 2 w.d  =  displacement + alignment

    Over one update displacement is the noise that pushes the norm up. Over many it also holds coherent motion, which
    grows with the square of their number. Weight decay, and whatever else pulls to the origin, is in the alignment.

    The relative update is |d| / n / |w + d|, of n optimizer steps: what an update moves, as a share of the weights, if
    all n go one way. At a constant rate it falls as the norm grows (Lyle et al. 2024).
    """

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
        self._before: dict[tuple[str, str], torch.Tensor] = {}
        self._timesteps: list[int] = []
        self._rows: list[dict[str, float]] = []

    def __getstate__(self) -> dict[str, Any]:
        # The weights are not a copy's to keep.
        return {**vars(self), "_before": {}}

    @property
    def latest(self) -> dict[str, float]:
        """The last measurement, without terms if it was the first; empty before it."""
        return self._rows[-1] if self._rows else {}

    @property
    def history(self) -> dict[str, list[float]]:
        """``timesteps``; the terms, ``relative_update_<part>`` and ``layer/<name>``, NaN where unknown; (n,) each."""
        names = dict.fromkeys(name for row in reversed(self._rows) for name in row)
        columns = {name: [row.get(name, math.nan) for row in self._rows] for name in names}
        return {"timesteps": [*self._timesteps], **columns}

    @torch.no_grad()
    def observe(self, timestep: int, parts: Mapping[str, Mapping[str, torch.Tensor]], steps: Mapping[str, int]) -> None:
        """Compare the weights with those of the last call, and keep a copy of them for the next.

        :param parts: part -> name -> parameter, the same in every call
        :param steps: part -> steps that its optimizer has taken in all
        """
        now = {(part, name): parameter for part, named in parts.items() for name, parameter in named.items()}
        terms = [_terms(self._before.get(key), parameter) for key, parameter in now.items()]
        # One synchronisation a call.
        values = torch.stack([term.to(terms[0]) for term in terms]).tolist()
        layers = dict.fromkeys(largest_layers(parts), 0.0)
        sums = {part: [0.0, 0.0, 0.0] for part in parts}
        for (part, name), of_tensor in zip(now, values):
            if (layer := layer_of(name)) in layers:
                layers[layer] += of_tensor[0]
            sums[part] = [before + value for before, value in zip(sums[part], of_tensor)]
        norms, *changes = (with_total(dict(zip(sums, column))) for column in zip(*sums.values()))
        row: dict[str, float] = {}
        if self._before:
            row = {f"{term}_{part}": value for term, change in zip(TERMS, changes) for part, value in change.items()}
            taken = {part: count - self._steps.get(part, 0) for part, count in steps.items()}
            # The total took the steps of the part that took most.
            taken["total"] = max(taken.values(), default=0)
            for part, norm in norms.items():
                if norm > 0 and taken.get(part, 0) > 0:
                    row[f"{RELATIVE}_{part}"] = math.sqrt(changes[0][part] / norm) / taken[part]
        self._timesteps.append(timestep)
        self._rows.append(row | {f"layer/{layer}": square for layer, square in layers.items()})
        self._steps = dict(steps)
        self._before = {key: parameter.detach().clone() for key, parameter in now.items()}


def _terms(before: torch.Tensor | None, now: torch.Tensor) -> torch.Tensor:
    """|w|^2, |d|^2 and 2 w.d of one tensor, in doubles: the terms are small beside the rounding of |w|^2."""
    after = flat(now).to(precise(now))
    before = after if before is None else flat(before).to(after)
    change = after - before
    return torch.stack([torch.dot(after, after), torch.dot(change, change), 2 * torch.dot(before, change)])


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
