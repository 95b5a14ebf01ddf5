"""Which tensors of a saved model are weights that train, told by their names."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import torch

from rl_abel.networks.norms import is_target

STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "ra_mean", "ra_var", "steps")
"""Last components of the names of running statistics: batch normalisation, and CrossQ's renormalisation."""

USUAL = ("weight", "bias", "log_std")
"""Beginnings of the last components of the names of weights, as PyTorch's modules and SB3's policies give them."""


class Ownership(NamedTuple):
    """The names of the tensors that train, and what could not be told, a sentence each."""

    names: frozenset[str]
    doubts: tuple[str, ...] = ()


def owned(weights: Mapping[str, torch.Tensor], num_trained: int | None = None) -> Ownership:
    """Tell the weights that train by their names: target networks and running statistics do not.

    A zip does not say what is a buffer and what is frozen. The number of states in the optimizers shows whether there
    is such a thing. If names do not tell what it is, all of it counts, and a doubt says so.

    :param weights: name -> tensor, of which tensors in one place are the same weight
    :param num_trained: tensors that have a state in the optimizers; None where that is not known
    """
    names = frozenset(n for n in weights if not is_target(n) and n.rpartition(".")[2] not in STATISTICS)
    usual = frozenset(name for name in names if name.rpartition(".")[2].startswith(USUAL))
    number, of_usual = (len({place(weights[name]) for name in some}) for some in (names, usual))
    if num_trained == of_usual or (num_trained is None and names == usual):
        return Ownership(usual)
    if num_trained is None:
        return Ownership(names, (f"nothing tells whether {min(names - usual)} is a weight or a buffer: it counts",))
    if num_trained >= number:
        return Ownership(names)
    unsure = f"{number - num_trained} of {number} tensors are frozen, or buffers"
    return Ownership(names, (f"{unsure}. Their names do not tell which, so all of them count",))


def place(tensor: torch.Tensor) -> Hashable:
    """Return what two names of one weight have in common."""
    return tensor.data_ptr(), tensor.shape
