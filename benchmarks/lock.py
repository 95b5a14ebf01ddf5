"""One launch on a folder at a time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    sys.exit("training needs Linux or macOS, as it copies processes (os.fork); on Windows use WSL")

LOCK = ".lock"


class AlreadyRunning(RuntimeError):
    """Another launch is at work on the same folder."""


@contextlib.contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with this process.

    :raises AlreadyRunning: if another process holds it
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another launch is at work on {out}: wait for it, or choose another folder") from None
        yield
