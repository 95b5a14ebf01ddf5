"""Decide: what the rule says of each measurement of the parts that are watched, and what of it survives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rl_abel.rules.bounce import JsonValue, Rule, TrendRule, observe_each
from rl_abel.rules.budget import Budget
from rl_abel.training.state import EVERY_PART, KEPT, NETWORKS, REST, Decay, TrainingState

WATCHABLE = ("any", "total", "policy", "value")


def watched(watch: str, parts: Iterable[str]) -> list[str]:
    """Return those of the parts whose norms decide.

    >>> watched("any", ["total", "policy", "shared"])
    ['total', 'policy']
    """
    return [part for part in parts if part == watch or (watch == "any" and part in WATCHABLE)]


def final_factor(
    budget: Budget, rollout: int, began: int, timestep: int, at: float, step: float | None
) -> float | None:
    """Return the factor of the final decay for the update after a rollout, None before its time.

    An update belongs to where its rollout began, so that in a budget of a few rollouts the decay does not take a
    large part of the updates.

    :param rollout: timesteps of one
    :param began: timestep at which the rollout began, and ``timestep``, at which it ended
    :param at: progress in (0, 1) from which on the rate is decayed
    :param step: the factor, None for one that falls linearly to 0 at the end of the budget
    """
    if budget.progress(timestep) < at or (progress := budget.in_rollouts(rollout).progress(began)) < at:
        return None
    return max(0.0, (1 - progress) / (1 - at)) if step is None else step


class Coming(NamedTuple):
    """The final decay as it will come in a training.

    :param begins: timestep at which the first rollout begins that is learned from at the lower rate; None if none does
    :param decayed: updates at the lower rate
    :param updates: in what is left of the budget, one after each rollout that is learned from
    :param factor: of the last update
    :param waits: whether its time comes before anything is learned, so that it waits for the first update
    :param highest: a ``final_decay_at`` up to which the last rollout would be learned from at the lower rate
    """

    begins: int | None
    decayed: int
    updates: int
    factor: float
    waits: bool
    highest: float


def final_decay(
    budget: Budget, rollout: int, now: int, learning_starts: int, at: float, step: float | None, learned: bool = False
) -> Coming:
    """Foretell what :func:`final_factor` returns in what is left of a budget.

    Of a budget of five rollouts the last begins at 80 %, so a decay at 85 % cannot come:

    >>> final_decay(Budget(0, 10_000), 2048, 0, 0, 0.85, 0.1).begins is None
    True
    >>> final_decay(Budget(0, 20_000), 2048, 0, 0, 0.85, 0.1)[:4]
    (18432, 1, 10, 0.1)

    :param budget: with an end
    :param rollout: timesteps of one
    :param now: timestep at which the next rollout begins
    :param learning_starts: timestep up to which nothing is learned
    :param at: progress in (0, 1) from which on the rate is decayed
    :param step: the factor, None for one that falls linearly to 0 at the end of the budget
    :param learned: whether there has been an update before, without which there is no decay
    """
    end = now if budget.end is None else budget.end

    def factor(began: int) -> float | None:
        return final_factor(budget, rollout, began, began + rollout, at, step)

    rollouts = range(now, end, rollout)
    first = bisect_right(rollouts, learning_starts - rollout)
    late = bisect_left(rollouts, True, key=lambda began: factor(began) is not None)
    begins = max(late, first + (not learned))
    decayed = rollouts[begins:]
    last = rollouts[-1] if rollouts else now
    highest = budget.in_rollouts(rollout).progress(last)
    by_then = factor(last) if decayed else None
    waits = late <= first and not learned
    return Coming(decayed[0] if decayed else None, len(decayed), len(rollouts[first:]), by_then or 0.0, waits, highest)


def whose_decay(bounced: Sequence[str], made: Iterable[Decay], most: int | None, alone: bool) -> dict[str, str]:
    """Return whose rates decay after a bounce, each with what has bounced, in words.

    :param bounced: parts whose norms have
    :param made: decays so far
    :param most: decays by a bounce that a part may have, None for any number
    :param alone: whether a part that bounces decays alone; what belongs to no network does with the total

    >>> whose_decay(["policy", "value"], [], None, alone=False), whose_decay(["policy", "total"], [], None, alone=True)
    ({'total': 'policy and value'}, {'policy': 'policy', 'rest': 'total'})
    """
    told = (
        {part if part in NETWORKS else REST: part for part in bounced} if alone else {EVERY_PART: " and ".join(bounced)}
    )
    counts = Counter(decay.part for decay in made if decay.cause == "bounce")
    return {part: of for part, of in told.items() if most is None or counts[part] < most}


class Deciding:
    """The states of a rule, one a part.

    :param rule: which decides
    :param watch: whose norms decide
    :param memory: of the training; where its trace does not tell what the rule knows, it is kept there
    :param alone: whether a part that bounces decays alone
    """

    def __init__(self, rule: Rule, watch: str, memory: TrainingState, alone: bool = False) -> None:
        self._rule, self._watch, self._memory, self._alone = rule, watch, memory, alone
        self._states: dict[str, JsonValue] = {}

    def recall(self, finer: bool, begins: bool) -> None:
        """Take up what the rule knows; another rule, or on other parts, catches up with the trace.

        :param finer: whether measurements come at a smaller distance than those in the trace
        :param begins: whether a training begins here
        """
        trace = self._memory.trace
        parts = watched(self._watch, trace)
        states = self._memory.rule_states(repr(self._rule), parts)
        if states is None:
            states, shown = {}, self._memory.data["replay"]
            for norms in zip(*(trace[part][: None if shown == KEPT else shown] for part in parts)):
                states, _ = observe_each(self._rule, states, dict(zip(parts, norms)), self._alone)
        # Closer measurements grow by less, which is no end of a growth.
        self._states = {} if finer else states
        if begins and trace["timesteps"]:
            # From here on the trace holds more than the rule has seen, or less.
            self._memory.data["replay"] = KEPT
            self.keep()

    def forget(self) -> None:
        """Begin anew, as the trace does."""
        self._states = {}

    def observe(self, norms: Mapping[str, float]) -> list[str] | None:
        """Show the rule a measurement; return the parts that have bounced, None if nothing is watched now."""
        # The lower rate ends a growth by itself, which "trend" would take for the end of a bounce.
        if isinstance(self._rule, TrendRule) and self._memory.is_final:
            return []
        seen: dict[str, Any] = {part: norms[part] for part in watched(self._watch, norms)}
        self._states, bounced = observe_each(self._rule, self._states, seen, self._alone)
        self.keep()
        return bounced if seen else None

    def stop_at_the_end(self) -> None:
        """From the final decay on "trend" sees nothing, while the trace goes on."""
        if self._memory.data["replay"] is None and isinstance(self._rule, TrendRule):
            self._memory.data["replay"] = len(self._memory.data["trace"])

    def keep(self) -> None:
        """Keep what the rule knows, where the trace does not tell it."""
        self._memory.keep_rule(repr(self._rule), self._states)
