"""What a policy is worth: the returns of whole episodes, and the callback that looks on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from benchmarks.plan import Run
from envs import make_evaluation_env

EVALUATION_ENVS = 10
FINAL_ENVS = 50
"""More episodes at once are fewer calls of the policy, which cost more than the environments do."""

# Seeds of training are small; these are streams of their own.
EVALUATION_SEED, FINAL_SEED = 1_000_000, 2_000_000


class Resting(gym.Wrapper[Any, Any, Any, Any]):
    """Stands still once its episodes are played, which nobody looks at any more.

    ``evaluate_policy`` steps all environments until the last has played its share; what the others
    do meanwhile is half of the steps where episodes differ in length.

    :param episodes: after each seeded reset
    """

    def __init__(self, env: gym.Env[Any, Any], episodes: int) -> None:
        super().__init__(env)
        self.episodes = self._left = episodes
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; with a seed, an evaluation."""
        if seed is not None:
            self._left = self.episodes
        elif not self._left:
            return self._observation, {}
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, or stand still."""
        if not self._left:
            return self._observation, 0.0, False, False, {}
        self._observation, reward, terminated, truncated, info = self.env.step(action)
        self._left -= terminated or truncated
        return self._observation, reward, terminated, truncated, info


def evaluation_env(run: Run, episodes: int, most: int, seed: int, training_env: VecEnv) -> VecEnv:
    """Make environments that play ``episodes`` in all, and then rest.

    :param most: environments side by side
    """
    n_envs = min(most, episodes)
    env = make_evaluation_env(run.env_id, n_envs, seed, training_env)
    inner = env.unwrapped
    assert isinstance(inner, DummyVecEnv)
    inner.envs = [Resting(one, share) for one, share in zip(inner.envs, shares(episodes, n_envs))]
    return env


def shares(episodes: int, n_envs: int) -> list[int]:
    """Return how many episodes ``evaluate_policy`` has each environment play."""
    return [(episodes + index) // n_envs for index in range(n_envs)]


@contextmanager
def in_evaluation_mode(policy: BasePolicy) -> Iterator[None]:
    """Set the mode once: ``predict`` does it for every module at every call, a quarter of its time."""
    policy.set_training_mode(False)
    policy.set_training_mode = lambda mode: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del policy.set_training_mode


def evaluate(model: BaseAlgorithm, env: VecEnv, episodes: int, seed: int) -> list[float]:
    """Return the returns of the deterministic policy in episodes that depend on the seed alone."""
    env.seed(seed)
    with in_evaluation_mode(model.policy):
        returns, _ = evaluate_policy(model, env, episodes, deterministic=True, return_episode_rewards=True, warn=False)
    return [float(r) for r in returns]


def log_return(logger: Logger, timestep: int, returns: Sequence[float]) -> None:
    """Write the mean return under the name that SB3's EvalCallback gives it."""
    # A logger of its own on the same outputs: what the training has recorded stays for its own dump.
    apart = Logger(None, logger.output_formats)
    apart.record("eval/mean_reward", sum(returns) / len(returns))
    apart.record("time/total_timesteps", timestep, exclude="tensorboard")
    apart.dump(timestep)


class Evaluation(BaseCallback):
    """Evaluates the policy at equal distances, always on the same episodes, and notes the rate.

    The last one is of the policy after its last update. In the logs the final return, which is of
    that policy too, stands in its place.

    :param env: the one that is trained on
    """

    COLUMNS = ("timesteps", "return_mean", "return_std", "learning_rate")

    def __init__(self, run: Run, env: VecEnv) -> None:
        super().__init__()
        self.run, self._training_env = run, env
        self.rows: list[tuple[float, ...]] = []
        self.seconds = 0.0
        """Spent on episodes so far, those of the final return too."""
        seed = EVALUATION_SEED + run.seed
        self._env = evaluation_env(run, run.evaluation_episodes, EVALUATION_ENVS, seed, env)

    def final_returns(self, model: BaseAlgorithm) -> list[float]:
        """Return the returns of the last policy, on environments that have seen no other episode."""
        seed, episodes = FINAL_SEED + self.run.seed, self.run.final_episodes
        env = evaluation_env(self.run, episodes, FINAL_ENVS, seed, self._training_env)
        try:
            return self._timed(model, env, episodes, seed)
        finally:
            env.close()

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def _on_step(self) -> bool:
        number = len(self.rows) + 1
        # The last update comes after the last step, and the last evaluation after that.
        if number < self.run.evaluations and self.num_timesteps * self.run.evaluations >= number * self.run.timesteps:
            log_return(self.logger, self.num_timesteps, self._evaluate())
        return True

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> list[float]:
        returns = self._timed(self.model, self._env, self.run.evaluation_episodes, EVALUATION_SEED + self.run.seed)
        mean = sum(returns) / len(returns)
        deviation = (sum((r - mean) ** 2 for r in returns) / len(returns)) ** 0.5
        rate = self.model.lr_schedule(self.model._current_progress_remaining)
        self.rows.append((self.num_timesteps, mean, deviation, rate))
        return returns

    def _timed(self, model: BaseAlgorithm, env: VecEnv, episodes: int, seed: int) -> list[float]:
        begun = time.monotonic()
        returns = evaluate(model, env, episodes, seed)
        self.seconds += time.monotonic() - begun
        return returns
