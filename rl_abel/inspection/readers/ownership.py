"""Which tensors of a saved model are weights that train, told by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rl_abel.networks.norms import is_target

STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "ra_mean", "ra_var", "steps")
"""Last components of the names of running statistics: batch normalisation, and CrossQ's renormalisation."""

USUAL = ("weight", "bias", "log_std")
"""Beginnings of the last components of the names of weights, as PyTorch's modules and SB3's policies give them."""


@dataclass(frozen=True)
class Ownership:
    """What of a model counts.

    :param names: of the tensors that train
    :param doubts: what could not be told, a sentence each
    """

    names: frozenset[str]
    doubts: tuple[str, ...] = ()


def owned(weights: Mapping[str, torch.Tensor], num_trained: int | None = None) -> Ownership:
    """Tell the weights that train by their names: target networks and running statistics do not.

    A zip does not say what is a buffer and what is frozen. The number of states in the optimizers shows whether there
    is such a thing. If names do not tell what it is, all of it counts, and a doubt says so.

    :param weights: name -> tensor, of which tensors in one place are the same weight
    :param num_trained: tensors that have a state in the optimizers; None where that is not known
    """
    names = {name for name in weights if not is_target(name) and name.rpartition(".")[2] not in STATISTICS}
    usual = {name for name in names if name.rpartition(".")[2].startswith(USUAL)}
    number, of_usual = (len({(weights[n].data_ptr(), weights[n].shape) for n in some}) for some in (names, usual))
    if num_trained is not None and num_trained == of_usual:
        return Ownership(frozenset(usual))
    doubts = []
    if num_trained is None and names != usual:
        doubts.append(f"nothing tells whether {min(names - usual)} is a weight or a buffer: it counts")
    if num_trained is not None and num_trained < number:
        doubts.append(
            f"{number - num_trained} of {number} tensors are frozen, or buffers. Their names do not tell which, so all "
            "of them count"
        )
    return Ownership(frozenset(names), tuple(doubts))


def number_trained(optimizers: Mapping[str, Any]) -> int | None:
    """Return how many tensors have a state in these optimizers, None where none has one yet.

    :param optimizers: their names in the zip -> ``state_dict()``
    """
    states = [optimizer.get("state") for optimizer in optimizers.values() if isinstance(optimizer, Mapping)]
    number = sum(len(state) for state in states if isinstance(state, Mapping))
    return number or None
