"""What survives a save: decays and trace of a training, as JSON values in one attribute of the model."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from rl_abel.networks.norms import with_total
from rl_abel.rules.bounce import JsonValue
from rl_abel.rules.budget import Budget, Clock

ATTRIBUTE = "abel_state"
"""SB3 saves whatever a model's attributes hold; JSON values load without our package."""

VERSION = 2

HELD = "held"
"""What a model holds for the update under way alone, with the user's own values: empty between updates."""

SECTIONS = ("kl", HELD)
"""What others than the rule and its decays keep there, each a dict."""

READABLE = (1, VERSION)
"""Formats that differ by what has been added since. Movers beside AbelCallback keep theirs under their own names."""

KEPT = -1

UNKNOWN = -1
"""End of a training that was saved before ends were noted: whatever comes next resumes it."""

MOST_MEASUREMENTS = 200
"""Where nobody has fixed the interval, a trace that outgrows it is thinned to half."""


EVERY_PART = "total"

NETWORKS = ("policy", "value")
"""Parts that can decay alone."""

REST = "rest"
"""Parameters of neither the policy nor the value network alone: shared ones, log_std, the entropy coefficient."""


class _Decay(NamedTuple):
    timestep: int
    cause: str
    factor: float


class Decay(_Decay):
    """One decay in force: when, why ("bounce" or "final"), and by what factor.

    The final one counts from the timestep at which the first rollout begins that is learned from at
    the lower rate; a linear one has the factor that it has come to.

    ``part``, which is no item of the tuple, tells whose rate decays: "total" for all parameters; with
    ``scope="part"`` "policy", "value", or "rest" for those of neither.
    """

    part: str = EVERY_PART

    def __new__(cls, timestep: int, cause: str, factor: float, part: str = EVERY_PART) -> Decay:
        """Make one, by default of all parameters."""
        decay = super().__new__(cls, timestep, cause, factor)
        decay.part = part
        return decay


class TrainingState:
    """A view of the dict that SB3 saves with the model; every change is in it at once.

    :param data: JSON values; lists stand for tuples, as they come back so from a zip
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @classmethod
    def empty(cls, begin: Clock | None = None, end: int | None = None, measure_every: float = 1) -> TrainingState:
        """Return the memory of a training that has measured nothing yet."""
        begin = begin or Clock(0, 0)
        return cls(
            {
                "version": VERSION,
                "begin": list(begin),
                "end": end,
                # Timesteps and updates when the model was last looked at, and updates at the last measurement.
                "seen": list(begin),
                "n_updates": begin.updates,
                "measure_every": measure_every,
                # Whether that is our default, which may be less than a rollout.
                "auto": False,
                # What a trace was thinned to: no later training measures at a smaller distance by default.
                "least_interval": 1,
                "bounces": [],
                "n_bounces": 0,
                "decays": [],
                "parts": [],
                "sizes": [],
                "trace": [],
                # |w|^2 of each part at the first measurement of the trace.
                "starts": {},
                # What a rule knows is made out from the trace: from all of it, from so many of its first
                # measurements, or, where that cannot be (KEPT), from what was kept.
                "replay": None,
                "rule": "",
                "rule_states": "",
                "said": [],
            }
        )

    @classmethod
    def read(cls, data: Any) -> TrainingState | None:
        """Return the memory in a model's attribute, None where there is none that this version can read."""
        if not isinstance(data, dict) or not isinstance(data.get("trace"), list):
            return None
        if data.get("version") in READABLE:
            for name, value in cls.empty().data.items():
                data.setdefault(name, value)
            data["version"] = VERSION
            return cls(data)
        if "version" in data or "decays" not in data:
            return None
        return cls(_from_version_0(data))

    @property
    def budget(self) -> Budget:
        """Where the training began, and where it ends."""
        return Budget(int(self.data["begin"][0]), self.data["end"])

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, in the order they were made."""
        return [Decay(*decay) for decay in self.data["decays"]]

    @property
    def factor(self) -> float:
        """Product of the decays in force of all parameters, and of those of neither network alone."""
        return self.factor_of(REST)

    def factor_of(self, part: str, at: int | None = None) -> float:
        """Product of the decays of a part: those in force now, or at a timestep of the trace."""
        return math.prod(
            (
                decay.factor
                for decay in self.decays
                if decay.part in (EVERY_PART, part) and (at is None or decay.timestep <= at)
            ),
            start=1.0,
        )

    def factor_of_all(self, final: bool) -> float:
        """Product of the decays that every parameter shares.

        :param final: whether the final one is among them
        """
        shared = (decay for decay in self.decays if decay.part == EVERY_PART)
        return math.prod((decay.factor for decay in shared if final or decay.cause != "final"), start=1.0)

    @property
    def is_final(self) -> bool:
        """Whether the final decay is in force."""
        return self.final_timestep is not None

    @property
    def final_timestep(self) -> int | None:
        """From which on the final decay is in force, None if it is not."""
        return next((decay.timestep for decay in self.decays if decay.cause == "final"), None)

    def add_decay(self, decay: Decay) -> None:
        """Put one more decay in force."""
        self.data["decays"].append(_row(decay))

    def set_final(self, factor: float) -> None:
        """Let the final decay, which is in force, come to another factor."""
        for row in self.data["decays"]:
            if row[1] == "final":
                row[2] = factor

    def add_bounce(self, timestep: int) -> None:
        """Note that the rule has seen one."""
        self.data["bounces"].append(timestep)
        self.data["n_bounces"] += 1

    def lift_final_decay(self) -> None:
        """Let the final decay lapse: training goes on from before it (Lewkowycz 2021, Sec. 2)."""
        self.data["decays"] = [_row(decay) for decay in self.decays if decay.cause != "final"]

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Timesteps and |w|^2 by part, a list each, one entry a measurement."""
        rows = [json.loads(row) for row in self.data["trace"]]
        norms = [with_total(dict(zip(self.data["parts"], row[1:]))) for row in rows]
        parts = with_total(dict.fromkeys(self.data["parts"], 0.0))
        return {"timesteps": [row[0] for row in rows], **{part: [norm[part] for norm in norms] for part in parts}}

    @property
    def last_timestep(self) -> int | None:
        """Timestep of the latest measurement, None before the first."""
        return int(json.loads(self.data["trace"][-1])[0]) if self.data["trace"] else None

    @property
    def sizes(self) -> dict[str, int]:
        """Weights in each part of the trace; empty if nobody has noted them."""
        return dict(zip(self.data["parts"], self.data["sizes"]))

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether the trace is of parts with so many weights; a trace of before these were noted is."""
        if list(sizes) == self.data["parts"] and not any(self.data["sizes"]):
            self.data["sizes"] = list(sizes.values())
        return self.sizes == dict(sizes)

    def begin_trace(self, sizes: Mapping[str, int]) -> None:
        """Begin an empty trace of these parts: measurements of other weights cannot be compared."""
        self.data.update(parts=list(sizes), sizes=list(sizes.values()), trace=[], replay=None, rule="", rule_states="")

    def keep_rule(self, name: str, states: Mapping[str, JsonValue]) -> None:
        """Keep what a rule knows after the latest measurement, by part, where the trace does not tell it.

        A state that is no JSON is made out anew.
        """
        if self.data["replay"] != KEPT:
            return
        try:
            text = json.dumps(states)
        except TypeError:
            text = ""
        # One string, as the rows of the trace.
        self.data.update(rule=name, rule_states=text)

    def rule_states(self, name: str, parts: Collection[str]) -> dict[str, JsonValue] | None:
        """Return what was kept of this rule on these parts, None where it has to be made out from the trace."""
        if self.data["replay"] != KEPT or self.data["rule"] != name or not self.data["rule_states"]:
            return None
        states: dict[str, JsonValue] = json.loads(self.data["rule_states"])
        return states if set(states) == set(parts) else None

    def add_measurement(self, timestep: int, norms: Mapping[str, float]) -> None:
        """Append a measurement to the trace."""
        # A row is one string: SB3 writes JSON with a line for every number, which is twice the size.
        # The text of a list of finite numbers is JSON, at half the price of dumping it.
        if not self.data["trace"]:
            self.data["starts"] = dict(norms)
        self.data["trace"].append(str([int(timestep), *(norms[part] for part in self.data["parts"])]))

    def thin(self) -> None:
        """Keep every second measurement, the latest among them, and measure half as often from now on."""
        self.data["trace"] = self.data["trace"][::-1][::2][::-1]
        self.data["measure_every"] = self.data["least_interval"] = 2 * self.data["measure_every"]
        self.data["replay"] = KEPT


def section(model: object, name: str) -> dict[str, Any]:
    """Return what another mover than AbelCallback keeps with a model: JSON values under a name of its own."""
    state = getattr(model, ATTRIBUTE, None)
    if not isinstance(state, dict):
        state = {"version": VERSION}
        setattr(model, ATTRIBUTE, state)
    kept: dict[str, Any] = state.setdefault(name, {})
    return kept


def kept_by_others(state: Any) -> dict[str, Any]:
    """Return the sections in a model's attribute that are not AbelCallback's."""
    return {name: state[name] for name in SECTIONS if name in state} if isinstance(state, dict) else {}


def kept_by_others_alone(state: Any) -> bool:
    """Whether AbelCallback has kept nothing there, while others have."""
    return bool(kept_by_others(state)) and set(state) <= {"version", *SECTIONS}


def _row(decay: Decay) -> list[Any]:
    return [*decay] if decay.part == EVERY_PART else [*decay, decay.part]


def _from_version_0(data: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the format of 0.1's first days up to date: it knew no beginning, and no end."""
    bounces = [timestep for timestep, cause, _ in data["decays"] if cause == "bounce"]
    sizes = {"sizes": [0] * len(data["parts"])}
    timestep = int(json.loads(data["trace"][-1])[0]) if data["trace"] else 0
    seen = {"seen": [timestep, data["n_updates"]], "bounces": bounces}
    starts = {
        part: norms[0] for part, norms in TrainingState(dict(data)).trace.items() if part != "timesteps" and norms
    }
    return {**TrainingState.empty(end=UNKNOWN).data, **data, **sizes, **seen, "starts": starts, "version": VERSION}
