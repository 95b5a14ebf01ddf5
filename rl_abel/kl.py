"""KLAdaptiveCallback: the rate of the robotics libraries, which rises where updates move the policy too little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl_abel.checks import check_above, check_number, known_arguments
from rl_abel.jax_models import is_jax
from rl_abel.memory import section
from rl_abel.mover import Mover
from rl_abel.placement import as_given
from rl_abel.training import clock

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = ("PPO", "MaskablePPO", "RecurrentPPO")
"""Those that log an approximate KL divergence of the steps that the rate makes (TRPO's are a line search's)."""

KL = "train/approx_kl"

LOWEST = 1e-5
"""Smallest rate that the KL divergence leads to, as in rsl_rl."""


def kl_adapted(
    learning_rate: float,
    kl: float,
    target_kl: float = 0.01,
    step: float = 1.5,
    min_learning_rate: float = LOWEST,
    max_learning_rate: float = 1e-2,
) -> float:
    """Return the rate after an update whose policy has moved by a KL divergence of ``kl``.

    As rsl_rl does once an update: divided by ``step`` above twice the target, times ``step`` below half
    of it, unless it is 0 or less (no estimate), within the bounds.

    >>> kl_adapted(1e-3, kl=0.03), kl_adapted(1e-3, kl=0.001), kl_adapted(1e-3, kl=0.01), kl_adapted(1e-3, kl=0.0)
    (0.0006666666666666666, 0.0015, 0.001, 0.001)
    """
    if kl > 2 * target_kl:
        return max(min_learning_rate, learning_rate / step)
    if 0 < kl < target_kl / 2:
        return min(max_learning_rate, learning_rate * step)
    return learning_rate


def has_kl(model: BaseAlgorithm) -> bool:
    """Whether the model is of an algorithm that logs an approximate KL divergence, or derived from one."""
    return any(kind.__name__ in ALGORITHMS for kind in type(model).__mro__)


class KLAdaptiveCallback(Mover):
    """Raise the learning rate where updates move the policy too little, and lower it where they move it too far.

    The rule of rsl_rl, skrl and rl_games: after each update, by the approximate KL divergence between
    the policies before and after it, which PPO, MaskablePPO and RecurrentPPO log as ``train/approx_kl``
    (the mean over the update's last epoch; in SBX's PPO over all of them). Begins at the rate of the user's, and
    multiplies whatever schedule that is. Beside :class:`AbelCallback` it may fall and not rise while the final
    decay is in force.

    :param target_kl: KL divergence of an update that is left as it is
    :param step: above 1; the rate is divided by it above twice the target, multiplied below half of it
    :param min_learning_rate: smallest rate that is applied, whatever lowers it, decays of :class:`AbelCallback`
        included; never raises the user's own. None for 1e-5 as the smallest that the KL divergence leads to, and
        none for the decays
    :param max_learning_rate: largest rate, before the factors of other callbacks
    :param verbose: 1 prints at the end where it has led, 2 each change
    :raises ValueError: for an argument out of its range; when a training begins, for an algorithm without a KL
    """

    NAME = "kl"

    @known_arguments
    def __init__(
        self,
        target_kl: float = 0.01,
        step: float = 1.5,
        min_learning_rate: float | None = None,
        max_learning_rate: float = 1e-2,
        *,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.target_kl = check_above("target_kl", target_kl, 0)
        self.step = check_above("step", step, 1)
        # The KL divergence has a bound of its own, which is none of the decays.
        self._floor = 0.0 if min_learning_rate is None else check_number("min_learning_rate", min_learning_rate, 0)
        self.min_learning_rate = LOWEST if min_learning_rate is None else self._floor
        self.max_learning_rate = check_above("max_learning_rate", max_learning_rate, self.min_learning_rate)
        self._memory: dict[str, Any] = {"factor": 1.0}
        self._rates: list[float] = []

    @property
    def factor(self) -> float:
        """What the user's rate is multiplied by: in all, within the bounds."""
        return float(self._memory["factor"])

    def _init_callback(self) -> None:
        super()._init_callback()
        if not has_kl(self.model):
            raise ValueError(
                f"{type(self).__name__} needs an algorithm that logs an approximate KL divergence, one of "
                f"{list(ALGORITHMS)}, got {type(self.model).__name__}"
            )
        if is_jax(self.model) and getattr(self.model, "target_kl", None) is not None:
            raise ValueError(
                "PPO of SBX with a target_kl adapts its learning rate to the KL divergence by itself: leave out "
                f"target_kl, or take AbelCallback in place of {type(as_given(self)).__name__}"
            )

    def _begin(self) -> None:
        self._memory = section(self.model, self.NAME)
        now = clock(self.model)
        if now.timesteps == 0 or now.timesteps < self._memory.get("timesteps", 0):
            # Another training, of a new model or after a reset.
            self._memory.update(factor=1.0)
        self._memory.setdefault("factor", 1.0)
        self._memory.update(timesteps=now.timesteps, n_updates=now.updates)
        self._factor.low, self._factor.high = self.min_learning_rate, self.max_learning_rate
        self._factor.floor = self._floor
        self._apply()
        self._record()
        self._rates = []

    def _after_update(self) -> None:
        now, before = clock(self.model), self._memory["n_updates"]
        self._memory.update(timesteps=now.timesteps, n_updates=now.updates)
        if now.updates != before and (kl := self._measure()) is not None:
            self._decide(kl)
            self._apply()
        self._record()

    def _measure(self) -> float | None:
        """The KL divergence of the latest update, which stays in the logger until the next dump."""
        kl = self.logger.name_to_value.get(KL)
        if kl is None:
            self._warn(
                "no kl", f"{type(self.model).__name__} has logged no {KL} in an update, so the rate stays as it is"
            )
        return None if kl is None else float(kl)

    def _decide(self, kl: float) -> None:
        if (asked := self._rate.asked) is None:
            return
        now = min(max(asked * self.factor, self.min_learning_rate), self.max_learning_rate)
        bounds = self.min_learning_rate, self.max_learning_rate
        adapted = kl_adapted(now, kl, self.target_kl, self.step, *bounds)
        self._rates = self._rates or [now]
        if adapted > now and self._rate.is_final:
            return
        if adapted != now and asked > 0:
            self._memory["factor"] = adapted / asked
            self._rates.append(adapted)
            if self.verbose >= 2:
                self._say(f"timestep {self.model.num_timesteps}: KL {kl:.2g}; learning rate {now:g} -> {adapted:g}")

    def _end(self) -> None:
        if self._rates:
            first, *_, last = *self._rates[:1], *self._rates
            self._say(
                f"the KL divergence of the updates has led the learning rate from {first:.2g} to {last:.2g}, between "
                f"{min(self._rates):.2g} and {max(self._rates):.2g}"
            )

    def _apply(self) -> None:
        self._factor.value = self.factor

    def _record(self) -> None:
        self.logger.record("abel/kl_factor", self.factor)


KLAdaptiveCallback.KIND = KLAdaptiveCallback
