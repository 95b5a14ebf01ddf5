"""The applied learning rate of a model in one ``learn()``: movers set their factors here, and it is seen to arrive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rl_abel._warnings import warn
from rl_abel.learning_rate.jax_rates import JaxRates
from rl_abel.learning_rate.multiplied_schedule import ORDER, MultipliedSchedule, Multiplier, unscaled
from rl_abel.learning_rate.param_groups import PartRates
from rl_abel.learning_rate.verification import Verification
from rl_abel.networks.jax_models import is_jax
from rl_abel.networks.norms import measured_groups
from rl_abel.networks.optimizers import at_hand

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class AppliedRate:
    """The schedule of one model in one ``learn()``, multiplied by the factors of all movers that stand side by side.

    :param model: its ``lr_schedule`` may be replaced by others at any time: what they set is multiplied
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model = model
        self._factors: dict[str, Multiplier] = {}
        self._scaled: MultipliedSchedule | None = None
        self._parts: PartRates | None = None
        self._jax = JaxRates(model, self) if is_jax(model) else None
        self._said: set[str] = set()
        self._promised: object = None
        self._verified: object = None
        # Whether rates of parts that were promised differ.
        self._divided = False
        self._updating = False
        self._n_updates = 0
        self._last_set: float | None = None
        self._witness = Verification(model, lambda group: self._parts.plain(group) if self._parts else group["lr"])
        self._learning_rate = model.learning_rate
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
        if isinstance(schedule, MultipliedSchedule) and schedule.in_force and schedule.factors:
            return schedule.owner
        return None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Show the optimizers as they were found, to whatever copies them."""
        if self._parts:
            self._parts.release()
        try:
            yield
        finally:
            if self._parts:
                self._parts.find(self._divided)

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's, for a part or for parameters of none."""
        return self._scaled.moved(learning_rate, part) if self._scaled else learning_rate

    def join(self, name: str) -> Multiplier:
        """Return the factor of a mover, which it may change whenever it wants to."""
        if self._jax:
            self._jax.attach()
        factor = self._factors[name] = Multiplier()
        for mover in ORDER:
            # In place: the schedule holds the same dict.
            if mover in self._factors:
                self._factors[mover] = self._factors.pop(mover)
        return factor

    def leave(self, name: str) -> None:
        """Take a mover's factor away; after the last the model has its own schedule back."""
        self._factors.pop(name, None)
        if not self._factors:
            self.end_update()
            if self._parts:
                self._parts.release()
            if self._jax:
                self._jax.detach()
            self._model.lr_schedule = unscaled(self._model.lr_schedule)

    def require_movable(self, who: str) -> None:
        """Raise an error where nothing can move the rate of this model.

        :param who: wants to move it
        :raises ValueError: with what to build the model with
        """
        if self._jax:
            self._jax.require_movable(who)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Let the model's schedule answer with the user's own rates, for an algorithm whose rates are moved apart."""
        scaled = self._scaled
        if scaled is None:
            yield
            return
        scaled.plain = True
        try:
            yield
        finally:
            scaled.plain = False

    @property
    def held(self) -> bool:
        """Whether the model's schedule is still the one that was set here last."""
        return self._scaled is not None and self._model.lr_schedule is self._scaled

    @property
    def in_force(self) -> bool:
        """Whether the ``learn()`` that this was made for is still the latest."""
        return self._scaled is not None and self._scaled.in_force

    @property
    def is_final(self) -> bool:
        """Whether the last decay of the training is in force, so that no rate may rise."""
        return any(factor.final for factor in self._factors.values())

    @property
    def is_led(self) -> bool:
        """Whether the KL divergence leads the rate, so that it is not the user's."""
        return "kl" in self._factors

    def hold(self) -> None:
        """Multiply whatever schedule the model has now."""
        if self._model.lr_schedule is self._scaled:
            return
        if self._scaled is not None:
            # What has replaced it may call it: nothing may be multiplied twice.
            self._scaled.retired = True
            self._last_set = self._scaled.asked[1] if self._scaled.asked else None
        base = unscaled(self._model.lr_schedule)
        self._scaled = MultipliedSchedule(base, self._factors, self._model, self._when_asked)
        self._scaled.updating, self._scaled.owner = self._updating, self
        self._model.lr_schedule = self._scaled
        self._learning_rate = self._model.learning_rate

    def split(self) -> set[str]:
        """Let every part have a rate of its own from when factors ask for one; return the parts that there are now."""
        if self._jax:
            return self._jax.parts
        if self._parts is None:
            self._parts = PartRates(self._model, self._ratio, lambda: self.in_force)
        self.look()
        return self._parts.parts

    @property
    def asked(self) -> float | None:
        """The user's own rate as the latest update asked for it, None if it did not ask."""
        asked = self._scaled.asked if self._scaled else None
        return asked[0] if asked else None

    def of_part(self, part: str | None) -> float | None:
        """The rate that the latest update was told for a part, None where it was told none."""
        if self._jax:
            return self._jax.latest.get(part or "policy")
        asked = self.asked
        return None if self._scaled is None or asked is None else self._scaled.moved(asked, part)

    def look(self) -> None:
        """Find the optimizers that the model has now, and note the rates of those that are new."""
        if self._parts:
            self._parts.find(self._divided)
        self._places = at_hand(self._model)
        self._witness.look()

    def look_again(self) -> None:
        """Look if optimizers are others than at the latest look, where most models keep theirs."""
        if self._places != at_hand(self._model):
            self.look()
            # Whether the new ones follow the schedule is to be seen.
            self._verified = None

    # One update: after the rollout's end, until the next event

    def begin_update(self) -> None:
        """Note what the update that begins now is promised; a decay within it is for the next.

        The schedule is held: off-policy this comes at every step, and has to be quick.
        """
        if self._model.learning_rate is not self._learning_rate and self._model.learning_rate != self._learning_rate:
            self.warn_once(
                "learning_rate",
                f"model.learning_rate was set to {self._model.learning_rate!r} in mid-training, which moves nothing: "
                "stable-baselines3 reads it when a model is made or loaded. Wrap model.lr_schedule, or use RateByPart",
            )
        self._n_updates = getattr(self._model, "_n_updates", 0)
        self._updating = True
        if self._jax:
            self._jax.ran = False
        if self._scaled:
            self._scaled.asked, self._scaled.updating = None, True
        self.promise()
        self._witness.begin(closely=self._to_verify())

    def promise(self) -> None:
        """Promise what comes next the factors as they are now, and let parts differ where these do."""
        promised, divided = self._products(), self._divided
        if promised != self._promised:
            self._promised, divided = promised, self._parts is not None and self._apart()
        if divided != self._divided:
            # The groups are others from now on, of which nobody could tell what was set there before.
            self._when_asked()
            self._divided = divided
            self.look()
        elif self._divided:
            self.look_again()

    def end_update(self, touched: Callable[[], bool] = lambda: False) -> None:
        """Look at what the update did that began last, if there was one.

        :param touched: returns whether weights are known to have moved; not every algorithm counts its updates
        """
        if not self._updating:
            return
        self._updating = False
        told = self._scaled.asked if self._scaled else None
        counted = getattr(self._model, "_n_updates", 0) != self._n_updates
        asked = told is not None and not counted and self._asks_to_update()
        if self._scaled:
            self._scaled.updating = False
        self._witness.end()
        updated = counted or asked or touched()
        if updated and told:
            self._last_set = told[1]
        if self._parts and self._divided:
            if updated and not self._parts.stepped:
                # Where it went one update has gone without.
                self.look()
                self.warn_once(
                    "no step",
                    "the rates of the parts have moved nothing: no optimizer that was found has stepped in an update",
                )
            self._parts.end_update()
        if updated and self._jax and not self._jax.ran and not asked and (self._moves or self._apart()):
            self.warn_once("no train", "the learning rate has moved nothing: weights were updated outside of train()")
        if updated:
            if self._to_verify():
                self._verified = self._promised
                if wrong := self._witness.verify(measured_groups(self._model), told, self._moves):
                    self.warn_once("does not follow", wrong)
            self._witness.note()

    def _asks_to_update(self) -> bool:
        """Whether it is an update that has asked the schedule, though none was counted: anybody may ask it."""
        has_begun = self._model.num_timesteps > getattr(self._model, "learning_starts", 0)
        return has_begun and not getattr(self._model, "_n_updates", 0)

    def _when_asked(self) -> None:
        """SB3 is about to set every group's rate: what another has set there since the last update is lost."""
        if self._updating and (lost := self._witness.set_by_others(self._last_set)):
            self.warn_once("param_groups", lost)

    def _apart(self) -> bool:
        return any(value != factor.value for factor in self._factors.values() for value in factor.by_part.values())

    def _products(self) -> object:
        """What is promised, to be compared: of a cooldown, another at every update, how often it has halved."""
        return [
            (name, math.frexp(factor.value)[1], *(value != factor.value for value in factor.by_part.values()))
            if factor.final
            else (name, factor.value, factor.rate, *factor.by_part.values())
            for name, factor in self._factors.items()
        ]

    @property
    def _moves(self) -> bool:
        return any(factor.value != 1 or factor.rate is not None for factor in self._factors.values())

    def _ratio(self, part: str | None) -> float:
        if part is None:
            return 1.0
        asked = self._scaled.asked if self._scaled else None
        plain = asked[0] if asked else 1.0
        if self._scaled is None or (applied := asked[1] if asked else self._scaled.moved(plain)) <= 0:
            return 1.0
        return self._scaled.moved(plain, part) / applied

    def _to_verify(self) -> bool:
        """Whether the first update since a change of a factor, or of the schedule, is still to be looked at."""
        if self._verified is self._promised and (self._model.lr_schedule is self._scaled or not self._moves):
            return False
        # What has changed within the update is for the next.
        return self._scaled is not None and self._promised == self._products()

    def warn_once(self, key: str, message: str) -> None:
        """Warn once a ``learn()``, whichever mover it concerns."""
        if key not in self._said:
            self._said.add(key)
            warn(message)
