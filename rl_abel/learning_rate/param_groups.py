"""A learning rate for each network, where stable-baselines3 has one for all.

A torch optimizer has one rate per group, and a group may hold several networks. So each step runs on groups
that are cut by part, each at the rate of its part. Before and after the step an optimizer is as SB3 made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rl_abel.learning_rate.while_stepping import surround_step, surrounds

Group = dict[str, Any]


class SteppedRates:
    """The rates that the optimizers of one model step at.

    :param ratio: returns what the rate of a part is, over the rate that SB3 has set
    :param in_force: whether the training that this was made for still goes on
    """

    def __init__(self, ratio: Callable[[str], float], in_force: Callable[[], bool]) -> None:
        self._ratio, self._in_force = ratio, in_force
        self.parts: set[str] = set()  # parts that an optimizer of torch owns: their rates can be moved apart
        # Groups that have stepped in this update, by id, each with the rate that SB3 had set
        self.ran: dict[int, tuple[Group, float]] = {}
        self._labels: Mapping[int, str] = {}
        self._ratios: dict[str | None, float] = {}
        self._others: list[Any] = []
        self._unwrap: list[Callable[[], None]] = []
        self._under_way: set[int] = set()

    def look(self, optimizers: Iterable[Any], labels: Mapping[int, str]) -> None:
        """Watch these optimizers, and no longer those from before.

        :param labels: the part of each parameter, by the parameter's id
        """
        self.release()
        torchs = [optimizer for optimizer in optimizers if isinstance(optimizer, torch.optim.Optimizer)]
        # Objects of other classes may be pickled with all that they hold, so they are not wrapped.
        self._others = [optimizer for optimizer in optimizers if optimizer not in torchs]
        owned = (id(p) for optimizer in torchs for group in optimizer.param_groups for p in group["params"])
        self._labels, self.parts = labels, {labels[key] for key in owned if key in labels}
        for optimizer in torchs:
            if not surrounds(self._step, optimizer):
                self._unwrap.append(surround_step(optimizer, self._step))

    def release(self) -> None:
        """Leave every optimizer as it was found."""
        for unwrap in self._unwrap:
            unwrap()
        self._unwrap = []

    def begin_update(self) -> None:
        """Forget the update before: the ratios are asked for anew at the first step."""
        self.ran, self._ratios = {}, {}

    def note_others(self) -> None:
        """Take it that optimizers whose steps cannot be watched ran at the rates that they have now."""
        for optimizer in self._others:
            self.ran.update((id(group), (group, group["lr"])) for group in optimizer.param_groups if "lr" in group)

    def is_labelled(self, group: Group) -> bool:
        """Whether a group holds weights of the policy: the entropy coefficient is none."""
        return any(id(p) in self._labels for p in group["params"][:1])

    @contextmanager
    def _step(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        groups = optimizer.param_groups
        # A training that was interrupted leaves its wrappers. A wrapper of an optimizer has the same groups.
        if not self._in_force() or id(groups) in self._under_way:
            yield
            return
        self.ran.update((id(group), (group, group["lr"])) for group in groups)
        if not self._ratios:
            self._ratios = {part: self._ratio(part) for part in self.parts} | {None: 1.0}
        if all(ratio == 1 for ratio in self._ratios.values()):
            yield
            # A hook of somebody else's may have set another rate within the step.
            self.ran.update((id(group), (group, group["lr"])) for group in groups)
            return
        whole = list(groups)
        cut = [self._cut(group) for group in whole]
        given = [dict(pieces[0]) for pieces in cut]
        # In place: a wrapper, or a scheduler of torch's, holds the same list.
        groups[:] = [piece for pieces in cut for piece in pieces]
        self._under_way.add(id(groups))
        try:
            yield
        finally:
            self._under_way.remove(id(groups))
            groups[:] = whole
            for group, pieces, before in zip(whole, cut, given):
                # Some optimizers count their steps in their groups.
                group.update({key: value for key, value in pieces[0].items() if value is not before.get(key)})

    def _cut(self, group: Group) -> list[Group]:
        by_part: dict[str | None, list[torch.Tensor]] = {}
        for parameter in group["params"]:
            by_part.setdefault(self._labels.get(id(parameter)), []).append(parameter)
        pieces = [
            {**group, "params": params, "lr": group["lr"] * self._ratios.get(part, 1.0)}
            for part, params in by_part.items()
        ]
        return pieces or [group]
