"""The automatic learning rate for stable-baselines3, decided by measurement.

Public names are loaded on first use, so that ``find_decays`` never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rl_abel.rules.bounce import PaperRule, Rule, TrendRule, find_decays

if TYPE_CHECKING:
    from rl_abel import torch as torch
    from rl_abel.callbacks.abel import AbelCallback as AbelCallback
    from rl_abel.callbacks.auto import AutoLearningRate as AutoLearningRate
    from rl_abel.callbacks.budget_rate import BudgetRateCallback as BudgetRateCallback
    from rl_abel.callbacks.kl_adaptive import KLAdaptiveCallback as KLAdaptiveCallback
    from rl_abel.callbacks.rate_by_part import RateByPart as RateByPart
    from rl_abel.finishing.finish import FinishedEval as FinishedEval
    from rl_abel.finishing.finish import finish as finish
    from rl_abel.inspection.readers.checkpoints import weight_norms as weight_norms
    from rl_abel.rules.decays import Decay as Decay

__version__ = "0.1.0"

_LAZY = {
    "AbelCallback": "rl_abel.callbacks.abel",
    "AutoLearningRate": "rl_abel.callbacks.auto",
    "BudgetRateCallback": "rl_abel.callbacks.budget_rate",
    "KLAdaptiveCallback": "rl_abel.callbacks.kl_adaptive",
    "RateByPart": "rl_abel.callbacks.rate_by_part",
    "Decay": "rl_abel.rules.decays",
    "FinishedEval": "rl_abel.finishing.finish",
    "finish": "rl_abel.finishing.finish",
    "weight_norms": "rl_abel.inspection.readers.checkpoints",
}
__all__ = ["PaperRule", "Rule", "TrendRule", "find_decays", *_LAZY]


def __getattr__(name: str) -> Any:
    if name == "torch":
        return import_module("rl_abel.torch")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, "torch"])
