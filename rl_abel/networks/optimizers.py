"""Where a model keeps its optimizers: on the algorithm, in its policy, in containers and in wrappers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks import jax_models

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

DEPTH = 4
"""Containers and wrappers that may lie between a module and its optimizer."""

MOST = 100
"""Entries of a container that are looked at: a longer one holds data."""

FOREIGN = ("gymnasium", "gym", "numpy", "stable_baselines3", "sb3_contrib", "torch", "collections")
"""Packages whose objects hold no optimizer of the model: environments, buffers, loggers."""

INTERNALS = frozenset(vars(torch.nn.Module()))
"""What torch keeps in every module: parameters, hooks and the like."""


def optimizers(model: BaseAlgorithm) -> list[torch.optim.Optimizer]:
    """Return whatever steps weights of the model, each once: torch's optimizers, and wrappers of them.

    What has ``param_groups`` is one, as SAM and Lookahead have. The entropy coefficient's is among them. A model
    of SBX has none of them.
    """
    if jax_models.is_jax(model):
        return []
    roots = [root for root in (model.policy, *vars(model).values()) if isinstance(root, torch.nn.Module)]
    # The actor is a module of the model's and of its policy's: each is looked at once.
    met: set[torch.nn.Module] = set()
    modules = [module for root in roots for _, module in root.named_modules(met)]
    own = [[v for name, v in vars(module).items() if name not in INTERNALS and _may_hold(v)] for module in modules]
    holders = [vars(model), *filter(None, own)]
    found: dict[int, Any] = {}
    seen: set[int] = set()
    for holder in holders:
        for optimizer in _search(holder, DEPTH, seen):
            found.setdefault(id(optimizer), optimizer)
    return list(found.values())


def at_hand(model: BaseAlgorithm) -> tuple[int, ...]:
    """Return, as ids, the optimizers where most models keep theirs; a look at all places costs as much as an update."""
    # Without torch's look-up of attributes, which takes several times as long.
    policy = getattr(model.policy, "__dict__", {})
    networks = policy.get("_modules", policy)
    owners = (policy, *(getattr(networks.get(name), "__dict__", {}) for name in ("actor", "critic")))
    return tuple([id(owner.get("optimizer")) for owner in owners])


def groups_of(model: BaseAlgorithm) -> list[dict[str, Any]]:
    """Parameter groups of all optimizers of the model; a wrapper shares those of what it wraps."""
    unique = {id(group): group for optimizer in optimizers(model) for group in optimizer.param_groups}
    return list(unique.values())


def steps_of(model: BaseAlgorithm, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, int]:
    """Return the steps that each part has taken, as its optimizer's state counts them for every parameter.

    Where it does not (SGD, a line search, no optimizer) they are the updates that the model counts: gradient
    steps, but of PPO epochs.

    :param parts: part -> name -> parameter
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


def _search(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if depth < 0 or isinstance(value, (torch.nn.Module, torch.Tensor, str, bytes)) or id(value) in seen:
        return
    if isinstance(value, torch.optim.Optimizer) or _has_groups(value):
        yield value
        return
    for inner in islice(_inside(value), MOST):
        if _may_hold(inner):
            yield from _search(inner, depth - 1, seen)
    seen.add(id(value))


def _may_hold(value: Any) -> bool:
    """Whether it may be an optimizer or hold one: numbers and strings, most of what there is, cannot."""
    kind: Any = type(value)
    return hasattr(value, "__dict__") or isinstance(value, (list, tuple, set)) or _is_mapping(kind)


# Kept by type: a measurement looks at the same objects as the one before.


@cache
def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)


@cache
def _is_foreign(kind: type) -> bool:
    return any(base.__module__.partition(".")[0] in FOREIGN for base in kind.__mro__)


def _inside(value: Any) -> Iterable[Any]:
    kind: Any = type(value)
    if _is_mapping(kind):
        return list(value.values()) if len(value) <= MOST else ()
    if isinstance(value, (list, tuple, set)):
        return list(value) if len(value) <= MOST else ()
    if _is_foreign(kind) or inspect.isroutine(value) or isinstance(value, type):
        return ()
    return list(vars(value).values())


def _has_groups(value: Any) -> bool:
    """Whether it can be read as an optimizer, without running code of the user's."""
    groups = getattr(value, "__dict__", {}).get("param_groups")
    return isinstance(groups, list) and all(isinstance(group, dict) and "params" in group for group in groups)
