"""The positive control's task: a small convolutional net with batch normalisation on noisy digits.

Runs of one seed, L2 and base rate are the same training until their rates first differ. They are
trained together as the branches of a tree, so that an epoch which several of them share is trained
once; the result is that of training each by itself, to the last bit.
"""

from __future__ import annotations

import copy
import math
import warnings
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


class Branches:
    """Trainings of one net that begin alike, each a sequence of learning rates, one an epoch."""

    def __init__(self, seed: int, l2: float, digits: Digits) -> None:
        self.seed, self.l2, self.digits = seed, l2, digits
        self.net = make_net(seed)
        self.optimizer = self.new_optimizer()
        self.initial_norm = sum(layer_norms(self.net).values())
        self._saved: dict[tuple[float, ...], Any] = {(): self._save({})}

    def new_optimizer(self) -> torch.optim.SGD:
        """Train with another optimizer from here on, one that no scheduler of another run acts on."""
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.0, momentum=MOMENTUM, weight_decay=self.l2, foreach=True
        )
        self._at: tuple[float, ...] | None = None
        return self.optimizer

    def epoch(self, rates: tuple[float, ...], learning_rate: float) -> dict[str, float]:
        """Return what was measured after the last of the epochs at these rates; the net is then that of after it.

        All epochs but the last must have been asked for before.

        :param learning_rate: of the last, as the optimizer has it: without the factor of a scheduler on it
        """
        if rates not in self._saved:
            self._go_to(rates[:-1])
            self._saved[rates] = self._save(self._train(len(rates), learning_rate, rates[-1]))
            self._at = rates
        self._go_to(rates)
        measured: dict[str, float] = self._saved[rates][0]
        return measured

    def _train(self, epoch: int, learning_rate: float, applied: float) -> dict[str, float]:
        # Of seed and epoch alone, so that a branch sees the images that it would have seen by itself.
        generator = torch.Generator().manual_seed(self.seed * 100_000 + epoch)
        order = torch.randperm(len(self.digits.labels), generator=generator)
        images, labels = augment(self.digits.images[order], generator), self.digits.labels[order]
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.net.train()
        losses = []
        for batch in range(len(labels) // BATCH_SIZE):
            part = slice(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE)
            loss = nn.functional.cross_entropy(self.net(images[part]), labels[part])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        norms = layer_norms(self.net)
        return {
            "epoch": epoch,
            "learning_rate": applied,
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

    def _save(self, measured: dict[str, float]) -> Any:
        return measured, copy.deepcopy(self.net.state_dict()), copy.deepcopy(self.optimizer.state_dict())

    def _go_to(self, rates: tuple[float, ...]) -> None:
        if self._at != rates:
            _, net, optimizer = self._saved[rates]
            self.net.load_state_dict(net)
            self.optimizer.load_state_dict(copy.deepcopy(optimizer))
            self._at = rates


def train(run: Run, branches: Branches) -> dict[str, Any]:
    """Train a run; return its row, and its trace with a list a column, one value an epoch."""
    optimizer, scheduler = branches.new_optimizer(), None
    if run.arm in RULE_OF:
        scheduler = AbelScheduler(optimizer, RULE_OF[run.arm], run.decay_factor, run.epochs, FINAL_DECAY_AT)
    rates: tuple[float, ...] = ()
    trace: list[dict[str, float]] = []
    for epoch in range(run.epochs):
        learning_rate = run.planned_rate(epoch) if scheduler is None else run.learning_rate
        rates = (*rates, learning_rate * (scheduler.factor if scheduler else 1))
        trace.append(branches.epoch(rates, learning_rate))
        if scheduler is not None:
            with warnings.catch_warnings():
                # An epoch that another run has trained is one without a step of this optimizer.
                warnings.filterwarnings("ignore", "rl_abel: the weights have moved")
                scheduler.step()
    accuracies = [measured["test_accuracy"] for measured in trace if math.isfinite(measured["test_accuracy"])]
    row = {
        "run_id": run.run_id,
        **asdict(run),
        "test_accuracy": accuracies[-1],
        "best_test_accuracy": max(accuracies),
        "initial_norm": branches.initial_norm,
        "bounces": [decay.step for decay in scheduler.decays if decay.cause == "bounce"] if scheduler else [],
    }
    return {"run": row, "trace": {name: [measured[name] for measured in trace] for name in trace[0]}}
