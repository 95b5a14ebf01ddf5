"""Where the callback can stand: on the top level of ``learn(callback=...)``, and alone of its kind."""

from __future__ import annotations

from collections.abc import Iterator

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback


def refuse_to_be_a_child(callback: BaseCallback, root: object) -> None:
    """Refuse a place inside a callback that passes on steps and no rollouts: ``EvalCallback``, ``EveryNTimesteps``.

    :param root: what ``learn()`` was given; anything else tells nothing
    :raises ValueError: if the callback is in such a place; the message says what to do instead
    """
    above = callback.parent if isinstance(callback.parent, EventCallback) else None
    if above is None and isinstance(root, BaseCallback):
        above = next((event for event in _events(root) if any(below is callback for below in _below(event))), None)
    if above is not None:
        raise misplaced(callback, type(above).__name__)


def misplaced(callback: BaseCallback, where: str) -> ValueError:
    """Return the error that says where to put the callback instead."""
    name = type(callback).__name__
    return ValueError(
        f"{name} cannot work inside {where}, which passes on steps but no rollouts. "
        f"Put it beside: model.learn(..., callback=[{name}(), your_other_callback])"
    )


def require_alone(kind: type[BaseCallback], root: object) -> None:
    """Refuse two callbacks of this kind in the tree of those that ``learn()`` was given.

    :raises ValueError: if there is more than one
    """
    if isinstance(root, BaseCallback) and len(_of_kind(kind, root)) > 1:
        raise ValueError(f"one {kind.__name__} a model: two would overwrite each other's learning rate")


def _of_kind(kind: type[BaseCallback], root: BaseCallback) -> set[int]:
    # By identity: a callback that is a dataclass has no hash.
    return {id(callback) for callback in (root, *_below(root)) if isinstance(callback, kind)}


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
