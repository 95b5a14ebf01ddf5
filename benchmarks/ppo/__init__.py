"""The study of a rate for PPO that stays below no tuned schedule: docs/results/ppo_plan.md."""
