"""Growing the batch in place of the decay: the trainings.

Runs of one seed and optimizer begin as the same training, which is trained once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.control.batch import BATCH_SIZE, L2, Run, all_runs
from benchmarks.control.plan import MOMENTUM
from benchmarks.control.training import Digits, Training, load_digits, make_net


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


def train(runs: Sequence[Run], digits: Digits) -> list[dict[str, Any]]:
    """Train runs of one optimizer and seed, their common beginning once; return a row a run and epoch."""
    first = runs[0]
    net = make_ghost_net(first.seed)
    training, shared = Training(first.seed, net, make_optimizer(first.optimizer, net), digits), []
    _go_on(training, first, first.first_decay, shared)
    rows = []
    for run in runs:
        of_run = list(shared)
        _go_on(training.copy(), run, run.epochs, of_run)
        rows += [{"optimizer": run.optimizer, "arm": run.arm, "seed": run.seed, **row} for row in of_run]
    return rows


def _go_on(training: Training, run: Run, until: int, rows: list[dict[str, Any]]) -> None:
    """Train as a run does, from the epoch after the last of the rows, and add a row for each epoch."""
    for epoch in range(len(rows), until):
        batch_size, rate = run.at(epoch)
        updates = len(training.train(epoch, rate, batch_size)) + (rows[-1]["updates"] if rows else 0)
        row = {"epoch": epoch + 1, "batch_size": batch_size, "learning_rate": rate, "updates": updates}
        rows.append({**row, "test_accuracy": training.test_accuracy()})


def train_family(optimizer: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Train all runs of an optimizer and seed in a process of its own, on one thread."""
    torch.set_num_threads(1)
    return {
        "epochs": train([run for run in all_runs() if (run.optimizer, run.seed) == (optimizer, seed)], load_digits())
    }
