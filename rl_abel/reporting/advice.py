"""What a user should know about a training, before it begins and when it has ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from rl_abel.networks import jax_models
from rl_abel.networks.norms import measured_groups, measured_parameters, outside, unowned
from rl_abel.rules.bounce import TrendRule
from rl_abel.rules.decays import EVERY_PART, Decay, final_decay
from rl_abel.training.measure_interval import MEASUREMENTS, known_rollout, left_to_train
from rl_abel.training.state import clock

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rl_abel.callbacks.settings import AbelSettings
    from rl_abel.rules.decay_controller import DecayRules, DecayState
    from rl_abel.training.state import TrainingState

Made = tuple[Decay, str]  # and the reason
TRIAL = 1000  # timesteps; who trains for fewer wants to see that it runs
# With fewer measurements the rule finds fewer bounces: of 20 in the control's traces 19 on 128 of them, 4 on 64
FEW = 80


class Notice(NamedTuple):
    """What a user is told."""

    message: str  # in words, and what to do
    warning: str = ""  # name of a warning, which is given once; empty for a line that verbose prints


def at_start(model: BaseAlgorithm, memory: TrainingState, given: AbelSettings, led: bool = False) -> Iterator[Notice]:
    """Yield what will happen in the training that begins, or goes on, and what will not.

    :param given: what the user chose
    :param led: whether something else leads the rate (the KL divergence)
    """
    decays, bounces_decay = weight_decay(model), given.max_decays != 0
    if given.final_decay_at is not None:
        yield _final_decay(model, memory, given.final_decay_at, given.step)
    if bounces_decay and not decays:
        why = "no measured parameter has weight decay"
        yield Notice(f"{why}, so the weight norm is not expected to bounce (Lewkowycz 2021, Sec. 3)")
    if not (led or callable(model.learning_rate) or given.acts_on == "batch_size"):
        yield from _floor(float(model.learning_rate), given)
    if is_of(model, "TRPO"):
        yield Notice("TRPO moves its policy by line search: the learning rate reaches the value network alone")
    yield from (Notice(warning, warning) for warning in _unexpected(model))
    if bounces_decay:
        yield from _few_measurements(model, memory, given, decays)


def _final_decay(model: BaseAlgorithm, memory: TrainingState, at: float, step: float | None) -> Notice:
    """Say when the final decay will come, or why it cannot; ``step`` is its factor, None for a linear one."""
    end, now, rollout = memory.budget.end, model.num_timesteps, known_rollout(model)
    if end is None:
        mend = "give learn() the timesteps that you expect, set final_decay_at=None, or decay a copy with finish()"
        return Notice(f"no budget is known (learn() has none), so there is no final decay: {mend}", "final decay")
    if (since := memory.decided.final_timestep) is not None:
        return Notice(f"the final decay of timestep {since:,} is in force")
    starts, moved = int(getattr(model, "learning_starts", 0)), clock(model).updates != memory.data["n_updates"]
    coming = final_decay(memory.budget, rollout or 1, now, starts, at, step, moved)
    begins, decayed, updates, factor, waits, highest = coming
    by = f"x {step:.3g}" if step else f"falling linearly to x {factor if rollout else 0:.2g}"
    if begins is not None and (at == 0 or not waits):
        if rollout is None:
            when = f"with the first rollout that begins at timestep {begins:,} of {end:,} or later"
            return Notice(f"final decay ({by}) {when}; none if the last rollout begins before")
        part = f"in the last {decayed:,} of {updates:,} updates ({decayed / updates:.0%})"
        return Notice(f"final decay ({by}) from timestep {begins:,} of {end:,} on: {part}")
    if begins is not None:
        why = f"learning_starts={starts:,} leaves all updates but the first to the final decay ({by})"
        mend = "Lower it, train longer, or set final_decay_at=None"
    elif waits:
        left = "one update alone" if updates else "no update"
        why = f"there is no final decay: learning_starts={starts:,} leaves {left} before the end at timestep {end:,}"
        mend = "Lower it, or train longer"
    else:
        length = "train_freq" if hasattr(model, "train_freq") else "n_steps"
        when = f"begins at {highest:.0%} of the budget, before {at:.0%}"
        why = f"there is no final decay: the last rollout ({rollout:,} timesteps) {when}"
        place = math.floor(100 * highest) / 100  # below what is given, and never 0
        mend = f"Train longer, or set a smaller {length}" + (f", or final_decay_at={place:g}" if place > 0 else "")
    # Who only looks if it runs is not warned.
    return Notice(f"{why}. {mend}", "final decay" if end - now >= TRIAL else "")


def _floor(rate: float, given: AbelSettings) -> Iterator[Notice]:
    """Say what a floor does to the decays of a constant rate."""
    floor, final = given.min_learning_rate, given.final_decay_at is not None
    if not floor or not (final or given.max_decays != 0):
        return
    most = None if given.max_decays is None else given.max_decays + final
    if rate <= floor:
        yield Notice(
            f"min_learning_rate={floor:g} is not below the learning rate of {rate:g}, which stays as it is", "floor"
        )
    elif rate * given.decay_factor < floor or (final and given.step is None):
        yield Notice(f"decays stop at min_learning_rate={floor:g}, from a learning rate of {rate:g}")
    elif most is not None and (lowest := rate * given.decay_factor**most) > floor:
        yield Notice(f"min_learning_rate={floor:g} will not be reached: all decays together end at {lowest:g}")


def _few_measurements(
    model: BaseAlgorithm, memory: TrainingState, given: AbelSettings, weight_decay: float
) -> Iterator[Notice]:
    """Tell where the rule can never decide, or will miss most bounces. Without weight decay none is expected."""
    every, left, rollout = memory.data["measure_every"], left_to_train(model, memory.budget), known_rollout(model) or 1
    if not (memory.data["auto"] and every < rollout):
        every = math.ceil(every / rollout) * rollout  # weights are measured at ends of rollouts
    expected = math.inf if left is None else len(memory.data["trace"]) + int(left / every)
    needed = getattr(given.rule, "min_measurements", 0)
    enough = max(needed, FEW) if isinstance(given.rule, TrendRule) else needed
    if expected >= enough or expected * every < TRIAL:
        return
    mend = "Use shorter rollouts, or train longer" if rollout > 1 else "Train longer"
    mend = "Set a smaller measure_every" if every > rollout else mend
    means = f"the rule is calibrated on {MEASUREMENTS}: it will miss bounces, most of them where half as many fit"
    if expected < needed:
        means = f"the rule needs {needed} before it can see a bounce: as it is, no bounce can decay the rate"
    fit = "measurement of the weight norm fits" if expected == 1 else "measurements of the weight norm fit"
    fit = f"about {expected} {fit} into this training, one every {every:.0f} timesteps"
    other = "or set max_decays=0 if you want the final decay alone."
    warning = "few measurements" if expected < needed or weight_decay > 0 else ""
    yield Notice(f"{fit}, and {means}. {mend}, {other}", warning)


def _unexpected(model: BaseAlgorithm) -> Iterator[str]:
    """Yield a warning for each thing that is not as the user will think it is."""
    parts, names, kind = measured_parameters(model), unowned(model), type(model).__name__
    if not parts:
        yield "no weight of the policy is trained now (requires_grad is False), so nothing is measured until one is"
    elif names and not {name for named in parts.values() for name in named} <= set(names):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        why = f"{len(names)} trainable tensors of the policy belong to no optimizer that was found ({shown})"
        yield f"{why}, and are not measured. An optimizer is looked for on the model and in its policy's modules"
    elif names and not is_of(model, "ARS"):
        what = "all of them are measured, and their weight decay is not known"
        yield f"no optimizer of the policy's weights was found on {kind}: {what}"
    if number := outside(model):
        yield f"{number} tensors that optimizers of {kind} own are not in its policy, and not measured"
    yield from _dropped_optimizer_kwargs(model)


def at_end(model: BaseAlgorithm, memory: TrainingState, given: AbelSettings, learned: bool) -> Iterator[Notice]:
    """Yield what to say where a training has ended with too little to decide on, or without its final decay."""
    if not learned:
        return
    made, needed = len(memory.data["trace"]), getattr(given.rule, "min_measurements", 0)
    budget, timestep, at, rollout = memory.budget, model.num_timesteps, given.final_decay_at, known_rollout(model)
    begin, end = max(budget.begin, getattr(model, "learning_starts", 0)), budget.end
    trial, cut = end is not None and end - begin < TRIAL, end is not None and timestep < end
    waiting = end is not None and at is not None and memory.decided.final_timestep is None
    stopped = f"stopped at timestep {timestep:,} of {end or 0:,}{', before its final decay' if waiting else ''}"
    if made < needed and not trial and (given.max_decays != 0 or (cut and waiting)):
        were = f"{made} measurement{'s' * (made != 1)} of the weight norm {'was' if made == 1 else 'were'} made"
        every = f"one every {memory.data['measure_every']:,.0f} timesteps" + (f"; it {stopped}" if cut else "")
        mend = "Give learn() the timesteps that you expect, or set measure_every."
        why = f"{were} in this training, {every}. The rule needs {needed} before it can see a bounce"
        yield Notice(f"{why}. {mend}", "few measurements")
    elif cut and waiting and at is not None:
        coming = final_decay(budget, rollout or 1, budget.begin, begin, at, given.step)
        yield from [Notice(f"the training {stopped}")] * (coming.begins is not None)
    if waiting and not cut and rollout is None:
        why = f"there was no final decay, as no rollout began after {at:.0%} of the budget: the last was too long"
        yield Notice(f"{why}. Train longer, or set a smaller final_decay_at", "" if trial else "final decay")


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

    What the user gave is gone by now, but its place in the dict is not. SB3 on its own puts ``optimizer_class`` first.
    """
    overwriting = {
        "A2C": (torch.optim.RMSprop, {"alpha": 0.99, "weight_decay": 0}),
        "QRDQN": (torch.optim.Adam, {"eps": 0.01 / (getattr(model, "batch_size", None) or 1)}),
    }
    given, kwargs = list(model.policy_kwargs), model.policy_kwargs.get("optimizer_kwargs", {})
    for name, (own_class, own_kwargs) in overwriting.items():
        is_own = model.policy_kwargs.get("optimizer_class") is own_class and own_kwargs.items() <= kwargs.items()
        if is_of(model, name) and is_own and given.index("optimizer_kwargs") < given.index("optimizer_class"):
            what = f"{name} has dropped the optimizer_kwargs of your policy_kwargs, weight decay included"
            yield f"{what}: it keeps them only where optimizer_class is given too. In use is {kwargs}."


def of_decided(
    state: DecayState, timestep: int, bounced: Sequence[str], made: Iterable[Made], rules: DecayRules, batch: str
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
        norm = f"{' and '.join(bounced)} weight norm"
        yield f"timestep {timestep}: the {norm} has bounced; no decay (max_decays={rules.max_decays})"
