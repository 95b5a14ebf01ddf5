"""The arms: what each does to the learning rate. Every arm measures the weight norm in the same way.

An arm replaces whatever schedule a preset had. It is a ``learning_rate`` (SB3's: a number, or a
schedule from ``progress_remaining``, which goes from 1 to 0) and callbacks. Until the rates of two
arms first differ (or the weight decay, or the batch), their runs of one seed are the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.callbacks import PPO_SCALE, FallingTarget, FinalPull, FromUpdates, Measuring, Movement, UnderLine
from rl_abel import AbelCallback, BudgetRateCallback, KLAdaptiveCallback

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


@dataclass(frozen=True)
class Arm:
    """What is trained with: SB3's ``learning_rate``, the measuring callback, and others."""

    learning_rate: float | Callable[[float], float]
    abel: AbelCallback
    others: tuple[BaseCallback, ...] = ()

    @property
    def parts(self) -> bool:
        """Whether the update after this rollout differs from that of other arms in something else than its rate."""
        return any(isinstance(other, FinalPull) and other.due for other in self.others)


def _measuring_alone(measure_every: int) -> AbelCallback:
    return Measuring(watch="total", max_decays=0, final_decay_at=None, measure_every=measure_every, diagnose=True)


def _measuring(schedule: Callable[[float, float], float | Callable[[float], float]]) -> Callable[..., Arm]:
    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        return Arm(schedule(base, final_decay_at), _measuring_alone(measure_every))

    return arm


def _abel(
    rule: str = "trend",
    watch: str = "any",
    others: Callable[[float, float], BaseCallback] | None = None,
    **options: Any,
) -> Callable[..., Arm]:
    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        abel = AbelCallback(
            rule=rule,
            watch=watch,
            decay_factor=decay_factor,
            final_decay_at=final_decay_at,
            measure_every=measure_every,
            diagnose=True,
            **options,
        )
        return Arm(base, abel, (others(decay_factor, final_decay_at),) if others else ())

    return arm


def _beside(make: Callable[[], BaseCallback]) -> Callable[..., Arm]:
    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        return Arm(base, _measuring_alone(measure_every), (make(),))

    return arm


def _updates_linear(scale: float) -> Callable[..., Arm]:
    falling = _abel(final_decay_shape="linear", others=lambda *_: BudgetRateCallback(scale), **_FINAL_ALONE)

    def arm(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
        return falling(base, measure_every, decay_factor, 0.0)

    return arm


def _pull_alone(base: float, measure_every: int, decay_factor: float, final_decay_at: float) -> Arm:
    return Arm(base, _measuring_alone(measure_every), (FinalPull(decay_factor, final_decay_at),))


def _from_updates(
    base: float, measure_every: int, decay_factor: float, final_decay_at: float, from_updates: float
) -> Arm:
    return Arm(Cooldown(base, final_decay_at), _measuring_alone(measure_every), (FromUpdates(from_updates, base),))


def _movement(base: float, measure_every: int, decay_factor: float, final_decay_at: float, from_updates: float) -> Arm:
    others = (Movement(from_updates, base, final_decay_at),)
    return Arm(Cooldown(base, final_decay_at), _measuring_alone(measure_every), others)


_FINAL_ALONE: dict[str, Any] = {"watch": "total", "max_decays": 0}


_MAKERS: dict[str, Callable[..., Arm]] = {
    "constant": _measuring(lambda base, _: base),
    "linear": _measuring(lambda base, _: Linear(base)),
    "cosine": _measuring(lambda base, _: Cosine(base)),
    "step": _measuring(lambda base, _: Step(base)),
    "constant+final": _abel(**_FINAL_ALONE),
    "cooldown": _measuring(Cooldown),
    "abel": _abel(),
    "abel-paper": _abel("paper", "total"),
    "kl-adaptive": _beside(KLAdaptiveCallback),
    "kl-adaptive+final": _abel(others=lambda *_: KLAdaptiveCallback(), **_FINAL_ALONE),
    "kl-adaptive+cooldown": _abel(others=lambda *_: KLAdaptiveCallback(), final_decay_shape="linear", **_FINAL_ALONE),
    "updates+linear": _updates_linear(PPO_SCALE),
    "updates0.3+linear": _updates_linear(2 * PPO_SCALE),
    "kl-under-linear": _beside(UnderLine),
    "kl-falling": _beside(FallingTarget),
    "abel-part": _abel(scope="part"),
    "abel-batch": _abel(acts_on="batch_size"),
    "abel-mixed": _abel(acts_on="mixed"),
    "final-pull-held": _abel(others=lambda factor, at: FinalPull(1 / factor, at), **_FINAL_ALONE),
    "final-pull-only": _pull_alone,
}


_LED: dict[str, Callable[..., Arm]] = {"updates+cooldown": _from_updates, "movement+cooldown": _movement}
"""Arms that take the number of updates into account."""


def make_arm(
    name: str,
    base: float,
    measure_every: int,
    decay_factor: float = 0.1,
    final_decay_at: float = 0.85,
    from_updates: float = 0.0,
) -> Arm:
    """Build the named arm for one run.

    :param base: base learning rate
    :param measure_every: timesteps between measurements of the weight norm
    :param decay_factor: of the arms that decay by a factor of their own choice
    :param final_decay_at: progress at which the final decay comes, or the cooldown begins
    :param from_updates: rate that follows from the number of updates, for arms that begin there
    :raises ValueError: for an unknown name; the message lists the known ones
    """
    if name in _LED:
        return _LED[name](base, measure_every, decay_factor, final_decay_at, from_updates)
    if name not in _MAKERS:
        raise ValueError(f"arm must be one of {[*_MAKERS, *_LED]}, got {name!r}")
    return _MAKERS[name](base, measure_every, decay_factor, final_decay_at)
