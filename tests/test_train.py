"""One run: what its folder holds, that it repeats, that failures are recorded."""

import csv
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import PRESETS
from benchmarks import train as module
from benchmarks.folders import publish
from benchmarks.plan import Run
from benchmarks.train import train
from rl_abel import find_decays

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
SMALL = {"evaluations": 20, "evaluation_episodes": 1, "final_episodes": 5}
RUN = Run("PPO", "CartPole-v1", 8192, "constant+final", 2, **SMALL)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    train(RUN, out)
    return out / RUN.run_id


def test_run_json(folder):
    record = json.loads((folder / "run.json").read_text())
    wanted = {
        "run_id": RUN.run_id, "status": "complete", "agent": "PPO", "env_id": "CartPole-v1", "arm": "constant+final",
        "regularization": "none", "weight_decay": 0.0, "learning_rate": 1e-3, "seed": 2, "timesteps": 8192,
    }  # fmt: skip
    assert {key: record[key] for key in wanted} == wanted
    assert record["decays"] == [[7168, "final", 0.1]]
    assert record["n_bounces"] == 0
    assert 5 < record["final_return"] <= 500
    assert record["wall_time_s"] > 0
    assert record["optimizer_steps"] == 8192 / 256 * 20  # rollouts of one minibatch, 20 epochs each
    assert set(record["versions"]) >= {"rl_abel", "stable_baselines3", "torch", "python"}
    assert record["config"]["preset"]["hyperparameters"]["n_epochs"] == 20
    assert record["error"] is None


def test_evaluations_and_trace(folder):
    evaluations = rows(folder / "evaluations.csv")
    assert [int(row["timesteps"]) for row in evaluations] == sorted({int(row["timesteps"]) for row in evaluations})
    assert len(evaluations) == 20
    assert int(evaluations[-1]["timesteps"]) == 8192
    assert float(evaluations[0]["learning_rate"]) == 1e-3
    assert float(evaluations[-1]["learning_rate"]) == pytest.approx(1e-4)
    trace = rows(folder / "trace.csv")
    parts = ["total", "policy", "value"]
    terms = [f"{term}_{part}" for term in ("displacement", "alignment", "relative_update") for part in parts]
    assert list(trace[0])[:13] == ["timesteps", *parts, *terms]
    assert all(name.startswith("layer/") for name in list(trace[0])[13:])
    assert len(trace) == 31
    assert find_decays(float(row["total"]) for row in trace) == []
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {
        "run", "evaluations", "trace", "abel", "progress", "events",
    }  # fmt: skip


def test_evaluations_are_logged_and_the_final_return_last(folder):
    """As SB3's EvalCallback logs them, for TensorBoard and everything that reads its tags."""
    evaluations = [(int(row["timesteps"]), float(row["return_mean"])) for row in rows(folder / "evaluations.csv")]
    final = json.loads((folder / "run.json").read_text())["final_return"]
    expected = [*evaluations[:-1], (8192, final)]
    logged = [row for row in rows(folder / "progress.csv") if row["eval/mean_reward"]]
    assert [(int(row["time/total_timesteps"]), float(row["eval/mean_reward"])) for row in logged] == expected
    assert not any(row["abel/factor"] for row in logged), "the training's own dumps hold the training's values"
    [events] = folder.glob("events.*")
    scalars = EventAccumulator(str(events), size_guidance={"scalars": 0}).Reload()
    shown = [(event.step, event.value) for event in scalars.Scalars("eval/mean_reward")]
    assert shown == [(step, pytest.approx(value)) for step, value in expected]


def test_the_same_run_repeats_to_the_last_digit(folder, tmp_path):
    train(RUN, tmp_path)
    for name in ("evaluations.csv", "trace.csv"):
        assert (tmp_path / RUN.run_id / name).read_text() == (folder / name).read_text()
    first, again = (json.loads((p / "run.json").read_text()) for p in (folder, tmp_path / RUN.run_id))
    times = {"wall_time_s": 0, "evaluation_time_s": 0}
    assert first | times == again | times


def test_a_failing_run_is_recorded_with_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make_agent", lambda *args, **kwargs: 1 / 0)
    record = train(RUN, tmp_path)
    stored = json.loads((tmp_path / RUN.run_id / "run.json").read_text())
    assert stored == record
    assert (record["status"], record["final_return"]) == ("failed", None)
    assert "ZeroDivisionError" in record["error"]
    assert "Traceback" in record["error"]
    assert [path.name for path in tmp_path.iterdir()] == [RUN.run_id]


def test_a_folder_that_is_not_finished_holds_no_run_json(tmp_path, monkeypatch):
    seen = []

    def interrupt(*args, **kwargs):
        seen.extend(path.name for path in tmp_path.rglob("*"))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "make_agent", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path)
    assert seen
    assert not list(tmp_path.rglob("run.json"))
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [("failed", "complete", "now"), ("complete", "complete", "before"), ("failed", "failed", "now")],
)
def test_the_first_complete_run_is_kept(before, now, kept, tmp_path):
    for number, status in enumerate((before, now)):
        aside = tmp_path / f".aside{number}"
        aside.mkdir()
        publish({"status": status, "who": ("before", "now")[number]}, aside, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["who"] == kept
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("agent", "env_id", "timesteps", "regularization"),
    [
        *(("A2C", "CartPole-v1", 400, regularization) for regularization in ("none", "adamw", "adam-l2", "sgd-l2")),
        ("DQN", "CartPole-v1", 1800, "adamw"),
        ("SAC", "Pendulum-v1", 250, "adamw"),
    ],
)
def test_other_agents_and_regularizations(agent, env_id, timesteps, regularization, tmp_path):
    strength = 0.0 if regularization == "none" else 1.0
    run = Run(
        agent,
        env_id,
        timesteps,
        "abel",
        0,
        regularization,
        strength,
        evaluations=1,
        evaluation_episodes=1,
        final_episodes=1,
    )
    record = train(run, tmp_path)
    assert record["status"] == "complete", record["error"]
    assert (agent, env_id) in PRESETS
