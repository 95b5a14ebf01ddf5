"""Weight norms of a model, live or saved. Of a saved model plain tensors are loaded, nothing else."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from rl_abel.inspection.readers.sb3_zip import UNREADABLE, WEIGHTS, Saved, read_saved
from rl_abel.networks.norms import COMPILED, by_part, is_target, measured_parameters, norms_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

# Members of a zip that hold the optimizers of a model's networks
OPTIMIZERS = ("policy.optimizer.pth", "actor.optimizer.pth", "critic.optimizer.pth")
# Last components of the names of running statistics: batch normalisation, and CrossQ's renormalisation
STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "ra_mean", "ra_var", "steps")
# Beginnings of the last components of the names of weights, as PyTorch's modules and SB3's policies give them
USUAL = ("weight", "bias", "log_std")


class Ownership(NamedTuple):
    """The names of the tensors that train, and what could not be told, a sentence each."""

    names: frozenset[str]
    doubts: tuple[str, ...] = ()


def weight_norms(model: BaseAlgorithm | BasePolicy | str | os.PathLike[str]) -> dict[str, float]:
    """Squared L2 norm |w|^2 of each part of the model (Lewkowycz 2021, Sec. 2).

    The parameters that the optimizers own and that are not frozen count, each once: no target networks, no running
    statistics, no entropy coefficient. Without an optimizer (ARS) the policy's count. It synchronises a GPU once.

    >>> from stable_baselines3 import PPO
    >>> list(weight_norms(PPO("MlpPolicy", "CartPole-v1")))
    ['total', 'policy', 'value']

    :param model: of stable-baselines3, sb3-contrib or SBX; or of the first two a policy, or the path of a saved model
    :return: squared norms of the parts that the model has: ``policy``, ``value`` (a Q-network is "value"), ``shared``
        (in both networks); ``total``, their sum; and ``log_std``, outside the total, where it is a parameter
    :raises TypeError: for anything else, or if there is nothing to measure in the model's policy
    :raises ValueError: for a file that is no saved model
    """
    given: Any = model
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        return checkpoint_norms(path if path.exists() else path.with_name(f"{path.name}.zip"))
    if isinstance(given, torch.nn.Module) and hasattr(given, "predict") and any(True for _ in given.parameters()):
        given = SimpleNamespace(policy=given)
    if not hasattr(given, "policy"):
        raise TypeError(
            "weight_norms takes a model of stable-baselines3, sb3-contrib or SBX, a policy with parameters of "
            f"PyTorch, or the path of a saved model, got {type(given).__name__}"
        )
    return norms_of(measured_parameters(given))


def checkpoint_norms(path: Path) -> dict[str, float]:
    """Squared weight norms by part of a model that SB3 has saved, as :func:`weight_norms` of the model.

    :raises ValueError: if the file is not such a zip, or its weights are not plain tensors
    """
    saved = read_saved(path)
    weights = _read_weights(path)
    return _norms_in(weights, _ownership(saved, weights), saved.shared_lstm)


def series_norms(run: Sequence[Saved]) -> tuple[list[tuple[int, dict[str, float]]], dict[str, str], tuple[str, ...]]:
    """Squared weight norms by part of the checkpoints of one training.

    What counts is told by the last one that can be read: the first may not have trained yet.

    :return: (timestep, norms) of each, what could not be read with the reason, and doubts
    """
    rows: list[tuple[int, dict[str, float]]] = []
    skipped: dict[str, str] = {}
    counted: Ownership | None = None
    for saved in reversed(run):
        try:
            weights = _read_weights(saved.path)
            if counted is None or not counted.names <= weights.keys():
                counted = _ownership(saved, weights)
            rows.append((saved.timestep, _norms_in(weights, counted, saved.shared_lstm)))
        except ValueError as error:
            skipped[str(saved.path)] = str(error)
    return rows[::-1], skipped, counted.doubts if counted else ()


def _ownership(saved: Saved, weights: dict[str, torch.Tensor]) -> Ownership:
    """Tell what counts of a saved model."""
    states = 0
    for name in OPTIMIZERS:
        # Without such an optimizer, or with one of another form, names alone tell.
        with suppress(KeyError, TypeError, ValueError):
            states += len(_load(saved.path, name)["state"])
    # A line search (TRPO) moves weights without the optimizer.
    return owned(weights, None if saved.line_search or not states else states)


def owned(weights: Mapping[str, torch.Tensor], num_trained: int | None = None) -> Ownership:
    """Tell the weights that train by their names: target networks and running statistics do not.

    A zip does not say what is a buffer and what is frozen. The number of states in the optimizers shows whether there
    is such a thing. If names do not tell what it is, all of it counts, and a doubt says so.

    :param weights: name -> tensor, of which tensors in one place are the same weight
    :param num_trained: tensors that have a state in the optimizers; None where that is not known
    """
    names = frozenset(n for n in weights if not is_target(n) and n.rpartition(".")[2] not in STATISTICS)
    usual = frozenset(name for name in names if name.rpartition(".")[2].startswith(USUAL))
    number, of_usual = (len({weights[name].data_ptr() for name in some}) for some in (names, usual))
    if num_trained == of_usual or (num_trained is None and names == usual):
        return Ownership(usual)
    if num_trained is None:
        return Ownership(names, (f"nothing tells whether {min(names - usual)} is a weight or a buffer: it counts",))
    if num_trained >= number:
        return Ownership(names)
    unsure = f"{number - num_trained} of {number} tensors are frozen, or buffers"
    return Ownership(names, (f"{unsure}. Their names do not tell which, so all of them count",))


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return name -> tensor of the policy of a saved model.

    :raises ValueError: if they are not plain tensors
    """
    loaded = _load(path, WEIGHTS)
    weights = {
        # Before 2.7 SB3 saved a compiled policy by the names that torch.compile gives.
        name.replace(COMPILED, ""): tensor
        for name, tensor in (loaded.items() if isinstance(loaded, dict) else ())
        if isinstance(tensor, torch.Tensor) and (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel()
    }
    if not weights:
        raise ValueError(f"{WEIGHTS} holds no weights")
    return weights


def _norms_in(weights: dict[str, torch.Tensor], counted: Ownership, shared_lstm: bool) -> dict[str, float]:
    """Squared norms by part of those weights that count, each once."""
    # A shared parameter was saved once and has a name in each network.
    names: dict[int, list[str]] = {}
    for name, tensor in weights.items():
        names.setdefault(tensor.data_ptr(), []).append(name)
    counting = {weights[same[0]]: same for same in names.values() if not counted.names.isdisjoint(same)}
    return norms_of(by_part(counting, shared_lstm))


def _load(path: Path, member: str) -> Any:
    """Unpickle a member of a zip as plain tensors, and nothing else.

    :raises ValueError: if there is no such member, or if it holds anything else
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(member)
    except (KeyError, *UNREADABLE) as error:
        raise ValueError(f"{member} cannot be read: {error}") from None
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers do
        raise ValueError(f"{member} holds no plain weights: {str(error).splitlines()[0]:.200}") from None
