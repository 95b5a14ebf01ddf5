"""The applied learning rate: holds the factor on a model's schedule, and checks that it arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl_abel.schedule import Scaled, unscaled

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

TOLERANCE = 1e-6


class AppliedRate:
    """The schedule of one model in one ``learn()``, multiplied.

    :param model: its ``lr_schedule`` may be replaced by others at any time: what they set is multiplied
    :param min_learning_rate: floor of the applied rate
    """

    def __init__(self, model: BaseAlgorithm, min_learning_rate: float) -> None:
        self._model, self._floor = model, min_learning_rate
        self._scaled: Scaled | None = None
        self._multiples: list[float] = []
        self._promised: float | None = None
        self._verified: float | None = None

    @property
    def held(self) -> bool:
        """Whether the model's schedule is still the one that was set here last."""
        return self._scaled is not None and self._model.lr_schedule is self._scaled

    @property
    def in_force(self) -> bool:
        """Whether the ``learn()`` that this was made for is still the latest."""
        return self._scaled is not None and self._scaled.in_force

    def hold(self, factor: float) -> None:
        """Multiply whatever schedule the model has now by the factor."""
        if self._scaled is not None:
            self._scaled.factor = factor
            if self.held:
                return
            # What has replaced it may call it: nothing may be multiplied twice.
            self._scaled.retired = True
        self._scaled = Scaled(unscaled(self._model.lr_schedule), factor, self._floor, self._model)
        self._model.lr_schedule = self._scaled

    def release(self) -> None:
        """Give the model its own schedule back."""
        self._model.lr_schedule = unscaled(self._model.lr_schedule)

    def begin_update(self) -> None:
        """Note what the update that begins now is promised; a decay within it is for the next."""
        self._promised = None
        if self._scaled:
            self._promised, self._scaled.asked = self._scaled.factor, None

    def to_verify(self) -> bool:
        """Whether the first update since a change of the factor, or of the schedule, is still to be looked at."""
        if self._scaled is None or self._promised != self._scaled.factor:
            return False
        return self._verified != self._promised or (self._promised < 1 and not self.held)

    def verify(self, groups: Sequence[Mapping[str, Any]]) -> str | None:
        """Compare the rates of the last update with those that were promised; return what is wrong, None if nothing.

        A group may have a rate of its own, as long as it stays the same multiple of the schedule's.

        :param groups: parameter groups of the measured weights, after an update
        """
        if self._scaled is None:
            return None
        self._verified = self._promised
        rates = [float(group["lr"]) for group in groups]
        # What the update was told is what counts: the user's schedule is not asked again, it may count its calls.
        if self._scaled.asked is None:
            return _lost(rates, len(groups)) if rates and self._scaled.factor < 1 else None
        plain, scheduled = self._scaled.asked
        if scheduled <= 0:
            return None
        multiples = [rate / scheduled for rate in rates]
        if len(multiples) != len(self._multiples):
            self._multiples = multiples
            decayed = not _near(plain, scheduled)
            lost = [rate for rate in rates if decayed and _near(rate, plain)]
        else:
            lost = [rate for rate, now, before in zip(rates, multiples, self._multiples) if not _near(now, before)]
        return _lost(lost, len(groups), f"with the decays the schedule says {scheduled:g}, ") if lost else None


def _lost(rates: Sequence[float], of: int, scheduled: str = "") -> str:
    return (
        f"the learning rate of {len(rates)} of {of} parameter groups does not follow: {scheduled}the last update ran "
        f"at {', '.join(f'{rate:g}' for rate in dict.fromkeys(rates))}. Something else sets it: a callback that sets "
        "lr_schedule after AbelCallback has (then list AbelCallback last), or an algorithm with a rate of its own."
    )


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
