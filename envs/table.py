"""What the benchmark knows of each environment. Standard library only.

Returns are undiscounted sums of an episode's own rewards, neither clipped nor normalised.
``random_return`` is measured by ``python -m envs.random_returns --episodes N`` with seed 0,
``reference_return`` is published; together they put the returns of different tasks on one scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FAMILIES: dict[str, tuple[str, ...]] = {
    "classic": (),
    "box2d": ("Box2D",),
    "mujoco": ("mujoco",),
    "minatar": ("minatar",),
    "atari": ("ale_py", "cv2"),
}
"""The modules that each family needs beside Gymnasium; the extra to install has the family's name."""


@dataclass(frozen=True)
class EnvSpec:
    """An environment, how it is made, and the two returns that normalise its scores.

    :param env_id: Gymnasium's id
    :param family: one of ``FAMILIES``
    :param reference_return: mean return of a published, tuned agent
    :param reference_source: whose, where, on what budget
    :param random_return: mean return of uniformly random actions, measured here
    :param random_episodes: episodes behind ``random_return``
    :param make_kwargs: passed to ``gymnasium.make``
    """

    env_id: str
    family: str
    reference_return: float
    reference_source: str
    random_return: float
    random_episodes: int
    make_kwargs: dict[str, Any] = field(default_factory=dict)

    def score(self, mean_return: float) -> float:
        """Return the normalised score: 0 is random, 1 the reference, and neither is a bound."""
        return (mean_return - self.random_return) / (self.reference_return - self.random_return)


def _zoo(row: str, other_version: str = "") -> str:
    return f"rl-baselines3-zoo benchmark.md, {row}, one run" + (
        f"; measured on {other_version}" if other_version else ""
    )


# Young & Tian (2019, arXiv 1903.03176) publish curves, not numbers, so these come from elsewhere.
_MINATAR = (
    "DQN baseline, mean of 5 seeds, in 'Local Reinforcement Learning with Action-Conditioned Root Mean Squared "
    "Q-Functions' (ICLR 2026, openreview pi4tbBMLsM), its MinAtar table as quoted by a public note on the paper"
)

# Of MinAtar's games only Freeway has a limit, of 2,500 steps, and an agent that never drops the ball
# would play for ever: this is twice as much.
_MINATAR_LIMIT = {"max_episode_steps": 5_000}

_TABLE = (
    EnvSpec("CartPole-v1", "classic", 500.0, _zoo("PPO 500.0 ± 0.0, 100k steps"), 22.654, 1000),
    EnvSpec("Acrobot-v1", "classic", -73.506, _zoo("PPO -73.5 ± 18.2, 1M steps"), -499.450, 200),
    EnvSpec("Pendulum-v1", "classic", -172.225, _zoo("PPO -172.2 ± 104.2, 100k steps"), -1230.430, 1000),
    EnvSpec("LunarLander-v3", "box2d", 242.119, _zoo("PPO 242.1 ± 31.8, 1M steps", "LunarLander-v2"), -182.292, 1000),
    EnvSpec(
        "LunarLanderContinuous-v3",
        "box2d",
        260.390,
        _zoo("SAC 260.4 ± 65.5, 500k steps", "LunarLanderContinuous-v2"),
        -215.743,
        1000,
    ),
    EnvSpec("MountainCar-v0", "classic", -100.849, _zoo("DQN -100.8 ± 9.9, 120k steps"), -200.0, 1000),
    EnvSpec("MountainCarContinuous-v0", "classic", 94.679, _zoo("SAC 94.7 ± 1.1, 50k steps"), -33.208, 200),
    EnvSpec("HalfCheetah-v5", "mujoco", 5819.099, _zoo("PPO 5819 ± 664, 1M steps", "HalfCheetah-v3"), -283.253, 200),
    EnvSpec("Hopper-v5", "mujoco", 2410.435, _zoo("PPO 2410 ± 10, 1M steps", "Hopper-v3"), 17.373, 1000),
    EnvSpec(
        "InvertedPendulum-v5",
        "mujoco",
        1000.0,
        "TD3 1000.0 ± 0.0, 1M steps, Fujimoto et al. 2018 (arXiv 1802.09477), Table 1; measured on InvertedPendulum-v1",
        5.119,
        1000,
    ),
    # -v1 is MinAtar's minimal action set, -v0 all six actions for every game.
    EnvSpec("MinAtar/Breakout-v1", "minatar", 27.09, _MINATAR, 0.400, 1000, _MINATAR_LIMIT),
    EnvSpec("MinAtar/Asterix-v1", "minatar", 13.60, _MINATAR, 0.485, 1000, _MINATAR_LIMIT),
    EnvSpec("MinAtar/Freeway-v1", "minatar", 55.86, _MINATAR, 0.408, 1000, _MINATAR_LIMIT),
    EnvSpec("MinAtar/Seaquest-v1", "minatar", 37.96, _MINATAR, 0.117, 1000, _MINATAR_LIMIT),
    EnvSpec("MinAtar/SpaceInvaders-v1", "minatar", 188.03, _MINATAR, 4.109, 1000, _MINATAR_LIMIT),
    EnvSpec("PongNoFrameskip-v4", "atari", 20.989, _zoo("PPO 21.0 ± 0.1, 10M steps"), -20.290, 200),
    EnvSpec("QbertNoFrameskip-v4", "atari", 15627.108, _zoo("PPO 15627 ± 3314, 10M steps"), 156.625, 200),
    EnvSpec("SeaquestNoFrameskip-v4", "atari", 1783.636, _zoo("PPO 1784 ± 34, 10M steps"), 68.400, 200),
)

ENVS: dict[str, EnvSpec] = {spec.env_id: spec for spec in _TABLE}


def find_env(env_id: str) -> EnvSpec:
    """Return what is known of an environment.

    :raises ValueError: for an unknown ``env_id``; the message lists the known ones
    """
    if env_id not in ENVS:
        raise ValueError(f"env_id must be one of {list(ENVS)}, got {env_id!r}")
    return ENVS[env_id]
