"""Squared weight norms of an SB3 model, by part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

# The first of these in a parameter's dotted name tells which network it belongs to. They are the
# names that stable-baselines3 and sb3-contrib give; "_orig_mod" of a compiled policy falls through.
NETWORKS = {
    **dict.fromkeys(["actor", "policy_net", "action_net", "pi_features_extractor", "lstm_actor"], "policy"),
    **dict.fromkeys(["critic", "value_net", "vf_features_extractor", "lstm_critic", "q_net", "quantile_net"], "value"),
    # Below it a user may name things at will; its aliases pi_… and vf_… tell whose it is.
    "features_extractor": None,
}

OUTSIDE_TOTAL = ("log_std",)
"""Parts that are measured but do not count as weights: with gSDE log_std is half the norm."""

ROW = 1024
"""Floats summed in their own precision; the row sums are added as doubles."""

SMALL = 32 * ROW
"""Tensors with fewer floats are copied into doubles, which for large ones would cost too much."""


def weight_norms(model: BaseAlgorithm) -> dict[str, float]:
    """Squared L2 norm |w|^2 of each part of the model (Lewkowycz 2021, Sec. 2).

    The parameters that the optimizers own count, each once: no target networks, no running
    statistics, no entropy coefficient. Where there is no optimizer (ARS) the policy's parameters
    count. One synchronisation per call on a GPU.

    :param model: a model of stable-baselines3 or sb3-contrib
    :return: squared norms of those of the parts ``policy``, ``value`` (a Q-network is "value") and
        ``shared`` (in both networks) that the model has; ``total``, their sum; and ``log_std``,
        outside the total, where it is a parameter of its own
    :raises TypeError: if the model is not one of PyTorch (SBX)
    """
    return norms_of(measured_parameters(model))


def norms_of(parts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, float]:
    """Squared norms of parts as :func:`measured_parameters` returns them, with their total."""
    return with_total(dict(zip(parts, squared_norms([list(named.values()) for named in parts.values()]))))


def with_total(norms: Mapping[str, float]) -> dict[str, float]:
    """Put ``total``, the sum of the parts that count as weights, in front of the parts."""
    return {"total": math.fsum(norm for part, norm in norms.items() if part not in OUTSIDE_TOTAL), **norms}


@torch.no_grad()
def squared_norms(groups: Sequence[Sequence[torch.Tensor]]) -> list[float]:
    """Squared L2 norm of each group of tensors, to about 1e-7 of its value, in one synchronisation.

    A plain float32 dot product over ten million weights is off by 1e-4, which is more than a norm
    moves between two measurements.
    """
    sums = [_sum_of_squares(group) for group in groups]
    result: list[float] = torch.stack([s.to(sums[0]) for s in sums]).tolist() if sums else []
    return result


def _sum_of_squares(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    flat = [tensor.reshape(-1) for tensor in tensors]
    accumulator = torch.float32 if flat[0].device.type == "mps" else torch.float64
    # Small tensors go together, exactly: what costs is the number of calls.
    small = [tensor for tensor in flat if tensor.numel() < SMALL]
    sums = [_dot(torch.cat(small).to(accumulator))] if small else []
    for tensor in flat:
        if tensor.numel() >= SMALL:
            even = tensor.numel() - tensor.numel() % ROW
            rows = tensor[:even].view(-1, ROW)
            rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
            sums.append(_dot(torch.linalg.vector_norm(rows, dim=1).to(accumulator)))
            sums.append(_dot(tensor[even:].to(accumulator)))
    total: torch.Tensor = sums[0] if len(sums) == 1 else torch.stack([s.to(sums[0]) for s in sums]).sum()
    return total


def _dot(vector: torch.Tensor) -> torch.Tensor:
    return torch.dot(vector, vector)


def measured_parameters(model: BaseAlgorithm) -> dict[str, dict[str, torch.Tensor]]:
    """Parameters that count, as part -> name -> parameter, each parameter once.

    :raises TypeError: if the model is not one of PyTorch (SBX)
    """
    policy = model.policy
    if not isinstance(policy, torch.nn.Module):
        raise TypeError(
            f"rl_abel works on the PyTorch models of stable-baselines3 and sb3-contrib, got "
            f"{type(model).__module__}.{type(model).__qualname__} with a policy of type {type(policy).__qualname__}: "
            "models of SBX keep their parameters in JAX and are not supported"
        )
    owned = {id(p) for optimizer in optimizers(model) for group in optimizer.param_groups for p in group["params"]}
    # A parameter that two networks share has a name in each, so duplicates tell the shared ones.
    names: dict[torch.Tensor, list[str]] = {}
    for name, parameter in policy.named_parameters(remove_duplicate=False):
        if id(parameter) in owned or (not owned and not is_target(name)):
            names.setdefault(parameter, []).append(name)
    return by_part(names, shared_lstm=bool(getattr(policy, "shared_lstm", False)))


def by_part(
    names: Mapping[torch.Tensor, Sequence[str]], shared_lstm: bool = False
) -> dict[str, dict[str, torch.Tensor]]:
    """Sort tensors into parts by their dotted names, as part -> first name -> tensor.

    :param names: every name of each tensor
    :param shared_lstm: whether the LSTM of a recurrent policy serves the value network too
    """
    networks = {t: {network for name in aliases if (network := _network(name))} for t, aliases in names.items()}
    if shared_lstm:
        networks |= {t: {"policy", "value"} for t, aliases in names.items() if "lstm_actor" in aliases[0].split(".")}
    known = set().union(*networks.values()) or {"policy"}
    parts: dict[str, dict[str, torch.Tensor]] = {"policy": {}, "value": {}, "shared": {}, "log_std": {}}
    for tensor, aliases in names.items():
        # A name of the user's own making is in no network we know: in an actor-critic, in both.
        part = "shared" if len(in_networks := networks[tensor] or known) > 1 else next(iter(in_networks))
        # SAC's actor has a layer called log_std: that one is weights.
        part = "log_std" if aliases[0].rpartition(".")[2] == "log_std" else part
        parts[part][aliases[0]] = tensor
    return {part: named for part, named in parts.items() if named}


def is_target(name: str) -> bool:
    """Whether a parameter of this dotted name is in a target network."""
    return "_target" in name.partition(".")[0]


def _network(name: str) -> str | None:
    return next((NETWORKS[component] for component in name.split(".") if component in NETWORKS), None)


def optimizers(model: BaseAlgorithm) -> Iterator[torch.optim.Optimizer]:
    """Optimizers of the policy's networks: not the one of the entropy coefficient."""
    for module in model.policy.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.optim.Optimizer))
