"""AutoLearningRate: what is recommended for the algorithm at hand, in one line."""

from __future__ import annotations

import inspect
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from rl_abel.callback import AbelCallback
from rl_abel.kl import KLAdaptiveCallback, has_kl
from rl_abel.memory import Decay

OF_KL = set(inspect.signature(KLAdaptiveCallback).parameters)
OF_ABEL = set(inspect.signature(AbelCallback).parameters)


class AutoLearningRate(CallbackList):
    """Decide the learning rate of any algorithm by measurement.

    Where updates have a KL divergence (PPO, MaskablePPO, RecurrentPPO) the rate adapts to it, and decays
    once near the end: :class:`KLAdaptiveCallback` beside :class:`AbelCallback`. Elsewhere it is the model's
    own rate under :class:`AbelCallback`.

    :param verbose: 1 prints what was taken, and what is decided
    :param options: of either callback. ``min_learning_rate`` is KLAdaptiveCallback's bound where there is a
        KL divergence, elsewhere AbelCallback's floor
    :raises TypeError: for an option that neither has
    :raises ValueError: for a value out of its range; when a training begins, for an option of KLAdaptiveCallback
        where there is no KL divergence
    """

    def __init__(self, verbose: int = 0, **options: Any) -> None:
        super().__init__([])
        if unknown := set(options) - OF_KL - OF_ABEL:
            known = sorted((OF_KL | OF_ABEL) - {"verbose"})
            raise TypeError(f"AutoLearningRate has no option {min(unknown)!r}; it has {known}")
        self.options = options
        of_kl = {name: value for name, value in options.items() if name in OF_KL}
        of_abel = {name: value for name, value in options.items() if name in OF_ABEL}
        # Made here, where the user calls: whatever is wrong with an option is said at this line.
        self._kl = KLAdaptiveCallback(**of_kl, verbose=verbose)
        beside = {name: value for name, value in of_abel.items() if name not in OF_KL}
        self._beside = AbelCallback(**beside, verbose=verbose)
        self._alone = AbelCallback(**of_abel, verbose=verbose)
        self.abel = self._alone
        self.verbose = self.abel.verbose

    @property
    def kl(self) -> KLAdaptiveCallback | None:
        """The callback that adapts to the KL divergence, None where there is none."""
        return self._kl if self._kl in self.callbacks else None

    @property
    def factor(self) -> float:
        """What the user's rate is multiplied by: product of the decays, and of what the KL divergence says."""
        return self.abel.factor * (self.kl.factor if self.kl else 1.0)

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, each with its timestep, cause ("bounce" or "final") and factor."""
        return self.abel.decays

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements of the weight norm so far: ``timesteps`` and |w|^2 by part."""
        return self.abel.trace

    def _init_callback(self) -> None:
        name = type(self.model).__name__
        taken: list[BaseCallback]
        if has_kl(self.model):
            self.abel, taken = self._beside, [self._kl, self._beside]
        else:
            if given := sorted(set(self.options) & (OF_KL - OF_ABEL)):
                raise ValueError(f"{given[0]}={self.options[given[0]]!r}: {name} has no KL divergence to adapt to")
            self.abel, taken = self._alone, [self._alone]
        self.callbacks = taken
        super()._init_callback()

    def _on_training_start(self) -> None:
        if self.verbose >= 1:
            name, kl, at = type(self.model).__name__, self._kl.target_kl, self.abel.final_decay_at
            whose = f"adapts to the KL divergence of each update (target {kl:g})" if self.kl else "is your own"
            bounces = ", and decays after a bounce of the weight norm" if self.abel.max_decays != 0 else ""
            last = "" if at is None else f"; last decay at {at:.0%} of the budget"
            print(f"abel: the learning rate of {name} {whose}{bounces}{last}")
        super()._on_training_start()
