"""The automatic learning rate for stable-baselines3, decided by measurement.

Public names are loaded on first use, so that ``find_decays`` never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rl_abel.rule import PaperRule, Rule, TrendRule, find_decays

if TYPE_CHECKING:
    from rl_abel import torch as torch
    from rl_abel.auto import AutoLearningRate
    from rl_abel.by_part import RateByPart
    from rl_abel.callback import AbelCallback
    from rl_abel.finishing import FinishedEval, finish
    from rl_abel.kl import KLAdaptiveCallback
    from rl_abel.memory import Decay
    from rl_abel.norms import weight_norms

__version__ = "0.1.0"

__all__ = [
    "AbelCallback",
    "AutoLearningRate",
    "Decay",
    "FinishedEval",
    "KLAdaptiveCallback",
    "PaperRule",
    "RateByPart",
    "Rule",
    "TrendRule",
    "find_decays",
    "finish",
    "weight_norms",
]

_LAZY = {
    "AbelCallback": "rl_abel.callback",
    "AutoLearningRate": "rl_abel.auto",
    "KLAdaptiveCallback": "rl_abel.kl",
    "RateByPart": "rl_abel.by_part",
    "Decay": "rl_abel.memory",
    "FinishedEval": "rl_abel.finishing",
    "finish": "rl_abel.finishing",
    "weight_norms": "rl_abel.norms",
}


def __getattr__(name: str) -> Any:
    if name == "torch":
        return import_module("rl_abel.torch")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, "torch"])
