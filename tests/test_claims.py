"""What README and limits say of runs in words: counted here again, from the files of the runs."""

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


def test_without_weight_decay_it_grows_and_crossqs_alone_falls_again(runs, norms):
    traces = constant(runs, norms, regularization="none")
    assert len(traces) > 200
    assert all(trace[-1] > trace[0] for trace in traces)
    crossq = constant(runs, norms, regularization="none", agent="CrossQ")
    falls = [1 - trace[-1] / trace.max() for trace in crossq]
    assert sum(1 - trace[-1] / trace.max() > 0.05 for trace in traces) == sum(fall > 0.05 for fall in falls)
    numbers = (sum(fall > 0.05 for fall in falls), len(falls), round(100 * min(falls)), round(100 * max(falls)))
    words = r"CrossQ's alone then falls again, in (\d+) of (\d+) runs, to end (\d+) to (\d+) % below its peak"
    assert said("README.md", words) == tuple(map(str, numbers))


def test_what_bounces_by_shape(runs, norms):
    sac = [by_shape(trace) for trace in constant(runs, norms, "policy", regularization="adamw", agent="SAC")]
    assert said("README.md", r"SAC's policy network in (\d+) of (\d+) runs") == (str(sum(sac)), str(len(sac)))
    strong = {
        env_id: constant(runs, norms, regularization="adamw", agent="PPO", strength=10, env_id=env_id)
        for env_id in ("Acrobot-v1", "CartPole-v1")
    }
    bounced = {env_id: sum(map(by_shape, traces)) for env_id, traces in strong.items()}
    assert bounced["Acrobot-v1"] == bounced["CartPole-v1"]
    numbers = (sum(bounced.values()), sum(map(len, strong.values())))
    assert said("README.md", r"stronger decay in (\d+) of (\d+), half") == tuple(map(str, numbers))


def test_what_is_learned_under_the_stronger_decay(runs):
    strong = runs[(runs.agent == "PPO") & (runs.regularization == "adamw") & (runs.strength == 10)]
    scores = strong[strong.arm == "constant"].groupby("env_id").score.mean()
    words = r"on Acrobot, which they hardly learn \(([\d.]+)\), half on CartPole \(([\d.]+)\)\."
    assert said("README.md", words) == (f"{scores['Acrobot-v1']:.2f}", f"{scores['CartPole-v1']:.2f}")


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
    words = r"cuts the rate up to (\w+) times \(on (\w+)\), and once more at the end"
    assert said("README.md", words) == ("ten", "Pendulum")
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
        r"lost by it in each of (\w+) runs, and PPO on CartPole at 0\.3 times the rate of the RL Zoo in (\w+) of (\w+)"
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
    assert said("README.md", r"Of the ([\d,]+) runs of an earlier study") == (f"{len(of_the_first_study('runs')):,}",)


def test_the_kl_adaptive_rate_over_base_rates():
    """The means are counted here; their intervals are those of the study's own page."""
    number = r"(−?\d\.\d\d) \[[^]]+\]"
    words = (
        rf"it scores {number} on CartPole, {number} on LunarLander and {number} on Pendulum, "
        rf"a constant rate {number}, {number} and {number}\."
    )
    told = said("README.md", words)
    counted = []
    for arm in ("kl-adaptive+final", "constant"):
        for stage in ("rates-cartpole", "rates-lunarlander", "rates-pendulum"):
            table = pd.read_parquet(RESULTS / "evidence" / stage / "runs.parquet")
            table["score"] = (table.final_return - table.random_return) / (table.reference_return - table.random_return)
            scores = table.pivot_table(index="seed", columns=["arm", "rate_multiplier"], values="score").dropna()
            counted.append(f"{scores[arm].mean(axis=None):.2f}".replace("-", "−"))
            rates = scores["constant"].columns
            assert (rates.min(), rates.max()) == (0.03, 10), "from a thirtieth to ten times"
    assert told == tuple(counted)


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
    cost = (scores["constant+final"] - scores["abel"]).mean()
    assert said("docs/limits.md", r"such decays cost (0\.\d) of the score") == (f"{cost:.1f}",)


def test_in_which_runs_the_policys_norm_bounces():
    """Counted again: the rule on the saved traces of the constant rate."""
    counted = {}
    stages = [
        *("strong-sac", "strengths-sac", "strong-cartpole", "layer-norm-ppo", "layer-norm-sac", "strengths-ppo"),
        "coefficient-0.01",
    ]
    for stage in stages:
        runs, traces = (
            pd.read_parquet(RESULTS / "evidence" / stage / f"{name}.parquet") for name in ("runs", "traces")
        )
        for run in runs[(runs.arm == "constant") & (runs.strength > 0)].itertuples():
            norms = traces.loc[traces.run_id == run.run_id, "policy"].dropna().tolist()
            counted.setdefault((stage, run.env_id, run.strength), []).append(bool(find_decays(norms)))
    sac, simba = counted["strong-sac", "Pendulum-v1", 10], counted["layer-norm-ppo", "CartPole-v1", 10]
    sac_simba = counted["layer-norm-sac", "Pendulum-v1", 10]
    milder, ppo = counted["strengths-sac", "Pendulum-v1", 3], counted["strengths-ppo", "Pendulum-v1", 3]
    weak = counted["strengths-ppo", "CartPole-v1", 1]
    cartpole = counted["strengths-ppo", "CartPole-v1", 3], counted["strong-cartpole", "CartPole-v1", 10]
    plain = [one for (stage, *_), found in counted.items() if stage == "coefficient-0.01" for one in found]
    words = (
        r"(\d) of (\d) runs of SAC on Pendulum .*?\(ηλN 10\), in (\d) of (\d) of PPO on Pendulum .*? "
        r"(\d) of (\d) of PPO on CartPole with its plain network at ηλN 1, and none of (\d) .*? none of (\d+)"
    )
    told = tuple(map(int, said("README.md", words)))
    assert told == (sum(sac), len(sac), sum(ppo), len(ppo), sum(weak), len(weak), len(cartpole[0]), len(plain))
    assert (sum(simba), len(simba), sum(plain)) == (sum(sac), len(sac), 0)
    assert (sum(milder), len(milder)) == (sum(sac_simba), len(sac_simba)) == (sum(sac), len(sac))
    assert [(sum(of), len(of)) for of in cartpole] == [(0, len(cartpole[0]))] * 2


def test_how_many_measurements_the_rule_needs():
    details = (RESULTS / "evidence_details.md").read_text()
    rows = {
        number: re.search(rf"^\| {measured}" + 6 * r" \| (\d+)" + r" \|$", details, re.MULTILINE).groups()
        for number, measured in ((100, "98"), (500, "391 to 439"))
    }
    (shaped, seen, _, _, plain, false), (_, more_seen, _, _, _, more_false) = rows[100], rows[500]
    words = (
        r"Of (\d+) such norms, .*? it sees (\d+) on 100 measurements and (\d+) on 500; "
        r"but on 500 it also decays in (\d+) of (\d+) without weight decay, on 100 in (\d+),"
    )
    assert said("docs/limits.md", words) == (shaped, seen, more_seen, more_false, plain, false)


def test_the_readmes_numbers_are_those_of_the_pages():
    pages = "".join((RESULTS / name).read_text() for name in ("evidence.md", "evidence_details.md", "control.md"))
    pages = " ".join(pages.replace("\\", "").split())
    found = re.findall(r"[−\d.]+ \[[^\]]*\d\]", " ".join((ROOT / "README.md").read_text().split()))
    assert len(found) > 4
    assert [number for number in found if number not in pages] == []


def test_the_readmes_table_of_evidence_is_the_studys():
    def rows(path):
        return [line for line in path.read_text().splitlines() if line.startswith("| ")]

    table = rows(RESULTS / "evidence.md")
    assert len(table) == 6
    assert [row for row in rows(ROOT / "README.md") if row in table] == table


def test_the_committed_tables_are_small():
    files = [*RESULTS.rglob("*.parquet"), *RESULTS.glob("*.zip")]
    assert sum(path.stat().st_size for path in files) < 25e6
