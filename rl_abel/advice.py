"""What a user should know before training, read off the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from rl_abel import jax_models
from rl_abel.norms import measured_groups, measured_parameters, outside, unowned
from rl_abel.rule import Rule
from rl_abel.spacing import TRIAL, Few, distance, expected_measurements, too_few_measurements

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.budget import Budget
    from rl_abel.memory import Memory

OVERWRITING = ("A2C", "QRDQN")
"""Algorithms that overwrite the user's ``optimizer_kwargs`` unless ``optimizer_class`` is given."""


def at_start(
    model: BaseAlgorithm, final_decay_at: float | None, budget: Budget, bounces_decay: bool = True
) -> Iterator[str]:
    """Yield a line for each thing to expect of this model."""
    if final_decay_at is not None and budget.end is None:
        yield "no budget is known (learn() has none), so there is no final decay"
    if bounces_decay and not weight_decay(model):
        schedule = "your own schedule" if callable(model.learning_rate) else "a constant learning rate"
        final = " with one final decay" if final_decay_at is not None else ""
        yield (
            "no measured parameter has weight decay, so the weight norm is not expected to bounce: "
            f"this is {schedule}{final} (Lewkowycz 2021, Sec. 3)"
        )
    if _is(model, "TRPO"):
        yield "TRPO moves its policy by line search: the learning rate reaches the value network alone"


def warnings_at_start(model: BaseAlgorithm) -> Iterator[str]:
    """Yield a warning for each thing that is not as the user will think it is."""
    parts, names = measured_parameters(model), unowned(model)
    measured = {name for named in parts.values() for name in named}
    if not parts:
        yield "no weight of the policy is trained now (requires_grad is False), so nothing is measured until one is"
    elif names and measured <= set(names):
        if not _is(model, "ARS"):
            yield (
                f"no optimizer of the policy's weights was found on {type(model).__name__}: all of them are measured, "
                "and their weight decay is not known"
            )
    elif names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        yield (
            f"{len(names)} trainable tensors of the policy belong to no optimizer that was found, and are not measured "
            f"({shown}). An optimizer is looked for on the model and in its policy's modules"
        )
    if number := outside(model):
        yield f"{number} tensors that optimizers of {type(model).__name__} own are not in its policy, and not measured"
    if warning := dropped_optimizer_kwargs(model):
        yield warning


def few(model: BaseAlgorithm, memory: Memory, rule: Rule) -> Few | None:
    """Return what to say where fewer measurements fit into a training than the rule needs."""
    every = distance(model, memory.data["measure_every"], within=memory.data["auto"])
    expected = expected_measurements(model, memory.budget, len(memory.data["trace"]), every)
    return None if expected is None else too_few_measurements(model, expected, rule, every, weight_decay(model))


def at_end(
    model: BaseAlgorithm,
    memory: Memory,
    rule: Rule,
    learned: bool,
    max_decays: int | None,
    final_decay_at: float | None,
) -> str | None:
    """Return a warning where a training has ended with too little to decide on."""
    made, needed = len(memory.data["trace"]), getattr(rule, "min_measurements", 0)
    end, timestep = memory.budget.end, model.num_timesteps
    cut = end is not None and timestep < end
    waiting = cut and final_decay_at is not None and not memory.is_final
    if made >= needed or not learned or (max_decays == 0 and not waiting):
        return None
    begin = max(memory.budget.begin, getattr(model, "learning_starts", 0))
    if end is not None and end - begin < TRIAL:
        return None
    stopped = f"; it stopped at timestep {timestep:,} of {end:,}" if cut else ""
    stopped += ", before its final decay" if waiting else ""
    were = "measurement of the weight norm was" if made == 1 else "measurements of the weight norm were"
    return (
        f"{made} {were} made in this training, one every "
        f"{memory.data['measure_every']:,.0f} timesteps{stopped}. The rule needs {needed} before it can see a bounce. "
        "Give learn() the timesteps that you expect, or set measure_every."
    )


def _is(model: BaseAlgorithm, name: str) -> bool:
    """Whether the model is of the named algorithm or derived from it."""
    return any(kind.__name__ == name for kind in type(model).__mro__)


def weight_decay(model: BaseAlgorithm) -> float:
    """Return the largest coefficient that shrinks any measured parameter, 0 if none does."""
    if jax_models.is_jax(model):
        return jax_models.weight_decay_of(model)
    return max((float(group.get("weight_decay") or 0) for group in measured_groups(model)), default=0.0)


def dropped_optimizer_kwargs(model: BaseAlgorithm) -> str | None:
    """Return a warning where SB3 has overwritten the user's ``optimizer_kwargs``.

    What the user gave is gone by now, but not where: overwriting a key keeps its place in the
    dict, while SB3 on its own puts ``optimizer_class`` before ``optimizer_kwargs``.
    """
    name, given = next((name for name in OVERWRITING if _is(model, name)), ""), list(model.policy_kwargs)
    if not name or "optimizer_kwargs" not in given or "optimizer_class" not in given:
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
        f"{name} has dropped the optimizer_kwargs of your policy_kwargs, weight decay included: it keeps them "
        f"only where optimizer_class is given too. In use is {kwargs}."
    )
