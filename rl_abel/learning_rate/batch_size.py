"""What a decay acts on: the learning rate, the batch in its place, or both.

A batch is grown for the updates alone. At a rollout's end the model gets the larger one, and at the first event
after the update it has the user's own back. So whatever is saved between updates has the user's.
"""

import math
from fractions import Fraction
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from rl_abel.networks.jax_models import is_jax
from rl_abel.rules.batch_growth import POWERS, Split, split
from rl_abel.training.measure_interval import rollout_timesteps
from rl_abel.training.state import ATTRIBUTE, HELD, kept_by_others, section

ACTIONS = ("learning_rate", *POWERS)

BATCH = "batch_size"

# Off-policy a batch is at most the data over this: Smith et al. 2018 grow it to a tenth, then decay the rate.
SHARE_OF_DATA = 10
WITHOUT = {
    "A2C": "it makes one update of the whole rollout, without minibatches (a larger n_steps is a larger batch)",
    "ARS": "it follows no gradient, so it has no batch",
}


class OnRate:
    """As in the paper: a decay acts on the learning rate alone."""

    put_off = False  # whether the latest rollout is followed by no update, as less than one is due
    status: dict[str, float] = {}  # noqa: RUF012  # what the latest update had beside the rate, by name in the logs
    says = ""  # what is in force beside the rate, in words
    idle = ""  # why the rate takes all decays of this training, where that was not wanted

    def rate(self, factor: float) -> float:
        """Return what of the product of the decays is left to the learning rate, and take the rest."""
        return factor

    def begin_update(self) -> None:
        """Put in force what was taken, before SB3 updates the weights."""

    def end_update(self) -> None:
        """Leave the model, between updates, as it is without us."""


class _OnBatch(OnRate):
    """The batch grows by what the decays say, up to a limit, and the rate decays by the rest (Smith et al. 2018).

    On-policy the limit is the rollout, whose updates become fewer by themselves. Off-policy it is a tenth of the data
    that there will be, and ``gradient_steps`` falls by the same factor.
    The user's batch may be another at every update.
    """

    def __init__(self, model: BaseAlgorithm, power: float, max_batch_size: int | None) -> None:
        self._model: Any = model
        self._power, self._max_batch_size = power, max_batch_size
        self._rollout = None if isinstance(model, OffPolicyAlgorithm) else rollout_timesteps(model)
        # What was set for the update under way: name -> the user's own, ours. JSON, and saved with the model.
        self._held = section(model, HELD)
        self._owed = Fraction(0)  # of an update, which is less than one so far
        self._seen = model.num_timesteps
        own, most = self._own, self._most
        self._split, self.status = Split(own, 1.0), {BATCH: own}
        if split(1e-9, own, most, self._rollout).batch_size <= own:
            limit = "the rollout" if self._rollout else "a tenth of the data"
            limit = "max_batch_size" if most == max_batch_size else limit
            self.idle = f"the batch of {own} cannot grow, as {limit} is {most}: decays act on the learning rate alone"

    @property
    def _own(self) -> int:
        own = self._held[BATCH][0] if BATCH in self._held else self._model.batch_size
        # Some algorithms take None for the whole rollout.
        return int(own or rollout_timesteps(self._model))

    @property
    def _most(self) -> int:
        data = self._rollout or int(min(self._model.buffer_size, self._model._total_timesteps)) // SHARE_OF_DATA
        return data if self._max_batch_size is None else min(data, self._max_batch_size)

    def rate(self, factor: float) -> float:
        """Return what the batch cannot take."""
        own = self._own
        self._split = split(factor, own, self._most, self._rollout, self._power)
        self.says = f", which is batch size {own} -> {self._split.batch_size} and learning rate x {self._split.rate:g}"
        return self._split.rate

    def begin_update(self) -> None:
        """Grow the batch, and make fewer updates where they do not become fewer by themselves."""
        own, timestep = self._own, self._model.num_timesteps
        collected, self._seen = timestep - self._seen, timestep
        grown, self.put_off = self._split.batch_size, False
        self.status = {BATCH: grown}
        if grown <= own:
            return
        self._hold(BATCH, grown)
        if self._rollout is None:
            steps = self._model.gradient_steps
            if timestep > self._model.learning_starts:
                # SB3 makes as many updates as timesteps where it is told -1.
                self._owed += (steps if steps >= 0 else collected) * Fraction(own, grown)
            due = math.floor(self._owed)
            self._owed -= due
            self._hold("gradient_steps", due)
            self.put_off = due == 0

    def end_update(self) -> None:
        """Give the user's own batch back."""
        _put_back(self._model)

    def _hold(self, name: str, value: int) -> None:
        self._held[name] = [getattr(self._model, name), value]
        setattr(self._model, name, value)


def make_action(name: str, model: BaseAlgorithm, max_batch_size: int | None = None) -> OnRate:
    """Return what a decay acts on, and undo what a training that was interrupted within an update has left."""
    _put_back(model)
    return _OnBatch(model, POWERS[name], max_batch_size) if name in POWERS else OnRate()


def check_action(name: str, model: BaseAlgorithm) -> None:
    """Raise a ValueError for an algorithm without a batch that could grow."""
    if name not in POWERS:
        return
    if is_jax(model):
        raise ValueError(f"acts_on={name!r}: models of SBX compile for one size of the batch, so it cannot grow there")
    if not (isinstance(model, (OnPolicyAlgorithm, OffPolicyAlgorithm)) and hasattr(model, BATCH)):
        why = [WITHOUT[kind.__name__] for kind in type(model).__mro__ if kind.__name__ in WITHOUT]
        why = [*why, "it has no batch_size that stable-baselines3's algorithms read at each update"]
        raise ValueError(f"acts_on={name!r}: {type(model).__name__} has no batch that could grow: {why[0]}")


def _put_back(model: BaseAlgorithm) -> None:
    """Give a model the user's own batch back; what somebody else has set since stays."""
    held = kept_by_others(getattr(model, ATTRIBUTE, None)).get(HELD, {})
    for name, (own, ours) in held.items():
        if getattr(model, name, None) == ours:
            setattr(model, name, own)
    held.clear()
