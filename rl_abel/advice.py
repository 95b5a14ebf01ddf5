"""What a user should know before training, read off the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from rl_abel.norms import measured_parameters, optimizers

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

OVERWRITING = ("A2C", "QRDQN")
"""Algorithms that overwrite the user's ``optimizer_kwargs`` unless ``optimizer_class`` is given."""


def at_start(model: BaseAlgorithm, final_decay_at: float | None) -> Iterator[str]:
    """Yield a line for each thing to expect of this model."""
    if not weight_decay(model):
        schedule = "your own schedule" + (" with one final decay" if final_decay_at is not None else "")
        if not callable(model.learning_rate):
            schedule = schedule.replace("your own schedule", "a constant learning rate")
        yield (
            "no measured parameter has weight decay, so the weight norm is not expected to bounce: "
            f"this is {schedule} (Lewkowycz 2021, Sec. 3)"
        )
    if type(model).__name__ == "TRPO":
        yield "TRPO moves its policy by line search: the learning rate reaches the value network alone"


def weight_decay(model: BaseAlgorithm) -> float:
    """Return the largest coefficient that shrinks any measured parameter, 0 if none does."""
    measured = {id(p) for named in measured_parameters(model).values() for p in named.values()}
    groups = [group for optimizer in optimizers(model) for group in optimizer.param_groups]
    ours = [group for group in groups if any(id(p) in measured for p in group["params"])]
    return max((float(group.get("weight_decay") or 0) for group in ours), default=0.0)


def dropped_optimizer_kwargs(model: BaseAlgorithm) -> str | None:
    """Return a warning where SB3 has overwritten the user's ``optimizer_kwargs``.

    What the user gave is gone by now, but not where: overwriting a key keeps its place in the
    dict, while SB3 on its own puts ``optimizer_class`` before ``optimizer_kwargs``.
    """
    name, given = type(model).__name__, list(model.policy_kwargs)
    if name not in OVERWRITING or "optimizer_kwargs" not in given or "optimizer_class" not in given:
        return None
    kwargs = model.policy_kwargs["optimizer_kwargs"]
    own_class, own_kwargs = {
        "A2C": (torch.optim.RMSprop, {"alpha": 0.99, "weight_decay": 0}),
        "QRDQN": (torch.optim.Adam, {"eps": 0.01 / getattr(model, "batch_size", 1)}),
    }[name]
    if given.index("optimizer_kwargs") > given.index("optimizer_class"):
        return None
    if model.policy_kwargs["optimizer_class"] is not own_class or not own_kwargs.items() <= kwargs.items():
        return None
    return (
        f"rl_abel: {name} has dropped the optimizer_kwargs of your policy_kwargs, weight decay included: it keeps them "
        f"only where optimizer_class is given too. In use is {kwargs}."
    )
