"""What TensorBoard shows of a run: asked over the server's own interface, and read from its page."""

import json
import re
import time
import urllib.request
from urllib.parse import quote

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import HParam, TensorBoardOutputFormat

from benchmarks.plan import Run
from benchmarks.train import train
from rl_abel import AbelCallback
from rl_abel.reporting.tensorboard import METRICS, PARTS
from tests.algorithms import make_model
from tests.browser import open_browser, tensorboard

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")]
HPARAMS = {
    "rule": "trend",
    "watch": "any",
    "decay_factor": 0.5,
    "base_rate": 1e-3,
    "weight_decay": 0.25,
    "algorithm": "PPO",
    "environment": "Pendulum-v1",
}


PLAIN = HPARAMS | {"weight_decay": 0.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a TensorBoard on two runs, of which the first is evaluated too."""
    folder = tmp_path_factory.mktemp("runs")
    adamw = {"net_arch": [8], "optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.25}}
    evaluation = EvalCallback(make_vec_env("Pendulum-v1", seed=1), eval_freq=200, n_eval_episodes=1, verbose=0)
    for name, policy_kwargs, others in (("a", adamw, [evaluation]), ("b", {"net_arch": [8]}, [])):
        model = make_model("PPO", policy_kwargs=policy_kwargs, tensorboard_log=str(folder))
        model.learn(25 * 20, callback=[AbelCallback(decay_factor=0.5), *others], tb_log_name=name)
    with tensorboard(folder) as address:
        wait_for_runs(address, {"a_1", "b_1"})
        yield address


@pytest.fixture(scope="module")
def benchmark_server(tmp_path_factory):
    """The address of a TensorBoard on a benchmark's folder of runs, and their records by run_id."""
    out = tmp_path_factory.mktemp("benchmark")
    small = {"evaluations": 2, "evaluation_episodes": 1, "final_episodes": 3}
    planned = [Run("PPO", "CartPole-v1", 2048, arm, seed, **small) for arm in ("linear", "abel") for seed in (0, 1)]
    records = {run.run_id: train(run, out) for run in planned}
    assert {record["status"] for record in records.values()} == {"complete"}, records
    with tensorboard(out) as address:
        wait_for_runs(address, set(records))
        yield address, records


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as page:
        page.resize(1800, 1400)
        yield page


def ask(address, path, data=None):
    request = urllib.request.Request(f"{address}/data/plugin/{path}", data and json.dumps(data).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def wait_for_runs(address, names):
    deadline = time.monotonic() + 60
    while set(ask(address, "scalars/tags")) != names and time.monotonic() < deadline:
        time.sleep(0.2)


def session_groups(address):
    """Rows of HParams by name, each with its hyperparameters and the metrics there are."""
    experiment = ask(address, "hparams/experiment", {"experimentName": "", "hparamsLimit": 100})
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == list(METRICS)
    assert {info["name"] for info in experiment["hparamInfos"]} == set(HPARAMS)
    query = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [{"metric": info["name"]} for info in experiment["metricInfos"]],
        "startIndex": 0,
        "sliceSize": 100,
    }
    groups = {}
    for group in ask(address, "hparams/session_groups", query)["sessionGroups"]:
        [session] = group["sessions"]
        metrics = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        groups[session["name"]] = (group["hparams"], metrics)
    return groups


def test_the_dashboard_finds_its_scalars(server):
    layout = ask(server, "custom_scalars/layout")
    first, rest = layout["category"]
    assert (first["title"], rest["title"]) == ("ABEL", "ABEL, the rest")
    tags = set(ask(server, "scalars/tags")["a_1"])
    for chart in first["chart"] + rest["chart"]:
        for pattern in chart["multiline"]["tag"] if "multiline" in chart else ():
            assert any(re.search(pattern, tag) for tag in tags), (chart["title"], pattern)
            shown = ask(server, f"custom_scalars/scalars?run=a_1&tag={quote(pattern)}")
            assert any(shown["tag_to_events"].values()), pattern
        for series in chart["margin"]["series"] if "margin" in chart else ():
            assert {series["value"], series["lower"], series["upper"]} <= tags
    titles = [f"|w|² of the {part}, over its start; steps: the rate decays" for part in ("policy", "value")]
    assert [chart["title"] for chart in first["chart"]] == [*titles, "episode reward", "learning rate"]
    assert all("^abel/factor$" in chart["multiline"]["tag"] for chart in first["chart"][:2]), "decays are marked"


def test_each_part_begins_at_one(server):
    for part in ("total", "policy", "value", "log_std"):
        shown = ask(server, f"custom_scalars/scalars?run=a_1&tag={quote(f'^abel/over_start_{part}$')}")
        [events] = shown["tag_to_events"].values()
        norms = [event[2] for event in ask(server, f"scalars/scalars?run=a_1&tag=abel/weight_norm_{part}")]
        assert [event[2] for event in events] == pytest.approx([norm / norms[0] for norm in norms], rel=1e-5)


def test_the_hparams_tab_is_filled(server):
    groups = session_groups(server)
    assert {name: hparams for name, (hparams, _) in groups.items()} == {"a_1": HPARAMS, "b_1": PLAIN}
    evaluated, plain = groups["a_1"][1], groups["b_1"][1]
    assert set(evaluated) == set(METRICS)
    assert set(plain) == set(METRICS) - {"eval/mean_reward"}, "a run without evaluations has a row too"
    assert evaluated["rollout/ep_rew_mean"] < 0
    assert evaluated["eval/mean_reward"] < 0
    assert evaluated["train/learning_rate"] == pytest.approx(0.5e-3), "the final one"
    assert (evaluated["abel/decays"], evaluated["abel/timesteps"]) == (1, 500)


def test_hparams_of_a_benchmark(benchmark_server):
    address, records = benchmark_server
    groups = session_groups(address)
    assert set(groups) == set(records)
    for run_id, record in records.items():
        hparams, metrics = groups[run_id]
        assert (hparams["algorithm"], hparams["environment"], hparams["base_rate"]) == ("PPO", "CartPole-v1", 1e-3)
        assert metrics["eval/mean_reward"] == pytest.approx(record["final_return"])
        assert metrics["abel/decays"] == len(record["decays"])


# The page itself


def test_the_page_shows_the_dashboard_without_a_click(server, page):
    """Of each chart its title and how many lines it has drawn: those of both runs."""
    page.go(f"{server}/#custom_scalars")
    norms = {part: f"|w|² of the {part}, over its start; steps: the rate decays" for part in PARTS}
    lines = {norms["policy"]: 4, norms["value"]: 4, "episode reward": 2 + 1, "learning rate": 2}
    # TensorBoard puts the charts that it does not smooth last, by name.
    lines |= {norms["total"]: 4, norms["log_std"]: 4, "bounces": 2, "decays": 2, "factor": 2}
    expected = [text for title, number in lines.items() for text in (title, f"Matches ({number})")]
    # A chart is there before its lines are, and says "Matches (0)".
    page.wait_for(
        *("ABEL", "a_1", "b_1"),
        until=lambda shown: [line for line in shown if line in lines or line.startswith("Matches")] == expected,
    )


def test_the_page_shows_hparams(server, page):
    groups = session_groups(server)
    page.go(f"{server}/#hparams")
    # TensorBoard ticks the first five hyperparameters, of which there are columns.
    columns = sorted(HPARAMS)[:5]
    shown = page.wait_for(*HPARAMS, *METRICS, *cells(groups, columns))
    assert shown.count("Pendulum-v1") == len(groups)
    assert [shown.count(name) for name in sorted(HPARAMS)] == [2] * 5 + [1] * 2
    assert [shown.count(name) for name in METRICS] == [2] * 5, "at the side and in the table"


def test_the_page_shows_every_run_of_a_benchmark(benchmark_server, page):
    address, records = benchmark_server
    groups = session_groups(address)
    page.go(f"{address}/#hparams")
    shown = page.wait_for(*METRICS, *cells(groups, ["algorithm", "environment", "base_rate"]))
    assert set(records) <= set(shown)
    assert {f"{record['final_return']:#.5g}" for record in records.values()} <= set(shown)


def cells(groups, columns):
    """What a table of these rows holds, numbers as TensorBoard writes them."""
    for name, (hparams, metrics) in groups.items():
        values = [hparams[column] for column in columns] + list(metrics.values())
        yield from (name, *(value if isinstance(value, str) else f"{value:#.5g}" for value in values))


def test_without_tensorboard_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model("PPO").learn(60, callback=AbelCallback(measure_every=20, max_decays=0))
    assert not list(tmp_path.iterdir())


class OwnPages(BaseCallback):
    """A user's own row under HParams and own custom scalars, as in SB3's documentation."""

    def _on_training_start(self):
        own = HParam({"algorithm": "mine", "gamma": 0.5}, {"rollout/ep_len_mean": 0})
        self.logger.record("hparams", own, exclude=("stdout", "log", "json", "csv"))
        [output] = [output for output in self.logger.output_formats if isinstance(output, TensorBoardOutputFormat)]
        output.writer.add_custom_scalars({"mine": {"length": ["Multiline", ["rollout/ep_len_mean"]]}})

    def _on_step(self):
        return True


@pytest.mark.parametrize("ours_first", [True, False])
def test_what_the_user_writes_stays(tmp_path, ours_first):
    callbacks = [AbelCallback(), OwnPages()] if ours_first else [OwnPages(), AbelCallback()]
    make_model("SAC", tensorboard_log=str(tmp_path)).learn(250, callback=callbacks, tb_log_name="both", log_interval=1)
    with tensorboard(tmp_path) as address:
        wait_for_runs(address, {"both_1"})
        assert [category["title"] for category in ask(address, "custom_scalars/layout")["category"]] == ["mine"]
        experiment = ask(address, "hparams/experiment", {"experimentName": "", "hparamsLimit": 100})
        assert {info["name"] for info in experiment["hparamInfos"]} == {"algorithm", "gamma"}
        assert [info["name"]["tag"] for info in experiment["metricInfos"]] == ["rollout/ep_len_mean"]
        assert "abel/factor" in ask(address, "scalars/tags")["both_1"]
