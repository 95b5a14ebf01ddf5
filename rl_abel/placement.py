"""Where the callback can stand: on the top level of ``learn(callback=...)``, and alone of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from stable_baselines3.common.callbacks import BaseCallback, CallbackList


def refuse_to_be_a_child(parent: BaseCallback | None) -> NoReturn:
    """Say what to do instead.

    :param parent: None where a list in a list hides it
    :raises ValueError: always
    """
    where = "another callback" if parent is None else type(parent).__name__
    raise ValueError(
        f"AbelCallback cannot work inside {where}, which passes on steps but no rollouts. "
        "Put it beside: model.learn(..., callback=[AbelCallback(), your_other_callback])"
    )


def require_alone(kind: type[BaseCallback], root: BaseCallback | None) -> None:
    """Refuse two callbacks of this kind in the tree of those that ``learn()`` was given.

    :raises ValueError: if there is more than one
    """
    if sum(isinstance(callback, kind) for callback in _flatten(root)) > 1:
        raise ValueError("one AbelCallback a model: two would overwrite each other's learning rate")


def _flatten(callback: BaseCallback | None) -> Iterator[BaseCallback]:
    if isinstance(callback, CallbackList):
        for child in callback.callbacks:
            yield from _flatten(child)
    elif callback is not None:
        yield callback
