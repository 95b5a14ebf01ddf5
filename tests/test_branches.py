"""Branches: runs that begin alike are trained once, and each is what it would have been alone."""

import contextlib
import csv
import json
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import find_preset
from benchmarks import engine, starter
from benchmarks.__main__ import main
from benchmarks.branches import units
from benchmarks.evaluation import evaluate, evaluation_env
from benchmarks.folders import status_of
from benchmarks.plan import ARMS, PULL, Run
from benchmarks.schedules import make_arm
from benchmarks.train import build
from envs import make_env, make_evaluation_env
from tests.processes import gone, trainings, until

ROOT = Path(__file__).parent.parent
SMALL = {"evaluations": 2, "evaluation_episodes": 2, "final_episodes": 2}
BASE = Run("PPO", "CartPole-v1", 1000, "constant", 0)


def arms(*names, **changes):
    return [replace(BASE, arm=name, **changes) for name in names]


def shape(grouped):
    return [[run.arm for run in unit] for unit in grouped]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (
            arms(*ARMS),
            [
                ["constant", "step", "constant+final", "cooldown", "abel", "abel-paper", *PULL],
                *(["linear"], ["cosine"], ["kl-adaptive", "kl-adaptive+final", "kl-adaptive+cooldown"]),
                *(["updates+linear"], ["updates0.3+linear"], ["kl-under-linear"], ["kl-falling"]),
                *(["abel-part"], ["abel-batch"], ["abel-mixed"], ["updates+cooldown"], ["movement+cooldown"]),
            ],
        ),
        (arms("linear", "linear", seed=1), [["linear"]]),
        (arms("abel") + arms("abel", seed=1) + arms("constant"), [["abel", "constant"], ["abel"]]),
        (arms("abel") + arms("abel", decay_factor=0.5, final_decay_at=0.7), [["abel", "abel"]]),
        (arms("constant") + arms("step", rate_multiplier=3.0), [["constant"], ["step"]]),
        (arms("constant") + arms("step", regularization="adamw", strength=1.0), [["constant"], ["step"]]),
        (arms("constant") + arms("step", timesteps=2000), [["constant"], ["step"]]),
        (arms("constant") + arms("step", evaluations=1), [["constant"], ["step"]]),
        ([], []),
    ],
)  # fmt: skip
def test_which_runs_are_one_unit(runs, expected):
    grouped = units(dict.fromkeys(runs))
    assert shape(grouped) == expected
    assert sorted(run.run_id for unit in grouped for run in unit) == sorted({run.run_id for run in runs})


@pytest.fixture(autouse=True, scope="module")
def no_starter_is_left():
    yield
    process = starter._of_this_thread.__dict__.pop("starter", None)
    if process:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(10) == 0


def table(path):
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


TIMES = ("time/fps", "time/time_elapsed")


def events(folder):
    """Scalars by tag, and what TensorBoard knows besides: the dashboard and the row under HParams."""
    [path] = folder.glob("events.*")
    read = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    tags = read.Tags()
    scalars = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in tags["scalars"] if tag not in TIMES}
    known = {tag: read.SummaryMetadata(tag).plugin_data.content for tag in read.summary_metadata}
    assert any("hparams" in tag for tag in known)
    return scalars, known


def record_of(folder):
    record = json.loads((folder / "run.json").read_text())
    return {
        key: value for key, value in record.items() if key not in ("branched_from", "wall_time_s", "evaluation_time_s")
    }


FIVE = ("constant", "constant+final", "cooldown", "step", "abel")
UNITS = {
    "PPO CartPole": (Run("PPO", "CartPole-v1", 2560, "", 3, "adamw", 10.0), (*FIVE, "abel-paper", *PULL)),
    "PPO KL": (Run("PPO", "CartPole-v1", 2560, "", 0), ("kl-adaptive", "kl-adaptive+final", "kl-adaptive+cooldown")),
    "DQN CartPole": (Run("DQN", "CartPole-v1", 2560, "", 1), ("step", "abel")),
    "SAC Pendulum": (Run("SAC", "Pendulum-v1", 180, "", 0), ("constant+final", "step")),
    "PPO Hopper": (Run("PPO", "Hopper-v5", 2048, "", 0), ("constant", "step")),
}


TRAIN = "benchmarks.train:train_unit"


def train_apart(runs, out):
    starter.call_apart(runs[0].run_id, TRAIN, runs, out)


@pytest.mark.cluster
@pytest.mark.parametrize("name", UNITS)
def test_each_run_is_what_it_is_alone_to_the_last_bit(name, tmp_path):
    base, names = UNITS[name]
    runs = [replace(base, arm=arm, **SMALL) for arm in names]
    assert len(units(runs)) == 1
    train_apart(runs, tmp_path / "together")
    for run in runs:
        train_apart([run], tmp_path / "alone")
        ours, alone = (tmp_path / where / run.run_id for where in ("together", "alone"))
        assert record_of(ours) == record_of(alone), run.arm
        assert record_of(ours)["status"] == "complete"
        for file in ("trace.csv", "evaluations.csv", "abel.csv"):
            assert (ours / file).read_bytes() == (alone / file).read_bytes(), (run.arm, file)
        assert table(ours / "progress.csv") == table(alone / "progress.csv"), run.arm
        assert events(ours) == events(alone), run.arm
        assert sorted(p.name.partition(".")[0] for p in ours.iterdir()) == sorted(
            p.name.partition(".")[0] for p in alone.iterdir()
        )
    assert not [path for path in (tmp_path / "together").iterdir() if path.name.startswith(".")]
    shared = {run.arm: json.loads((tmp_path / "together" / run.run_id / "run.json").read_text()) for run in runs}
    leaders = [arm for arm, record in shared.items() if record["branched_from"] is None]
    assert leaders == [names[0]]
    for arm, record in shared.items():
        if arm not in leaders:
            assert record["branched_from"]["timesteps"] > 0
            assert (tmp_path / "together" / record["branched_from"]["run_id"]).is_dir()
    if name == "PPO CartPole":
        assert shared["abel-paper"]["decays"][0] == [1536, "bounce", 0.1], "a bounce makes a branch too"
        assert shared["abel-paper"]["branched_from"]["timesteps"] == 1536
        assert shared["step"]["branched_from"]["timesteps"] == 1280
        assert shared["abel"]["branched_from"] == {"run_id": shared["constant+final"]["run_id"], "timesteps": 2560}


def train_with(patch, runs, out):
    """Train a unit in a process where something is patched; return its standard output."""
    script = f"""
    import os, signal, sys, json
    from pathlib import Path
    from benchmarks import train
    from benchmarks.plan import Run
    runs = [Run(**run) for run in json.loads(sys.argv[1])]
    write = train._write
    def patched(branch, *others):
        if branch.run.arm == "step":
            {patch}
        return write(branch, *others)
    train._write = patched
    print(json.dumps(train.train_unit(runs, Path(sys.argv[2]))))
    """
    given = json.dumps([vars(run) for run in runs])
    command = [
        sys.executable,
        "-W",
        "error::DeprecationWarning:benchmarks",
        "-c",
        textwrap.dedent(script),
        given,
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | starter.ONE_THREAD)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def statuses(runs, out):
    return {run.arm: status_of(out / run.run_id) for run in runs}


def test_a_branch_that_raises_is_a_failed_run_of_its_own(tmp_path):
    runs = arms("constant", "step", "cooldown", **SMALL)
    assert train_with("raise ArithmeticError('on purpose')", runs, tmp_path) == []
    assert statuses(runs, tmp_path) == {"constant": "complete", "step": "failed", "cooldown": "complete"}
    record = json.loads((tmp_path / runs[1].run_id / "run.json").read_text())
    assert "ArithmeticError: on purpose" in record["error"]
    assert record["final_return"] is None


def test_a_branch_that_is_killed_is_missing_and_the_others_are_there(tmp_path):
    runs = arms("constant", "step", "cooldown", **SMALL)
    assert train_with("os.kill(os.getpid(), signal.SIGKILL)", runs, tmp_path) == [runs[1].run_id]
    assert statuses(runs, tmp_path) == {"constant": "complete", "step": "missing", "cooldown": "complete"}


def test_an_arm_that_cannot_be_made_stops_no_other(tmp_path):
    runs = arms("no such arm", "constant", "step", **SMALL)
    train_apart(runs, tmp_path)
    assert statuses(runs, tmp_path) == {"no such arm": "failed", "constant": "complete", "step": "complete"}


@pytest.fixture
def busy(tmp_path):
    """A starter that has been given a unit of long runs, when the first branch is at work."""
    process = starter.start()
    runs = arms("constant", "step", timesteps=10**6, seed=5, evaluations=10**5)
    # Another place of the last decay: the branch leaves at once, and the first process waits for it.
    runs.append(replace(runs[0], arm="cooldown", final_decay_at=1e-5))
    process.stdin.write(starter.as_line(TRAIN, runs, tmp_path))
    process.stdin.flush()
    above = psutil.Process(process.pid)
    assert until(lambda: len(trainings(above)) >= 2)
    yield process, above.children(recursive=True)
    if not process.stdin.closed:
        process.stdin.close()
    process.stdout.close()
    process.wait(10)


def test_a_unit_and_its_branches_end_with_who_wanted_them(busy):
    process, below = busy
    process.stdin.close()
    assert process.wait(10) == 0
    assert until(lambda: gone(below))


def test_a_unit_that_is_killed_takes_its_branches_along_and_is_reported(busy):
    process, below = busy
    unit = next(p for p in below if p.ppid() == process.pid)
    unit.kill()
    assert process.stdout.readline() == "-9\n"
    assert until(lambda: gone(below))
    assert process.poll() is None, "it is there for the next"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_unit_that_is_killed_each_time_is_a_failure_of_all_its_runs(tmp_path):
    lost = arms("constant", "step", timesteps=10**6, seed=5, evaluations=10**5)
    killed, over = set(), threading.Event()

    def kill():
        while not over.wait(0.05):
            for process in trainings(psutil.Process()):
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    killed.add(process.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        progress = engine.execute(lost, tmp_path)
    finally:
        over.set()
        killer.join()
    assert (progress.complete, sorted(progress.failed)) == (0, sorted(run.run_id for run in lost))
    assert len(killed) == engine.ATTEMPTS
    for run in lost:
        record = json.loads((tmp_path / run.run_id / "run.json").read_text())
        assert (record["status"], record["arm"]) == ("failed", run.arm)
        assert "-9" in record["error"]


SUITE = """
[[block]]
agent = "PPO"
env_id = "CartPole-v1"
timesteps = 1024
arms = ["constant", "linear", "constant+final", "step"]
seeds = 1
evaluations = 1
evaluation_episodes = 1
final_episodes = 1
"""


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_run_says_what_it_saved_and_can_do_without(tmp_path, capsys):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE)
    common = ["run", str(suite), "--workers", "1"]
    assert main([*common, "--out", str(tmp_path / "branches")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 runs in 2 units: what arms have in common is trained once" in said
    # 512 of step, 1024 of constant+final: with four rollouts its last decay comes after the last update but one.
    assert "38% of the timesteps were shared by runs, and trained once" in said
    assert main([*common, "--out", str(tmp_path / "alone"), "--no-branches"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "units" not in said
    assert "shared" not in said
    together, alone = (
        {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / where).glob("*/run.json")}
        for where in ("branches", "alone")
    )
    assert len(together) == len(alone) == 4
    assert all(record["branched_from"] is None for record in alone.values())
    assert {name: r["final_return"] for name, r in together.items()} == {
        name: r["final_return"] for name, r in alone.items()
    }


@pytest.mark.parametrize(("agent", "env_id"), [("PPO", "CartPole-v1"), ("PPO", "Hopper-v5"), ("SAC", "Pendulum-v1")])
@pytest.mark.parametrize(("episodes", "n_envs"), [(5, 10), (6, 4)])
def test_environments_that_rest_give_the_same_returns(agent, env_id, episodes, n_envs):
    """As evaluate_policy without them, twice in a row."""
    from stable_baselines3.common.evaluation import evaluate_policy

    run = Run(agent, env_id, 1000, "constant", 0)
    env = make_env(env_id, find_preset(agent, env_id).n_envs, 0, normalize=env_id == "Hopper-v5")
    model = build(run, make_arm("constant", run.learning_rate, 1), env)
    resting = evaluation_env(run, episodes, n_envs, 7, env)
    plain = make_evaluation_env(env_id, min(n_envs, episodes), 7, env)
    for seed in (7, 8):
        plain.seed(seed)
        expected, _ = evaluate_policy(model, plain, episodes, return_episode_rewards=True)
        assert evaluate(model, resting, episodes, seed) == expected
    for each in (env, plain, resting):
        each.close()
