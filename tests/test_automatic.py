"""The study of an automatic rate for every algorithm: what is run, what the rules do, and what is made of it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.automatic.answers import answer, task_of, verdicts
from benchmarks.automatic.page import render
from benchmarks.automatic.stages import AFTERWARDS, KINDS, TASKS, stages
from benchmarks.callbacks import FromUpdates, Movement
from benchmarks.plan import LED, Run, unfit
from benchmarks.schedules import Cooldown
from benchmarks.study.__main__ import main

BASE, RATE = 1e-3, 4e-3


def test_what_the_plan_says_is_run():
    numbers = {name: len(runs) for name, runs in stages().items()}
    # A constant rate at five rates, and the rules: both on two tasks, one on the others. A temperature has three bases.
    both, one, temperature, few = 5 * (5 + 2), 5 * (5 + 1), 5 * (5 + 3), 5 * (2 + 1)
    assert numbers == {
        "A2C, LunarLander": both,
        "DQN, MountainCar": one,
        "SAC, MountainCar": both,
        "DQN, LunarLander": one,
        "SAC, short": one,
        "TD3, LunarLander": few,
        "QRDQN, MountainCar": one,
        "DDPG, InvertedPendulum": one,
        "TQC, InvertedPendulum": temperature,
        "CrossQ, InvertedPendulum": temperature,
        "cooldown": 9 * 5 * 5 + 5 * 2,
    }
    assert {run.final_decay_at for runs in stages().values() for run in runs if run.arm != "constant"} == {0.8}
    assert {agent for agent, *_ in TASKS.values()} == {agent for agents in KINDS.values() for agent in agents}


def test_the_rate_from_updates():
    assert Run("TD3", "LunarLanderContinuous-v3", 30_000, LED[0], 0).from_updates == pytest.approx(0.3 / 29_000**0.5)
    assert unfit(LED[1], "QRDQN")
    assert unfit(LED[1], "TD3") is None


class Rates(BaseCallback):
    """Notes the rate of each step of each optimizer."""

    def __init__(self, **optimizers):
        super().__init__()
        self.optimizers, self.seen = optimizers, {name: [] for name in optimizers}

    def _on_step(self):
        return True

    def _on_training_start(self):
        for name, optimizer in self.optimizers.items():
            optimizer.register_step_post_hook(
                lambda optimizer, *_, name=name: self.seen[name].append(optimizer.param_groups[0]["lr"])
            )


def small(algorithm, **changes):
    kwargs = {"learning_starts": 20, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}, "device": "cpu", "seed": 0}
    return algorithm("MlpPolicy", "Pendulum-v1", learning_rate=Cooldown(BASE, 0.8), **kwargs, **changes)


def test_the_networks_are_at_the_rate_and_the_temperature_at_the_users():
    model = small(SAC)
    rates = Rates(actor=model.actor.optimizer, critic=model.critic.optimizer, temperature=model.ent_coef_optimizer)
    model.learn(200, callback=[FromUpdates(RATE, BASE), rates])
    falls = [min(1.0, (200 - timestep) / 40) for timestep in range(21, 201)]
    for name, rate in (("actor", RATE), ("critic", RATE), ("temperature", BASE)):
        assert rates.seen[name] == pytest.approx([rate * fall for fall in falls], rel=1e-6), name


def test_movement_moves_the_rate_by_a_step_at_most_and_rests_before_the_end():
    model = small(TD3, train_freq=5, gradient_steps=5)
    rates, movement = Rates(critic=model.critic.optimizer), Movement(1e-5, BASE, 0.8)
    model.learn(400, callback=[movement, rates])
    held = rates.seen["critic"][:-80]
    ratios = {round(now / before, 6) for before, now in itertools.pairwise(held)}
    assert max(ratios) == 1.5, "at so low a rate the policy hardly moves"
    assert min(ratios) >= round(1 / 1.5, 6)
    late = np.array(rates.seen["critic"][-80:])
    assert (np.diff(late) <= 0).all(), "no rule any more, only the fall"


def made_up(name, constant, updates, seeds=5):
    """Runs of a stage, whose returns are the given scores of each base rate, alike in all seeds but for a little."""
    rows = []
    planned = stages()
    for run in planned[name] + [run for run in planned["cooldown"] if (run.agent, run.env_id) == TASKS[name][:2]]:
        if run.seed >= seeds:
            continue
        rates = [0.01, 0.1, 1.0, 10.0, 30.0]
        score = updates if run.arm in LED else constant[rates.index(run.rate_multiplier)]
        rows.append(
            {
                "run_id": run.run_id, "arm": run.arm, "rate_multiplier": run.rate_multiplier, "seed": run.seed,
                "status": "complete", "final_return": 100 * score + 0.01 * run.seed,
                "random_return": 0.0, "reference_return": 100.0, "optimizer_steps": 10_000,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("updates", "regret", "ships"), [(0.8, 0.0, True), (0.76, 0.05, False), (0.5, 0.375, False)])
def test_regret_is_the_share_of_the_best_constant_rate_that_is_lost(updates, regret, ships):
    task = task_of(made_up("DQN, MountainCar", [0.0, 0.2, 0.8, 0.4, 0.1], updates))
    assert (task.seeds, task.chosen) == (5, 1.0)
    assert task.best == pytest.approx(0.8, abs=1e-3)
    assert task.rules["updates+cooldown"].regret.estimate == pytest.approx(regret, abs=1e-3)
    assert task.rules["constant"].regret.estimate == pytest.approx(1 - 0.3 / 0.8, abs=1e-3)
    told = verdicts({"DQN, MountainCar": task})["DQN and QRDQN"]["updates+cooldown"]
    assert (told.tasks, told.missing) == (1, 2)
    assert told.ships is (None if updates > 0.7 else False), "two tasks are missing"
    assert told._replace(missing=0).ships is ships or updates == 0.76


def test_what_is_run_afterwards_can_take_the_decision_back():
    kind, agents = next(iter(KINDS.items()))
    names = [name for name, (agent, *_) in TASKS.items() if agent in agents and name not in AFTERWARDS]
    found = {name: task_of(made_up(name, [0.0, 0.2, 0.8, 0.4, 0.1], 0.8)) for name in names}
    told = verdicts(found)[kind]["updates+cooldown"]
    assert (told.tasks, told.missing, told.ships) == (5, 0, True)
    assert told.constant == pytest.approx(0.3 / 0.8, abs=1e-3), "without TD3, which has two rates"
    assert told.preset == pytest.approx(1, abs=1e-3)
    assert told.late
    (late,) = AFTERWARDS
    for score, ships in ((0.8, True), (0.6, False)):
        late_too = found | {late: task_of(made_up(late, [0.0, 0.2, 0.8, 0.4, 0.1], score))}
        assert verdicts(late_too)[kind]["updates+cooldown"].ships is ships


def test_a_crashed_run_scores_zero_and_a_task_that_is_not_learned_does_not_count():
    runs = made_up("DQN, MountainCar", [0.0, 0.0, 0.08, 0.0, 0.0], 0.05)
    assert verdicts({"DQN, MountainCar": task_of(runs)}) == {}
    runs = made_up("DQN, MountainCar", [0.0, 0.2, 0.8, 0.4, 0.1], 0.8)
    runs.loc[runs["arm"] == "updates+cooldown", ["status", "final_return"]] = ["failed", np.nan]
    assert task_of(runs).rules["updates+cooldown"].regret.estimate == pytest.approx(1)


def test_reports_of_all_studies_pass_over_one_that_has_not_begun(tmp_path, capsys):
    assert main(["report", "--saved", str(tmp_path)]) == 0
    assert "automatic: no run is saved yet" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["report", "automatic", "--saved", str(tmp_path)])


def test_the_page_names_what_is_missing_and_what_holds():
    few = made_up("A2C, LunarLander", [0.0, 0.2, 0.8, 0.4, 0.1], 0.8, seeds=2)
    assert answer(few) == {}
    assert "**A2C: not decided yet.** No task has 3 seeds." in " ".join(render(few).split())
    some = pd.concat([few, made_up("DQN, MountainCar", [0.0, 0.2, 0.8, 0.4, 0.1], 0.8)])
    page = render(some)
    assert "| DQN and QRDQN | updates+cooldown | 1 | 2 | 0.00 | 1.00 | not decided yet |" in page
    assert "Not there yet: A2C, LunarLander; SAC, MountainCar;" in page
    assert "SAC, short is run after the decision" in " ".join(page.split())
    assert "Tasks that are missing: 2." in " ".join(page.split())
