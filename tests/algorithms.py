"""Every algorithm of stable-baselines3 and sb3-contrib, small enough to train in a test."""

from __future__ import annotations

import torch
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback

RECTIFIER = {"policy_kwargs": {"net_arch": [8]}}
ON_POLICY = {"n_steps": 20, **RECTIFIER}
EPOCHS = {**ON_POLICY, "batch_size": 20, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 20, "train_freq": 4, "batch_size": 16, "buffer_size": 1000, **RECTIFIER}

ALGORITHMS = {
    "A2C": (A2C, "CartPole-v1", ON_POLICY),
    "PPO": (PPO, "Pendulum-v1", EPOCHS),
    "TRPO": (TRPO, "Pendulum-v1", {**ON_POLICY, "batch_size": 20, "n_critic_updates": 2}),
    "MaskablePPO": (MaskablePPO, lambda: InvalidActionEnvDiscrete(dim=8, n_invalid_actions=4), EPOCHS),
    "RecurrentPPO": (
        RecurrentPPO,
        "CartPole-v1",
        {**EPOCHS, "policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 4}},
    ),
    "DQN": (DQN, "CartPole-v1", {**OFF_POLICY, "target_update_interval": 30}),
    "QRDQN": (QRDQN, "CartPole-v1", {**OFF_POLICY, "policy_kwargs": {"net_arch": [8], "n_quantiles": 5}}),
    "DDPG": (DDPG, "Pendulum-v1", OFF_POLICY),
    "TD3": (TD3, "Pendulum-v1", OFF_POLICY),
    "SAC": (SAC, "Pendulum-v1", OFF_POLICY),
    "TQC": (TQC, "Pendulum-v1", {**OFF_POLICY, "policy_kwargs": {"net_arch": [8], "n_quantiles": 5}}),
    "CrossQ": (CrossQ, "Pendulum-v1", OFF_POLICY),
    "ARS": (ARS, "CartPole-v1", {"n_delta": 2, "policy_kwargs": {"net_arch": [4]}}),
}
ON = ["A2C", "PPO", "TRPO", "MaskablePPO", "RecurrentPPO"]
OFF = ["DQN", "QRDQN", "DDPG", "TD3", "SAC", "TQC", "CrossQ"]
ONE_OF_EACH = ["PPO", "SAC", "DQN", "ARS"]
"""On-policy, three optimizers, one network, no optimizer at all: test_behaviours sweeps over all the others."""

STEPS = 240
"""Timesteps that give every algorithm several updates: twelve rollouts of twenty."""


def make_model(name, **changes):
    """Build the named algorithm; ``changes`` are arguments of its constructor."""
    algorithm, env, kwargs = ALGORITHMS[name]
    policy = {"RecurrentPPO": "MlpLstmPolicy"}.get(name, "MlpPolicy")
    kwargs = {**kwargs, "learning_rate": 1e-3, "seed": 0, "device": "cpu", **changes}
    # SB3 writes into the dict that it is given.
    kwargs["policy_kwargs"] = dict(kwargs["policy_kwargs"])
    return algorithm(policy, env() if callable(env) else env, **kwargs)


def torch_optimizers(model):
    """Every optimizer that the algorithm steps, the entropy coefficient's included."""
    owners = [model, model.policy, *(getattr(model.policy, part, None) for part in ("actor", "critic"))]
    found = [getattr(o, a, None) for o in owners for a in ("optimizer", "ent_coef_optimizer")]
    return [optimizer for optimizer in found if isinstance(optimizer, torch.optim.Optimizer)]


class DecayAt:
    """A rule of a user's own: decays at the given measurements, counted from 1."""

    def __init__(self, *measurements):
        self.measurements = measurements

    def __repr__(self):
        return f"DecayAt{self.measurements}"

    def init(self):
        return {"seen": 0}

    def observe(self, state, weight_norm):
        return {"seen": state["seen"] + 1}, state["seen"] + 1 in self.measurements


class Do(BaseCallback):
    """Calls functions of the model at events of SB3."""

    def __init__(self, **at):
        super().__init__()
        self.at = at

    def _call(self, event):
        return self.at[event](self.model) if event in self.at else None

    def _on_training_start(self):
        self._call("training_start")

    def _on_rollout_start(self):
        self._call("rollout_start")

    def _on_step(self):
        return self._call("step") is not False

    def _on_rollout_end(self):
        self._call("rollout_end")

    def _on_training_end(self):
        self._call("training_end")
