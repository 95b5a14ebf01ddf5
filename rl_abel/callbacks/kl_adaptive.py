"""KLAdaptiveCallback: the rate of the robotics libraries, which rises where updates move the policy too little."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from rl_abel._validation import check_above, check_number, known_arguments
from rl_abel.callbacks.base import LearningRateCallback
from rl_abel.callbacks.placement import as_given
from rl_abel.learning_rate.multiplied_schedule import described, unscaled
from rl_abel.networks.jax_models import is_jax
from rl_abel.training.measure_interval import rollout_timesteps
from rl_abel.training.resume import DOUBTFUL, goes_on, look
from rl_abel.training.state import section

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = ("PPO", "MaskablePPO", "RecurrentPPO")
"""Those that log an approximate KL divergence of the steps that the rate makes (TRPO's are a line search's)."""

KL = "train/approx_kl"

LOWEST = 1e-5
"""Smallest rate that the KL divergence leads to, as in rsl_rl."""

ROUNDING = 3e-8
"""A KL divergence of less is rounding: in single precision a policy that hardly moves (rate 1e-6) has 1e-8 to 2e-8."""

MANY = 10
"""Updates in a row after which is said that they led nowhere."""

APART = 4.0
"""Ratio of rates whose updates differ by twice at least, if it is the rate that moves the policy."""


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
    of it, unless it is 0 or less or not finite (no estimate), within the bounds. The lower one raises no rate.

    >>> kl_adapted(1e-3, kl=0.03), kl_adapted(1e-3, kl=0.001), kl_adapted(1e-3, kl=0.01), kl_adapted(1e-3, kl=0.0)
    (0.0006666666666666666, 0.0015, 0.001, 0.001)
    """
    if 2 * target_kl < kl < math.inf:
        return max(min(min_learning_rate, learning_rate), learning_rate / step)
    if 0 < kl < target_kl / 2:
        return min(max_learning_rate, learning_rate * step)
    return learning_rate


def has_kl(model: BaseAlgorithm) -> bool:
    """Whether the model is of an algorithm that logs an approximate KL divergence, or derived from one."""
    return any(kind.__name__ in ALGORITHMS for kind in type(model).__mro__)


class KLAdaptiveCallback(LearningRateCallback):
    """Raise the learning rate where updates move the policy too little, and lower it where they move it too far.

    The rule of rsl_rl, skrl and rl_games: after each update, by the approximate KL divergence between
    the policies before and after it, which PPO, MaskablePPO and RecurrentPPO log as ``train/approx_kl``
    (the mean over the update's last epoch; in SBX's PPO over all of them). Begins at the user's own rate, and leads
    from there: of a schedule only the first rate counts. The rate that was found is kept with the model, until a
    reset or another ``learning_rate`` of the user's. Beside :class:`AbelCallback` it may fall and not rise while the
    final decay is in force.

    Of two targets, this one and the model's own ``target_kl``, the smaller counts, and an update that SB3 ends by it
    can lower the rate, not raise it. Where the KL divergence stays what it is at any rate, as with dropout in the
    policy, the rate is the user's again.

    :param target_kl: KL divergence of an update that is left as it is
    :param step: above 1; the rate is divided by it above twice the target, multiplied below half of it
    :param min_learning_rate: smallest rate that is applied, whatever lowers it, decays of :class:`AbelCallback`
        included; never raises the user's own. None for 1e-5 as the smallest that the KL divergence leads to, and
        none for the decays
    :param max_learning_rate: largest rate, before the multipliers of RateByPart
    :param verbose: 1 prints at the end where it has led, 2 each change
    :raises ValueError: for an argument out of its range; when a training begins, for an algorithm without a KL
    """

    NAME = "kl"
    PASSING: ClassVar[tuple[str, ...]] = (*LearningRateCallback.PASSING, "_handle")
    _handle: Any = None

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
        self._memory: dict[str, Any] = {}

    @property
    def factor(self) -> float:
        """The rate that the KL divergence has led to, over the user's own as the latest update asked for it."""
        rate, asked = self._memory.get("rate"), self._memory.get("asked")
        return float(rate / asked) if rate and asked and asked > 0 else 1.0

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
        memory = self._memory = section(self.model, self.NAME)
        of = described(unscaled(self.model.lr_schedule))
        on = goes_on(self.model, self.NAME, memory["seen"]) if memory.get("of") == of else False
        if on is False:
            memory.clear()
            memory.update(of=of, rate=None, asked=None)
        elif on is None:
            self._rate.warn_once("doubtful", DOUBTFUL)
        memory["seen"] = look(self.model, self.NAME)
        # Of this learn(): the rates; of the latest updates in a row that ask for a change in one direction, the rate
        # and the KL divergence of each; and how many in a row asked for more than the bounds allow, or told nothing.
        self._rates: list[float] = []
        self._streak: list[tuple[float, float]] = []
        self._at_bound = self._untold = 0
        self._leads = True
        self._count_steps(False)
        self._apply()
        self._record()

    def _before_update(self) -> None:
        self._count_steps(self._leads and getattr(self.model, "target_kl", None) is not None)

    def _after_update(self) -> None:
        memory, epochs = self._memory, self._memory["seen"][1]
        memory["seen"] = look(self.model, self.NAME)
        epochs = memory["seen"][1] - epochs
        asked = self._rate.asked
        if epochs and asked is not None:
            if memory["rate"] and memory["asked"] not in (None, asked):
                self._warn(
                    "schedule",
                    f"the KL divergence leads the learning rate from {memory['rate']:g} on: what the model's schedule "
                    f"says, {asked:g} now, counts no more. Leave out {type(as_given(self)).__name__} to follow it",
                )
            memory["asked"] = asked
            if self._leads and memory["rate"] is None and asked > 0:
                memory["rate"] = first = min(asked, self.max_learning_rate)
                if asked > first:
                    self._warn("max", f"the learning rate begins at {first:g}, the max_learning_rate, not at {asked:g}")
            if memory["rate"]:
                self._decide(memory["rate"], *self._measure(epochs))
        self._count_steps(False)
        self._apply()
        self._record()

    # Measure

    def _measure(self, epochs: int) -> tuple[float, bool]:
        """The KL divergence of the latest update, NaN where it is none of the rate's, and whether it was ended early.

        :param epochs: of the update, as SB3 counts them: one that was ended too
        """
        # It stays in the logger until the next dump.
        logged, target_kl = self.logger.name_to_value.get(KL), getattr(self.model, "target_kl", None)
        if logged is None:
            self._warn(
                "no kl", f"{type(self.model).__name__} has logged no {KL} in an update, so the rate stays as it is"
            )
        kl = math.nan if logged is None else float(logged)
        counted, n_epochs = self._handle is not None, getattr(self.model, "n_epochs", 0)
        cut = epochs < n_epochs or (counted and self._steps < self._of)
        if cut and target_kl is not None:
            # What has ended it, in a share of the update; before the first step it was none of the rate's.
            share = self._steps / self._of if counted else epochs / n_epochs
            kl = max(kl, 1.5 * target_kl) / share if share else math.nan
        elif self._steps_of_update() == 1:
            # SB3 measures before each step.
            kl = math.nan
        return (kl if ROUNDING < kl < math.inf else math.nan), cut

    def _count_steps(self, wanted: bool) -> None:
        """Count the optimizer's steps in the update that comes, or no more."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        optimizer = getattr(self.model.policy, "optimizer", None)
        if wanted and isinstance(optimizer, torch.optim.Optimizer):
            self._steps, self._of = 0, 1
            self._handle = optimizer.register_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        # The batch as it is now: it may have grown in place of a decay.
        self._steps, self._of = self._steps + 1, self._steps_of_update()

    def _steps_of_update(self) -> int:
        model: Any = self.model
        rollout = rollout_timesteps(model)
        return int(model.n_epochs * math.ceil(rollout / (model.batch_size or rollout)))

    # Decide

    def _decide(self, rate: float, kl: float, cut: bool) -> None:
        # More than the model's own lets an update move would be aimed at for ever.
        target_kl = min(self.target_kl, getattr(self.model, "target_kl", None) or math.inf)
        adapted = kl_adapted(rate, kl, target_kl, self.step, self.min_learning_rate, self.max_learning_rate)
        too_far, too_little = kl > 2 * target_kl, kl < target_kl / 2
        wanted = too_far or (too_little and not cut and not self._rate.is_final)
        adapted = adapted if wanted else rate
        if wanted and self._streak and (self._streak[-1][1] > target_kl) == too_far:
            self._streak.append((rate, kl))
        else:
            self._streak = [(rate, kl)] if wanted else []
        self._at_bound = self._at_bound + 1 if wanted and adapted == rate else 0
        self._untold = self._untold + 1 if math.isnan(kl) or (cut and too_little) else 0
        self._rates.append(rate)
        if self._untold == MANY:
            self._warn(
                "untold",
                f"{MANY} updates in a row did not tell whether the learning rate moves the policy enough, as "
                + ("target_kl ends them" if cut else f"{KL} is no measure of it there: 0, not finite, or of one step")
                + f". It stays at {rate:g} until one does",
            )
        if not cut and self._is_unmoved(too_far):
            self._memory["rate"], self._leads = None, False
            (first, then), (last, now) = self._streak[0], self._streak[-1]
            self._warn(
                "unmoved",
                f"the KL divergence of updates was {then:.2g} at a learning rate of {first:.2g}, and is {now:.2g} at "
                f"{last:.2g}: something else makes it (dropout, batch normalisation, a policy that is frozen). So it "
                "leads no more, and the rate is the model's own again. Take AbelCallback alone",
            )
            return
        if self._at_bound == MANY:
            bound, far = ("min_learning_rate", "far") if too_far else ("max_learning_rate", "little")
            self._warn(
                bound,
                f"the learning rate has come to {rate:g} and goes no further, while {MANY} updates in a row moved the "
                f"policy too {far}. Give another {bound}, or another target_kl",
            )
        if adapted != rate:
            self._memory["rate"] = adapted
            if self.verbose >= 2:
                self._say(f"timestep {self.model.num_timesteps}: KL {kl:.2g}; learning rate {rate:g} -> {adapted:g}")

    def _is_unmoved(self, too_far: bool) -> bool:
        """Whether many changes of the rate in one direction have left the KL divergence where it was.

        One that is small may begin to rise late.
        """
        if (len(self._streak) if too_far else self._at_bound) != MANY:
            return False
        rates, kls = zip(*self._streak)
        response = median(kls[-3:]) / median(kls[:3])
        return max(rates) >= APART * min(rates) and bool(response > 0.5 if too_far else response < 2)

    def _end(self) -> None:
        if self._rates:
            first, last = self._rates[0], self._memory["rate"] or self._memory["asked"]
            self._say(
                f"the KL divergence of the updates has led the learning rate from {first:.2g} to {last:.2g}, between "
                f"{min(*self._rates, last):.2g} and {max(*self._rates, last):.2g}"
            )

    def _apply(self) -> None:
        self._factor.rate, self._factor.floor = self._memory["rate"], self._floor
        self._factor.high = self.max_learning_rate if self._leads else math.inf

    def _record(self) -> None:
        self.logger.record("abel/kl_factor", self.factor)


KLAdaptiveCallback.KIND = KLAdaptiveCallback
