"""The suites that come with the benchmark, as data."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plan import ARMS, PULL, Block, Suite, read_run, read_suite

MAIN = ("constant", "linear", "constant+final", "abel")
REGULARIZED = ("none", "adamw")
FIVE = tuple(range(5))

CLASSIC = (("CartPole-v1", 100_000), ("Acrobot-v1", 200_000), ("Pendulum-v1", 150_000), ("LunarLander-v3", 250_000))
MINATAR = tuple(f"MinAtar/{game}-v1" for game in ("Breakout", "Asterix", "Freeway", "Seaquest", "SpaceInvaders"))
ATARI = tuple(f"{game}NoFrameskip-v4" for game in ("Pong", "Qbert", "Seaquest"))

_SUITES = (
    Suite(
        "smoke",
        "every arm once, in minutes: does it all work here?",
        (
            Block(
                "PPO",
                ("CartPole-v1",),
                10_240,
                tuple(arm for arm in ARMS if arm not in PULL),
                seeds=(0, 1),
            ),
            Block("PPO", ("CartPole-v1",), 10_240, PULL, seeds=(0, 1), regularization=("adamw",)),
        ),
    ),
    Suite(
        "classic",
        "PPO on four tasks, all arms, without and with weight decay",
        tuple(
            Block("PPO", (env_id,), timesteps, regularization=REGULARIZED, strength=(1.0, 10.0))
            for env_id, timesteps in CLASSIC
        ),
    ),
    Suite(
        "offpolicy",
        "algorithms with a replay buffer",
        (
            Block("DQN", ("CartPole-v1",), 50_000, arms=MAIN, seeds=FIVE, regularization=REGULARIZED),
            Block("SAC", ("Pendulum-v1",), 20_000, arms=MAIN, seeds=FIVE, regularization=REGULARIZED),
            Block("CrossQ", ("Pendulum-v1",), 20_000, arms=MAIN, seeds=FIVE, regularization=REGULARIZED),
        ),
    ),
    Suite(
        "minatar",
        "five small games from images",
        (Block("PPO", MINATAR, 1_000_000, arms=MAIN, seeds=FIVE),),
    ),
    Suite(
        "mujoco",
        "two robots",
        (Block("PPO", ("HalfCheetah-v5", "Hopper-v5"), 1_000_000, arms=MAIN, seeds=FIVE),),
    ),
    Suite(
        "paper",
        "the paper's three games, with its three runs each",
        (Block("PPO", ATARI, 10_000_000, arms=("linear", "constant+final", "constant", "abel"), seeds=(0, 1, 2)),),
    ),
)

SUITES: dict[str, Suite] = {suite.name: suite for suite in _SUITES}


def find_suite(name: str) -> Suite:
    """Return the named suite, or read it: a TOML file, or the run.json of a run to be repeated.

    :raises ValueError: for an unknown name; the message lists the known ones
    """
    if name in SUITES:
        return SUITES[name]
    if name.endswith((".toml", ".json")):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"no such file: {name!r}")
        return read_suite(path) if name.endswith(".toml") else read_run(path)
    raise ValueError(f"suite must be one of {list(SUITES)} or the path of a .toml file, got {name!r}")
