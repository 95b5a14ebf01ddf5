"""The positive control's task: a small convolutional net with batch normalisation on noisy digits.

Runs of one seed, L2 and base rate are the same training, to the last bit, until their rates first differ.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.control.plan import (
    BATCH_SIZE,
    CHANNELS,
    EVALUATE_EVERY,
    FINAL_DECAY_AT,
    LAYERS,
    MOMENTUM,
    NOISE,
    RULE_OF,
    TRAIN_IMAGES,
    Run,
)
from rl_abel.torch import AbelScheduler


@dataclass(frozen=True)
class Digits:
    """Images (num_images, 8, 8) from 0 to 1 without noise, labels; test images (num, 1, 8, 8) with it."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """Load scikit-learn's digits, split in a way that no seed of a run changes."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = torch.tensor(bunch.images[order] / 16, dtype=torch.float32)
    labels = torch.tensor(bunch.target[order], dtype=torch.int64)
    train_images, test_images = images[:TRAIN_IMAGES], images[TRAIN_IMAGES:]
    noise = torch.randn(test_images.shape, generator=torch.Generator().manual_seed(0))
    return Digits(
        train_images, labels[:TRAIN_IMAGES], (test_images + NOISE * noise).unsqueeze(1), labels[TRAIN_IMAGES:]
    )


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to one pixel either way and add noise: (num, 8, 8) -> (num, 1, 8, 8)."""
    num, size, _ = images.shape
    rows, columns = torch.randint(0, 3, (2, num, 1), generator=generator) + torch.arange(size)
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    shifted = padded[torch.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return (shifted + NOISE * torch.randn(images.shape, generator=generator)).unsqueeze(1)


def make_net(seed: int) -> nn.Sequential:
    """Return the net, its layers named as in ``LAYERS``, its convolutions initialised as He et al. 2015."""
    torch.manual_seed(seed)
    first, second, third = CHANNELS
    net = nn.Sequential()
    for number, (inputs, outputs, stride) in enumerate([(1, first, 1), (first, second, 2), (second, third, 1)], 1):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        # Starts above the norm of equilibrium; torch's default, 6 times smaller, starts below it.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        net.add_module(f"conv{number}", convolution)
        net.add_module(f"norm{number}", nn.BatchNorm2d(outputs))
        net.add_module(f"relu{number}", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("linear", nn.Linear(third, 10))
    return net


def layer_norms(net: nn.Module) -> dict[str, float]:
    """Squared norm |w|^2 by layer, of all that the optimizer owns: weights, biases, scales and shifts."""
    return {
        name: float(sum(p.detach().double().square().sum() for p in layer.parameters()))
        for name, layer in net.named_children()
        if name in LAYERS
    }


class Training:
    """The net of a seed, trained an epoch at a time."""

    def __init__(self, seed: int, l2: float, digits: Digits) -> None:
        self.seed, self.digits = seed, digits
        self.net = make_net(seed)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.0, momentum=MOMENTUM, weight_decay=l2, foreach=True
        )

    def copy(self) -> Training:
        """Return a copy with net and optimizer of its own; an epoch's noise depends on its number alone."""
        other = copy.copy(self)
        # Together, so that the optimizer's parameters are those of the net.
        other.net, other.optimizer = copy.deepcopy((self.net, self.optimizer))
        return other

    def epoch(self, epoch: int, rate: float) -> dict[str, float]:
        """Train an epoch, counted from 1, at a learning rate; return what was measured after it."""
        generator = torch.Generator().manual_seed(self.seed * 100_000 + epoch)
        order = torch.randperm(len(self.digits.labels), generator=generator)
        images, labels = augment(self.digits.images[order], generator), self.digits.labels[order]
        self.optimizer.param_groups[0]["lr"] = rate
        self.net.train()
        losses = []
        for part, of_part in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE)):
            loss = nn.functional.cross_entropy(self.net(part), of_part)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        norms = layer_norms(self.net)
        return {
            "epoch": epoch,
            "learning_rate": rate,
            "test_accuracy": math.nan if epoch % EVALUATE_EVERY else self.test_accuracy(),
            "train_loss": float(torch.stack(losses).mean()),
            "total": sum(norms.values()),
            **norms,
        }

    @torch.no_grad()
    def test_accuracy(self) -> float:
        """Share of the test images that the net, as it is now, tells right."""
        self.net.eval()
        guesses = self.net(self.digits.test_images).argmax(dim=1)
        return float((guesses == self.digits.test_labels).float().mean())


def train(run: Run, training: Training) -> dict[str, Any]:
    """Train a run; return its row, and its trace with a list a column, one value an epoch."""
    scheduler = None
    if run.arm in RULE_OF:
        rule, epochs = RULE_OF[run.arm], run.epochs
        scheduler = AbelScheduler(training.optimizer, rule, run.decay_factor, epochs, FINAL_DECAY_AT)
    trace: list[dict[str, float]] = []
    initial_norm = sum(layer_norms(training.net).values())
    for epoch in range(run.epochs):
        if scheduler is None:
            trace.append(training.epoch(epoch + 1, run.planned_rate(epoch)))
        else:
            applied = run.learning_rate * scheduler.factor
            trace.append({**training.epoch(epoch + 1, run.learning_rate), "learning_rate": applied})
            scheduler.step()
    accuracies = [measured["test_accuracy"] for measured in trace if math.isfinite(measured["test_accuracy"])]
    row = {
        "run_id": run.run_id,
        **asdict(run),
        "test_accuracy": accuracies[-1],
        "best_test_accuracy": max(accuracies),
        "initial_norm": initial_norm,
        "bounces": [decay.step for decay in scheduler.decays if decay.cause == "bounce"] if scheduler else [],
    }
    return {"run": row, "trace": {name: [measured[name] for measured in trace] for name in trace[0]}}


def train_alone(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Train a run in a process of its own, on one thread; return its row, and a row an epoch."""
    torch.set_num_threads(1)
    return as_rows(train(run, Training(run.seed, run.l2, load_digits())))


def as_rows(trained: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what :func:`train` returns as rows of the saved tables."""
    row, trace = trained["run"], trained["trace"]
    epochs = [{"run_id": row["run_id"], **dict(zip(trace, values))} for values in zip(*trace.values())]
    return {"runs": [{**row, "bounces": json.dumps(row["bounces"])}], "traces": epochs}
