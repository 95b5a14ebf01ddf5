"""Which tensors of a saved model are weights that train: told by the state of its optimizers, matched in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rl_abel.networks.norms import is_target

STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "ra_mean", "ra_var", "steps")
"""Last components of the names of running statistics: batch normalisation, and CrossQ's renormalisation."""

USUAL = ("weight", "bias", "log_std")
"""Beginnings of the last components of the names of weights, as PyTorch's modules and SB3's policies give them."""

NETWORKS = {"policy.optimizer": "", "actor.optimizer": "actor.", "critic.optimizer": "critic."}
"""Optimizers in a zip, and with what the names of their weights begin."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ownership:
    """What of a model counts.

    :param names: of the tensors that train
    :param doubts: what could not be told, a sentence each
    """

    names: frozenset[str]
    doubts: tuple[str, ...] = ()


def owned(weights: Mapping[str, torch.Tensor], optimizers: Mapping[str, Any], line_search: bool = False) -> Ownership:
    """Tell the weights that train from buffers and frozen ones.

    An optimizer's state lists its weights in the order of the networks, with their shapes, and has
    none for a weight that never had a gradient. Where no state tells, names do.

    :param weights: name -> tensor, of which tensors in one place are the same weight
    :param optimizers: their names in the zip -> ``state_dict()``
    :param line_search: whether the policy trains without the optimizer (TRPO)
    """
    candidates = [name for name in weights if not is_target(name)]
    names: set[str] = set()
    doubts: dict[str, None] = {}
    told = False
    for optimizer, prefix in NETWORKS.items():
        if optimizer not in optimizers:
            continue
        mine = _without_aliases([name for name in candidates if name.startswith(prefix)], weights)
        # DQN's optimizer has the online network alone, which is all that is left without the target.
        groups = _groups(optimizers[optimizer])
        matched = match(groups, [(name, tuple(weights[name].shape)) for name in mine])
        if matched is None:
            doubts[f"the state of {optimizer} does not fit the weights: they were told from buffers by name"] = None
            names |= {name for name in mine if by_name(name)}
            told = True
            continue
        told = True
        found, certain = matched
        if not certain:
            doubts[f"{optimizer} fits the weights in more than one way: buffers were told by name"] = None
        states = {name: state for group, known in zip(found, groups) for name, (_, state) in zip(group, known)}
        has_trained = {name for name, state in states.items() if state}
        if not has_trained:
            doubts["no optimizer state tells frozen weights from others: they count if there are any"] = None
        names |= set(states) if line_search or not has_trained else has_trained
    if not told:
        names = {name for name in candidates if by_name(name)}
        if unusual := sorted(name for name in names if not name.rpartition(".")[2].startswith(USUAL)):
            doubts[f"no optimizer tells whether {unusual[0]} is a weight or a buffer: it counts"] = None
    return Ownership(frozenset(names), tuple(doubts))


def by_name(name: str) -> bool:
    """Whether a tensor of this name is taken for a weight where nothing else tells."""
    return not is_target(name) and name.rpartition(".")[2] not in STATISTICS


def _without_aliases(names: Sequence[str], weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the first name of each tensor: ``parameters()`` has each once."""
    first: dict[Any, str] = {}
    for name in names:
        first.setdefault((weights[name].data_ptr(), weights[name].shape), name)
    return list(first.values())


def _groups(state_dict: Any) -> list[list[tuple[set[Shape], bool]]]:
    """Return for each weight of each group the shapes of its state, and whether it has any; empty if unreadable."""
    try:
        state = state_dict["state"]
        groups = [[state.get(index, {}) for index in group["params"]] for group in state_dict["param_groups"]]
        return [
            [
                (
                    {tuple(v.shape) for k, v in entry.items() if isinstance(v, torch.Tensor) and k != "step"},
                    any(value is not None for value in entry.values()),
                )
                for entry in group
            ]
            for group in groups
        ]
    except (KeyError, TypeError, AttributeError):
        return []


def match(
    groups: Sequence[Sequence[tuple[set[Shape], bool]]], candidates: Sequence[tuple[str, Shape]]
) -> tuple[list[list[str]], bool] | None:
    """Match the weights of optimizer groups with named tensors, in order and by shape.

    :return: the names, by group, and whether there is no other way; None if they do not match
    """
    if not groups:
        return None
    whole = _subsequence([weight for group in groups for weight in group], candidates)
    if whole is not None and (len(groups) == 1 or whole[1]):
        names = iter(whole[0])
        return [[next(names) for _ in group] for group in groups], whole[1]
    found, left, certain = [], list(candidates), True
    for group in groups:
        # Groups that go by dimensions, matrices and the rest, are so for weights without a state too.
        kinds = {len(shape) >= 2 for shapes, _ in group for shape in shapes}
        result = _subsequence(group, [item for item in left if len(kinds) != 1 or (len(item[1]) >= 2) in kinds])
        if result is None:
            break
        certain &= result[1]
        found.append(result[0])
        left = [candidate for candidate in left if candidate[0] not in set(result[0])]
    else:
        return found, certain or not left
    # Of groups without a state only the number is known.
    likely = [name for name, _ in candidates if by_name(name)]
    if not any(known for group in groups for _, known in group) and len(likely) == sum(map(len, groups)):
        names = iter(likely)
        return [[next(names) for _ in group] for group in groups], True
    return None


def _subsequence(
    weights: Sequence[tuple[set[Shape], bool]], candidates: Sequence[tuple[str, Shape]]
) -> tuple[list[str], bool] | None:
    """Return the likeliest tensors that have these shapes in this order, and whether none other is as likely."""
    n, m = len(weights), len(candidates)
    costs = [_cost(name) + place for (name, _), place in zip(candidates, _places(candidates))]
    # least[i][j] and ways[i][j]: of matching the weights from i on with the candidates from j on.
    least = [[math.inf] * (m + 1) for _ in range(n)] + [[0.0] * (m + 1)]
    ways = [[0] * (m + 1) for _ in range(n)] + [[1] * (m + 1)]
    taken = [[math.inf] * (m + 1) for _ in range(n)]
    for i in reversed(range(n)):
        shapes, _ = weights[i]
        for j in reversed(range(m)):
            if not shapes or candidates[j][1] in shapes:
                taken[i][j] = least[i + 1][j + 1] + costs[j]
            least[i][j] = min(taken[i][j], least[i][j + 1])
            ways[i][j] = (taken[i][j] == least[i][j]) * ways[i + 1][j + 1]
            ways[i][j] += (least[i][j + 1] == least[i][j]) * ways[i][j + 1]
    if n and least[0][0] == math.inf:
        return None
    names, j = [], 0
    for i in range(n):
        while taken[i][j] > least[i][j]:
            j += 1
        names.append(candidates[j][0])
        j += 1
    return names, ways[0][0] == 1


def _places(candidates: Sequence[tuple[str, Shape]]) -> list[int]:
    """Return how many tensors of its module stand before each: a module has its parameters before its buffers."""
    modules = [name.rpartition(".")[0] for name, _ in candidates]
    return [modules[:index].count(module) for index, module in enumerate(modules)]


def _cost(name: str) -> int:
    """How unlikely a tensor of this name is to be among an optimizer's weights, from the outset."""
    last = name.rpartition(".")[2]
    if last in STATISTICS:
        return 10**12
    # SAC's critic leaves a features extractor that it shares to the actor.
    return 10**8 * (not last.startswith(USUAL)) + 10**4 * ("features_extractor" in name)
