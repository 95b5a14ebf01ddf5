"""Hyperparameters of each agent on each environment. Standard library only, JSON values only.

A preset holds its base learning rate as a number and no schedule of it: the arms of the benchmark
are the schedules. What else a source schedules (clip ranges) is constant here, in every arm.
Rollouts are short enough for the weight norm to be measured at least 101 times in ``timesteps``.
"""

from __future__ import annotations

from dataclasses import replace

from agents.preset import Preset

_ZOO = "rl-baselines3-zoo 2.9"

_PPO = {
    "policy": "MlpPolicy",
    "n_steps": 256,
    "batch_size": 64,
    "n_epochs": 10,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "ent_coef": 0.0,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
}
_PPO_ATARI = _PPO | {
    "policy": "CnnPolicy",
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 4,
    "clip_range": 0.1,
    "ent_coef": 0.01,
}
_MINATAR_CNN = {
    "policy": "MlpPolicy",
    "policy_kwargs": {"features_extractor_class": "MinAtarCnn", "net_arch": []},
}
_DQN = {
    "policy": "MlpPolicy",
    "batch_size": 128,
    "buffer_size": 50_000,
    "learning_starts": 0,
    "gamma": 0.99,
    "target_update_interval": 250,
    "train_freq": 4,
    "gradient_steps": -1,
    "exploration_fraction": 0.12,
    "exploration_final_eps": 0.1,
    "policy_kwargs": {"net_arch": [256, 256]},
}
_SAC = {
    "policy": "MlpPolicy",
    "batch_size": 256,
    "buffer_size": 1_000_000,
    "learning_starts": 10_000,
    "gamma": 0.99,
    "tau": 0.005,
    "ent_coef": "auto",
    "train_freq": 1,
    "gradient_steps": 1,
}
_MOUNTAIN_CAR = {
    "policy": "MlpPolicy",
    "batch_size": 128,
    "buffer_size": 10_000,
    "learning_starts": 1_000,
    "gamma": 0.98,
    "target_update_interval": 600,
    "train_freq": 16,
    "gradient_steps": 8,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.07,
    "policy_kwargs": {"net_arch": [256, 256]},
}
_DDPG = {key: value for key, value in _SAC.items() if key != "ent_coef"}
_CROSSQ = {key: value for key, value in _SAC.items() if key != "tau"}
_TD3 = {
    "policy": "MlpPolicy",
    "batch_size": 256,
    "buffer_size": 200_000,
    "learning_starts": 1_000,
    "gamma": 0.98,
    "tau": 0.005,
    "policy_delay": 2,
    "train_freq": 1,
    "gradient_steps": 1,
    "action_noise_std": 0.1,
    "policy_kwargs": {"net_arch": [400, 300]},
}
_SMALL = {"learning_starts": 100, "policy_kwargs": {"net_arch": [64, 64]}}


def _ppo_minatar(game: str) -> Preset:
    return Preset(
        "PPO", f"MinAtar/{game}-v1", 8, 2.5e-4, 1_000_000, _PPO_ATARI | _MINATAR_CNN,
        f"{_ZOO} ppo.yml, atari (its rate and clip range decay), with the network of Young & Tian 2019",
    )  # fmt: skip


def _ppo_atari(game: str) -> Preset:
    return Preset(
        "PPO", f"{game}NoFrameskip-v4", 8, 2.5e-4, 10_000_000, _PPO_ATARI,
        f"{_ZOO} ppo.yml, atari (its rate and clip range decay)",
    )  # fmt: skip


def _ppo_mujoco(env_id: str) -> Preset:
    return Preset(
        "PPO", env_id, 1, 3e-4, 1_000_000, _PPO | {"n_steps": 2048},
        f"{_ZOO} ppo.yml, mujoco-defaults, that is, SB3's defaults with running normalisation, rather than its "
        "tuned entries, whose networks are 256 wide for 64",
        normalize=True,
    )  # fmt: skip


_TABLE = (
    Preset(
        "PPO", "CartPole-v1", 8, 1e-3, 100_000,
        _PPO | {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8},
        f"{_ZOO} ppo.yml (its rate and clip range decay)",
    ),
    Preset(
        "PPO", "Acrobot-v1", 8, 3e-4, 200_000, _PPO | {"n_steps": 64, "n_epochs": 4, "gae_lambda": 0.94},
        f"{_ZOO} ppo.yml, with 8 x 64 steps a rollout for 16 x 256, and observations as they are",
    ),
    Preset(
        "PPO", "Pendulum-v1", 4, 1e-3, 150_000, _PPO | {"n_steps": 128, "gamma": 0.9},
        f"{_ZOO} ppo.yml, with 4 x 128 steps a rollout for 4 x 1024, and without gSDE, whose log_std is a matrix",
    ),
    Preset(
        "PPO", "LunarLander-v3", 8, 3e-4, 250_000,
        _PPO | {"n_steps": 128, "gae_lambda": 0.98, "ent_coef": 0.01},
        f"{_ZOO} ppo.yml, for a quarter of its budget: 8 x 128 steps a rollout for 16 x 1024, 10 epochs for 4, and a "
        "discount of 0.99 for 0.999",
    ),
    _ppo_mujoco("HalfCheetah-v5"),
    _ppo_mujoco("Hopper-v5"),
    *map(_ppo_minatar, ("Breakout", "Asterix", "Freeway", "Seaquest", "SpaceInvaders")),
    *map(_ppo_atari, ("Pong", "Qbert", "Seaquest")),
    Preset(
        "A2C", "CartPole-v1", 8, 7e-4, 200_000,
        {
            "policy": "MlpPolicy", "n_steps": 5, "gamma": 0.99, "gae_lambda": 1.0,
            "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5,
        },
        f"{_ZOO} a2c.yml, with a budget of 200k for 500k",
    ),
    Preset(
        "A2C", "LunarLander-v3", 8, 8.3e-4, 200_000,
        {
            "policy": "MlpPolicy", "n_steps": 5, "gamma": 0.995, "gae_lambda": 1.0,
            "ent_coef": 1e-5, "vf_coef": 0.5, "max_grad_norm": 0.5,
        },
        f"{_ZOO} a2c.yml (its rate decays)",
    ),
    Preset(
        "DQN", "CartPole-v1", 1, 2.3e-3, 50_000,
        _DQN | {
            "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1_000, "target_update_interval": 10,
            "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
        },
        f"{_ZOO} dqn.yml",
    ),
    Preset("DQN", "Acrobot-v1", 1, 6.3e-4, 100_000, _DQN, f"{_ZOO} dqn.yml"),
    Preset("DQN", "LunarLander-v3", 1, 6.3e-4, 100_000, _DQN, f"{_ZOO} dqn.yml"),
    Preset("DQN", "MountainCar-v0", 1, 4e-3, 120_000, _MOUNTAIN_CAR, f"{_ZOO} dqn.yml"),
    Preset(
        "QRDQN", "MountainCar-v0", 1, 4e-3, 120_000,
        _MOUNTAIN_CAR | {"policy_kwargs": {"net_arch": [256, 256], "n_quantiles": 25}},
        f"{_ZOO} qrdqn.yml",
    ),
    Preset(
        "DQN", "MinAtar/Breakout-v1", 1, 2.5e-4, 1_000_000,
        _DQN | _MINATAR_CNN | {
            "batch_size": 32, "buffer_size": 100_000, "learning_starts": 5_000, "target_update_interval": 1_000,
            "gradient_steps": 1, "exploration_fraction": 0.1,
        },
        "Young & Tian 2019, with Adam for RMSprop and an update every 4 steps for every step",
    ),
    Preset(
        "SAC", "Pendulum-v1", 1, 1e-3, 20_000, _SAC | {"learning_starts": 100},
        f"{_ZOO} sac.yml",
    ),
    Preset(
        "SAC", "MountainCarContinuous-v0", 1, 3e-4, 20_000,
        {
            "policy": "MlpPolicy", "batch_size": 512, "buffer_size": 50_000, "learning_starts": 0, "gamma": 0.9999,
            "tau": 0.01, "ent_coef": 0.1, "train_freq": 32, "gradient_steps": 32, "use_sde": True,
            "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64], "use_expln": True},
        },
        f"{_ZOO} sac.yml, for 20k of its 50k steps",
    ),
    Preset("SAC", "HalfCheetah-v5", 1, 3e-4, 1_000_000, _SAC, f"{_ZOO} sac.yml, mujoco-defaults"),
    Preset("SAC", "Hopper-v5", 1, 3e-4, 1_000_000, _SAC, f"{_ZOO} sac.yml, mujoco-defaults"),
    Preset(
        "TD3", "Pendulum-v1", 1, 1e-3, 20_000, _TD3,
        f"{_ZOO} td3.yml, which begins to train after 10,000 steps, here 1,000",
    ),
    Preset(
        "TD3", "LunarLanderContinuous-v3", 1, 1e-3, 30_000, _TD3,
        f"{_ZOO} td3.yml, for 30k steps, and training begins after 1,000 steps for 10,000",
    ),
    *(
        Preset(
            algorithm, "InvertedPendulum-v5", 1, rate, 10_000, others | _SMALL,
            f"defaults of {library}, with two hidden layers of 64 units",
        )
        for algorithm, rate, library, others in (
            ("DDPG", 1e-3, "stable-baselines3, and the noise of TD3", _DDPG | {"action_noise_std": 0.1}),
            ("TQC", 3e-4, "sb3-contrib", _SAC),
            ("CrossQ", 1e-3, "sb3-contrib", _CROSSQ | {"policy_delay": 3}),
        )
    ),
    Preset(
        "CrossQ", "Pendulum-v1", 1, 1e-3, 20_000,
        _CROSSQ | {"learning_starts": 100, "policy_delay": 2, "policy_kwargs": {"net_arch": [256, 256]}},
        f"{_ZOO} crossq.yml",
    ),
    *(
        Preset(
            "CrossQ", env_id, 1, 1e-3, 1_000_000,
            _CROSSQ | {
                "learning_starts": 5_000, "policy_delay": 3,
                "policy_kwargs": {"net_arch": {"pi": [256, 256], "qf": [1024, 1024]}},
            },
            f"{_ZOO} crossq.yml, mujoco-defaults, with critics of 1024 units (sb3-contrib's default) for 2048",
        )
        for env_id in ("HalfCheetah-v5", "Hopper-v5")
    ),
)  # fmt: skip


def _simba(plain: Preset) -> Preset:
    """Give an agent the networks of ``agents.simba``, and a rate that they stand."""
    critic = "vf" if plain.on_policy else "qf"
    networks = {
        "policy": "SimbaActorCriticPolicy" if plain.on_policy else "SimbaSACPolicy",
        "policy_kwargs": {"net_arch": {"pi": [64], critic: [64, 64]}, "activation_fn": "ReLU"},
    }
    return replace(
        plain,
        algorithm=f"{plain.algorithm}-SimBa",
        learning_rate=3e-4,
        hyperparameters=plain.hyperparameters | networks,
        source=f"{plain.source}, with the networks of SimBa (Lee et al. 2024), 64 wide where the paper has "
        "128 for the actor and 512 for the critic, observations scaled, and a rate of 3e-4, for the paper's 1e-4",
        normalize=plain.normalize or "observations",
    )


_WITH_SIMBA = (
    *(("PPO", env_id) for env_id in ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "LunarLander-v3")),
    *((algorithm, env_id) for algorithm in ("PPO", "SAC") for env_id in ("HalfCheetah-v5", "Hopper-v5")),
    ("SAC", "Pendulum-v1"),
)

_PLAIN = {(preset.algorithm, preset.env_id): preset for preset in _TABLE}

PRESETS: dict[tuple[str, str], Preset] = _PLAIN | {
    (f"{algorithm}-SimBa", env_id): _simba(_PLAIN[algorithm, env_id]) for algorithm, env_id in _WITH_SIMBA
}


def find_preset(algorithm: str, env_id: str) -> Preset:
    """Return the preset of an agent on an environment.

    :raises ValueError: if there is none; the message lists those there are
    """
    if (algorithm, env_id) in PRESETS:
        return PRESETS[algorithm, env_id]
    algorithms = list(dict.fromkeys(known for known, _ in PRESETS))
    if algorithm not in algorithms:
        raise ValueError(f"algorithm must be one of {algorithms}, got {algorithm!r}")
    env_ids = [known for of, known in PRESETS if of == algorithm]
    raise ValueError(f"env_id with algorithm {algorithm!r} must be one of {env_ids}, got {env_id!r}")
