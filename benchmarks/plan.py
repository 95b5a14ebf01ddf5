"""What is to be run: runs, and the suites that list them. No torch: listing must be quick.

A suite is data: a table of this module, or a TOML file of the user's with the same keys (see
``read_suite``). Its blocks are products of their axes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from agents import LEARNING_RATE_SCALE, REGULARIZATIONS, class_name, find_preset
from envs import find_env

SCHEDULES = (
    "constant",
    "linear",
    "cosine",
    "step",
    "constant+final",
    "cooldown",
    "abel",
    "abel-paper",
    "kl-adaptive",
)
"""The arms of a block that names none, as far as its agent can have them."""

KL = ("kl-adaptive", "kl-adaptive+final", "kl-adaptive+cooldown")
FALLING = ("updates+linear", "updates0.3+linear", "kl-under-linear", "kl-falling")
"""For PPO: a rate, a bound of the rate or a target that falls over the whole training."""

LED = ("updates+cooldown", "movement+cooldown")
PULL = ("final-pull-held", "final-pull-only")
BATCH = ("abel-batch", "abel-mixed")
ARMS = (*SCHEDULES, *KL[1:], *FALLING, "abel-part", *BATCH, *PULL, *LED)
WITH_FACTOR = ("constant+final", "abel", "abel-paper", "kl-adaptive+final", "abel-part", *BATCH, *PULL)
WITH_FINAL = (*WITH_FACTOR, "cooldown", "kl-adaptive+cooldown", *LED)


def unfit(arm: str, agent: str, regularization: str = "adamw") -> str | None:
    """Return why an agent cannot have an arm, None if it can.

    An agent is an algorithm, or that and the name of its networks: "PPO-SimBa".
    """
    algorithm = class_name(agent)
    if arm in (*KL, *FALLING[2:]) and algorithm != "PPO":
        return f"{arm} needs an algorithm that logs an approximate KL divergence, PPO, got {agent!r}"
    if arm == LED[1] and algorithm in ("DQN", "QRDQN"):
        return f"{arm} needs a policy network, got {agent!r}"
    if arm in BATCH and algorithm == "A2C":
        return f"{arm} needs an algorithm that trains on minibatches, got {agent!r}"
    if arm in PULL and regularization not in PULLING:
        return f"{arm} needs weight decay that pulls by rate x coefficient, {list(PULLING)}, got {regularization!r}"
    return None


PULLING = ("adamw", "sgd-l2")
"""Regularizations under which a step shrinks the weights by rate x coefficient."""


@dataclass(frozen=True)
class Run:
    """One training: agent x environment x arm x regularization x seed, and what it costs.

    :param strength: of the regularization, as learning rate x coefficient x number of updates: how
        many e-folds the weights would shrink in a run
    :param rate_multiplier: base learning rate over the preset's
    :param evaluations: points at which the policy is evaluated, beside the start
    :param final_episodes: episodes behind ``final_return``
    :param measurements: of the weight norm, at least so many, at ends of rollouts; where these are fewer the arms
        that measure alone do so within updates too, at ends of epochs
    """

    agent: str
    env_id: str
    timesteps: int
    arm: str
    seed: int
    regularization: str = "none"
    strength: float = 0.0
    rate_multiplier: float = 1.0
    decay_factor: float = 0.1
    final_decay_at: float = 0.85
    evaluations: int = 20
    evaluation_episodes: int = 10
    final_episodes: int = 100
    measurements: int = 100

    @property
    def run_id(self) -> str:
        """A name that says what matters, with a hash of everything, the preset's values included."""
        ours = asdict(self)
        if self.measurements == Run.measurements:
            # Runs from before there was a choice have their names still.
            del ours["measurements"]
        everything = [ours, asdict(find_preset(self.agent, self.env_id))]
        digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:8]
        env = self.env_id.replace("/", "-")
        parts = [self.agent, env, self.arm]
        if self.regularization != "none":
            parts.append(f"{self.regularization}{self.strength:g}")
        if self.rate_multiplier != 1:
            parts.append(f"rate{self.rate_multiplier:g}")
        return "_".join([*parts, f"seed{self.seed}", digest])

    @property
    def learning_rate(self) -> float:
        """Base learning rate; SGD's is on another scale than that of the presets' Adam."""
        scale = LEARNING_RATE_SCALE.get(self.regularization, 1.0)
        return find_preset(self.agent, self.env_id).learning_rate * scale * self.rate_multiplier

    @property
    def from_updates(self) -> float:
        """Learning rate that follows from the number of updates alone: 0.3 over its square root."""
        return 0.3 / math.sqrt(max(1, find_preset(self.agent, self.env_id).n_updates(self.timesteps)))

    @property
    def weight_decay(self) -> float:
        """Coefficient that gives the strength at the base rate over the whole run."""
        if self.regularization == "none":
            return 0.0
        return self.strength / (self.learning_rate * find_preset(self.agent, self.env_id).n_updates(self.timesteps))

    @property
    def measure_every(self) -> int:
        """Timesteps between measurements."""
        preset = find_preset(self.agent, self.env_id)
        rollouts = preset.n_trainings(self.timesteps)
        if self.measurements != Run.measurements and rollouts <= self.measurements:
            return max(1, self.timesteps // self.measurements)
        return preset.rollout_timesteps * max(1, (rollouts - 1) // self.measurements)


@dataclass(frozen=True)
class Block:
    """A product of axes. An axis that an arm does not have is left at its default for that arm.

    :param arms: None for those of ``SCHEDULES`` that the agent can have
    """

    agent: str
    env_id: tuple[str, ...]
    timesteps: int
    arms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = tuple(range(10))
    regularization: tuple[str, ...] = ("none",)
    strength: tuple[float, ...] = (1.0,)
    rate_multiplier: tuple[float, ...] = (1.0,)
    decay_factor: tuple[float, ...] = (0.1,)
    final_decay_at: tuple[float, ...] = (0.85,)
    evaluations: int = 20
    evaluation_episodes: int = 10
    final_episodes: int = 100
    measurements: int = 100

    def __post_init__(self) -> None:
        for env_id in self.env_id:
            find_preset(self.agent, env_id)
            find_env(env_id)
        _known("arms", self.arms or (), ARMS)
        _known("regularization", self.regularization, REGULARIZATIONS)
        for arm, regularization in itertools.product(self.arms or (), self.regularization):
            if why := unfit(arm, self.agent, regularization):
                raise ValueError(f"arms: {why}")
        for name in ("timesteps", "evaluations", "evaluation_episodes", "final_episodes", "measurements"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        for seed in self.seeds:
            if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                raise ValueError(f"seeds must be integers of at least 0, got {seed!r}")
        for name, below in (("strength", 1e9), ("rate_multiplier", 1e9), ("decay_factor", 1), ("final_decay_at", 1)):
            for value in getattr(self, name):
                if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < below:
                    raise ValueError(f"{name} must be in (0, {below:g}), got {value!r}")

    def runs(self) -> Iterator[Run]:
        """Yield the block's runs, seed by seed, so that a suite cut short has all arms."""
        axes = itertools.product(
            self.seeds,
            self.env_id,
            self.regularization,
            self.strength,
            self.rate_multiplier,
            self.decay_factor,
            self.final_decay_at,
            self.arms or [arm for arm in SCHEDULES if unfit(arm, self.agent) is None],
        )
        for seed, env_id, regularization, strength, multiplier, factor, final, arm in axes:
            yield Run(
                agent=self.agent,
                env_id=env_id,
                timesteps=self.timesteps,
                arm=arm,
                seed=seed,
                regularization=regularization,
                strength=0.0 if regularization == "none" else float(strength),
                rate_multiplier=float(multiplier),
                decay_factor=float(factor) if arm in WITH_FACTOR else 0.1,
                final_decay_at=float(final) if arm in WITH_FINAL else 0.85,
                evaluations=self.evaluations,
                evaluation_episodes=self.evaluation_episodes,
                final_episodes=self.final_episodes,
                measurements=self.measurements,
            )


@dataclass(frozen=True)
class Suite:
    """Blocks under a name, with a line that says what they are for; and single runs."""

    name: str
    about: str
    blocks: tuple[Block, ...]
    single: tuple[Run, ...] = ()

    def runs(self) -> list[Run]:
        """Return the runs, each once, the first seeds of all blocks first."""
        unique = dict.fromkeys([*self.single, *(run for block in self.blocks for run in block.runs())])
        return sorted(unique, key=lambda run: run.seed)


def _known(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"{name} must be among {list(known)}, got {value!r}")


def read_suite(path: Path) -> Suite:
    """Read a suite from a TOML file: ``about``, and ``[[block]]`` tables with the keys of :class:`Block`.

    ``seeds`` may be a number of seeds; a single value stands for a list of one.

    :raises ValueError: for what is not TOML, and for unknown keys or values, naming file and block
    """
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    if unknown := sorted(set(data) - {"name", "about", "block"}):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; a suite has name, about and [[block]] tables")
    tables = data.get("block")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path}: a suite needs at least one [[block]] table")
    blocks = []
    for number, table in enumerate(tables, start=1):
        try:
            blocks.append(_block(table))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, block {number}: {error}") from None
    return Suite(str(data.get("name", path.stem)), str(data.get("about", "")), tuple(blocks))


def read_run(path: Path) -> Suite:
    """Return the suite of the one run that a run.json describes.

    :raises ValueError: if it is not the run.json of a run
    """
    try:
        run = Run(**json.loads(path.read_text())["config"]["run"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a run.json of this benchmark: {error!r}") from None
    return Suite(run.run_id, "one run again", (), (run,))


def _block(table: dict[str, Any]) -> Block:
    known = {field.name: field for field in fields(Block)}
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r}; known are {list(known)}")
    if missing := [name for name in ("agent", "env_id", "timesteps") if name not in table]:
        raise ValueError(f"missing key {missing[0]!r}")
    if isinstance(table.get("seeds"), int):
        table = {**table, "seeds": list(range(table["seeds"]))}
    many = {name for name, field in known.items() if str(field.type).startswith("tuple")}
    as_tuple = {name: tuple(v) if isinstance(v, list) else (v,) for name, v in table.items() if name in many}
    return Block(**{**table, **as_tuple})
