"""SAC on Pendulum in one file, in the shape of CleanRL's sac_continuous_action.py, with BudgetScheduler."""

import argparse
import copy

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rl_abel.torch import BudgetScheduler

parser = argparse.ArgumentParser()
parser.add_argument("--env-id", default="Pendulum-v1")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--total-timesteps", type=int, default=6_000)
parser.add_argument("--learning-starts", type=int, default=500)
parser.add_argument("--alpha-lr", type=float, default=1e-3, help="rate of the entropy coefficient alone")
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--gamma", type=float, default=0.98)
parser.add_argument("--tau", type=float, default=0.01)


def network(inputs, hidden, outputs):
    """Return two hidden layers."""
    layers = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)]
    return nn.Sequential(*layers)


class Actor(nn.Module):
    """A Gaussian, squashed into the bounds of the actions."""

    def __init__(self, space, observations, hidden):
        super().__init__()
        self.body = network(observations, hidden, 2 * space.shape[0])
        self.scale = torch.tensor((space.high - space.low) / 2)
        self.middle = torch.tensor((space.high + space.low) / 2)

    def get_action(self, x):
        """Return actions, and their log probabilities."""
        mean, log_std = self.body(x).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp())
        raw = normal.rsample()
        squashed = torch.tanh(raw)
        log_prob = normal.log_prob(raw) - torch.log(self.scale * (1 - squashed.square()) + 1e-6)
        return squashed * self.scale + self.middle, log_prob.sum(-1)


def main(arguments=None):
    """Train; return the schedulers, and the returns of the episodes."""
    args = parser.parse_args(arguments)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    env = gym.wrappers.RecordEpisodeStatistics(gym.make(args.env_id))
    env.action_space.seed(args.seed)
    inputs, outputs = env.observation_space.shape[0], env.action_space.shape[0]

    actor = Actor(env.action_space, inputs, args.hidden)
    critics = nn.ModuleList(network(inputs + outputs, args.hidden, 1) for _ in range(2))
    targets = copy.deepcopy(critics)
    log_alpha = torch.zeros(1, requires_grad=True)
    actor_optimizer = torch.optim.Adam(actor.parameters())
    q_optimizer = torch.optim.Adam(critics.parameters())
    alpha_optimizer = torch.optim.Adam([log_alpha], lr=args.alpha_lr)
    steps = args.total_timesteps - args.learning_starts
    schedulers = [BudgetScheduler(optimizer, total_steps=steps) for optimizer in (actor_optimizer, q_optimizer)]

    rows = {"obs": inputs, "action": outputs, "next_obs": inputs, "reward": 1, "done": 1}
    buffer = {name: torch.zeros(args.total_timesteps, size) for name, size in rows.items()}
    obs, _ = env.reset(seed=args.seed)
    returns = []

    for timestep in range(args.total_timesteps):
        if timestep < args.learning_starts:
            action = env.action_space.sample()
        else:
            with torch.no_grad():
                action = actor.get_action(torch.as_tensor(obs[None]))[0][0].numpy()
        next_obs, reward, terminated, truncated, info = env.step(action)
        for name, value in zip(rows, (obs, action, next_obs, reward, terminated)):
            buffer[name][timestep] = torch.as_tensor(value, dtype=torch.float32)
        obs = next_obs
        if terminated or truncated:
            returns.append(float(info["episode"]["r"]))
            obs, _ = env.reset()
        if timestep < args.learning_starts:
            continue

        chosen = torch.randint(timestep + 1, (args.batch_size,))
        data = {name: values[chosen] for name, values in buffer.items()}
        alpha = log_alpha.exp().item()
        with torch.no_grad():
            next_action, next_log_prob = actor.get_action(data["next_obs"])
            after = torch.cat([data["next_obs"], next_action], dim=1)
            next_q = torch.min(*(critic(after) for critic in targets)).flatten() - alpha * next_log_prob
            target = data["reward"].flatten() + (1 - data["done"].flatten()) * args.gamma * next_q
        before = torch.cat([data["obs"], data["action"]], dim=1)
        q_loss = sum(functional.mse_loss(critic(before).flatten(), target) for critic in critics)
        q_optimizer.zero_grad()
        q_loss.backward()
        q_optimizer.step()

        action, log_prob = actor.get_action(data["obs"])
        q = torch.min(*(critic(torch.cat([data["obs"], action], dim=1)) for critic in critics)).flatten()
        actor_optimizer.zero_grad()
        (alpha * log_prob - q).mean().backward()
        actor_optimizer.step()

        alpha_loss = (-log_alpha.exp() * (log_prob.detach() - outputs)).mean()
        alpha_optimizer.zero_grad()
        alpha_loss.backward()
        alpha_optimizer.step()
        for scheduler in schedulers:
            scheduler.step()

        with torch.no_grad():
            for target_weight, weight in zip(targets.parameters(), critics.parameters()):
                target_weight.lerp_(weight, args.tau)
        if (timestep + 1) % 1000 == 0 and returns:
            rate = q_optimizer.param_groups[0]["lr"]
            print(f"timestep {timestep + 1}: return {np.mean(returns[-5:]):.0f}, rate {rate:.2g}")
    env.close()
    return schedulers, returns


if __name__ == "__main__":
    main()
