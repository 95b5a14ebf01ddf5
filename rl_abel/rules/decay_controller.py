"""The decays of one training, decided by pure functions alike for callback and scheduler. Standard library only."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rl_abel._validation import check_between, check_choice, check_field, check_integer, check_number
from rl_abel.rules.bounce import JsonValue, Rule, TrendRule, observe_each
from rl_abel.rules.decays import EVERY_PART, NETWORKS, REST, Decay, final_factor

SHAPES = ("step", "linear")
SCOPES = ("model", "part")


@dataclass(frozen=True)
class DecayRules:
    """The arguments of :class:`~rl_abel.AbelCallback` that decide on the decays of a training; explained there.

    :raises ValueError: if an argument is out of range
    """

    rule: Rule
    decay_factor: float = 0.1
    final_decay_at: float | None = 0.85
    final_decay_shape: str = "step"
    max_decays: int | None = None
    scope: str = "model"

    def __post_init__(self) -> None:
        check_field(self, "decay_factor", check_between, 0, 1)
        check_choice("final_decay_shape", self.final_decay_shape, SHAPES)
        if self.final_decay_at is not None:
            check_field(self, "final_decay_at", check_final_decay_at, falls=self.step is None)
        if self.max_decays is not None:
            check_field(self, "max_decays", check_integer, at_least=0)
        check_choice("scope", self.scope, SCOPES)

    @property
    def step(self) -> float | None:
        """Factor of the final decay, None for one that falls linearly to 0."""
        return self.decay_factor if self.final_decay_shape == "step" else None


def check_final_decay_at(name: str, value: object, falls: bool) -> float:
    """Return the progress as a float; 0, a fall over the whole training, is for a decay that ``falls`` linearly."""
    if not falls and type(value) in (int, float) and value == 0:
        raise ValueError(f"{name}={value!r} needs final_decay_shape='linear': a step there is a smaller rate")
    return check_number(name, value, at_least=0, below=1) if falls else check_between(name, value, 0, 1)


@dataclass(frozen=True)
class DecayState:
    """What is known and in force after a measurement."""

    decays: tuple[Decay, ...] = ()  # decays in force, in the order in which they were made
    bounces: tuple[int, ...] = ()  # timesteps of all bounces seen, whether or not they decayed anything
    rule: str = ""  # name of the rule that has been shown the measurements
    rule_states: Mapping[str, JsonValue] = field(default_factory=dict)  # state of that rule for each part

    @property
    def final_timestep(self) -> int | None:
        """Timestep from which on the final decay is in force, None if it is not."""
        return next((decay.timestep for decay in self.decays if decay.cause == "final"), None)

    def factor_of(self, part: str = REST, final: bool = True) -> float:
        """Return the product of a part's decays (``EVERY_PART``: those of all parts), with the final one or without."""
        own = (decay for decay in self.decays if decay.part in (EVERY_PART, part))
        return math.prod((decay.factor for decay in own if final or decay.cause != "final"), start=1.0)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON values; states of a rule that are no JSON are left out."""
        try:
            # One string: stable-baselines3 saves JSON with a line for every number.
            states = json.dumps(self.rule_states)
        except (TypeError, ValueError):
            states = ""
        seen = {"bounces": [*self.bounces], "n_bounces": len(self.bounces), "rule": self.rule, "rule_states": states}
        return {"decays": [decay.row for decay in self.decays], **seen}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DecayState:
        """Return the state that :meth:`to_json` made these values of, or of decays alone.

        :raises KeyError, TypeError, ValueError: for other values
        """
        decays = [Decay(int(at), str(cause), float(factor), *part) for at, cause, factor, *part in values["decays"]]
        bounces = values.get("bounces", [decay.timestep for decay in decays if decay.cause == "bounce"])
        states = dict(json.loads(values.get("rule_states") or "{}"))
        return cls(tuple(decays), tuple(map(int, bounces)), str(values.get("rule", "")), states)


class Decided(NamedTuple):
    """What a call of :func:`decide` has brought."""

    bounced: list[str]  # parts whose norms have bounced
    made: list[tuple[Decay, str]]  # new decays, each with its reason in words


def decide(
    rules: DecayRules,
    state: DecayState,
    timestep: int,
    norms: Mapping[str, float] | None = None,
    progress: float | None = None,
    began: int | None = None,
) -> tuple[DecayState, Decided]:
    """Return the state after one more measurement, and what is new.

    >>> from rl_abel import PaperRule
    >>> rules, state = DecayRules(PaperRule()), DecayState()
    >>> for timestep, norm in enumerate([3.0, 2.0, 3.0, 2.0]):
    ...     state, decided = decide(rules, state, timestep, {"total": norm})
    >>> state.decays, decide(rules, state, 9, progress=0.9)[0].factor_of()
    ((Decay(timestep=3, cause='bounce', factor=0.1),), 0.010000000000000002)

    :param norms: |w|^2 of each part that is watched; None if nothing was measured
    :param progress: share of the budget that is used up; None where no budget is known, or no final decay asked for
    :param began: timestep of a final decay, None for ``timestep``
    """
    bounced: list[str] = []
    made: list[tuple[Decay, str]] = []
    trend = isinstance(rules.rule, TrendRule)
    # The lower rate ends a growth by itself, which "trend" would take for the end of a bounce.
    if norms and not (trend and state.final_timestep is not None):
        name, alone = _name(rules.rule), rules.scope == "part"
        states, bounced = observe_each(rules.rule, state.rule_states if state.rule == name else {}, norms, alone)
        for part, of in whose_decay(bounced, state.decays, rules.max_decays, alone).items():
            made.append((Decay(timestep, "bounce", rules.decay_factor, part), f"the {of} weight norm has bounced"))
        bounces = (*state.bounces, timestep) if bounced else state.bounces
        state = DecayState((*state.decays, *(decay for decay, _ in made)), bounces, name, states)
    at = rules.final_decay_at
    factor = None if at is None or progress is None else final_factor(progress, at, rules.step)
    if factor is not None and state.final_timestep is None:
        cooldown = ", from here on linearly to 0" if rules.step is None else ""
        final = Decay(timestep if began is None else began, "final", factor)
        reason = f"{at:.0%} of the budget is used up{cooldown}" if at else "the rate falls from now on linearly to 0"
        made.append((final, reason))
        state = replace(state, decays=(*state.decays, final), rule_states={} if trend else state.rule_states)
    elif factor is not None and rules.step is None:
        moved = (Decay(d.timestep, d.cause, factor) if d.cause == "final" else d for d in state.decays)
        state = replace(state, decays=tuple(moved))
    return state, Decided(bounced, made)


def resume(rules: DecayRules, state: DecayState, progress: float | None) -> DecayState:
    """Return the state with which a training goes on: a final decay lapses that a longer budget brings later.

    Training then goes on as before that decay (Lewkowycz 2021, Sec. 2). Without a budget, None, it lapses too.
    """
    at = rules.final_decay_at
    if at is not None and progress is not None and progress >= at:
        return state
    return replace(state, decays=tuple(decay for decay in state.decays if decay.cause != "final"))


def whose_decay(bounced: Sequence[str], made: Iterable[Decay], most: int | None, alone: bool) -> dict[str, str]:
    """Return the parts whose rates decay after a bounce, each with what has bounced, in words.

    >>> whose_decay(["policy", "value"], [], None, alone=False), whose_decay(["policy", "total"], [], None, alone=True)
    ({'total': 'policy and value'}, {'policy': 'policy', 'rest': 'total'})

    :param made: decays so far, of which a part may have ``most`` by a bounce: None for any number
    :param alone: whether a part that bounces decays alone; what belongs to no network then decays with the total
    """
    words = {part if part in NETWORKS else REST: part for part in bounced}
    if bounced and not alone:
        words = {EVERY_PART: " and ".join(bounced)}
    counts = Counter(decay.part for decay in made if decay.cause == "bounce")
    return {part: of for part, of in words.items() if most is None or counts[part] < most}


def _name(rule: Rule) -> str:
    """Tell one rule from another, over save and load too: its code, or its class where that is an address."""
    kind = type(rule)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__repr__ is object.__repr__ else repr(rule)
