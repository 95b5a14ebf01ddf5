"""The first page of the study: what it says is counted here again, from the tables, by code of its own."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.evidence import base_rates, settings, thinned
from benchmarks.evidence.answers import profiled, scored
from benchmarks.evidence.stages import EVIDENCE
from rl_abel import find_decays

pytestmark = pytest.mark.published
DOCS = Path(__file__).parent.parent / "docs" / "results"
PAGE = (DOCS / "evidence.md").read_text()
WORDS = " ".join(PAGE.split())
RATES = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
AUTO = "kl-adaptive+final"
STAGES = ("cartpole", "lunarlander", "pendulum")
NUMBER = r"(−?\d+\.\d\d) \[(−?\d+\.\d\d), (−?\d+\.\d\d)\]"
THREE = rf"{NUMBER}, {NUMBER} and {NUMBER}"

RETIRED = (
    "leaves no room", "leave no room", "helps in none", "costs in none", "not decided",
    "over these", "at the best rate",
)  # fmt: skip


def normalised(table):
    return (table.final_return - table.random_return) / (table.reference_return - table.random_return)


def score_table(stage):
    """Scores of a stage over base rates: a row a seed that has all, a column an arm and rate; below 0 is 0."""
    runs = pd.read_parquet(DOCS / "evidence" / f"rates-{stage}" / "runs.parquet")
    runs["score"] = normalised(runs).clip(lower=0)
    return runs.pivot_table("score", "seed", ["arm", "rate_multiplier"]).dropna()


TABLES = [score_table(stage) for stage in STAGES]


def best_elsewhere(table):
    """Score of each seed at the rate that is best on the others; of rates within 0.01 the one nearest to × 1."""
    scores = table[RATES].to_numpy()
    found = []
    for seed in range(len(scores)):
        means = np.delete(scores, seed, axis=0).mean(axis=0)
        tied = [number for number, mean in enumerate(means) if mean >= means.max() - 0.01]
        found.append(scores[seed, min(tied, key=lambda number: abs(np.log(RATES[number])))])
    return np.array(found)


def number(text):
    return float(text.replace("−", "-"))


def said(pattern):
    """What the page gives, by a pattern of its words."""
    found = re.findall(pattern, WORDS)
    assert len(found) == 1, f"the page no more says {pattern!r}"
    return [number(of) for of in ([found[0]] if isinstance(found[0], str) else found[0])]


def of_rows(first, width):
    """Numbers in the rows of tables that begin with this cell."""
    rows = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 1, first
    cells = rows[0].split("|")
    assert len(cells) == width
    return [[number(of) for of in re.findall(r"−?\d+\.\d+", cell)] for cell in cells]


def prose():
    """Sentences, without code, tables, intervals and targets of links."""
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)|[*`_]", "", text.replace("![", "["))
    text = re.sub(r" \[[−\d., ]+\]", "", text)
    for block in re.split(r"\n\s*\n|\n(?=[-#])", text):
        yield from re.split(r"(?<=[.?!])\s+", " ".join(block.split()))


def test_the_sentences_are_short():
    long = [sentence for sentence in prose() if len(sentence.split()) > 25]
    assert long == []


def test_what_an_audit_retired_does_not_come_back():
    assert [phrase for phrase in RETIRED if phrase in WORDS.lower()] == []
    assert not re.search(r"over \d+ tasks", WORDS), "no interval over a few tasks"


def test_the_differences_of_pooled_rates_are_those_of_the_audit():
    results = thinned.without_dense(EVIDENCE.saved(DOCS))
    runs = scored(results)
    tasks = base_rates.tasks(runs, results, profiled(runs))
    audit = {
        "CartPole-v1": (-0.03, -0.06, 0),
        "LunarLander-v3": (-0.12, -0.2, -0.03),
        "Pendulum-v1": (-0.01, -0.04, 0.03),
    }
    for env_id, (estimate, low, high) in audit.items():
        found = tasks[f"PPO {env_id}"].tuned.mean
        assert found.estimate == pytest.approx(estimate, abs=0.01)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


def test_the_headline_holds():
    assert "insurance against a bad learning rate. It is no improvement on a tuned one" in WORDS
    over_all = said(rf"\| constant, over all base rates \| {NUMBER} \([\d.]+\) \| {NUMBER} \([\d.]+\) \| {NUMBER} \(")
    assert min(over_all[1::3]) > 0
    assert max(said(rf"comes out at {THREE}")[1::3]) <= 0


def test_first_sentence_where_it_began():
    means = said(rf"six base rates it scores {THREE}\.")
    assert means[::3] == [round(table[AUTO].to_numpy().mean(), 2) for table in TABLES]
    early = []
    for stage in STAGES:
        runs, at = (
            pd.read_parquet(DOCS / "evidence" / f"rates-{stage}" / f"{n}.parquet") for n in ("runs", "evaluations")
        )
        at = at.merge(runs[runs.arm == AUTO], on="run_id", suffixes=("", "_of_run"))
        tenth = at[at.groupby("run_id").cumcount() == 1]  # the second of twenty
        assert (tenth.timesteps / tenth.timesteps_of_run).sub(0.1).abs().max() < 0.01
        of_rate = np.exp(np.log(tenth.learning_rate).groupby(tenth.rate_multiplier).mean())
        early.append(of_rate.max() / of_rate.min())
    assert said(r"These rates are (\d+)-fold apart\. .*? at most (\d\.\d)-fold") == [333, round(max(early), 1)]


def test_second_sentence_rates_that_are_about_right_and_far_lower_ones():
    near = said(rf"its lead over a constant rate is {THREE}\.")
    lowest = said(rf"learns little, and the lead is {THREE}\.")
    for told, rates in ((near, [0.3, 1.0, 3.0]), (lowest, [0.03])):
        apart = [table[AUTO][rates].to_numpy().mean() - table["constant"][rates].to_numpy().mean() for table in TABLES]
        assert told[::3] == [round(of, 2) for of in apart]
    assert said(r"it helps on (\d) of (\d) tasks") == [sum(low > 0 for low in near[1::3]), 3]
    assert all(table["constant"][0.03].mean() < 0.35 for table in TABLES), "learns little"


def test_third_sentence_a_tuned_rate():
    apart = [table[AUTO].to_numpy().mean() - best_elsewhere(table["linear"]).mean() for table in TABLES]
    assert said(rf"comes out at {THREE}\.")[::3] == [round(of, 2) for of in apart]
    one = [table["linear"][rate].mean() for table, rate in zip(TABLES, (1.0, 3.0, 1.0))]
    assert said(r"about 1e-3 would .*? it scores (\d\.\d\d), (\d\.\d\d) and (\d\.\d\d)\.") == [
        round(of, 2) for of in one
    ]
    assert all(table["linear"].mean().max() - of < 0.01 for table, of in zip(TABLES, one)), (
        "would have done on all three"
    )


def of_the_first_study():
    with zipfile.ZipFile(DOCS / "first_study.zip") as archive:
        runs = pd.read_parquet(io.BytesIO(archive.read("runs.parquet")))
    runs["score"] = normalised(runs)
    return runs[(runs.seed < 1000) & (runs.decay_factor == 0.1) & (runs.final_decay_at == 0.85)]


def test_fourth_sentence_one_decay_near_the_end():
    led = [(table[AUTO] - table["kl-adaptive"]).to_numpy().mean() for table in TABLES]
    assert said(rf"Under `AutoLearningRate\(\)` it adds {THREE}\.")[::3] == [round(of, 2) for of in led]
    late = []
    for stage in STAGES:
        runs, at = (
            pd.read_parquet(DOCS / "evidence" / f"rates-{stage}" / f"{n}.parquet") for n in ("runs", "evaluations")
        )
        at = at.merge(runs[runs.rate_multiplier == 1], on="run_id", suffixes=("", "_of_run"))
        at = at[at.timesteps >= 0.89 * at.timesteps_of_run]
        at["score"] = (at.return_mean - at.random_return) / (at.reference_return - at.random_return)
        by_seed = at.pivot_table("score", "seed", "arm").dropna()
        late.append((by_seed["constant+final"] - by_seed["constant"]).mean())
    assert said(rf"constant rate it adds {THREE}\.")[::3] == [round(of, 2) for of in late]
    assert said(rf"it changed SAC's score on Pendulum by {NUMBER}: 4,000 steps") == [-0.26, -0.40, -0.13]
    runs = of_the_first_study()
    sac = runs[(runs.agent == "SAC") & (runs.strength == 0)].pivot_table("score", "seed", "arm")
    assert round((sac["constant+final"] - sac["constant"]).mean(), 2) == -0.26
    assert set(runs[runs.agent == "SAC"].timesteps) == {4000}


def with_decays(runs):
    """Settings in which three seeds or more decay after a bounce: what they gain by it, and in how many."""
    found = {}
    for key, of in runs.groupby(["agent", "env_id", "strength"]):
        by_seed = of.pivot_table("score", "seed", "arm")
        if {"abel", "constant+final"} <= set(by_seed) and by_seed.mean().max() >= 0.5:
            differences = (by_seed["abel"] - by_seed["constant+final"]).dropna()
            decays = of[(of.arm == "abel") & of.decays.str.contains('"bounce"')].seed.nunique()
            if decays >= 3:
                found[key] = (differences.mean(), decays, len(differences))
    return found


def test_fifth_sentence_decays_after_a_bounce():
    tables = [
        pd.read_parquet(path / "runs.parquet")
        for path in sorted((DOCS / "evidence").iterdir())
        if path.name != "measurements"
    ]
    runs = pd.concat(tables)
    runs["score"] = normalised(runs)
    today = with_decays(runs[runs.rate_multiplier == 1])
    first = of_the_first_study()
    first = with_decays(first[first.rate_multiplier == 1])
    assert (len(today), len(first)) == (5, 2)
    for found, study in ((today, ""), (first, " (first study)")):
        for (agent, env_id, strength), (gain, decays, pairs) in found.items():
            name = f"{agent} {env_id.partition('-v')[0]}" + (f", ηλN {strength:g}" if strength else "") + study
            row = rf"\| {re.escape(name)} \| {decays} of {pairs} \| {NUMBER} \("
            assert said(row)[0] == round(gain, 2) + 0.0
    cost = today["SAC-SimBa", "Pendulum-v1", 10.0][0]
    assert said(rf"with layer normalisation and strong weight decay loses {NUMBER}") == [round(-cost, 2), 0.17, 0.42]
    most = sorted(first.values(), key=lambda of: -of[2])
    assert [of[2] for of in most] == [30, 20]
    assert max(of[2] for of in today.values()) < 20, "the two settings with most seeds"
    excluded = [of.effect.mean.high for of in settings.first_study().bounces.values()]
    assert said(r"most seeds, both of our first study, gains above (\d\.\d\d) are excluded") == [
        round(max(excluded), 2)
    ]
    lows = re.findall(rf"^\| .*? \| \d+ of \d+ \| {NUMBER} \(", PAGE, re.MULTILINE)
    assert len(lows) == 7
    assert max(number(low) for _, low, _ in lows) <= 0
    assert "No setting shows a gain" in WORDS


def test_the_table_of_regret():
    names = [
        ("any base rate: `AutoLearningRate()`", AUTO),
        ("any base rate: constant", "constant"),
        ("any base rate: linear decay", "linear"),
    ]
    best = [best_elsewhere(table["constant"]).mean() for table in TABLES]
    for name, arm in names:
        told = [cell[0] for cell in of_rows(name, 3)]
        assert told == [round(of - table[arm].to_numpy().mean(), 2) + 0.0 for of, table in zip(best, TABLES)]
    at = {
        "SB3's default (3e-4)": (0.3, 1, 0.3),
        "the preset's (1e-3, 3e-4, 1e-3)": (1, 1, 1),
        "one for all (1e-3, 9e-4, 1e-3)": (1, 3, 1),
    }
    for name, rates in at.items():
        for arm, words in (("constant", "constant"), ("linear", "linear decay")):
            told = [cell[0] for cell in of_rows(f"{name}: {words}", 3)]
            expected = [of - table[arm][rate].mean() for of, table, rate in zip(best, TABLES, rates)]
            assert told == [round(of, 2) + 0.0 for of in expected]


def test_the_table_of_worst_base_rates_and_decades():
    names = {AUTO: "`AutoLearningRate()`", "constant": "constant rate", "linear": "linear decay"}
    for env, table in zip(("CartPole", "LunarLander", "Pendulum"), TABLES):
        bar = 0.95 * best_elsewhere(table["constant"]).mean()
        grid = np.linspace(np.log10(RATES[0]), np.log10(RATES[-1]), 100_001)
        for arm, name in names.items():
            means = table[arm][RATES].mean()
            [(mean, worst, decades)] = re.findall(
                rf"^\| {env} \| {re.escape(name)} \| (\S+) .*? \| \S+: (\S+) .*? \| (\S+) ", PAGE, re.MULTILINE
            )
            assert (float(mean), float(worst)) == (round(means.mean(), 2), round(means.min(), 2))
            enough = np.interp(grid, np.log10(RATES), means) >= bar
            assert float(decades) == pytest.approx(enough.mean() * (grid[-1] - grid[0]), abs=0.051)


def by_shape(trace):
    smooth = pd.Series(trace).rolling(5, center=True).median().dropna().to_numpy()
    lowest = smooth.argmin()
    return smooth[lowest] <= 0.95 * smooth[0] and smooth[lowest:].max() >= 1.05 * smooth[lowest]


def test_how_often_the_norm_bounces():
    counted = []
    for path in sorted((DOCS / "evidence").iterdir()):
        runs, traces = (pd.read_parquet(path / f"{name}.parquet") for name in ("runs", "traces"))
        if path.name == "measurements":
            continue
        traces = dict(list(traces.groupby("run_id")))
        for run in runs[(runs.arm == "constant") & (runs.rate_multiplier == 1)].itertuples():
            parts = [traces[run.run_id][part].to_numpy() for part in ("total", "policy", "value")]
            parts = [part for part in parts if not np.isnan(part).any()]
            seen = np.array([(bool(find_decays(part)), by_shape(part)) for part in parts])
            counted.append((run.strength, run.agent, *seen.any(axis=0), seen.all(axis=1).any()))
    table = pd.DataFrame(counted, columns=["strength", "agent", "rule", "shape", "both"])
    bands = {
        "none": (0, 0),
        "AdamW's default, 0.01 (ηλN 0.08 and 0.12)": (0.01, 0.2),
        "ηλN 1": (1, 1),
        "ηλN 3": (3, 3),
        "ηλN 10": (10, 10),
    }
    for name, (low, high) in bands.items():
        of = table[table.strength.between(low, high)]
        cells = " | ".join(f"{of[column].sum()} of {len(of)}" for column in ("rule", "shape", "both"))
        assert f"| {name} | {cells} |" in PAGE
    plain = table[table.strength == 0]
    assert set(plain.agent[plain.rule]) == {"CrossQ"}
    assert f"{plain.rule.sum()} of {len(plain)} trainings bounce by the rule, all of them CrossQ's" in WORDS


def test_a_loss_to_linear_decay_that_is_excluded():
    ends = said(rf"each at its best rate, is {THREE}\.")
    apart = [(best_elsewhere(table["constant+final"]) - best_elsewhere(table["linear"])).mean() for table in TABLES]
    assert ends[::3] == [round(of, 2) + 0.0 for of in apart]
    assert said(r"A loss above (\d\.\d\d) is excluded") == [-min(ends[1::3])]


def test_no_interval_of_strong_weight_decay_is_pooled():
    [listed] = re.findall(r"exclude 0 by 0\.01 or more: (.*?)\. One in twenty", WORDS)
    names = re.findall(rf"(?:^|; )([^:;]+): {NUMBER}", listed)
    details = (DOCS / "evidence_details.md").read_text()
    rows = re.findall(r"^\| ([^|]+, ηλN (?:1|3|10)) \| \d+ \| (\S+) \[(\S+), (\S+)\] \(", details, re.MULTILINE)
    assert len(rows) == int(said(r"has (\d+) settings, \[each by itself\]")[0])
    clear = [row for row in rows if number(row[2]) >= 0.01 or number(row[3]) <= -0.01]
    assert sorted(names) == sorted(clear)


def test_the_sections_of_the_mission():
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert "Does the weight norm bounce in RL?" in headings
    assert "Does a constant rate with one final decay suffice?" in headings
    assert "Other algorithms" in headings
    known = (DOCS / "automatic").is_dir()
    assert ("](automatic.md)" in PAGE, "](automatic_plan.md)" in PAGE) == (known, not known)
