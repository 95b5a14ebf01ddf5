"""The applied learning rate of a model in one ``learn()``: movers set their factors here, and it is seen to arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rl_abel._warnings import warn
from rl_abel.learning_rate.jax_rates import JaxRates
from rl_abel.learning_rate.multiplied_schedule import MultipliedSchedule, Multiplier, multiplied, unscaled
from rl_abel.learning_rate.param_groups import Group, SteppedRates
from rl_abel.learning_rate.verification import Verification, does_not_follow, overwritten
from rl_abel.networks.jax_models import is_jax
from rl_abel.networks.norms import labels
from rl_abel.networks.optimizers import at_hand, optimizers

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class AppliedRate:
    """The schedule of one model in one ``learn()``, multiplied by the factors of all movers that stand side by side.

    :param model: its ``lr_schedule`` may be replaced by others at any time: what they set is multiplied
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model, self._started = model, model.start_time
        self.factors: dict[str, Multiplier] = {}
        self.schedule: MultipliedSchedule | None = None  # the model's, as it was set here last
        self._jax = JaxRates(model, self) if is_jax(model) else None
        self._steps = SteppedRates(self._ratio, lambda: self.in_force)
        self._verification = Verification()
        self._said: set[str] = set()
        self._updating = False
        self._n_updates = 0
        # The user's rate and the applied one, as the latest update asked for them; None since one began.
        self._told: tuple[float, float] | None = None
        self._plain: float | None = None
        # Groups whose rate SB3 sets, each with the rate that it was left with.
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
        self.schedule = MultipliedSchedule(unscaled(self._model.lr_schedule), self)
        self._model.lr_schedule = self.schedule
        self._learning_rate = self._model.learning_rate
        return self

    def _release(self) -> None:
        self.schedule = None
        self._steps.release()
        if self._jax:
            self._jax.detach()

    def require_movable(self, who: str) -> None:
        """Raise an error where nothing can move the rate of this model.

        :param who: wants to move it
        :raises ValueError: with what to build the model with
        """
        if self._jax:
            self._jax.require_movable(who)

    def split(self) -> set[str]:
        """Return the parts that can have rates of their own now."""
        if self._jax:
            return self._jax.parts
        self.look()
        return self._steps.parts

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
        """Whether the KL divergence leads the rate, so that it is not the user's."""
        return "kl" in self.factors

    @property
    def asked(self) -> float | None:
        """The user's own rate as the latest update asked for it, None if it did not ask."""
        return self._told[0] if self._told else None

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's, for a part or for parameters of none."""
        return multiplied(learning_rate, self.factors, part)

    def of_part(self, part: str | None) -> float | None:
        """Return the rate that the latest update was told for a part, None where it was told none."""
        if self._jax:
            return self._jax.latest.get(part or "policy")
        return None if self.asked is None else self.moved(self.asked, part)

    def _ratio(self, part: str) -> float:
        plain, applied = self._told or (1.0, self.moved(1.0))
        return self.moved(plain, part) / applied if applied > 0 else 1.0

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
        if not self._jax:
            found = optimizers(self._model)
            self._steps.look(found, labels(self._model))
            groups = [group for optimizer in found for group in optimizer.param_groups if "lr" in group]
            self._noted = {id(group): (group, group["lr"]) for group in groups} | self._noted

    def begin_update(self) -> None:
        """See to it that the update that begins now runs at the rates that are in force.

        Off-policy this comes at every step, and has to be quick.
        """
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
            self._jax.ran = False

    def answer(self, plain: float, progress_remaining: float) -> float:
        """Return the applied rate to whoever asks the schedule; SBX, whose rates are moved apart, gets the user's own.

        Others than the update may ask too, between updates or at another progress. That sets no rate.
        """
        applied = self.moved(plain)
        if self._updating and progress_remaining == self._model._current_progress_remaining:
            if self._told is None and (lost := overwritten(self._noted.values())):
                self.warn_once("param_groups", lost)
            # The latest counts: another may ask before the update does, while factors still change.
            self._told = plain, applied
        return plain if self._jax and self._jax.within else applied

    def end_update(self, touched: Callable[[], bool] = lambda: False) -> None:
        """Look at what the update did that began last, if there was one.

        :param touched: returns whether weights are known to have moved; not every algorithm counts its updates
        """
        if not self._updating:
            return
        self._updating = False
        counted = getattr(self._model, "_n_updates", 0) != self._n_updates
        if counted:
            self._steps.note_others()
        self._see_to_steps(lambda: counted or touched())
        if ran := self._steps.ran:
            self._verify([(group, rate) for group, rate in ran.values() if self._steps.is_labelled(group)])
        if ran or self._told:
            follow = self._told[1] if self._told else None
            self._noted = {key: (group, rate) for key, (group, rate) in ran.items() if rate == follow}

    def _see_to_steps(self, updated: Callable[[], bool]) -> None:
        """Warn if weights were updated where no rate of ours could reach them."""
        if self._jax:
            if not (self._jax.ran or self._told) and (self._moves or self._apart) and updated():
                self.warn_once(
                    "no train", "the learning rate has moved nothing: weights were updated outside of train()"
                )
        elif self._apart and self._steps.parts and not self._steps.ran and updated():
            # Its optimizer may be another now.
            self.look()
            self.warn_once(
                "no step",
                "the rates of the parts have moved nothing: no optimizer that was found has stepped in an update",
            )

    def _verify(self, ran: list[tuple[Group, float]]) -> None:
        """Warn if groups of the policy ran at other rates than they were given."""
        applied = None
        lost = [rate for _, rate in ran] if self._moves else []
        self._plain = self.asked if self._told else self._plain
        if self._plain is not None:
            # Without having asked an update runs at the rate that it was told before.
            applied = self._told[1] if self._told else self.moved(self._plain)
            lost = self._verification.lost(ran, self._plain, applied)
        if lost:
            self.warn_once("does not follow", does_not_follow(lost, len(ran), applied))

    def warn_once(self, key: str, message: str) -> None:
        """Warn once a ``learn()``, whichever mover it concerns."""
        if key not in self._said:
            self._said.add(key)
            warn(message)
