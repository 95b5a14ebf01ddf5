"""``rl-abel inspect``: traces of finished runs, from whatever there is of them."""

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.logger import configure

from benchmarks.measure.synthetic import make_run
from rl_abel import AbelCallback, find_decays, weight_norms
from rl_abel.checkpoints import checkpoint_norms, series
from rl_abel.cli import main
from rl_abel.events import scalars
from rl_abel.inspection import BLOCKS, judge, spark
from rl_abel.traces import Trace, read_path
from tests.algorithms import ALGORITHMS, STEPS, make_model

KEYS = ["path", "source", "timesteps", "weight_norm_total", "bounces", "decays", "verdict"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run with logs of both kinds, and the callback that saw it."""
    folder = tmp_path_factory.mktemp("logged")
    model, abel = make_model("PPO"), AbelCallback()
    model.set_logger(configure(str(folder), ["csv", "tensorboard"]))
    model.learn(30 * 20, callback=abel, log_interval=1)
    model.logger.close()
    return folder, abel


@pytest.fixture
def bouncing(tmp_path):
    """A progress.csv whose norm falls, rises and levels off."""
    norms = [10 - 0.2 * i for i in range(30)] + [4 + 0.2 * i for i in range(30)] + [10.0 + 1e-6 * i for i in range(30)]
    lines = ["time/total_timesteps,abel/weight_norm_total", *(f"{100 * i},{norm}" for i, norm in enumerate(norms))]
    (tmp_path / "progress.csv").write_text("\n".join(lines))
    return tmp_path, norms


def inspect(capsys, *arguments):
    status = main(["inspect", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, json.loads(captured.out), captured.err


# Sources


@pytest.mark.parametrize("source", ["csv", "tensorboard"])
def test_logs_hold_what_the_callback_saw(source, logged, tmp_path, capsys):
    folder, abel = logged
    pattern = {"csv": "progress.csv", "tensorboard": "events*"}[source]
    for path in folder.glob(pattern):
        shutil.copy(path, tmp_path)
    status, (found,), _ = inspect(capsys, tmp_path)
    assert (status, found["source"], list(found)) == (0, source, KEYS)
    # The log also has the last update, and the first dump comes after the second rollout.
    assert found["weight_norm_total"][:-1] == pytest.approx(abel.trace["total"], rel=1e-6)


def test_a_benchmark_folder(tmp_path, capsys):
    make_run(tmp_path, "PPO", "Task-v1", "constant", 0, __import__("numpy").random.default_rng(0))
    status, (found,), _ = inspect(capsys, tmp_path)
    assert (status, found["source"], len(found["timesteps"])) == (0, "run", 100)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_checkpoint_norms_are_those_of_the_model(name, tmp_path):
    model = make_model(name)
    if name != "ARS":
        model.learn(STEPS)
    model.save(tmp_path / "model.zip")
    assert checkpoint_norms(tmp_path / "model.zip") == pytest.approx(weight_norms(model), rel=1e-12)


def test_a_series_of_checkpoints(tmp_path, capsys):
    model = make_model("PPO")
    norms = []

    class Note(CheckpointCallback):
        def _on_step(self):
            if self.n_calls % self.save_freq == 0:
                norms.append(weight_norms(self.model)["total"])
            return super()._on_step()

    model.learn(200, callback=Note(40, str(tmp_path), name_prefix="agent", save_replay_buffer=True))
    (tmp_path / "agent_80_steps.zip").write_bytes(b"PK cut off")
    status, (found,), error = inspect(capsys, tmp_path)
    assert (status, found["source"]) == (0, "checkpoints")
    assert found["timesteps"] == [40, 120, 160, 200]
    assert found["weight_norm_total"] == pytest.approx([norms[0], *norms[2:]])
    assert "agent_80_steps.zip: not a readable zip" in error


def test_series_by_name():
    names = [
        "b_100_steps.zip",
        "a_20_steps.zip",
        "a_3_steps.zip",
        "a_replay_buffer_3_steps.pkl",
        "7_steps.zip",
        "a.zip",
    ]
    found = {run: [steps for steps, _ in checkpoints] for run, checkpoints in series(map(Path, names)).items()}
    assert found == {"": [7], "a": [3, 20], "b": [100]}


class Harmful:
    """Unpickled, it would write a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("member", ["data", "policy.pth", "pytorch_variables.pth", "policy.optimizer.pth"])
def test_nothing_in_a_checkpoint_is_run(member, tmp_path, capsys):
    target, path = tmp_path / "written", tmp_path / "agent_10_steps.zip"
    weights = io.BytesIO()
    torch.save({"action_net.weight": torch.ones(2, 2)}, weights)
    with zipfile.ZipFile(path, "w") as archive:
        if member != "policy.pth":
            archive.writestr("policy.pth", weights.getvalue())
        archive.writestr(member, pickle.dumps(Harmful(target)))
    status, found, error = inspect(capsys, tmp_path)
    assert not target.exists()
    if member == "policy.pth":
        assert (status, found) == (1, [])
        assert "holds no plain weights" in error
    else:
        assert (status, found[0]["weight_norm_total"]) == (0, [4.0])


def test_torch_is_for_checkpoints_alone(bouncing):
    folder, _ = bouncing
    code = "import sys; from rl_abel.cli import main; main(['inspect', sys.argv[1]]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True)


# What it says


def test_a_bounce(bouncing, capsys):
    folder, norms = bouncing
    status, (found,), _ = inspect(capsys, folder)
    expected = [100 * index for index in find_decays(norms)]
    assert (status, len(expected)) == (0, 1)
    assert found["bounces"] == found["decays"]["trend"] == expected
    assert "bounces: ABEL can help" in found["verdict"]
    assert main(["inspect", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert f"trend  1 decay, at {expected[0]:,}" in printed


def test_other_settings(bouncing, capsys):
    folder, norms = bouncing
    _, (strict,), _ = inspect(capsys, folder, "--z", "1e9", "--window", "30")
    assert strict["decays"]["trend"] == [100 * i for i in find_decays(norms, window=30, z=1e9)]
    _, (paper,), _ = inspect(capsys, folder, "--rule", "paper")
    assert paper["bounces"] == paper["decays"]["paper"] == [100 * i for i in find_decays(norms, rule="paper")]


@pytest.mark.parametrize(
    ("norms", "said"),
    [([1.0, 2.0, 3.0], "Too few measurements"), ([1.0 + i for i in range(40)], "does not bounce: a constant rate")],
)
def test_verdicts(norms, said):
    assert said in judge(Trace("x", "csv", list(range(len(norms))), {"total": norms})).verdict


def test_a_part_that_the_total_hides(bouncing):
    _, policy = bouncing
    value = [1000.0 + 5 * i for i in range(len(policy))]
    total = [p + v for p, v in zip(policy, value)]
    trace = Trace("x", "csv", list(range(len(total))), {"total": total, "policy": policy, "value": value})
    found = judge(trace)
    assert found.bounces == []
    assert f"that of the policy does, at timestep {find_decays(policy)[0]}" in found.verdict
    assert found.verdict.endswith("ABEL can help, as it watches the parts too, or one alone with watch='policy'.")


@pytest.mark.parametrize(
    ("values", "line"),
    [([0, 7], "▁█"), ([5, 5], "▁▁"), ([1, float("nan"), 8], "▁ █"), ([float("nan")], ""), (list(range(8)), BLOCKS)],
)
def test_spark(values, line):
    assert spark(values) == line


def test_spark_is_no_wider_than_asked():
    assert len(spark(list(range(1000)), width=60)) == 60


def test_a_repeated_measurement_counts_once(tmp_path):
    lines = ["time/total_timesteps,abel/weight_norm_total", "", "1,", "2,5.0", "3,5.0", "4,6.0", "5"]
    (tmp_path / "progress.csv").write_text("\n".join(lines))
    (trace,) = read_path(tmp_path)
    assert (trace.timesteps, trace.norms) == ([2, 4], {"total": [5.0, 6.0]})


def test_a_plot(bouncing, tmp_path):
    assert main(["inspect", str(bouncing[0]), "--plot", str(tmp_path / "plot.png")]) == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


# Bad input

FOREIGN = {
    "progress.csv": (
        "time/total_timesteps,rollout/ep_rew_mean\n1,2\n",
        "holds no weight norms. If you have checkpoints",
    ),
    "events.out.tfevents.1.x": ("no events", "holds no weight norms"),
    "agent_1_steps.zip": ("no zip", "not a readable zip"),
    "run.json": ("{}", "trace.csv"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_cannot_be_read_is_named(name, tmp_path, capsys, bouncing):
    content, reason = FOREIGN[name]
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / name).write_text(content)
    status, found, error = inspect(capsys, folder)
    assert (status, found) == (1, [])
    assert reason in error
    assert str(folder) in error
    assert inspect(capsys, folder, bouncing[0] / "progress.csv")[0] == 0  # something could be read


@pytest.mark.parametrize("path", ["missing", "empty", "notes.txt"])
def test_what_is_no_run(path, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    status, _, error = inspect(capsys, tmp_path / path)
    assert status == 1
    assert str(tmp_path / path) in error


def test_a_truncated_event_file_is_read_as_far_as_it_goes(logged, tmp_path, capsys):
    (events,) = logged[0].glob("events*")
    (tmp_path / events.name).write_bytes(events.read_bytes()[:-100])
    status, (found,), _ = inspect(capsys, tmp_path)
    assert status == 0
    assert len(found["timesteps"]) > 10


@pytest.mark.parametrize(
    "arguments", [["--window", "1"], ["--z", "0"], ["--z", "nan"], ["--rule", "x"], ["--plot", "/no/such/folder/a.png"]]
)
def test_wrong_usage(arguments, bouncing):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(bouncing[0]), *arguments])
    assert stopped.value.code == 2


def test_event_files_are_read_as_tensorboard_reads_them(logged, tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    (events,) = logged[0].glob("events*")
    loaded = [(event.step, v) for event in LegacyEventFileLoader(str(events)).Load() for v in event.summary.value]
    expected = [(step, v.tag, v.simple_value) for step, v in loaded if v.tag.startswith("abel/")]
    assert list(scalars(events, "abel/")) == expected
    data = events.read_bytes()
    for length in (0, 5, 12, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:length])
        read = list(scalars(tmp_path / "cut", "abel/"))
        assert read == expected[: len(read)]
        assert bool(read) == (length > 12)
