"""The applied learning rate of a model in one ``learn()``: movers set their factors here, and it is seen to arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isclose
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_abel._warnings import warn
from rl_abel.learning_rate.jax_rates import JaxRates
from rl_abel.learning_rate.multiplied_schedule import MultipliedSchedule, Multiplier, multiplied, unscaled
from rl_abel.learning_rate.while_stepping import Group, SteppedRates
from rl_abel.networks.jax_models import is_jax
from rl_abel.networks.norms import labels
from rl_abel.networks.optimizers import at_hand, optimizers
from rl_abel.rules.decays import OUTSIDE


class AppliedRate:
    """The schedule of one model in one ``learn()``, whoever sets it, multiplied by the factors of all movers."""

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model, self._started = model, model.start_time
        self.factors: dict[str, Multiplier] = {}
        self.schedule: MultipliedSchedule | None = None  # the model's, as it was set here last
        self._jax = JaxRates(model, self) if is_jax(model) else None
        self._steps = SteppedRates(self)
        # Of a group's first parameter: its rate over the schedule's, where these differ.
        self._multiples: dict[torch.Tensor, float] = {}
        self._said: set[str] = set()
        self._updating = False
        self._n_updates = 0
        # The user's rate and the applied one, as the latest update asked for them; None since one began.
        self._told: tuple[float, float] | None = None
        self._moved: tuple[Any, float] = None, 0.0  # the latest answer of moved(), after what it was made from
        self._plain: float | None = None  # the user's rate when an update asked last
        # Groups whose rate SB3 sets, by id, each with the rate that it was left with.
        self._noted: dict[int, tuple[Group, float]] = {}
        self.hold()
        self.look()

    @classmethod
    def of(cls, model: BaseAlgorithm) -> AppliedRate:
        """Return the one of the ``learn()`` that a model is in: movers of one training share it."""
        return cls.in_force_on(model) or cls(model)

    @classmethod
    def in_force_on(cls, model: BaseAlgorithm) -> AppliedRate | None:
        """Return the one of the ``learn()`` that a model is in, None outside of one."""
        schedule = model.lr_schedule
        return schedule.applied if isinstance(schedule, MultipliedSchedule) and schedule.in_force else None

    # Movers

    def join(self, name: str) -> Multiplier:
        """Return the factor of a mover, which it may change whenever it wants to."""
        if self._jax:
            self._jax.attach()
        factor = self.factors[name] = Multiplier()
        return factor

    def leave(self, name: str) -> None:
        """Take a mover's factor away; after the last the model has its own schedule back."""
        self.factors.pop(name, None)
        if not self.factors:
            self._release()
            self._model.lr_schedule = unscaled(self._model.lr_schedule)

    def hold(self) -> AppliedRate:
        """Multiply whatever schedule the model has now; return which one does so from now on."""
        if self._model.lr_schedule is self.schedule:
            return self
        if other := AppliedRate.in_force_on(self._model):
            # A mover that began after others had set a schedule found none of ours.
            self._release()
            other.factors |= self.factors
            if other._jax:
                other._jax.attach()
            return other
        self.schedule = self._model.lr_schedule = MultipliedSchedule(unscaled(self._model.lr_schedule), self)
        self._learning_rate = self._model.learning_rate
        return self

    def _release(self) -> None:
        self.schedule = None
        self._steps.release()
        if self._jax:
            self._jax.detach()

    def require_movable(self, who: str) -> None:
        """Raise a ValueError, with what to build the model with, where ``who`` cannot move its rate."""
        if self._jax:
            self._jax.require_movable(who)

    def split(self) -> set[str]:
        """Return the parts that can have rates of their own now."""
        self.look()
        return self._jax.parts if self._jax else self._steps.parts

    # What is in force

    @property
    def in_force(self) -> bool:
        """Whether the ``learn()`` that this was made for is still the latest."""
        return self.schedule is not None and self._model.start_time == self._started

    @property
    def is_final(self) -> bool:
        """Whether the last decay of the training is in force, so that no rate may rise."""
        return any(factor.final for factor in self.factors.values())

    @property
    def is_led(self) -> bool:
        """Whether the rate is another than the user's, which decays multiply."""
        return "lead" in self.factors

    @property
    def asked(self) -> float | None:
        """The user's own rate as the latest update asked for it, None if it did not ask."""
        return self._told[0] if self._told else None

    @property
    def set_for_all(self) -> float | None:
        """The rate that SB3 has set for the latest update, None if it did not ask."""
        return self._told[1] if self._told else None

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's, for a part or for parameters of none."""
        if part is not None:
            return multiplied(learning_rate, self.factors, part)
        # SB3 asks once for the log and once an optimizer, off-policy at every step.
        of = learning_rate, Multiplier.latest_change, len(self.factors)
        if self._moved[0] != of:
            self._moved = of, multiplied(learning_rate, self.factors)
        return self._moved[1]

    def of_part(self, part: str) -> float | None:
        """Return the rate that the latest update was told for a part, None where it was told none."""
        if self._jax:
            return self._jax.latest.get(part)
        return None if self.asked is None else self.moved(self.asked, part)

    def ratios(self, parts: Iterable[str]) -> dict[str, float]:
        """Return the rate of each part, and of what is outside of the policy, over that which SB3 has set for all.

        Those that are 1 are left out.
        """
        factors = self.factors.values()
        # Where no mover tells parts apart there is nothing to compute.
        apart = [*parts, OUTSIDE] if any(factor.by_part for factor in factors) else [OUTSIDE]
        plain, applied = self._told or (1.0, self.moved(1.0))
        rates = {part: self.moved(plain, part) for part in apart} if applied > 0 else {}
        return {part: rate / applied for part, rate in rates.items() if rate != applied}

    @property
    def _moves(self) -> bool:
        return any(factor.value != 1 or factor.rate is not None for factor in self.factors.values())

    @property
    def _apart(self) -> bool:
        return any(value != factor.value for factor in self.factors.values() for value in factor.by_part.values())

    # One update: after the rollout's end, until the next event

    def look(self) -> None:
        """Find the optimizers that the model has now."""
        self._places = at_hand(self._model)
        found = optimizers(self._model)
        self._steps.look(found, labels(self._model))
        groups = [group for optimizer in found for group in optimizer.param_groups if "lr" in group]
        self._noted = {id(group): (group, group["lr"]) for group in groups} | self._noted

    def begin_update(self) -> None:
        """Begin an update at the rates in force; off-policy it comes at every step, and has to be quick."""
        if self._updating:
            return  # another mover has begun it
        learning_rate = self._model.learning_rate
        if learning_rate is not self._learning_rate and learning_rate != self._learning_rate:
            self.warn_once(
                "learning_rate",
                f"model.learning_rate was set to {learning_rate!r} in mid-training, which moves nothing: "
                "stable-baselines3 reads it when a model is made or loaded. Wrap model.lr_schedule, or use RateByPart",
            )
        if self._places != at_hand(self._model):
            self.look()
        self._n_updates = getattr(self._model, "_n_updates", 0)
        self._updating, self._told = True, None
        self._steps.begin_update()
        if self._jax:
            self._jax.latest = {}

    def answer(self, plain: float, progress_remaining: float) -> float:
        """Return the applied rate to whoever asks the schedule; to SBX, whose rates move apart, the user's own."""
        applied = self.moved(plain)
        # Others than the update may ask too, between updates or at another progress. That sets no rate.
        if self._updating and progress_remaining == self._model._current_progress_remaining:
            if self._told is None:
                self._warn_of_overwritten()
            # The latest counts: another may ask before the update does, while factors still change.
            self._told = plain, applied
        return plain if self._jax and self._jax.within else applied

    def end_update(self, touched: Callable[[], bool] = lambda: False) -> None:
        """Look at what the latest update did; where none is counted, ``touched`` tells whether weights have moved."""
        if not self._updating:
            return
        self._updating = False
        counted, ran = getattr(self._model, "_n_updates", 0) != self._n_updates, self._steps.ran
        if counted:
            self._steps.note_others()
        # Where no optimizer holds a part there is nothing to reach.
        reached = self._jax.latest or self._told if self._jax else ran or not self._steps.parts
        if not reached and (self._apart or (self._jax and self._moves)) and (counted or touched()):
            self.look()  # an optimizer may be another now
            where = "train()" if self._jax else "the optimizers that were found"
            self.warn_once("no step", f"the learning rate has moved nothing: weights were updated outside of {where}")
        self._plain, follow = self._told or (self._plain, None)
        others = [(group, rate) for group, rate in ran.values() if rate != follow]
        if others:
            self._verify([(group, rate) for group, rate in ran.values() if self._steps.is_labelled(group)])
        if ran or self._told:
            self._noted = {key: noted for key, noted in ran.items() if noted[1] == follow} if others else dict(ran)

    def _verify(self, ran: list[tuple[Group, float]]) -> None:
        """Warn if groups of the policy ran at other rates than they were given."""
        if self._plain is not None:
            # Without having asked, an update runs at the rate that it was told before.
            told = self._told or (self._plain, self.moved(self._plain))
            lost = [(rate, told[1]) for group, rate in ran if self._is_lost(group, rate, *told)]
            self.warn_lost(lost, f"{len(ran)} parameter groups")
        elif self._moves:
            self.warn_lost([(rate, None) for _, rate in ran], f"{len(ran)} parameter groups")

    def _is_lost(self, group: Group, rate: float, plain: float, applied: float) -> bool:
        """Whether a group did not run at the applied rate, nor at the same multiple of it as before."""
        if rate == applied or applied <= 0:
            return False
        before = self._multiples.get(group["params"][0])
        if plain != applied and before is not None:
            return not _near(rate / applied, before)
        self._multiples[group["params"][0]] = rate / applied
        return plain != applied and _near(rate, plain)

    # What is said

    def _warn_of_overwritten(self) -> None:
        """Warn if others have set rates that SB3 is about to overwrite."""
        others = [f"{float(group['lr']):g}" for group, rate in self._noted.values() if group["lr"] != rate]
        if others:
            self.warn_once(
                "param_groups",
                f"the learning rate of {len(others)} parameter groups was set to {', '.join(dict.fromkeys(others))} in "
                "mid-training, which moves nothing: before each update stable-baselines3 sets it from "
                "model.lr_schedule. Wrap that, or use RateByPart for a rate of each network",
            )

    def warn_lost(self, ran: Sequence[tuple[float, float | None]], of: str) -> None:
        """Warn of rates that an update ran at and was not given, each beside the one that it was, None if not known."""
        lost = [(rate, given) for rate, given in ran if given is None or not _near(rate, given)]
        shown = (f"{float(rate):g}" + ("" if given is None else f" in place of {given:g}") for rate, given in lost)
        if lost:
            self.warn_once(
                "does not follow",
                f"the learning rate of {len(lost)} of {of} does not follow: the last update ran at "
                f"{', '.join(dict.fromkeys(shown))}. Something else sets it: a callback that sets lr_schedule after "
                "ours has (then list ours last), a schedule in optimizer_class, or an algorithm with a rate of its own",
            )

    def warn_once(self, key: str, message: str) -> None:
        """Warn once a ``learn()``, whichever mover it concerns."""
        if key not in self._said:
            self._said.add(key)
            warn(message)


def _near(rate: float, other: float) -> bool:
    return isclose(rate, other, rel_tol=1e-6)
