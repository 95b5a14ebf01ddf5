"""What is saved with a model: decays and trace of a training, as JSON values; and which training a model is in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from stable_baselines3.common.base_class import BaseAlgorithm

from rl_abel.networks.norms import with_total
from rl_abel.rules.decay_controller import DecayState
from rl_abel.rules.decays import Budget, Clock
from rl_abel.training.measure_interval import default_interval

ATTRIBUTE = "abel_state"  # SB3 saves all attributes of a model; JSON values load where rl_abel is not installed
VERSION = 2

HELD = "held"  # section with the user's own values of what was changed for the update under way; empty between updates
SECTIONS = ("kl", "budget", HELD)  # what others than AbelCallback keep there, each a dict under a name of its own
START = Clock(0, 0)

MOST_MEASUREMENTS = 200  # A longer trace is thinned to half, unless the user has fixed the interval

# The buffer of successes that each callback saw last on a model in memory. SB3 replaces it at a reset alone.
_BUFFERS: WeakKeyDictionary[BaseAlgorithm, dict[str, Any]] = WeakKeyDictionary()
_LATEST: list[tuple[Any, str]] = [(None, "")]  # the episode that was put in words last, and these

DOUBTFUL = (
    "this model was saved, loaded and trained on without the callback, and it cannot be told whether with a reset. "
    "What was decided before stays; learn(reset_num_timesteps=True) begins anew"
)
UNREADABLE = (
    "what the model remembers is of another version, so the measurements begin anew; decays that can be read stay"
)


class TrainingState:
    """A view of the JSON values that SB3 saves with the model; every change is in that dict at once."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self._decided = DecayState.from_json(data)

    @classmethod
    def empty(cls, begin: Clock = START) -> TrainingState:
        """Return the state of a training that has measured nothing yet."""
        data = {
            "version": VERSION,
            "begin": list(begin),
            "end": None,
            "seen": [*begin, ""],  # what look() returned last
            "n_updates": begin.updates,  # at the last measurement
            "measure_every": 1,
            "auto": False,  # whether that is our default, which may be less than a rollout
            "least_interval": 1,  # what a trace was thinned to: by default no later training measures more often
            "parts": [],
            "sizes": [],
            "trace": [],
            "starts": {},  # |w|^2 of each part at the first measurement
            "said": [],  # hints that were printed
        }
        return cls({**data, **DecayState().to_json()})

    @classmethod
    def read(cls, data: Any) -> TrainingState | None:
        """Return the state in a model's attribute, None where this version cannot read it."""
        if not isinstance(data, dict) or data.get("version") != VERSION or "trace" not in data:
            return None
        try:
            return cls(data)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    @property
    def decided(self) -> DecayState:
        """Decays in force, bounces seen, and what the rule knows."""
        return self._decided

    @decided.setter
    def decided(self, state: DecayState) -> None:
        if state != self._decided:
            self.data.update(state.to_json())
        self._decided = state

    @property
    def budget(self) -> Budget:
        """Timesteps of the training."""
        return Budget(int(self.data["begin"][0]), self.data["end"])

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Timesteps and |w|^2 by part, a list each, one entry a measurement."""
        rows = [json.loads(row) for row in self.data["trace"]]
        norms = [with_total(dict(zip(self.data["parts"], row[1:]))) for row in rows]
        parts = with_total(dict.fromkeys(self.data["parts"], 0.0))
        return {"timesteps": [row[0] for row in rows], **{part: [norm[part] for norm in norms] for part in parts}}

    def begin_trace(self, sizes: Mapping[str, int]) -> None:
        """Begin an empty trace of these parts: measurements of other weights cannot be compared."""
        self.data.update(parts=list(sizes), sizes=list(sizes.values()), trace=[])
        self.forget()

    def forget(self) -> None:
        """Let the rule begin anew; decays stay."""
        self.decided = DecayState(self.decided.decays, self.decided.bounces)

    def add_measurement(self, timestep: int, norms: Mapping[str, float]) -> bool:
        """Append a measurement to the trace; return whether it has outgrown our default interval, and was thinned."""
        if not self.data["trace"]:
            self.data["starts"] = dict(norms)
        # A row is one string: SB3 writes JSON with a line for every number, which is twice the size.
        # The text of a list of finite numbers is JSON, and costs half as much as json.dumps.
        self.data["trace"].append(str([int(timestep), *(norms[part] for part in self.data["parts"])]))
        is_thinned = bool(self.data["auto"]) and len(self.data["trace"]) > MOST_MEASUREMENTS
        if is_thinned:
            # Every second one stays, the latest among them.
            self.data["trace"] = self.data["trace"][::-1][::2][::-1]
            self.data["measure_every"] = self.data["least_interval"] = 2 * self.data["measure_every"]
        return is_thinned

    def is_news(self, hint: str) -> bool:
        """Whether a hint has not been given for this model yet; from now on it has."""
        said = self.data["said"]
        # A training that goes on in many a learn() has other numbers to tell each time.
        self.data["said"] = said if hint in said else [*said, hint][-20:]
        return hint not in said


def section(model: object, name: str) -> dict[str, Any]:
    """Return what another callback than AbelCallback keeps with a model, under a name of its own."""
    state = getattr(model, ATTRIBUTE, None)
    if not isinstance(state, dict):
        state = {"version": VERSION}
        setattr(model, ATTRIBUTE, state)
    kept: dict[str, Any] = state.setdefault(name, {})
    return kept


def kept_by_others(state: Any) -> dict[str, Any]:
    """Return the sections in a model's attribute that are not AbelCallback's."""
    return {name: state[name] for name in SECTIONS if name in state} if isinstance(state, dict) else {}


def clock(model: BaseAlgorithm) -> Clock:
    """Return what SB3 has counted in the model's life; an algorithm of the user's own may count no updates."""
    return Clock(model.num_timesteps, int(getattr(model, "_n_updates", 0)))


def budget_of(model: BaseAlgorithm) -> Budget:
    """Return what is left of the budget of the ``learn()`` that a model is in."""
    total = getattr(model, "_total_timesteps", 0)
    return Budget(model.num_timesteps, int(total) or None if math.isfinite(total) else None)


def look(model: BaseAlgorithm, who: str) -> list[Any]:
    """Return what tells the named callback later if a model was reset: its counts, and the episode that ended last."""
    known, buffer = _BUFFERS.get(model), getattr(model, "ep_success_buffer", None)
    if known is None:
        known = _BUFFERS[model] = {}
    known[who] = buffer
    return [*clock(model), _in_words(model.ep_info_buffer[-1]) if model.ep_info_buffer else ""]


def _in_words(episode: Any) -> str:
    """Return what an episode is known by: the time at which it ended, which ARS does not note, and all else."""
    # Off-policy this is asked at every step, and an episode has many.
    known, words = _LATEST[0]
    if known is not episode:
        words = str(episode) if "t" in episode else ""
        _LATEST[0] = episode, words
    return words


def goes_on(model: BaseAlgorithm, who: str, seen: list[Any]) -> bool | None:
    """Whether a model is still in the training in which :func:`look` saw it; None where that cannot be told.

    SB3 counts updates over any reset, so their number tells nothing. But a reset replaces the buffers of episodes.
    In memory the buffer is another object then; after a load it holds other episodes.
    """
    now, (timesteps, updates, *noted) = clock(model), seen
    episode = noted[0] if noted else ""
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
    end = budget_of(model).end
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
