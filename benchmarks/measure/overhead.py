"""What the callback costs, as ratios measured in one process: ``python -m benchmarks.measure overhead``.

A training with the callback and the same one without take turns of a few environment steps, on one
core, each with its own state of the random generators: two whole trainings one after the other
differ by some 5 % of their own accord, ten times what is to be measured. ``--callback cooldown`` is a
decay that is another at every update over one that is a step.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.console import Console
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import AbelCallback, BudgetRateCallback, RateByPart, TrendRule, weight_norms

TRAININGS: dict[str, tuple[Any, str, int, dict[str, Any]]] = {
    "PPO": (PPO, "CartPole-v1", 50_000, {}),
    "A2C": (A2C, "CartPole-v1", 50_000, {}),
    "SAC": (SAC, "Pendulum-v1", 10_000, {"policy_kwargs": {"net_arch": [64, 64]}}),
    "DQN": (DQN, "CartPole-v1", 10_000, {"learning_starts": 100}),
    "DQN-each-step": (DQN, "CartPole-v1", 5_000, {"learning_starts": 100, "train_freq": 1}),
}
SIZES = {"10k": 93, "1M": 993, "10M": 3155}


CALLBACKS: dict[str, Callable[[], BaseCallback]] = {
    # Decisions would change the training; measuring, recording and scheduling all remain.
    "abel": lambda: AbelCallback(max_decays=0, final_decay_at=None),
    "diagnose": lambda: AbelCallback(max_decays=0, final_decay_at=None, diagnose=True),
    "scope-part": lambda: AbelCallback(TrendRule(z=1e9), final_decay_at=None, scope="part"),
    "rate-by-part": RateByPart,
    # Nearly at the rate of SAC's default: at another rate the training itself takes another time.
    "budget": lambda: BudgetRateCallback(scale=0.03),
    # A rate that is another at every update, in nearly all of the training.
    "cooldown": lambda: AbelCallback(max_decays=0, final_decay_at=0.01, final_decay_shape="linear"),
}
AGAINST: dict[str, Callable[[], BaseCallback]] = {
    "cooldown": lambda: AbelCallback(max_decays=0, final_decay_at=0.01),
}
"""What the other training of a pair has; nothing if it is not here."""
TARGETS = {"abel": "1.005", "budget": "1.01"}

TURN = 10
"""Environment steps of a turn; with turns of 100 the ratios of equal trainings scatter twice as much."""


class Turns:
    """Two threads of which one runs at a time; the processor time of each is kept apart."""

    def __init__(self, first: str, second: str) -> None:
        self.seconds = {first: 0.0, second: 0.0}
        self._other = {first: second, second: first}
        self._may_run = {first: threading.Semaphore(1), second: threading.Semaphore(0)}
        self._random_states = {name: _random_state() for name in self.seconds}
        self._started = 0.0

    def begin(self, name: str) -> None:
        """Wait for one's turn, and go on with one's own random numbers."""
        self._may_run[name].acquire()
        torch_state, numpy_state, python_state = self._random_states[name]
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        self._started = time.thread_time()

    def end(self, name: str) -> None:
        """Hand over to the other."""
        self.seconds[name] += time.thread_time() - self._started
        self._random_states[name] = _random_state()
        self._may_run[self._other[name]].release()


class TakesTurns(gymnasium.Wrapper):  # type: ignore[type-arg]
    """Hands over to the other training after every :data:`TURN` steps."""

    def __init__(self, env: gymnasium.Env[Any, Any], turns: Turns, name: str) -> None:
        super().__init__(env)
        self.turns, self.name, self.steps = turns, name, 0

    def step(self, action: Any) -> Any:
        """Step, then hand over if the turn is up."""
        result = self.env.step(action)
        self.steps += 1
        if self.steps % TURN == 0:
            self.turns.end(self.name)
            self.turns.begin(self.name)
        return result


def paired_ratio(name: str, order: Sequence[str], timesteps: int, callback: str = "abel") -> float:
    """Processor time of a training with our callback over that of the same one without, or with a simpler one."""
    callbacks = {"with": CALLBACKS[callback], "without": AGAINST.get(callback, lambda: None)}
    turns = Turns(*order)

    def work(kind: str) -> None:
        turns.begin(kind)
        algorithm, env_id, _, kwargs = TRAININGS[name]
        model = algorithm("MlpPolicy", TakesTurns(gymnasium.make(env_id), turns, kind), seed=0, device="cpu", **kwargs)
        model.learn(timesteps, callback=callbacks[kind]())
        turns.end(kind)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return turns.seconds["with"] / turns.seconds["without"]


def paired_ratios(name: str, pairs: int, callback: str = "abel") -> list[float]:
    """One ratio a pair, the one and the other first in turn, after a short pair that warms up."""
    paired_ratio(name, ("with", "without"), TRAININGS[name][2] // 10, callback)
    orders = [("with", "without"), ("without", "with")]
    return [paired_ratio(name, orders[pair % 2], TRAININGS[name][2], callback) for pair in range(pairs)]


def _random_state() -> tuple[torch.Tensor, dict[str, Any], tuple[Any, ...]]:
    return torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process: others on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def norm_ratio(width: int, repeats: int = 41) -> tuple[int, float]:
    """One ``weight_norms`` call over one dot product of the same floats with themselves."""
    # Two hidden layers in the policy network alone: nearly all weights are in one matrix.
    arch = {"pi": [width, width], "vf": [8]}
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, policy_kwargs={"net_arch": arch}, device="cpu")
    flat = torch.cat([p.detach().reshape(-1) for p in model.policy.parameters()])
    ratios = []
    for _ in range(repeats):
        ours = seconds(lambda: weight_norms(model))
        ratios.append(ours / max(seconds(lambda: torch.dot(flat, flat)), 1e-7))
    return flat.numel(), statistics.median(ratios)


def import_milliseconds(repeats: int = 9) -> float:
    """Median milliseconds that importing rl_abel and its callback adds after stable_baselines3."""
    code = "import stable_baselines3, time; t = time.perf_counter(); from rl_abel import AbelCallback; "
    command = [sys.executable, "-c", code + "print(1e3 * (time.perf_counter() - t))"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(repeats)]
    return statistics.median(float(run.stdout) for run in runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the three costs, each beside its target."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.measure overhead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=7, help="pairs of trainings an algorithm (default 7)")
    parser.add_argument("--only", nargs="*", choices=TRAININGS, help="these algorithms (default: all)")
    parser.add_argument("--callback", choices=CALLBACKS, default="abel", help="whose cost (default abel)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    # It begins before anything is learned, on purpose.
    warnings.filterwarnings("ignore", "rl_abel: learning_starts=")
    if hasattr(os, "sched_setaffinity"):  # Linux: moving between cores costs a cold cache
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    console = Console(width=100)
    _print(console, "cost", "median ratio", "middle half", "target")
    for name in given.only if given.only is not None else TRAININGS:
        ratios = paired_ratios(name, given.pairs, given.callback)
        quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        middle = f"{quarters[0]:.4f} to {quarters[2]:.4f}"
        label = f"{name} training, {TRAININGS[name][2]:,} timesteps"
        _print(console, label, f"{statistics.median(ratios):.4f}", middle, TARGETS.get(given.callback, "1.01"))
    for size, width in SIZES.items():
        count, ratio = norm_ratio(width)
        _print(console, f"weight_norms of {count:,} floats / dot product", f"{ratio:.2f}", "", "1.5" * (size == "10M"))
    _print(console, "importing rl_abel after stable_baselines3", f"{import_milliseconds():.1f} ms", "", "50 ms")


def _print(console: Console, label: str, *figures: str) -> None:
    # A line at a time: the whole takes long, and what has been measured shall not be lost.
    console.print(f"{label:<48}" + "".join(f"{figure:>17}" for figure in figures), highlight=False)
