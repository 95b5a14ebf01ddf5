"""Networks that SB3 does not have."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class MinAtarCnn(BaseFeaturesExtractor):
    """The network of Young & Tian (2019, arXiv 1903.03176, Sec. 4) for MinAtar: one convolution, one layer.

    :param observation_space: boolean images, height x width x channels
    :param features_dim: units of the layer after the convolution
    :raises ValueError: for a space that is not one of images
    """

    def __init__(self, observation_space: spaces.Box, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        if len(observation_space.shape) != 3:
            raise ValueError(f"observations must be height x width x channels, got {observation_space}")
        height, width, channels = observation_space.shape
        filters, size = 16, 3
        self.layers = nn.Sequential(
            nn.Conv2d(channels, filters, size),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(filters * (height - size + 1) * (width - size + 1), features_dim),
            nn.ReLU(),
        )

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, height, width, channels)`` to ``(batch, features_dim)``."""
        # SB3 moves the channels of uint8 images only.
        features: torch.Tensor = self.layers(observations.permute(0, 3, 1, 2))
        return features
