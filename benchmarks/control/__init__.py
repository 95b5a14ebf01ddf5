"""The positive control, where the weight norm does bounce."""
