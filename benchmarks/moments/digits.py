"""The same on the positive control: its net on noisy digits, copied with all of its state."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch

from benchmarks.control.training import Digits, Training, load_digits
from benchmarks.moments.plan import DIGITS_RATE, FACTOR, PLACES, SHARE, Task, first_at


def train_trunk(task: Task, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Train a trunk and its branches, as :func:`benchmarks.moments.training.train_trunk`; scores are shares."""
    torch.set_num_threads(1)
    return _train(task, seed, load_digits())


def _train(task: Task, seed: int, digits: Digits) -> dict[str, list[dict[str, Any]]]:
    of_unit = {"agent": task.agent, "env_id": task.env_id, "strength": task.strength, "seed": seed}
    training = Training(seed, task.strength, digits)
    starts = [first_at(place, task.timesteps) for place in PLACES]
    trunk, branches, trace = [(0, training.test_accuracy())], [], []
    for begun, ended in pairwise([*starts, task.timesteps]):
        place = PLACES[len(branches)]
        branch = training.copy()
        for epoch in range(begun, first_at(place + SHARE, task.timesteps)):
            branch.epoch(epoch + 1, DIGITS_RATE * FACTOR)
        branches.append((place, branch.test_accuracy()))
        for epoch in range(begun, ended):
            measured = training.epoch(epoch + 1, DIGITS_RATE)
            trace.append({**of_unit, "timesteps": epoch + 1, "total": measured["total"], "train_return": math.nan})
        trunk.append((ended, training.test_accuracy()))
    moments = [
        {**of_unit, "place": place, "timesteps": begun, "end": ended, "before": before, "trunk": after, "branch": score}
        for (place, score), ((begun, before), (ended, after)) in zip(branches, pairwise(trunk), strict=True)
    ]
    return {"moments": moments, "trace": trace}
