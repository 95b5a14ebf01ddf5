"""Squared weight norms of an SB3 model, by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks import jax_models
from rl_abel.networks.optimizers import groups_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

COMPILED = "_orig_mod."  # what ``torch.compile`` puts in front of the names of a module's parameters
# The first of these in a parameter's dotted name tells which network it belongs to. They are the
# names that stable-baselines3 and sb3-contrib give.
NETWORKS = {
    **dict.fromkeys(["actor", "policy_net", "action_net", "pi_features_extractor", "lstm_actor"], "policy"),
    **dict.fromkeys(["critic", "value_net", "vf_features_extractor", "lstm_critic", "q_net", "quantile_net"], "value"),
    # Below it a user may name things at will; its aliases pi_… and vf_… tell whose it is.
    "features_extractor": None,
}

OUTSIDE_TOTAL = ("log_std",)  # parts that are measured but do not count as weights: with gSDE log_std is half the norm
ROW = 1024  # floats summed in their own precision; the row sums are added as doubles
SMALL = 32 * ROW  # tensors with fewer floats are copied into doubles, which for large ones would cost too much


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
    # A complex weight is two real ones.
    flat = [(torch.view_as_real(t) if t.is_complex() else t).reshape(-1) for t in tensors]
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
    """Parameters that are trained now, as part -> name -> parameter, each parameter once.

    Those of the policy that an optimizer owns and that are not frozen (``requires_grad``); where no optimizer owns
    any, all of the policy but target networks. SBX's are mirrored in tensors.

    :raises TypeError: if there is nothing to measure in the model's policy
    """
    if jax_models.is_jax(model):
        return jax_models.parameters_of(model)
    parameters, owned = _parameters(model), _owned(model)
    # Without an optimizer gradients need not be wanted: an evolution strategy wants none.
    wanted = any(p.requires_grad for p in parameters)
    if owned.keys().isdisjoint(map(id, parameters)):
        trained = {p: aliases for p, aliases in parameters.items() if not is_target(aliases[0])}
        trained = {p: aliases for p, aliases in trained.items() if p.requires_grad or not wanted}
    else:
        trained = {p: aliases for p, aliases in parameters.items() if id(p) in owned and p.requires_grad}
    return _sorted(model, trained)


def measured_groups(model: BaseAlgorithm) -> list[dict[str, Any]]:
    """Return the parameter groups of torch's optimizers that hold measured weights."""
    measured = {id(tensor) for named in measured_parameters(model).values() for tensor in named.values()}
    return [group for group in groups_of(model) if any(id(p) in measured for p in group["params"])]


def labels(model: BaseAlgorithm) -> dict[int, str]:
    """Return the part of each parameter of the policy, by the parameter's ``id``, frozen or not."""
    parts = _sorted(model, _parameters(model))
    return {id(tensor): part for part, named in parts.items() for tensor in named.values()}


def unowned(model: BaseAlgorithm) -> list[str]:
    """Return the names of trainable parameters that no optimizer owns, target networks apart."""
    if jax_models.is_jax(model):
        return []
    owned = _owned(model)
    return [
        aliases[0]
        for parameter, aliases in _parameters(model).items()
        if parameter.requires_grad and id(parameter) not in owned and "target" not in aliases[0].lower()
    ]


def outside(model: BaseAlgorithm) -> int:
    """Count the tensors that optimizers own outside of the policy. Single numbers are entropy coefficients."""
    if jax_models.is_jax(model):
        return 0
    inside = set(map(id, _parameters(model)))
    return sum(key not in inside and p.numel() > 1 for key, p in _owned(model).items())


def parts_of(model: BaseAlgorithm) -> list[str]:
    """Return the names of the parts that the model has, whether or not they are trained now."""
    if jax_models.is_jax(model):
        return list(jax_models.parameters_of(model))
    return list(by_part({p: aliases for p, aliases in _parameters(model).items() if not is_target(aliases[0])}))


def _owned(model: BaseAlgorithm) -> dict[int, torch.Tensor]:
    return {id(p): p for group in groups_of(model) for p in group["params"]}


def _sorted(
    model: BaseAlgorithm, parameters: Mapping[torch.Tensor, Sequence[str]]
) -> dict[str, dict[str, torch.Tensor]]:
    return by_part(parameters, shared_lstm=bool(getattr(model.policy, "shared_lstm", False)))


def _parameters(model: BaseAlgorithm) -> dict[torch.Tensor, list[str]]:
    """Every parameter of the policy with its names: one that two networks share has a name in each."""
    policy = model.policy
    names: dict[torch.Tensor, list[str]] = {}
    if isinstance(policy, torch.nn.Module):
        for name, parameter in policy.named_parameters(remove_duplicate=False):
            # A lazy layer has no weights before its first call.
            if not isinstance(parameter, torch.nn.parameter.UninitializedParameter):
                names.setdefault(parameter, []).append(name)
    if not names:
        raise TypeError(
            "rl_abel works on the models of stable-baselines3, sb3-contrib and SBX, and there is nothing to measure "
            f"in {type(model).__module__}.{type(model).__qualname__}: its policy, a {type(policy).__qualname__}, has "
            "no parameters of PyTorch"
        )
    return names


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
    return "_target" in name.replace(COMPILED, "").partition(".")[0]


def _network(name: str) -> str | None:
    return next((NETWORKS[component] for component in name.split(".") if component in NETWORKS), None)
