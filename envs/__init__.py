"""Environments of the benchmark: one table, one factory.

The table (``ENVS``, ``find_env``) needs the standard library alone; the factories load
stable-baselines3 on first use, and an environment's own package when it is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.table import ENVS, FAMILIES, EnvSpec, find_env

if TYPE_CHECKING:
    from envs.factory import MissingExtraError, make_env, make_evaluation_env

__all__ = ["ENVS", "FAMILIES", "EnvSpec", "MissingExtraError", "find_env", "make_env", "make_evaluation_env"]

_LAZY = ("MissingExtraError", "make_env", "make_evaluation_env")


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("envs.factory"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
