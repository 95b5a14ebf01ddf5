"""What finished runs and saved models tell: the command ``rl-abel inspect``."""
