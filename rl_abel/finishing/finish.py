"""What an agent would be worth if one stopped now: a copy of it, trained on at a decayed rate."""

import copy
import importlib
from inspect import signature
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import FloatSchedule

from rl_abel._validation import check_between, check_integer, known_arguments
from rl_abel._warnings import warn
from rl_abel.callbacks.base import TopLevelCallback
from rl_abel.callbacks.rate_by_part import PARTS, RateByPart
from rl_abel.finishing import copies
from rl_abel.finishing.copies import AnyEnv, Model, random_states_kept
from rl_abel.learning_rate.applied_rate import AppliedRate
from rl_abel.learning_rate.multiplied_schedule import unscaled
from rl_abel.networks.jax_models import is_jax
from rl_abel.networks.norms import parts_of
from rl_abel.reporting.tensorboard import tensorboards
from rl_abel.rules.decays import NETWORKS, OUTSIDE, REST
from rl_abel.training.state import ATTRIBUTE, TrainingState, clock, kept_by_others

# Schedules of SB3's models besides the learning rate's
SCHEDULES = ("clip_range", "clip_range_vf", "exploration_schedule", "delta_std_schedule")


@known_arguments
def finish(model: Model, timesteps: int, decay_factor: float = 0.1, env: AnyEnv | None = None) -> Model:
    """Return a copy of the model, trained on at a decayed learning rate; the original goes on as if never asked.

    For training without a budget (Lewkowycz 2021, Sec. 2): train at the full rate for as long as you like. Finish
    a copy whenever you want to know what the agent is worth.

    The copy has the weights, optimizers, replay buffer, environment and random generators of the model. It begins with
    a new episode. Its learning rate is constant: the one in force now, our callbacks included, times ``decay_factor``.
    Its other schedules (clip range, exploration) stay at what they are now. It logs nothing while it is finished. A
    compiled policy is copied uncompiled.

    Global random states are as before afterwards. So the original trains on to the last bit as without this call,
    which may come from a callback.

    >>> from stable_baselines3 import PPO
    >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64).learn(64)
    >>> finish(model, timesteps=64).num_timesteps, model.num_timesteps
    (128, 64)

    :param model: of stable-baselines3 or sb3-contrib; it may be in the middle of a ``learn()``
    :param timesteps: to train the copy for, in whole rollouts
    :param decay_factor: in (0, 1); what the rate is multiplied by
    :param env: to train the copy in, with as many environments as the model has; it gets the statistics of the model's
        ``VecNormalize``. None for a copy of the model's own with all its state, or anew from its arguments if it
        pickles itself (Box2D, MuJoCo, Atari)
    :raises ValueError: for an argument out of its range, or for what cannot be copied, such as an environment in
        processes of its own (``SubprocVecEnv``) or one that records videos. Give ``env`` then
    :raises TypeError: for a model of SBX, or one in which there is nothing to measure
    """
    timesteps = check_integer("timesteps", timesteps, at_least=1)
    decay_factor = check_between("decay_factor", decay_factor, 0, 1)
    _check_model(model)
    with random_states_kept():
        finished = copies.copy_model(model, env)
        rates = {part: decay_factor * rate for part, rate in _rates_in_force(model, finished).items()}
        # A temperature has no multiplier, so the others are multiples of its rate.
        rate = rates[OUTSIDE if getattr(model, "ent_coef_optimizer", None) else None] or rates[None]
        if rate == 0:
            warn("the learning rate in force is 0: to finish the model changes no weights")
        finished.learning_rate, finished.lr_schedule = rate, FloatSchedule(rate)
        for name in SCHEDULES:
            # The copy's progress would begin anew.
            if callable(schedule := getattr(finished, name, None)):
                setattr(finished, name, FloatSchedule(float(schedule(model._current_progress_remaining))))
        # The rate holds the decays already.
        vars(finished).pop(ATTRIBUTE, None)
        apart: dict[str, Any] = {
            part: own / rate for part, own in rates.items() if part in PARTS and rate and own != rate
        }
        finished.learn(timesteps, reset_num_timesteps=False, callback=RateByPart(**apart) if apart else None)
    # Trained on by the user it logs as a new model does: never into the original's files.
    finished._custom_logger = False
    return finished


def _check_model(model: object) -> None:
    if not isinstance(model, BaseAlgorithm):
        raise ValueError(f"model must be a model of stable-baselines3, got {model!r}")
    if is_jax(model):
        raise TypeError(f"a model of SBX cannot be finished, got {type(model).__name__}: copying it is not supported")
    parts_of(model)


class FinishedEval(TopLevelCallback):
    """Log ``abel/finished_reward``: what the agent would be worth if training stopped now.

    Every so often it finishes a copy of the model (:func:`finish`) and evaluates it. The training goes on to the last
    bit as without this callback. Each result costs ``timesteps`` of training, and a second replay buffer meanwhile.

    :param eval_env: to evaluate the copies in, deterministically; it gets the statistics of a ``VecNormalize``
    :param every: timesteps between two results, each at the start of a rollout, and at the end of a training
    :param timesteps: to finish a copy for
    :param decay_factor: in (0, 1); what the rate is multiplied by
    :param n_eval_episodes: episodes to average over
    :param env: as in :func:`finish`
    :param verbose: 1 prints the results
    :raises ValueError: for an argument out of its range; when a training begins, for an environment that cannot be
        copied, or a place inside a callback such as ``EvalCallback``
    :raises TypeError: for a model of SBX, when a training begins
    """

    @known_arguments
    def __init__(
        self,
        eval_env: AnyEnv,
        every: int,
        timesteps: int,
        decay_factor: float = 0.1,
        n_eval_episodes: int = 5,
        env: AnyEnv | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.eval_env = copies.vectorized("eval_env", eval_env)
        self.every = check_integer("every", every, at_least=1)
        self.timesteps = check_integer("timesteps", timesteps, at_least=1)
        self.decay_factor = check_between("decay_factor", decay_factor, 0, 1)
        self.n_eval_episodes = check_integer("n_eval_episodes", n_eval_episodes, at_least=1)
        self.env = None if env is None else copies.vectorized("env", env)
        self._finished: list[tuple[int, float]] = []
        self._next: int | None = None

    @property
    def finished(self) -> list[tuple[int, float]]:
        """Results so far: timestep, and mean reward of the finished copy."""
        return list(self._finished)

    def _on_training_start(self) -> None:
        super()._on_training_start()
        _check_model(self.model)
        self.eval_env = copies.beside(self.model, "eval_env", self.eval_env, evaluation=True)
        with random_states_kept():
            # What cannot be copied is said now, not after hours.
            copies.copy_model(self.model, self.env)
        self._started = True
        self._schedule_next()

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        self._finish_if_due()

    def _on_training_end(self) -> None:
        self._finish_if_due()
        self._next = None

    def _schedule_next(self) -> None:
        self._next = (self.model.num_timesteps // self.every + 1) * self.every

    def _finish_if_due(self) -> None:
        timestep = self.model.num_timesteps
        if self._next is None or timestep < self._next:
            return
        try:
            reward = self._evaluate()
        except Warning:
            raise  # where the user wants warnings to be errors
        except Exception as error:  # whatever a user's environment raises
            self._next = None
            warn(f"FinishedEval stops here, the training goes on: {type(error).__name__}: {error}")
            return
        self._finished.append((timestep, reward))
        self._schedule_next()
        self.logger.record("abel/finished_reward", reward, exclude="tensorboard")
        if self.locals.get("log_interval", 1) is not None:
            with self._harmless("a result in TensorBoard"):
                for output in tensorboards(self.logger):
                    output.writer.add_scalar("abel/finished_reward", reward, timestep)
                    output.writer.flush()
        if self.verbose >= 1:
            print(f"abel: timestep {timestep}: finished now, the agent's mean reward is {reward:.2f}")

    def _evaluate(self) -> float:
        with random_states_kept():
            finished = finish(self.model, self.timesteps, self.decay_factor, self.env)
            copies.take_statistics(finished, self.eval_env)
            evaluate: Any = evaluate_policy
            if "action_masks" in signature(finished.predict).parameters:
                evaluate = importlib.import_module("sb3_contrib.common.maskable.evaluation").evaluate_policy
            return float(evaluate(finished, self.eval_env, self.n_eval_episodes, warn=not self._finished)[0])


def _rates_in_force(model: BaseAlgorithm, copied: BaseAlgorithm) -> dict[str | None, float]:
    """Return the rate that the model's next update would have, and under the name of a part that of a part."""
    # A schedule of the user's may count its calls, so that of the copy is asked.
    plain = max(float(unscaled(copied.lr_schedule)(model._current_progress_remaining)), 0.0)
    parts = [None, OUTSIDE, *parts_of(model)]
    if applied := AppliedRate.in_force_on(model):
        return {part: applied.moved(plain, part) for part in parts}
    # Outside of learn() what was decided holds until the model has been trained on without it.
    state, updates = getattr(model, ATTRIBUTE, None), clock(model).updates
    memory, kept = TrainingState.read(copy.deepcopy(state)), kept_by_others(state)
    rates: dict[str | None, float] = dict.fromkeys(parts, plain)
    for led, outside in (("kl", True), ("budget", False)):
        if (of := kept.get(led, {})) and of["rate"] and of["seen"][1] == updates:
            rates = dict.fromkeys(parts, of["rate"]) | ({} if outside else {OUTSIDE: plain})
    if memory is None or memory.data["seen"][1] != updates:
        return rates
    return {part: rate * memory.decided.factor_of(part if part in NETWORKS else REST) for part, rate in rates.items()}
