"""AbelCallback: decays the learning rate when the weight norm has bounced, and once near the end."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from rl_abel._validation import known_arguments
from rl_abel.callbacks.base import LearningRateCallback
from rl_abel.callbacks.settings import AbelSettings, settings_in
from rl_abel.learning_rate.batch_size import OnRate, check_action, make_action
from rl_abel.networks.norms import parts_of
from rl_abel.reporting import advice, tensorboard
from rl_abel.reporting.log_writer import LogWriter
from rl_abel.rules.bounce import Rule
from rl_abel.rules.decay_controller import DecayRules, decide, resume
from rl_abel.rules.decays import EVERY_PART, NETWORKS, REST, Decay
from rl_abel.training.measure_interval import rollout_timesteps
from rl_abel.training.measurement import DuringUpdate, Measurement
from rl_abel.training.state import TrainingState, look, recall


class AbelCallback(LearningRateCallback):
    """Decay the learning rate when the squared weight norm has bounced, and once near the end (ABEL).

    Multiplies whatever ``learning_rate`` the model was given, for every algorithm of stable-baselines3,
    sb3-contrib and SBX (Lewkowycz 2021, Algorithm 1, with a rule that stands the noise of RL). For TRPO the
    rate reaches the value network alone: its policy moves by line search. In RL decays after a bounce have not been
    shown to help (docs/results/evidence.md): :class:`AutoLearningRate` makes none, nor does ``max_decays=0``.

    >>> from stable_baselines3 import DQN
    >>> callback = AbelCallback()
    >>> _ = DQN("MlpPolicy", "CartPole-v1", learning_starts=0).learn(900, callback=callback)
    >>> callback.decays
    [Decay(timestep=768, cause='final', factor=0.1)]

    :param rule: what a bounce is. "trend" needs a significant fall, then a rise. "paper" is Algorithm 1 to the letter:
        in RL it decays on noise. An object of your own has ``init() -> state`` and ``observe(state, weight_norm) ->
        (state, decayed)``, its state made of JSON values
    :param watch: whose norm decides: "total", "policy", "value" (a Q-network is "value"), or "any" of them, each by
        itself. None is "any" with the rule "trend" and "total" with another
    :param decay_factor: in (0, 1). Each decay multiplies the learning rate by it
    :param final_decay_at: progress in (0, 1) at which the rate decays once, whatever the norm did. None turns it off. A
        linear decay can begin at 0 too
    :param final_decay_shape: "step" for one decay by ``decay_factor``, "linear" for a cooldown to 0 from
        ``final_decay_at`` to the end of the budget
    :param max_decays: most decays after a bounce. None is any number, as in the paper, and 0 the final decay alone:
        bounces are then counted all the same
    :param min_learning_rate: smallest rate that is applied, whatever lowers it: any decay, or another callback of
        ours. It never raises the user's own
    :param scope: whose rate decays after a bounce. "model": everybody's. "part": the policy's after a bounce of the
        policy, the value network's after one of its own. What belongs to neither alone (shared layers, ``log_std``,
        the entropy coefficient) decays after a bounce of the total. The final decay is everybody's
    :param acts_on: what a decay by f acts on. "learning_rate": the rate is multiplied by f. "batch_size": the batch
        grows by 1/f in its place (Smith et al. 2018), up to a rollout, off-policy to a tenth of the data; what does
        not fit goes to the rate. "mixed": batch by 1/f and rate by the square root of f, for Adam. Not for A2C, ARS
        and SBX. A cooldown acts on the rate alone
    :param max_batch_size: largest batch, for a memory that is small
    :param measure_every: timesteps between measurements, made at ends of rollouts. None is about 100 a training,
        within an update too (at ends of epochs) where rollouts are few
    :param diagnose: record too why the norm moves: ``abel/displacement_<part>`` and ``abel/alignment_<part>``, which
        add up to its change, ``abel/relative_update_<part>``, the length of an update over that of the weights, and
        ``abel/layer/<name>``, squared norms of the ten largest layers. Keeps a copy of the weights
    :param verbose: 1 prints what was decided and why
    :raises ValueError: when it is made, for an argument out of its range, or two that cannot be had together; when a
        training begins, for a part that the model does not have, a batch that cannot grow, or a rate that cannot move
    :raises TypeError: when a training begins, for a model in which there is nothing to measure
    """

    NAME = "abel"
    PASSING: ClassVar[tuple[str, ...]] = (*LearningRateCallback.PASSING, "_recorder", "_action")
    _action: OnRate = OnRate()  # what a decay acts on

    @known_arguments
    def __init__(
        self,
        rule: str | Rule = "trend",
        *,
        watch: str | None = None,
        decay_factor: float = 0.1,
        final_decay_at: float | None = 0.85,
        final_decay_shape: str = "step",
        max_decays: int | None = None,
        min_learning_rate: float = 0.0,
        scope: str = "model",
        acts_on: str = "learning_rate",
        max_batch_size: int | None = None,
        measure_every: int | None = None,
        diagnose: bool = False,
        verbose: int = 0,
    ) -> None:
        given = settings_in(locals())
        super().__init__(verbose)
        self.settings = AbelSettings(**given)
        self._state, self._measurement = TrainingState.empty(), Measurement(self.settings.diagnose)
        self._during = DuringUpdate()
        self._parts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        # The arguments are attributes too, as they were checked.
        if name in AbelSettings.__dataclass_fields__:
            return getattr(self.settings, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in AbelSettings.__dataclass_fields__:
            name, value = "settings", replace(self.settings, **{name: value})
        super().__setattr__(name, value)

    @property
    def factor(self) -> float:
        """Product of the decays in force; with ``scope="part"`` of those of neither network, see :attr:`factors`."""
        return self._state.decided.factor_of()

    @property
    def factors(self) -> dict[str, float]:
        """Product of the decays in force of each part of the model, ``total`` apart."""
        return {part: self._state.decided.factor_of(part if part in NETWORKS else REST) for part in self._parts}

    @property
    def n_bounces(self) -> int:
        """Bounces that the rule has seen, whether or not ``max_decays`` let them decay the rate."""
        return len(self._state.decided.bounces)

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, each with its timestep, cause ("bounce" or "final") and factor."""
        return list(self._state.decided.decays)

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements so far: ``timesteps`` and |w|^2 by part, lists of equal length."""
        return self._state.trace

    @property
    def diagnosis(self) -> dict[str, list[float]]:
        """With ``diagnose=True``: ``timesteps``, terms and layers by tag, of this session; NaN at first."""
        return self._measurement.diagnosis.history if self._measurement.diagnosis else {}

    @property
    def _may_move(self) -> bool:
        return self.settings.max_decays != 0 or self.settings.final_decay_at is not None

    def _init_callback(self) -> None:
        super()._init_callback()
        parts = ["total", *parts_of(self.model)]
        self.settings.check_watched(parts, type(self.model).__name__)
        check_action(self.settings.acts_on, self.model)
        # Outside of learn() a model has no logger yet.
        if getattr(self.model, "_logger", None):
            with self._harmless("the dashboard of TensorBoard"):
                tensorboard.write_layout(self.logger, parts, self.settings.diagnose)

    def _begin(self) -> None:
        self._during.disarm()
        # A model with one network has no parts that could decay alone.
        alone = self.settings.scope == "part" and set(NETWORKS) <= self._rate.split()
        self._rules: DecayRules = replace(self.settings, scope="part" if alone else "model")
        self._state = recall(self.model, self.settings.measure_every, self._rate.warn_once)
        budget = self._state.budget
        progress = None if budget.end is None else budget.progress(self.model.num_timesteps)
        self._state.decided = resume(self._rules, self._state.decided, progress)
        # Parts that decayed alone before keep their rates.
        self._apart = alone or (any(d.part in NETWORKS for d in self.decays) and bool(self._rate.split()))
        self._action = make_action(self.settings.acts_on, self.model, self.settings.max_batch_size)
        self._apply()
        self._is_announced, self._parts = False, parts_of(self.model)
        self._rollout, self._rollout_began = rollout_timesteps(self.model), self.model.num_timesteps
        self._budget, self._whole = budget, budget.in_rollouts(self._rollout)
        # ARS asks for its rate before a rollout.
        self._asks_first = advice.is_of(self.model, "ARS")
        self._measurement.begin(self.model, self._state, self._warn)
        quiet = self.locals.get("log_interval", 1) is None
        self._recorder = LogWriter(self.model, self._state, self.settings.diagnose, quiet)
        self._recorder.rewrite_table()
        self._record()

    def _before_update(self) -> None:
        timestep = self.model.num_timesteps
        began = timestep if self._asks_first else self._rollout_began
        if self._measurement.is_due(timestep):
            self._measure(timestep)
        at, progress = self.settings.final_decay_at, self._whole.progress(began)
        # Without a budget nothing is left, None, and no decay comes.
        if at is not None and progress >= at and self._measurement.learned and self._budget.left(began):
            self._decide(timestep, progress=progress, began=began)
        if self.settings.acts_on != "learning_rate":
            self._apply()  # the batch may be another now
        self._action.begin_update()
        self._rollout_began = timestep
        data = self._state.data
        if data["measure_every"] < self._rollout and data["auto"] and self._budget.left(timestep) != 0:
            self._during.arm(self.model, data["measure_every"], self._measure_within)

    def _after_update(self) -> None:
        self._state.data["seen"] = look(self.model, self.NAME)
        self._during.disarm()
        self._action.end_update()
        if self._status_due or self._recorder.emptied:
            self._record()
        if not self._is_announced:
            self._announce()

    def _at_step(self) -> None:
        # A dump clears the logger: on-policy between rollouts, else (evaluations too) at any step.
        if self._recorder.emptied:
            self._record()

    def _announce(self) -> None:
        """Say what will happen, once every other callback has had its training start, and before the first dump."""
        self._is_announced = True
        with self._harmless("the row under HParams of TensorBoard"):
            tensorboard.write_row(self.logger, lambda: tensorboard.hparams(self.model, self.settings))
        with self._harmless("a hint"):
            self._tell(advice.at_start(self.model, self._state, self.settings, self._rate.is_led))
            if self._action.idle:
                self._warn("batch", self._action.idle)

    def _end(self) -> None:
        self._record()
        self._recorder.write_last_update(self.model.num_timesteps)
        self._tell(advice.at_end(self.model, self._state, self.settings, self._measurement.learned))

    def _touched(self) -> bool:
        # An update that was put off has moved nothing, whatever moved since the last measurement.
        return not self._action.put_off and self._measurement.touched()

    def _measure(self, timestep: int) -> None:
        """Measure, let the rule decide, and keep both."""
        if self._measurement.look():
            self._rate.look()
            self._recorder.rewrite_table()
        norms = self._measurement.measure(timestep)
        if norms is None:
            return
        watched = {part: norm for part, norm in norms.items() if self.settings.watches(part)}
        if not watched:
            self._warn("not trained", f"no bounce can be seen: watch={self.settings.watch!r} is not trained now")
        self._decide(timestep, watched)
        if self.settings.diagnose:
            self._measurement.terms = {**self._measurement.terms, "weight_decay": advice.weight_decay(self.model)}
        self._recorder.record_norms(norms, self._measurement.terms)
        self._recorder.write_measurement(timestep, norms, self._measurement.terms, self._status)
        if self._measurement.is_thinned:
            self._recorder.rewrite_table()

    def _measure_within(self, share: float) -> None:
        """Measure within an update, as if it took as long as the next rollout does."""
        if self._started and self._rate.in_force:
            self._measure(self.model.num_timesteps + int(share * self._rollout))

    def _decide(self, timestep: int, norms: dict[str, float] | None = None, **end: Any) -> None:
        """Let a bounce, or the end of the budget, decay the rate; the arguments are those of :func:`decide`."""
        before = self._state.decided
        self._state.decided, (bounced, made) = decide(self._rules, before, timestep, norms, **end)
        if bounced or self._state.decided.decays != before.decays:
            self._apply()
        for line in advice.of_decided(self._state.decided, timestep, bounced, made, self._rules, self._action.says):
            self._say(line)

    def _apply(self) -> None:
        """Put in force what was decided, from the next update on."""
        self._status_due, decided = True, self._state.decided
        # The batch grows for all parts at once. It takes no part in a cooldown to 0, as no batch grows without end.
        shared = decided.factor_of(EVERY_PART, final=self.settings.final_decay_shape == "step")
        given_back = self._action.rate(shared) / shared
        self._factor.value = self.factor * given_back
        if self._apart:
            self._factor.by_part = {part: decided.factor_of(part) * given_back for part in NETWORKS}
        self._factor.floor, self._factor.final = self.settings.min_learning_rate, decided.final_timestep is not None

    def _record(self) -> None:
        # The factor of the latest update, whose rate SB3 logs: a rollout's end may set another for the next update.
        self._recorder.record_status(self._status)
        self._status_due = False
        self._recorder.record_norms(self._measurement.norms, self._measurement.terms)

    @property
    def _status(self) -> dict[str, float]:
        """What is in force, by name in the logs."""
        decided = self._state.decided
        apart = {f"factor_{part}": decided.factor_of(part) for part in NETWORKS if self._apart}
        counts = {"bounces": len(decided.bounces), "decays": len(decided.decays)}
        return {"factor": self.factor, **apart, **counts, **self._action.status}

    def _tell(self, notices: Iterable[advice.Notice]) -> None:
        """Warn once, or say it once in the life of a model."""
        for line, warning in notices:
            if warning:
                self._warn(warning, line)
            elif self._state.is_news(line):
                self._say(line)
