"""What docs/results/ppo_plan.md says is run, as data. No torch: listing must be quick."""

from __future__ import annotations

from benchmarks.plan import FALLING, Block, Run
from benchmarks.study.runs import RunStudy

SEEDS = tuple(range(6))
DEVELOPMENT = {"CartPole": ("CartPole-v1", 100_000), "Pendulum": ("Pendulum-v1", 150_000),
               "LunarLander": ("LunarLander-v3", 250_000)}  # fmt: skip
TEST = {"Acrobot": ("Acrobot-v1", 200_000), "Hopper": ("Hopper-v5", 300_000)}

UPDATES = FALLING[:2]
LED = FALLING[2:]
COOLDOWN, COOLED_AT = "kl-adaptive+cooldown", (0.2, 0.5)
TODAY = "kl-adaptive+final"
BASELINES = ("constant", "linear", TODAY)
"""On the development tasks these are runs of the study "evidence"."""

BASES = (0.1, 10.0)
RATES = (0.1, 1.0, 3.0, 10.0)


def stages() -> dict[str, list[Run]]:
    """Return every run by stage, in the order in which the stages are run."""
    found = {}
    for tasks, arms in ((DEVELOPMENT, UPDATES[:1]), (DEVELOPMENT, UPDATES[1:]), (TEST, UPDATES)):
        for name, task in tasks.items():
            found.setdefault(f"updates, {name}", []).extend(_runs(task, arms, (1.0,)))
    for name, task in TEST.items():
        found[f"baselines, {name}"] = _runs(task, BASELINES, RATES)
    for name, task in (DEVELOPMENT | TEST).items():
        found[f"led, {name}"] = _runs(task, LED, BASES) + _runs(task, (COOLDOWN,), BASES, COOLED_AT)
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
