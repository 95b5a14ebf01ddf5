"""Folders of runs -> answers, tables and the page."""

import io
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from rich.console import Console

from benchmarks import colors, words
from benchmarks.__main__ import main
from benchmarks.control import figures as control
from benchmarks.plan import SCHEDULES
from benchmarks.report import figures, terminal
from benchmarks.report.answers import answer, bounce_depth, prevalence, with_tasks
from benchmarks.report.page import write_report
from benchmarks.report.tables import markdown, runs_table
from benchmarks.results import read_parquet, read_results
from benchmarks.statistics.estimates import Interval
from tests.browser import open_page
from tests.made_up import make_run, make_runs

HOSTILE = '<img src=x onerror="throw 1"><script>throw 2</script>$\\frac{|`*'


def change(folder, **values):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(autouse=True)
def without_pictures(request, monkeypatch):
    """Drawing takes most of a report's time. The report of ``written`` has its pictures."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("benchmarks.report.page.pictures", lambda *_: [])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of three seeds of every arm on ten tasks, one run with a hostile name, beside what is no run."""
    out = tmp_path_factory.mktemp("written")
    make_runs(out, 270)
    change(min(out.iterdir()), env_id=HOSTILE, arm=HOSTILE, agent=HOSTILE, error=HOSTILE)
    (out / HOSTILE.replace("/", "")).mkdir()
    (out / ".lock").touch()
    (out / "notes.txt").touch()
    (out / ".PPO_x_seed0_0123abcd.ab12cd34").mkdir()
    return write_report(out)


@pytest.fixture
def pair(tmp_path):
    """Ten seeds of three arms on one task, all with a return of 50 on a scale from 0 to 100."""
    rng = np.random.default_rng(0)
    for seed in range(10):
        for arm in ("constant", "linear", "constant+final"):
            make_run(tmp_path, "PPO", "Task-v1", arm, seed, rng)
    for folder in tmp_path.iterdir():
        change(folder, final_return=50.0)
    return tmp_path


# Reading


BROKEN = {
    "no run.json": lambda folder: (folder / "run.json").unlink(),
    "not JSON": lambda folder: (folder / "run.json").write_text("{"),
    "no object": lambda folder: (folder / "run.json").write_text("[1]"),
    "status = 'odd'": lambda folder: change(folder, status="odd"),
    "seed = True": lambda folder: change(folder, seed=True),
    "final_return = nan": lambda folder: change(folder, final_return=math.nan),
    "final_return = None": lambda folder: change(folder, final_return=None),
    "strength = 'much'": lambda folder: change(folder, strength="much"),
    "decays = ": lambda folder: change(folder, decays=[[1]]),
    "another run, 'other'": lambda folder: change(folder, run_id="other"),
    "evaluations.csv": lambda folder: (folder / "evaluations.csv").unlink(),
    "no column 'timesteps'": lambda folder: (folder / "trace.csv").write_text(""),
    "evaluations.csv has no rows": lambda folder: (folder / "evaluations.csv").write_text(
        "timesteps,return_mean,return_std,learning_rate\n"
    ),
    "number of columns": lambda folder: (folder / "trace.csv").write_text("timesteps,total\n1,2\n1\n"),
    "could not convert": lambda folder: (folder / "trace.csv").write_text("timesteps,total\n1,x\n"),
    "2 columns under 3": lambda folder: (folder / "trace.csv").write_text("timesteps,total,policy\n1,2\n"),
    "codec": lambda folder: (folder / "trace.csv").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_folder_is_named_skipped_and_counted(reason, pair):
    broken = sorted(pair.iterdir())[7]
    BROKEN[reason](broken)
    results = read_results(pair)
    assert list(results.broken) == [broken.name]
    assert reason in results.broken[broken.name]
    assert len(results.runs) == 29


def test_the_page_names_what_could_not_be_read(written):
    assert "1 folders could not be read" in written.problems[0]
    assert "<script>throw 2<script>" not in written.page.read_text()
    assert str(escape(HOSTILE.replace("/", ""))) in written.page.read_text()


def test_what_is_no_run_is_left_alone(written):
    results = read_results(written.page.parent)  # the report's own files are there by now
    assert (len(results.runs), [*results.broken], results.unfinished) == (270, [HOSTILE.replace("/", "")], 1)


def test_an_empty_folder_says_what_to_do(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "missing"):
        assert main(["report", str(folder)]) == 2
        assert f"python -m benchmarks run SUITE --out {folder}" in capsys.readouterr().err


def test_parquet_holds_the_same(written):
    out = written.page.parent
    results, again = read_results(out), read_parquet(out / "report")
    for name in ("runs", "evaluations", "traces"):
        assert getattr(results, name).equals(getattr(again, name))
    with pytest.raises(ValueError, match=r"no runs\.parquet"):
        read_parquet(out)


def test_a_failed_run_scores_zero(pair):
    folder = pair / "PPO_Task-v1_constant_seed0"
    change(folder, status="failed", final_return=None, error="Traceback\nZeroDivisionError: no")
    for name in ("evaluations.csv", "trace.csv"):
        (folder / name).unlink()
    results = read_results(pair)
    assert answer(results).scores["constant"]["PPO Task-v1"][0] == 0
    assert [row[-1] for row in runs_table(results).rows].count("ZeroDivisionError: no") == 1
    assert "1 of them failed" in write_report(pair).counts


# Answers


@pytest.mark.parametrize(
    ("norms", "depth"),
    [
        ([4, 1, 3], 0.75),
        ([1, 2, 3], 0),
        ([2, 4, 3, 5], 0.25),  # lowest at its start
        ([8, 2, 4, 3], 0.75),
        ([0, 0], 0),
        ([0, 4, 3], 0.25),
        ([4, np.nan, 1], 0.75),
        ([np.nan, 4, 1], 0.75),
    ],
)
def test_bounce_depth(norms, depth):
    assert bounce_depth(np.array(norms, dtype=float)) == pytest.approx(depth)


def test_prevalence_of_planted_bounces():
    x = np.linspace(0, 1, 100)
    bouncing = 10 - 8 * np.exp(-((x - 0.4) ** 2) / 0.02)
    found = prevalence([bouncing, 10 + x, 20 - x, bouncing * 3])
    assert (found.num_runs, found.num_bounced) == (4, 2)
    assert found.share.estimate == 0.5
    assert found.depth == pytest.approx(0.8, abs=0.001)
    assert found.literal == 0  # without noise a single change of direction


def test_bounces_are_counted_on_the_constant_arm_alone(pair):
    x = np.linspace(0, 1, 100)
    norms = 10 - 8 * np.exp(-((x - 0.4) ** 2) / 0.02)
    lines = ["timesteps,total,policy,value", *(f"{i},{n},{n / 2},1" for i, n in enumerate(norms))]
    (pair / "PPO_Task-v1_linear_seed0" / "trace.csv").write_text("\n".join(lines))
    assert answer(read_results(pair)).prevalence["PPO Task-v1"]["total"].num_bounced == 0
    (pair / "PPO_Task-v1_constant_seed0" / "trace.csv").write_text("\n".join(lines))
    found = answer(read_results(pair)).prevalence["PPO Task-v1"]
    assert {part: (p.num_bounced, p.num_runs) for part, p in found.items()} == {
        "total": (1, 10),
        "policy": (1, 10),
        "value": (0, 10),
    }
    said = " ".join(write_report(pair).answers["Does the weight norm bounce?"])
    assert "bounced in 1 of 10 runs" in said
    assert "By part: policy 1 of 10 (10 % [0, 45]), on PPO Task-v1 (1 of 10); value 0 of 10 (0 % [0, 31])." in said


def test_what_the_literal_rule_costs_is_said_where_runs_were_trained_by_it(pair):
    question = "Does the weight norm bounce?"
    assert "Trained by it" not in " ".join(write_report(pair).answers[question])
    rng = np.random.default_rng(1)
    for seed in range(10):
        make_run(pair, "PPO", "Task-v1", "abel-paper", seed, rng)
        change(pair / f"PPO_Task-v1_abel-paper_seed{seed}", final_return=20.0)
    said = " ".join(write_report(pair).answers[question])
    assert (
        "Trained by it, the mean score differed from that at a constant rate by −0.30 [−0.30, −0.30] "
        "(one task, 10 pairs of runs each)."
    ) in said


def test_unequal_numbers_of_seeds_are_said_where_the_arms_stand_side_by_side(pair):
    def note() -> str:
        return next(table.note for table in write_report(pair).tables if table.title.startswith("All tasks"))

    assert "Not every" not in note()
    make_run(pair, "PPO", "Task-v1", "linear", 99, np.random.default_rng(1))
    assert "Not every arm has the same tasks and seeds" in note()


@pytest.mark.parametrize(("final", "verdict"), [(50.0, "undecided"), (80.0, ": better"), (20.0, ": worse")])
def test_the_verdict_in_words(final, verdict, pair):
    for seed in range(10):
        change(pair / f"PPO_Task-v1_constant+final_seed{seed}", final_return=final + seed / 10)
    sentences = write_report(pair).answers["Does one decay near the end suffice?"]
    assert len(sentences) == 2
    assert all(verdict in sentence for sentence in sentences)


def test_the_page_begins_with_answers_without_numbers_in_brackets(pair):
    report = write_report(pair)
    assert list(report.short.values()) == [
        ["Without regularization: no, in none of 10 runs."],
        ["Without regularization: against linear decay the same; against a constant rate the same."],
    ]
    page = report.page.read_text()
    closed = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    before = closed[: closed.index('id="figures"')]
    assert all(said in before for answers in report.short.values() for said in answers)
    assert not re.search(r"\[[−\d]", before)
    assert "[" in page


def test_equal_arms_are_equivalent_with_enough_seeds(tmp_path):
    make_runs(tmp_path, 90 * 9)
    for path in tmp_path.glob("*/run.json"):
        change(path.parent, final_return=90 + json.loads(path.read_text())["seed"] / 10)
    sentences = write_report(tmp_path).answers["Does one decay near the end suffice?"]
    assert ["equivalent within ±0.05" in sentence for sentence in sentences] == [True, True]


@pytest.mark.parametrize(
    ("returns", "random", "reference", "scores"),
    [
        ([20, 260, 500], 20, 500, [0, 0.5, 1]),
        ([-1200, -200, -700], -1200, -200, [0, 1, 0.5]),  # Pendulum: all returns are below 0
        ([-10, 130], 10, 110, [-0.2, 1.2]),  # not clipped
        ([math.nan, 260], 20, 500, [0, 0.5]),  # crashed: as a random policy
        ([1, 2], 0, 0, [math.nan, math.nan]),  # no scale
        ([1, 2], math.nan, 1, [math.nan, math.nan]),
    ],
)
def test_normalised_scores(returns, random, reference, scores):
    runs = pd.DataFrame({"final_return": returns}, dtype=float).assign(
        **{"agent": "PPO", "env_id": "A-v1", "regularization": "none", "strength": 0.0, "timesteps": 1},
        status=["failed" if value != value else "complete" for value in returns],
        random_return=float(random),
        reference_return=float(reference),
    )
    np.testing.assert_allclose(with_tasks(runs)["score"], scores)


def test_runs_at_other_settings_are_left_out(pair):
    change(pair / "PPO_Task-v1_constant_seed0", rate_multiplier=3.0)
    assert 0 not in answer(read_results(pair)).scores["constant"]["PPO Task-v1"]


def test_tasks_are_told_apart_by_regularization_and_budget(pair):
    change(pair / "PPO_Task-v1_constant_seed0", regularization="adamw", strength=10.0)
    change(pair / "PPO_Task-v1_constant_seed1", timesteps=50)
    assert set(with_tasks(read_results(pair).runs)["task"]) == {
        "PPO Task-v1, adamw 10",
        "PPO Task-v1, 50 steps",
        "PPO Task-v1, 100,000 steps",
    }


def test_a_repeated_seed_counts_once_and_is_told(pair):
    shutil.copytree(pair / "PPO_Task-v1_constant_seed0", pair / "again")
    change(pair / "again", run_id="again", final_return=99.0)
    answers = answer(read_results(pair))
    assert len(answers.scores["constant"]["PPO Task-v1"]) == 10
    assert "1 runs repeat" in answers.left_out[0]


def test_runs_without_reference_returns_are_told(pair):
    for folder in list(pair.iterdir()):
        change(folder, reference_return=None)
    report = write_report(pair)
    assert "30 runs without reference returns" in report.problems[0]
    assert report.answers["Does one decay near the end suffice?"][0].startswith("Not answered")


@pytest.mark.parametrize("arms", [("constant",), ("linear",), ("constant+final",), ("linear", "constant+final")])
@pytest.mark.parametrize("seeds", [1, 2])
def test_few_runs_are_reported_too(arms, seeds, tmp_path):
    for arm in arms:
        for seed in range(seeds):
            make_run(tmp_path, "PPO", "Task-v1", arm, seed, np.random.default_rng(0))
    report = write_report(tmp_path)
    assert report.page.is_file()
    terminal.show(report, Console(width=80, file=io.StringIO()))


def shown(report):
    """What the terminal shows, on one line."""
    out = io.StringIO()
    terminal.show(report, Console(width=400, file=out))
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize("failed", [0, 3])
def test_of_too_few_runs_the_terminal_says_that_they_work_and_no_score(failed, tmp_path):
    """As ``make benchmark`` ends: two seeds of every arm."""
    for seed in range(2):
        for arm in SCHEDULES:
            make_run(tmp_path, "PPO", "Task-v1", arm, seed, np.random.default_rng(0))
    for folder in sorted(tmp_path.iterdir())[:failed]:
        change(folder, status="failed", error="Traceback\nZeroDivisionError: no")
    report = write_report(tmp_path)
    page, said = report.page.read_text(), shown(report)
    verdict = "No: 3 of 18 runs failed." if failed else "Yes: 18 runs, under 9 learning rate schedules, ended"
    assert verdict in said
    assert f"The page: {report.page}" in said
    assert not re.search(r"IQM|\d \[", said), "no score and no interval"
    assert verdict in page
    first, *others = (page.index(f"<h2>{question}") for question in (*report.works, *report.answers))
    assert first < min(others)
    assert verdict in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("seeds", "arms", "few"),
    [
        (4, ("constant", "linear", "constant+final"), True),
        (5, ("constant", "linear", "constant+final"), False),
        (4, ("constant",), True),
        (5, ("constant",), False),
        (5, ("linear", "constant+final"), False),
        (5, ("linear",), True),  # answers neither question
    ],
)
def test_how_many_runs_are_too_few(seeds, arms, few, tmp_path):
    for seed in range(seeds):
        for arm in arms:
            make_run(tmp_path, "PPO", "Task-v1", arm, seed, np.random.default_rng(0))
    report = write_report(tmp_path)
    assert bool(report.works) == few
    assert ("Does it all work here?" in shown(report)) == few
    assert ("Does the weight norm bounce?" in shown(report)) != few


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.234, "1.23"), (-0.5, "−0.50"), (-0.001, "0.00"), (math.nan, "–"), (math.inf, "∞"), (-1234.5, "−1,234.50")],
)
def test_numbers(value, text):
    assert words.number(value) == text


def test_intervals():
    assert words.interval(Interval(0.5, 0.4, 0.6)) == "0.50 [0.40, 0.60]"
    assert words.interval(Interval(0.5, -math.inf, math.inf)) == "0.50 [?]"
    assert words.percent(Interval(0.2, 0.01, 0.72)) == "20 % [1, 72]"


# Figures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, by name, before they become PNG."""
    found = {}
    save = figures._picture
    monkeypatch.setattr(
        figures,
        "_picture",
        lambda name, figure, *more, **kwargs: found.update({name: figure}) or save(name, figure, *more, **kwargs),
    )
    return found


def test_prevalence_prints_its_counts_and_gathers_tasks_without_a_bounce(drawn):
    x = np.linspace(0, 1, 100)
    some, none = prevalence([10 - 8 * np.exp(-((x - 0.4) ** 2) / 0.02), x]), prevalence([x] * 5)
    figures.prevalence({"A": {"total": some, "policy": prevalence([x, x])}, "B": {"total": none}, "C": {"total": none}})
    (axes,) = drawn["prevalence"].axes
    assert [text.get_text() for text in axes.texts] == ["no bounce of any part: 0 of 10 runs", "1/2", "0/2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2 other tasks", "A"]
    assert axes.get_xlim()[1] == 1, "no share is above 1"


def test_the_forest_has_both_bands_and_every_interval_in_view(drawn):
    figures.differences({"tasks": [("A", Interval(0.5, 0.4, 0.6)), ("B", Interval(0, -0.4, 0.1))]})
    (axes,) = drawn["differences"].axes
    assert sorted(patch.get_width() for patch in axes.patches) == pytest.approx([0.1, 0.2])
    assert axes.get_xlim()[0] < -0.4
    assert axes.get_xlim()[1] > 0.6
    assert [text.get_text() for text in axes.get_yticklabels()] == ["tasks"]
    assert [text.get_text() for text in axes.texts] == ["A"], "what is sure has its name"


def test_a_task_is_two_rows_with_the_rate_on_a_logarithmic_axis(pair, drawn):
    report = write_report(pair)
    figure = drawn["task-0"]
    curve, rate, *norms = figure.axes
    figure.canvas.draw()
    assert rate.get_yscale() == "log"
    assert len({axes.get_position().y0 > 0.5 for axes in (curve, rate)}) == 1
    assert all(axes.get_position().y0 < 0.5 for axes in norms)
    assert [text.get_text() for text in curve.get_xticklabels()][1] in ("20k", "25k")
    assert curve.get_xlim() == (0, 100_000), "the axis ends where the run does"
    page = report.page.read_text()
    assert "Mean score at the end: constant 0.50, linear 0.50, constant+final 0.50." in page


def test_arms_and_parts_have_a_color_each():
    used = [*colors.ARM_COLORS.values(), *colors.MORE_COLORS.values(), *colors.PART_COLORS.values(), colors.OTHERS]
    used += colors.RATE_COLORS.values()
    used += [color for _, color in colors.BANDS]
    assert len(set(used)) == len(used)
    assert set(control.COLORS.values()) <= set(used)


# The page


def test_what_comes_from_runs_is_escaped(written):
    page = written.page.read_text()
    assert "onerror" in page
    assert len(re.findall(r"<script>", page)) == 1
    assert not re.search(r"<img src=x", page)
    for table in written.tables:
        lines = markdown(table).splitlines()
        assert all(len(re.findall(r"(?<!\\)\|", line)) == len(table.header) + 1 for line in lines[5:])
    assert "<script>" not in written.page.with_suffix(".md").read_text()


def test_the_page_needs_nothing_else(written):
    page = written.page.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.browser
def test_the_page_in_a_browser(written, tmp_path_factory):
    script = """
        const heads = document.querySelectorAll('table.sortable th');
        const column = name => [...heads].findIndex(head => head.textContent === name);
        const read = c => [...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[c].textContent);
        const score = column('score');
        heads[score].click();
        const up = read(score);
        heads[score].click();
        const down = read(score);
        const seen = [...document.images].map(image => image.naturalWidth > 300);
        const data = {up, down, seen, wide: document.body.scrollWidth > window.innerWidth};
        const pre = document.createElement('pre'); pre.id = 'found'; pre.textContent = JSON.stringify(data);
        document.body.append(pre);
    """
    dom, console = open_page(written.page, tmp_path_factory.mktemp("browser"), f"window.onload = () => {{{script}}}")
    assert console == []
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1])
    up = [float(text.replace("−", "-")) for text in found["up"]]
    assert up == sorted(up)
    assert len(up) == 270
    assert found["down"] == found["up"][::-1] or sorted(up, reverse=True) == [
        float(text.replace("−", "-")) for text in found["down"]
    ]
    assert all(found["seen"])
    assert len(found["seen"]) > 10
    assert not found["wide"]


def test_the_command_prints_answers_and_path(pair, capsys):
    assert main(["report", str(pair)]) == 0
    printed = capsys.readouterr().out
    assert "Does the weight norm bounce?" in printed
    assert f"The page: {pair / 'report.html'}" in printed.replace("\n", "")
