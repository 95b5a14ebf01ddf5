"""What a trace of weight norms says: what happened, what each rule would have decayed, and what to do."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from rl_abel.inspection.readers.csv_table import TERMS
from rl_abel.inspection.traces import Trace
from rl_abel.inspection.words import count
from rl_abel.rules.bounce import JsonValue, PaperRule, Rule, TrendRule, observe_each

WATCHABLE = ("total", "policy", "value")  # what AbelCallback(watch=…) can name; "any" is each of them by itself
CALIBRATED = 100  # measurements a run on which the rule "trend" is calibrated
FEW, MANY = 80, 200  # fewer measurements miss bounces that more would show; more see noise, and are thinned
EQUILIBRIUM = 0.1  # terms that cancel to this share of displacement are at equilibrium
BOUNCED = ("in training", "on the trace")  # seen by the callback, or by the rule "trend" alone


class Bounce(NamedTuple):
    """A decision of a rule: when, and which parts decided it."""

    timestep: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One run, judged."""

    trace: Trace
    decays: dict[str, list[Bounce]]  # rule -> where it would have decayed the rate
    every: int  # of how many measurements one was shown to "trend"
    state: str  # what the run came to: "in training", "diverged", "too few to tell" and the like
    verdict: str  # what was seen, on what, and what to do
    explanation: str  # why the norm did so, a sentence; empty where ``diagnose=True`` was not set

    @property
    def bounces(self) -> list[Bounce]:
        """What the rule "trend" sees on the trace; a decay by another rule is no bounce."""
        return self.decays["trend"]

    def as_json(self) -> dict[str, Any]:
        """Return what ``rl-abel inspect --json`` prints of the run; None for what is not a finite number."""
        trace, record = self.trace, self.trace.record
        decays = {rule: [decay._asdict() for decay in decays] for rule, decays in self.decays.items()}
        training = record and {**vars(record), "decays": [decay._asdict() for decay in record.decays]}
        found = {name: getattr(trace, name) for name in ("path", "source", "timesteps", "terms", "curves", "about")}
        found |= {"run": trace.of[0], "runs": trace.of[1], "notes": trace.notes, "skipped": trace.skipped}
        found |= {"weight_norms": trace.norms, "training": training, "bounces": decays["trend"], "decays": decays}
        found |= {"every": self.every, "verdict": self.verdict, "explanation": self.explanation}
        found |= {"bounced": bool(self.bounces or (record and record.n_bounces)), "diverged": self.state == "diverged"}
        plain: dict[str, Any] = json.loads(json.dumps(found), parse_constant=lambda _: None)
        return plain


def judge(trace: Trace, watch: str | None = None, **options: Any) -> Finding:
    """Replay the rules on a run as the callback would have watched it.

    :param watch: "any", "total", "policy" or "value"; None: any with "trend", the total with "paper"
    :param options: of "trend": ``window``, ``z`` and ``depth``
    """
    trend, n = TrendRule(**options), len(trace.timesteps)
    every = round(n / CALIBRATED) if n > MANY else 1
    # In training "trend" does not decide any more once the final decay is in force.
    bounces = replay(trace, trend, watch or "any", every, _final_decay(trace))
    decays = {"trend": bounces, "paper": replay(trace, PaperRule(), watch or "total")}
    trace, shown = _placed(trace, bounces), math.ceil(n / every)
    watched = bool(_watched(trace, watch or "any"))
    state, verdict = _verdict(trace, bounces, watched, shown, trend.min_measurements)
    why = explain(trace, [bounce.timestep for bounce in bounces if "total" in bounce.parts])
    return Finding(trace, decays, every, state, verdict, why)


def _verdict(trace: Trace, bounces: Sequence[Bounce], watched: bool, shown: int, needed: int) -> tuple[str, str]:
    """Return what the run came to; and what was seen, on how many measurements, and what to do."""
    record, total = trace.record, len(trace.timesteps)
    n = count(shown, "measurement") + (f" (of {total:,})" if shown < total else "")
    where = "".join(f"the {' and '.join(b.parts)} norm at timestep {b.timestep:,}" for b in bounces[:1])
    where += f", the first of {len(bounces)}" if bounces[1:] else ""
    for timestep, norm in zip(trace.timesteps, trace.norms["total"]):
        if not math.isfinite(norm):
            advice = "the training has diverged, and a lower learning rate comes before any schedule"
            return "diverged", f"The weights are not finite at timestep {timestep:,}: {advice}."
    if record and record.n_bounces:
        unseen = f"On the {n} read here the rule does not see it: what the callback saw counts."
        again = f"On this trace the rule sees one too, of {where}." if bounces else unseen
        return "in training", f"{count(record.n_bounces, 'bounce')} in training. {again}"
    if bounces:
        unseen = " The callback saw none in training: was another part watched, or another setting?" if record else ""
        advice = "AbelCallback() would decay after it, which may be worth a try over several seeds"
        return "on the trace", f"The rule sees a bounce of {where}, on {n}: {advice}.{unseen}"
    if not watched:
        return "no such part", f"Nothing to tell: this run has no such part, only {', '.join(trace.norms)}."
    more = "Train longer, or with shorter rollouts (n_steps)."
    if trace.source == "checkpoints":
        more = "Save more often (save_freq)."
    elif trace.source == "csv" and not (record and record.exact):
        more = "This file has one row a dump: read abel.csv or the TensorBoard log if there is one."
    if shown < needed:
        return "too few to tell", f"Too few measurements to tell: {shown}, and the rule needs {needed}. {more}"
    if shown < FEW:
        return "not seen (few)", f"No bounce seen, but on {n} the rule misses bounces that it would find on 100. {more}"
    done = [
        *[f"followed the {trace.led}"] * bool(trace.led),
        *["decayed near the end"] * (_final_decay(trace) < math.inf),
    ]
    advice = f"The rate {' and '.join(done)}: nothing to change" if done else "Begin with AutoLearningRate()"
    return "not seen", f"No bounce seen on {n}, so there is nothing to decay after. {advice}."


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
    """Move the decays that a log told of to the bounces that the rule sees; return the run.

    A log tells of a decay at its next dump. Without this one event would have two timesteps.
    """
    record = trace.record
    if record is None or record.exact:
        return trace
    told = {decay.timestep for decay in record.decays if decay.cause == "bounce"}
    dumps = pairwise(sorted({timestep for points in trace.curves.values() for timestep, _ in points}))
    gaps = [(before, dump) for before, dump in dumps if dump in told]
    moved = {dump: b.timestep for before, dump in gaps for b in bounces if before < b.timestep <= dump}
    decays = [
        d if d.cause == "final" else d._replace(timestep=moved.get(d.timestep, d.timestep)) for d in record.decays
    ]
    record = replace(record, bounces=[moved.get(timestep, timestep) for timestep in record.bounces], decays=decays)
    rates = [(moved.get(timestep, timestep), rate) for timestep, rate in trace.curves.get("learning rate", [])]
    return replace(trace, record=record, curves=trace.curves | ({"learning rate": rates} if rates else {}))


def _watched(trace: Trace, watch: str) -> tuple[str, ...]:
    return tuple(part for part in WATCHABLE if part in trace.norms and watch in ("any", part))


def _final_decay(trace: Trace) -> float:
    decays = trace.record.decays if trace.record else []
    return max((decay.timestep for decay in decays if decay.cause == "final"), default=math.inf)


def explain(trace: Trace, bounces: Sequence[int]) -> str:
    """Say why the total norm moved as it did, from the two terms of its change.

    Displacement always adds. Alignment takes less (the norm grows), as much (equilibrium, Lewkowycz 2021, Sec. 4.1)
    or more (it falls).
    """
    terms = zip(trace.timesteps, *(trace.terms.get(name, ()) for name in TERMS))
    steps = [(t, added, -moved) for t, added, moved in terms if math.isfinite(added + moved) and added > 0]
    if len(steps) < 3:
        return ""
    if bounces:
        norms = zip(trace.norms["total"], trace.timesteps)
        _, lowest = min((norm, timestep) for norm, timestep in norms if timestep <= bounces[0])
        fall, rise = ([step for step in steps if (step[0] <= lowest) is first] for first in (True, False))
        said = f"up to the minimum at timestep {lowest:,} alignment {_took(fall)}; after it, it {_took(rise)}"
        return f"Why: {said}." if fall and rise else ""
    late = steps[-(len(steps) // 3) :]
    why = "still falling, and no rise has come yet"
    if trace.weight_decay == 0:
        why = "no weight decay, so nothing pulls the norm down by itself"
    elif abs(1 - _share(late)) <= EQUILIBRIUM:
        why = "at equilibrium"
    elif _share(late) < 1:
        why = "alignment too weak at this rate and weight decay"
    return f"Why: {why}; lately alignment {_took(late)}."


def _share(steps: Sequence[tuple[int, float, float]]) -> float:
    """How much alignment took, over what displacement added; 0 of no steps."""
    return sum(taken for _, _, taken in steps) / (sum(added for _, added, _ in steps) or 1.0)


def _took(steps: Sequence[tuple[int, float, float]]) -> str:
    share = _share(steps)
    if share > 0:
        return f"took {share:.0%} of what displacement added"
    return f"added {-share:.1f} times as much as displacement"
