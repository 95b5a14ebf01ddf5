"""Copies of models and environments that share nothing with the original."""

import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import RecordVideo
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecVideoRecorder, unwrap_vec_normalize

Model = TypeVar("Model", bound=BaseAlgorithm)

AnyEnv = gym.Env[Any, Any] | VecEnv

TRIED = 5  # steps for which two copies of an environment are compared


def _refuse(held: Any, memo: dict[int, Any]) -> Any:
    raise TypeError(f"a copy of its {type(held).__name__} would disturb the original")


def _copy_wrapper(wrapper: VecEnvWrapper, memo: dict[int, Any]) -> Any:
    """VecNormalize pickles itself without what it wraps, and other wrappers hold members of their class."""
    copied = memo[id(wrapper)] = object.__new__(type(wrapper))
    for key, value in vars(wrapper).items():
        vars(copied)[key] = value if key == "class_attributes" else deepcopy(value, memo)
    return copied


_copy_tensor: Any = torch.Tensor.__deepcopy__

# How ``deepcopy`` treats what writes files, leads to other processes, or has a history of gradients
COPIERS: dict[type, Callable[[Any, dict[int, Any]], Any]] = {
    torch.Tensor: lambda held, memo: _copy_tensor(held, memo) if held.is_leaf else held.detach().clone(),
    Logger: lambda *_: Logger(None, []),
    ResultsWriter: lambda *_: None,
    VecEnvWrapper: _copy_wrapper,
    **dict.fromkeys((RecordVideo, VecVideoRecorder, Connection), _refuse),
}


@contextmanager
def _apart() -> Iterator[None]:
    """Let copies share nothing with their originals, and write nowhere."""
    for kind, copier in COPIERS.items():
        kind.__deepcopy__ = copier  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for kind in COPIERS:
            delattr(kind, "__deepcopy__")
        torch.Tensor.__deepcopy__ = _copy_tensor  # type: ignore[method-assign]


def copy_model(model: Model, env: AnyEnv | None) -> Model:
    """Return a copy that can be trained on, or raise a ValueError; see :func:`rl_abel.finish` for the environment.

    SB3's ``save`` and ``load`` lose ARS's weights, a recurrent policy's states, and what was frozen. They seed all
    random generators anew, and cannot load replaced layers.
    """
    memo: dict[int, Any] = {}
    own, given = model.get_env(), None if env is None else beside(model, "env", vectorized("env", env))
    if given is None:
        check_copies(own)
    else:
        memo.update((id(level), given) for level in _levels(own) if isinstance(level, VecEnv))
    try:
        with _apart():
            # Inner modules first. A compiled copy would count against the recompilations of the original.
            for module in reversed(_modules(model)):
                if "_orig_mod" in module._modules:
                    memo[id(module)] = deepcopy(module._modules["_orig_mod"], memo)
            copied = deepcopy(model, memo)
    except Exception as error:
        raise ValueError(f"{type(model).__name__} holds what cannot be copied: {error}") from error
    for module in _modules(copied):
        # A compiled method is bound to the original's weights.
        for name in [name for name, value in vars(module).items() if hasattr(value, "_torchdynamo_orig_callable")]:
            delattr(module, name)
    if given is not None:
        copied.set_env(given)
    elif any(type(one).__getstate__ is not object.__getstate__ for one in _levels(own) if isinstance(one, gym.Env)):
        # A class that pickles itself (Box2D, MuJoCo, Atari) is made anew: nobody has seeded its generator.
        copied.get_env().seed(int(np.random.randint(2**31)))  # type: ignore[union-attr]
    copied.set_logger(Logger(None, []))
    # Within a step SB3 has not noted the observation yet, so the copy begins with a new episode.
    copied._last_obs = None
    _end_last_episode(copied)
    return copied


def _modules(model: BaseAlgorithm) -> list[torch.nn.Module]:
    wholes = [value for value in vars(model).values() if isinstance(value, torch.nn.Module)]
    return [module for whole in wholes for module in whole.modules()]


def _end_last_episode(model: BaseAlgorithm) -> None:
    """Let nothing in the replay buffer reach from the latest transition into the next episode."""
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        buffer.set_env(model.env)  # type: ignore[arg-type]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            buffer.truncate_last_trajectory()
    elif isinstance(buffer, ReplayBuffer) and (buffer.full or buffer.pos > 0):
        last = buffer.pos - 1
        if buffer.optimize_memory_usage:
            buffer.dones[last] = True
        else:
            buffer.timeouts[last] = np.maximum(buffer.timeouts[last], buffer.dones[last] == 0)


def _levels(env: VecEnv | None) -> Iterator[Any]:
    """Yield an environment, and all that it wraps."""
    level: Any = env
    while level is not None:
        yield level
        for single in vars(level).get("envs", ()):
            while isinstance(single, gym.Wrapper):
                yield single
                single = single.env
            yield single
        level = vars(level).get("venv")


def check_copies(env: VecEnv | None) -> None:
    """Raise a ValueError if the environment cannot be copied, or its copies are not independent.

    Two copies that do the same have to see the same. Otherwise they share something, such as a simulator or a generator
    of a module, and would move the original with them.
    """
    if env is None:
        raise ValueError("the model has no environment: give env=")
    *_, innermost = _levels(env)
    name, else_give = type(innermost).__name__, "give env=, another such environment"
    try:
        with _apart():
            twins = [deepcopy(env) for _ in range(2)]
        for twin in twins:
            # A generator that nobody has seeded is made when it is first needed.
            twin.seed(0)
        seen = [_seen(twin.reset) for twin in twins]
    except Exception as error:
        raise ValueError(f"{name} cannot be copied: {else_give} ({error})") from error
    actions = deepcopy(twins[0].action_space)
    with suppress(Exception):  # A mask may forbid the action.
        for _ in range(TRIED):
            action = np.stack([actions.sample() for _ in range(twins[0].num_envs)])
            seen = [before + _seen(twin.step, action) for before, twin in zip(seen, twins)]
    if seen[0] != seen[1]:
        raise ValueError(
            f"two copies of {name} that do the same see other things, by chance or as they share something: {else_give}"
        )


def _seen(call: Callable[..., Any], *given: Any) -> bytes:
    with random_states_kept():
        result = call(*given)
    # The infos of a step hold times.
    return pickle.dumps(result[:3] if given else result)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave the global random states (``random``, numpy, torch) as they were before."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def vectorized(name: str, env: object) -> VecEnv:
    """Return the environment as SB3 wraps one, or raise a ValueError if it is none."""
    if not isinstance(env, (gym.Env, VecEnv)):
        raise ValueError(f"{name} must be an environment of gymnasium or a VecEnv, got {env!r}")
    return BaseAlgorithm._wrap_env(env)


def beside(model: BaseAlgorithm, name: str, env: VecEnv, evaluation: bool = False) -> VecEnv:
    """Return an environment of the user's, ready for a copy of the model; raise a ValueError if it does not fit."""
    if {id(level) for level in _levels(env)} & {id(level) for level in _levels(model.get_env())}:
        raise ValueError(f"{name} is the model's own environment, which must stay as it is: give another")
    if not evaluation and env.num_envs != model.n_envs:
        raise ValueError(f"{name} must hold as many environments as the model's, {model.n_envs}, got {env.num_envs}")
    statistics = model.get_vec_normalize_env()
    if statistics is not None and unwrap_vec_normalize(env) is None:
        normalize = deepcopy(statistics)  # without what it wraps, as it pickles itself
        normalize.set_venv(env)
        normalize.training &= not evaluation
        normalize.norm_reward &= not evaluation
        return normalize
    take_statistics(model, env)
    return env


def take_statistics(model: BaseAlgorithm, env: VecEnv) -> None:
    """Give the environment a copy of the statistics that the model's has, where both are in a VecNormalize."""
    of, into = model.get_vec_normalize_env(), unwrap_vec_normalize(env)
    if of is not None and into is not None:
        vars(into).update(deepcopy({key: vars(of)[key] for key in ("obs_rms", "ret_rms") if key in vars(of)}))
