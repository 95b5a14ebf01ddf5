"""A factor on the rates of an optimizer of torch that is there while it steps, and at no other time.

Whatever else sets ``group["lr"]`` never sees the factor, so it can neither lose nor repeat it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from types import MethodType
from typing import Any

import torch

Surrounding = Callable[[torch.optim.Optimizer], AbstractContextManager[None]]


class WhileStepping:
    """The factor of one optimizer. It holds neither the optimizer nor its owner."""

    def __init__(self) -> None:
        self.factor = 1.0  # what the rates of all groups are multiplied by during each ``step()``
        # Returns whose factor it is, None if that is gone or was never there
        self.owner: Callable[[], object] = lambda: None
        # Since the latest complaints: whether it has stepped, and whether another has set a rate within a step.
        self._stepped = self._overwritten = False
        self._under_way = False

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> WhileStepping:
        """Return the one there is for an optimizer; copies of the optimizer have none yet."""
        rates = _OF.setdefault(optimizer, cls())
        if not surrounds(rates._multiply, optimizer):
            surround_step(optimizer, rates._multiply)
        return rates

    def complaints(self, moved: bool) -> list[str]:
        """Return in words why the factor has not reached the weights since the last call.

        :param moved: whether the weights have moved since then
        """
        found = []
        if moved and not self._stepped:
            found.append(
                "the weights have moved and optimizer.step() was not seen to run, so a decay would not reach them. "
                "Does another optimizer train them? Was the step taken or compiled before AbelScheduler was made, or "
                "captured in a CUDA graph before the decay? Then do that anew"
            )
        if self._overwritten:
            found.append(
                "something sets the learning rate within optimizer.step(), and its rate is not decayed. Set it before "
                "or after the step"
            )
        self._stepped = self._overwritten = False
        return found

    @contextmanager
    def _multiply(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        self._stepped = True
        # A step may be surrounded twice, where a function in between hands on no attributes.
        if self.factor == 1 or self._under_way:
            yield
            return
        # All rates are computed before any is set: groups may share a tensor.
        rates = [(group, copied(group["lr"]), group["lr"] * self.factor) for group in optimizer.param_groups]
        for group, _, applied in rates:
            set_rate(group, applied)
        multiplied = [(group, plain, group["lr"]) for group, plain, _ in rates]
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False
            for group, plain, applied in multiplied:
                rate = group["lr"]
                if rate is applied or (not isinstance(rate, torch.Tensor) and rate == applied):
                    set_rate(group, plain)
                else:
                    self._overwritten = True


_OF: weakref.WeakKeyDictionary[torch.optim.Optimizer, WhileStepping] = weakref.WeakKeyDictionary()


def surround_step(optimizer: torch.optim.Optimizer, surrounding: Surrounding) -> Callable[[], None]:
    """Wrap ``optimizer.step``, as torch calls no hook after a step that has failed; return what unwraps it."""
    step: Any = optimizer.step
    # What others leave there may be bound to nothing, or to an object of theirs.
    is_bound = getattr(step, "__self__", None) is optimizer
    function, before = step.__func__ if is_bound else step, vars(optimizer).get("step")

    @wraps(function)
    def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        with surrounding(optimizer):
            return function(*((optimizer, *args) if is_bound else args), **kwargs)

    stepping.surrounding = surrounding  # type: ignore[attr-defined]
    # Bound, as torch's schedulers expect to find it.
    ours = MethodType(stepping, optimizer)
    optimizer.step = ours  # type: ignore[method-assign]

    def unwrap() -> None:
        # A wrapper that came later stays.
        if vars(optimizer).get("step") is ours:
            del optimizer.step
            vars(optimizer).update({} if before is None else {"step": before})

    return unwrap


def surrounds(surrounding: Surrounding, optimizer: torch.optim.Optimizer) -> bool:
    """Whether this one surrounds the step. Torch's schedulers, which wrap it too, hand on its attributes."""
    return getattr(optimizer.step, "surrounding", None) == surrounding


def copied(rate: Any) -> Any:
    """Return a rate that no other can change."""
    return rate.detach().clone() if isinstance(rate, torch.Tensor) else rate


@torch.no_grad()
def set_rate(group: dict[str, Any], rate: Any) -> None:
    """Set the rate of a group, in its tensor if it is one: compiled and captured steps read that tensor."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].copy_(torch.as_tensor(rate))
    else:
        group["lr"] = rate
