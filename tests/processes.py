"""Processes: waiting for them, and which of them train."""

import contextlib
import time

import psutil


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def trainings(process):
    """Return the processes below one that a starter has copied, its branches among them."""
    found = []
    for below in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if all("benchmarks.starter" in one.cmdline() for one in (below, below.parent())):
                found.append(below)
    return found


def gone(processes):
    return not any(map(_lives, processes))


def _lives(process):
    # It may end between one question and the next.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
