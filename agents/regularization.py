"""Weight decay as an axis of the benchmark, apart from the presets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

REGULARIZATIONS = ("none", "adamw", "adam-l2", "sgd-l2")

LEARNING_RATE_SCALE = {"none": 1.0, "adamw": 1.0, "adam-l2": 1.0, "sgd-l2": 100.0}
"""What to multiply a preset's base rate by. The presets' rates are Adam's, whose steps have the size
of the rate whatever the gradients are; PPO's gradients are clipped to a norm of 0.5 over all weights."""

MOMENTUM = 0.9
"""Momentum of "sgd-l2", as in the paper's experiments (Lewkowycz 2021)."""


def regularized_optimizer(
    algorithm: str, regularization: str, weight_decay: float
) -> tuple[type[torch.optim.Optimizer] | None, dict[str, Any] | None]:
    """Return ``optimizer_class`` and ``optimizer_kwargs`` under which only matrices decay.

    Tensors of fewer than two dimensions (biases, a policy's log_std) never decay. Beside the weight
    decay the settings are those of SB3: its epsilon for PPO and A2C, its betas for CrossQ.

    - "none": two Nones, which is SB3 as it comes;
    - "adamw": w shrinks by learning_rate * weight_decay at each update, so a run of N updates shrinks
      it by ``learning_rate * weight_decay * N`` e-folds;
    - "adam-l2": weight_decay * w is added to the gradient, and so is divided by Adam's running
      deviation like the rest: the same coefficient is *not* the same number of e-folds;
    - "sgd-l2": SGD with momentum 0.9, damped by 0.9, that is, its step is a running mean of the
      gradients. So the e-folds are those of AdamW, and Eq. 1 of the paper holds with the learning
      rate as it is; undamped momentum would multiply both by 10. Its rate is on another scale than
      Adam's: see ``LEARNING_RATE_SCALE``.

    For A2C, whose own optimizer is RMSprop, all but "none" also change the optimizer.

    :param algorithm: name of the algorithm, as in the presets
    :param regularization: one of ``REGULARIZATIONS``
    :param weight_decay: coefficient, above 0; 0 for "none"
    :raises ValueError: for an unknown regularization, or a coefficient that does not go with it
    """
    if regularization not in REGULARIZATIONS:
        raise ValueError(f"regularization must be one of {list(REGULARIZATIONS)}, got {regularization!r}")
    if regularization == "none":
        if weight_decay != 0:
            raise ValueError(f'weight_decay must be 0 with regularization "none", got {weight_decay!r}')
        return None, None
    if isinstance(weight_decay, bool) or not 0 < weight_decay < math.inf:
        raise ValueError(
            f"weight_decay must be a finite number above 0 with regularization {regularization!r}, got {weight_decay!r}"
        )
    from agents import optimizers

    optimizer_class = {
        "adamw": optimizers.MatrixAdamW,
        "adam-l2": optimizers.MatrixAdam,
        "sgd-l2": optimizers.MatrixSGD,
    }[regularization]
    own = optimizers.own_kwargs(algorithm, optimizer_class)
    if regularization == "sgd-l2":
        own = {"momentum": MOMENTUM, "dampening": MOMENTUM}
    return optimizer_class, {**own, "weight_decay": float(weight_decay)}
