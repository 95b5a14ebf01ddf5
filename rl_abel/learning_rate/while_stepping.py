"""Rates of optimizers of torch that are there while they step, and at no other time.

Whatever else sets ``group["lr"]`` never sees them, so it can neither lose nor repeat them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.rules.decays import OUTSIDE

if TYPE_CHECKING:
    from rl_abel.learning_rate.applied_rate import AppliedRate

Group = dict[str, Any]  # a parameter group of an optimizer
Surrounding = Callable[[torch.optim.Optimizer, Callable[[], Any]], Any]  # is given what steps, and returns what it does


class SteppedRates:
    """A rate for each network, where SB3 has one for all, of the optimizers of one model.

    A group may hold several networks. So each step runs on groups that are cut by part. Before and after the step an
    optimizer is as SB3 made it.
    """

    def __init__(self, applied: AppliedRate) -> None:
        self._applied = applied
        self.parts: set[str] = set()  # parts whose rates can be moved apart
        # Groups that have stepped in this update, by id, each with the rate that SB3 had set
        self.ran: dict[int, tuple[Group, float]] = {}
        self._labels: Mapping[int, str] = {}
        self._ratios: dict[str, float] | None = None  # those other than 1, None until the first step of an update
        self._held: dict[tuple[tuple[int, int], ...], set[str]] = {}
        self._unwrap: list[Callable[[], None]] = []
        self._under_way: set[int] = set()
        self._others: list[Any] = []

    def look(self, optimizers: Iterable[Any], labels: Mapping[int, str]) -> None:
        """Watch these optimizers and no others; ``labels`` has the part of each parameter by its id."""
        self.release()
        torchs = [optimizer for optimizer in optimizers if isinstance(optimizer, torch.optim.Optimizer)]
        # Objects of other classes may be pickled with all that they hold, so they are not wrapped.
        self._others = [optimizer for optimizer in optimizers if optimizer not in torchs]
        owned = (id(p) for optimizer in torchs for group in optimizer.param_groups for p in group["params"])
        self._held = {}
        self._labels, self.parts = labels, {labels[key] for key in owned if key in labels}
        self._unwrap = [_surround_step(o, self._step) for o in torchs if not _surrounds(self._step, o)]

    def release(self) -> None:
        """Leave every optimizer as it was found."""
        for unwrap in self._unwrap:
            unwrap()
        self._unwrap = []

    def begin_update(self) -> None:
        """Forget the update before: the ratios are asked for anew at the first step."""
        self.ran, self._ratios = {}, None

    def note_others(self) -> None:
        """Take it that optimizers whose steps are not watched ran at the rates that they have now."""
        for optimizer in self._others:
            self._note(group for group in optimizer.param_groups if "lr" in group)

    def is_labelled(self, group: Group) -> bool:
        """Whether a group holds weights of the policy: the entropy coefficient is none."""
        parameters = group["params"]
        return bool(parameters) and id(parameters[0]) in self._labels

    def _note(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self.ran[id(group)] = group, group["lr"]

    def _step(self, optimizer: torch.optim.Optimizer, step: Callable[[], Any]) -> Any:
        groups = optimizer.param_groups
        # A training that was interrupted leaves its wrappers. A wrapper of an optimizer has the same groups.
        if not self._applied.in_force or id(groups) in self._under_way:
            return step()
        if self._ratios is None:
            self._ratios = self._applied.ratios(self.parts)
        if not self._ratios or self._ratios.keys().isdisjoint(self._held_by(groups)):
            result = step()
            # A hook of somebody else's may have set another rate within the step.
            self._note(groups)
            return result
        self._note(groups)
        whole = list(groups)
        cut = [self._cut(group) for group in whole]
        # In place: a wrapper, or a scheduler of torch's, holds the same list.
        groups[:] = [piece for pieces in cut for piece in pieces]
        self._under_way.add(id(groups))
        try:
            return step()
        finally:
            self._under_way.remove(id(groups))
            groups[:] = whole
            for group, pieces in zip(whole, cut):
                # Some optimizers count their steps in their groups.
                group.update({key: value for key, value in pieces[0].items() if key not in ("params", "lr")})

    def _held_by(self, groups: list[Group]) -> set[str]:
        """Return the parts in groups of one optimizer; to look at every parameter of every step takes too long."""
        key = tuple([(id(group["params"][0]), len(group["params"])) for group in groups if group["params"]])
        if key not in self._held:
            self._held[key] = {self._labels.get(id(p), OUTSIDE) for group in groups for p in group["params"]}
        return self._held[key]

    def _cut(self, group: Group) -> list[Group]:
        by_part: dict[str, list[torch.Tensor]] = {}
        for parameter in group["params"]:
            by_part.setdefault(self._labels.get(id(parameter), OUTSIDE), []).append(parameter)
        ratios = self._ratios or {}
        rates = {part: group["lr"] * ratios.get(part, 1.0) for part in by_part}
        if OUTSIDE in rates and group["lr"] != self._applied.set_for_all:
            # Whose rate SB3 never sets, it is the user's own.
            rates[OUTSIDE] = group["lr"]
        return [{**group, "params": by_part[part], "lr": rate} for part, rate in rates.items()] or [group]


class WhileStepping:
    """A factor on all rates of one optimizer. It holds neither the optimizer nor its owner."""

    def __init__(self) -> None:
        self.factor = 1.0
        self.owner: Callable[[], object] = lambda: None  # returns whose factor it is, None if there is no such owner
        # Since the latest complaints: whether it has stepped, and whether another has set a rate within a step.
        self._stepped = self._overwritten = False
        self._under_way = False

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> WhileStepping:
        """Return the one there is for an optimizer; copies of the optimizer have none yet."""
        rates = _OF.setdefault(optimizer, cls())
        if not _surrounds(rates._multiply, optimizer):
            _surround_step(optimizer, rates._multiply)
        return rates

    def complaints(self, moved: bool) -> list[str]:
        """Return in words why the factor has not reached the weights, which may have moved, since the last call."""
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

    def _multiply(self, optimizer: torch.optim.Optimizer, step: Callable[[], Any]) -> Any:
        self._stepped = True
        # A step may be surrounded twice, where a function in between hands on no attributes.
        if self.factor == 1 or self._under_way:
            return step()
        # All rates are computed before any is set: groups may share a tensor.
        rates = [(group, copied(group["lr"]), group["lr"] * self.factor) for group in optimizer.param_groups]
        for group, _, applied in rates:
            set_rate(group, applied)
        multiplied = [(group, plain, group["lr"]) for group, plain, _ in rates]
        self._under_way = True
        try:
            return step()
        finally:
            self._under_way = False
            for group, plain, applied in multiplied:
                rate = group["lr"]
                if rate is applied or (not isinstance(rate, torch.Tensor) and rate == applied):
                    set_rate(group, plain)
                else:
                    self._overwritten = True


_OF: weakref.WeakKeyDictionary[torch.optim.Optimizer, WhileStepping] = weakref.WeakKeyDictionary()


def _surround_step(optimizer: torch.optim.Optimizer, surrounding: Surrounding) -> Callable[[], None]:
    """Wrap ``optimizer.step``, as torch calls no hook after a step that has failed; return what unwraps it."""
    step: Any = optimizer.step
    # What others leave there may be bound to nothing, or to an object of theirs.
    is_bound = getattr(step, "__self__", None) is optimizer
    function, before = step.__func__ if is_bound else step, vars(optimizer).get("step")

    @wraps(function)
    def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        return surrounding(optimizer, lambda: function(*((optimizer, *args) if is_bound else args), **kwargs))

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


def _surrounds(surrounding: Surrounding, optimizer: torch.optim.Optimizer) -> bool:
    """Whether this one surrounds the step. Torch's schedulers, which wrap it too, hand on its attributes."""
    return getattr(optimizer.step, "surrounding", None) == surrounding


def copied(rate: Any) -> Any:
    """Return a rate that no other can change."""
    return rate.detach().clone() if isinstance(rate, torch.Tensor) else rate


@torch.no_grad()
def set_rate(group: Group, rate: Any) -> None:
    """Set the rate of a group, in its tensor if it is one: compiled and captured steps read that tensor."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].copy_(torch.as_tensor(rate))
    else:
        group["lr"] = rate
