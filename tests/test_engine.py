"""The engine: runs are done once, failures do not stop others, killed workers are replaced."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import engine, lock
from benchmarks.__main__ import main
from benchmarks.plan import Run

ROOT = Path(__file__).parent.parent
SMALL = {"evaluations": 1, "evaluation_episodes": 1, "final_episodes": 1}
# dask's own threads and sockets close after the test that used them.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def runs(n, timesteps=512, **changes):
    return [Run("PPO", "CartPole-v1", timesteps, "constant", seed, **{**SMALL, **changes}) for seed in range(n)]


def results(out):
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/run.json")}


@pytest.fixture(scope="module")
def workers():
    """The address of a scheduler that has a worker: most of a launch is the start of one."""
    with engine.connect(1, None) as client:
        yield client.scheduler.address


def test_only_what_is_missing_is_done(tmp_path, workers):
    first = engine.execute(runs(2), tmp_path, scheduler=workers)
    assert (first.complete, first.already, first.failed) == (2, 0, [])
    times = {run_id: os.stat(tmp_path / run_id / "run.json").st_mtime_ns for run_id in results(tmp_path)}
    left = tmp_path / ".PPO_0123abcd.12345678"
    left.mkdir()
    again = engine.execute(runs(3), tmp_path, scheduler=workers)
    assert (again.complete, again.already) == (1, 2)
    assert all(os.stat(tmp_path / run_id / "run.json").st_mtime_ns == time for run_id, time in times.items())
    assert not left.exists(), "what a killed launch left is cleared away"
    assert len(results(tmp_path)) == 3


def test_a_failing_run_does_not_stop_the_others(tmp_path, workers):
    bad, good = Run("PPO", "CartPole-v1", 512, "no such arm", 0), runs(1)[0]
    progress = engine.execute([bad, good], tmp_path, scheduler=workers)
    assert (progress.complete, progress.failed) == (1, [bad.run_id])
    assert "arm must be one of" in results(tmp_path)[bad.run_id]["error"]
    again = engine.execute([bad, good], tmp_path, scheduler=workers)
    assert (again.complete, again.already, again.failed) == (0, 1, [bad.run_id]), "not tried again unasked"
    retried = engine.execute([bad, good], tmp_path, scheduler=workers, retry_failed=True)
    assert (retried.already, retried.failed) == (1, [bad.run_id])


def test_a_killed_worker_is_replaced_and_its_run_tried_again(tmp_path):
    """One of two workers is killed with SIGKILL in the middle: all runs complete, none twice."""
    planned = runs(4, timesteps=4000)
    ended = []

    def kill_one(client, progress):
        pids = list(client.run(os.getpid).values())
        assert len(pids) == 2
        threading.Timer(1.0, lambda: os.kill(pids[0], signal.SIGKILL)).start()

    progress = engine.execute(
        planned, tmp_path, workers=2, on_start=kill_one, on_done=lambda progress, record: ended.append(record["run_id"])
    )
    assert (progress.complete, progress.failed) == (4, [])
    assert sorted(ended) == sorted(run.run_id for run in planned)
    assert {record["status"] for record in results(tmp_path).values()} == {"complete"}
    assert len(results(tmp_path)) == 4


def test_everything_listens_on_loopback_only(tmp_path):
    seen = {}

    def look(client, progress):
        info = client.scheduler_info()
        seen["addresses"] = [info["address"], *info["workers"]]
        seen["dashboard"] = client.dashboard_link

    engine.execute(runs(1), tmp_path, on_start=look)
    assert all(address.startswith("tcp://127.0.0.1:") for address in seen["addresses"])
    assert seen["dashboard"].startswith("http://127.0.0.1:")


def page_faults(times=200, pages=256):
    import resource

    import numpy as np

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(pages * 512)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (times * pages)


def test_a_worker_keeps_the_memory_of_one_gradient_step_for_the_next():
    with engine.connect(1, None) as client:
        assert client.submit(page_faults).result() < 0.2


def test_a_second_launch_is_refused_while_the_first_lives(tmp_path, capsys):
    with lock.only_one(tmp_path):
        with pytest.raises(lock.AlreadyRunning, match="another launch is at work on"):
            engine.execute(runs(1), tmp_path)
        assert main(["run", "smoke", "--out", str(tmp_path)]) == 2
    assert "another launch is at work" in capsys.readouterr().err
    with lock.only_one(tmp_path):  # free again
        pass


SUITE = """
[[block]]
agent = "PPO"
env_id = "CartPole-v1"
timesteps = {timesteps}
arms = "constant"
seeds = {seeds}
evaluations = 1
evaluation_episodes = 1
final_episodes = 1
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_launch_goes_on(how, tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE.format(timesteps=2000, seeds=3))
    command = [sys.executable, "-m", "benchmarks", "run", str(suite), "--out", str(out), "--workers", "1"]
    # A shell that runs the tests in the background has its children ignore SIGINT.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not results(out) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    if how == signal.SIGINT:
        # As a terminal does: to the workers too.
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    kept = results(out)
    assert 1 <= len(kept) < 3, output
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "What was finished is kept" in output
        assert "Traceback" not in output
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} were there, {3 - len(kept)} completed now, 0 failed" in " ".join(done.stdout.split())
    assert len(results(out)) == 3


def test_the_same_code_on_a_cluster(tmp_path):
    """A scheduler and a worker of their own, as on a cluster, told by address."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--no-dashboard", "--scheduler-file", str(tmp_path / "scheduler.json")]
    scheduler = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "scheduler.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        suite = tmp_path / "suite.toml"
        suite.write_text(SUITE.format(timesteps=512, seeds=2))
        assert main(["run", str(suite), "--out", str(tmp_path / "out"), "--scheduler", address]) == 0
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)
    assert len(results(tmp_path / "out")) == 2


def test_show_and_its_command(tmp_path, capsys, workers):
    [run] = runs(1)
    engine.execute([run], tmp_path, scheduler=workers)
    assert main(["show", run.run_id, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    command = shown[shown.index("python -m benchmarks run") :].split()
    assert main([*command[3:-1], str(tmp_path / "again")]) == 0
    first, again = results(tmp_path)[run.run_id], results(tmp_path / "again")[run.run_id]
    assert first["final_return"] == again["final_return"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "smok", "--out", "OUT"], "suite must be one of ['smoke'"),
        (["show", "PPO_none", "--out", "OUT"], "no run 'PPO_none'"),
        (["list", "smok"], "got 'smok'"),
    ],
)
def test_bad_input(arguments, message, tmp_path, capsys):
    assert main([str(tmp_path) if a == "OUT" else a for a in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "two"])
def test_bad_number_of_workers(workers, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["run", "smoke", "--out", str(tmp_path), "--workers", workers])
    assert exit.value.code == 2
    assert "--workers" in capsys.readouterr().err


def test_list_names_every_suite(capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("smoke", "classic", "offpolicy", "minatar", "mujoco", "paper"))


def test_folders_of_others_stay(tmp_path):
    """As of an environment, or of git: a hidden folder with dots in its name need not be a run that was cut off."""
    others = [tmp_path / name for name in (".venv-3.11", ".git", ".tox.d", "notes")]
    cut_off = tmp_path / f".{runs(1)[0].run_id}.0123abcd"
    for folder in (*others, cut_off):
        folder.mkdir()
    engine.execute([], tmp_path)
    assert all(folder.is_dir() for folder in others)
    assert not cut_off.exists()


def test_without_fork_it_says_so():
    # dask's lock has another way on Windows, which is not here.
    hidden = (
        "import sys; from unittest import mock; sys.modules.update(fcntl=None, locket=mock.MagicMock()); "
        "import benchmarks.engine"
    )
    said = subprocess.run(
        [sys.executable, "-c", hidden],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert said.stderr.startswith("training needs Linux or macOS")
