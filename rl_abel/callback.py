"""AbelCallback: measure, decide, apply, record; the only side effects of the package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import advice, dashboard
from rl_abel.checks import check_between, check_flag, check_integer, check_number, check_verbose
from rl_abel.during import DuringUpdate
from rl_abel.gauge import Gauge, finite
from rl_abel.memory import KEPT, MOST_MEASUREMENTS, Decay, Memory
from rl_abel.norms import parts_of
from rl_abel.notices import Harmless, warn
from rl_abel.placement import misplaced, refuse_to_be_a_child, require_alone
from rl_abel.rate import AppliedRate
from rl_abel.recorder import Recorder
from rl_abel.rule import JsonValue, Rule, TrendRule, make_rule, observe_each
from rl_abel.spacing import rollout_timesteps, within_update
from rl_abel.training import clock, recall

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
    :param measure_every: timesteps between measurements, made at ends of rollouts; None for about 100
        a training, within an update too (at ends of epochs) where rollouts are few
    :param verbose: 1 prints what was decided and why
    :param diagnose: record too why the norm moves: ``abel/displacement_<part>`` and
        ``abel/alignment_<part>``, whose sum is its change since the last measurement,
        ``abel/relative_update_<part>``, how far an update goes over |w|, and ``abel/layer/<name>``,
        the squared norms of the ten largest layers. Keeps a copy of the weights
    :raises ValueError: for an argument out of its range, when the callback is made
    :raises TypeError: when a training begins, for a model without parameters of PyTorch (SBX)
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
        super().__init__(verbose=check_verbose(verbose))
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
        self._gauge = Gauge(diagnose)
        self._started = self._in_rollouts = False
        self._rule_states: dict[str, JsonValue] = {}
        self._next_measurement = self._next_look = 0.0
        self._norms: dict[str, float] = {}
        self._terms: dict[str, float] = {}
        self._during = DuringUpdate(self._measure_within)
        self._said: set[str] = set()
        self._harmless = Harmless()

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
        return self._gauge.diagnosis.history if self._gauge.diagnosis else {}

    def __getstate__(self) -> dict[str, Any]:
        # A copy keeps what was measured and decided; a model and its environment cannot always be copied.
        passing = ("model", "locals", "globals", "parent", "_gauge", "_during", "_rate", "_recorder")
        return {name: value for name, value in vars(self).items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, locals={}, globals={}, parent=None, _started=False)
        self._gauge, self._during = Gauge(self.diagnose), DuringUpdate(self._measure_within)

    # What SB3 calls

    def _init_callback(self) -> None:
        self._started = self._in_rollouts = False
        refuse_to_be_a_child(self, None)
        if not self._watched(parts := ["total", *parts_of(self.model)]):
            have = [part for part in WATCHABLE if part in parts]
            raise ValueError(f"watch={self.watch!r}: {type(self.model).__name__} has no such part; it has {have}")
        # Outside of learn() a model has no logger yet.
        if getattr(self.model, "_logger", None):
            with self._harmless("the dashboard of TensorBoard"):
                dashboard.write_layout(self.logger, parts, self.diagnose)

    def _on_training_start(self) -> None:
        root = self.locals.get("callback")
        refuse_to_be_a_child(self, root)
        require_alone(AbelCallback, root)
        self._during.disarm()
        self._rate = AppliedRate(self.model, self.min_learning_rate)
        self._recall()
        self._started = self._status_due = self._row_due = True
        self._updated = self._learned = False
        # Where the rollout that is under way began, and the updates there were at the end of the last.
        self._rollout_began, self._n_updates = clock(self.model)
        # Weights that have moved since the last measurement, in an earlier session, are one to come.
        moved = clock(self.model).updates != self._memory.data["n_updates"]
        self._known = self._norms if self._norms or moved else self._gauge.norms()
        self._rate.hold(self.factor)
        self._record()
        self._advise()

    def _on_rollout_start(self) -> None:
        self._in_rollouts = True
        if not self._started:
            return
        self._look_back()
        if self._row_due:
            # By now every other callback has had its training start, and nothing has been dumped.
            self._row_due = False
            with self._harmless("the row under HParams of TensorBoard"):
                dashboard.write_row(self.logger, self._hparams)

    def _on_step(self) -> bool:
        if self._started:
            self._look_back()
        elif not self._in_rollouts:
            raise misplaced("another callback" if self.parent is None else type(self.parent).__name__)
        return True

    def _on_rollout_end(self) -> None:
        if not self._started:
            # Rollouts are collected outside of learn().
            return
        self._rate.hold(self.factor)
        began, timestep = self._rollout_began, self.model.num_timesteps
        self._measure_if_due(timestep)
        self._decay_at_the_end(began)
        self._rollout_began, self._n_updates = clock(self.model)
        self._updated = self._status_due = True
        self._rate.begin_update()
        if self._memory.data["auto"] and self._memory.budget.left(timestep) != 0:
            steps = within_update(self.model, self._memory.data["measure_every"])
            self._during.arm(getattr(self.model.policy, "optimizer", None), steps)

    def _on_training_end(self) -> None:
        if not self._started:
            return
        self._status_due = True
        self._look_back()
        self._started = False
        self._recorder.write_last_update(self.model.num_timesteps)
        self._rate.release()
        if warning := advice.at_end(self.model, self._memory, self.rule, self._learned, self.max_decays):
            self._warn("few measurements", warning)

    # Measure

    def _measure_if_due(self, timestep: int) -> None:
        data = self._memory.data
        counted, written = clock(self.model).updates != data["n_updates"], self._gauge.touched()
        self._learned = self._learned or counted or written
        if timestep < self._next_measurement:
            return
        # Not every algorithm counts its updates, nor does torch count what is written into parameter.data.
        if counted or written or timestep >= self._next_look:
            self._next_look = timestep + data["measure_every"]
            self._measure(timestep)

    def _measure_within(self, share: float) -> None:
        """Measure within the update after a rollout, as if it took as long as the next rollout does."""
        if self._started and self._rate.in_force:
            self._measure(self.model.num_timesteps + int(share * rollout_timesteps(self.model)))

    def _measure(self, timestep: int) -> None:
        """Measure, let the rule decide, and keep both; weights that have not moved are no measurement."""
        memory = self._memory
        if change := self._gauge.find(self.model):
            self._begin_trace(change)
        norms = self._gauge.norms()
        self._gauge.mark()
        memory.data["n_updates"] = clock(self.model).updates
        if not norms or norms == self._known:
            return
        if not finite(norms):
            self._warn(
                "not finite",
                f"the weight norm is not finite at timestep {timestep}: {norms}. Such measurements are "
                "skipped and the learning rate is left as it is; the training has probably diverged.",
            )
            return
        self._learned, self._norms, self._known = True, norms, norms
        self._terms = self._gauge.terms(timestep)
        memory.add_measurement(timestep, norms)
        self._decide(timestep, norms)
        if memory.data["auto"] and len(memory.data["trace"]) > MOST_MEASUREMENTS:
            memory.thin()
            self._keep_rule()
            self._recorder.rewrite_table()
        self._next_measurement = timestep + memory.data["measure_every"]
        if self.diagnose:
            self._terms = {**self._terms, "weight_decay": advice.weight_decay(self.model)}
        self._recorder.record_norms(norms, self._terms)
        self._recorder.write_measurement(timestep, norms, self._terms, self._status)

    def _begin_trace(self, change: str) -> None:
        """Measurements of other weights cannot be compared with those before."""
        kept = len(self._memory.data["trace"])
        self._memory.begin_trace(self._gauge.sizes)
        self._rule_states, self._norms = {}, {}
        if kept:
            self._warn(
                "other weights",
                f"other weights are trained now ({change}), so the trace and the rule begin anew; decays stay",
            )
            self._recorder.rewrite_table()

    # Decide

    def _decide(self, timestep: int, norms: dict[str, float]) -> None:
        """Show the rule a measurement; a bounce decays the rate."""
        # The lower rate ends a growth by itself, which "trend" would take for the end of a bounce.
        if isinstance(self.rule, TrendRule) and self._memory.is_final:
            return
        watched = {part: norms[part] for part in self._watched(norms)}
        if not watched:
            self._warn("not trained", f"watch={self.watch!r}: nothing of it is trained now, so no bounce can be seen")
        self._rule_states, bounced = observe_each(self.rule, self._rule_states, watched)
        self._keep_rule()
        if bounced:
            self._memory.add_bounce(timestep)
            if self.max_decays is None or sum(d.cause == "bounce" for d in self.decays) < self.max_decays:
                reason = f"the {' and '.join(bounced)} weight norm has bounced"
                self._decay(Decay(timestep, "bounce", self.decay_factor), reason)

    def _decay_at_the_end(self, began: int) -> None:
        """Decay once near the end of the budget; an update belongs to where its rollout began.

        So in a budget of a few rollouts the decay does not take a large part of the updates.
        """
        if self.final_decay_at is None or self._memory.is_final or not self._learned:
            return
        budget = self._memory.budget.in_rollouts(rollout_timesteps(self.model))
        if budget.progress(began) >= self.final_decay_at:
            self._decay(Decay(began, "final", self.decay_factor), f"{self.final_decay_at:.0%} of the budget is used up")
            # From here on "trend" sees nothing, while the trace goes on.
            if self._memory.data["replay"] is None and isinstance(self.rule, TrendRule):
                self._memory.data["replay"] = len(self._memory.data["trace"])

    def _keep_rule(self) -> None:
        self._memory.keep_rule(repr(self.rule), self._rule_states)

    def _watched(self, parts: Iterable[str]) -> list[str]:
        return [part for part in parts if part == self.watch or (self.watch == "any" and part in WATCHABLE)]

    def _decay(self, decay: Decay, reason: str) -> None:
        self._memory.add_decay(decay)
        self._rate.hold(self.factor)
        factors = f"learning rate x {decay.factor:g} (in all x {self.factor:g})"
        self._say(f"timestep {decay.timestep}: {reason}; {factors}")

    # Record

    @property
    def _status(self) -> dict[str, float]:
        return {"factor": self.factor, "bounces": self.n_bounces, "decays": len(self.decays)}

    def _look_back(self) -> None:
        """Bring everything up to date at the first event after an update, or after a dump."""
        now = clock(self.model)
        self._memory.data["seen"] = list(now)
        if self._updated and (now.updates != self._n_updates or self._gauge.touched()):
            self._updated = False
            self._during.disarm()
            if self._rate.to_verify() and (warning := self._rate.verify(self._gauge.groups(self.model))):
                self._warn("does not follow", warning)
        self._rate.hold(self.factor)
        # A dump clears the logger: on-policy between rollouts, else (evaluations too) at any step.
        if self._status_due or self._recorder.emptied:
            self._status_due = False
            self._record()

    def _record(self) -> None:
        # The factor of the latest update, whose rate SB3 logs: not that of the next, which a rollout's end may set.
        self._recorder.record_status(self._status)
        self._recorder.record_norms(self._norms, self._terms)

    def _hparams(self) -> dict[str, str | float]:
        return {
            **dashboard.hparams(self.model, self.rule),
            "watch": self.watch,
            "decay_factor": self.decay_factor,
            "weight_decay": advice.weight_decay(self.model),
        }

    # Remember

    def _recall(self) -> None:
        """Take up the memory of the model, and what the rule knows."""
        self._memory, fresh, finer, begins, unreadable = recall(self.model, self.measure_every)
        memory = self._memory
        if fresh:
            self._gauge = Gauge(self.diagnose)
        quiet = self.locals.get("log_interval", 1) is None
        self._recorder = Recorder(self.model, memory, self.diagnose, quiet)
        if unreadable:
            self._warn("unreadable", "what the model remembers is of another version, so the measurements begin anew")
        budget = memory.budget
        if self.final_decay_at is None or budget.progress(self.model.num_timesteps) < self.final_decay_at:
            memory.lift_final_decay()
        self._rule_states, self._norms, self._terms = {}, {}, {}
        change = self._gauge.find(self.model)
        self._gauge.mark()
        if not memory.fits(self._gauge.sizes):
            self._begin_trace(change or "their number differs from that of the model that was measured before")
        elif change:
            self._begin_trace(change)
        trace = memory.trace
        if last := memory.last_timestep:
            self._norms = {part: norms[-1] for part, norms in trace.items() if part != "timesteps"}
            self._terms = self._gauge.diagnosis.latest if self._gauge.diagnosis else {}
        self._next_measurement = 0.0 if last is None else last + memory.data["measure_every"]
        self._next_look = self._next_measurement
        self._recall_rule(trace, finer)
        if begins and trace["timesteps"]:
            # From here on the trace holds more than the rule has seen, or less.
            memory.data["replay"] = KEPT
            self._keep_rule()
        self._recorder.rewrite_table()

    def _recall_rule(self, trace: dict[str, list[Any]], finer: bool) -> None:
        """Take up what the rule knows; another rule, or on other parts, catches up with the trace."""
        watched = self._watched(trace)
        states = self._memory.rule_states(repr(self.rule), watched)
        if states is None:
            states, shown = {}, self._memory.data["replay"]
            for norms in zip(*(trace[part][: None if shown == KEPT else shown] for part in watched)):
                states, _ = observe_each(self.rule, states, dict(zip(watched, norms)))
        # Closer measurements grow by less, which is no end of a growth.
        self._rule_states = {} if finer else states

    # Say

    def _advise(self) -> None:
        with self._harmless("a hint"):
            for line in advice.at_start(self.model, self.final_decay_at, self._memory.budget):
                self._say_once(line)
            for warning in advice.warnings_at_start(self.model):
                self._warn(warning, warning)
            if self.max_decays != 0 and (few := advice.few(self.model, self._memory, self.rule)):
                if few.warn:
                    self._warn("few measurements", few.message)
                else:
                    self._say_once(few.message)

    def _say(self, line: str) -> None:
        if self.verbose >= 1:
            print(f"abel: {line}")

    def _say_once(self, line: str) -> None:
        """Say it once in the life of a model."""
        if line not in self._memory.data["said"]:
            self._memory.data["said"].append(line)
            self._say(line)

    def _warn(self, key: str, message: str) -> None:
        """Warn once, whatever numbers the message holds."""
        if key not in self._said:
            self._said.add(key)
            warn(message)
