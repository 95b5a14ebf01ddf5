"""Which training a model is in: one that goes on, or one that begins here with a budget of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rl_abel.budget import Clock, began_anew
from rl_abel.memory import ATTRIBUTE, UNKNOWN, Memory, kept_by_others, kept_by_others_alone
from rl_abel.spacing import default_interval

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Recalled(NamedTuple):
    """What a model remembers at the start of a ``learn()``.

    :param memory: of this training, empty where the model is new or was reset
    :param fresh: whether nothing before counts
    :param finer: whether measurements come at a smaller distance than those in the trace
    :param begins: whether a training begins here, or goes on
    :param unreadable: whether the model had a memory that this version cannot read
    """

    memory: Memory
    fresh: bool
    finer: bool
    begins: bool
    unreadable: bool


def clock(model: BaseAlgorithm) -> Clock:
    """Return what SB3 has counted in the model's life; an algorithm of the user's own may count no updates."""
    return Clock(model.num_timesteps, int(getattr(model, "_n_updates", 0)))


def recall(model: BaseAlgorithm, measure_every: int | None) -> Recalled:
    """Return the memory of the training that a model is in, and keep it in the model.

    Where the budget ends where it ended before, a training is resumed. A budget that ends elsewhere
    is another training: it begins now, and has a progress, a final decay and an interval of its own.
    Decays by a bounce stay. After a reset everything begins anew.

    :param measure_every: the user's; None for the default, which a resumed training keeps as it is
    """
    now, kept = clock(model), getattr(model, ATTRIBUTE, None)
    total = getattr(model, "_total_timesteps", 0)
    # SB3 trains without an end where it is told infinity.
    end = int(total) or None if math.isfinite(total) else None
    memory = Memory.read(kept) if now.timesteps else None
    unreadable = memory is None and kept is not None and now.timesteps > 0 and not kept_by_others_alone(kept)
    if memory is not None and began_anew(Clock(*memory.data["begin"]), Clock(*memory.data["seen"]), now):
        memory = None
    fresh = memory is None
    if memory is None:
        memory = Memory.empty(now, end)
        memory.data.update(kept_by_others(kept))
    before = memory.data["measure_every"]
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
    return Recalled(memory, fresh, finer, begins, unreadable)
