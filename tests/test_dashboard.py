"""What the TensorBoard server shows of a run, asked over its own interface."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from urllib.parse import quote

import pytest
import torch

from rl_abel import AbelCallback
from tests.algorithms import make_model

HPARAMS = {
    "rule": "trend",
    "watch": "total",
    "decay_factor": 0.5,
    "base_rate": 1e-3,
    "weight_decay": 0.25,
    "algorithm": "PPO",
    "environment": "Pendulum-v1",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A TensorBoard on two runs; ``ask`` returns what it answers."""
    folder = tmp_path_factory.mktemp("runs")
    adamw = {"net_arch": [8], "optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.25}}
    for name, policy_kwargs in (("a", adamw), ("b", {"net_arch": [8]})):
        model = make_model("PPO", policy_kwargs=policy_kwargs, tensorboard_log=str(folder))
        model.learn(25 * 20, callback=AbelCallback(decay_factor=0.5), tb_log_name=name)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))

        def ask(path, data=None):
            request = urllib.request.Request(f"{address}/data/plugin/{path}", data and json.dumps(data).encode())
            request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request) as response:
                return json.load(response)

        deadline = time.monotonic() + 60
        while set(ask("scalars/tags")) != {"a_1", "b_1"} and time.monotonic() < deadline:
            time.sleep(0.2)
        yield ask
    finally:
        process.kill()
        process.communicate()


def test_the_dashboard_finds_its_scalars(server):
    layout = server("custom_scalars/layout")
    (category,) = layout["category"]
    assert category["title"] == "ABEL"
    tags = set(server("scalars/tags")["a_1"])
    for chart in category["chart"]:
        for pattern in chart["multiline"]["tag"]:
            assert any(re.search(pattern, tag) for tag in tags), (chart["title"], pattern)
            shown = server(f"custom_scalars/scalars?run=a_1&tag={quote(pattern)}")
            assert any(shown["tag_to_events"].values()), pattern
    assert category["chart"][0]["title"].startswith("weight norm")


def test_the_hparams_tab_is_filled(server):
    experiment = server("hparams/experiment", {"experimentName": "", "hparamsLimit": 100})
    assert {info["name"] for info in experiment["hparamInfos"]} == set(HPARAMS)
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert {"rollout/ep_rew_mean", "abel/bounces"} <= set(metrics)
    query = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [{"metric": info["name"]} for info in experiment["metricInfos"]],
        "startIndex": 0,
        "sliceSize": 10,
    }
    groups = {group["name"]: group for group in server("hparams/session_groups", query)["sessionGroups"]}
    found = next(group for name, group in groups.items() if "a_1" in json.dumps(group))
    assert found["hparams"] == HPARAMS
    plain = next(group for name, group in groups.items() if "b_1" in json.dumps(group))
    assert plain["hparams"]["weight_decay"] == 0
    values = {value["name"]["tag"]: value["value"] for value in found["metricValues"]}
    assert values["abel/bounces"] == 0
    assert values["rollout/ep_rew_mean"] < 0


def test_without_tensorboard_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model("PPO").learn(60, callback=AbelCallback(measure_every=20, max_decays=0))
    assert not list(tmp_path.iterdir())
