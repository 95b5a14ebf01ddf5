"""How users are told: warnings that point to their own line, and decoration that never stops a training."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Packages between a user's ``learn()`` and us: a warning in their name would be hidden, or blamed on them
BETWEEN = ("rl_abel", "stable_baselines3", "sb3_contrib", "sbx")


def warn(message: str) -> None:
    """Warn in the name of the line that has called stable-baselines3."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(f"rl_abel: {message}", UserWarning, stacklevel=level)


class WarnOnce:
    """Warns once for each key: the numbers in a message may differ."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, key: str, message: str) -> None:
        """Warn, if that key is new."""
        if key not in self._said:
            self._said.add(key)
            warn(message)


class Harmless:
    """Turns an error of what only writes into a warning, once for each: it must not end a training."""

    def __init__(self) -> None:
        self._warn = WarnOnce()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Guard a block that writes what is named."""
        try:
            yield
        except Warning:
            # Raised where warnings are errors, as the user wants them to be.
            raise
        except Exception as error:  # whatever a logger, a file system or a user's schedule raises
            self._warn(what, f"{what} could not be written, the training goes on: {type(error).__name__}: {error}")
