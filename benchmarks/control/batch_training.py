"""Growing the batch in place of the decay: the trainings.

Runs of one seed and optimizer begin as the same training, which is trained once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.control.batch import BATCH_SIZE, L2, Run
from benchmarks.control.plan import MOMENTUM
from benchmarks.control.training import Digits, augment, load_digits, make_net


class GhostNorm(nn.BatchNorm2d):
    """Batch normalisation over ``BATCH_SIZE`` images at a time (Hoffer et al. 2017), as in the paper.

    The noise of its statistics is then the same whatever the batch.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images (num, channels, height, width)."""
        if not self.training:
            return super().forward(images)
        return torch.cat([super(GhostNorm, self).forward(part) for part in images.split(BATCH_SIZE)])


def make_ghost_net(seed: int) -> nn.Sequential:
    """Return the control's net, its normalisation that of small batches whatever the batch."""
    net = make_net(seed)
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = GhostNorm
    return net


def make_optimizer(name: str, net: nn.Module) -> torch.optim.Optimizer:
    """Return SGD with momentum and L2, or Adam without L2."""
    shared = {"lr": 0.0, "weight_decay": L2[name], "foreach": True}
    if name == "sgd":
        return torch.optim.SGD(net.parameters(), momentum=MOMENTUM, **shared)
    return torch.optim.Adam(net.parameters(), **shared)


def train(run: Run, digits: Digits, beginning: Beginning | None = None) -> list[dict[str, Any]]:
    """Train a run; return a row an epoch.

    :param beginning: of the runs of its seed and optimizer; where it is empty this run leaves its own there
    """
    net = make_ghost_net(run.seed)
    optimizer = make_optimizer(run.optimizer, net)
    rows: list[dict[str, Any]] = []
    beginning = Beginning() if beginning is None else beginning
    first = beginning.load(net, optimizer, rows)
    updates = rows[-1]["updates"] if rows else 0
    for epoch in range(first, run.epochs):
        if epoch == run.first_decay:
            beginning.save(net, optimizer, rows)
        batch_size, rate = run.at(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        updates += _train_epoch(net, optimizer, digits, batch_size, run.seed * 100_000 + epoch)
        accuracy = _test_accuracy(net, digits)
        row = {"epoch": epoch + 1, "batch_size": batch_size, "learning_rate": rate, "updates": updates}
        rows.append({**row, "test_accuracy": accuracy})
    return [{"optimizer": run.optimizer, "arm": run.arm, "seed": run.seed, **row} for row in rows]


class Beginning:
    """A training up to its first decay."""

    def __init__(self) -> None:
        self._saved: Any = None

    def save(self, net: nn.Module, optimizer: torch.optim.Optimizer, rows: list[dict[str, Any]]) -> None:
        """Keep a training as it is now, unless there is one."""
        self._saved = self._saved or copy.deepcopy((net.state_dict(), optimizer.state_dict(), rows))

    def load(self, net: nn.Module, optimizer: torch.optim.Optimizer, rows: list[dict[str, Any]]) -> int:
        """Bring a new training to where that one was; return the next epoch, 0 if there is none."""
        if self._saved is None:
            return 0
        weights, state, before = copy.deepcopy(self._saved)
        net.load_state_dict(weights)
        optimizer.load_state_dict(state)
        rows += before
        return len(rows)


def _train_epoch(net: nn.Module, optimizer: torch.optim.Optimizer, digits: Digits, batch_size: int, seed: int) -> int:
    # Of seed and epoch alone: every arm sees the same images in the same order.
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits.labels), generator=generator)
    images, labels = augment(digits.images[order], generator), digits.labels[order]
    net.train()
    batches = list(zip(images.split(batch_size), labels.split(batch_size)))
    for part, of_part in batches:
        loss = nn.functional.cross_entropy(net(part), of_part)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(batches)


@torch.no_grad()
def _test_accuracy(net: nn.Module, digits: Digits) -> float:
    net.eval()
    return float((net(digits.test_images).argmax(dim=1) == digits.test_labels).float().mean())


def _train_together(runs: Sequence[Run]) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    digits, beginning = load_digits(), Beginning()
    return [row for run in runs for row in train(run, digits, beginning)]


def train_all(runs: Sequence[Run], workers: int) -> pd.DataFrame:
    """Train runs, of which those that begin alike stand together; return a row an epoch."""
    families = [list(family) for _, family in groupby(runs, key=lambda run: (run.optimizer, run.seed, run.epochs))]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rows = [row for of_family in pool.map(_train_together, families) for row in of_family]
    small = {"seed": "int16", "epoch": "int16", "batch_size": "int16", "updates": "int32", "test_accuracy": "float32"}
    return pd.DataFrame(rows).astype(small)
