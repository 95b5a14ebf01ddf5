"""Growing the batch in place of the decay: the trainings.

Runs of one seed and optimizer begin as the same training, which is trained once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.control.batch import BATCH_SIZE, L2, Run, all_runs
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


class Training:
    """A net with its optimizer, trained an epoch at a time, and a row for each epoch so far."""

    def __init__(self, run: Run) -> None:
        self.net = make_ghost_net(run.seed)
        self.optimizer = make_optimizer(run.optimizer, self.net)
        self.rows: list[dict[str, Any]] = []

    def train(self, run: Run, digits: Digits, until: int) -> None:
        """Go on as a run does, up to an epoch."""
        for epoch in range(len(self.rows), until):
            batch_size, rate = run.at(epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            before = self.rows[-1]["updates"] if self.rows else 0
            made = _train_epoch(self.net, self.optimizer, digits, batch_size, run.seed * 100_000 + epoch)
            row = {"epoch": epoch + 1, "batch_size": batch_size, "learning_rate": rate, "updates": before + made}
            self.rows.append({**row, "test_accuracy": _test_accuracy(self.net, digits)})


def train(runs: Sequence[Run], digits: Digits) -> list[dict[str, Any]]:
    """Train runs of one optimizer and seed, their common beginning once; return a row a run and epoch."""
    beginning, rows = Training(runs[0]), []
    beginning.train(runs[0], digits, runs[0].first_decay)
    for run in runs:
        training = copy.deepcopy(beginning)
        training.train(run, digits, run.epochs)
        rows += [{"optimizer": run.optimizer, "arm": run.arm, "seed": run.seed, **row} for row in training.rows]
    return rows


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


def train_family(optimizer: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Train all runs of an optimizer and seed in a process of its own, on one thread."""
    torch.set_num_threads(1)
    return {
        "epochs": train([run for run in all_runs() if (run.optimizer, run.seed) == (optimizer, seed)], load_digits())
    }
