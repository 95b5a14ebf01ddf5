"""False decays and recall of the rules on seeded families of traces: ``python -m benchmarks.measure calibration``."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_abel import Rule, find_decays
from rl_abel.rules.bounce import make_rule

Rng = np.random.Generator
MINIMUM = 35


def autoregression(rng: Rng, rho: float, length: int) -> np.ndarray:
    """First-order autoregression with unit innovations, started in equilibrium."""
    noise = rng.standard_normal(length)
    trace = np.empty(length)
    trace[0] = noise[0] / np.sqrt(1 - rho**2)
    for t in range(1, length):
        trace[t] = rho * trace[t - 1] + noise[t]
    return trace


def bounce(length: int = 100) -> np.ndarray:
    """A norm that falls from 300 to its minimum of 180 at 35, then grows and levels off at 255."""
    t = np.arange(length)
    fall = 300 - 120 * (1 - np.exp(-t / 12)) / (1 - np.exp(-MINIMUM / 12))
    return np.where(t < MINIMUM, fall, 180 + 75 * (1 - np.exp(-(t - MINIMUM) / 15)))


def _add(trace: np.ndarray, scale: float) -> Callable[[Rng], np.ndarray]:
    return lambda rng: trace + scale * rng.standard_normal(len(trace))


def _growth(scale: float) -> Callable[[Rng], np.ndarray]:
    return lambda rng: 100 + np.cumsum(1 + scale * rng.standard_normal(100))


NO_BOUNCE: dict[str, Callable[[Rng], np.ndarray]] = {
    **{f"steady growth, noise {s:g}": _add(100.0 + np.arange(100), s) for s in (0.25, 1, 2)},
    **{f"growth by noisy steps, {s:g}": _growth(s) for s in (0.5, 1, 2)},
    "random walk of 100": lambda rng: np.cumsum(rng.standard_normal(100)),
    "random walk of 500": lambda rng: np.cumsum(rng.standard_normal(500)),
    "AR(0.8)": lambda rng: autoregression(rng, 0.8, 100),
    "sum of AR(0.5), 500": lambda rng: np.cumsum(autoregression(rng, 0.5, 500)),
    "sum of AR(0.5), every fifth of 500": lambda rng: np.cumsum(autoregression(rng, 0.5, 500))[::5],
}
"""Families without a bounce: every decay is a false one."""

BOUNCE = {f"bounce, noise {s:g}": _add(bounce(), s) for s in (0, 0.5, 1, 2, 4)}
"""Families with one bounce, its minimum at 35: one decay, after it."""


def decays_of(rule: Rule, family: str, n_traces: int) -> list[list[int]]:
    """Return where the rule decays in each of the family's first ``n_traces`` traces."""
    make = {**NO_BOUNCE, **BOUNCE}[family]
    # Each trace has a seed of its own, so that a family does not change when another is added.
    rngs = [np.random.default_rng([zlib.crc32(family.encode()), seed]) for seed in range(n_traces)]
    return [find_decays(make(rng).tolist(), rule) for rng in rngs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print mean decays a trace, with its standard error, and recall where there is a bounce."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure calibration", description=__doc__)
    parser.add_argument("--traces", type=int, default=1500, help="traces a family (default 1500)")
    parser.add_argument("--window", type=int, help="of the rule 'trend'")
    parser.add_argument("--z", type=float, help="of the rule 'trend'")
    given = parser.parse_args(arguments)
    options = {name: value for name in ("window", "z") if (value := getattr(given, name)) is not None}
    rules = {"paper": make_rule("paper"), "trend": make_rule("trend", **options)}
    table = Table(
        title=f"{rules['trend']!r} on {given.traces} traces a family: without a bounce, decays are false",
        caption="found: share of traces with a decay after the minimum; early: before it; twice: more than one decay",
    )
    table.add_column("family")
    for heading in ("Algorithm 1: decays", "trend: decays", "found", "early", "twice"):
        table.add_column(heading, justify="right")
    for family in {**NO_BOUNCE, **BOUNCE}:
        paper = np.array([len(d) for d in decays_of(rules["paper"], family, given.traces)])
        decays = decays_of(rules["trend"], family, given.traces)
        counts = np.array([len(d) for d in decays])
        error = counts.std(ddof=1) / np.sqrt(len(counts))
        row = [family, f"{paper.mean():.2f}", f"{counts.mean():.4f} ± {error:.4f}"]
        if family in BOUNCE:
            found = np.mean([bool(d) and d[0] >= MINIMUM for d in decays])
            early = np.mean([bool(d) and d[0] < MINIMUM for d in decays])
            row += [f"{found:.3f}", f"{early:.3f}", f"{np.mean(counts > 1):.3f}"]
        table.add_row(*row)
    Console(width=max(Console().width, 110)).print(table)
