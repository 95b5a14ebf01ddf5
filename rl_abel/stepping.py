"""A factor on the rates of an optimizer of torch that is there while it steps, and at no other time.

Whatever else sets ``group["lr"]`` never sees the factor, so it can neither lose nor repeat it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch


class WhileStepping:
    """Multiplies the rate of every group during each ``step()`` of one optimizer.

    A second one for the optimizer takes the place of the first.

    :param factor: returns what to multiply by
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[], float]) -> None:
        self._optimizer, self._factor = optimizer, factor
        # Whether the optimizer has stepped since somebody set this to False.
        self.stepped = False
        # How many of its steps are under way, one within another, and the groups with their plain rates.
        self._depth = 0
        self._plain: list[tuple[dict[str, Any], Any]] = []
        reference = _IN_FORCE.get(optimizer)
        if reference is not None and (before := reference()) is not None:
            before._remove()
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        _IN_FORCE[optimizer] = weakref.ref(self)

    @property
    def in_force(self) -> bool:
        """Whether no other has taken its place."""
        return bool(self._handles)

    def _remove(self) -> None:
        self.put_back()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def put_back(self) -> None:
        """Give every group its plain rate again, after a step that an error has ended too."""
        self._depth = 0
        for group, rate in self._plain:
            if isinstance(rate, torch.Tensor):
                group["lr"].copy_(rate)
            else:
                group["lr"] = rate
        self._plain.clear()

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        self.stepped = True
        self._depth += 1
        factor = self._factor()
        # The step of a class that is derived from another runs the other's within itself, with its hooks.
        if self._depth > 1 or factor == 1:
            return
        for group in self._optimizer.param_groups:
            rate = group["lr"]
            if isinstance(rate, torch.Tensor):
                # In place: a compiled step reads this tensor.
                self._plain.append((group, rate.clone()))
                rate.mul_(factor)
            else:
                self._plain.append((group, rate))
                group["lr"] = rate * factor

    def _after_step(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.put_back()


_IN_FORCE: weakref.WeakKeyDictionary[torch.optim.Optimizer, weakref.ref[WhileStepping]] = weakref.WeakKeyDictionary()
