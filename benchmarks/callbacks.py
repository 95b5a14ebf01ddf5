"""Callbacks of the arms that the package has no use for."""

from __future__ import annotations

import torch
from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import AbelCallback, KLAdaptiveCallback, RateByPart
from rl_abel.callbacks.rate_by_part import PARTS
from rl_abel.networks.norms import measured_parameters
from rl_abel.networks.optimizers import groups_of
from rl_abel.rules.budget import budget_rate
from rl_abel.rules.decays import Budget
from rl_abel.training.measure_interval import rollout_timesteps
from rl_abel.training.optimizer_steps import steps_to_come
from rl_abel.training.state import budget_of

PPO_SCALE = 0.15
"""Of the rate from the number of optimizer steps, in docs/results/ppo_plan.md."""


class Measuring(AbelCallback):
    """Measures the weight norm within updates too, where that is asked for more often than rollouts end."""

    def _before_update(self) -> None:
        super()._before_update()
        if self.measure_every is not None and self.measure_every < rollout_timesteps(self.model):
            self._during.arm(self.model, self.measure_every, self._measure_within)


class FromUpdates(RateByPart):
    """All networks at a rate of their own; the temperature of SAC and its kin stays at that of the schedule.

    :param rate: of the networks, where the schedule is at ``base``
    :param base: rate that the schedule begins at
    """

    def __init__(self, rate: float, base: float) -> None:
        super().__init__()
        self.rate, self.base = rate, base
        self.multipliers = dict.fromkeys(PARTS, rate / base)

    def _look(self) -> str:
        # Not every agent has each part.
        super()._look()
        return ""


class Movement(FromUpdates):
    """From there on led by how far the policy's weights move: |w - v| / |v| over a hundredth of the training.

    The target falls geometrically. A window begins and ends with a rollout, and windows of other lengths are compared
    as if the weights walked at random. The rate stays where it is once the final decay is due.

    :param rate: of the first window
    :param base: rate that the schedule begins at
    :param until: progress at which the final decay begins
    """

    FIRST, LAST = 0.12, 0.03
    STEP = 1.5
    LOWEST, HIGHEST = 1e-6, 3e-2
    WINDOWS = 100

    def __init__(self, rate: float, base: float, until: float) -> None:
        super().__init__(rate, base)
        self.until = until
        self._begin_at: int | None = None
        self._window: tuple[int, torch.Tensor] | None = None

    def _before_update(self) -> None:
        super()._before_update()
        timestep, total = self.model.num_timesteps, self.model._total_timesteps
        if getattr(self.model, "_n_updates", 0) == 0 or timestep >= self.until * total:
            return
        if self._window is None:
            self._begin_at, self._window = timestep, (timestep, self._policy())
            return
        began, before = self._window
        width = total / self.WINDOWS
        if timestep - began < width or self._begin_at is None:
            return
        now = self._policy()
        moved = float((now - before).norm() / before.norm()) * (width / (timestep - began)) ** 0.5
        progress = (timestep - self._begin_at) / (total - self._begin_at)
        factor = self.FIRST * (self.LAST / self.FIRST) ** progress / max(moved, 1e-9)
        self.rate *= min(max(factor, 1 / self.STEP), self.STEP)
        self.rate = min(max(self.rate, self.LOWEST), self.HIGHEST)
        self.multipliers.update(dict.fromkeys(PARTS, self.rate / self.base))
        self._window = timestep, now

    def _policy(self) -> torch.Tensor:
        weights = measured_parameters(self.model)["policy"].values()
        return torch.cat([weight.detach().flatten() for weight in weights])


class FallingTarget(KLAdaptiveCallback):
    """Follows a KL divergence whose target falls linearly, to a tenth at the end."""

    FIRST, LAST = 0.01, 0.1

    def _before_update(self) -> None:
        super()._before_update()
        self.target_kl = self.FIRST * max(self.LAST, 1 - self.model.num_timesteps / self.model._total_timesteps)


class UnderLine(KLAdaptiveCallback):
    """Follows the KL divergence under a line that falls from scale / sqrt(optimizer steps) to 0."""

    def _begin(self) -> None:
        steps = steps_to_come(self.model, budget_of(self.model))
        self._first = budget_rate(steps or 1, PPO_SCALE)
        self._lower()
        super()._begin()

    def _before_update(self) -> None:
        super()._before_update()
        self._lower()
        self._factor.high = self.max_learning_rate

    def _lower(self) -> None:
        left = 1 - self.model.num_timesteps / self.model._total_timesteps
        self.max_learning_rate = self._first * max(0.0, left)


class FinalPull(BaseCallback):
    """Multiplies every coefficient of weight decay once, at the update at which a final decay comes.

    The pull is rate x coefficient: the share by which one step shrinks the weights. A decay of the rate weakens
    it by the same factor, so to tell the two apart one is held while the other is moved.

    :param factor: of the coefficients
    :param at: progress at which the rollout begins whose update is the first with them
    """

    def __init__(self, factor: float, at: float) -> None:
        super().__init__()
        self.factor, self.at = factor, at
        self._done, self._began = False, 0

    @property
    def due(self) -> bool:
        """Whether the end of this rollout multiplies them."""
        budget = Budget(0, self.model._total_timesteps).in_rollouts(rollout_timesteps(self.model))
        return not self._done and budget.progress(self._began) >= self.at

    def _on_rollout_end(self) -> None:
        if self.due:
            self._done = True
            for group in groups_of(self.model):
                if "weight_decay" in group:
                    group["weight_decay"] *= self.factor
        self._began = self.model.num_timesteps

    def _on_step(self) -> bool:
        return True
