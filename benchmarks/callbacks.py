"""Callbacks of the arms that the package has no use for."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from rl_abel import AbelCallback
from rl_abel.networks.optimizers import groups_of
from rl_abel.rules.decays import Budget
from rl_abel.training.measure_interval import rollout_timesteps


class Measuring(AbelCallback):
    """Measures the weight norm within updates too, where that is asked for more often than rollouts end."""

    def _before_update(self) -> None:
        super()._before_update()
        if self.measure_every is not None and self.measure_every < rollout_timesteps(self.model):
            self._during.arm(self.model, self.measure_every, self._measure_within)


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
