"""Copies of models and environments that share nothing with the original."""

from __future__ import annotations

import copyreg
import io
import pickle
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from multiprocessing.connection import Connection
from types import SimpleNamespace
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
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecNormalize,
    VecVideoRecorder,
    unwrap_vec_normalize,
)
from torch.overrides import TorchFunctionMode

Model = TypeVar("Model", bound=BaseAlgorithm)

AnyEnv = gym.Env[Any, Any] | VecEnv

TRIED = 5
"""Steps that copies of an environment are tried for."""


class _Detached(TorchFunctionMode):
    """Lets ``deepcopy`` take tensors with a history, which a policy keeps of its last distribution."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            return args[1].setdefault(id(args[0]), args[0].detach().clone())
        return func(*args, **(kwargs or {}))


def _without(wrapper: Any, memo: dict[int, Any]) -> Any:
    """A copy of what a recorder of videos wraps: its own copy would write over the original's files."""
    return deepcopy(wrapper.venv if isinstance(wrapper, VecEnvWrapper) else wrapper.env, memo)


def _whole(wrapper: VecEnvWrapper, memo: dict[int, Any]) -> Any:
    """VecNormalize leaves out what it wraps where it is pickled, others hold their class's attributes."""
    copied = memo[id(wrapper)] = object.__new__(type(wrapper))
    for key, value in vars(wrapper).items():
        vars(copied)[key] = value if key == "class_attributes" else deepcopy(value, memo)
    return copied


def _refused(connection: Connection, memo: dict[int, Any]) -> Any:
    raise TypeError(f"{connection!r} leads to another process")  # The copy's end would close the original's.


def _nowhere(file: Any) -> Any:
    if not file.closed and file.readable():
        raise TypeError(f"it reads from {file.name}")
    return io.StringIO if isinstance(file, io.TextIOBase) else io.BytesIO, ()


COPIERS: dict[type, Callable[[Any, dict[int, Any]], Any]] = {
    Logger: lambda *_: Logger(None, []),
    ResultsWriter: lambda *_: SimpleNamespace(write_row=lambda _: None, close=lambda: None),
    RecordVideo: _without,
    VecVideoRecorder: _without,
    VecEnvWrapper: _whole,
    Connection: _refused,
}
"""How ``deepcopy`` treats what writes, or leads elsewhere, wherever a model or an environment holds it."""

FILES = (io.TextIOWrapper, io.BufferedWriter, io.FileIO)


@contextmanager
def _apart() -> Iterator[None]:
    """Let copies share nothing with their originals, and write nowhere."""
    before = copyreg.dispatch_table.copy()
    for kind, copier in COPIERS.items():
        kind.__deepcopy__ = copier  # type: ignore[attr-defined]
    for file in FILES:
        copyreg.pickle(file, _nowhere)
    try:
        with _Detached():
            yield
    finally:
        for kind in COPIERS:
            delattr(kind, "__deepcopy__")
        copyreg.dispatch_table.clear()
        copyreg.dispatch_table.update(before)


def copy_model(model: Model, env: AnyEnv | None) -> Model:
    """Return a copy that can be trained on, in a copy of the environment or in the one given.

    Not by SB3's ``save`` and ``load``: these lose ARS's weights, a recurrent policy's states, what was
    frozen, and seed all random generators anew; replaced layers they cannot load.

    :param env: see :func:`rl_abel.finish`
    :raises ValueError: if something cannot be copied, or the environment does not fit
    """
    memo: dict[int, Any] = {}
    given = None if env is None else beside(model, "env", vectorized("env", env))
    if given is not None:
        memo.update((id(level), given) for level in _levels(model.get_env()) if isinstance(level, VecEnv))
    else:
        check_copies(model.get_env())
        _copy_env(model.get_env(), memo)
    try:
        with _apart():
            modules = [value for value in vars(model).values() if isinstance(value, torch.nn.Module)]
            # Inner ones first. A compiled copy would count against the recompilations of the original.
            for module in (part for whole in modules for part in reversed(list(whole.modules()))):
                if "_orig_mod" in module._modules:
                    memo[id(module)] = deepcopy(module._modules["_orig_mod"], memo)
            copied = deepcopy(model, memo)
    except Exception as error:
        raise ValueError(f"{type(model).__name__} holds what cannot be copied: {error}") from error
    if given is not None:
        copied.set_env(given)
    _uncompile(copied)
    copied.set_logger(Logger(None, []))
    # A copy is made in the middle of a step too, where SB3 has not noted the observation yet.
    copied._last_obs = None
    _end_last_episode(copied)
    return copied


def _uncompile(model: BaseAlgorithm) -> None:
    """Drop compiled methods, which are bound to the original's weights."""
    for whole in [value for value in vars(model).values() if isinstance(value, torch.nn.Module)]:
        for module in whole.modules():
            for name in [name for name, value in vars(module).items() if hasattr(value, "_torchdynamo_orig_callable")]:
                delattr(module, name)


def _end_last_episode(model: BaseAlgorithm) -> None:
    """Let nothing in the replay buffer reach from the latest transition into the next episode."""
    buffer = getattr(model, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer):
        buffer.set_env(model.env)  # type: ignore[arg-type]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            buffer.truncate_last_trajectory()
    elif isinstance(buffer, ReplayBuffer) and (buffer.full or buffer.pos > 0):
        if buffer.optimize_memory_usage:
            buffer.dones[buffer.pos - 1] = True
        else:
            last = buffer.pos - 1
            buffer.timeouts[last] = np.maximum(buffer.timeouts[last], buffer.dones[last] == 0)


def _levels(env: VecEnv | None) -> Iterator[Any]:
    """An environment, and all that it wraps."""
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

    Two copies that do the same see the same. If not, one has moved what the other has too: a simulator, a
    generator in a module. The original would move with them.
    """
    twins, actions = [_copy_env(env, {}) for _ in range(2)], deepcopy(env.action_space)  # type: ignore[union-attr]
    try:
        for twin in twins:
            # Generators that nobody has seeded are made when they are needed first.
            twin.seed(0)
        seen = [_seen(twin.reset) for twin in twins]
    except Exception as error:
        raise ValueError(
            f"a copy of {_name(env)} cannot be reset: give env=, another such environment ({error})"
        ) from error
    with suppress(Exception):  # An action may be forbidden, of which a mask knows.
        for _ in range(TRIED):
            action = np.stack([actions.sample() for _ in range(twins[0].num_envs)])
            seen = [before + _seen(twin.step, action) for before, twin in zip(seen, twins)]
    if seen[0] != seen[1]:
        raise ValueError(
            f"two copies of {_name(env)} that do the same see other things, so they are not independent of each other "
            "or of chance: give env=, another such environment"
        )


def _seen(call: Callable[..., Any], *given: Any) -> bytes:
    with random_states_kept():
        result = call(*given)
    # The infos tell of times.
    return pickle.dumps(result[:3] if given else result)


def _name(env: VecEnv | None) -> str:
    return type(list(_levels(env))[-1]).__name__


def _copy_env(env: VecEnv | None, memo: dict[int, Any]) -> VecEnv:
    """Return a copy, noted in the memo with all that it wraps.

    :param memo: of ``deepcopy``
    :raises ValueError: if it cannot be copied
    """
    if env is None:
        raise ValueError("the model has no environment: give env=")
    levels = list(_levels(env))
    base: Any = next(level for level in reversed(levels) if isinstance(level, VecEnv))
    # What runs in other processes, or in a simulator, has handles that a copy would share, and close.
    if not isinstance(base, DummyVecEnv) and not hasattr(type(base), "__deepcopy__"):
        raise ValueError(f"{type(base).__name__} cannot be copied: give env=, another such environment")
    try:
        with _apart():
            copied: VecEnv = deepcopy(env, memo)
    except Exception as error:
        raise ValueError(f"{_name(env)} cannot be copied: give env=, another such environment ({error})") from error
    if {id(level) for level in levels} & {id(level) for level in _levels(copied)}:
        raise ValueError(f"{_name(env)} gives itself for its copy: give env=, another such environment")
    # Where a class pickles itself in its own way, its copy may have a generator that nobody has seeded.
    if any(type(level).__getstate__ is not object.__getstate__ for level in levels if isinstance(level, gym.Env)):
        with random_states_kept():
            copied.seed(int(np.random.randint(2**31)))
    return copied


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
    """Return the environment as SB3 wraps one.

    :param name: of the argument, for the error
    :raises ValueError: if it is no environment
    """
    if not isinstance(env, (gym.Env, VecEnv)):
        raise ValueError(f"{name} must be an environment of gymnasium or a VecEnv, got {env!r}")
    return BaseAlgorithm._wrap_env(env)


def beside(model: BaseAlgorithm, name: str, env: VecEnv, evaluation: bool = False) -> VecEnv:
    """Return an environment of the user's, ready for a copy of the model.

    :raises ValueError: if it is the model's own, or does not fit it
    """
    if {id(level) for level in _levels(env)} & {id(level) for level in _levels(model.get_env())}:
        raise ValueError(f"{name} is the model's own environment, which must stay as it is: give another")
    if not evaluation and env.num_envs != model.n_envs:
        raise ValueError(f"{name} must hold as many environments as the model's, {model.n_envs}, got {env.num_envs}")
    statistics = model.get_vec_normalize_env()
    if statistics is not None and unwrap_vec_normalize(env) is None:
        # As SB3 saves it: without what it wraps.
        normalize: VecNormalize = pickle.loads(pickle.dumps(statistics))
        try:
            normalize.set_venv(env)
        except AssertionError as error:
            raise ValueError(f"{name} must be in a VecNormalize, as the model's environment is: {error}") from error
        if evaluation:
            normalize.training = normalize.norm_reward = False
        env = normalize
    take_statistics(model, env)
    return env


def take_statistics(model: BaseAlgorithm, env: VecEnv) -> None:
    """Give the environment a copy of the statistics that the model's has, where both are in a VecNormalize."""
    of, into = model.get_vec_normalize_env(), unwrap_vec_normalize(env)
    if of is not None and into is not None:
        vars(into).update(deepcopy({key: vars(of)[key] for key in ("obs_rms", "ret_rms") if key in vars(of)}))
