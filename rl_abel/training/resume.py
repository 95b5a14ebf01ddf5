"""Which training a model is in: one that goes on, or one that begins here with a budget of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from rl_abel.rules.budget import Clock
from rl_abel.training.measure_interval import default_interval
from rl_abel.training.state import ATTRIBUTE, UNKNOWN, TrainingState, kept_by_others, kept_by_others_alone

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_BUFFERS: WeakKeyDictionary[BaseAlgorithm, dict[str, Any]] = WeakKeyDictionary()
"""Of models in memory, by who has looked: the buffer of successes, which SB3 exchanges at a reset alone."""


class Recalled(NamedTuple):
    """What a model remembers at the start of a ``learn()``.

    :param memory: of this training, empty where the model is new or was reset
    :param fresh: whether nothing before counts
    :param finer: whether measurements come at a smaller distance than those in the trace
    :param begins: whether a training begins here, or goes on
    :param unreadable: whether the model had a memory that this version cannot read
    :param doubtful: whether it may have been reset since, which cannot be told
    """

    memory: TrainingState
    fresh: bool
    finer: bool
    begins: bool
    unreadable: bool
    doubtful: bool


DOUBTFUL = (
    "this model was saved, loaded and trained on without the callback, and it cannot be told whether with a reset. "
    "What was decided before stays; learn(reset_num_timesteps=True) begins anew"
)


def clock(model: BaseAlgorithm) -> Clock:
    """Return what SB3 has counted in the model's life; an algorithm of the user's own may count no updates."""
    return Clock(model.num_timesteps, int(getattr(model, "_n_updates", 0)))


def look(model: BaseAlgorithm, who: str) -> list[Any]:
    """Return what tells later if a model was reset: its timesteps, updates, and the episode that ended last.

    :param who: has looked, and asks later
    """
    _BUFFERS.setdefault(model, {})[who] = getattr(model, "ep_success_buffer", None)
    episode: Any = model.ep_info_buffer[-1] if model.ep_info_buffer else {}
    # Without the time at which it ended it may be told from no other: ARS notes none.
    return [*clock(model), str(episode) if "t" in episode else ""]


def goes_on(model: BaseAlgorithm, who: str, seen: list[Any]) -> bool | None:
    """Whether a model is still in the training in which it was looked at; None where that cannot be told.

    SB3 counts updates over any reset, and others may change how many there are: they tell nothing. A reset
    exchanges the buffers of episodes: told by what they are, after a load by what they hold.

    :param seen: what :func:`look` returned
    """
    now, (timesteps, updates, *episode) = clock(model), seen
    if now.timesteps == 0 or now.timesteps < timesteps or now.updates < updates:
        return False
    known = _BUFFERS.get(model, {}).get(who)
    if known is not None:
        return known is getattr(model, "ep_success_buffer", None)
    if now.updates == updates or not episode:
        # Saved as it was seen, or by a version that noted no episode.
        return True
    if not any(episode):
        return None
    buffer: Any = model.ep_info_buffer or []
    if episode[0] in map(str, buffer):
        return True
    # One that is full drops its oldest.
    return None if len(buffer) >= (getattr(buffer, "maxlen", None) or 0) else False


def recall(model: BaseAlgorithm, measure_every: int | None) -> Recalled:
    """Return the memory of the training that a model is in, and keep it in the model.

    Where the budget ends where it ended before, a training is resumed. A budget that ends elsewhere
    is another training: it begins now, and has a progress, a final decay and an interval of its own.
    Decays by a bounce stay. After a reset everything begins anew.

    :param measure_every: the user's; None for the default, which a resumed training keeps as it is
    """
    now, kept = clock(model), getattr(model, ATTRIBUTE, None)
    total = getattr(model, "_total_timesteps", 0)
    end = int(total) or None if math.isfinite(total) else None
    memory = TrainingState.read(kept) if now.timesteps else None
    unreadable = memory is None and kept is not None and now.timesteps > 0 and not kept_by_others_alone(kept)
    on = memory is not None and goes_on(model, "abel", memory.data["seen"])
    if on is False:
        memory = None
    fresh = memory is None
    if memory is None:
        memory = TrainingState.empty(now, end)
        memory.data.update(kept_by_others(kept))
    before = memory.data["measure_every"]
    memory.data["seen"] = look(model, "abel")
    begins = fresh or memory.data["end"] not in (end, UNKNOWN)
    memory.data["end"] = end
    if begins:
        memory.data["begin"] = list(now)
        memory.lift_final_decay()
    if measure_every is not None:
        memory.data.update(measure_every=measure_every, auto=False)
    elif begins:
        interval = max(default_interval(model, memory.budget), memory.data["least_interval"])
        memory.data.update(measure_every=interval, auto=True)
    setattr(model, ATTRIBUTE, memory.data)
    finer = bool(memory.data["trace"]) and memory.data["measure_every"] < before
    return Recalled(memory, fresh, finer, begins, unreadable, on is None)
