"""The learning rate that the KL divergence of each update leads to. Standard library only."""

import math
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

LOWEST = 1e-5  # smallest rate that the KL divergence leads to, as in rsl_rl
ROUNDING = 3e-8  # A smaller KL divergence is rounding: in single precision a policy that hardly moves has 1e-8 to 2e-8
MANY = 10  # updates in a row after which it is said that they led nowhere
APART = 4.0  # if the rate moves the policy, two rates at this ratio give KL divergences that differ twofold at least


def kl_adapted(
    learning_rate: float,
    kl: float,
    target_kl: float = 0.01,
    step: float = 1.5,
    min_learning_rate: float = LOWEST,
    max_learning_rate: float = 1e-2,
) -> float:
    """Return the rate after an update that has moved the policy by a KL divergence of ``kl``.

    As in rsl_rl the rate is divided by ``step`` above twice the target, and multiplied by it below half of the
    target, within the bounds. A KL divergence of 0 or less, or one that is not finite, is no estimate and changes
    nothing. The lower bound raises no rate.

    >>> kl_adapted(1e-3, kl=0.03), kl_adapted(1e-3, kl=0.001), kl_adapted(1e-3, kl=0.01), kl_adapted(1e-3, kl=0.0)
    (0.0006666666666666666, 0.0015, 0.001, 0.001)
    """
    if 2 * target_kl < kl < math.inf:
        return max(min(min_learning_rate, learning_rate), learning_rate / step)
    if 0 < kl < target_kl / 2:
        return min(max_learning_rate, learning_rate * step)
    return learning_rate


class Update(NamedTuple):
    """What one update tells."""

    kl: float  # KL divergence that the learning rate has made, NaN where that is not known
    cut: bool = False  # whether the model's own target_kl has ended the update early


def told(logged: float | None, steps: int, steps_of_whole: int, own_target: float | None) -> Update:
    """Return what an update tells, of its logged KL divergence, if any, and of the optimizer steps that it has made.

    :param steps_of_whole: optimizer steps in an update that nothing ends
    :param own_target: the model's ``target_kl``; SB3 ends an update at 1.5 times that

    >>> told(0.01, 8, 8, None), told(0.01, 2, 8, own_target=0.02), told(0.01, 0, 8, 0.02), told(0.01, 1, 1, None)
    (Update(kl=0.01, cut=False), Update(kl=0.12, cut=True), Update(kl=nan, cut=True), Update(kl=nan, cut=False))
    """
    kl, cut = math.nan if logged is None else float(logged), steps < steps_of_whole
    if cut and own_target is not None:
        # Extrapolated to a whole update. What ends one before its first step was not made by the rate.
        kl = max(kl, 1.5 * own_target) * steps_of_whole / steps if steps else math.nan
    elif steps_of_whole == 1:
        # SB3 measures before each step, so before the only one.
        kl = math.nan
    return Update(kl if ROUNDING < kl < math.inf else math.nan, cut)


@dataclass(frozen=True)
class KLState:
    """What the rule knows after some updates. Counts are of the latest updates in a row."""

    streak: tuple[tuple[float, float], ...] = ()  # (learning rate, KL) of updates that ask for a change one way
    at_bound: int = 0  # updates that ask for more than the bounds allow
    untold: int = 0  # updates that do not tell whether the rate moves the policy enough
    leads: bool = True  # False once the KL divergence has turned out to be the same at any rate


@dataclass(frozen=True)
class KLRule:
    """The arguments of :func:`kl_adapted`, and when many updates have led nowhere."""

    target_kl: float = 0.01
    step: float = 1.5
    min_learning_rate: float = LOWEST
    max_learning_rate: float = 1e-2

    def observe(
        self, state: KLState, learning_rate: float, update: Update, may_rise: bool = True
    ) -> tuple[KLState, float, str]:
        """Return the state after one more update at a rate, the rate of the next one, and what there is to say of it.

        That is "" for nothing, "cut" or "untold" after many updates that did not tell, "unmoved" where the KL
        divergence leads no more, and the name of a bound that many updates would have passed.
        """
        kl, cut = update
        too_far, too_little = kl > 2 * self.target_kl, kl < self.target_kl / 2
        if math.isnan(kl) or (cut and too_little):
            state = KLState(untold=state.untold + 1)
            return state, learning_rate, ("cut" if cut else "untold") if state.untold == MANY else ""
        if not (too_far or (too_little and may_rise)):
            return KLState(), learning_rate, ""
        adapted = kl_adapted(learning_rate, kl, **vars(self))
        goes_on = state.streak and (state.streak[-1][1] > self.target_kl) == too_far
        streak = (*(state.streak if goes_on else ()), (learning_rate, kl))
        at_bound = state.at_bound + 1 if adapted == learning_rate else 0
        # A small KL divergence may begin to rise late: a rate that rises has to come to its bound first.
        if not cut and (len(streak) if too_far else at_bound) == MANY and _is_unmoved(streak, too_far):
            return KLState(streak, leads=False), learning_rate, "unmoved"
        bound = "min_learning_rate" if too_far else "max_learning_rate"
        return KLState(streak, at_bound), adapted, bound if at_bound == MANY else ""


def _is_unmoved(streak: tuple[tuple[float, float], ...], too_far: bool) -> bool:
    """Whether changes of the rate in one direction have left the KL divergence where it was."""
    rates, kls = zip(*streak)
    response = median(kls[-3:]) / median(kls[:3])
    return bool(max(rates) >= APART * min(rates) and (response > 0.5 if too_far else response < 2))
