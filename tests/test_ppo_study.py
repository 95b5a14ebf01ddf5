"""The study of PPO: what is run, what its arms do to the rate, and what is made of them."""

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import PPO

from benchmarks.plan import FALLING
from benchmarks.ppo.answers import FOLLOWING, RULES, TASKS, gap, gaps, goes_on, option, passing, screened
from benchmarks.ppo.page import render
from benchmarks.ppo.stages import SEEDS, stages
from benchmarks.schedules import make_arm
from tests.algorithms import Do
from tests.test_movers import rates_of


def test_what_the_plan_says_is_run():
    numbers = {name: len(runs) for name, runs in stages().items()}
    assert numbers == {
        **{f"updates, {task}": 12 for task in TASKS},
        **{f"baselines, {task}": 6 * (3 + 2) for task in ("Acrobot", "Hopper")},
        **{f"screening, {task}": 2 * 4 * 2 for task in ("CartPole", "Pendulum", "LunarLander")},
    }


@pytest.mark.parametrize("arm", FALLING)
def test_what_falls(arm):
    made, targets = make_arm(arm, 1e-4, 500), []
    model = PPO("MlpPolicy", "CartPole-v1", learning_rate=1e-4, n_steps=50, batch_size=50, n_epochs=2, seed=0)
    seen = rates_of(model, "PPO")
    note = Do(rollout_end=lambda _: targets.append(getattr(made.others[0], "target_kl", None)))
    model.learn(1000, callback=[made.abel, *made.others, note])
    rates = [rate for _, rate in {timestep: rate for timestep, _, rate in seen}.items()]
    first, line = 0.15 / 40**0.5, 1 - np.arange(20) / 20
    assert len(rates) == 20
    if arm.startswith("updates"):
        assert rates == pytest.approx(0.01 * line), "the largest rate that it may begin at"
    elif arm == "kl-under-linear":
        # An update comes at the end of its rollout.
        assert (np.array(rates) <= np.minimum(first, 0.01) * (line - 0.05) + 1e-12).all()
        assert rates[3] > rates[0] == pytest.approx(1e-4)
    else:
        assert targets[-1] == pytest.approx(0.001)
        assert targets[9] == pytest.approx(0.005, rel=0.1)


def made_up(gained, tasks=tuple(TASKS), apart=0.0, noise=0.0):
    """Runs of linear decay, best at × 1 with 0.8, and of all rules, which score that and what they gain."""
    rows = []
    for task in tasks:
        env_id, timesteps = TASKS[task]
        for arm, rates in [("linear", (0.1, 1.0, 10.0)), *((rule, (0.1, 10.0)) for rule in RULES)]:
            for seed in SEEDS:
                for rate in rates if not arm.startswith("updates") else (1.0,):
                    score = 0.8 * (rate == 1) if arm == "linear" else 0.8 + gained + apart * (rate > 1)
                    score += noise * (seed % 2 - 0.5)
                    at = float(arm.rpartition(" ")[2]) if arm.startswith("kl+cooldown") else 0.85
                    arm_ = "kl-adaptive+cooldown" if arm.startswith("kl+cooldown") else arm
                    rows.append(
                        {
                            "run_id": f"{task}{arm}{seed}{rate}", "agent": "PPO", "env_id": env_id, "arm": arm_,
                            "timesteps": timesteps, "seed": seed, "rate_multiplier": rate, "final_decay_at": at,
                            "status": "complete", "regularization": "none",
                            "learning_rate": rate * 1e-3, "optimizer_steps": 10_000,
                            "final_return": 100 * score, "random_return": 0.0, "reference_return": 100.0,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("gained", "apart", "noise", "passes"),
    [
        (0.0, 0.0, 0.0, True),
        (-0.02, 0.0, 0.0, True),
        (-0.04, 0.0, 0.0, False),
        (0.1, 0.04, 0.0, True),
        (0.1, 0.06, 0.0, False),
    ],
)
def test_the_gap_decides(gained, apart, noise, passes):
    found = gaps(made_up(gained, apart=apart, noise=noise))
    assert set(found) == set(RULES)
    of = found["kl-falling"]["Hopper"]
    assert of.gap.mean.estimate == pytest.approx(gained + apart / 2)
    assert of.score == pytest.approx(0.8 + gained + apart / 2)
    assert found["updates+linear"]["Hopper"].gain.mean.estimate == pytest.approx(-apart / 2), "today's has both rates"
    assert passing(found)["kl-falling"] is passes
    assert passing(found)["updates+linear"] is (gained > -0.03), "one base rate stands for all"


def test_the_best_rate_of_linear_decay_is_chosen_on_other_seeds():
    seeds = list(range(4))
    linear = pd.DataFrame({0.1: [1.0, 0, 0, 0], 1.0: [0.6] * 4}, index=seeds)
    rule = pd.DataFrame({1.0: [0.6] * 4}, index=seeds)
    # Its own luck does not count for the first seed.
    assert gap(rule, linear).gap.mean.estimate == pytest.approx(0.0)


def test_tasks_that_are_missing_leave_it_open():
    found = gaps(made_up(0.0, tasks=("CartPole", "Pendulum")))
    assert passing(found)["updates+linear"] is None
    assert passing(gaps(made_up(-0.1, tasks=("CartPole",))))["updates+linear"] is False


def test_one_rule_that_follows_the_kl_divergence_may_go_on():
    runs = made_up(0.0)
    assert screened(runs[runs["env_id"] != "Pendulum-v1"]) is None, "not before all three tasks are there"
    better = runs["arm"] == "kl-falling"
    others = runs["seed"] > 1
    for gained, chosen in ((5.0, "kl-falling"), (0.0, FOLLOWING[0]), (-5.0, FOLLOWING[0])):
        changed = runs.assign(final_return=runs["final_return"] + gained * better - 50 * others)
        means = screened(changed)
        assert means.loc["kl-falling", "Pendulum"] == pytest.approx(0.8 + gained / 100), "the screening's seeds alone"
        assert goes_on(means) == chosen
    worse = runs["final_return"] - runs["arm"].isin(("kl-under-linear", "kl-falling", "kl-adaptive+cooldown"))
    assert goes_on(screened(runs.assign(final_return=worse))) is None, "rule 6 is better"


def changed(runs, arm, gained, tasks=tuple(TASKS)):
    of = (runs["arm"] == arm) & runs["env_id"].isin([TASKS[task][0] for task in tasks])
    return runs.assign(final_return=runs["final_return"] + 100 * gained * of)


def without_today(runs, env_id):
    """With rules that do not pass."""
    for arm in (*FALLING, "kl-adaptive+cooldown"):
        runs = changed(runs, arm, -0.1)
    return runs[(runs["arm"] != "kl-adaptive+final") | (runs["env_id"] != env_id)]


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        (made_up(0.0), None),
        (changed(made_up(0.0), "updates+linear", 0.01), "updates+linear"),
        (changed(made_up(0.0), "updates+linear", 0.01, ("CartPole", "Pendulum", "LunarLander")), "updates+linear"),
        (changed(made_up(0.0), "updates+linear", 0.01, ("CartPole", "Pendulum")), None),
        (changed(changed(made_up(0.0), "updates+linear", 0.1), "updates+linear", -0.2, ("Hopper",)), None),
        (changed(changed(made_up(0.0), "updates+linear", 0.1), "updates0.3+linear", 0.2), "updates0.3+linear"),
        (changed(made_up(0.0, tasks=("CartPole", "Pendulum")), "updates+linear", 0.1), None),
    ],
)
def test_an_option_is_better_on_each_development_task_and_nowhere_worse(runs, chosen):
    assert option(gaps(runs)) == chosen


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        (made_up(0.0), "**Yes: 0.15 / √N does, falling linearly to 0.**"),
        (made_up(0.0, tasks=("CartPole",)), "Tasks that are not there: Acrobot, Hopper, Pendulum, LunarLander."),
        (without_today(made_up(0.0), "Hopper-v5"), "Tasks that are not there: Hopper."),
        (made_up(-0.1), "0.15 / √N does not pass, and 0.3 / √N does not pass."),
        (made_up(-0.1), "**No.** No rule was shown to match it"),
        (
            changed(made_up(-0.1), "updates0.3+linear", 0.05),
            "and measures nothing: begin at 0.3 / √N,",
        ),
        (made_up(0.0)[:3], "**Not decided yet:** no rule"),
    ],
)
def test_the_page_says_it(runs, says):
    assert says in " ".join(render(runs, set()).split())
