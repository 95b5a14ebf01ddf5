"""Optimizers that decay matrices alone, and the settings that SB3 gives its own optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from agents.preset import class_name


def decaying_groups(parameters: Iterable[torch.Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into a group that decays and one that never does.

    Biases, the gains of normalisation layers and a policy's log_std have fewer than two dimensions:
    shrinking them is no regularization, and a log_std driven to 0 is a standard deviation of 1.

    :param parameters: tensors, not groups of an optimizer
    :param weight_decay: coefficient of the tensors of two or more dimensions
    """
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


# The groups depend on the parameters alone, so a loaded optimizer has those of the saved one.
class MatrixAdam(torch.optim.Adam):
    """Adam whose L2 penalty, added to the gradient, reaches tensors of two or more dimensions only."""

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 1e-3, weight_decay: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(decaying_groups(params, weight_decay), lr=lr, **kwargs)


class MatrixAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2019) that decays tensors of two or more dimensions only."""

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 1e-3, weight_decay: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(decaying_groups(params, weight_decay), lr=lr, **kwargs)


class MatrixSGD(torch.optim.SGD):
    """SGD whose L2 penalty reaches tensors of two or more dimensions only."""

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 1e-3, weight_decay: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(decaying_groups(params, weight_decay), lr=lr, **kwargs)


def own_optimizer(algorithm: str) -> type[torch.optim.Optimizer]:
    """Return the optimizer class that SB3 gives the algorithm's networks."""
    return torch.optim.RMSprop if class_name(algorithm) == "A2C" else torch.optim.Adam


def own_kwargs(algorithm: str, optimizer_class: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """Return the settings that SB3 would use with an optimizer of this kind, were it left to itself.

    SB3 forgets them as soon as anything about the optimizer is said, or looks for ``Adam`` by
    identity, so that a subclass would silently run with torch's own: PPO with an epsilon of 1e-8
    in the place of 1e-5, CrossQ with a first beta of 0.9 in the place of 0.5.
    """
    algorithm = class_name(algorithm)
    # A class of its own before torch 2.6.
    if issubclass(optimizer_class, (torch.optim.Adam, torch.optim.AdamW)):
        if algorithm in ("PPO", "A2C"):
            return {"eps": 1e-5}
        return {"betas": (0.5, 0.999)} if algorithm == "CrossQ" else {}
    if algorithm == "A2C" and issubclass(optimizer_class, torch.optim.RMSprop):
        return {"alpha": 0.99, "eps": 1e-5}
    return {}
