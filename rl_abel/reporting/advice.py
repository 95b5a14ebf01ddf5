"""What a user should know about a training, before it begins and when it has ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from rl_abel.networks import jax_models
from rl_abel.networks.norms import measured_groups, measured_parameters, outside, unowned
from rl_abel.rules.decays import EVERY_PART, Decay, final_decay
from rl_abel.training.measure_interval import (
    TRIAL,
    Notice,
    distance,
    expected_measurements,
    known_rollout,
    too_few_measurements,
)
from rl_abel.training.resume import clock

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.callbacks.settings import AbelSettings
    from rl_abel.rules.decay_controller import DecayRules, DecayState
    from rl_abel.training.state import TrainingState


def at_start(model: BaseAlgorithm, memory: TrainingState, given: AbelSettings, led: bool = False) -> Iterator[Notice]:
    """Yield what will happen in the training that begins, or goes on, and what will not.

    :param given: what the user chose
    :param led: whether something else leads the rate (the KL divergence)
    """
    decays = weight_decay(model)
    if given.final_decay_at is not None:
        yield _final_decay(model, memory, given.final_decay_at, given.step)
    if given.max_decays != 0 and not decays:
        yield Notice(
            "no measured parameter has weight decay, so the weight norm is not expected to bounce "
            "(Lewkowycz 2021, Sec. 3)"
        )
    if not (led or callable(model.learning_rate) or given.acts_on == "batch_size"):
        yield from _floor(float(model.learning_rate), given)
    if is_of(model, "TRPO"):
        yield Notice("TRPO moves its policy by line search: the learning rate reaches the value network alone")
    yield from (Notice(warning, warning) for warning in _unexpected(model))
    every = distance(model, memory.data["measure_every"], within=memory.data["auto"])
    expected = expected_measurements(model, memory.budget, len(memory.data["trace"]), every)
    if given.max_decays != 0 and expected is not None:
        few = too_few_measurements(model, expected, given.rule, every, decays)
        yield from [few] if few else []


def _final_decay(model: BaseAlgorithm, memory: TrainingState, at: float, step: float | None) -> Notice:
    """Say when the final decay will come in a training, or that it cannot, and why.

    :param step: its factor, None for a linear one
    """
    end, now, rollout = memory.budget.end, model.num_timesteps, known_rollout(model)
    if end is None:
        return Notice(
            "no budget is known (learn() has none), so there is no final decay: give learn() the timesteps that you "
            "expect, set final_decay_at=None, or decay a copy with finish()",
            "final decay",
        )
    if (since := memory.decided.final_timestep) is not None:
        return Notice(f"the final decay of timestep {since:,} is in force")
    # Who only looks if it runs is not warned.
    warning = "final decay" if end - now >= TRIAL else ""
    starts = int(getattr(model, "learning_starts", 0))
    moved = clock(model).updates != memory.data["n_updates"]
    coming = final_decay(memory.budget, rollout or 1, now, starts, at, step, moved)
    begins, updates = coming.begins, coming.updates
    by = f"x {step:.3g}" if step else f"falling linearly to x {coming.factor if rollout else 0:.2g}"
    if begins is None and coming.waits:
        left = "one update alone" if updates else "no update"
        return Notice(
            f"there is no final decay: learning_starts={starts:,} leaves {left} in a training that ends at timestep "
            f"{end:,}. Lower it, or train longer",
            warning,
        )
    if begins is None:
        length = "train_freq" if hasattr(model, "train_freq") else "n_steps"
        # Below what is given, and never 0.
        place = math.floor(100 * coming.highest) / 100
        return Notice(
            f"there is no final decay: the last rollout of this training ({rollout:,} timesteps) begins at "
            f"{coming.highest:.0%} of the budget, before {at:.0%}. Train longer, or set a smaller {length}"
            + (f", or final_decay_at={place:g}" if place > 0 else ""),
            warning,
        )
    if coming.waits:
        return Notice(
            f"learning_starts={starts:,} leaves all updates but the first to the final decay ({by}), which is due at "
            f"{at:.0%} of the budget. Lower it, train longer, or set final_decay_at=None",
            warning,
        )
    if rollout is None:
        return Notice(
            f"final decay ({by}) with the first rollout that begins at timestep {begins:,} of {end:,} or later. There "
            "is none where the last rollout, which is of unknown length, begins before"
        )
    return Notice(
        f"final decay ({by}) from timestep {begins:,} of {end:,} on: in the last {coming.decayed:,} of {updates:,} "
        f"updates ({coming.decayed / updates:.0%})"
    )


def _floor(rate: float, given: AbelSettings) -> Iterator[Notice]:
    """Say what a floor does to the decays of a constant rate."""
    floor, final = given.min_learning_rate, given.final_decay_at is not None
    if not floor or not (final or given.max_decays != 0):
        return
    lowest = rate * given.decay_factor
    if rate <= floor:
        message = f"min_learning_rate={floor:g} is not below the learning rate of {rate:g}, so no decay can lower it"
        yield Notice(message, "floor")
    elif lowest < floor or (final and given.step is None):
        yield Notice(f"decays stop at min_learning_rate={floor:g}, from a learning rate of {rate:g}")
    elif given.max_decays is not None and (lowest := rate * given.decay_factor ** (given.max_decays + final)) > floor:
        yield Notice(f"min_learning_rate={floor:g} will not be reached: all decays together end at {lowest:g}")


def _unexpected(model: BaseAlgorithm) -> Iterator[str]:
    """Yield a warning for each thing that is not as the user will think it is."""
    parts, names, kind = measured_parameters(model), unowned(model), type(model).__name__
    if not parts:
        yield "no weight of the policy is trained now (requires_grad is False), so nothing is measured until one is"
    elif names and not {name for named in parts.values() for name in named} <= set(names):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        yield (
            f"{len(names)} trainable tensors of the policy belong to no optimizer that was found, and are not measured "
            f"({shown}). An optimizer is looked for on the model and in its policy's modules"
        )
    elif names and not is_of(model, "ARS"):
        yield (
            f"no optimizer of the policy's weights was found on {kind}: all of them are measured, and their weight "
            "decay is not known"
        )
    if number := outside(model):
        yield f"{number} tensors that optimizers of {kind} own are not in its policy, and not measured"
    yield from _dropped_optimizer_kwargs(model)


def at_end(model: BaseAlgorithm, memory: TrainingState, given: AbelSettings, learned: bool) -> Iterator[Notice]:
    """Yield what to say where a training has ended with too little to decide on, or without its final decay."""
    made, needed = len(memory.data["trace"]), getattr(given.rule, "min_measurements", 0)
    budget, timestep, at, rollout = memory.budget, model.num_timesteps, given.final_decay_at, known_rollout(model)
    if not learned:
        return
    begin, end = max(budget.begin, getattr(model, "learning_starts", 0)), budget.end
    trial, cut = end is not None and end - begin < TRIAL, end is not None and timestep < end
    waiting = end is not None and at is not None and memory.decided.final_timestep is None
    stopped = f"stopped at timestep {timestep:,} of {end or 0:,}{', before its final decay' if waiting else ''}"
    if made < needed and not trial and (given.max_decays != 0 or (cut and waiting)):
        were = "measurement of the weight norm was" if made == 1 else "measurements of the weight norm were"
        yield Notice(
            f"{made} {were} made in this training, one every {memory.data['measure_every']:,.0f} timesteps"
            f"{f'; it {stopped}' if cut else ''}. The rule needs {needed} before it can see a bounce. "
            "Give learn() the timesteps that you expect, or set measure_every.",
            "few measurements",
        )
    elif cut and waiting and at is not None:
        coming = final_decay(budget, rollout or 1, budget.begin, begin, at, given.step)
        yield from [Notice(f"the training {stopped}")] * (coming.begins is not None)
    if waiting and not cut and rollout is None:
        yield Notice(
            f"there was no final decay, as no rollout began after {at:.0%} of the budget: the last was too long. "
            "Train longer, or set a smaller final_decay_at",
            "" if trial else "final decay",
        )


def is_of(model: BaseAlgorithm, name: str) -> bool:
    """Whether the model is of the named algorithm or derived from it."""
    return any(kind.__name__ == name for kind in type(model).__mro__)


def weight_decay(model: BaseAlgorithm) -> float:
    """Return the largest coefficient that shrinks any measured parameter, 0 if none does."""
    if jax_models.is_jax(model):
        return jax_models.weight_decay_of(model)
    return max((float(group.get("weight_decay") or 0) for group in measured_groups(model)), default=0.0)


def _dropped_optimizer_kwargs(model: BaseAlgorithm) -> Iterator[str]:
    """Yield a warning where SB3 has overwritten the user's ``optimizer_kwargs``.

    What the user gave is gone by now, but not where: overwriting a key keeps its place in the
    dict, while SB3 on its own puts ``optimizer_class`` before ``optimizer_kwargs``.
    """
    overwriting = {
        "A2C": (torch.optim.RMSprop, {"alpha": 0.99, "weight_decay": 0}),
        "QRDQN": (torch.optim.Adam, {"eps": 0.01 / (getattr(model, "batch_size", None) or 1)}),
    }
    given, kwargs = list(model.policy_kwargs), model.policy_kwargs.get("optimizer_kwargs", {})
    for name, (own_class, own_kwargs) in overwriting.items():
        is_own = model.policy_kwargs.get("optimizer_class") is own_class and own_kwargs.items() <= kwargs.items()
        if is_of(model, name) and is_own and given.index("optimizer_kwargs") < given.index("optimizer_class"):
            yield (
                f"{name} has dropped the optimizer_kwargs of your policy_kwargs, weight decay included: it keeps them "
                f"only where optimizer_class is given too. In use is {kwargs}."
            )


def of_decided(
    state: DecayState,
    timestep: int,
    bounced: Sequence[str],
    made: Iterable[tuple[Decay, str]],
    rules: DecayRules,
    batch: str,
) -> Iterator[str]:
    """Yield a line for each decay that was made, or for a bounce that decays nothing.

    :param batch: what a decay is, in words, where it acts on the batch too; empty where it acts on the rate alone
    """
    for decay, reason in made:
        says = "" if decay.cause == "final" and rules.step is None else batch
        what = "decay" if says else "learning rate"
        whose = what if decay.part == EVERY_PART else f"{what} of the {decay.part}"
        in_all = state.factor_of(decay.part)
        yield f"timestep {decay.timestep}: {reason}; {whose} x {decay.factor:g} (in all x {in_all:g}){says}"
    if bounced and not made:
        seen = " and ".join(bounced)
        yield f"timestep {timestep}: the {seen} weight norm has bounced; no decay (max_decays={rules.max_decays})"
