"""Agents of the benchmark: one table of presets, one factory, and weight decay as an axis of its own.

The table (``PRESETS``, ``find_preset``) and ``REGULARIZATIONS`` need the standard library alone;
torch and stable-baselines3 are loaded on first use of the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.preset import Preset, class_name
from agents.presets import PRESETS, find_preset
from agents.regularization import LEARNING_RATE_SCALE, REGULARIZATIONS, regularized_optimizer

if TYPE_CHECKING:
    from agents.factory import make_agent

__all__ = [
    "LEARNING_RATE_SCALE",
    "PRESETS",
    "REGULARIZATIONS",
    "Preset",
    "class_name",
    "find_preset",
    "make_agent",
    "regularized_optimizer",
]

_LAZY = {"make_agent": "agents.factory"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
