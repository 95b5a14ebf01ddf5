"""The learning rates of a model of SBX, moved within its ``train()`` and put back at its end.

A rate of an optimizer of optax can be changed only if it was built with ``optax.inject_hyperparams``. SBX does so
for PPO, SAC and TQC, and sets it from the schedule in each ``train()``. For TD3, DDPG, DQN and CrossQ the user has to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_abel.networks.jax_models import injected_in, part_of, states_of

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.learning_rate.applied_rate import AppliedRate

PLAIN = "_rl_abel_plain"  # attribute of a class that stands in for another: that other one
Place = tuple[str, int]  # a network, and which of the rates within its optimizer


class JaxRates:
    """The rates of the networks of one model of SBX in one ``learn()``.

    Between :meth:`attach` and :meth:`detach` the model has another class, which differs in the rates within
    ``train()`` alone. A saved zip knows nothing of it.
    """

    def __init__(self, model: BaseAlgorithm, applied: AppliedRate) -> None:
        self._model, self.applied = model, applied
        self._plain: dict[Place, Any] = {}  # the user's rates, as they were found
        self._moved: dict[Place, float] = {}  # rates that were set in their place
        self._verified: dict[Place, float] = {}
        self.within = False  # whether ``train()`` is under way
        self.latest: dict[str, float] = {}  # the largest rate of each part in the latest update, empty since one began

    @property
    def parts(self) -> set[str]:
        """Parts whose rates can be moved."""
        return {part_of(network) for network, _ in self._find()}

    def attach(self) -> None:
        """Let ``train()`` run at moved rates from now on."""
        self.detach()
        self._model.__class__ = _moving_class(type(self._model), self)

    def detach(self) -> None:
        """Give the model its own class back."""
        self._model.__class__ = getattr(type(self._model), PLAIN, type(self._model))

    def require_movable(self, who: str) -> None:
        """Raise a ValueError where a network's rate was fixed when the model was built."""
        policy: Any = self._model.policy
        if {network for network, _ in self._find()} != states_of(self._model).keys():
            kind = getattr(policy.optimizer_class, "__name__", "adam")
            kwargs = f", optimizer_kwargs={policy.optimizer_kwargs}" if policy.optimizer_kwargs else ""
            raise ValueError(
                f"{who} cannot move the learning rate of this {type(self._model).__name__} of SBX, which was fixed "
                "when its optimizer was built. Build the model with "
                f"policy_kwargs=dict(optimizer_class=optax.inject_hyperparams(optax.{kind}){kwargs}), or measure alone "
                "with AbelCallback(final_decay_at=None)"
            )
        if (target_kl := getattr(self._model, "target_kl", None)) is not None:
            self.applied.warn_once(
                "target_kl",
                f"with target_kl={target_kl} PPO of SBX adapts its learning rate by itself, which works against {who}: "
                "it raises a lowered rate until updates move the policy as far as before. Set target_kl=None",
            )

    # Within train()

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Move every rate while SBX's ``train()`` runs, as long as this ``learn()`` is the latest."""
        if not self.applied.in_force:
            yield
            return
        self._plain, self._moved, self.latest, self.within = {}, {}, {}, True
        try:
            self.move()
            yield
        finally:
            self.within = False
            nodes = self._find()
            self._verify(nodes)
            for place in self._plain.keys() & nodes.keys():
                nodes[place].hyperparams["learning_rate"] = self._plain[place]

    def move(self) -> None:
        """Multiply the rates that all optimizers have, the user's own."""
        for place, node in self._find().items():
            self._write(place, node, node.hyperparams["learning_rate"])

    def set_plain(self, optimizers: Any, plain: float) -> None:
        """Give the state of one optimizer, or a list of them, the rates of their parts from one of the user's."""
        given = {id(state) for state in (optimizers if isinstance(optimizers, list) else [optimizers])}
        for place, node in self._find().items():
            if id(node) in given:
                self._write(place, node, plain)

    def _find(self) -> dict[Place, Any]:
        """Return the states of optimizers that hold a rate now; each minibatch makes new ones."""
        return {
            (network, index): node
            for network, state in states_of(self._model).items()
            for index, node in enumerate(injected_in(state.opt_state))
        }

    def _write(self, place: Place, node: Any, plain: Any) -> None:
        part, rate = part_of(place[0]), float(plain)
        moved = self.applied.moved(rate, part)
        self._plain[place] = plain
        self.latest[part] = max(moved, self.latest.get(part, 0.0))
        self._moved.pop(place, None)
        if moved != rate:
            self._moved[place] = moved
            # Of the same type as before, or JAX would compile anew.
            plain = np.asarray(moved, plain.dtype) if hasattr(plain, "dtype") else moved
        node.hyperparams["learning_rate"] = plain

    def _verify(self, nodes: dict[Place, Any]) -> None:
        """After a change of the rates, warn if the update has run at others."""
        if self._moved and self._moved != self._verified:
            self._verified = self._moved
            rates = {place: float(node.hyperparams["learning_rate"]) for place, node in nodes.items()}
            there = [(rates[place], rate) for place, rate in self._moved.items() if place in rates]
            self.applied.warn_lost(there, f"{len(there)} optimizers")


def _moving_class(algorithm: type, rates: JaxRates) -> type:
    """Return a class of SBX, derived so that a training with movers runs at their rates."""

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        with rates.moving():
            return algorithm.train(self, *args, **kwargs)  # type: ignore[attr-defined]

    def update_learning_rate(self: Any, optimizers: Any, learning_rate: float, *args: Any, **kwargs: Any) -> None:
        # Outside of train(), as in one of the user's own, the schedule has moved the rate already.
        rate = rates.applied.moved(learning_rate) if rates.within else learning_rate
        algorithm._update_learning_rate(self, optimizers, rate, *args, **kwargs)  # type: ignore[attr-defined]
        if rates.within:
            rates.set_plain(optimizers, learning_rate)

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
