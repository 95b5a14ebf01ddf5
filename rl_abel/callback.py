"""AbelCallback: measure, decide, apply, record; the only side effects of the package."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import advice, dashboard
from rl_abel.checks import check_between, check_flag, check_integer, check_number
from rl_abel.diagnosis import Diagnosis
from rl_abel.memory import ATTRIBUTE, Decay, Memory
from rl_abel.norms import measured_parameters, norms_of, weight_norms
from rl_abel.placement import refuse_to_be_a_child, require_alone
from rl_abel.rule import JsonValue, Rule, TrendRule, make_rule, observe_each
from rl_abel.schedule import Scaled, unscaled
from rl_abel.spacing import default_interval, progress, too_few_measurements

WATCHABLE = ("any", "total", "policy", "value")


class AbelCallback(BaseCallback):
    """Decay the learning rate when the squared weight norm has bounced, and once near the end.

    Multiplies whatever ``learning_rate`` the model was given, for every algorithm of
    stable-baselines3 and sb3-contrib (Lewkowycz 2021, Algorithm 1, with a rule that stands the
    noise of RL). For TRPO the rate reaches the value network alone: its policy moves by line search.

    :param rule: "trend" (needs a significant fall, then a rise), "paper" (Algorithm 1 to the
        letter: in RL it decays on noise), or an object with ``init() -> state`` and
        ``observe(state, weight_norm) -> (state, decayed)``, its state made of JSON values
    :param watch: whose norm decides: "total", "policy", "value" (a Q-network is "value"), or "any" of
        them, each by itself; None for "any" with the rule "trend" and "total" with another
    :param decay_factor: in (0, 1); the learning rate is multiplied by it at each decay
    :param final_decay_at: progress in (0, 1) at which the rate decays once, whatever the norm did;
        None turns the final decay off
    :param min_learning_rate: floor of the applied rate; never raises the user's own
    :param max_decays: most decays by a bounce; None for any number
    :param measure_every: timesteps between measurements; None for about 100 a run. Fixed at the
        first ``learn()`` and kept when training goes on
    :param verbose: 1 prints what was decided and why
    :param diagnose: record too why the norm moves: ``abel/displacement_<part>`` and
        ``abel/alignment_<part>``, whose sum is its change since the last measurement, and
        ``abel/layer/<name>``, the squared norms of the ten largest layers. Keeps a copy of the weights
    :raises ValueError: for an argument out of its range, when the callback is made
    """

    def __init__(
        self,
        rule: str | Rule = "trend",
        watch: str | None = None,
        decay_factor: float = 0.1,
        final_decay_at: float | None = 0.85,
        min_learning_rate: float = 0.0,
        max_decays: int | None = None,
        measure_every: int | None = None,
        verbose: int = 0,
        diagnose: bool = False,
    ) -> None:
        super().__init__(verbose=check_integer("verbose", verbose, at_least=0))
        self.rule = make_rule(rule)
        if watch is None:
            watch = "any" if isinstance(self.rule, TrendRule) else "total"
        if watch not in WATCHABLE:
            raise ValueError(f"watch must be one of {list(WATCHABLE)}, got {watch!r}")
        try:
            json.dumps(self.rule.init())
        except TypeError as error:
            raise ValueError(f"rule must keep a state made of JSON values, got {self.rule.init()!r}: {error}") from None
        self.watch = watch
        self.decay_factor = check_between("decay_factor", decay_factor, 0, 1)
        self.final_decay_at = None if final_decay_at is None else check_between("final_decay_at", final_decay_at, 0, 1)
        self.min_learning_rate = check_number("min_learning_rate", min_learning_rate, at_least=0)
        self.max_decays = None if max_decays is None else check_integer("max_decays", max_decays, at_least=0)
        self.measure_every = (
            None if measure_every is None else check_integer("measure_every", measure_every, at_least=1)
        )
        self.diagnose = check_flag("diagnose", diagnose)
        self._memory = Memory.empty()
        self._rule_states: dict[str, JsonValue] = {}
        self._diagnosis: Diagnosis | None = None
        self._terms: dict[str, float] = {}
        self._norms: dict[str, float] = {}
        self._started = self._in_rollout = self._row_due = False
        self._warned_non_finite = False
        self._n_updates_at_start = 0
        self._weight_decay = 0.0
        self._measured_policy: Any = None
        self._parameters: dict[str, Any] = {}
        # Timesteps from which the next one is due; set at training start.
        self._next_measurement = 0.0
        self._next_final_decay = math.inf

    @property
    def factor(self) -> float:
        """Product of the decays in force: the learning rate is the user's own times this."""
        return self._memory.factor

    @property
    def n_bounces(self) -> int:
        """Bounces that the rule has seen, whether or not ``max_decays`` let them decay the rate."""
        return int(self._memory.data["n_bounces"])

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, each with its timestep, cause ("bounce" or "final") and factor."""
        return self._memory.decays

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements so far: ``timesteps`` and |w|^2 by part, lists of equal length."""
        return self._memory.trace

    @property
    def diagnosis(self) -> dict[str, list[float]]:
        """With ``diagnose=True``, at the measurements of this session: ``timesteps``, terms and layers by tag.

        The terms are NaN at the first one. They are not saved with the model.
        """
        return self._diagnosis.history if self._diagnosis else {}

    def _init_callback(self) -> None:
        self._started = self._in_rollout = False
        if self.parent is not None:
            refuse_to_be_a_child(self.parent)
        if not self._watched(parts := ["total", *measured_parameters(self.model)]):
            have = [part for part in WATCHABLE if part in parts]
            raise ValueError(f"watch={self.watch!r}: {type(self.model).__name__} has no such part; it has {have}")
        # Outside of learn() a model has no logger yet.
        if getattr(self.model, "_logger", None):
            dashboard.write_layout(self.logger)

    def _on_training_start(self) -> None:
        if self.parent is not None:
            refuse_to_be_a_child(self.parent)
        require_alone(AbelCallback, self.locals.get("callback"))
        self._recall()
        self._started = True
        self._measured_policy = None
        self._warned_non_finite = False
        self._n_updates_at_start = self.model._n_updates
        if self.final_decay_at is None or progress(self.model) < self.final_decay_at:
            self._memory.lift_final_decay()
        self._weight_decay = advice.weight_decay(self.model)
        self._schedule_next()
        self._apply()
        self._record()
        self._row_due = True
        for line in advice.at_start(self.model, self.final_decay_at):
            self._say(line)
        if warning := advice.dropped_optimizer_kwargs(self.model):
            warnings.warn(warning, UserWarning, stacklevel=2)
        if self.max_decays != 0:
            needed = getattr(self.rule, "min_measurements", 0)
            made = len(self._memory.data["trace"])
            if warning := too_few_measurements(self.model, made, needed, self._memory.data["measure_every"]):
                warnings.warn(warning, UserWarning, stacklevel=2)

    def _on_step(self) -> bool:
        if not self._in_rollout:
            refuse_to_be_a_child(self.parent)
        self._record_after_dump()
        return True

    def _on_rollout_start(self) -> None:
        self._in_rollout = True
        self._record_after_dump()
        if self._row_due:
            # By now every other callback has had its training start, and nothing has been dumped.
            self._row_due = False
            hparams = dashboard.hparams(self.model, self.rule)
            hparams.update(watch=self.watch, decay_factor=self.decay_factor, weight_decay=self._weight_decay)
            dashboard.write_row(self.logger, hparams)

    def _on_rollout_end(self) -> None:
        timestep, decays = self.model.num_timesteps, len(self._memory.data["decays"])
        measured = False
        if timestep >= self._next_measurement and self.model._n_updates != self._memory.data["n_updates"]:
            measured = self._measure()
        # A budget that is one rollout would be spent at the decayed rate as a whole.
        if timestep >= self._next_final_decay and self.model._n_updates != self._n_updates_at_start:
            self._memory.add_decay(Decay(timestep, "final", self.decay_factor))
            self._say_decay(f"{self.final_decay_at:.0%} of the budget is used up")
            self._next_final_decay = math.inf
        decayed = len(self._memory.data["decays"]) > decays
        if decayed:
            self._apply()
        if measured or decayed:
            self._record()

    def _on_training_end(self) -> None:
        if not self._started:
            return
        self._started = False
        norms = weight_norms(self.model)
        if _finite(norms):
            self._norms = norms
            if self._diagnosis and self._diagnosis.policy is self.model.policy:
                self._terms = self._diagnosis.compare(measured_parameters(self.model))
        self._record()
        if self.locals.get("log_interval", 1) is not None:
            self._dump_last_update()

    def _measure(self) -> bool:
        """Measure, let the rule decide, and keep both; whether anything was measured."""
        # Finding the parameters takes as long as measuring them, and they stay the same in a training.
        if self._measured_policy is not self.model.policy:
            self._measured_policy, self._parameters = self.model.policy, measured_parameters(self.model)
        timestep, norms = self.model.num_timesteps, norms_of(self._parameters)
        self._memory.data["n_updates"] = self.model._n_updates
        if not _finite(norms):
            if not self._warned_non_finite:
                warnings.warn(
                    f"rl_abel: the weight norm is not finite at timestep {timestep}: {norms}. Such measurements are "
                    "skipped and the learning rate is left as it is; the training has probably diverged.",
                    UserWarning,
                    stacklevel=2,
                )
            self._warned_non_finite = True
            return False
        self._norms = norms
        self._memory.add_measurement(timestep, norms)
        self._next_measurement = timestep + self._memory.data["measure_every"]
        if self.diagnose:
            if self._diagnosis is None or self._diagnosis.policy is not self.model.policy:
                self._diagnosis = Diagnosis(self.model.policy)
            self._diagnosis.observe(timestep, self._parameters)
            self._terms = self._diagnosis.latest
        # The lower rate ends a growth by itself, which "trend" would take for the end of a bounce.
        if isinstance(self.rule, TrendRule) and any(decay.cause == "final" for decay in self.decays):
            return True
        watched = {part: norms[part] for part in self._watched(norms)}
        self._rule_states, bounced = observe_each(self.rule, self._rule_states, watched)
        if bounced:
            self._memory.data["n_bounces"] += 1
            if self.max_decays is None or sum(d.cause == "bounce" for d in self.decays) < self.max_decays:
                self._memory.add_decay(Decay(timestep, "bounce", self.decay_factor))
                self._say_decay(f"the {' and '.join(bounced)} weight norm has bounced")
        return True

    def _watched(self, parts: Iterable[str]) -> list[str]:
        return [part for part in parts if part == self.watch or (self.watch == "any" and part in WATCHABLE)]

    def _recall(self) -> None:
        """Take up the memory of the model, or start anew."""
        model = self.model
        data = getattr(model, ATTRIBUTE, None)
        if data is None or model.num_timesteps == 0:
            parts = list(measured_parameters(model))
            data = Memory.empty(model._n_updates, self.measure_every or default_interval(model), parts).data
            setattr(model, ATTRIBUTE, data)
            self._diagnosis = None
        self._terms = self._diagnosis.latest if self._diagnosis else {}
        self._memory = Memory(data)
        trace = self._memory.trace
        self._norms = {part: norms[-1] for part, norms in trace.items() if part != "timesteps" and norms}
        # The trace is all that a rule has seen, so its state need not be kept, nor can it be another rule's.
        self._rule_states = {}
        watched = self._watched(trace)
        for norms in zip(*(trace[part] for part in watched)):
            self._rule_states, _ = observe_each(self.rule, self._rule_states, dict(zip(watched, norms)))

    def _schedule_next(self) -> None:
        last = self._memory.last_timestep
        self._next_measurement = 0 if last is None else last + self._memory.data["measure_every"]
        if self.final_decay_at is None or any(decay.cause == "final" for decay in self.decays):
            self._next_final_decay = math.inf
        else:
            self._next_final_decay = self.final_decay_at * self.model._total_timesteps

    def _apply(self) -> None:
        self.model.lr_schedule = Scaled(unscaled(self.model.lr_schedule), self.factor, self.min_learning_rate)

    def _record(self) -> None:
        record, decays = self.logger.record, self.decays
        for part, norm in self._norms.items():
            record(f"abel/weight_norm_{part}", norm)
        record("abel/factor", math.prod(decay.factor for decay in decays))
        record("abel/bounces", self.n_bounces)
        record("abel/decays", len(decays))
        if self.diagnose:
            record("abel/weight_decay", self._weight_decay)
        for name, value in self._terms.items():
            # SB3's table in the terminal cuts long names, and raises where two then are the same.
            record(f"abel/{name}", value, exclude="stdout" if name.startswith("layer/") else None)

    def _dump_last_update(self) -> None:
        # SB3 dumps before it trains, so the last update would never be seen.
        logger = self.logger
        logger.record("time/total_timesteps", self.model.num_timesteps, exclude="tensorboard")
        stores: list[Any] = [logger.name_to_value, logger.name_to_count, logger.name_to_excluded]
        kept = [dict(store) for store in stores]
        logger.dump(self.model.num_timesteps)
        # SB3 leaves the last update's values in the logger, where users read them after learn().
        for store, values in zip(stores, kept):
            store.update(values)

    def _record_after_dump(self) -> None:
        # A dump clears the logger: on-policy between rollouts, else (evaluations too) at any step.
        if "abel/factor" not in self.model.logger.name_to_value:
            self._record()

    def _say(self, line: str) -> None:
        if self.verbose >= 1:
            print(f"abel: {line}")

    def _say_decay(self, reason: str) -> None:
        self._say(
            f"timestep {self.model.num_timesteps}: {reason}; learning rate x {self.decay_factor:g} "
            f"(in all x {self.factor:g})"
        )


def _finite(norms: dict[str, float]) -> bool:
    return all(map(math.isfinite, norms.values()))
