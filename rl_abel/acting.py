"""What a decay acts on: the learning rate, the batch in its place, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Action(Protocol):
    """Puts decays in force on one model in one ``learn()``."""

    def rate(self, factor: float) -> float:
        """Return what of the product of the decays is left to the learning rate, and take the rest."""

    def begin_update(self) -> None:
        """Put in force what was taken, before SB3 updates the weights."""

    def end_update(self) -> None:
        """Leave the model, between updates, as it is without us."""

    @property
    def status(self) -> dict[str, float]:
        """What is in force beside the rate, by name in the logs."""


class OnRate:
    """The paper's: all of a decay is the learning rate's."""

    status: dict[str, float] = {}  # noqa: RUF012

    def rate(self, factor: float) -> float:
        """Return all of it."""
        return factor

    def begin_update(self) -> None:
        """There is nothing to do."""

    def end_update(self) -> None:
        """There is nothing to do."""


ACTIONS = ("learning_rate",)


def make_action(name: str, model: BaseAlgorithm) -> Action:
    """Return what a decay acts on.

    :param name: one of :data:`ACTIONS`
    :param model: in training
    """
    return OnRate()
