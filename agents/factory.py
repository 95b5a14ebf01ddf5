"""From a preset to a model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv

from agents.networks import MinAtarCnn
from agents.optimizers import own_kwargs, own_optimizer
from agents.preset import class_name
from agents.presets import find_preset
from agents.simba import SimbaActorCriticPolicy, SimbaSACPolicy

MODULES = {
    "A2C": "stable_baselines3",
    "CrossQ": "sb3_contrib",
    "DDPG": "stable_baselines3",
    "DQN": "stable_baselines3",
    "PPO": "stable_baselines3",
    "QRDQN": "sb3_contrib",
    "SAC": "stable_baselines3",
    "TD3": "stable_baselines3",
    "TQC": "sb3_contrib",
}

CLASSES: dict[str, type] = {
    "MinAtarCnn": MinAtarCnn,
    "ReLU": torch.nn.ReLU,
    "SimbaActorCriticPolicy": SimbaActorCriticPolicy,
    "SimbaSACPolicy": SimbaSACPolicy,
    "Tanh": torch.nn.Tanh,
}
"""What names in a preset stand for: of its policy and in ``policy_kwargs``; other policies are SB3's."""


def make_agent(
    algorithm: str,
    env_id: str,
    env: VecEnv,
    *,
    learning_rate: float | Callable[[float], float],
    seed: int,
    optimizer_class: type[torch.optim.Optimizer] | None = None,
    optimizer_kwargs: dict[str, Any] | None = None,
    tensorboard_log: str | None = None,
    **overrides: Any,
) -> BaseAlgorithm:
    """Build the preset's model on an environment.

    Without ``optimizer_class`` and ``optimizer_kwargs`` the model is SB3's own to the last bit. With
    either, the rest of the optimizer stays as SB3 has it (which SB3 itself forgets).

    :param algorithm: as in ``PRESETS``
    :param env_id: as in ``PRESETS``
    :param env: what to train on, with the preset's ``n_envs`` and ``normalize``; it is reseeded
    :param learning_rate: a rate above 0, or a schedule from SB3's ``progress_remaining`` (1 -> 0)
    :param seed: of the networks, the actions and the environment
    :param optimizer_class: of all the model's networks; None for SB3's own
    :param optimizer_kwargs: beside the learning rate
    :param tensorboard_log: folder for TensorBoard's events; None for none
    :param overrides: of the preset's hyperparameters; ``policy_kwargs`` are merged with the preset's.
        Runs on the CPU unless ``device`` says otherwise
    :raises ValueError: if there is no such preset, or for a learning rate that is not above 0, or
        weight decay with gSDE
    :raises ImportError: if sb3-contrib is needed and not installed
    """
    preset = find_preset(algorithm, env_id)
    if not callable(learning_rate):
        if not isinstance(learning_rate, (int, float, np.floating)) or not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be a finite number above 0, or a schedule, got {learning_rate!r}")
        learning_rate = float(learning_rate)  # a numpy float in an optimizer's groups breaks load()
    settings = {"device": "cpu", **preset.hyperparameters, **overrides}
    if settings.get("use_sde") and (optimizer_kwargs or {}).get("weight_decay"):
        raise ValueError(
            f"use_sde must be off where weights decay, got use_sde=True and optimizer_kwargs={optimizer_kwargs!r}: "
            "the log_std of gSDE is a matrix, and would decay too"
        )
    settings["policy"] = CLASSES.get(settings["policy"], settings["policy"])
    settings["policy_kwargs"] = (
        _resolved(preset.hyperparameters.get("policy_kwargs", {}))
        | (overrides.get("policy_kwargs") or {})
        | _optimizer(algorithm, optimizer_class, optimizer_kwargs)
    )
    if (deviation := settings.pop("action_noise_std", None)) is not None:
        mean = np.zeros(env.action_space.shape or ())
        settings["action_noise"] = NormalActionNoise(mean, np.full_like(mean, deviation))
    return _class(algorithm)(
        env=env, learning_rate=learning_rate, seed=seed, tensorboard_log=tensorboard_log, **settings
    )


def _resolved(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    # A copy: SB3 writes into policy_kwargs, and the table is everyone's.
    return {
        key: CLASSES.get(value, value) if isinstance(value, str) else copy.deepcopy(value)
        for key, value in policy_kwargs.items()
    }


def _optimizer(
    algorithm: str, optimizer_class: type[torch.optim.Optimizer] | None, optimizer_kwargs: dict[str, Any] | None
) -> dict[str, Any]:
    """What to add to ``policy_kwargs``: both or none, for A2C drops kwargs that come without a class."""
    if optimizer_class is None and not optimizer_kwargs:
        return {}
    optimizer_class = optimizer_class or own_optimizer(algorithm)
    optimizer_kwargs = own_kwargs(algorithm, optimizer_class) | (optimizer_kwargs or {})
    return {"optimizer_class": optimizer_class, "optimizer_kwargs": optimizer_kwargs}


def _class(algorithm: str) -> type[BaseAlgorithm]:
    name = class_name(algorithm)
    try:
        module = import_module(MODULES[name])
    except ImportError as error:
        raise ImportError(
            f"{algorithm} needs the extra 'contrib' ({error}); install it with: pip install -e \".[contrib]\""
        ) from error
    found: type[BaseAlgorithm] = getattr(module, name)
    return found
