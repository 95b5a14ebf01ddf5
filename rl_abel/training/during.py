"""Calls back within one update, after given steps of its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class DuringUpdate:
    """A hook of torch's on an optimizer, there for one update alone.

    :param call: called with the share of the update that is done, as if its steps in ``at`` cut it into equal parts
    """

    def __init__(self, call: Callable[[float], None]) -> None:
        self._call = call
        self._handle: Any = None
        self._at: list[int] = []
        self._steps = 0

    def arm(self, optimizer: object, at: Sequence[int]) -> None:
        """Count the optimizer's steps from now on; what is no optimizer of torch's has no hooks."""
        self.disarm()
        if at and isinstance(optimizer, torch.optim.Optimizer):
            self._at, self._steps = list(at), 0
            self._handle = optimizer.register_step_post_hook(self._step)

    def disarm(self) -> None:
        """Take the hook away; harmless where there is none."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _step(self, *_: Any) -> None:
        self._steps += 1
        if self._steps in self._at:
            self._call((1 + self._at.index(self._steps)) / (1 + len(self._at)))
