"""Networks with layer normalisation: what they compute, whose scale matters, and that SB3 trains them."""

import pytest
import torch
from stable_baselines3 import PPO, SAC
from torch import nn

from agents import PRESETS, find_preset, make_agent, regularized_optimizer
from agents.simba import Block, StreamNetwork
from benchmarks.plan import Run
from envs import make_env
from rl_abel import weight_norms

TINY = {
    "PPO-SimBa": {"n_steps": 8, "batch_size": 8, "n_epochs": 2},
    "SAC-SimBa": {"learning_starts": 10, "buffer_size": 200, "batch_size": 8},
}
CASES = [("PPO-SimBa", "CartPole-v1"), ("PPO-SimBa", "Pendulum-v1"), ("SAC-SimBa", "Pendulum-v1")]
CLASS = {"PPO-SimBa": PPO, "SAC-SimBa": SAC}


def agent(algorithm, env_id, **settings):
    preset = find_preset(algorithm, env_id)
    env = make_env(env_id, 2, 0, normalize=preset.normalize)
    return make_agent(algorithm, env_id, env, learning_rate=1e-3, seed=0, **TINY[algorithm] | settings)


def networks(model):
    """The networks without heads: that of the policy, and those of the value."""
    if isinstance(model, PPO):
        return [model.policy.mlp_extractor.policy_net], [model.policy.mlp_extractor.value_net]
    return [model.actor.latent_pi], [network[0] for network in model.critic.q_networks]


def heads(model):
    if isinstance(model, PPO):
        return [model.policy.action_net], [model.policy.value_net]
    return [model.actor.mu, model.actor.log_std], [network[1] for network in model.critic.q_networks]


def everything(network):
    """The network with no weight at a value, as 0 or 1, where it does not show."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_a_network_is_what_the_paper_says():
    torch.manual_seed(0)
    network, x = everything(StreamNetwork(3, [8, 8])), torch.randn(5, 3)
    w = dict(network.named_parameters())

    def normal(x, name):
        x = x - x.mean(1, keepdim=True)
        return x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    stream = linear(x, "embedding")
    for number in range(2):
        block = f"blocks.{number}"
        hidden = linear(normal(stream, f"{block}.norm"), f"{block}.first").clamp(min=0)
        assert hidden.shape == (5, 32)
        stream = stream + linear(hidden, f"{block}.second")
    assert torch.allclose(network(x), normal(stream, "norm"), atol=1e-5)


@pytest.mark.parametrize("net_arch", [[], [8, 16]])
def test_blocks_of_one_width(net_arch):
    with pytest.raises(ValueError, match="net_arch must be one width, once for each residual block, got"):
        StreamNetwork(3, net_arch)


SCALED = {
    "all that is added to the stream": (lambda n: n.stream(), True),
    "the embedding": (lambda n: [*n.embedding.parameters()], False),
    "a second layer": (lambda n: [*n.blocks[0].second.parameters()], False),
    "a first layer": (lambda n: [*n.blocks[0].first.parameters()], False),
    "the end's gain and bias": (lambda n: [*n.norm.parameters()], False),
    "all matrices": (lambda n: [p for p in n.parameters() if p.ndim == 2], False),
}


@pytest.mark.parametrize("what", SCALED)
@pytest.mark.parametrize("factor", [0.5, 10.0])
def test_which_weights_are_without_a_scale(what, factor):
    torch.manual_seed(1)
    network, x = everything(StreamNetwork(3, [16, 16])).double(), torch.randn(64, 3).double()
    before = network(x)
    chosen, invariant = SCALED[what]
    with torch.no_grad():
        for parameter in chosen(network):
            parameter.mul_(factor)
    change = (network(x) - before).norm() / before.norm()
    # LayerNorm's 1e-5, beside variances of 0.1 and more.
    assert change < 1e-3 if invariant else change > 1e-2


def test_a_first_layer_passes_its_scale_on_to_the_second():
    torch.manual_seed(2)
    block, x = everything(Block(16, nn.ReLU)), torch.randn(5, 16)
    before = block(x)
    with torch.no_grad():
        for parameter in block.first.parameters():
            parameter.mul_(4)
        block.second.weight.div_(4)
    assert torch.allclose(block(x), before, atol=1e-5)


@pytest.mark.parametrize(("algorithm", "env_id"), CASES)
def test_the_parts_of_the_norm_are_the_networks_of_the_policy_and_of_the_value(algorithm, env_id):
    model = agent(algorithm, env_id).learn(32)
    norms = weight_norms(model)
    for part, bodies, ends in zip(("policy", "value"), networks(model), heads(model)):
        parameters = [p for module in (*bodies, *ends) for p in module.parameters()]
        assert norms[part] == pytest.approx(sum(p.double().square().sum().item() for p in parameters), rel=1e-6)
    assert norms["total"] == pytest.approx(norms["policy"] + norms["value"])
    assert "shared" not in norms


@pytest.mark.parametrize(("algorithm", "env_id"), CASES)
def test_the_networks_begin_as_the_papers_do_with_heads_of_sb3(algorithm, env_id):
    model = agent(algorithm, env_id)
    policy, value = networks(model)
    assert [[block.first.in_features for block in body.blocks] for body in (*policy, *value)] == [
        [64],
        *[[64, 64]] * len(value),
    ]
    for body in (*policy, *value):
        columns = body.embedding.weight.T
        assert torch.allclose(columns @ columns.T, torch.eye(len(columns)), atol=1e-5)
        for block in body.blocks:
            for layer in (block.first, block.second):
                assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.05)
                assert not layer.bias.any()
    if isinstance(model, PPO):
        assert model.policy.action_net.weight.norm(dim=1).tolist() == pytest.approx(
            [0.01] * len(model.policy.action_net.weight), rel=1e-3
        )


@pytest.mark.parametrize("regularization", ["none", "adamw"])
@pytest.mark.parametrize(("algorithm", "env_id"), CASES)
def test_every_weight_trains_and_a_saved_model_loads(tmp_path, algorithm, env_id, regularization):
    optimizer_class, optimizer_kwargs = regularized_optimizer(
        algorithm, regularization, 0.01 * (regularization != "none")
    )
    model = agent(algorithm, env_id, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs)
    start = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(64)
    assert not [name for name, p in model.policy.named_parameters() if torch.equal(p, start[name])]
    model.save(tmp_path / "model")
    loaded = CLASS[algorithm].load(tmp_path / "model", env=model.get_env(), device="cpu")
    assert weight_norms(loaded) == weight_norms(model)
    observations = model.get_env().reset()
    actions = [one.predict(observations, deterministic=True)[0] for one in (model, loaded)]
    assert (actions[0] == actions[1]).all()
    loaded.learn(32, reset_num_timesteps=False)
    assert weight_norms(loaded) != weight_norms(model)


@pytest.mark.parametrize("key", [key for key in PRESETS if key[0].endswith("-SimBa")], ids="-".join)
def test_only_networks_scaling_and_rate_differ_from_the_plain_preset(key):
    ours, plain = PRESETS[key], PRESETS[key[0].removesuffix("-SimBa"), key[1]]
    changed = {name for name, value in vars(ours).items() if value != vars(plain)[name]}
    assert changed | {"normalize", "learning_rate"} == {
        "algorithm",
        "normalize",
        "learning_rate",
        "hyperparameters",
        "source",
    }
    assert ours.normalize == (plain.normalize or "observations")
    of_networks = {"policy", "policy_kwargs"}
    assert ours.hyperparameters.keys() - plain.hyperparameters.keys() <= of_networks
    assert {name for name, value in plain.hyperparameters.items() if ours.hyperparameters[name] != value} <= of_networks


def test_the_papers_weight_decay_is_a_strength():
    n_updates = find_preset("SAC-SimBa", "Pendulum-v1").n_updates(10_000)
    run = Run("SAC-SimBa", "Pendulum-v1", 10_000, "constant", 0, "adamw", 3e-4 * 0.01 * n_updates)
    assert run.weight_decay == pytest.approx(0.01)
