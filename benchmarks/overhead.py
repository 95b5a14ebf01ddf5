"""What the callback costs, as ratios measured in one process: ``python -m benchmarks.overhead``.

Trainings with and without it alternate, so that a machine whose speed drifts slows both alike; the
figure is the median of the paired ratios.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import AbelCallback, weight_norms

TRAININGS: dict[str, tuple[Any, str, int, dict[str, Any]]] = {
    "PPO": (PPO, "CartPole-v1", 50_000, {}),
    "A2C": (A2C, "CartPole-v1", 50_000, {}),
    "SAC": (SAC, "Pendulum-v1", 10_000, {"policy_kwargs": {"net_arch": [64, 64]}}),
    "DQN": (DQN, "CartPole-v1", 10_000, {"learning_starts": 100}),
}
SIZES = {"10k": 93, "1M": 993, "10M": 3155}


class Nothing(BaseCallback):
    """What any callback costs: SB3's own calls of its hooks."""

    def _on_step(self) -> bool:
        return True


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process: others on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def training(name: str, callback: BaseCallback | None) -> Callable[[], object]:
    """Return one training of the named algorithm, the same each time but for the callback."""
    algorithm, env_id, timesteps, kwargs = TRAININGS[name]
    model = algorithm("MlpPolicy", env_id, seed=0, device="cpu", **kwargs)
    return lambda: model.learn(timesteps, callback=callback)


def paired_ratios(name: str, pairs: int) -> list[float]:
    """Time with our callback over time without any, pair by pair, first one then the other first."""
    ratios = []
    for pair in range(pairs):
        # Decisions would change the training; measuring, recording and scheduling all remain.
        abel = AbelCallback(max_decays=0, final_decay_at=None)
        works = {"with": training(name, abel), "without": training(name, None)}
        order = ["with", "without"] if pair % 2 else ["without", "with"]
        times = {kind: seconds(works[kind]) for kind in order}
        ratios.append(times["with"] / times["without"])
    return ratios


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


def main() -> None:
    """Measure and print the three costs, each beside its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of trainings an algorithm (default 9)")
    parser.add_argument("--only", nargs="*", choices=TRAININGS, help="these algorithms (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=100)
    _print(console, "cost", "median ratio", "middle half", "target")
    for name in arguments.only if arguments.only is not None else TRAININGS:
        ratios = paired_ratios(name, arguments.pairs)
        quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        middle = f"{quarters[0]:.4f} to {quarters[2]:.4f}"
        label = f"{name} training, {TRAININGS[name][2]:,} timesteps"
        _print(console, label, f"{statistics.median(ratios):.4f}", middle, "1.005")
    for size, width in SIZES.items():
        count, ratio = norm_ratio(width)
        _print(console, f"weight_norms of {count:,} floats / dot product", f"{ratio:.2f}", "", "1.5" * (size == "10M"))
    _print(console, "importing rl_abel after stable_baselines3", f"{import_milliseconds():.1f} ms", "", "50 ms")


def _print(console: Console, label: str, *figures: str) -> None:
    # A line at a time: the whole takes long, and what has been measured shall not be lost.
    console.print(f"{label:<48}" + "".join(f"{figure:>17}" for figure in figures), highlight=False)


if __name__ == "__main__":
    main()
