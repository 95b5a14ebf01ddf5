"""Starts a process of its own for each unit of runs, from one that has everything loaded and no threads.

dask's worker runs its tasks in a thread, and a process with threads cannot be copied safely
(``os.fork``). ``python -m benchmarks.starter`` is such a process: it reads units from its standard
input, a line each (see :func:`as_line`), and answers each with how its process ended.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import pkgutil
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

_of_this_thread = threading.local()


class UnitKilled(RuntimeError):
    """The process that trained a unit ended in another way than by itself."""


def as_line(function: str, *arguments: Any) -> str:
    """Return a unit as a line of text.

    :param function: what trains it, as "module:name", so that who sends it need not load torch; what it
        returns is true if it left something undone
    """
    return base64.b64encode(pickle.dumps((function, arguments))).decode() + "\n"


def call_apart(name: str, function: str, *arguments: Any) -> None:
    """Train a unit in a process of its own.

    :param name: of the unit, for the error
    :param function: with its arguments, as of :func:`as_line`
    :raises UnitKilled: if not all of it was finished, whatever the reason; what was finished stays
    """
    starter = getattr(_of_this_thread, "starter", None)
    if starter is None or starter.poll() is not None:
        starter = _of_this_thread.starter = start()
    assert starter.stdin is not None
    assert starter.stdout is not None
    try:
        starter.stdin.write(as_line(function, *arguments))
        starter.stdin.flush()
        answer = starter.stdout.readline()
    except OSError:
        answer = ""
    if answer.strip() != "0":
        how = f"with status {answer.strip()}" if answer else "with all that started it"
        raise UnitKilled(f"a process that trained {name} ended {how} before it was done")


def start() -> subprocess.Popen[str]:
    """Start the process, which ends when its standard input does: at the latest with this process."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.starter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
        # Ctrl-C is for the launch, which ends this one.
        start_new_session=True,
    )


def serve() -> None:
    """Train a unit a line, one after the other."""
    units, answers = os.dup(0), os.dup(1)
    # What a training prints is no answer.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _load()
    ended, wakeup = os.pipe()
    for end in (ended, wakeup):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    with os.fdopen(units, buffering=1) as lines:
        for line in iter(lines.readline, ""):
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (units, answers, ended, wakeup):
                    os.close(end)
                _be_a_unit(line)
            os.setpgid(pid, pid)
            status = _wait(pid, units, ended)
            os.write(answers, f"{status}\n".encode())


def _load() -> None:
    """Load what every training needs, once for all."""
    import torch

    from benchmarks.train import commit

    torch.set_num_threads(1)
    # The first optimizer loads the larger part of torch.
    torch.optim.Adam([torch.zeros(1)])
    commit()


def _be_a_unit(line: str) -> None:
    status = 1
    try:
        function, arguments = pickle.loads(base64.b64decode(line))
        status = int(bool(pkgutil.resolve_name(function)(*arguments)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, units: int, ended: int) -> int:
    """Return how a unit's process ended; end all of it with the one that wanted it."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        readable, _, _ = select.select([units, ended], [], [])
        # Nobody sends a second unit before the first is done: something to read is the end.
        if units in readable:
            _end(pid)
            sys.exit()
        with contextlib.suppress(BlockingIOError):
            os.read(ended, 1024)
    # A copy that outlives it would train what is begun again.
    _end(pid)
    return os.waitstatus_to_exitcode(status)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    serve()
