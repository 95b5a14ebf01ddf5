"""The rules that see a bounce: squared weight norms in, decisions out. Standard library only.

A rule is an object with two methods, both pure::

    state = rule.init()
    state, decayed = rule.observe(state, weight_norm)

``weight_norm`` is always the *squared* L2 norm. The state is made of JSON values, so that it is saved with the model.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

from rl_abel._validation import check_field, check_integer, check_number, meant

JsonValue = Any  # None, bool, int, float, str, or lists and string-keyed dicts of them

STRIDES = (1, 2, 3, 4)  # A single stride misses slow bounces: under strong noise it finds one in five
EQUILIBRATED = 0.1  # growth counts as over when the mean increment is at most this share of its largest
ROUNDING = 1e-12  # increments below this share of the norm are float rounding, not movement


@runtime_checkable
class Rule(Protocol):
    """Decides from weight norms when to decay. Write your own with these two methods."""

    def init(self) -> JsonValue:
        """Return the state before the first measurement."""
        ...

    def observe(self, state: JsonValue, weight_norm: float) -> tuple[JsonValue, bool]:
        """Return the state after one more measurement of |w|^2, and whether to decay now."""
        ...


@dataclass(frozen=True)
class PaperRule:
    """Algorithm 1 of Lewkowycz 2021, exact to the last decision.

    Every second change of direction decays, whatever the first was. So a maximum counts as a minimum, and noise
    counts too. In RL use :class:`TrendRule`.
    """

    min_measurements = 4  # fewest measurements after which the rule can decay: two changes of direction

    def init(self) -> JsonValue:
        """Return the state before the first measurement."""
        return {"norms": [], "reached_minimum": False}

    def observe(self, state: JsonValue, weight_norm: float) -> tuple[JsonValue, bool]:
        """Return the state after one more measurement of |w|^2, and whether to decay now."""
        norms, reached_minimum = [*state["norms"], weight_norm], state["reached_minimum"]
        turned = len(norms) == 3 and bool((norms[2] - norms[1]) * (norms[1] - norms[0]) < 0)
        return {"norms": norms[-2:], "reached_minimum": reached_minimum != turned}, turned and reached_minimum


@dataclass(frozen=True)
class TrendRule:
    """A bounce that stands out from noise: a significant fall, then a rise, then its end.

    A norm that only rises can never decay the rate. Significance is a t-statistic of the latest ``window`` increments,
    at strides 1, 2, 3 and 4: small strides show fast bounces, large ones slow bounces. Fall and rise must both be by
    ``depth`` or more: the norm of a PPO agent's value network may dip by 2 % as it grows, which is significant and no
    bounce. After a decay the rule starts anew.

    :param window: number of successive increments in a t-statistic, at least 2
    :param z: the t-statistic beyond which the increments are a trend, above 0
    :param depth: least fall, as a share of the highest norm before it, and least rise, as a share
        of the lowest; in [0, 1)
    :raises ValueError: if an argument is out of range
    """

    window: int = 10
    z: float = 3.7
    depth: float = 0.03

    def __post_init__(self) -> None:
        check_field(self, "depth", check_number, at_least=0, below=1)
        check_field(self, "window", check_integer, at_least=2)
        check_field(self, "z", check_number, above=0)

    @property
    def min_measurements(self) -> int:
        """Fewest measurements that hold a fall and a rise of one window each."""
        return 2 * self.window + 1

    def init(self) -> JsonValue:
        """Return the state before the first measurement."""
        return {"phase": "fall", "norms": [], "highest": 0.0, "lowest": 0.0, "largest_growth": 0.0}

    def observe(self, state: JsonValue, weight_norm: float) -> tuple[JsonValue, bool]:
        """Return the state after one more measurement of |w|^2, and whether to decay now."""
        norms = [*state["norms"], weight_norm][-(max(STRIDES) * self.window + 1) :]
        phase, largest_growth = state["phase"], state["largest_growth"]
        highest, lowest = state["highest"], min(state["lowest"], weight_norm)
        if phase == "fall":
            if any(t < -self.z for t in self._trends(norms, -1)):
                phase, highest = "minimum", max(norms)
                lowest = min(norms[norms.index(highest) :])
        elif phase == "minimum":
            if any(t > self.z for t in self._trends(norms, 1)):
                if highest - lowest >= self.depth * abs(highest):
                    phase, largest_growth = "equilibrium", self._growth(norms)
                else:
                    phase = "fall"
        else:
            growth = self._growth(norms)
            largest_growth = max(largest_growth, growth)
            if t_statistic(norms, 1, self.window) <= self.z or growth <= EQUILIBRATED * largest_growth:
                if weight_norm - lowest >= self.depth * abs(lowest):
                    return {**self.init(), "norms": [weight_norm]}, True
                phase = "minimum"
        seen = {"phase": phase, "norms": norms, "highest": highest, "lowest": lowest}
        return {**seen, "largest_growth": largest_growth}, False

    def _trends(self, norms: Sequence[float], sign: int) -> Iterable[float]:
        """t-statistics of those strides whose mean increment has the sign."""
        for stride in STRIDES:
            span = stride * self.window
            if len(norms) > span and sign * (norms[-1] - norms[-1 - span]) > 0:
                yield t_statistic(norms, stride, self.window)

    def _growth(self, norms: Sequence[float]) -> float:
        return (norms[-1] - norms[-1 - self.window]) / self.window


def t_statistic(norms: Sequence[float], stride: int, window: int) -> float:
    """t-statistic of the last ``window`` increments ``norms[t] - norms[t - stride]``, which do not overlap.

    If all increments are equal and not zero, it is infinite.
    """
    recent = norms[len(norms) - 1 - stride * window :: stride]
    increments = [now - before for before, now in pairwise(recent)]
    scale = max(map(abs, increments))
    if scale <= ROUNDING * max(map(abs, recent)):
        return 0.0
    mean = math.fsum(increments) / scale / window
    variance = math.fsum((d / scale - mean) ** 2 for d in increments) / (window - 1)
    return mean / math.sqrt(variance / window) if variance else math.copysign(math.inf, mean)


RULES: dict[str, type[PaperRule] | type[TrendRule]] = {"paper": PaperRule, "trend": TrendRule}


def make_rule(rule: str | Rule, **options: Any) -> Rule:
    """Return the named rule with its options, or the user's own object as it is.

    :raises ValueError: for an unknown name or option, or an object without ``init`` and ``observe``
    """
    if isinstance(rule, str) and rule in RULES:
        known = [field.name for field in fields(RULES[rule])]
        if unknown := sorted(set(options) - set(known)):
            what = f"rule {rule!r} has no option {', '.join(unknown)}; its options are: {known or 'none'}"
            raise ValueError(f"{what}{meant(unknown[0], known)}")
        return RULES[rule](**options)
    if isinstance(rule, (str, type)) or not isinstance(rule, Rule):
        what = f"rule must be one of {sorted(RULES)} or an object with init and observe, got {rule!r}"
        raise ValueError(what + (meant(rule, RULES) if isinstance(rule, str) else ""))
    if options:
        raise ValueError(f"options are for named rules; set {sorted(options)} on the rule object {rule!r} itself")
    return rule


def replay(rule: Rule, weight_norms: Iterable[float]) -> Iterator[tuple[JsonValue, bool]]:
    """Yield the rule's state and decision after each measurement; non-finite ones are passed over."""
    state = rule.init()
    for weight_norm in weight_norms:
        decayed = False
        if math.isfinite(weight_norm):
            state, decayed = rule.observe(state, weight_norm)
        yield state, decayed


def observe_each(
    rule: Rule, states: Mapping[str, JsonValue], weight_norms: Mapping[str, float], alone: bool = False
) -> tuple[dict[str, JsonValue], list[str]]:
    """Show a rule one measurement of several parts; return its state of each, and the parts that have bounced.

    A bounce of one part decays the rate of all, so the rule starts anew on the others, unless parts decay alone.
    """
    seen = {part: rule.observe(states.get(part, rule.init()), norm) for part, norm in weight_norms.items()}
    bounced = [part for part, (_, decayed) in seen.items() if decayed]
    anew = bool(bounced) and not alone
    return {part: rule.init() if anew and not decayed else state for part, (state, decayed) in seen.items()}, bounced


def find_decays(weight_norms: Iterable[float], rule: str | Rule = "trend", **options: Any) -> list[int]:
    """Replay a trace of squared weight norms and tell where a rule decays the learning rate.

    >>> find_decays([3.0, 2.0, 3.0, 2.0], rule="paper")
    [3]

    :param weight_norms: |w|^2, one a measurement, oldest first (a list or a 1-d array)
    :param rule: "trend", "paper" (Algorithm 1 of Lewkowycz 2021) or an object of your own
    :param options: of the named rule: ``window``, ``z`` and ``depth`` of "trend"
    :return: 0-based indices of the measurements at which the rule decays; non-finite measurements
        are passed over, as in training
    :raises ValueError: for an unknown rule or option, or a trace that is not a sequence of numbers
    """
    decider = make_rule(rule, **options)
    try:
        norms = [float(norm) for norm in weight_norms]
    except (TypeError, ValueError):
        raise ValueError(f"weight_norms must be a sequence of numbers, got {weight_norms!r:.200}") from None
    return [index for index, (_, decayed) in enumerate(replay(decider, norms)) if decayed]
