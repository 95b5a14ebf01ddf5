"""The arms: what each does to the learning rate. Every arm measures the weight norm in the same way.

An arm replaces whatever schedule a preset had. It is a ``learning_rate`` (SB3's: a number, or a
schedule from ``progress_remaining``, which goes from 1 to 0) and callbacks. Until the rates of two
arms first differ, their runs of one seed are the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import AbelCallback

FINAL_FACTOR = 0.1
"""Factor of "step" at each of its two steps."""


@dataclass(frozen=True)
class Linear:
    """From the base rate to 0, as SB3's zoo and CleanRL anneal."""

    base: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate, never below 0: a last rollout may overshoot the budget."""
        return self.base * max(progress_remaining, 0.0)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the base rate to 0 (Loshchilov & Hutter 2017, without restarts)."""

    base: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate."""
        return self.base * 0.5 * (1 - math.cos(math.pi * max(progress_remaining, 0.0)))


@dataclass(frozen=True)
class Step:
    """Times 0.1 at half and at three quarters of the budget."""

    base: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate."""
        return self.base * FINAL_FACTOR ** ((progress_remaining <= 0.5) + (progress_remaining <= 0.25))


@dataclass(frozen=True)
class Cooldown:
    """Constant, then linear to 0 over the last part of the budget (warm-up-stable-decay's end)."""

    base: float
    final_decay_at: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate."""
        return self.base * min(1.0, max(progress_remaining, 0.0) / (1 - self.final_decay_at))


class Adaptive:
    """A rate that :class:`KLAdaptive` moves."""

    def __init__(self, base: float) -> None:
        self.rate = base

    def __call__(self, progress_remaining: float) -> float:
        """Return the rate as it is now."""
        return self.rate


def kl_adapted(rate: float, kl: float, target: float = 0.01) -> float:
    """Return the rate after an update whose KL divergence was ``kl`` (as in rsl_rl, skrl, rl_games).

    Divided by 1.5 above twice the target, times 1.5 below half of it, within 1e-5 and 1e-2.
    """
    if kl > 2 * target:
        return max(1e-5, rate / 1.5)
    if kl < target / 2:
        return min(1e-2, rate * 1.5)
    return rate


class KLAdaptive(BaseCallback):
    """Adapts the rate once an update of PPO, to the KL divergence of that update."""

    def __init__(self, schedule: Adaptive) -> None:
        super().__init__()
        self.schedule = schedule
        self._n_updates = 0

    def _on_rollout_start(self) -> None:
        # Between the update, which records its KL, and the next dump, which empties the logger.
        if self.model._n_updates != self._n_updates:
            self._n_updates = self.model._n_updates
            kl = self.logger.name_to_value["train/approx_kl"]
            self.schedule.rate = kl_adapted(self.schedule.rate, float(kl))

    def _on_step(self) -> bool:
        return True


@dataclass(frozen=True)
class Arm:
    """What is trained with: SB3's ``learning_rate``, the measuring callback, and others."""

    learning_rate: float | Callable[[float], float]
    abel: AbelCallback
    others: tuple[BaseCallback, ...] = ()


def _measuring_alone(measure_every: int) -> AbelCallback:
    return AbelCallback(watch="total", max_decays=0, final_decay_at=None, measure_every=measure_every, diagnose=True)


def _measuring(schedule: Callable[[float, float], float | Callable[[float], float]]) -> Callable[..., Arm]:
    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        return Arm(schedule(base, final_decay_at), _measuring_alone(measure_every))

    return arm


def _abel(rule: str, watch: str, max_decays: int | None) -> Callable[..., Arm]:
    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        abel = AbelCallback(
            rule=rule,
            watch=watch,
            decay_factor=decay_factor,
            final_decay_at=final_decay_at,
            max_decays=max_decays,
            measure_every=measure_every,
            diagnose=True,
        )
        return Arm(base, abel)

    return arm


def _kl_adaptive(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
    adaptive = Adaptive(base)
    return Arm(adaptive, _measuring_alone(measure_every), (KLAdaptive(adaptive),))


_MAKERS: dict[str, Callable[..., Arm]] = {
    "constant": _measuring(lambda base, _: base),
    "linear": _measuring(lambda base, _: Linear(base)),
    "cosine": _measuring(lambda base, _: Cosine(base)),
    "step": _measuring(lambda base, _: Step(base)),
    "constant+final": _abel("trend", "total", max_decays=0),
    "cooldown": _measuring(Cooldown),
    "abel": _abel("trend", "any", max_decays=None),
    "abel-paper": _abel("paper", "total", max_decays=None),
    "kl-adaptive": _kl_adaptive,
}


def make_arm(
    name: str, base: float, measure_every: int, decay_factor: float = 0.1, final_decay_at: float = 0.85
) -> Arm:
    """Build the named arm for one run.

    :param base: base learning rate
    :param measure_every: timesteps between measurements of the weight norm
    :param decay_factor: of the arms that decay by a factor of their own choice
    :param final_decay_at: progress at which the final decay comes, or the cooldown begins
    :raises ValueError: for an unknown name; the message lists the known ones
    """
    if name not in _MAKERS:
        raise ValueError(f"arm must be one of {list(_MAKERS)}, got {name!r}")
    return _MAKERS[name](base, measure_every, decay_factor, final_decay_at)
