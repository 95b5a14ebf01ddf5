"""A learning rate for each network, where stable-baselines3 has one for all.

A torch optimizer has a rate a group. Groups that hold several networks are cut, one group a part, and a
hook before each step multiplies the rates that SB3 has set. What a step computes for a tensor does not
depend on the group it is in, and state is kept by tensor. With all rates alike every optimizer is as it was found.
To a zip, and whenever state is loaded, an optimizer shows the groups that it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks.norms import labels
from rl_abel.networks.optimizers import optimizers

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Group = dict[str, Any]


class PartRates:
    """The optimizers of one model, each of its groups with the rate of one part.

    :param model: whose optimizers they are; found anew by :meth:`find`
    :param ratio: returns what the rate of a part is, over that of parameters of no part (the part None)
    :param in_force: whether the training that this was made for still goes on
    """

    def __init__(
        self, model: BaseAlgorithm, ratio: Callable[[str | None], float], in_force: Callable[[], bool]
    ) -> None:
        self._model, self._ratio, self._in_force = model, ratio, in_force
        self.parts: set[str] = set()
        """Parts whose rates can be moved apart: those that optimizers of torch own."""
        self.stepped = False
        """Whether any optimizer of a part has stepped since the last :meth:`end_update`."""
        self._labels: dict[int, str] = {}
        self._cut: dict[int, SplitOptimizer] = {}
        # Of this update: what each part's rate is multiplied by, and of each group the rate without and with that.
        self._ratios: dict[str | None, float] = {}
        self._rates: dict[int, tuple[float, float]] = {}

    def find(self, apart: bool) -> None:
        """Take in the optimizers that the model has now, and let go of those that it had.

        :param apart: whether rates of parts differ; if not, none is taken in
        """
        self._labels = labels(self._model)
        self._known = {*self._labels.values(), None}
        found = {id(o): (o, parts) for o in optimizers(self._model) if (parts := self._parts_in(o))}
        self.parts = set().union(*(parts for _, parts in found.values()))
        wanted = {key: optimizer for key, (optimizer, _) in found.items() if apart}
        for key in [key for key, cut in self._cut.items() if wanted.get(key) is not cut.optimizer]:
            self._let_go(key)
        new = [SplitOptimizer(optimizer) for key, optimizer in wanted.items() if key not in self._cut]
        # All of them before any is cut: a wrapper has the groups of what it wraps.
        self._cut.update((id(cut.optimizer), cut) for cut in new)
        for cut in new:
            self._divide(cut)
            cut.handles += [
                cut.optimizer.register_step_pre_hook(self._before_step),
                cut.optimizer.register_state_dict_post_hook(self._to_save),
                cut.optimizer.register_load_state_dict_pre_hook(self._before_load),
                cut.optimizer.register_load_state_dict_post_hook(self._after_load),
            ]

    def end_update(self) -> None:
        """Give every group the rate back that SB3 has set."""
        if self._rates:
            for cut in self._cut.values():
                for group in cut.optimizer.param_groups:
                    group["lr"] = self.plain(group)
        self._ratios, self._rates, self.stepped = {}, {}, False

    def release(self) -> None:
        """Leave every optimizer as it was found."""
        self.end_update()
        for key in list(self._cut):
            self._let_go(key)

    def _parts_in(self, optimizer: object) -> set[str]:
        if not isinstance(optimizer, torch.optim.Optimizer):
            return set()
        owned = (id(p) for group in optimizer.param_groups for p in group["params"])
        return {self._labels[key] for key in owned if key in self._labels}

    def _let_go(self, key: int) -> None:
        cut = self._cut.pop(key)
        for handle in cut.handles:
            handle.remove()
        cut.optimizer.param_groups[:] = self._whole(cut)

    def _divide(self, cut: SplitOptimizer) -> None:
        groups = []
        for group in cut.optimizer.param_groups:
            by_part: dict[str | None, list[torch.Tensor]] = {}
            for parameter in group["params"]:
                by_part.setdefault(self._labels.get(id(parameter)), []).append(parameter)
            whole = len(by_part) < 2
            groups += [group] if whole else [{**group, "params": params} for params in by_part.values()]
        # In place: a wrapper, or a scheduler of torch's, holds the same list.
        cut.optimizer.param_groups[:] = groups

    def _whole(self, cut: SplitOptimizer) -> list[Group]:
        """The groups as they were before they were cut; those added since stay as they are."""
        origin = {id(p): index for index, params in enumerate(cut.params) for p in params}
        wholes: dict[object, list[Group]] = {}
        for group in cut.optimizer.param_groups:
            first = group["params"][0] if group["params"] else None
            wholes.setdefault(origin.get(id(first), object()), []).append(group)
        return [self._join(groups, cut.params[key] if isinstance(key, int) else []) for key, groups in wholes.items()]

    def _join(self, groups: Sequence[Group], order: Sequence[torch.Tensor]) -> Group:
        if len(groups) == 1:
            return groups[0]
        there = {id(p): p for group in groups for p in group["params"]}
        ordered = {id(p): p for p in order if id(p) in there}
        return {**groups[0], "lr": self.plain(groups[0]), "params": list((ordered | there).values())}

    def plain(self, group: Group) -> float:
        """The rate of a group as SB3 has set it."""
        plain, written = self._rates.get(id(group), (group["lr"], group["lr"]))
        # What was set since then is nobody's product.
        return plain if group["lr"] == written else group["lr"]

    # Hooks of torch's

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not self._in_force():
            # A training that was interrupted within an update is trained on without us.
            self.release()
            return
        self.stepped = True
        if not self._ratios:
            self._ratios = {part: self._ratio(part) for part in self._known}
        for group in optimizer.param_groups:
            plain, written = self._rates.get(id(group), (None, None))
            if plain is not None and group["lr"] == written:
                continue
            part = self._labels.get(id(group["params"][0])) if group["params"] else None
            rate = group["lr"]
            # To the last bit the rate that SB3 has set, where there is nothing to multiply.
            group["lr"] = rate if self._ratios[part] == 1 else rate * self._ratios[part]
            self._rates[id(group)] = rate, group["lr"]

    def _to_save(self, optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
        cut = self._cut[id(optimizer)]
        wholes = self._whole(cut)
        number = {id(p): index for index, p in enumerate(p for group in wholes for p in group["params"])}
        now = [id(p) for group in optimizer.param_groups for p in group["params"]]
        renumbered = {index: number[key] for index, key in enumerate(dict.fromkeys(now))}
        groups = []
        for group in wholes:
            # Keys in the order of torch's own.
            packed = {key: value for key, value in group.items() if key != "params"}
            groups.append({**packed, "lr": self.plain(group), "params": [number[id(p)] for p in group["params"]]})
        state = {renumbered.get(key, key): value for key, value in saved["state"].items()}
        # The order of torch's own: by number.
        state = dict(sorted(state.items(), key=lambda item: (isinstance(item[0], str), item[0])))
        return {**saved, "state": state, "param_groups": groups}

    def _before_load(self, optimizer: torch.optim.Optimizer, _: dict[str, Any]) -> None:
        optimizer.param_groups[:] = self._whole(self._cut[id(optimizer)])

    def _after_load(self, optimizer: torch.optim.Optimizer) -> None:
        self._divide(self._cut[id(optimizer)])


class SplitOptimizer:
    """One optimizer, and the parameters of its groups as they were found."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.params = [list(group["params"]) for group in optimizer.param_groups]
        self.handles: list[Any] = []
