"""Waiting for processes."""

import contextlib
import time

import psutil


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def gone(processes):
    return not any(map(_lives, processes))


def _lives(process):
    # It may end between one question and the next.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
