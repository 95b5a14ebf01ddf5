"""Sees which rates the optimizers of a model ran at, and which others have set there in vain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rl_abel.networks.optimizers import optimizers

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

TOLERANCE = 1e-6

Group = dict[str, Any]


class Verification:
    """Rates in the parameter groups of one model in one ``learn()``.

    :param model: whose optimizers are looked for at each :meth:`look`
    :param plain: returns the rate of a group without what is ours for its part alone
    """

    def __init__(self, model: BaseAlgorithm, plain: Callable[[Group], float]) -> None:
        self._model, self._plain = model, plain
        self._optimizers: list[Any] = []
        # Groups, each with the rate that our latest look found; by its id each that has the schedule's, with itself, or
        # another could take its id; and the rate that the update under way runs at.
        self._noted: list[tuple[Group, float]] = []
        self._follow: dict[int, Group] = {}
        self._ran: dict[int, float] = {}
        # By parameter, as groups may be cut: what its rate was over the schedule's.
        self._multiples: dict[torch.Tensor, float] = {}
        self._handles: list[Any] = []

    def look(self) -> None:
        """Find the optimizers that the model has now, and note the rates of groups that are new."""
        self._optimizers = optimizers(self._model)
        before = self._noted
        rates = {id(group): rate for group, rate in before}
        self.note()
        self._noted = [(group, rates.get(id(group), rate)) for group, rate in self._noted]

    def note(self) -> None:
        """Note the rates as they are: what differs from them later another has set."""
        self._noted = [
            (group, group["lr"]) for optimizer in self._optimizers for group in optimizer.param_groups if "lr" in group
        ]

    def begin(self, closely: bool) -> None:
        """An update begins.

        :param closely: whether the rates of its first step are to be noted, for :meth:`verify`
        """
        self.end()
        if self._ran:
            self._ran = {}
        if closely:
            torchs = [o for o in self._optimizers if isinstance(o, torch.optim.Optimizer)]
            self._handles = [optimizer.register_step_post_hook(self._note_step) for optimizer in torchs]

    def end(self) -> None:
        """The update has ended."""
        if self._handles:
            for handle in self._handles:
                handle.remove()
            self._handles = []

    def set_by_others(self, scheduled: float | None) -> str | None:
        """Return in words what SB3 is about to overwrite, None if nothing.

        :param scheduled: the rate that SB3 has set before, None if that is not known
        """
        # At nearly every update there are none: this has to be quick.
        doubtful = [(group, noted) for group, noted in self._noted if not group["lr"] == noted == scheduled]
        if not doubtful:
            return None
        # State that was loaded comes in groups of its own, which were not noted, and has the rate of its time.
        now = {id(group) for optimizer in self._optimizers for group in optimizer.param_groups}
        lost = [
            group["lr"]
            for group, noted in doubtful
            if id(group) in now
            and group["lr"] != (noted if scheduled is None or id(group) not in self._follow else scheduled)
        ]
        if not lost:
            return None
        return (
            f"the learning rate of {len(lost)} parameter groups was set to {_list(lost)} in mid-training, which "
            "moves nothing: before each update stable-baselines3 sets it from model.lr_schedule. Wrap that, or use "
            "RateByPart for a rate of each network"
        )

    def verify(self, groups: Sequence[Group], asked: tuple[float, float] | None, moves: bool) -> str | None:
        """Compare the rates of the last update with those that were promised; return what is wrong, None if nothing.

        A group may have a rate of its own, as long as it stays the same multiple of the schedule's.

        :param groups: of the measured weights
        :param asked: the user's rate and the applied one, as the update asked for it; None if it did not
        :param moves: whether any factor is not 1
        """
        rates = [float(self._ran[id(group)] if id(group) in self._ran else group["lr"]) for group in groups]
        # What the update was told is what counts: the user's schedule is not asked again, it may count its calls.
        if asked is None:
            return _lost(rates, len(groups)) if rates and moves else None
        plain, scheduled = asked
        if scheduled <= 0:
            return None
        multiples = [rate / scheduled for rate in rates]
        self._follow = {id(group): group for group, rate in zip(groups, rates) if rate == scheduled}
        before = [self._multiples.get(group["params"][0]) for group in groups]
        if None in before:
            self._multiples = {p: multiple for group, multiple in zip(groups, multiples) for p in group["params"]}
            lost = [rate for rate in rates if not _near(plain, scheduled) and _near(rate, plain)]
        else:
            lost = [
                rate for rate, now, then in zip(rates, multiples, before) if then is not None and not _near(now, then)
            ]
        return _lost(lost, len(groups), f"with the decays the schedule says {scheduled:g}, ") if lost else None

    def _note_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # What others set after the update is not what it ran at.
        for group in optimizer.param_groups:
            self._ran.setdefault(id(group), self._plain(group))


def _lost(rates: Sequence[float], of: int, scheduled: str = "") -> str:
    return (
        f"the learning rate of {len(rates)} of {of} parameter groups does not follow: {scheduled}the last update ran "
        f"at {_list(rates)}. Something else sets it: a callback that sets lr_schedule after ours has (then list ours "
        "last), or an algorithm with a rate of its own."
    )


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{float(rate):g}" for rate in dict.fromkeys(rates))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
