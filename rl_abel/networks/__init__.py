"""A model's networks: their parts, parameters, optimizers and squared weight norms."""
