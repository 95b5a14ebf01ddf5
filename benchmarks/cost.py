"""How long runs will take on this machine, before they are started."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable

from benchmarks.branches import saved, units
from benchmarks.plan import Run

# Processor seconds for a thousand timesteps, for an episode of evaluation and for what a run costs
# besides, measured beside REFERENCE_SECONDS on one machine; ``cost_of`` scales them to this one.
SECONDS_PER_1000: dict[tuple[str, str], float] = {
    ("PPO", "CartPole-v1"): 0.30,
    ("PPO", "Acrobot-v1"): 0.20,
    ("PPO", "Pendulum-v1"): 0.25,
    ("PPO", "LunarLander-v3"): 0.45,
    ("PPO", "HalfCheetah-v5"): 0.60,
    ("PPO", "Hopper-v5"): 0.60,
    ("A2C", "CartPole-v1"): 0.20,
    ("DQN", "CartPole-v1"): 0.55,
    ("SAC", "Pendulum-v1"): 9.0,
    ("TD3", "Pendulum-v1"): 7.0,
    ("CrossQ", "Pendulum-v1"): 12.0,
    ("SAC-SimBa", "Pendulum-v1"): 11.0,
}
BY_AGENT = {
    "PPO": 0.8,
    "A2C": 0.5,
    "DQN": 2.0,
    "SAC": 10.0,
    "TD3": 8.0,
    "CrossQ": 20.0,
    "PPO-SimBa": 1.0,
    "SAC-SimBa": 12.0,
}
"""Where an agent has not been measured on an environment."""

ATARI = {"PPO": 3.0, "A2C": 3.0, "DQN": 6.0}
STARTUP = 1.0
EPISODE = 0.013
REFERENCE_SECONDS = 0.042


@functools.cache
def slowness() -> float:
    """How many times slower this machine is, now, than the one the figures are from.

    Measured on plain Python, which is most of what small networks and environments cost; loading
    torch to measure it would take longer than listing the suites.
    """
    times = []
    for _ in range(5):
        start = time.perf_counter()
        sum(number * number for number in range(10**6))
        times.append(time.perf_counter() - start)
    return min(times) / REFERENCE_SECONDS


def cost_of(run: Run) -> float:
    """Return the seconds one worker of this machine will take for a run, a rough figure."""
    per_1000 = SECONDS_PER_1000.get((run.agent, run.env_id))
    if per_1000 is None:
        atari = run.env_id.endswith("NoFrameskip-v4")
        per_1000 = ATARI.get(run.agent, 10.0) if atari else BY_AGENT.get(run.agent, 10.0)
    episodes = run.evaluations * run.evaluation_episodes + run.final_episodes
    return slowness() * (STARTUP + EPISODE * episodes + per_1000 * run.timesteps / 1000)


def in_words(seconds: float) -> str:
    """Return a duration for people: "40 s", "12 min", "3.4 h", "12 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def total(runs: Iterable[Run], workers: int, branches: bool = True) -> float:
    """Return the seconds that ``workers`` will take for all runs.

    :param branches: whether the beginnings that runs have in common are trained once
    """
    grouped = units(runs) if branches else [(run,) for run in runs]
    seconds = [(1 - saved([unit])) * sum(map(cost_of, unit)) for unit in grouped]
    # A unit is for one worker.
    return max([sum(seconds) / workers, *seconds])
