"""The second study: which rate, which end, and whether a decay after a bounce pays."""
