"""PPO on CartPole in one file, in the shape of CleanRL's ppo.py, with AbelScheduler. Needs gymnasium 1.1 or later."""

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions.categorical import Categorical

from rl_abel.torch import AbelScheduler

parser = argparse.ArgumentParser()
parser.add_argument("--env-id", default="CartPole-v1")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--total-timesteps", type=int, default=60_000)
parser.add_argument("--learning-rate", type=float, default=2.5e-3)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--num-envs", type=int, default=4)
parser.add_argument("--num-steps", type=int, default=128)
parser.add_argument("--gamma", type=float, default=0.99)
parser.add_argument("--gae-lambda", type=float, default=0.95)
parser.add_argument("--num-minibatches", type=int, default=4)
parser.add_argument("--update-epochs", type=int, default=4)
parser.add_argument("--clip-coef", type=float, default=0.2)
parser.add_argument("--ent-coef", type=float, default=0.01)
parser.add_argument("--vf-coef", type=float, default=0.5)
parser.add_argument("--max-grad-norm", type=float, default=0.5)


def layer(inputs, outputs, std=2**0.5):
    """Return an orthogonal one."""
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, std)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """Actor and critic, a network each."""

    def __init__(self, observations, actions):
        super().__init__()
        self.critic = nn.Sequential(layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, std=1.0))
        self.actor = nn.Sequential(
            layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, std=0.01)
        )

    def get_action_and_value(self, x, action=None):
        """Return the action, its log probability, the entropy and the value."""
        policy = Categorical(logits=self.actor(x))
        action = policy.sample() if action is None else action
        return action, policy.log_prob(action), policy.entropy(), self.critic(x).flatten()


def main(arguments=None):
    """Train; return the scheduler, and the returns of the episodes."""
    args = parser.parse_args(arguments)
    batch_size = args.num_envs * args.num_steps
    num_iterations = args.total_timesteps // batch_size
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    envs = gym.vector.SyncVectorEnv(
        [lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(args.env_id))] * args.num_envs,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.n)
    optimizer = torch.optim.AdamW(agent.parameters(), lr=args.learning_rate, eps=1e-5, weight_decay=args.weight_decay)
    scheduler = AbelScheduler(
        optimizer,
        total_steps=num_iterations,
        parts={"actor": agent.actor.parameters(), "critic": agent.critic.parameters()},
        measure_every=max(1, num_iterations // 100),
        max_decays=0,  # the final decay alone
    )

    obs = torch.zeros((args.num_steps, args.num_envs, *envs.single_observation_space.shape))
    actions = torch.zeros((args.num_steps, args.num_envs))
    logprobs, rewards, dones, values = (torch.zeros((args.num_steps, args.num_envs)) for _ in range(4))
    next_obs, _ = envs.reset(seed=args.seed)
    next_obs, next_done = torch.tensor(next_obs), torch.zeros(args.num_envs)
    returns = []

    for iteration in range(1, num_iterations + 1):
        for step in range(args.num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                action, logprobs[step], _, values[step] = agent.get_action_and_value(next_obs)
            actions[step] = action
            next_obs, reward, terminated, truncated, infos = envs.step(action.numpy())
            rewards[step] = torch.tensor(reward)
            next_obs = torch.tensor(next_obs)
            next_done = torch.tensor(np.logical_or(terminated, truncated), dtype=torch.float32)
            if "final_info" in infos:
                returns += infos["final_info"]["episode"]["r"][infos["_final_info"]].tolist()

        # Generalised advantage estimation.
        with torch.no_grad():
            next_value = agent.critic(next_obs).flatten()
            advantages, last = torch.zeros_like(rewards), torch.zeros(args.num_envs)
            for t in reversed(range(args.num_steps)):
                ending = t == args.num_steps - 1
                going_on = 1 - (next_done if ending else dones[t + 1])
                after = next_value if ending else values[t + 1]
                delta = rewards[t] + args.gamma * after * going_on - values[t]
                advantages[t] = last = delta + args.gamma * args.gae_lambda * going_on * last
            targets = (advantages + values).flatten()

        flat_obs, flat_actions = obs.flatten(0, 1), actions.flatten()
        flat_logprobs, flat_advantages = logprobs.flatten(), advantages.flatten()
        for _ in range(args.update_epochs):
            for chosen in torch.randperm(batch_size).chunk(args.num_minibatches):
                _, logprob, entropy, value = agent.get_action_and_value(flat_obs[chosen], flat_actions[chosen])
                ratio = (logprob - flat_logprobs[chosen]).exp()
                advantage = flat_advantages[chosen]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()
                value_loss = 0.5 * (value - targets[chosen]).square().mean()
                loss = policy_loss - args.ent_coef * entropy.mean() + args.vf_coef * value_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        scheduler.step()

        if iteration % 10 == 0 and returns:
            recent = np.mean(returns[-20:])
            # Not optimizer.param_groups[0]["lr"], which is the rate without the decays.
            print(f"timestep {iteration * batch_size}: return {recent:.0f}, rate {scheduler.get_last_lr()[0]:g}")
    envs.close()
    print(scheduler.decays)
    return scheduler, returns


if __name__ == "__main__":
    main()
