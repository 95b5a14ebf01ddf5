"""Weight norms of saved models, from their weights alone: nothing else in a zip is unpickled."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from rl_abel.norms import by_part, is_target, norms_of

WEIGHTS = "policy.pth"
STEPS = re.compile(r"^(?P<run>.*?)_?(?P<steps>\d+)_steps\.zip$")
"""Names that SB3's CheckpointCallback gives; replay buffers are pickles, VecNormalize's too."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "ra_mean", "ra_var", "steps")
"""Last components of the names of running statistics: batch normalisation, and CrossQ's renormalisation."""


def series(paths: Iterable[Path]) -> dict[str, list[tuple[int, Path]]]:
    """Return the checkpoints of each run, by timestep, from file names.

    >>> list(series([Path("rl_model_2000_steps.zip"), Path("rl_model_1000_steps.zip")]))
    ['rl_model']
    """
    runs: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        if match := STEPS.match(path.name):
            runs.setdefault(match["run"], []).append((int(match["steps"]), path))
    return {run: sorted(checkpoints) for run, checkpoints in sorted(runs.items())}


def checkpoint_norms(path: Path) -> dict[str, float]:
    """Squared weight norms by part of a model that SB3 has saved, as :func:`weight_norms` of the model.

    Targets and running statistics are told apart by name. Weights that were frozen, or that a
    recurrent policy shares by its LSTM, cannot be told from the file.

    :raises ValueError: if the file is not such a zip, or its weights are not plain tensors
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(WEIGHTS)
    except KeyError:
        raise ValueError(f"no {WEIGHTS} in it: not a model of stable-baselines3") from None
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"not a readable zip: {error}") from None
    try:
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers do
        raise ValueError(f"{WEIGHTS} holds no plain weights: {str(error).splitlines()[0]:.200}") from None
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"{WEIGHTS} holds no weights")
    names: dict[torch.Tensor, list[str]] = {}
    seen: dict[Any, torch.Tensor] = {}
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        if is_target(name) or name.rpartition(".")[2] in STATISTICS:
            continue
        # A shared parameter was saved once and has a name in each network.
        first = seen.setdefault((tensor.data_ptr(), tensor.shape), tensor)
        names.setdefault(first, []).append(name)
    if not names:
        raise ValueError(f"{WEIGHTS} holds no weights")
    return norms_of(by_part(names))
