"""The first run of the tutorial, SAC whose weight norm bounces, and its picture: ``python -m docs.pictures bounce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.colors import ARM_COLORS, CAUSES, PART_COLORS
from rl_abel import AbelCallback, Decay

ENV_ID = "Pendulum-v1"
TIMESTEPS = 10_000
BASE_RATE = 1e-3
WATCHED = "policy"
EPISODES = 10
"""In a mean of the return."""


@dataclass(frozen=True)
class Trained:
    """What a training leaves: measurements of |w|^2 by part, decays, and the return of each episode at its end."""

    norms: Mapping[str, Sequence[float]]
    timesteps: Sequence[int]
    decays: Sequence[Decay]
    ends: Sequence[int]
    returns: Sequence[float]

    def over_start(self, part: str) -> np.ndarray:
        """|w|^2 of a part over its first measurement, shape (measurements,)."""
        return np.array(self.norms[part]) / self.norms[part][0]

    def rates(self) -> list[float]:
        """The learning rate at the start and after each decay."""
        return [float(rate) for rate in BASE_RATE * np.cumprod([1, *(decay.factor for decay in self.decays)])]


def train(folder: Path, timesteps: int = TIMESTEPS, seed: int = 0) -> Trained:
    """Train as the tutorial does: with weight decay, without which the norm is not expected to bounce."""
    env = VecNormalize(make_vec_env(ENV_ID, seed=seed), norm_obs=False)
    model = SAC(
        "MlpPolicy",
        env,
        learning_rate=BASE_RATE,
        policy_kwargs={
            "net_arch": [64, 64],
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"weight_decay": 1.0},
        },
        tensorboard_log=str(folder),
        seed=seed,
        device="cpu",
    )
    callback = AbelCallback(rule="trend", watch=WATCHED, decay_factor=0.3, verbose=1)
    model.learn(timesteps, callback=callback, log_interval=1)
    norms = {part: norms for part, norms in callback.trace.items() if part != "timesteps"}
    [returns], [lengths] = env.env_method("get_episode_rewards"), env.env_method("get_episode_lengths")
    return Trained(norms, callback.trace["timesteps"], callback.decays, np.cumsum(lengths).tolist(), returns)


def picture(path: Path, trained: Trained) -> None:
    """Save weight norms over their start, return and learning rate, one below the other, decays marked."""
    import matplotlib.pyplot as plt

    from benchmarks.drawing import png

    figure, (above, middle, below) = plt.subplots(3, 1, figsize=(9, 7), sharex=True, height_ratios=[5, 3, 3])
    end = max([*trained.timesteps, *trained.ends])
    for part in trained.norms:
        style = {"color": PART_COLORS.get(part, "#888888"), "lw": 2.4 if part == WATCHED else 1.2}
        label = f"{part} (watched)" if part == WATCHED else part
        above.plot(trained.timesteps, trained.over_start(part), label=label, **style)
    above.set(ylabel="|w|² over its start", ylim=(0, None))
    color = ARM_COLORS["abel"]
    middle.plot(trained.ends, trained.returns, ".", color=color, alpha=0.4, label="an episode")
    if len(trained.returns) >= EPISODES:
        means = np.convolve(trained.returns, np.ones(EPISODES) / EPISODES, "valid")
        middle.plot(trained.ends[EPISODES - 1 :], means, color=color, lw=2, label=f"mean of {EPISODES}")
    middle.set(ylabel="return")
    rates = trained.rates()
    at = [0, *(decay.timestep for decay in trained.decays), end]
    below.step(at, [*rates, rates[-1]], where="post", color=color, lw=2)
    below.set(
        yscale="log", ylabel="learning rate", xlabel="timesteps", xlim=(0, end), ylim=(rates[-1] / 2, 2 * rates[0])
    )
    for decay, rate in zip(trained.decays, rates[1:]):
        marker, label = CAUSES[decay.cause]
        style = {"color": PART_COLORS[WATCHED], "mec": "black", "ms": 11, "ls": "none", "zorder": 5}
        height = np.interp(decay.timestep, trained.timesteps, trained.over_start(WATCHED))
        above.plot(decay.timestep, height, marker, label=label, **style)
        below.plot(decay.timestep, rate, marker, **{**style, "color": color})
        below.annotate(f"× {decay.factor:g}", (decay.timestep, rate), (-12, -4), textcoords="offset points", ha="right")
        for axes in (above, middle, below):
            axes.axvline(decay.timestep, color="0.6", lw=1, ls="--" if decay.cause == "bounce" else ":", zorder=0)
    bounced = any(decay.cause == "bounce" for decay in trained.decays)
    what = "the weight norm bounces and the rate decays, then once more" if bounced else "no bounce, one decay"
    above.set_title(f"SAC on {ENV_ID}: {what} near the end")
    above.legend(loc="upper center", ncols=2, fontsize=9)
    middle.legend(loc="lower right", fontsize=9)
    path.write_bytes(png(figure))
