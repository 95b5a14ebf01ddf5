"""Where a callback of ours can be: on the top level of ``learn(callback=...)``, alone of its kind, in a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback, EveryNTimesteps

from rl_abel._validation import written


class Portable:
    """A callback that can be pickled and copied at any time: a copy keeps what was decided, not what is under way.

    A model and its environment cannot always be copied: a copy is given its own by the next ``learn()``.
    """

    PASSING: ClassVar[tuple[str, ...]] = ("model", "locals", "globals", "parent")
    """Attributes of one ``learn()``, which a copy goes without."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.PASSING}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, locals={}, globals={}, parent=None)

    def __copy__(self) -> Self:
        # A shallow one would write into what the original holds.
        return copy.deepcopy(self)


def as_given(callback: BaseCallback) -> BaseCallback:
    """Return what the user has written: a list of a class of its own (``AutoLearningRate``) for what is in it."""
    return callback.parent if isinstance(callback.parent, CallbackList) else callback


def refuse_to_be_a_child(callback: BaseCallback, root: object) -> None:
    """Refuse a place inside a callback that passes on steps and no rollouts: ``EvalCallback``, ``EveryNTimesteps``.

    :param root: what ``learn()`` was given; anything else tells nothing
    :raises ValueError: if the callback is in such a place; the message says what to do instead
    """
    given = as_given(callback)
    above = given.parent if isinstance(given.parent, EventCallback) else None
    if above is None and isinstance(root, BaseCallback):
        above = next((event for event in _events(root) if any(below is given for below in _below(event))), None)
    if above is not None:
        raise misplaced(given, above)


def misplaced(callback: BaseCallback, above: BaseCallback | None) -> ValueError:
    """Return the error that says where to put the callback instead.

    :param above: which it is in, None where that is not known
    """
    given = as_given(callback)
    where = "another callback" if above is None else type(above).__name__
    beside = f", {'your_other_callback' if above is None else where + '(...)'}"
    if isinstance(above, EveryNTimesteps) and above.callback is given:
        # Which is nothing without it.
        beside = ""
    return ValueError(
        f"{type(given).__name__} cannot work inside {where}, which passes on steps but no rollouts. "
        f"Put it beside: model.learn(..., callback=[{written(given)}{beside}])"
    )


def require_alone(kind: type[BaseCallback], root: object) -> None:
    """Refuse two callbacks of this kind in the tree of those that ``learn()`` was given.

    :raises ValueError: if there is more than one
    """
    found = _of_kind(kind, root) if isinstance(root, BaseCallback) else []
    if len(found) > 1:
        names = " and ".join(type(as_given(callback)).__name__ for callback in found)
        raise ValueError(f"one {kind.__name__} a model, got {names}: two would overwrite each other's learning rate")


def _of_kind(kind: type[BaseCallback], root: BaseCallback) -> list[BaseCallback]:
    # By identity: a callback that is a dataclass has no hash.
    found = {id(callback): callback for callback in (root, *_below(root)) if isinstance(callback, kind)}
    return list(found.values())


def _events(root: BaseCallback) -> Iterator[EventCallback]:
    yield from (callback for callback in (root, *_below(root)) if isinstance(callback, EventCallback))


def _below(callback: BaseCallback, depth: int = 10) -> list[BaseCallback]:
    """Callbacks that this one holds, however deep."""
    if isinstance(callback, CallbackList):
        children = list(callback.callbacks)
    else:
        held = {name: value for name, value in vars(callback).items() if name != "parent"}
        children = [value for value in held.values() if isinstance(value, BaseCallback)]
    if depth == 0:
        return children
    return [*children, *(below for child in children for below in _below(child, depth - 1))]
