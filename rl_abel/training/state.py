"""What is saved with a model: the decays and the trace of a training, as JSON values in one of its attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rl_abel.networks.norms import with_total
from rl_abel.rules.budget import Budget, Clock
from rl_abel.rules.decay_controller import DecayState

ATTRIBUTE = "abel_state"  # SB3 saves all attributes of a model; JSON values load where rl_abel is not installed
VERSION = 2

HELD = "held"  # section with the user's own values of what was changed for the update under way; empty between updates
SECTIONS = ("kl", HELD)  # what others than AbelCallback keep there, each a dict under a name of its own
START = Clock(0, 0)

MOST_MEASUREMENTS = 200  # A longer trace is thinned to half, unless the user has fixed the interval


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
            "seen": [*begin, ""],  # what look() of rl_abel.training.resume returned last
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
