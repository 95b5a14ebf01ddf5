"""The applied learning rate of a model in one ``learn()``: movers set their factors here, and it is seen to arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch

from rl_abel.jax_models import is_jax
from rl_abel.jax_rates import JaxRates
from rl_abel.norms import measured_groups
from rl_abel.notices import warn
from rl_abel.optimizers import optimizers
from rl_abel.part_rates import PartRates
from rl_abel.schedule import Factor, Scaled, unscaled

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

TOLERANCE = 1e-6

_LATEST: WeakValueDictionary[int, AppliedRate] = WeakValueDictionary()


class AppliedRate:
    """The schedule of one model in one ``learn()``, multiplied by the factors of all movers that stand side by side.

    :param model: its ``lr_schedule`` may be replaced by others at any time: what they set is multiplied
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model = model
        self._factors: dict[str, Factor] = {}
        self._scaled: Scaled | None = None
        self._parts: PartRates | None = None
        self._jax = JaxRates(model, self) if is_jax(model) else None
        self._said: set[str] = set()
        self._multiples: list[float] = []
        self._promised: object = None
        self._verified: object = None
        self._updating = False
        self._n_updates = 0
        self._optimizers: list[Any] = []
        # Of each group, by its id and with itself, or another could take its id: the rate that our latest look
        # found, and the one that the latest verified update ran at.
        self._noted: dict[int, tuple[Any, float]] = {}
        self._ran: dict[int, float] = {}
        self._follow: dict[int, Any] = {}
        self._last_set: float | None = None
        self._handles: list[Any] = []
        self._learning_rate = model.learning_rate
        self.hold()
        self.look()

    @classmethod
    def of(cls, model: BaseAlgorithm) -> AppliedRate:
        """Return the one of the ``learn()`` that a model is in: movers of one training share it."""
        latest = _LATEST.get(id(model))
        if latest is None or latest._model is not model or not latest.in_force:
            latest = _LATEST[id(model)] = cls(model)
        return latest

    @classmethod
    def in_force_on(cls, model: BaseAlgorithm) -> AppliedRate | None:
        """Return the one of the ``learn()`` that a model is in, None outside of one."""
        latest = _LATEST.get(id(model))
        return latest if latest and latest._model is model and latest.in_force and latest._factors else None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Show the optimizers as they were found, to whatever copies them."""
        if self._parts:
            self._parts.release()
        try:
            yield
        finally:
            if self._parts:
                self._parts.find()

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's, for a part or for parameters of none."""
        return self._scaled.moved(learning_rate, part) if self._scaled else learning_rate

    def join(self, name: str) -> Factor:
        """Return the factor of a mover, which it may change whenever it wants to."""
        if self._jax:
            self._jax.attach()
        self._factors[name] = Factor()
        return self._factors[name]

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

    def hold(self) -> None:
        """Multiply whatever schedule the model has now."""
        if self.held:
            return
        if self._scaled is not None:
            # What has replaced it may call it: nothing may be multiplied twice.
            self._scaled.retired = True
            self._last_set = self._scaled.asked[1] if self._scaled.asked else None
        base = unscaled(self._model.lr_schedule)
        self._scaled = Scaled(base, self._factors, self._model, self._before_update)
        self._model.lr_schedule = self._scaled
        self._learning_rate = self._model.learning_rate

    def split(self) -> set[str]:
        """Let every part have a rate of its own, of the optimizers that are there now; return the parts."""
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
            self._parts.find()
        self._places = self._optimizers_at_hand()
        self._optimizers = optimizers(self._model)
        before = self._noted
        self._note()
        self._noted |= {
            key: kept for key, kept in before.items() if key in self._noted and self._noted[key][0] is kept[0]
        }

    # One update: after the rollout's end, until the next event

    def begin_update(self) -> None:
        """Note what the update that begins now is promised; a decay within it is for the next."""
        self.hold()
        if self._model.learning_rate is not self._learning_rate and self._model.learning_rate != self._learning_rate:
            self._warn(
                "learning_rate",
                f"model.learning_rate was set to {self._model.learning_rate!r} in mid-training, which moves nothing: "
                "stable-baselines3 reads it when a model is made or loaded. Wrap model.lr_schedule, or use RateByPart",
            )
        if self._parts and self._places != self._optimizers_at_hand():
            self.look()
        self._promised = self._promise()
        self._n_updates = getattr(self._model, "_n_updates", 0)
        self._updating = True
        if self._jax:
            self._jax.ran = False
        if self._scaled:
            self._last_set = self._scaled.asked[1] if self._scaled.asked else self._last_set
            self._scaled.asked = None
        self._unhook()
        self._ran = {}
        if self._to_verify():
            torchs = [o for o in self._optimizers if isinstance(o, torch.optim.Optimizer)]
            self._handles = [optimizer.register_step_post_hook(self._note_step) for optimizer in torchs]

    def end_update(self, touched: Callable[[], bool] = lambda: False) -> None:
        """Look at what the update did that began last, if there was one.

        :param touched: returns whether weights are known to have moved; not every algorithm counts its updates
        """
        if not self._updating:
            return
        self._updating = False
        asked = self._scaled is not None and self._scaled.asked is not None
        self._unhook()
        updated = asked or getattr(self._model, "_n_updates", 0) != self._n_updates or touched()
        if self._parts:
            if updated and not self._parts.stepped and self._apart():
                # Where it went one update has gone without.
                self.look()
                self._warn(
                    "no step",
                    "the rates of the parts have moved nothing: no optimizer that was found has stepped in an update",
                )
            self._parts.end_update()
        if updated and self._jax and not self._jax.ran and not asked and (self._moves or self._apart()):
            self._warn("no train", "the learning rate has moved nothing: weights were updated outside of train()")
        if updated:
            if self._to_verify() and (wrong := self._verify(measured_groups(self._model))):
                self._warn("does not follow", wrong)
            self._note()

    def _note_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # What others set after the update is not what it ran at.
        for group in optimizer.param_groups:
            self._ran.setdefault(id(group), self._parts.plain(group) if self._parts else group["lr"])

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _optimizers_at_hand(self) -> tuple[int, ...]:
        """Where most models keep theirs, as a look at all places costs as much as a small update."""
        policy = self._model.policy
        owners = (policy, getattr(policy, "actor", None), getattr(policy, "critic", None))
        return tuple(id(getattr(owner, "optimizer", None)) for owner in owners)

    def _apart(self) -> bool:
        return any(value != factor.value for factor in self._factors.values() for value in factor.by_part.values())

    def _promise(self) -> object:
        return tuple((name, factor.value, tuple(factor.by_part.values())) for name, factor in self._factors.items())

    @property
    def _moves(self) -> bool:
        return any(factor.value != 1 for factor in self._factors.values())

    def _ratio(self, part: str | None) -> float:
        if part is None:
            return 1.0
        asked = self._scaled.asked if self._scaled else None
        plain = asked[0] if asked else 1.0
        if self._scaled is None or (applied := asked[1] if asked else self._scaled.moved(plain)) <= 0:
            return 1.0
        return self._scaled.moved(plain, part) / applied

    # Verify

    def _to_verify(self) -> bool:
        """Whether the first update since a change of a factor, or of the schedule, is still to be looked at."""
        if self._scaled is None or self._promised != self._promise():
            return False
        return self._verified != self._promised or (self._moves and not self.held)

    def _verify(self, groups: Sequence[Mapping[str, Any]]) -> str | None:
        """Compare the rates of the last update with those that were promised; return what is wrong, None if nothing.

        A group may have a rate of its own, as long as it stays the same multiple of the schedule's.
        """
        if self._scaled is None:
            return None
        self._verified = self._promised
        rates = [float(self._ran.get(id(group), group["lr"])) for group in groups]
        # What the update was told is what counts: the user's schedule is not asked again, it may count its calls.
        if self._scaled.asked is None:
            return _lost(rates, len(groups)) if rates and self._moves else None
        plain, scheduled = self._scaled.asked
        if scheduled <= 0:
            return None
        multiples = [rate / scheduled for rate in rates]
        self._follow = {id(group): group for group, rate in zip(groups, rates) if rate == scheduled}
        if len(multiples) != len(self._multiples):
            self._multiples = multiples
            moved = not _near(plain, scheduled)
            lost = [rate for rate in rates if moved and _near(rate, plain)]
        else:
            lost = [rate for rate, now, before in zip(rates, multiples, self._multiples) if not _near(now, before)]
        return _lost(lost, len(groups), f"with the decays the schedule says {scheduled:g}, ") if lost else None

    # What others set

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _note(self) -> None:
        self._noted = {id(group): (group, group["lr"]) for group in self._groups() if "lr" in group}

    def _before_update(self) -> None:
        """SB3 is about to set every group's rate: what another has set there since the last update is lost."""
        # State that was loaded comes in groups of its own, and has the rate of its time.
        lost = []
        for group in self._groups():
            same, noted = self._noted.get(id(group), (None, None))
            follows = self._follow.get(id(group)) is group and self._last_set is not None
            if same is group and group["lr"] != (self._last_set if follows else noted):
                lost.append(group["lr"])
        if lost and self._updating:
            self._warn(
                "param_groups",
                f"the learning rate of {len(lost)} parameter groups was set to {_list(lost)} in mid-training, which "
                "moves nothing: before each update stable-baselines3 sets it from model.lr_schedule. Wrap that, or use "
                "RateByPart for a rate of each network",
            )

    def _warn(self, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            warn(message)


def _lost(rates: Sequence[float], of: int, scheduled: str = "") -> str:
    return (
        f"the learning rate of {len(rates)} of {of} parameter groups does not follow: {scheduled}the last update ran "
        f"at {_list(rates)}. Something else sets it: a callback that sets lr_schedule after ours has (then list ours "
        "last), or an algorithm with a rate of its own."
    )


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{float(rate):g}" for rate in dict.fromkeys(rates))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
