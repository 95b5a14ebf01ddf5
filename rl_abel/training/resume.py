"""Which training a model is in: one that goes on, or one that begins here with a budget of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from rl_abel.rules.budget import Clock
from rl_abel.training.measure_interval import default_interval
from rl_abel.training.state import ATTRIBUTE, TrainingState, decays_in, has_more_than_sections, kept_by_others

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

# The buffer of successes that each callback saw last on a model in memory. SB3 replaces it at a reset alone.
_BUFFERS: WeakKeyDictionary[BaseAlgorithm, dict[str, Any]] = WeakKeyDictionary()

DOUBTFUL = (
    "this model was saved, loaded and trained on without the callback, and it cannot be told whether with a reset. "
    "What was decided before stays; learn(reset_num_timesteps=True) begins anew"
)
UNREADABLE = (
    "what the model remembers is of another version, so the measurements begin anew; decays that can be read stay"
)


def clock(model: BaseAlgorithm) -> Clock:
    """Return what SB3 has counted in the model's life; an algorithm of the user's own may count no updates."""
    return Clock(model.num_timesteps, int(getattr(model, "_n_updates", 0)))


def look(model: BaseAlgorithm, who: str) -> list[Any]:
    """Return what tells later if a model was reset: its timesteps, updates, and the episode that ended last.

    :param who: name of the callback that will ask
    """
    _BUFFERS.setdefault(model, {})[who] = getattr(model, "ep_success_buffer", None)
    episode: Any = model.ep_info_buffer[-1] if model.ep_info_buffer else {}
    # An episode is known by the time at which it ended, which ARS does not note.
    return [*clock(model), str(episode) if "t" in episode else ""]


def goes_on(model: BaseAlgorithm, who: str, seen: list[Any]) -> bool | None:
    """Whether a model is still in the training in which it was looked at; None where that cannot be told.

    SB3 counts updates over any reset, so their number tells nothing. But a reset replaces the buffers of episodes.
    In memory the buffer is another object then; after a load it holds other episodes.

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
    # A full buffer drops its oldest episode.
    return None if len(buffer) >= (getattr(buffer, "maxlen", None) or 0) else False


def recall(model: BaseAlgorithm, measure_every: int | None, warn: Callable[[str, str], None]) -> TrainingState:
    """Return the state of the training that a model is in, and keep it in the model.

    A training is resumed if its budget ends where it ended before. With another end it is another training: it
    begins now, and has a progress, a final decay and an interval of its own. Decays stay. After a reset
    everything begins anew.

    :param measure_every: interval that the user has fixed; None for the default, which a resumed training keeps
    :param warn: called with a key and a message
    """
    now, kept = clock(model), getattr(model, ATTRIBUTE, None)
    total = getattr(model, "_total_timesteps", 0)
    end = int(total) or None if math.isfinite(total) else None
    state = TrainingState.read(kept) if now.timesteps else None
    same = state is not None and goes_on(model, "abel", state.data["seen"])
    if state is None or same is False:
        unreadable = state is None and now.timesteps > 0 and has_more_than_sections(kept)
        state, begins = TrainingState.empty(now), True
        state.data.update(kept_by_others(kept))
        if unreadable:
            state.decided = decays_in(kept)
            warn("unreadable", UNREADABLE)
    else:
        begins = state.data["end"] != end
        if same is None and (state.decided.decays or state.data["trace"]):
            warn("doubtful", DOUBTFUL)
    before = state.data["measure_every"]
    state.data.update(seen=look(model, "abel"), end=end)
    if begins:
        state.data["begin"] = list(now)
    if measure_every is not None:
        state.data.update(measure_every=measure_every, auto=False)
    elif begins:
        interval = max(default_interval(model, state.budget), state.data["least_interval"])
        state.data.update(measure_every=interval, auto=True)
    if state.data["measure_every"] < before:
        # Closer measurements grow by less, which is no end of a growth.
        state.forget()
    setattr(model, ATTRIBUTE, state.data)
    return state
