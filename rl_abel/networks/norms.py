"""Squared weight norms of an SB3 model, by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks import jax_models
from rl_abel.networks.optimizers import groups_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

COMPILED = "_orig_mod."  # what ``torch.compile`` puts in front of the names of a module's parameters
# The first of these in a parameter's dotted name tells its network; SB3 and sb3-contrib give these names.
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

    A float32 dot product over ten million weights is off by 1e-4, more than a norm moves between measurements.
    """
    sums = [_sum_of_squares(group) for group in groups]
    result: list[float] = torch.stack([s.to(sums[0]) for s in sums]).tolist() if sums else []
    return result


def _sum_of_squares(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    reals = [flat(tensor) for tensor in tensors]
    # Small tensors go together, exactly: what costs is the number of calls.
    small = [tensor for tensor in reals if tensor.numel() < SMALL]
    pieces = [torch.cat(small)] if small else []
    for tensor in reals:
        if tensor.numel() >= SMALL:
            even = tensor.numel() - tensor.numel() % ROW
            rows = tensor[:even].view(-1, ROW)
            rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
            pieces += [torch.linalg.vector_norm(rows, dim=1), tensor[even:]]
    doubles = [piece.to(precise(piece)) for piece in pieces]
    sums = [torch.dot(double, double) for double in doubles]
    total: torch.Tensor = sums[0] if len(sums) == 1 else torch.stack([s.to(sums[0]) for s in sums]).sum()
    return total


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as a vector, a complex weight as two real ones."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)


def precise(tensor: torch.Tensor) -> torch.dtype:
    """Return the type to add up in: a double, where the device has one."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def measured_parameters(model: BaseAlgorithm) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters that are trained now, as part -> name -> parameter, each parameter once.

    Those of the policy that an optimizer owns and that are not frozen (``requires_grad``). Where no optimizer owns any,
    all of the policy but target networks. Raises a TypeError for a policy without parameters.
    """
    if jax_models.is_jax(model):
        return jax_models.parameters_of(model)
    parameters, owned = _parameters(model), _owned(model)
    if not owned.keys().isdisjoint(map(id, parameters)):
        return _sorted(model, lambda p, _: id(p) in owned and p.requires_grad)
    # Without an optimizer gradients need not be wanted: an evolution strategy wants none.
    wanted = any(p.requires_grad for p in parameters)
    return _sorted(model, lambda p, name: not is_target(name) and (p.requires_grad or not wanted))


def measured_groups(model: BaseAlgorithm) -> list[dict[str, Any]]:
    """Return the parameter groups of torch's optimizers that hold measured weights."""
    measured = {id(tensor) for named in measured_parameters(model).values() for tensor in named.values()}
    return [group for group in groups_of(model) if any(id(p) in measured for p in group["params"])]


def labels(model: BaseAlgorithm) -> dict[int, str]:
    """Return the part of each parameter of the policy by its ``id``, frozen or not; none of SBX."""
    return {id(tensor): part for part, named in _sorted(model).items() for tensor in named.values()}


def parts_of(model: BaseAlgorithm) -> list[str]:
    """Return the names of the parts that the model has, whether or not they are trained now."""
    if jax_models.is_jax(model):
        return list(jax_models.parameters_of(model))
    return list(_sorted(model, lambda _, name: not is_target(name)))


def unowned(model: BaseAlgorithm) -> list[str]:
    """Return the names of trainable parameters that no optimizer owns, target networks apart."""
    names, owned = _parameters(model), _owned(model)
    free = [aliases[0] for p, aliases in names.items() if p.requires_grad and id(p) not in owned]
    return [name for name in free if "target" not in name.lower()]


def outside(model: BaseAlgorithm) -> int:
    """Count the tensors that optimizers own outside of the policy. Single numbers are entropy coefficients."""
    inside = set(map(id, _parameters(model)))
    return sum(key not in inside and p.numel() > 1 for key, p in _owned(model).items())


def _owned(model: BaseAlgorithm) -> dict[int, torch.Tensor]:
    return {id(p): p for group in groups_of(model) for p in group["params"]}


def _sorted(
    model: BaseAlgorithm, keep: Callable[[torch.Tensor, str], bool] = lambda *_: True
) -> dict[str, dict[str, torch.Tensor]]:
    """Sort the parameters of the policy that are to be kept, by their first name, into parts."""
    kept = {p: aliases for p, aliases in _parameters(model).items() if keep(p, aliases[0])}
    return by_part(kept, shared_lstm=bool(getattr(model.policy, "shared_lstm", False)))


def _parameters(model: BaseAlgorithm) -> dict[torch.Tensor, list[str]]:
    """Return the policy's parameters, each with all its names: two networks that share one name it twice."""
    policy = model.policy
    names: dict[torch.Tensor, list[str]] = {}
    if isinstance(policy, torch.nn.Module):
        for name, parameter in policy.named_parameters(remove_duplicate=False):
            # A lazy layer has no weights before its first call.
            if not isinstance(parameter, torch.nn.parameter.UninitializedParameter):
                names.setdefault(parameter, []).append(name)
    if not names and not jax_models.is_jax(model):
        raise TypeError(
            "rl_abel works on the models of stable-baselines3, sb3-contrib and SBX, and there is nothing to measure "
            f"in {type(model).__module__}.{type(model).__qualname__}: its policy, a {type(policy).__qualname__}, has "
            "no parameters of PyTorch"
        )
    return names


def by_part(
    names: Mapping[torch.Tensor, Sequence[str]], shared_lstm: bool = False
) -> dict[str, dict[str, torch.Tensor]]:
    """Sort tensors with all their names into parts, as part -> first name -> tensor.

    With ``shared_lstm`` the LSTM of a recurrent policy serves the value network too.
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
