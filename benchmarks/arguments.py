"""What commands share: numbers and folders as arguments, and an exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

INTERRUPTED = 130
"""Exit status that shells give to what Ctrl-C ended."""

Number = TypeVar("Number", int, float)


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """Return a type for argparse: a number of this kind above zero; any other is a usage error."""

    def number(text: str) -> Number:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return value

    number.__name__ = kind.__name__  # argparse names the type in "invalid int value"
    return number


def folder(text: str) -> Path:
    """Type for argparse: a folder, there or to be made; what is no folder is a usage error."""
    path = Path(text)
    if not all(part.is_dir() for part in (path, *path.parents) if part.exists()):
        raise argparse.ArgumentTypeError(f"not a folder: {text}")
    return path
