"""What docs/results/ppo_plan.md says is run, as data. No torch: listing must be quick."""

from __future__ import annotations

from benchmarks.plan import FALLING, Block, Run
from benchmarks.study.runs import RunStudy

SEEDS = tuple(range(6))
DEVELOPMENT = {"CartPole": ("CartPole-v1", 100_000), "Pendulum": ("Pendulum-v1", 150_000),
               "LunarLander": ("LunarLander-v3", 250_000)}  # fmt: skip
TEST = {"Acrobot": ("Acrobot-v1", 200_000), "Hopper": ("Hopper-v5", 100_000)}

UPDATES = FALLING[:2]
LED = FALLING[2:]
COOLDOWN, COOLED_AT = "kl-adaptive+cooldown", (0.2, 0.5)
TODAY = "kl-adaptive+final"
BASES = (0.1, 10.0)
BASELINES = {"linear": (1.0, 3.0, 10.0), TODAY: BASES}
"""Arm -> base rates, on the test tasks; on the development tasks they are runs of the study "evidence"."""

SCREENED = (0, 1)
"""Seeds with which the rules that follow the KL divergence are compared; one of them may go on."""


def stages() -> dict[str, list[Run]]:
    """Return every run by stage, in the order in which the stages are run."""
    found: dict[str, list[Run]] = {}
    for arms in (UPDATES[:1], UPDATES[1:]):
        for name, task in DEVELOPMENT.items():
            found.setdefault(f"updates, {name}", []).extend(_runs(task, arms, (1.0,)))
    for name, task in DEVELOPMENT.items():
        led = _runs(task, LED, BASES) + _runs(task, (COOLDOWN,), BASES, COOLED_AT)
        found[f"screening, {name}"] = [run for run in led if run.seed in SCREENED]
    for name, task in TEST.items():
        found[f"updates, {name}"] = _runs(task, UPDATES, (1.0,))
        found[f"baselines, {name}"] = [run for arm, rates in BASELINES.items() for run in _runs(task, (arm,), rates)]
    # Seed by seed, so that a stage cut short has all arms.
    return {name: sorted(runs, key=lambda run: run.seed) for name, runs in found.items()}


def _runs(
    task: tuple[str, int], arms: tuple[str, ...], rates: tuple[float, ...], at: tuple[float, ...] = (0.85,)
) -> list[Run]:
    env_id, timesteps = task
    return list(Block("PPO", (env_id,), timesteps, arms, SEEDS, rate_multiplier=rates, final_decay_at=at).runs())


PPO = RunStudy(
    name="ppo",
    about="which rule sets the rate of PPO as well as a tuned schedule",
    page="benchmarks.ppo.page:write_page",
    stages=stages,
    fewest=len(SEEDS),
    traced=(),
)
