"""From an id to seeded, monitored environments, for training and for evaluation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Literal

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
)

from envs.table import FAMILIES, EnvSpec, find_env

logger = logging.getLogger(__name__)

FRAME_STACK = 4
"""Frames in one Atari observation, as in Mnih et al. 2015."""


class MissingExtraError(ImportError):
    """An environment's own package is not installed; the message has the command that installs it."""


class SeededVecEnv(DummyVecEnv):
    """A DummyVecEnv whose seeds never meet those of another one.

    SB3 seeds environment ``i`` with ``seed + i``, so that neighbouring seeds share all but one of
    their environments: runs 0 and 1, or a run and its evaluation, would not be independent.
    """

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Derive a seed for each environment, used at the next reset; None for unpredictable ones."""
        self._seeds = [int(state) for state in np.random.SeedSequence(seed).generate_state(self.num_envs)]
        return self._seeds


def make_env(
    env_id: str, n_envs: int, seed: int, *, normalize: bool | Literal["observations"] = False, gamma: float = 0.99
) -> VecEnv:
    """Make environments to train on.

    A :class:`Monitor` directly around each environment records the true returns of whole episodes in
    ``info["episode"]``, whatever the wrappers above do to rewards and ends. Building a model with a
    seed reseeds its environments with that seed: a run has one seed, not two.

    :param env_id: one of ``ENVS``
    :param n_envs: environments stepped one after the other in this process, at least 1
    :param seed: at least 0; each environment gets one of its own from it
    :param normalize: whether observations and rewards, or "observations" alone, are scaled by running statistics
    :param gamma: discount of the return whose deviation scales the rewards; only with ``normalize``
    :return: a seeded environment; Atari ones give 84x84 images, four deep, with rewards clipped to
        their sign and episodes ending with each life
    :raises ValueError: for an unknown ``env_id``, or an argument out of range
    :raises MissingExtraError: if the environment's package is not installed
    """
    if normalize not in (False, True, "observations"):
        raise ValueError(f'normalize must be False, True or "observations", got {normalize!r}')
    env = _make(find_env(env_id), n_envs, seed, training=True)
    return VecNormalize(env, norm_reward=normalize is True, gamma=gamma) if normalize else env


def make_evaluation_env(env_id: str, n_envs: int, seed: int, training_env: VecEnv | None = None) -> VecEnv:
    """Make environments to evaluate on: whole episodes, with the environment's own rewards.

    Atari games are played to their end: lives do not end episodes, rewards are not clipped.
    Where training is normalised the observations are scaled by the statistics of ``training_env``
    as they are at each step, which are read and never updated.

    :param env_id: one of ``ENVS``
    :param n_envs: environments stepped one after the other in this process, at least 1
    :param seed: at least 0, and another one than that of training
    :param training_env: what the model trains on; None where it is not normalised
    :raises ValueError: for an unknown ``env_id``, or an argument out of range
    :raises MissingExtraError: if the environment's package is not installed
    """
    env = _make(find_env(env_id), n_envs, seed, training=False)
    normalized = unwrap_vec_normalize(training_env) if training_env is not None else None
    if normalized is None:
        return env
    frozen = VecNormalize(env, training=False, norm_reward=False, clip_obs=normalized.clip_obs)
    # The same object, not a copy: it cannot fall behind.
    frozen.obs_rms = normalized.obs_rms
    return frozen


def _make(spec: EnvSpec, n_envs: int, seed: int, training: bool) -> VecEnv:
    for name, value, least in (("n_envs", n_envs, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    require(spec)
    with _missing_modules_name_their_extra(spec), _deprecated_models_of_mujoco_allowed(spec):
        env: VecEnv = SeededVecEnv([lambda: _make_one(spec, training)] * n_envs)
    if spec.family == "atari":
        env = VecFrameStack(env, n_stack=FRAME_STACK)
    env.seed(int(seed))
    return env


def _make_one(spec: EnvSpec, training: bool) -> gym.Env:
    # The checker looks at every step for mistakes of an environment's author.
    env: gym.Env = Monitor(gym.make(spec.env_id, disable_env_checker=True, **spec.make_kwargs))
    if spec.family == "atari":
        from stable_baselines3.common.atari_wrappers import AtariWrapper

        # A reset after a lost life does not begin a new game, so an evaluation that ended its
        # episodes there would start in the middle of the last one's game.
        env = AtariWrapper(env, terminal_on_life_loss=training, clip_reward=training)
    return env


def require(spec: EnvSpec) -> None:
    """Import what the environment's family needs, and register its ids.

    :raises MissingExtraError: if a module is not installed
    """
    with _missing_modules_name_their_extra(spec):
        for module in FAMILIES[spec.family]:
            # Box2D's bindings are older than what Python now expects of an extension's types.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                import_module(module)
        if spec.family == "minatar" and spec.env_id not in gym.registry:
            import_module("minatar.gym").register_envs()


@contextmanager
def _missing_modules_name_their_extra(spec: EnvSpec) -> Iterator[None]:
    """Raise MissingExtraError for any module that is missing, whoever imports it.

    A family's packages import others in their turn, some only when an environment is made; and
    Gymnasium has an error of its own for it, which is no ImportError.
    """
    try:
        yield
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        if not FAMILIES[spec.family]:
            raise
        raise MissingExtraError(
            f"{spec.env_id} needs the extra {spec.family!r} ({error}); "
            f'install it with: pip install -e ".[{spec.family}]"'
        ) from error


@contextmanager
def _deprecated_models_of_mujoco_allowed(spec: EnvSpec) -> Iterator[None]:
    """Send MuJoCo's warnings to the log while a model is compiled.

    MuJoCo 3.17 deprecates an attribute that Gymnasium's HalfCheetah uses, and by default appends
    that to a MUJOCO_LOG.TXT in whatever folder the user is in. What it says later, of a simulation
    that has become unstable, stays its own.
    """
    if spec.family != "mujoco":
        yield
        return
    mujoco = import_module("mujoco")
    mujoco.set_mju_user_warning(logger.debug)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)
