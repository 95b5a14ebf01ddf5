"""AbelCallback: decays the learning rate when the weight norm has bounced, and once near the end."""

from __future__ import annotations

from typing import Any, ClassVar

from rl_abel.callbacks.base import LearningRateCallback
from rl_abel.callbacks.readings import AbelReadings
from rl_abel.callbacks.settings import AbelOptions
from rl_abel.learning_rate.batch_size import OnRate, check_action, make_action
from rl_abel.networks.norms import parts_of
from rl_abel.reporting import advice, tensorboard
from rl_abel.reporting.log_writer import LogWriter
from rl_abel.rules.decays import WATCHABLE, Deciding, final_factor, watched, whose_decay
from rl_abel.training.during import DuringUpdate
from rl_abel.training.gauge import Gauge
from rl_abel.training.measure_interval import Notice, rollout_timesteps, within_update
from rl_abel.training.measurement import Measuring
from rl_abel.training.resume import DOUBTFUL, look, recall
from rl_abel.training.state import EVERY_PART, NETWORKS, Decay, TrainingState


class AbelCallback(AbelOptions, AbelReadings):
    """Decay the learning rate when the squared weight norm has bounced, and once near the end (ABEL).

    Multiplies whatever ``learning_rate`` the model was given, for every algorithm of stable-baselines3,
    sb3-contrib and SBX (Lewkowycz 2021, Algorithm 1, with a rule that stands the noise of RL). For TRPO the
    rate reaches the value network alone: its policy moves by line search. In RL decays after a bounce have not been
    shown to help (docs/results/evidence.md): :class:`AutoLearningRate` makes none, nor does ``max_decays=0``.

    :param rule: what a bounce is. "trend" (needs a significant fall, then a rise), "paper" (Algorithm 1 to the
        letter: in RL it decays on noise), or an object with ``init() -> state`` and
        ``observe(state, weight_norm) -> (state, decayed)``, its state made of JSON values
    :param watch: whose norm decides: "total", "policy", "value" (a Q-network is "value"), or "any" of
        them, each by itself; None for "any" with the rule "trend" and "total" with another
    :param decay_factor: in (0, 1); the learning rate is multiplied by it at each decay
    :param final_decay_at: progress in (0, 1) at which the rate decays once, whatever the norm did;
        None turns the final decay off
    :param final_decay_shape: "step" for one decay by ``decay_factor``, "linear" for a cooldown to 0 from
        ``final_decay_at`` to the end of the budget
    :param max_decays: most decays after a bounce; None for any number, as in the paper, 0 for the final decay alone:
        bounces are then seen and counted all the same
    :param min_learning_rate: smallest rate that is applied, whatever lowers it: a decay after a bounce, the final
        one, or another callback of ours; never raises the user's own
    :param scope: whose rate decays after a bounce. "model": everybody's. "part": the policy's after a bounce
        of the policy, the value network's after one of its own; what belongs to neither alone, shared
        layers, ``log_std`` and the entropy coefficient, after one of the total, as it moves with both.
        The final decay is everybody's
    :param acts_on: what a decay by f acts on. "learning_rate": the rate is multiplied by f. "batch_size": the
        batch grows by 1/f in its place, so that fewer updates do the same (Smith et al. 2018), up to a
        rollout, off-policy to a tenth of the data; what does not fit goes to the rate. "mixed": batch by 1/f
        and rate by the square root of f, for Adam. Not for A2C, ARS and SBX. A cooldown acts on the rate alone
    :param max_batch_size: largest batch, for a memory that is small
    :param measure_every: timesteps between measurements, made at ends of rollouts; None for about 100
        a training, within an update too (at ends of epochs) where rollouts are few
    :param diagnose: record too why the norm moves: ``abel/displacement_<part>`` and
        ``abel/alignment_<part>``, whose sum is its change since the last measurement,
        ``abel/relative_update_<part>``, how far an update goes over the norm, and ``abel/layer/<name>``,
        the squared norms of the ten largest layers. Keeps a copy of the weights
    :param verbose: 1 prints what was decided and why
    :raises ValueError: for an argument out of its range, or two that cannot be had together, when the callback is
        made; when a training begins, for a part that the model does not have, a batch that cannot grow, or a model
        of SBX whose rate was fixed when it was built, unless neither kind of decay is wanted
    :raises TypeError: when a training begins, for a model in which there is nothing to measure
    """

    NAME = "abel"
    PASSING: ClassVar[tuple[str, ...]] = (
        *LearningRateCallback.PASSING,
        *("_during", "_recorder", "_measuring", "_deciding", "_action"),
    )

    def _prepare(self) -> None:
        self._memory, self._gauge = TrainingState.empty(), Gauge(self.diagnose)
        self._parts: list[str] = []
        self._make_tools()

    def _make_tools(self) -> None:
        self._during = DuringUpdate(self._measure_within)
        self._action = OnRate()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make_tools()

    # The course of a training

    @property
    def _may_move(self) -> bool:
        return self.max_decays != 0 or self.final_decay_at is not None

    def _init_callback(self) -> None:
        super()._init_callback()
        if not watched(self.watch, parts := ["total", *parts_of(self.model)]):
            have = [part for part in WATCHABLE if part in parts]
            raise ValueError(f"watch={self.watch!r}: {type(self.model).__name__} has no such part; it has {have}")
        check_action(self.acts_on, self.model)
        # Outside of learn() a model has no logger yet.
        if getattr(self.model, "_logger", None):
            with self._harmless("the dashboard of TensorBoard"):
                tensorboard.write_layout(self.logger, parts, self.diagnose)

    def _begin(self) -> None:
        self._during.disarm()
        # Of a model with one network the parts are the whole.
        self._alone = self.scope == "part" and set(NETWORKS) <= self._rate.split()
        self._recall()
        # What has decayed alone before stays so.
        self._apart = self._alone or (any(d.part in NETWORKS for d in self.decays) and bool(self._rate.split()))
        self._action = make_action(self.acts_on, self.model, self.max_batch_size)
        self._apply()
        self._row_due = True
        self._rollout = rollout_timesteps(self.model)
        # Where the rollout that is under way began.
        self._rollout_began = self.model.num_timesteps
        # ARS asks for the rate before a rollout: what is decided at its end is for the next.
        self._asks_first = advice.is_of(self.model, "ARS")
        self._record()

    def _before_update(self) -> None:
        timestep = self.model.num_timesteps
        began = timestep if self._asks_first else self._rollout_began
        if self._measuring.is_due(timestep):
            self._measure(timestep)
        self._decide_at_the_end(began, timestep)
        if self.acts_on != "learning_rate":
            # The batch may be another now.
            self._apply()
        self._action.begin_update()
        self._rollout_began = timestep
        data = self._memory.data
        if data["auto"] and data["measure_every"] < self._rollout and self._memory.budget.left(timestep) != 0:
            steps = within_update(self.model, self._memory.data["measure_every"])
            self._during.arm(getattr(self.model.policy, "optimizer", None), steps)

    def _after_update(self) -> None:
        self._memory.data["seen"] = look(self.model, self.NAME)
        self._during.disarm()
        self._action.end_update()
        if self._status_due or self._recorder.emptied:
            self._record()

    def _at_step(self) -> None:
        # A dump clears the logger: on-policy between rollouts, else (evaluations too) at any step.
        if self._recorder.emptied:
            self._record()

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        if self._started and self._row_due:
            # By now every other callback has had its training start, and nothing has been dumped.
            self._row_due = False
            with self._harmless("the row under HParams of TensorBoard"):
                tensorboard.write_row(self.logger, lambda: tensorboard.hparams(self.model, self))
            self._advise()

    def _end(self) -> None:
        self._record()
        self._recorder.write_last_update(self.model.num_timesteps)
        for notice in advice.at_end(self.model, self._memory, self, self._measuring.learned):
            self._tell(notice)

    def _touched(self) -> bool:
        # Of an update that was put off nothing has moved, whatever has since the last measurement.
        return not self._action.put_off and self._gauge.touched()

    # Measure

    def _measure(self, timestep: int) -> None:
        """Measure, let the rule decide, and keep both."""
        norms = self._measuring.measure(timestep)
        if norms is None:
            return
        self._decide(timestep, norms)
        if self._measuring.thin(timestep):
            self._deciding.keep()
            self._recorder.rewrite_table()
        if self.diagnose:
            self._measuring.terms = {**self._measuring.terms, "weight_decay": advice.weight_decay(self.model)}
        self._recorder.record_norms(norms, self._measuring.terms)
        self._recorder.write_measurement(timestep, norms, self._measuring.terms, self._status)

    def _measure_within(self, share: float) -> None:
        """Measure within the update after a rollout, as if it took as long as the next rollout does."""
        if self._started and self._rate.in_force:
            self._measure(self.model.num_timesteps + int(share * rollout_timesteps(self.model)))

    # Decide

    def _decide(self, timestep: int, norms: dict[str, float]) -> None:
        """Show the rule a measurement; a bounce decays the rate."""
        bounced = self._deciding.observe(norms)
        if bounced is None:
            self._warn("not trained", f"watch={self.watch!r}: nothing of it is trained now, so no bounce can be seen")
        if not bounced:
            return
        self._memory.add_bounce(timestep)
        self._status_due = True
        whose = whose_decay(bounced, self.decays, self.max_decays, self._alone)
        if not whose:
            seen = " and ".join(bounced)
            self._say(
                f"timestep {timestep}: the {seen} weight norm has bounced; no decay (max_decays={self.max_decays})"
            )
        for part, of in whose.items():
            decay = Decay(timestep, "bounce", self.decay_factor, part)
            self._add_decay(decay, f"the {of} weight norm has bounced")

    def _decide_at_the_end(self, began: int, timestep: int) -> None:
        """Decay near the end of the budget."""
        budget, linear = self._memory.budget, self.step is None
        if self.final_decay_at is None or not self._measuring.learned or budget.left(began) == 0:
            return
        factor = final_factor(budget, self._rollout, began, timestep, self.final_decay_at, self.step)
        if factor is None:
            return
        if not self._memory.is_final:
            cooldown = ", from here on linearly to 0" if linear else ""
            self._add_decay(
                Decay(began, "final", factor), f"{self.final_decay_at:.0%} of the budget is used up{cooldown}"
            )
            self._deciding.stop_at_the_end()
        elif linear:
            self._memory.set_final(factor)
            self._apply()

    def _add_decay(self, decay: Decay, reason: str) -> None:
        self._memory.add_decay(decay)
        self._apply()
        says = "" if decay.cause == "final" and self.final_decay_shape == "linear" else self._action.says
        what = "decay" if says else "learning rate"
        whose = what if decay.part == EVERY_PART else f"{what} of the {decay.part}"
        in_all = self._memory.factor_of(decay.part)
        self._say(f"timestep {decay.timestep}: {reason}; {whose} x {decay.factor:g} (in all x {in_all:g}){says}")

    # Apply

    def _apply(self) -> None:
        """Put in force what was decided, from the next update on."""
        self._status_due = True
        # What the batch takes is all parameters' and, as no batch grows without end, not a cooldown to 0.
        shared = self._memory.factor_of_all(final=self.final_decay_shape == "step")
        given_back = self._action.rate(shared) / shared
        self._factor.value = self.factor * given_back
        if self._apart:
            self._factor.by_part = {part: self._memory.factor_of(part) * given_back for part in NETWORKS}
        self._factor.floor, self._factor.final = self.min_learning_rate, self._memory.is_final

    # Record

    def _record(self) -> None:
        self._status_due = False
        # The factor of the latest update, whose rate SB3 logs: not that of the next, which a rollout's end may set.
        self._recorder.record_status(self._status)
        self._recorder.record_norms(self._measuring.norms, self._measuring.terms)

    # Remember

    def _recall(self) -> None:
        """Take up the memory of the model, and what the rule knows."""
        self._memory, fresh, finer, begins, unreadable, doubtful = recall(self.model, self.measure_every)
        memory = self._memory
        if fresh:
            self._gauge = Gauge(self.diagnose)
        self._parts = parts_of(self.model)
        quiet = self.locals.get("log_interval", 1) is None
        self._recorder = LogWriter(self.model, memory, self.diagnose, quiet)
        if unreadable:
            self._warn("unreadable", "what the model remembers is of another version, so the measurements begin anew")
        if doubtful and (memory.decays or memory.data["trace"]):
            self._rate.warn_once("doubtful", DOUBTFUL)
        if self.final_decay_at is None or memory.budget.progress(self.model.num_timesteps) < self.final_decay_at:
            memory.lift_final_decay()
        self._deciding = Deciding(self.rule, self.watch, memory, self._alone)
        self._measuring = Measuring(self.model, self._gauge, memory, self._begin_trace, self._warn)
        self._deciding.recall(finer, begins)
        self._recorder.rewrite_table()

    def _begin_trace(self, change: str) -> None:
        self._rate.look()
        self._deciding.forget()
        self._recorder.rewrite_table()

    # Say

    def _advise(self) -> None:
        with self._harmless("a hint"):
            for notice in advice.at_start(self.model, self._memory, self, self._rate.is_led):
                self._tell(notice)
            if self._action.idle:
                self._warn("batch", self._action.idle)

    def _tell(self, notice: Notice) -> None:
        """Warn once, or say it once in the life of a model."""
        said, line = self._memory.data["said"], notice.message
        if notice.warning:
            self._warn(notice.warning, line)
        elif line not in said:
            # Those of a training that goes on in many a learn() differ.
            said[:] = [*said, line][-20:]
            self._say(line)
