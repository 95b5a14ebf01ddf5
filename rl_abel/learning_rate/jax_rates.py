"""The learning rates of a model of SBX, moved within its ``train()`` and put back at its end.

A rate of an optimizer of optax can be changed only if it was built with ``optax.inject_hyperparams``. SBX does so
for PPO, SAC and TQC, and sets it from the schedule in each ``train()``. For TD3, DDPG, DQN and CrossQ the user has to.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isclose
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_abel.networks.jax_models import injected_in, part_of, states_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.learning_rate.applied_rate import AppliedRate

TOLERANCE = 1e-6

PLAIN = "_rl_abel_plain"  # attribute of a class that stands in for another: that other one
Place = tuple[str, int]  # A network, and which of the rates within its optimizer


class _Written(NamedTuple):
    """A rate in an optimizer's state: the user's, as it was found and as a number, and as it was moved."""

    plain: Any
    rate: float
    moved: float


class JaxRates:
    """The rates of the networks of one model of SBX in one ``learn()``.

    :param model: between :meth:`attach` and :meth:`detach` it has another class, which differs in the rates within
        ``train()`` alone; a saved zip knows nothing of it
    :param applied: moves the rates
    """

    def __init__(self, model: BaseAlgorithm, applied: AppliedRate) -> None:
        self._model, self._applied = model, applied
        self._nodes: dict[Place, Any] = {}
        self._written: dict[Place, _Written] = {}
        self._verified: dict[Place, float] = {}
        self.within = False  # whether ``train()`` is under way
        self.ran = False  # whether ``train()`` has run since this was last set to False
        # The largest rate of each part in the latest update; a critic may have a rate set apart
        self.latest: dict[str, float] = {}

    @property
    def in_force(self) -> bool:
        """Whether the ``learn()`` that this was made for is still the latest."""
        return self._applied.in_force

    @property
    def parts(self) -> set[str]:
        """Parts whose rates can be moved."""
        return {part_of(name) for name, state in states_of(self._model).items() if any(injected_in(state.opt_state))}

    def attach(self) -> None:
        """Let ``train()`` run at moved rates from now on."""
        self.detach()
        self._model.__class__ = _moving_class(type(self._model), self)

    def detach(self) -> None:
        """Give the model its own class back."""
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
            self._applied.warn_once(
                "target_kl",
                f"with target_kl={target_kl} PPO of SBX adapts its learning rate by itself, which works against {who}: "
                "it raises a lowered rate until updates move the policy as far as before. Set target_kl=None",
            )

    # Within train()

    def train(self, train: Callable[[], Any]) -> Any:
        """Run SBX's own with every rate moved."""
        self._written, self.latest, self.within, self.ran = {}, {}, True, True
        try:
            self.move()
            return train()
        finally:
            self.within = False
            self._verify()
            nodes = self._find()
            for place in self._written.keys() & nodes.keys():
                nodes[place].hyperparams["learning_rate"] = self._written[place].plain

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
        if not self.within:
            # The schedule gives moved rates to a train() of the user's own.
            set_rates(learning_rate)
            return
        set_rates(self._applied.moved(learning_rate))
        given = {id(state) for state in (optimizers if isinstance(optimizers, list) else [optimizers])}
        if not given <= {id(node) for node in self._nodes.values()}:
            # Each minibatch makes new states.
            self._nodes = self._find()
        for place, node in self._nodes.items():
            if id(node) in given:
                self._write(place, node, learning_rate)

    def _find(self) -> dict[Place, Any]:
        """Return the states of optimizers that hold a rate now."""
        return {
            (network, index): node
            for network, state in states_of(self._model).items()
            for index, node in enumerate(injected_in(state.opt_state))
        }

    def _write(self, place: Place, node: Any, plain: Any) -> None:
        part, rate = part_of(place[0]), float(plain)
        moved = self._applied.moved(rate, part)
        # Of the same type as before, or JAX would compile anew; and to the last bit where nothing is moved.
        value = np.asarray(moved, plain.dtype) if hasattr(plain, "dtype") else moved
        node.hyperparams["learning_rate"] = plain if moved == rate else value
        self._written[place] = _Written(plain, rate, moved)
        self.latest[part] = max(moved, self.latest.get(part, 0.0))

    def _verify(self) -> None:
        """After a change of the rates, warn if the update has run at others."""
        moved = {place: written.moved for place, written in self._written.items()}
        if moved == self._verified or all(written.moved == written.rate for written in self._written.values()):
            return
        self._verified = moved
        ran = {place: float(node.hyperparams["learning_rate"]) for place, node in self._find().items()}
        lost = [
            f"{ran[place]:g} in place of {rate:g}"
            for place, rate in moved.items()
            if place in ran and not isclose(ran[place], rate, rel_tol=TOLERANCE)
        ]
        if lost:
            self._applied.warn_once(
                "does not follow",
                f"the learning rate of {len(lost)} of {len(moved)} optimizers does not follow: the last update ran at "
                f"{', '.join(dict.fromkeys(lost))}. Something else sets it: a schedule in optimizer_class does",
            )


def _moving_class(algorithm: type, rates: JaxRates) -> type:
    """Return a class of SBX, derived so that a training with movers runs at their rates."""

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        own: Callable[[], Any] = lambda: algorithm.train(self, *args, **kwargs)  # type: ignore[attr-defined]  # noqa: E731
        return rates.train(own) if rates.in_force else own()

    def update_learning_rate(self: Any, optimizers: Any, learning_rate: float, *args: Any, **kwargs: Any) -> None:
        def own(rate: float) -> Any:
            return algorithm._update_learning_rate(self, optimizers, rate, *args, **kwargs)  # type: ignore[attr-defined]

        rates.scheduled(optimizers, learning_rate, own)

    def maybe_reset_params(self: Any) -> None:
        resets = self.reset_idx
        algorithm._maybe_reset_params(self)  # type: ignore[attr-defined]
        if self.reset_idx != resets and rates.within:
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
