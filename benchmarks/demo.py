"""Train one agent with the callback and one without, at a rate that is too low: ``python -m benchmarks.demo``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.arguments import folder, positive
from benchmarks.colors import ARM_COLORS, CAUSES, RATE_COLORS
from rl_abel import AutoLearningRate

ENV_ID = "CartPole-v1"
MOST = 500
TIMESTEPS = 50_000
RATE = 3e-5
SETTINGS: dict[str, Any] = {
    "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8
}  # fmt: skip
"""Of the RL Zoo, whose rate is 0.001."""

EPISODES = 10
"""In a mean of the return."""

COLORS = {True: RATE_COLORS["kl-adaptive+final"], False: ARM_COLORS["constant"]}
NAMES = {True: "with AutoLearningRate", False: "without"}


@dataclass
class Course(BaseCallback):
    """The course of one training: the rate of each update, and the return of each episode, at their timesteps."""

    rates: list[tuple[int, float]] = field(default_factory=list)
    returns: list[tuple[int, float]] = field(default_factory=list)
    decayed_at: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def _on_rollout_start(self) -> None:
        # Of the update that was made just now; before the first one of that which is to come.
        self.rates.append((self.num_timesteps, self.model.policy.optimizer.param_groups[0]["lr"]))

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        ended = (info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        self.returns += [(self.num_timesteps, float(total)) for total in ended]
        return True

    def means(self) -> tuple[list[int], list[float]]:
        """Timesteps, and the mean return of the latest :data:`EPISODES` episodes there."""
        latest = [np.mean([total for _, total in self.returns[max(0, n - EPISODES) : n]]) for n in self._numbers]
        return [timestep for timestep, _ in self.returns], [float(mean) for mean in latest]

    @property
    def _numbers(self) -> range:
        return range(1, len(self.returns) + 1)


def train(auto: bool, timesteps: int = TIMESTEPS, seed: int = 0, progress_bar: bool = False) -> Course:
    """Train PPO with the settings of the RL Zoo, but for the rate."""
    env = make_vec_env(ENV_ID, 8, seed=seed)
    model = PPO("MlpPolicy", env, learning_rate=RATE, seed=seed, device="cpu", **SETTINGS)
    course, callback = Course(), AutoLearningRate()
    model.learn(timesteps, callback=[*([callback] if auto else []), course], progress_bar=progress_bar)
    course.decayed_at = callback.decays[0].timestep if callback.decays else None
    return course


def told(courses: dict[bool, Course]) -> Iterator[str]:
    """Say what happened, a line for each training."""
    for auto, course in courses.items():
        rates = [rate for _, rate in course.rates]
        rate = f"at {rates[0]:.2g} all along" if len(set(rates)) == 1 else f"from {rates[0]:.2g} up to {max(rates):.2g}"
        decay = f", a tenth from timestep {course.decayed_at:,} on" if course.decayed_at else ""
        mean = f"{course.means()[1][-1]:.0f} of {MOST}" if course.returns else "no episode ended"
        yield f"{NAMES[auto]:<{len(NAMES[True])}}  return at the end: {mean};  learning rate {rate}{decay}"


def picture(path: Path, courses: dict[bool, Course]) -> None:
    """Save the returns above and the learning rates below, both trainings in one picture."""
    # With as little as the extra "demo" installs.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for auto, course in courses.items():
        style = {"color": COLORS[auto], "lw": 2.4}
        above.plot(*zip(*course.returns or [(0, np.nan)]), ".", color=COLORS[auto], alpha=0.3)
        above.plot(*course.means(), label=NAMES[auto], **style)
        below.step(*zip(*course.rates), where="pre", **style)
        if course.decayed_at:
            marker, label = CAUSES["final"]
            rate = next(rate for timestep, rate in course.rates if timestep > course.decayed_at)
            below.plot(course.decayed_at, rate, marker, color=COLORS[auto], mec="black", ms=10, label=label)
            below.legend(loc="lower right", fontsize=9)
    above.axhline(MOST, color="0.7", lw=1, ls=":", zorder=0)
    above.set(ylabel=f"return (dots: episodes,\nlines: means of {EPISODES})", ylim=(0, 1.06 * MOST))
    below.set(yscale="log", ylabel="learning rate", xlabel="timesteps", xlim=(0, courses[True].rates[-1][0]))
    above.set_title(f"PPO on {ENV_ID}, begun at a learning rate 30 times too low")
    above.legend(loc="center left", fontsize=10)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both, say what happened, and where the picture is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timesteps", type=positive(int), default=TIMESTEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=folder, default=Path("runs"), help="folder of the picture")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"PPO on {ENV_ID}, {given.timesteps:,} timesteps, seed {given.seed}, learning rate {RATE:g}")
    courses = {}
    for auto in (False, True):
        console.print(NAMES[auto])
        courses[auto] = train(auto, given.timesteps, given.seed, progress_bar=True)
    console.print("\n[bold]What happened[/bold]")
    for line in told(courses):
        console.print(f"  {line}", markup=False)
    given.out.mkdir(parents=True, exist_ok=True)
    picture(given.out / "demo.png", courses)
    console.print(f"\nPicture:  {given.out / 'demo.png'}", markup=False)


if __name__ == "__main__":
    main()
