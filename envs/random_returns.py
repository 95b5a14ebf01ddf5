"""Measure the returns of uniformly random actions: ``python -m envs.random_returns``."""

from __future__ import annotations

import argparse
import math
import statistics
import time

import numpy as np

from envs.factory import MissingExtraError, make_evaluation_env
from envs.table import ENVS, find_env

EPISODES = 200


def random_returns(env_id: str, episodes: int, seed: int) -> list[float]:
    """Return the returns of whole episodes of uniformly random actions.

    One environment, so that no short episode is counted in the place of a long one.

    :param env_id: one of ``ENVS``
    :param episodes: how many, at least 1
    :param seed: of the environment and the actions
    """
    env = make_evaluation_env(env_id, 1, seed)
    env.action_space.seed(seed)
    env.reset()
    returns: list[float] = []
    while len(returns) < episodes:
        *_, infos = env.step(np.array([env.action_space.sample()]))
        if "episode" in infos[0]:
            returns.append(float(infos[0]["episode"]["r"]))
    env.close()
    return returns


def main(argv: list[str] | None = None) -> None:
    """Print a row an environment: mean, standard error, episodes, seconds."""
    parser = argparse.ArgumentParser(prog="python -m envs.random_returns", description=__doc__)
    parser.add_argument("env_id", nargs="*", default=list(ENVS), help="all by default")
    parser.add_argument("--episodes", type=int, default=EPISODES, help=f"default: {EPISODES}")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.episodes < 1:
        parser.error(f"--episodes must be at least 1, got {arguments.episodes}")
    try:
        env_ids = [find_env(env_id).env_id for env_id in arguments.env_id]
    except ValueError as error:
        parser.error(str(error))
    print(f"{'env_id':26} {'random':>10} {'s.e.':>8} {'episodes':>8} {'seconds':>8} {'reference':>10}")
    for env_id in env_ids:
        start = time.perf_counter()
        try:
            returns = random_returns(env_id, arguments.episodes, arguments.seed)
        except MissingExtraError as error:
            print(f"{env_id:26} {error}")
            continue
        mean = statistics.fmean(returns)
        standard_error = statistics.stdev(returns) / math.sqrt(len(returns)) if len(returns) > 1 else math.nan
        seconds = time.perf_counter() - start
        reference = ENVS[env_id].reference_return
        print(
            f"{env_id:26} {mean:10.3f} {standard_error:8.3f} {len(returns):8} {seconds:8.1f} {reference:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
