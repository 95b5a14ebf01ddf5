"""The learning rate in force: the user's schedule times named multipliers, and how it reaches the optimizers."""
