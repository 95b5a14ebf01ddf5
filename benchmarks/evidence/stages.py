"""What docs/results/evidence_plan.md says is run, as data. No torch: listing must be quick."""

from __future__ import annotations

from agents import find_preset
from benchmarks.plan import PULL, Block, Run
from benchmarks.study.runs import RunStudy

SEEDS = tuple(range(10))
MORE_SEEDS = tuple(range(29))
"""Of two arms, where a seed is cheap and six left a question open."""

FEWEST_SEEDS = 6
"""Of all its arms, from which on a stage, a profile and a comparison count."""

RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
FALLING = ("constant", "linear", "constant+final", "cooldown")
PROFILED = (*FALLING, "kl-adaptive", "kl-adaptive+final")
PLAIN = ("constant", "linear", "constant+final", "abel")
ACTING = ("abel-part", "abel-batch", "abel-mixed")
"""Other ways in which a decay after a bounce can act."""

STRENGTHS = (0.0, 1.0, 3.0)
STRONG = 10.0
COEFFICIENT = 0.01
"""AdamW's default in torch, and what most people set."""

DENSE = 1000
"""Measurements of a run that is thinned afterwards."""


def stages() -> dict[str, list[Run]]:
    """Return every run by stage, in the order in which the stages are run; a run may be in several."""
    cartpole, pendulum, lander = ("CartPole-v1", 100_000), ("Pendulum-v1", 150_000), ("LunarLander-v3", 250_000)
    short = ("Pendulum-v1", 10_000)
    coefficient = [
        (env_id, timesteps, strength_of("PPO", env_id, timesteps)) for env_id, timesteps in (cartpole, lander)
    ]
    dense = (("PPO", cartpole, (0, 3, 10)), ("PPO", pendulum, (0, 3)), ("DQN", ("CartPole-v1", 50_000), (0, 3, 10)))
    found = {
        "rates, CartPole": _rates(*cartpole),
        "rates, Pendulum": _rates(*pendulum),
        "strong, CartPole": _runs("PPO", *cartpole, (*PLAIN, *ACTING, *PULL), STRONG),
        "strong, SAC": _runs("SAC", *short, (*PLAIN, *ACTING, *PULL), STRONG),
        "strengths, PPO": _strengths("PPO", *cartpole) + _strengths("PPO", *pendulum),
        "strengths, DQN": _strengths("DQN", "CartPole-v1", 50_000),
        "layer norm, PPO": _normalised("PPO-SimBa", *cartpole),
        "coefficient 0.01": [run for env_id, n, at in coefficient for run in _runs("PPO", env_id, n, PLAIN, at)],
        "measurements": [
            run
            for agent, task, strengths in dense
            for strength in strengths
            for run in _runs(agent, *task, ("constant",), strength, measurements=DENSE, evaluations=1)
        ],
        "strengths, SAC": _strengths("SAC", *short),
        "layer norm, SAC": _normalised("SAC-SimBa", *short),
        "rates, LunarLander": _rates(*lander),
        "strengths, CrossQ": _strengths("CrossQ", *short),
        "rates, Hopper": _rates("Hopper-v5", 300_000),
        "more seeds, DQN": _pairs("DQN", "CartPole-v1", 50_000),
    }
    # Seed by seed, so that a stage cut short has all arms.
    return {name: sorted(runs, key=lambda run: run.seed) for name, runs in found.items()}


def _runs(
    agent: str, env_id: str, timesteps: int, arms: tuple[str, ...], strength: float = 0.0, **others: int
) -> list[Run]:
    regularized = {"regularization": ("adamw",), "strength": (strength,)} if strength else {}
    return list(Block(agent, (env_id,), timesteps, arms, SEEDS, **regularized, **others).runs())  # type: ignore[arg-type]


def _pairs(agent: str, env_id: str, timesteps: int) -> list[Run]:
    return list(Block(agent, (env_id,), timesteps, ("constant", "constant+final"), MORE_SEEDS).runs())


def _rates(env_id: str, timesteps: int) -> list[Run]:
    return list(Block("PPO", (env_id,), timesteps, PROFILED, SEEDS, rate_multiplier=RATES).runs())


def _strengths(agent: str, env_id: str, timesteps: int) -> list[Run]:
    return [
        run
        for strength in STRENGTHS
        for run in _runs(agent, env_id, timesteps, (*PLAIN, *PULL) if strength else PLAIN, strength)
    ]


def _normalised(agent: str, env_id: str, timesteps: int) -> list[Run]:
    return [run for strength in (0.0, 3.0, STRONG) for run in _runs(agent, env_id, timesteps, PLAIN, strength)]


def strength_of(agent: str, env_id: str, timesteps: int) -> float:
    """Return the strength that ``COEFFICIENT`` has in a run at the preset's rate."""
    preset = find_preset(agent, env_id)
    return preset.learning_rate * COEFFICIENT * preset.n_updates(timesteps)


EVIDENCE = RunStudy(
    name="evidence",
    about="which rate, which end, and whether a decay after a bounce pays",
    page="benchmarks.evidence.page:write_page",
    stages=stages,
    fewest=FEWEST_SEEDS,
    traced=("constant", "abel", *ACTING),
)


def dense() -> set[str]:
    """Return the ids of the runs that are measured more often than all others."""
    return {run.run_id for runs in stages().values() for run in runs if run.measurements == DENSE}
