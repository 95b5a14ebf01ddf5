"""The learning rates of a model of SBX, moved within its ``train()`` and put back at its end.

An optimizer of optax has a rate that can be changed where it was built with ``optax.inject_hyperparams``:
SBX does so for PPO, SAC and TQC, and sets it from the schedule in each ``train()``; for TD3, DDPG, DQN and
CrossQ the user has to.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from math import isclose
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

import numpy as np

from rl_abel._warnings import warn
from rl_abel.networks.jax_models import injected_in, part_of, states_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

TOLERANCE = 1e-6

_LATEST: WeakValueDictionary[int, JaxRates] = WeakValueDictionary()


class Moving(Protocol):
    """What moves the rates: see :class:`rl_abel.learning_rate.applied_rate.AppliedRate`."""

    @property
    def in_force(self) -> bool:
        """Whether its ``learn()`` is still the latest."""

    def moved(self, learning_rate: float, part: str | None = None) -> float:
        """Return what all movers make of a rate of the user's."""

    def plain(self) -> AbstractContextManager[None]:
        """Let the schedule of the model answer with the user's own rates."""


class _Written(NamedTuple):
    """A rate in an optimizer's state: the user's, as it was found and as a number, and as it was moved."""

    plain: Any
    rate: float
    moved: float


class JaxRates:
    """The rates of the networks of one model of SBX in one ``learn()``.

    :param model: its class is exchanged, between :meth:`attach` and :meth:`detach`, for one that differs
        in nothing but the rates within ``train()``; a saved zip knows nothing of it
    :param moving: of the same ``learn()``
    """

    def __init__(self, model: BaseAlgorithm, moving: Moving) -> None:
        self._model, self._moving = model, moving
        self._nodes: dict[tuple[str, int], Any] = {}
        self._written: dict[tuple[str, int], _Written] = {}
        self._verified: dict[tuple[str, int], float] = {}
        self._said: set[str] = set()
        self._within = False
        self.latest: dict[str, float] = {}
        """Of each part the largest rate of the latest update; a critic may have one set apart."""
        self.ran = False
        """Whether ``train()`` has run since this was last set to False."""

    @classmethod
    def of(cls, model: BaseAlgorithm) -> JaxRates | None:
        """Return the one in force on a model, None outside of a training with movers."""
        rates = _LATEST.get(id(model))
        return rates if rates and rates._model is model and rates._moving.in_force else None

    @property
    def parts(self) -> set[str]:
        """Parts whose rates can be moved."""
        return {part_of(name) for name, state in states_of(self._model).items() if any(injected_in(state.opt_state))}

    def attach(self) -> None:
        """Let ``train()`` run at moved rates from now on."""
        _LATEST[id(self._model)] = self
        if not hasattr(type(self._model), PLAIN):
            self._model.__class__ = _moving_class(type(self._model))

    def detach(self) -> None:
        """Leave the model as it was found."""
        _LATEST.pop(id(self._model), None)
        self._model.__class__ = getattr(type(self._model), PLAIN, type(self._model))

    def require_movable(self, who: str) -> None:
        """Raise an error where a network's rate was fixed when the model was built.

        :param who: wants to move it
        :raises ValueError: with what to build the model with
        """
        policy: Any = self._model.policy
        target_kl = getattr(self._model, "target_kl", None)
        if not all(any(injected_in(state.opt_state)) for state in states_of(self._model).values()):
            kind = getattr(policy.optimizer_class, "__name__", "adam")
            kwargs = f", optimizer_kwargs={policy.optimizer_kwargs}" if policy.optimizer_kwargs else ""
            raise ValueError(
                f"{who} cannot move the learning rate of this {type(self._model).__name__} of SBX, which was fixed "
                "when its optimizer was built. Build the model with "
                f"policy_kwargs=dict(optimizer_class=optax.inject_hyperparams(optax.{kind}){kwargs}), or measure alone "
                "with AbelCallback(final_decay_at=None)"
            )
        if target_kl is not None:
            self._warn(
                "target_kl",
                f"with target_kl={target_kl} PPO of SBX adapts its learning rate by itself, which works against {who}: "
                "it raises a lowered rate until updates move the policy as far as before. Set target_kl=None",
            )

    # Within train()

    def train(self, train: Callable[[], Any]) -> Any:
        """Run SBX's own with every rate moved."""
        self._written, self.latest, self._within, self.ran = {}, {}, True, True
        try:
            with self._moving.plain():
                self.move()
                return train()
        finally:
            self._within = False
            self._verify_and_put_back()

    def move(self) -> None:
        """Multiply the rates that all optimizers have, the user's own."""
        self._nodes = self._find()
        for place, node in self._nodes.items():
            self._write(place, node, node.hyperparams["learning_rate"])

    def scheduled(self, optimizers: Any, learning_rate: float, set_rates: Callable[[float], Any]) -> None:
        """Let SBX set and log the rates of some optimizers, then give each the rate of its part.

        :param optimizers: one state of an optimizer, or a list of them
        :param learning_rate: the user's, before any mover
        :param set_rates: SBX's own
        """
        if not self._within:
            # A train() of the user's own, to which the schedule gives moved rates.
            set_rates(learning_rate)
            return
        set_rates(self._moving.moved(learning_rate))
        given = [id(state) for state in (optimizers if isinstance(optimizers, list) else [optimizers])]
        if not {id(node) for node in self._nodes.values()}.issuperset(given):
            # Those of a later minibatch.
            self._nodes = self._find()
        for place, node in self._nodes.items():
            if id(node) in given:
                self._write(place, node, learning_rate)

    def _find(self) -> dict[tuple[str, int], Any]:
        """Where rates are now: the states of the optimizers that hold one, by network and number."""
        return {
            (network, index): node
            for network, state in states_of(self._model).items()
            for index, node in enumerate(injected_in(state.opt_state))
        }

    def _write(self, place: tuple[str, int], node: Any, plain: Any) -> None:
        part, rate = part_of(place[0]), float(plain)
        moved = self._moving.moved(rate, part)
        # Of the same type as before, or JAX would compile anew; and to the last bit where nothing is moved.
        value = np.asarray(moved, plain.dtype) if hasattr(plain, "dtype") else moved
        node.hyperparams["learning_rate"] = plain if moved == rate else value
        self._written[place] = _Written(plain, rate, moved)
        self.latest[part] = max(moved, self.latest.get(part, 0.0))

    def _verify_and_put_back(self) -> None:
        """Give all optimizers the user's rates back; at a rate that is new, see whether the update has run at it."""
        nodes, moved = self._find(), {place: written.moved for place, written in self._written.items()}
        ran: dict[str, None] = {}
        if moved != self._verified and any(written.moved != written.rate for written in self._written.values()):
            self._verified = moved
            found = {place: float(node.hyperparams["learning_rate"]) for place, node in nodes.items() if place in moved}
            lost = {place: rate for place, rate in found.items() if not isclose(rate, moved[place], rel_tol=TOLERANCE)}
            ran = dict.fromkeys(f"{rate:g} in place of {moved[place]:g}" for place, rate in lost.items())
        for place, written in self._written.items():
            if place in nodes:
                nodes[place].hyperparams["learning_rate"] = written.plain
        if ran:
            self._warn(
                "does not follow",
                f"the learning rate of {len(lost)} of {len(moved)} optimizers does not follow: the last update ran at "
                f"{', '.join(ran)}. Something else sets it: a schedule in optimizer_class does",
            )

    def _warn(self, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            warn(message)


PLAIN = "_rl_abel_plain"
"""Of an exchanged class, the one that it stands for."""


@cache
def _moving_class(algorithm: type) -> type:
    """Return a class of SBX, derived so that a training with movers runs at their rates."""

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        rates = JaxRates.of(self)
        own: Callable[[], Any] = lambda: algorithm.train(self, *args, **kwargs)  # type: ignore[attr-defined]  # noqa: E731
        return rates.train(own) if rates else own()

    def update_learning_rate(self: Any, optimizers: Any, learning_rate: float, *args: Any, **kwargs: Any) -> None:
        rates = JaxRates.of(self)

        def own(rate: float) -> Any:
            return algorithm._update_learning_rate(self, optimizers, rate, *args, **kwargs)  # type: ignore[attr-defined]

        if rates:
            rates.scheduled(optimizers, learning_rate, own)
        else:
            own(learning_rate)

    def maybe_reset_params(self: Any) -> None:
        resets = self.reset_idx
        algorithm._maybe_reset_params(self)  # type: ignore[attr-defined]
        if self.reset_idx != resets and (rates := JaxRates.of(self)):
            # The optimizers are new, at the rates that they are built with.
            rates.move()

    body = {PLAIN: algorithm, "__module__": algorithm.__module__, "__qualname__": algorithm.__qualname__}
    body |= {"__doc__": algorithm.__doc__, "train": train, "_update_learning_rate": update_learning_rate}
    if hasattr(algorithm, "_maybe_reset_params"):
        body["_maybe_reset_params"] = maybe_reset_params
    if hasattr(algorithm, "_train"):
        # Compiled for the class that it is called on, so for the same one as without us.
        body["_train"] = staticmethod(algorithm._train)
    return type(algorithm.__name__, (algorithm,), body)
