"""Scores to estimates with intervals, and verdicts of equivalence."""
