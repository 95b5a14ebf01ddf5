"""What docs/results/automatic_plan.md says is run, as data. No torch: listing must be quick."""

from __future__ import annotations

from benchmarks.plan import LED, Block, Run
from benchmarks.study.runs import RunStudy

SEEDS = tuple(range(5))
FEWEST_SEEDS = 3
RATES = (0.01, 0.1, 1.0, 10.0, 30.0)
FIXED = ("constant", "cooldown")
DECAYS_AT = 0.8
"""Share of the budget after which the rate falls to 0, in all arms but constant."""

WITH_TEMPERATURE = ("TQC", "CrossQ")
"""Agents here whose temperature learns, at the user's own rate."""

BASES = (0.01, 1.0, 30.0)
"""Base rates of the rules, where one enters by the temperature."""

TASKS = {
    "A2C, LunarLander": ("A2C", "LunarLander-v3", 200_000),
    "SAC, MountainCar": ("SAC", "MountainCarContinuous-v0", 20_000),
    "DDPG, InvertedPendulum": ("DDPG", "InvertedPendulum-v5", 10_000),
    "CrossQ, InvertedPendulum": ("CrossQ", "InvertedPendulum-v5", 10_000),
    "TQC, InvertedPendulum": ("TQC", "InvertedPendulum-v5", 10_000),
    "TD3, LunarLander": ("TD3", "LunarLanderContinuous-v3", 30_000),
    "SAC, short": ("SAC", "MountainCarContinuous-v0", 10_000),
    "DQN, MountainCar": ("DQN", "MountainCar-v0", 120_000),
    "DQN, LunarLander": ("DQN", "LunarLander-v3", 100_000),
    "QRDQN, MountainCar": ("QRDQN", "MountainCar-v0", 120_000),
}
WITH_MOVEMENT = ("A2C, LunarLander", "SAC, MountainCar")
"""Where the second rule is run: on the second of these it fell below the plan's bar."""

RATES_OF = {"TD3, LunarLander": (1.0, 10.0)}
"""Multiples of the preset's rate where they are fewer."""

AFTERWARDS = ("SAC, short",)
"""What is run after the decision, and can take it back."""

COOLDOWN = "cooldown"
"""The last stage: an arm of all tasks, which decides nothing."""

KINDS = {
    "SAC, TD3, DDPG, TQC and CrossQ": ("SAC", "TD3", "DDPG", "TQC", "CrossQ"),
    "DQN and QRDQN": ("DQN", "QRDQN"),
    "A2C": ("A2C",),
}


def stages() -> dict[str, list[Run]]:
    """Return every run by stage, in the order in which the stages are run."""
    found: dict[str, list[Run]] = {name: [] for name in (*TASKS, COOLDOWN)}
    for name, (agent, env_id, timesteps) in TASKS.items():
        rules = LED if name in WITH_MOVEMENT else LED[:1]
        bases = BASES if agent in WITH_TEMPERATURE else (1.0,)
        rates = RATES_OF.get(name, RATES)
        arms_of = ((name, ("constant",), rates), (name, rules, bases), (COOLDOWN, ("cooldown",), rates))
        for stage, arms, of in arms_of:
            block = Block(agent, (env_id,), timesteps, arms, SEEDS, rate_multiplier=of, final_decay_at=(DECAYS_AT,))
            found[stage] += block.runs()
    # Seed by seed, so that a stage cut short has all arms.
    return {name: sorted(runs, key=lambda run: run.seed) for name, runs in found.items()}


AUTOMATIC = RunStudy(
    name="automatic",
    about="which rule sets the rate of SAC, TD3, DQN and the like",
    page="benchmarks.automatic.page:write_page",
    stages=stages,
    fewest=FEWEST_SEEDS,
    traced=("updates+cooldown",),
)
