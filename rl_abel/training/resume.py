"""Which training a model is in: one that goes on, or one that begins here with a budget of its own."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from stable_baselines3.common.base_class import BaseAlgorithm

from rl_abel.rules.budget import Clock
from rl_abel.rules.decay_controller import DecayState
from rl_abel.training.measure_interval import default_interval
from rl_abel.training.state import ATTRIBUTE, VERSION, TrainingState, kept_by_others

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
    """Return what tells the named callback later if a model was reset: its counts, and the episode that ended last."""
    _BUFFERS.setdefault(model, {})[who] = getattr(model, "ep_success_buffer", None)
    episode: Any = model.ep_info_buffer[-1] if model.ep_info_buffer else {}
    # An episode is known by the time at which it ended, which ARS does not note.
    return [*clock(model), str(episode) if "t" in episode else ""]


def goes_on(model: BaseAlgorithm, who: str, seen: list[Any]) -> bool | None:
    """Whether a model is still in the training in which :func:`look` saw it; None where that cannot be told.

    SB3 counts updates over any reset, so their number tells nothing. But a reset replaces the buffers of episodes.
    In memory the buffer is another object then; after a load it holds other episodes.
    """
    now, (timesteps, updates, episode) = clock(model), seen
    if now.timesteps == 0 or now.timesteps < timesteps or now.updates < updates:
        return False
    known = _BUFFERS.get(model, {}).get(who)
    if known is not None:
        return known is getattr(model, "ep_success_buffer", None)
    buffer: Any = model.ep_info_buffer or []
    if now.updates == updates or (episode and episode in map(str, buffer)):
        return True
    # A full buffer drops its oldest episode.
    is_full = len(buffer) >= (getattr(buffer, "maxlen", None) or 0)
    return None if is_full or not episode else False


def recall(model: BaseAlgorithm, measure_every: int | None, warn: Callable[[str, str], None]) -> TrainingState:
    """Return the state of the training that a model is in, and keep it in the model.

    A training is resumed if its budget ends where it ended before, and keeps a default interval. With another end it
    is another training: it begins now, with a progress, a final decay and an interval of its own. Decays stay. After
    a reset everything begins anew.
    """
    now, kept = clock(model), getattr(model, ATTRIBUTE, None)
    total = getattr(model, "_total_timesteps", 0)
    end = int(total) or None if math.isfinite(total) else None
    state = TrainingState.read(kept) if now.timesteps else None
    same = state is not None and goes_on(model, "abel", state.data["seen"])
    if state is None or same is False:
        others, is_unreadable = kept_by_others(kept), state is None and now.timesteps > 0
        state, begins = TrainingState.empty(now), True
        state.data.update(others)
        if is_unreadable and kept not in (None, {"version": VERSION, **others}):
            with suppress(KeyError, TypeError, ValueError):
                state.decided = DecayState.from_json({"decays": kept["decays"]})
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
