"""Whether optimizers ran at the rates that they were given, and what others have set there in vain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

TOLERANCE = 1e-6

Ran = Sequence[tuple[dict[str, Any], float]]  # parameter groups, each with the rate that it ran at


class Verification:
    """Tells which groups do not follow the schedule in the updates of one ``learn()``.

    A group may have a rate of its own, as long as it stays the same multiple of the schedule's.
    """

    def __init__(self) -> None:
        # By the first parameter of a group: its rate over the schedule's, where these differ.
        self._multiples: dict[torch.Tensor, float] = {}

    def lost(self, ran: Ran, plain: float, applied: float) -> list[float]:
        """Return the rates of groups that do not follow in one update.

        :param plain: the user's rate
        :param applied: the rate that the update was given
        """
        if applied <= 0:
            return []
        return [rate for group, rate in ran if rate != applied and self._is_lost(group, rate, plain, applied)]

    def _is_lost(self, group: dict[str, Any], rate: float, plain: float, applied: float) -> bool:
        before = self._multiples.get(group["params"][0])
        if plain != applied and before is not None:
            return not _near(rate / applied, before)
        self._multiples[group["params"][0]] = rate / applied
        return plain != applied and _near(rate, plain)


def overwritten(noted: Iterable[tuple[dict[str, Any], float]]) -> str | None:
    """Return in words what SB3 is about to overwrite, None if nothing.

    :param noted: groups that SB3 sets, each with the rate that it was left with
    """
    set_by_others = [group["lr"] for group, rate in noted if group["lr"] != rate]
    if not set_by_others:
        return None
    return (
        f"the learning rate of {len(set_by_others)} parameter groups was set to {_list(set_by_others)} in "
        "mid-training, which moves nothing: before each update stable-baselines3 sets it from model.lr_schedule. "
        "Wrap that, or use RateByPart for a rate of each network"
    )


def does_not_follow(lost: Sequence[float], of: int, applied: float | None) -> str:
    """Return in words that groups ran at other rates than they were given.

    :param of: how many groups there are
    :param applied: the rate that they were given, None where the update has not asked for one
    """
    scheduled = "" if applied is None else f"with the decays the schedule says {applied:g}, "
    return (
        f"the learning rate of {len(lost)} of {of} parameter groups does not follow: {scheduled}the last update ran "
        f"at {_list(lost)}. Something else sets it: a callback that sets lr_schedule after ours has (then list ours "
        "last), or an algorithm with a rate of its own."
    )


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{float(rate):g}" for rate in dict.fromkeys(rates))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
