"""What a trace of weight norms says: what happened, what each rule would have decayed, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rl_abel.inspection.readers.csv_table import TERMS
from rl_abel.inspection.traces import Trace
from rl_abel.rules.bounce import RULES, JsonValue, Rule, make_rule, observe_each

WATCHABLE = ("total", "policy", "value")
"""Parts that ``AbelCallback(watch=…)`` can be told to watch; "any" is each of them by itself."""

CALIBRATED = 100
"""Measurements a run on which the rule ``trend`` is calibrated."""

FEW, MANY = 80, 200
"""Fewer measurements miss bounces that more would show; more see noise, and are thinned."""

EQUILIBRIUM = 0.1
"""Terms that cancel to this share of displacement are at equilibrium."""


class Bounce(NamedTuple):
    """A decision of a rule: when, and which parts decided it."""

    timestep: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One run, judged.

    :param bounces: what the rule "trend" sees on the trace; a decay by another rule is no bounce
    :param decays: rule -> where it would have decayed the rate
    :param every: of how many measurements one was shown to "trend"
    :param watched: parts that "trend" was shown
    :param needed: fewest measurements after which it can see a bounce
    :param verdict: what was seen, on what, and what to do
    :param explanation: why the norm did so, a sentence; empty where ``diagnose=True`` was not set
    """

    trace: Trace
    bounces: list[Bounce]
    decays: dict[str, list[Bounce]]
    every: int
    watched: tuple[str, ...]
    needed: int
    verdict: str
    explanation: str

    @property
    def bounced_in_training(self) -> bool:
        """Whether the callback saw a bounce when the run was trained."""
        return bool(self.trace.record and self.trace.record.n_bounces)

    @property
    def diverged(self) -> bool:
        """Whether the weights are not finite at some measurement."""
        return first_not_finite(self.trace) is not None

    @property
    def bounced(self) -> bool:
        """Whether a bounce was seen, in training or on the trace."""
        return self.bounced_in_training or bool(self.bounces)

    @property
    def measured(self) -> int:
        """Measurements that were shown to "trend"."""
        return math.ceil(len(self.trace.timesteps) / self.every)

    def as_json(self) -> dict[str, Any]:
        """Return what ``rl-abel inspect --json`` prints of the run; None for what is not a finite number."""
        trace, record = self.trace, self.trace.record
        return {
            "path": trace.path,
            "run": trace.of[0],
            "runs": trace.of[1],
            "source": trace.source,
            "timesteps": trace.timesteps,
            "weight_norms": {part: [_finite(norm) for norm in norms] for part, norms in trace.norms.items()},
            "training": record
            and {
                "n_bounces": record.n_bounces,
                "bounces": record.bounces,
                "decays": [decay._asdict() for decay in record.decays],
                "factor": _finite(record.factor),
                "exact": record.exact,
            },
            "bounced": self.bounced,
            "diverged": self.diverged,
            "bounces": [bounce._asdict() for bounce in self.bounces],
            "decays": {rule: [decay._asdict() for decay in decays] for rule, decays in self.decays.items()},
            "every": self.every,
            "verdict": self.verdict,
            "explanation": self.explanation,
            "terms": {name: [_finite(value) for value in values] for name, values in trace.terms.items()},
            "curves": trace.curves,
            "about": trace.about,
            "notes": trace.notes,
            "skipped": trace.skipped,
        }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def judge(trace: Trace, watch: str | None = None, **options: Any) -> Finding:
    """Replay the rules on a run as the callback would have watched it.

    :param watch: "any", "total", "policy" or "value"; None as the callback has it: any with "trend",
        the total with "paper"
    :param options: of "trend": ``window``, ``z`` and ``depth``
    """
    trend = make_rule("trend", **options)
    every = round(len(trace.timesteps) / CALIBRATED) if len(trace.timesteps) > MANY else 1
    decays = {
        name: replay(
            trace,
            trend if name == "trend" else make_rule(name),
            watch or ("any" if name == "trend" else "total"),
            every if name == "trend" else 1,
            # In training "trend" does not decide any more once the final decay is in force.
            _final_decay(trace) if name == "trend" else math.inf,
        )
        for name in RULES
    }
    bounces = decays["trend"]
    trace = _placed(trace, bounces)
    needed = getattr(trend, "min_measurements", 0)
    watched = _watched(trace, watch or "any")
    verdict = _verdict(trace, bounces, watched, math.ceil(len(trace.timesteps) / every), needed)
    explanation = explain(trace, [bounce.timestep for bounce in bounces if "total" in bounce.parts])
    return Finding(trace, bounces, decays, every, watched, needed, verdict, explanation)


def replay(trace: Trace, rule: Rule, watch: str = "any", every: int = 1, until: float = math.inf) -> list[Bounce]:
    """Show a rule the measurements of a run, part by part, and tell where it decays.

    Measurements that are not finite are passed over, as in training.

    :param every: of how many measurements one is shown, the latest first
    :param until: timestep after which the rule decides no more
    """
    watched = _watched(trace, watch)
    states: dict[str, JsonValue] = {}
    found = []
    for index in range((len(trace.timesteps) - 1) % every, len(trace.timesteps), every):
        timestep = trace.timesteps[index]
        norms = {part: trace.norms[part][index] for part in watched if math.isfinite(trace.norms[part][index])}
        if timestep > until or not math.isfinite(trace.norms["total"][index]):
            continue
        states_now, bounced = observe_each(rule, states, norms)
        states = states_now if bounced else states | states_now
        if bounced:
            found.append(Bounce(timestep, tuple(bounced)))
    return found


def _placed(trace: Trace, bounces: Sequence[Bounce]) -> Trace:
    """Return the run with the decays after bounces where the rule sees these.

    A log tells of a decay at its next dump, so one event would have two places.
    """
    record, moved = trace.record, {}
    logged = {timestep for points in trace.curves.values() for timestep, _ in points}
    for decay in record.decays if record and not record.exact else []:
        before = max((timestep for timestep in logged if timestep < decay.timestep), default=decay.timestep)
        seen = [bounce.timestep for bounce in bounces if before < bounce.timestep <= decay.timestep]
        if decay.cause == "bounce" and seen:
            moved[decay.timestep] = seen[-1]
    if record is None or not moved:
        return trace
    decays = [
        d._replace(timestep=moved.get(d.timestep, d.timestep)) if d.cause == "bounce" else d for d in record.decays
    ]
    record = replace(record, bounces=[moved.get(t, t) for t in record.bounces], decays=decays)
    rate = [(moved.get(t, t), value) for t, value in trace.curves.get("learning rate", [])]
    return replace(trace, record=record, curves=trace.curves | {"learning rate": rate} if rate else trace.curves)


def _watched(trace: Trace, watch: str) -> tuple[str, ...]:
    return tuple(part for part in WATCHABLE if part in trace.norms and watch in ("any", part))


def _final_decay(trace: Trace) -> float:
    decays = trace.record.decays if trace.record else []
    return max((decay.timestep for decay in decays if decay.cause == "final"), default=math.inf)


def first_not_finite(trace: Trace) -> int | None:
    """Return the timestep at which the weights are first not finite, None if they always are.

    A part that was not recorded yet is not a weight that is not finite: the total tells.
    """
    norms = zip(trace.timesteps, trace.norms["total"])
    return next((timestep for timestep, norm in norms if not math.isfinite(norm)), None)


def _verdict(trace: Trace, bounces: Sequence[Bounce], watched: Sequence[str], measured: int, needed: int) -> str:
    """Say what was seen, on how many measurements, and what to do."""
    record, n = trace.record, _count(measured, "measurement")
    n = f"{n} (of {len(trace.timesteps):,})" if measured < len(trace.timesteps) else n
    if (diverged := first_not_finite(trace)) is not None:
        return (
            f"The weights are not finite at timestep {diverged:,}: the training has diverged, and a lower learning "
            "rate comes before any schedule."
        )
    where = f"the {' and '.join(bounces[0].parts)} norm at timestep {bounces[0].timestep:,}" if bounces else ""
    more = f", the first of {len(bounces)}" if len(bounces) > 1 else ""
    if record and record.n_bounces:
        again = f"On this trace the rule sees one too, of {where}{more}."
        if not bounces:
            again = f"On the {n} read here the rule does not see it: what the callback saw counts."
        return f"{_count(record.n_bounces, 'bounce')} in training. {again}"
    if bounces:
        unseen = " The callback saw none in training: was another part watched, or another setting?" if record else ""
        advice = "AbelCallback() would decay after it, which may be worth a try over several seeds"
        return f"The rule sees a bounce of {where}{more}, on {n}: {advice}.{unseen}"
    if not watched:
        return f"Nothing to tell: this run has no such part, only {', '.join(trace.norms)}."
    if measured < needed:
        return f"Too few measurements to tell: {measured}, and the rule needs {needed}. {_more(trace)}"
    if measured < FEW:
        return f"No bounce seen, but on {n} the rule misses bounces that it would find on {CALIBRATED}. {_more(trace)}"
    done = ["followed the KL divergence"] if trace.led else []
    done += ["decayed near the end"] if math.isfinite(_final_decay(trace)) else []
    advice = f"The rate {' and '.join(done)}: nothing to change" if done else "Begin with AutoLearningRate()"
    return f"No bounce seen on {n}, so there is nothing to decay after. {advice}."


def _more(trace: Trace) -> str:
    if trace.source == "checkpoints":
        return "Save more often (save_freq)."
    if trace.source == "csv" and not (trace.record and trace.record.exact):
        return "This file has one row a dump: read abel.csv or the TensorBoard log if there is one."
    return "Train longer, or with shorter rollouts (n_steps)."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def explain(trace: Trace, bounces: Sequence[int]) -> str:
    """Say why the total norm moved as it did, from the two terms of its change.

    Displacement always adds. What alignment does with it decides: takes less (the norm grows), as
    much (equilibrium, Lewkowycz 2021, Sec. 4.1) or more (it falls).
    """
    if len(trace.terms) < len(TERMS):
        return ""
    displacement, alignment = (trace.terms[name] for name in TERMS)
    steps = [(d, a, t) for d, a, t in zip(displacement, alignment, trace.timesteps) if math.isfinite(d + a) and d > 0]
    if len(steps) < 3:
        return ""
    taken = _taken(steps)
    if bounces:
        total = trace.norms["total"][: trace.timesteps.index(bounces[0]) + 1]
        lowest = trace.timesteps[total.index(min(total))]
        before, after = ([step for step in steps if (step[2] <= lowest) is first] for first in (True, False))
        if not before or not after:
            return ""
        return (
            f"Why: up to the minimum at timestep {lowest:,} alignment took {_taken(before):.0%} of what displacement "
            f"added, and after it {_taken(after):.0%}."
        )
    if trace.weight_decay == 0:
        return f"Why: no weight decay, so nothing pulls the norm down by itself; alignment {_moved(taken)}."
    late = _taken(steps[-(len(steps) // 3) :])
    if abs(1 - late) <= EQUILIBRIUM:
        return f"Why: at equilibrium; lately alignment took {late:.0%} of what displacement added."
    if late < 1:
        return f"Why: alignment too weak at this rate and weight decay; lately it {_moved(late)}."
    return f"Why: still falling; lately alignment took {late:.0%} of what displacement added, and no rise has come yet."


def _moved(taken: float) -> str:
    if taken > 0:
        return f"took {taken:.0%} of what displacement added"
    return f"added {-taken:.1f} times as much as displacement"


def _taken(steps: list[tuple[float, float, int]]) -> float:
    return -sum(a for _, a, _ in steps) / sum(d for d, _, _ in steps)
