"""Where a model keeps its optimizers: on the algorithm, or in a module of its policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks import jax_models

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

MOST = 100  # entries of a container that are looked at: a longer one holds data
INTERNALS = frozenset(vars(torch.nn.Module()))  # what torch keeps in every module: parameters, hooks and the like


def optimizers(model: BaseAlgorithm) -> list[torch.optim.Optimizer]:
    """Return whatever steps weights of the model, each once: torch's optimizers, and wrappers of them; none of SBX.

    An attribute of the model, or of a module of its policy, is an optimizer or a list or dict of optimizers. A wrapper
    has ``param_groups``, as SAM and Lookahead have. The entropy coefficient's is among them.
    """
    if jax_models.is_jax(model):
        return []
    modules = model.policy.modules() if isinstance(model.policy, torch.nn.Module) else ()
    held = [value for holder in (model, *modules) for name, value in vars(holder).items() if name not in INTERNALS]
    return list({id(one): one for value in held for one in _entries(value) if _is_optimizer(one)}.values())


def _entries(value: Any) -> Iterable[Any]:
    if not isinstance(value, (dict, list, tuple)):
        return (value,)
    entries = value.values() if isinstance(value, dict) else value
    return list(entries) if len(entries) <= MOST else ()


def _is_optimizer(value: Any) -> bool:
    """Whether it has parameter groups. The user's ``__getattr__`` is not run: an environment's may ask a simulator."""
    has_groups = "param_groups" in getattr(value, "__dict__", ()) or hasattr(type(value), "param_groups")
    return has_groups and not isinstance(value, type)


def at_hand(model: BaseAlgorithm) -> tuple[int, ...]:
    """Return, as ids, the optimizers where most models keep theirs; a look at all places costs as much as an update."""
    # Without torch's look-up of attributes, which takes several times as long.
    policy = getattr(model.policy, "__dict__", {})
    networks = policy.get("_modules", policy)
    owners = (policy, *(getattr(networks.get(name), "__dict__", {}) for name in ("actor", "critic")))
    return tuple([id(owner.get("optimizer")) for owner in owners])


def groups_of(model: BaseAlgorithm) -> list[dict[str, Any]]:
    """Return the parameter groups of all optimizers of the model; a wrapper shares those of what it wraps."""
    return list({id(group): group for optimizer in optimizers(model) for group in optimizer.param_groups}.values())


def steps_of(model: BaseAlgorithm, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, int]:
    """Return the steps that each part has taken, as its optimizer's state counts them for every parameter.

    Where it counts none (SGD, a line search, no optimizer) they are the updates that the model counts: gradient
    steps, but of PPO epochs.
    """
    if jax_models.is_jax(model):
        return jax_models.steps_of(model, parts)
    states: dict[int, Any] = {}
    for optimizer in optimizers(model):
        state = vars(optimizer).get("state")
        for parameter, of_parameter in state.items() if isinstance(state, Mapping) else ():
            if isinstance(of_parameter, Mapping) and "step" in of_parameter:
                states[id(parameter)] = of_parameter["step"]
    counted = {part: [int(states[id(p)]) for p in named.values() if id(p) in states] for part, named in parts.items()}
    return {part: max(steps, default=int(getattr(model, "_n_updates", 0))) for part, steps in counted.items()}
