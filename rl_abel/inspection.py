"""What a trace of weight norms says: bounces, what each rule would have decayed, and the paper's advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rl_abel.rule import RULES, find_decays, make_rule
from rl_abel.traces import Trace

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Finding:
    """One run, judged.

    :param bounces: timesteps at which the chosen rule saw a bounce of the total norm
    :param decays: rule -> timesteps at which it would have decayed the rate
    :param verdict: the advice, a sentence
    """

    trace: Trace
    bounces: list[int]
    decays: dict[str, list[int]]
    verdict: str

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
        }


def judge(trace: Trace, rule: str = "trend", **options: Any) -> Finding:
    """Replay every rule on the total norm of a run.

    :param rule: the one whose decays count as bounces
    :param options: of "trend": ``window`` and ``z``
    """
    total = trace.norms["total"]
    decays = {}
    for name in RULES:
        of_rule = options if name == "trend" else {}
        decays[name] = [trace.timesteps[index] for index in find_decays(total, name, **of_rule)]
    needed = getattr(make_rule(rule, **(options if rule == "trend" else {})), "min_measurements", 0)
    return Finding(trace, decays[rule], decays, _verdict(decays[rule], len(total), needed))


def _verdict(bounces: list[int], measured: int, needed: int) -> str:
    if bounces:
        return "The weight norm bounces: ABEL can help (Lewkowycz 2021, Sec. 2)."
    if measured < needed:
        return f"Too few measurements to tell: {measured}, and the rule needs {needed}."
    return (
        "The weight norm does not bounce: a constant rate with one decay near the end should do as well as any "
        "schedule (Lewkowycz 2021, Sec. 3)."
    )


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
