"""Networks with layer normalisation: those of SimBa (Lee et al. 2024, arXiv 2410.09754), for SAC and PPO.

Their observations are to be scaled by running statistics (the paper's RSNorm); ``VecNormalize`` of the
environment does that, so that no statistics are among the weights. It clips at 10, RSNorm does not.

The paper decays all weights with AdamW and a coefficient of 0.01. Here that is for the run to say, and
matrices alone decay: ``regularization="adamw"`` with a ``strength`` of learning rate * 0.01 * number of
updates, which is 0.03 for the 10,000 updates of 10,000 timesteps of SAC at 3e-4.

**Where the effective rate holds.** That weights which grow make a constant rate a decaying one (Lyle et al.
2024, arXiv 2407.01800) is argued for weights whose scale the function does not depend on. Here:

- no layer by itself is scale-invariant. What the embedding puts out is normalised, but a skip
  connection adds the blocks' outputs to it before, so its scale is its share beside theirs;
- the weights and biases of the embedding and of the second layer of all blocks *together* are
  (``StreamNetwork.stream``): they are all that is added to the stream of skip connections, and all
  that reads the stream, the blocks and the end, normalises it first;
- the first layer of a block is not: it reads what is normalised, and a normalisation follows only
  after the skip. With ReLU, c times it and 1/c times the second layer's matrix is the same function;
- heads, and the gains and biases of the normalisation layers, are not.

``weight_norms`` adds up all of these, so the growth of a part's norm is the effective decay of its rate
only roughly. And LayerNorm adds 1e-5 to a variance: a stream that decays to about that size has a
scale again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn

EXPANSION = 4
"""Units within a block, over its width (Lee et al. 2024, Sec. 4.1)."""


class Block(nn.Module):
    """A residual block: the input, plus two layers of what LayerNorm makes of it (Sec. 4.1).

    :param width: numbers in and out
    :param activation_fn: between the two layers
    """

    def __init__(self, width: int, activation_fn: type[nn.Module]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, EXPANSION * width)
        self.activation = activation_fn()
        self.second = nn.Linear(EXPANSION * width, width)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, width)`` to ``(batch, width)``."""
        added: torch.Tensor = self.second(self.activation(self.first(self.norm(stream))))
        return stream + added


class StreamNetwork(nn.Module):
    """All of a network of SimBa but its head: an embedding, residual blocks, and LayerNorm at the end.

    :param input_dim: numbers in
    :param net_arch: the width, once for each block
    :param activation_fn: of the blocks; ReLU in the paper
    :raises ValueError: without a block, or for blocks of several widths
    """

    def __init__(self, input_dim: int, net_arch: Sequence[int], activation_fn: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        if len(set(net_arch)) != 1:
            raise ValueError(f"net_arch must be one width, once for each residual block, got {net_arch!r}")
        width = net_arch[0]
        self.embedding = nn.Linear(input_dim, width)
        self.blocks = nn.Sequential(*(Block(width, activation_fn) for _ in net_arch))
        self.norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the paper's code does: orthogonal ones at the front, He et al.'s in the blocks."""
        for name, module in self.named_modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                if name == "embedding":
                    nn.init.orthogonal_(module.weight)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def stream(self) -> list[nn.Parameter]:
        """Return the weights that, multiplied together by a number above 0, leave what comes out as it is."""
        layers = [self.embedding, *(block.second for block in self.blocks)]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, input_dim)`` to ``(batch, width)``, of mean 0 and variance 1 before gains and biases."""
        outputs: torch.Tensor = self.norm(self.blocks(self.embedding(inputs)))
        return outputs


class SimbaActor(Actor):
    """SAC's actor; ``net_arch`` is that of :class:`StreamNetwork`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.latent_pi = StreamNetwork(self.features_dim, self.net_arch, self.activation_fn)  # type: ignore[assignment]


class SimbaCritic(ContinuousCritic):
    """Critics of observations and actions; ``net_arch`` is that of :class:`StreamNetwork`."""

    def __init__(
        self, *, net_arch: list[int], features_dim: int, activation_fn: type[nn.Module] = nn.ReLU, **kwargs: Any
    ) -> None:
        super().__init__(net_arch=net_arch, features_dim=features_dim, activation_fn=activation_fn, **kwargs)
        input_dim = features_dim + get_action_dim(self.action_space)  # type: ignore[arg-type]
        self.q_networks = [
            nn.Sequential(StreamNetwork(input_dim, net_arch, activation_fn), nn.Linear(net_arch[-1], 1))
            for _ in range(self.n_critics)
        ]
        for number, network in enumerate(self.q_networks):
            self.add_module(f"qf{number}", network)


class SimbaSACPolicy(SACPolicy):
    """SAC's policy; ``net_arch={"pi": [64], "qf": [128, 128]}`` is one block of 64 and two of 128."""

    # A features extractor will not do here: SB3 puts the actions behind it, before the head alone.
    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """Return an actor, with its own features extractor if None is given."""
        return SimbaActor(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Return critics, with their own features extractor if None is given."""
        return SimbaCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor)).to(self.device)


class SimbaExtractor(MlpExtractor):
    """The networks of a policy and of its value, without heads; each ``net_arch`` is that of :class:`StreamNetwork`."""

    def __init__(
        self,
        feature_dim: int,
        net_arch: list[int] | dict[str, list[int]],
        activation_fn: type[nn.Module],
        device: torch.device | str = "auto",
    ) -> None:
        super().__init__(feature_dim, net_arch, activation_fn, device)
        policy, value = (net_arch["pi"], net_arch["vf"]) if isinstance(net_arch, dict) else (net_arch, net_arch)
        self.policy_net = StreamNetwork(feature_dim, policy, activation_fn)  # type: ignore[assignment]
        self.value_net = StreamNetwork(feature_dim, value, activation_fn)  # type: ignore[assignment]


class SimbaActorCriticPolicy(ActorCriticPolicy):
    """PPO's and A2C's policy; ``net_arch={"pi": [64], "vf": [128, 128]}`` is one block of 64 and two of 128.

    SB3's own activation is Tanh; the paper's is ReLU.
    """

    def _build_mlp_extractor(self) -> None:
        extractor = SimbaExtractor(self.features_dim, self.net_arch, self.activation_fn, self.device)
        self.mlp_extractor = extractor.to(self.device)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        # SB3 has drawn all weights by a rule of its own, which is right for the heads alone.
        for network in (self.mlp_extractor.policy_net, self.mlp_extractor.value_net):
            network.reset_parameters()  # type: ignore[operator]
