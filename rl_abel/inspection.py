"""What a trace of weight norms says: bounces, what each rule would have decayed, and the paper's advice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rl_abel.rule import RULES, find_decays, make_rule
from rl_abel.traces import TERMS, Trace

WATCHABLE = ("policy", "value")
"""Parts that ``AbelCallback(watch=…)`` can be told to watch in place of the total."""

EQUILIBRIUM = 0.1
"""Terms that cancel to this share of displacement are at equilibrium."""

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Finding:
    """One run, judged.

    :param bounces: timesteps at which the chosen rule saw a bounce of the total norm
    :param decays: rule -> timesteps at which it would have decayed the rate
    :param verdict: the advice, a sentence
    :param explanation: why the norm did so, a sentence; empty where ``diagnose=True`` was not set
    """

    trace: Trace
    bounces: list[int]
    decays: dict[str, list[int]]
    verdict: str
    explanation: str

    def as_json(self) -> dict[str, Any]:
        """Return what ``rl-abel inspect --json`` prints of the run."""
        return {
            "path": self.trace.path,
            "source": self.trace.source,
            "timesteps": self.trace.timesteps,
            "weight_norm_total": self.trace.norms["total"],
            "bounces": self.bounces,
            "decays": self.decays,
            "verdict": self.verdict,
            **({"explanation": self.explanation} if self.explanation else {}),
        }


def judge(trace: Trace, rule: str = "trend", **options: Any) -> Finding:
    """Replay every rule on the total norm of a run, and the chosen one on its parts.

    :param rule: the one whose decays count as bounces
    :param options: of "trend": ``window`` and ``z``
    """

    def found(name: str, part: str) -> list[int]:
        of_rule = options if name == "trend" else {}
        return [trace.timesteps[index] for index in find_decays(trace.norms[part], name, **of_rule)]

    decays = {name: found(name, "total") for name in RULES}
    parts = {part: bounces for part in WATCHABLE if part in trace.norms and (bounces := found(rule, part))}
    needed = getattr(make_rule(rule, **(options if rule == "trend" else {})), "min_measurements", 0)
    verdict = _verdict(decays[rule], parts, len(trace.timesteps), needed)
    return Finding(trace, decays[rule], decays, verdict, explain(trace, decays[rule]))


def _verdict(bounces: list[int], parts: dict[str, list[int]], measured: int, needed: int) -> str:
    if bounces:
        return "The weight norm bounces: ABEL can help (Lewkowycz 2021, Sec. 2)."
    if measured < needed:
        return f"Too few measurements to tell: {measured}, and the rule needs {needed}."
    if parts:
        which = " and ".join(f"that of the {part} does, at timestep {first:,}" for part, (first, *_) in parts.items())
        return (
            f"The total weight norm does not bounce, but {which}: ABEL can help, as it watches the parts too, or one "
            f"alone with watch={next(iter(parts))!r}."
        )
    return (
        "The weight norm does not bounce: a constant rate with one decay near the end should do as well as any "
        "schedule (Lewkowycz 2021, Sec. 3)."
    )


def explain(trace: Trace, bounces: list[int]) -> str:
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


def spark(values: list[float], width: int = 60) -> str:
    """Return a line of blocks, lowest to highest, of at most ``width`` characters.

    >>> spark([0, 1, 2, 3, 4, 5, 6, 7])
    '▁▂▃▄▅▆▇█'
    """
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width)]
    finite = [value for value in values if value - value == 0]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((value - low) / step)] if value - value == 0 else " " for value in values)
