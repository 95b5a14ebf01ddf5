"""Models of SBX: algorithms of stable-baselines3 with networks in JAX, which is not imported here: SBX has done so."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

SHARED = "NatureCNN_"  # beginning of the layers that SBX's PPO keeps alike in both networks of its CnnPolicy

# Of each network of a model, its steps so far, and its parameters as tensors, while JAX makes new arrays in each update
_MIRRORS: WeakKeyDictionary[BaseAlgorithm, dict[str, tuple[int, dict[str, torch.Tensor]]]] = WeakKeyDictionary()


def is_jax(model: BaseAlgorithm) -> bool:
    """Whether the model is one of SBX, or of an algorithm derived from one."""
    return any(base.__module__.partition(".")[0] == "sbx" for base in type(model).__mro__)


def states_of(model: BaseAlgorithm) -> dict[str, Any]:
    """The training state of each network: ``actor``, ``vf`` (PPO), ``qf``, or ``qf1`` and ``qf2`` (TQC)."""
    return {
        name.removesuffix("_state"): value
        for name, value in getattr(model.policy, "__dict__", {}).items()
        if name.endswith("_state") and hasattr(value, "opt_state")
    }


def part_of(network: str) -> str:
    """Part of the network of a training state of this name."""
    return "policy" if network == "actor" else "value"


def parameters_of(model: BaseAlgorithm) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters that are trained now, as part -> name -> a tensor with a copy of them.

    The tensors are the same ones in every call, until a network changes its shape or begins anew (``param_resets``).
    Raises a TypeError for a policy that has none.
    """
    mirrors = _MIRRORS.setdefault(model, {})
    shares = any(base.__name__ == "CnnPolicy" for base in type(model.policy).__mro__)
    parts: dict[str, dict[str, torch.Tensor]] = {"policy": {}, "value": {}, "shared": {}, "log_std": {}}
    for network, state in states_of(model).items():
        steps, tensors = mirrors.get(network, (0, {}))
        mirrors[network] = int(state.step), tensors if int(state.step) >= steps else {}
        for path, array in _leaves(state.params):
            part, name = "log_std" if path == "log_std" else part_of(network), f"{network}.{path}"
            if shares and path.startswith(SHARED) and network in ("actor", "vf"):
                part, name = "shared", path
            if name not in parts[part]:
                parts[part][name] = _mirrored(mirrors[network][1], name, array)
    found = {part: named for part, named in parts.items() if named}
    if not found:
        raise TypeError(
            f"there is nothing to measure in {type(model).__module__}.{type(model).__qualname__}, a model of SBX: its "
            f"policy, a {type(model.policy).__qualname__}, has no training state of flax with parameters"
        )
    return found


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays of a tree of dictionaries by their dotted names, without flax's outermost ``params``."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from _leaves(inner, f"{path}.{key}")
    else:
        yield path.removeprefix(".").removeprefix("params."), tree


@torch.no_grad()
def _mirrored(tensors: dict[str, torch.Tensor], name: str, array: Any) -> torch.Tensor:
    host = np.asarray(array)
    # Numpy knows no bfloat16, torch nothing of numpy's extensions.
    now = torch.tensor(host if host.dtype.kind in "fc" else host.astype(np.float32))
    there = tensors.get(name)
    if there is None or there.shape != now.shape or there.dtype != now.dtype:
        tensors[name] = now
    else:
        there.copy_(now)
    return tensors[name]


def steps_of(model: BaseAlgorithm, parts: Mapping[str, object]) -> dict[str, int]:
    """Optimizer steps that each part has taken."""
    taken: dict[str, int] = {}
    for network, state in states_of(model).items():
        taken[part_of(network)] = max(int(state.step), taken.get(part_of(network), 0))
    return {part: taken.get(part, taken.get("policy", 0)) for part in parts}


def marks_of(model: BaseAlgorithm) -> list[tuple[int, Any]]:
    """What differs after each update, as JAX's arrays are never written to; kept, they cannot lend out their ids."""
    return [(id(state.params), state.params) for state in states_of(model).values()]


def weight_decay_of(model: BaseAlgorithm) -> float:
    """The largest coefficient of weight decay of an optimizer (``optax.adamw``: 1e-4 if not given), 0 without any."""
    injected = [node.hyperparams for state in states_of(model).values() for node in injected_in(state.opt_state)]
    # In single precision there.
    if found := [float(f"{float(values['weight_decay']):.7g}") for values in injected if "weight_decay" in values]:
        return max(found)
    try:
        default = inspect.signature(model.policy.optimizer_class).parameters["weight_decay"].default
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0.0
    value = (getattr(model.policy, "optimizer_kwargs", None) or {}).get("weight_decay", default)
    return float(value) if isinstance(value, (int, float)) else 0.0


def injected_in(opt_state: Any) -> Iterator[Any]:
    """States of ``optax.inject_hyperparams`` within an optimizer's state that hold its learning rate."""
    hyperparams = getattr(opt_state, "hyperparams", None)
    if isinstance(hyperparams, dict) and "learning_rate" in hyperparams:
        yield opt_state
    # Mappings hold states by label. They hold moments too, which are not searched.
    is_mapping = isinstance(opt_state, Mapping)
    for inner in opt_state.values() if is_mapping else opt_state:
        if isinstance(inner, tuple) or (isinstance(inner, Mapping) and not is_mapping):
            yield from injected_in(inner)
