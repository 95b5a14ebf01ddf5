"""What README and pages say of runs in words: counted here again, from the files of the runs."""

import io
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from stable_baselines3 import PPO

from benchmarks.schedules import make_arm
from rl_abel import AutoLearningRate, find_decays

pytestmark = pytest.mark.published
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs/results"
TUNING_SEEDS = 1000


def of_the_first_study(name, columns=None):
    """A table of the 1,641 runs of the first study."""
    with zipfile.ZipFile(RESULTS / "first_study.zip") as archive:
        return pd.read_parquet(io.BytesIO(archive.read(f"{name}.parquet")), columns=columns)


@pytest.fixture(scope="module")
def runs():
    table = of_the_first_study("runs")
    table["score"] = (table.final_return - table.random_return) / (table.reference_return - table.random_return)
    return table[(table.seed < TUNING_SEEDS) & (table.decay_factor == 0.1) & (table.final_decay_at == 0.85)]


@pytest.fixture(scope="module")
def norms(runs):
    """Squared norms of runs at a constant rate, by run: a frame of parts, in the order of time."""
    ids = runs.run_id[runs.arm == "constant"]
    columns = ["run_id", "timesteps", "total", "policy", "value"]
    table = of_the_first_study("traces", columns)
    return dict(list(table[table.run_id.isin(ids)].sort_values("timesteps").groupby("run_id")))


def constant(runs, norms, part="total", **where):
    """Traces of the runs at a constant rate with these values."""
    chosen = runs[(runs.arm == "constant")]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return [norms[run_id][part].to_numpy() for run_id in chosen.run_id]


def by_shape(trace):
    """Whether its running median falls by 5 % below its start and then rises by 5 % from its lowest."""
    smooth = pd.Series(trace).rolling(5).median().dropna()
    lowest = smooth.cummin()
    return bool(((lowest <= 0.95 * smooth.iloc[0]) & (smooth >= 1.05 * lowest)).any())


def said(page, pattern):
    """The numbers that a page gives, by a pattern of its words."""
    text = " ".join((ROOT / page).read_text().split())
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{page} no more says {pattern!r}: mend this test with it"
    return found[0] if isinstance(found[0], tuple) else (found[0],)


def rows_of(page, columns):
    """The rows of the table with these columns, as lists of cells."""
    [table] = re.findall(
        rf"^\| {columns} \|\n\|[-|]+\|\n(.*?)\n\n", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_without_weight_decay_it_grows_and_crossqs_alone_falls_again(runs, norms):
    traces = constant(runs, norms, regularization="none")
    assert len(traces) > 200
    assert all(trace[-1] > trace[0] for trace in traces)
    crossq = constant(runs, norms, regularization="none", agent="CrossQ")
    falls = [1 - trace[-1] / trace.max() for trace in crossq]
    assert sum(1 - trace[-1] / trace.max() > 0.05 for trace in traces) == sum(fall > 0.05 for fall in falls)
    numbers = (sum(fall > 0.05 for fall in falls), len(falls), round(100 * min(falls)), round(100 * max(falls)))
    words = (
        r"Only CrossQ's total norm also fell late: in (\d+) of (\d+) trainings it ended (\d+) to (\d+) % below its peak"
    )
    assert said("docs/bounces.md", words) == tuple(map(str, numbers))


def test_what_bounces_by_shape(runs, norms):
    sac = [by_shape(trace) for trace in constant(runs, norms, "policy", regularization="adamw", agent="SAC")]
    strong = {
        env_id: constant(runs, norms, regularization="adamw", agent="PPO", strength=10, env_id=env_id)
        for env_id in ("Acrobot-v1", "CartPole-v1")
    }
    bounced = {env_id: sum(map(by_shape, traces)) for env_id, traces in strong.items()}
    assert bounced["Acrobot-v1"] == bounced["CartPole-v1"]
    counts = [cells[-1] for cells in rows_of("docs/bounces.md", r"weight decay \| task .*? shape")]
    assert counts == [f"{sum(sac)} of {len(sac)}", f"{sum(bounced.values())} of {sum(map(len, strong.values()))}"]


def test_what_is_learned_under_the_stronger_decay(runs):
    strong = runs[(runs.agent == "PPO") & (runs.regularization == "adamw") & (runs.strength == 10)]
    scores = strong[strong.arm == "constant"].groupby("env_id").score.mean()
    words = r"hardly learn \(a score of ([\d.]+)\)\. The other half are on CartPole, with a score of ([\d.]+\d)\."
    assert said("docs/bounces.md", words) == (f"{scores['Acrobot-v1']:.2f}", f"{scores['CartPole-v1']:.2f}")


@pytest.mark.parametrize("strength", [1, 10])
def test_the_candidate_does_not_bounce(runs, norms, strength):
    traces = constant(runs, norms, regularization="adamw", agent="CrossQ", strength=strength)
    assert len(traces) == 5
    for trace in traces:
        assert not by_shape(trace)
        if strength == 10:
            assert 0 < trace.argmin() < 10, "it dips for a few measurements"
            assert trace[-1] > 0.99 * trace.max(), "and grows to the end"
        else:
            assert trace.argmin() == 0, "it does not dip"
            assert trace[-1] < 0.95 * trace.max(), "and ends below its peak"


def test_how_often_algorithm_1_cuts_the_rate(runs):
    literal = runs[runs.arm == "abel-paper"]
    cuts = literal.decays.map(lambda decays: sum(cause == "bounce" for _, cause, _ in json.loads(decays)))
    most = literal.env_id[cuts == cuts.max()]
    words = r"On (\w+) it cut the rate up to (\w+) times in one training, and once more at the end"
    assert said("docs/choosing.md", words) == ("Pendulum", "ten")
    assert (cuts.max(), set(most)) == (10, {"Pendulum-v1"})


@pytest.mark.parametrize(
    ("agent", "env_id", "rate_multiplier", "lost", "of"),
    [("SAC", "Pendulum-v1", 1.0, 5, 5), ("PPO", "CartPole-v1", 0.3, 4, 5), ("PPO", "Acrobot-v1", 0.3, 1, 5)],
)
def test_what_the_final_decay_costs(runs, agent, env_id, rate_multiplier, lost, of):
    these = runs[(runs.agent == agent) & (runs.env_id == env_id) & (runs.rate_multiplier == rate_multiplier)]
    scores = these[these.regularization == "none"].pivot(index="seed", columns="arm", values="score")
    differences = (scores["constant+final"] - scores["constant"]).dropna()
    assert (sum(differences < -0.05), len(differences)) == (lost, of)


def test_limits_says_how_many_runs_lost_by_the_final_decay():
    words = (
        r"lost by it in each of (\w+) runs\. PPO on CartPole, at 0\.3 times the RL Zoo's rate, lost in (\w+) of (\w+)\."
    )
    assert said("docs/limits.md", words) == ("five", "four", "five")


def test_a_decay_in_the_very_beginning_costs():
    table = pd.read_parquet(ROOT / "docs/results/moments.parquet")
    first = table[(table.agent == "PPO") & (table.env_id == "CartPole-v1") & (table.place == 0)]
    gains = (first.branch - first.trunk).groupby(first.strength).mean()
    assert all(first.groupby("strength").seed.nunique().loc[[0, 10]] == 10)
    cost = said(
        "docs/limits.md", r"CartPole runs cost (0\.\d) of the score with strong weight decay and (0\.\d) without"
    )
    assert cost == tuple(f"{-gains[strength]:.1f}" for strength in (10, 0))


def test_the_first_study_has_as_many_runs_as_is_said():
    assert said("docs/bounces.md", r"([\d,]+) trainings \(`docs/results/first_study") == (
        f"{len(of_the_first_study('runs')):,}",
    )


def scores_of(stage):
    """Scores of a stage of the study, at least 0: a row a seed, a column an arm and a multiple of the preset's rate."""
    table = pd.read_parquet(RESULTS / "evidence" / stage / "runs.parquet")
    table["score"] = (table.final_return - table.random_return) / (table.reference_return - table.random_return)
    clipped = table.assign(score=table.score.clip(lower=0))
    return table, clipped.pivot_table(index="seed", columns=["arm", "rate_multiplier"], values="score").dropna()


def test_what_was_measured_of_ppo():
    """Means; their intervals are on the study's own page."""
    auto, counted, seeds, ahead = "kl-adaptive+final", [], set(), []
    for stage in ("rates-cartpole", "rates-lunarlander", "rates-pendulum"):
        table, scores = scores_of(stage)
        rates = scores["constant"].columns
        assert len(rates) == 6
        assert (rates.min(), rates.max()) == (0.03, 10), "docs/results/evidence.md: a thirtieth"
        rate_of = dict(zip(table.rate_multiplier, table.learning_rate))
        [near] = [multiple for multiple in rates if 9e-4 <= rate_of[multiple] <= 1e-3]
        linear = scores["linear"][near].mean()
        counted.append(
            [scores[auto][1].mean(), scores["constant"][1].mean(), scores[auto].mean(axis=None),
             scores["constant"].mean(axis=None), linear]
        )  # fmt: skip
        seeds.add(len(scores))
        ahead.append(linear - scores[auto].mean(axis=None))
    told = [cells[1:] for cells in rows_of("README.md", r"score at the end \| CartPole \| LunarLander \| Pendulum")]
    assert told == [[f"{score:.2f}".replace("-", "−") for score in row] for row in zip(*counted)]
    assert seeds == {6, 7}
    assert "over six or seven seeds" in (ROOT / "README.md").read_text()
    assert said("README.md", r"is as good, and on LunarLander better by (0\.\d+)\.") == (f"{ahead[1]:.2f}",)
    assert [round(gap, 2) <= 0.03 for gap in ahead] == [True, False, True]


def test_where_no_gain_could_show():
    for stage in ("strengths-sac", "strengths-crossq"):
        table, _ = scores_of(stage)
        plain = table[(table.strength == 0) & (table.rate_multiplier == 1)]
        assert set(plain.env_id) == {"Pendulum-v1"}
        assert plain[plain.arm == "constant"].score.mean() > 0.97


def test_auto_learning_rate_is_the_arm_that_its_figures_are_of():
    """The study's arm has callbacks of its own: the same weights come out, after a final decay too."""
    arm = make_arm("kl-adaptive+final", 3e-5, measure_every=64)
    weights, factors = [], []
    for rate, callback in ((3e-5, AutoLearningRate()), (arm.learning_rate, [arm.abel, *arm.others])):
        model = PPO("MlpPolicy", "CartPole-v1", rate, n_steps=64, seed=0, device="cpu")
        model.learn(1280, callback=callback)
        weights.append(torch.nn.utils.parameters_to_vector(model.policy.parameters()))
        factors.append(model.policy.optimizer.param_groups[0]["lr"] / 3e-5)
    assert torch.equal(*weights)
    assert factors[0] == factors[1] != 1


def test_what_decays_after_a_bounce_cost_with_layer_normalisation():
    table = pd.read_parquet(RESULTS / "evidence/layer-norm-sac/runs.parquet")
    table["score"] = (table.final_return - table.random_return) / (table.reference_return - table.random_return)
    scores = table[table.strength == 10].pivot_table(index="seed", columns="arm", values="score")
    assert len(scores) >= 6
    cost = f"{(scores['constant+final'] - scores['abel']).mean():.2f}"
    assert said("README.md", r"cost (0\.\d\d) of the score in one of (\w+) settings") == (cost, "seven")
    assert said("docs/bounces.md", r"one of the (\w+), .*? ηλN 10, they cost (0\.\d\d) of") == ("seven", cost)
    assert said("docs/limits.md", r"in one of (\w+) settings, .*? they cost (0\.\d\d) of") == ("seven", cost)
    settings = re.findall(
        r"^\| ([^|]+) \| \d+ of \d+ \| (.*) \| −?\d\.\d\d \|$", (RESULTS / "evidence.md").read_text(), re.MULTILINE
    )
    assert (len(settings), sum("(first study)" in name for name, _ in settings)) == (7, 2)
    assert sum("at the best score" in cell for _, cell in settings) == 3
    assert said("docs/bounces.md", r"(\w+) settings bounce often enough to compare, (\w+) of them") == ("Seven", "two")
    assert said("docs/bounces.md", r"In (\w+) the score was at the top already") == ("three",)


def test_what_one_decay_near_the_end_brings():
    page = " ".join((RESULTS / "evidence.md").read_text().split())
    [ends] = re.findall(r"to linear decay, each from the best of its six rates, is (.*?) The largest", page)
    furthest = max(abs(float(of.replace("−", "-"))) for of in re.findall(r"(\S+) \[", ends))
    assert said("README.md", r"came within (0\.\d\d) of linear decay, each at its best rate") == (f"{furthest:.2f}",)
    [cost] = re.findall(r"decay changed SAC's score on Pendulum by −(\d\.\d\d) ", page)
    assert said("README.md", r"\(SAC once lost (0\.\d\d)\)") == (cost,)


def test_in_which_runs_the_norm_bounces():
    """The table of docs/bounces.md, counted again: the rule on the saved traces of the constant rate."""
    counted, kinds = {}, {}
    for stage in sorted(path.name for path in (RESULTS / "evidence").iterdir() if path.name != "measurements"):
        runs, traces = (
            pd.read_parquet(RESULTS / "evidence" / stage / f"{name}.parquet") for name in ("runs", "traces")
        )
        for run in runs[(runs.arm == "constant") & (runs.rate_multiplier == 1)].itertuples():
            strength = "none" if not run.strength else "below 0.2" if run.strength < 0.2 else f"{run.strength:g}"
            parts = traces[traces.run_id == run.run_id].reindex(columns=["total", "policy", "value"])  # DQN has two
            found = {part: bool(find_decays(parts[part].dropna())) for part in parts}
            task = strength, f"{run.agent} on {run.env_id.partition('-v')[0]}"
            counted[*task, run.seed] = {**found, "any": any(found.values())}
            kinds[task] = None
    for strength, tasks, part, said_count in rows_of("docs/bounces.md", r"ηλN \| task .*? bounce"):
        of = [
            found[part] for (*task, _), found in counted.items() if task[0] == strength and task[1] in tasks.split(", ")
        ]
        assert said_count == f"{sum(of)} of {len(of)}", (strength, tasks)
        for task in tasks.split(", "):
            del kinds[strength, task]
    assert not kinds, "every task has one row"


def test_the_readme_says_of_bounces_what_the_study_says():
    page = (RESULTS / "evidence.md").read_text()
    counts = {
        name: re.search(rf"^\| {name}.*? \| (\d+) of (\d+) \| (\d+) of \d+ \|", page, re.MULTILINE).groups()
        for name in ("none", "AdamW's default", "ηλN 10")
    }
    words = (
        r"none of (\d+) trainings did below its start; our rule alone reports CrossQ's .*? "
        r"default none of (\d+) did; .*? all (\d+) did, (\d+) by our rule\."
    )
    (_, plain, none), (rule, usual, shape), (strong_rule, strong, every) = counts.values()
    assert said("README.md", words) == (plain, usual, strong, strong_rule)
    assert (none, rule, shape, every) == ("0", "0", "0", strong)


def test_the_recipe_says_of_the_rate_from_steps_what_its_study_says():
    counted = r"It reaches (\S+) of the best constant rate's score .*? over (\d) tasks; .*? own rate reaches (\S+)\. A"
    of_all, num_tasks, of_preset = said("docs/results/automatic.md", rf"CrossQ: yes\.\*\* {counted}")
    told = said("docs/recipes.md", r"it reached (\S+) of the score of the best .*? own rate reached (\S+)\. On three")
    assert told == (of_all, of_preset)
    assert num_tasks == "6"
    counted = r"It reaches (\S+) of .*? over 3 tasks; the lowest task has (\S+)\. .*? own rate reaches (\S+)\. A"
    of_all, lowest, of_preset = said("docs/results/automatic.md", rf"QRDQN: yes\.\*\* {counted}")
    words = r"tasks of DQN and QRDQN both reached (\S+), and the formula (\S+) on the lowest"
    assert said("docs/recipes.md", words) == (of_all, lowest)
    assert of_preset == of_all


STAGES_OF_YES = {
    "SAC": ("sac-mountaincar", "sac-short", "ddpg-invertedpendulum", "crossq-invertedpendulum",
            "tqc-invertedpendulum", "td3-lunarlander"),
    "DQN": ("dqn-mountaincar", "dqn-lunarlander", "qrdqn-mountaincar"),
}  # fmt: skip


def test_what_one_fixed_rate_and_the_presets_come_to_beside_the_one_from_steps():
    """Counted by stage, on the seeds that all arms have; the tested rate that is nearest to 0.002."""
    shares, leads = {}, []
    for kind, stages in STAGES_OF_YES.items():
        for stage in stages:
            runs = pd.read_parquet(RESULTS / "automatic" / stage / "runs.parquet")
            span = runs.reference_return - runs.random_return
            runs["score"] = ((runs.final_return - runs.random_return) / span).fillna(0).clip(lower=0)
            runs = runs[runs.seed < 3]
            constant = runs[runs.arm == "constant"].groupby("learning_rate").score.mean()
            preset = runs[(runs.arm == "constant") & (runs.rate_multiplier == 1)].score.mean()
            formula = runs[runs.arm == "updates+cooldown"].score.mean()
            nearest = min(constant.index, key=lambda rate: max(rate / 0.002, 0.002 / rate))
            shares.setdefault(kind, []).append(constant[nearest] / constant.max())
            leads.append((formula - preset) / constant.max())
    one = r"(\S+) in the mean over .*?, and (\S+) on the lowest"
    ends = [f"{of:.2f}" for kind in shares.values() for of in (sum(kind) / len(kind), min(kind))]
    assert said("docs/results/automatic.md", rf"reach: {one}; {one}\.") == tuple(ends)
    words = r"own rate clearly on (\d) of (\d):.*? On the others it is up to (\S+) behind\."
    told = str(sum(lead > 0.05 for lead in leads)), str(len(leads)), f"{-min(leads):.2f}"
    assert said("docs/results/automatic.md", words) == told


def test_the_recipe_says_of_ppo_without_measuring_what_its_study_says():
    """Means over six seeds, today's rule over base rates: two, or six where they are of the study before."""
    tables = [*(RESULTS / "ppo").glob("*/runs.parquet"), *(RESULTS / "evidence").glob("rates-*/runs.parquet")]
    runs = pd.concat([pd.read_parquet(path) for path in tables])
    runs = runs[(runs.seed < 6) & ((runs.env_id != "Hopper-v5") | (runs.timesteps == 100_000))]
    span = runs.reference_return - runs.random_return
    runs["score"] = ((runs.final_return - runs.random_return) / span).clip(lower=0)
    today = runs[runs.arm == "kl-adaptive+final"]
    assert sorted(today.groupby("env_id").size()) == [12, 12, 36, 36, 36]
    of_today, leads = today.groupby(["env_id", "seed"]).score.mean(), {}
    for arm in ("updates+linear", "updates0.3+linear"):
        gained = runs[runs.arm == arm].set_index(["env_id", "seed"]).score - of_today
        assert len(gained) == 30
        leads[arm] = gained.groupby("env_id").mean()
    ends = [f"{end(lead):.2f}" for lead in leads.values() for end in (min, max)]
    words = r"it scored (\S+) to (\S+) above .*? in place of 0\.15 it was (\S+) to (\S+) above"
    assert said("docs/recipes.md", words) == tuple(ends)
    assert said("docs/results/ppo.md", r"lead excludes 0 on (.*?) alone:") == ("LunarLander",)


def test_what_decays_after_a_bounce_bring_on_the_control():
    runs = pd.read_parquet(RESULTS / "control_runs.parquet")
    runs = runs[(runs.seed < TUNING_SEEDS) & (runs.decay_factor == 0.1)]
    means = (100 * runs.groupby(["l2", "learning_rate", "arm"]).test_accuracy.mean()).round(1)
    number = r"(\d\d\.\d)"
    bouncing = rf"{number} % accuracy, .*? at {number} %\. .*? at {number} % and {number} %\."
    words = rf"{bouncing} .*? reaches {number} % .*? {number} %"
    with_l2, without = means[0.016], means[0.0]
    told = tuple(map(float, said("docs/bounces.md", words)))
    large, small = with_l2[0.1], with_l2[0.03]
    assert told[:4] == (large["abel"], large["simple"], small["abel"], small["simple"])
    assert told[4:] == (without[0.1]["simple"], with_l2.max())


def test_how_many_measurements_the_rule_needs():
    details = (RESULTS / "evidence_details.md").read_text()
    rows = {
        number: re.search(rf"^\| {measured}" + 6 * r" \| (\d+)" + r" \|$", details, re.MULTILINE).groups()
        for number, measured in ((100, "98"), (500, "391 to 439"))
    }
    (shaped, seen, _, _, plain, false), (_, more_seen, _, _, _, more_false) = rows[100], rows[500]
    words = (
        r"Of (\d+) such norms the rule sees (\d+) on 100 measurements and (\d+) on 500\. "
        r"But on 500 it also decays in (\d+) of (\d+) without weight decay, on 100 in (\d+)\."
    )
    assert said("docs/limits.md", words) == (shaped, seen, more_seen, more_false, plain, false)


def test_the_committed_tables_are_small():
    files = [*RESULTS.rglob("*.parquet"), *RESULTS.glob("*.zip")]
    assert sum(path.stat().st_size for path in files) < 25e6
