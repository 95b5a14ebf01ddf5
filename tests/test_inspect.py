"""``rl-abel inspect``: what it says of finished runs, and how it prints it."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.logger import configure

import rl_abel
from benchmarks.measure.calibration import autoregression
from rl_abel import AbelCallback, AutoLearningRate, BudgetRateCallback, RateByPart, find_decays, weight_norms
from rl_abel.inspection.cli import main
from rl_abel.inspection.readers.find_runs import Skipped
from rl_abel.inspection.table import column, lines, table
from rl_abel.inspection.text import complaints, page, summary, wrapped
from rl_abel.inspection.traces import Decayed, Record, Trace
from rl_abel.inspection.verdict import Bounce, judge, replay
from rl_abel.inspection.words import ASCII, BLOCKS, count, number, spark
from rl_abel.rules.bounce import TrendRule
from tests.algorithms import DecayAt, make_model

KEYS = ["path", "run", "runs", "source", "timesteps", "weight_norms", "training", "bounced", "diverged", "bounces"]
KEYS += ["decays", "every", "verdict", "explanation", "terms", "curves", "about", "notes"]
KEYS += ["skipped"]

DIP = [10 - 0.2 * i for i in range(30)] + [4 + 0.2 * i for i in range(30)] + [10.0 + 1e-6 * i for i in range(30)]
"""Falls, rises and levels off."""

RISE = [1000.0 + 5 * i for i in range(len(DIP))]
NOISE = (100 + np.random.default_rng(0).standard_normal(100)).tolist()
FINAL = [Decayed(7600, "final", 0.1)]


def made(norms, record=None, source="tensorboard", path="x", **parts):
    norms = {"total": norms} if isinstance(norms, list) else norms
    length = len(norms["total"])
    return Trace(path, source, [100 * i for i in range(length)], {**norms, **parts}, record=record)


def both(policy=DIP, value=RISE):
    return {"total": [p + v for p, v in zip(policy, value)], "policy": policy, "value": value}


def write_log(path, norms):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(str(norms[part][i]) for part in norms) for i in range(len(norms["total"]))]
    header = ",".join(f"abel/weight_norm_{part}" for part in norms)
    lines = [f"time/total_timesteps,{header}", *(f"{100 * i},{row}" for i, row in enumerate(rows))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def bouncing(tmp_path):
    return write_log(tmp_path / "run" / "progress.csv", {"total": DIP}).parent


def inspect(capsys, *arguments):
    status = main(["inspect", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    return (
        status,
        json.loads(captured.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")),
        captured.err,
    )


# What the rules see


def test_a_bounce(bouncing, capsys):
    status, (found,), _ = inspect(capsys, bouncing)
    (at,) = [100 * index for index in find_decays(DIP)]
    assert (status, sorted(found)) == (0, sorted(KEYS))
    assert found["bounces"] == found["decays"]["trend"] == [{"timestep": at, "parts": ["total"]}]
    assert (found["bounced"], found["training"], found["weight_norms"]) == (True, None, {"total": DIP})
    assert "AbelCallback() would decay after it, which may be worth a try over several seeds" in found["verdict"]


def test_a_part_that_the_total_hides(capsys, tmp_path):
    """The callback watches every part, so this does too: in the text, in the summary and in JSON."""
    write_log(tmp_path / "progress.csv", both())
    _, (found,), _ = inspect(capsys, tmp_path)
    (at,) = [100 * index for index in find_decays(DIP)]
    assert found["bounces"] == [{"timestep": at, "parts": ["policy"]}]
    assert f"a bounce of the policy norm at timestep {at:,}" in found["verdict"]
    _, (total,), _ = inspect(capsys, tmp_path, "--watch", "total")
    assert (total["bounces"], total["bounced"]) == ([], False)
    assert inspect(capsys, tmp_path, "--watch", "value")[1][0]["bounces"] == []
    findings = [judge(made(both())), judge(made(RISE))]
    assert summary(findings) == "1 of 2 runs bounced. On the trace: 1; not seen: 1."
    assert " ".join(table(findings, "trend", 100).splitlines()[1].split()).startswith(f"x on the trace {at:,} policy")


@pytest.mark.parametrize("watch", ["any", "total", "policy", "value"])
def test_the_replay_is_that_of_the_callback(watch):
    from rl_abel.rules.bounce import observe_each

    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal((2, 3 * len(DIP)))
    norms = both((np.array(DIP * 3) + noise[0]).tolist(), (3 * np.array(DIP * 3) + noise[1]).tolist())
    watched = ["total", "policy", "value"] if watch == "any" else [watch]
    states, expected = {}, []
    for index, row in enumerate(zip(*(norms[part] for part in watched))):
        states, bounced = observe_each(TrendRule(z=2.0), states, dict(zip(watched, row)))
        expected += [Bounce(100 * index, tuple(bounced))] if bounced else []
    assert replay(made(norms), TrendRule(z=2.0), watch) == expected
    assert expected


def test_after_the_final_decay_trend_decides_no_more():
    late = Record(0, [], [Decayed(3000, "final", 0.1)], 0.1, True)
    assert judge(made(DIP)).bounces
    assert judge(made(DIP, record=late)).bounces == []


def test_other_settings(bouncing, capsys):
    _, (strict,), _ = inspect(capsys, bouncing, "--z", "1e9", "--window", "30")
    assert [b["timestep"] for b in strict["bounces"]] == [100 * i for i in find_decays(DIP, window=30, z=1e9)]
    _, (deep,), _ = inspect(capsys, bouncing, "--depth", "0.9")
    assert deep["bounces"] == find_decays(DIP, depth=0.9) == []


def test_a_decay_by_the_paper_is_no_bounce():
    """On noise Algorithm 1 decays all the time; on a norm that only grows nothing bounces."""
    for norms in (NOISE, [x + i for i, x in enumerate(NOISE)]):
        found = judge(made(norms))
        assert len(found.decays["paper"]) == len(find_decays(norms, "paper")) > 0
        assert (found.bounces, found.state, found.as_json()["bounced"]) == ([], "not seen", False)
        assert "No bounce seen" in found.verdict
        assert summary([found]) == "0 of 1 runs bounced. Not seen: 1."


def test_many_measurements_are_thinned():
    """The rule is calibrated on about a hundred: on five hundred correlated ones it decays wrongly."""
    rng = np.random.default_rng(5)
    walks = [np.cumsum(autoregression(rng, 0.5, 500)).tolist() for _ in range(40)]
    found = [judge(made(walk)) for walk in walks]
    assert {f.every for f in found} == {5}
    assert sum(len(f.bounces) for f in found) < 0.1 * sum(len(find_decays(walk)) for walk in walks)
    assert "one measurement of 5" in page(found[0], 200)
    assert judge(made(DIP)).every == 1


def test_measurements_that_are_not_finite_are_passed_over():
    holes = [math.nan if i % 7 == 3 else norm for i, norm in enumerate(DIP)]
    assert [b.timestep for b in judge(made(holes)).bounces] == [100 * i for i in find_decays(holes)]


# What it says


def recorded(n_bounces=0, decays=(), factor=1.0, exact=True):
    return Record(n_bounces, [d.timestep for d in decays if d.cause == "bounce"], list(decays), factor, exact)


BOUNCED = recorded(1, [Decayed(4400, "bounce", 0.5)], 0.5)


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (made([1.0, 2.0, 3.0]), "Too few measurements to tell: 3, and the rule needs 21. Train longer"),
        (made([1.0, 2.0], source="checkpoints"), "Save more often"),
        (made([1.0, 2.0], source="csv"), "read abel.csv or the TensorBoard log"),
        (made(RISE[:49]), "No bounce seen, but on 49 measurements the rule misses bounces that it would find on 100"),
        (made(RISE), "No bounce seen on 90 measurements, so there is nothing to decay after"),
        (made(RISE * 3), "No bounce seen on 90 measurements (of 270)"),
        (made(DIP), "The rule sees a bounce of the total norm at timestep"),
        (made(DIP, record=recorded()), "The callback saw none in training"),
        (made(DIP, record=BOUNCED), "1 bounce in training. On this trace the rule sees one too, of the total norm"),
        (made(RISE[:49], record=BOUNCED), "1 bounce in training. On the 49 measurements read here the rule does not"),
        (made([*RISE, math.nan, math.nan]), "The weights are not finite at timestep 9,000: the training has diverged"),
        (made([math.inf]), "The weights are not finite at timestep 0"),
    ],
)
def test_verdicts(trace, said):
    verdict = judge(trace).verdict
    assert said in verdict
    assert "as well as any" not in verdict


def test_a_part_that_is_not_there():
    found = judge(made(DIP), "policy")
    assert found.verdict == "Nothing to tell: this run has no such part, only total."
    assert table([found, judge(made([1.0]))], "trend", 30).split("\n")[1] == "x    no such part"


def test_a_page():
    decays = [Decayed(4400, "bounce", 0.5), *FINAL]
    trace = made(both(), recorded(1, decays, 0.05), path="runs/PPO_1")
    (at,) = [bounce.timestep for bounce in judge(trace).bounces]
    lines = [line.strip() for line in page(judge(trace), 110).splitlines()]
    assert lines[0] == "runs/PPO_1"
    assert lines[1] == "90 measurements, timestep 0 to 8,900, read from tensorboard"
    assert lines[3].split() == ["|w|²", "start", "end", "lowest", "▁", "highest", "█"]
    assert [line.split()[0] for line in lines[4:7]] == ["total", "policy", "value"]
    assert lines[5].split()[1:] == ["10", "10", "4", "10", spark(DIP, 60)]
    assert lines[6].split()[1:5] == ["1000", "1445", "1000", "1445"]
    assert lines[8].startswith(
        "in training  1 bounce, at 4,400; 2 decays: ×0.5 at 4,400 (bounce), ×0.1 at 7,600 (final)"
    )
    assert lines[9] == "rate         decays ×0.05"
    assert lines[10] == f"rule trend   would have decayed 1 time, at {at:,} (policy)"
    assert lines[11].startswith("rule paper   would")
    assert lines[13].startswith("1 bounce in training.")


def test_a_decay_that_a_log_tells_late_is_where_the_rule_sees_its_bounce():
    """Else one event stands on the page, and in words, at two places."""
    (bounce,) = judge(made(both())).bounces
    dump = bounce.timestep + 250
    late = recorded(1, [Decayed(dump, "bounce", 0.5), *FINAL], 0.05, exact=False)
    for logged, at in (((0, dump), bounce.timestep), ((0, dump - 100, dump), dump)):
        curve = [(timestep, 1e-3 if timestep < dump else 5e-4) for timestep in logged]
        trace = judge(replace(made(both(), late), curves={"learning rate": curve})).trace
        assert ([d.timestep for d in trace.record.decays], trace.record.bounces) == ([at, FINAL[0].timestep], [at])
        assert trace.curves["learning rate"] == [*curve[:-1], (at, 5e-4)]
    known = replace(made(both(), replace(late, exact=True)), curves={"learning rate": [(0, 1e-3), (dump, 5e-4)]})
    assert judge(known).trace == known


def test_what_a_log_tells_of_is_no_later_than_that():
    text = page(judge(made(RISE, recorded(0, FINAL, 0.1, exact=False))), 200)
    assert "in training  no bounce; 1 decay: ×0.1 by 7,600 (final)\n  rate         decays ×0.1\n" in text
    assert "in training  not recorded" in page(judge(made(RISE)), 200)


def falling(progress):
    return 1e-3 * progress


OURS = {
    "kl": (AutoLearningRate, {"learning_rate": falling}, "led by the KL divergence; decays ×0.1", "followed the KL di"),
    "step": (
        AbelCallback,
        {},
        "from 0.001 to 0.0001: decays ×0.1",
        "The rate decayed near the end: nothing to change.",
    ),
    "linear": (
        partial(AbelCallback, final_decay_shape="linear"),
        {},
        "from 0.001 to 0.000133: decays ×0.",
        "The rate decayed near the end: nothing to change.",
    ),
    "floor": (
        partial(AbelCallback, min_learning_rate=5e-4),
        {},
        "from 0.001 to 0.0005: decays ×0.1; its own schedule, or bounds, ×5",
        "The rate decayed near the end",
    ),
    "budget": (
        lambda: [BudgetRateCallback(), AbelCallback(max_decays=0)],
        {},
        "led by the number of optimizer steps; decays ×0.1",
        "followed the number of optimizer steps and decayed near the end",
    ),
    "schedule": (
        partial(AbelCallback, final_decay_at=None),
        {"learning_rate": falling},
        "from 0.00099 to 1e-05: its own schedule, or bounds, ×0.0101",
        "nothing to decay after. Begin with AutoLearningRate().",
    ),
    "batch": (
        partial(AbelCallback, acts_on="batch_size"),
        {"n_steps": 100, "batch_size": 10, "n_epochs": 1},
        "0.001: decays ×0.1; its own schedule, or bounds, ×10; batch size 10 to 100",
        "The rate decayed near the end",
    ),
    "by part": (
        lambda: [RateByPart(value=3), AbelCallback()],
        {},
        "decays ×0.1; at the end 0.0001 (policy), 0.0003 (value), 0.0001 (log_std)",
        "The rate decayed near the end",
    ),
    "part": (
        lambda: AbelCallback(DecayAt(20), watch="any", scope="part"),
        {},
        "from 0.001 to 1e-05: decays ×0.01 (policy) and ×0.01 (value)",
        "1 bounce in training.",
    ),
}


@pytest.mark.filterwarnings("ignore:rl_abel")
@pytest.mark.parametrize("how", OURS)
def test_what_moved_the_rate_is_said_once(how, tmp_path, capsys):
    make, changes, rate, verdict = OURS[how]
    model = make_model("PPO", **changes)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    steps = 100 * model.n_steps
    model.learn(steps, callback=make())
    model.logger.close()
    for saved in (False, True):
        if saved:
            model.save(tmp_path / "model")
        assert main(["inspect", str(tmp_path)]) == 0
        text = " ".join(capsys.readouterr().out.split())
        if how != "part" or saved:
            assert rate in text
        assert verdict in text
    os.remove(tmp_path / "progress.csv")
    assert main(["inspect", str(tmp_path / "model.zip")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ("led by the KL divergence" in text) == (how == "kl")
    assert ("led by the number of optimizer steps" in text) == (how == "budget")


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_nothing_is_wider_than_the_terminal(width):
    names = ["runs/" + "a" * n for n in (3, 30, 90)]
    findings = [judge(made(both(), recorded(2, FINAL, 0.1), path=name)) for name in names]
    for finding in findings:
        assert max(map(len, page(finding, width).splitlines()[1:])) <= width
    printed = table(findings, "trend", width).splitlines()
    assert len(printed) == 2 + 3
    assert max(map(len, printed)) <= width
    heads = printed[1].split("  ")
    assert heads[0].strip() == "Run"
    assert ("Read from" in printed[1]) == (width == 300)
    assert printed[4].startswith("a" * 90 if width == 300 else "…aaa")
    assert max(map(len, wrapped(summary(findings), width).splitlines())) <= width


def test_a_table_of_many():
    runs = [
        made(both(), BOUNCED, path="out/a"),
        made(RISE[:30], path="out/b"),
        made([*RISE, math.nan], recorded(0, FINAL, 0.1), path="out/c"),
        made([1.0], path="out/d"),
    ]
    findings = [judge(run) for run in runs]
    (at,) = [f"{bounce.timestep:,}" for bounce in findings[0].bounces]
    printed = table(findings, "trend", 90).splitlines()
    assert printed[0] == "In out:"
    assert [re.split(" {2,}", line.strip())[:6] for line in printed[1:]] == [
        ["Run", "Bounced", "First by trend", "Norm", "Decays ×", "|w|²"],
        ["a", "in training", at, "policy", "0.5", spark(runs[0].norms["total"], 12)],
        ["b", "not seen (few)", "–", "–", "–", spark(RISE[:30], 12)],
        ["c", "diverged", "–", "–", "0.1", spark([*RISE, math.nan], 12)],
        ["d", "too few to tell", "–", "–", "–", "▁"],
    ]
    assert summary(findings) == (
        "1 of 4 runs bounced. In training: 1; not seen (few): 1; diverged: 1; too few to tell: 1."
    )
    paper = table([judge(made(NOISE)), judge(made(RISE))], "paper", 90).splitlines()
    assert "First by paper" in paper[0]
    assert f"{judge(made(NOISE)).decays['paper'][0].timestep:,}" in paper[1]


def test_a_column_that_is_empty_is_left_out():
    wide = table([judge(made(DIP)), judge(made(RISE))], "trend", 300).splitlines()[0]
    assert [head for head in ("Decays ×", "Led by", "Algorithm", "Last return") if head in wide] == []
    assert lines([column("a", [1, None]), column("b", [math.nan, -12345.6])]) == [
        "a        b",
        "1        –",
        "–  −12,346",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [([0, 7], "▁█"), ([5, 5], "▁▁"), ([1, math.nan, 8], "▁ █"), ([math.nan], ""), (list(range(8)), BLOCKS)],
)
def test_spark(values, line):
    assert spark(values) == line


def test_spark_is_no_wider_than_asked_and_keeps_the_ends():
    line = spark([9, *range(1000)], width=60)
    assert (len(line), line[-1], spark([999, *[0] * 998, 500], 8)) == (60, "█", "█▁▁▁▁▁▁▅")


@pytest.mark.parametrize(("n", "said"), [(0, "0 decays"), (1, "1 decay"), (2, "2 decays"), (1000, "1,000 decays")])
def test_singular_and_plural(n, said):
    assert count(n, "decay") == said
    assert count(1, "measurement") == "1 measurement"
    assert page(judge(made([5.0])), 80).splitlines()[1] == "  1 measurement, timestep 0, read from tensorboard"


def test_numbers_have_no_exponent_where_one_can_do_without():
    assert [number(x) for x in (0.00123, 12.345, 123456.7, 5.2e12, math.nan)] == [
        "0.00123",
        "12.35",
        "123,457",
        "5.2e+12",
        "nan",
    ]


def test_many_files_that_were_skipped_for_one_reason():
    lines = list(complaints([Skipped(f"run{i}", "no norms") for i in range(100)] + [Skipped("x", "closed")]))
    assert len(lines) == 7
    assert lines[5:] == ["skipped 95 others: no norms", "skipped x: closed"]


# The command


def test_a_series_of_checkpoints(tmp_path, capsys):
    """Of a model that never saw the callback; by the folder, or by the shell's ``*.zip``."""
    model = make_model("PPO")
    norms = []

    class Note(CheckpointCallback):
        def _on_step(self):
            if self.n_calls % self.save_freq == 0:
                norms.append(weight_norms(self.model))
            return super()._on_step()

    model.learn(200, callback=Note(40, str(tmp_path), name_prefix="agent", save_replay_buffer=True))
    (tmp_path / "agent_80_steps.zip").write_bytes(b"PK cut off")
    for paths in ([tmp_path], sorted(tmp_path.glob("*.zip"))):
        status, (found,), error = inspect(capsys, *paths)
        assert (status, found["source"], found["path"]) == (0, "checkpoints", str(tmp_path))
        assert found["timesteps"] == [40, 120, 160, 200]
        for part in norms[0]:
            assert found["weight_norms"][part] == pytest.approx([row[part] for row in (norms[0], *norms[2:])])
        assert "agent_80_steps.zip: not a readable zip" in error


def test_checkpoints_of_several_trainings_in_one_folder(tmp_path, capsys):
    """A loop of learn(), each call saved by a number; resumed from its second model; and another over the first."""
    expected = []
    for seed, calls in ((0, 4), (1, 2)):
        model = make_model("PPO", seed=seed)
        for i in range(1, calls + 1):
            model.learn(40, reset_num_timesteps=False)
            model.save(tmp_path / f"{40 * i}")
            expected.append((seed, 40 * i, weight_norms(model)["total"]))
    model = type(model).load(tmp_path / "80", env=model.get_env(), device="cpu")
    model.learn(20, reset_num_timesteps=False)
    model.save(tmp_path / "best")
    expected.append((1, 100, weight_norms(model)["total"]))
    _, found, _ = inspect(capsys, tmp_path)
    assert [(run["run"], run["runs"], run["timesteps"]) for run in found] == [(1, 2, [120, 160]), (2, 2, [40, 80, 100])]
    totals = [norm for run in found for norm in run["weight_norms"]["total"]]
    assert totals == pytest.approx([norm for seed, t, norm in expected if seed == 1 or t > 80])


def test_json_has_no_nan(tmp_path, capsys):
    write_log(tmp_path / "progress.csv", {"total": [1.0, math.nan, math.inf], "policy": [1.0, math.nan, 2.0]})
    _, (found,), _ = inspect(capsys, tmp_path)
    assert found["weight_norms"] == {"total": [1.0, None, None], "policy": [1.0, None, 2.0]}
    assert found["diverged"]


def test_one_run_is_a_page_and_many_are_lines(bouncing, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", str(bouncing)]) == 0
    assert "rule trend   would have decayed 1 time" in capsys.readouterr().out
    write_log(tmp_path / "other" / "progress.csv", {"total": RISE})
    assert main(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:4]] == ["Run", "other", "run"]
    assert "1 of 2 runs bounced. Not seen: 1; on the trace: 1. (few)" in " ".join(printed.split())
    assert "--details: a page on" in " ".join(printed.split())
    assert main(["inspect", "--details", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("in training  not recorded") == 2


def test_nothing_to_read(tmp_path, bouncing, capsys):
    assert inspect(capsys, tmp_path / "missing")[:2] == (1, [])
    assert main(["inspect", str(tmp_path / "missing")]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"skipped {tmp_path / 'missing'}: no such file or folder\n")
    assert inspect(capsys, tmp_path / "missing", bouncing)[0] == 0  # something could be read


@pytest.mark.parametrize(
    "arguments",
    [
        ["--window", "1"],
        ["--z", "0"],
        ["--z", "nan"],
        ["--depth", "1"],
        ["--watch", "x"],
        ["--rule", "x"],
        ["--html", "/no/such/folder/a.html"],
    ],
)
def test_wrong_usage(arguments, bouncing):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(bouncing), *arguments])
    assert stopped.value.code == 2


@pytest.mark.parametrize("module", ["rl_abel", "rl_abel.inspection.cli"])
@pytest.mark.parametrize("arguments", [["--version"], ["inspect", "--version"]])
def test_the_version(module, arguments):
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == f"rl-abel {rl_abel.__version__}\n"


def test_torch_is_for_the_weights_of_checkpoints_alone(bouncing):
    """Logs, and zips in which the callback has kept what it saw, are read without it."""
    fixture = Path(__file__).parent / "fixtures" / "state_version_0.zip"
    code = "import sys; from rl_abel.inspection.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    arguments = [sys.executable, "-c", code, "inspect", str(bouncing), str(fixture)]
    subprocess.run(arguments, check=True, capture_output=True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "shift_jis", "utf-8"])
def test_any_console_can_show_it(encoding, bouncing, tmp_path):
    strange = bouncing.with_name(os.fsdecode(b"r\xc3\xbcn-\xff"))
    bouncing.rename(strange)
    write_log(tmp_path / "other" / "progress.csv", {"total": RISE})
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    for arguments in (["--details", tmp_path], [tmp_path], ["--json", tmp_path], [tmp_path / "missing"]):
        command = [sys.executable, "-m", "rl_abel", "inspect", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, env=environment)
        assert b"Traceback" not in done.stderr
        assert done.returncode == (arguments[-1].name == "missing")
        printed = done.stdout.decode(encoding)
        assert "?" not in printed
        if "--details" in arguments:
            assert ("█" in printed) == (encoding == "utf-8")
            assert ("#" in printed) == (encoding != "utf-8")


def test_signs():
    assert page(judge(made(both(), BOUNCED)), 80).translate(ASCII).isascii()
    assert (
        table([judge(made(both(), BOUNCED, path="a" * 90)), judge(made(RISE))], "trend", 80).translate(ASCII).isascii()
    )


def test_whoever_reads_may_stop_reading(tmp_path):
    """As head does, with more to come than a pipe holds."""
    for i in range(100):
        write_log(tmp_path / f"run{i:03}" / "progress.csv", {"total": RISE})
    with subprocess.Popen(
        [sys.executable, "-m", "rl_abel", "inspect", "--json", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout.readline() == b"[\n"
        running.stdout.close()
        error = running.stderr.read()
    assert (running.returncode, error) == (0, b"")
