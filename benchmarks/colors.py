"""One meaning a colour, a mark and a name, in all pictures."""

ARM_COLORS = {"constant": "#444444", "linear": "#1f77b4", "constant+final": "#d62728", "abel": "#2ca02c"}
"""The arms that the questions are about; where all arms are drawn, the others are grey."""

RATE_COLORS = {"kl-adaptive+final": "#f0a202"}
"""Beside these, in the figure over learning rates."""

NAMES = {
    "constant": "constant rate",
    "linear": "linear decay",
    "constant+final": "one decay near the end",
    "simple": "one decay near the end",
    "step": "two decays at tuned places",
    "cosine": "cosine to 0",
    "abel": "decays after bounces (trend)",
    "abel-paper": "decays by Algorithm 1",
    "kl-adaptive": "KL-adaptive rate",
    "kl-adaptive+final": "AutoLearningRate",
}
"""Arm -> what the pages call it."""

OTHERS = "#c4c4c4"

LITERAL_COLOR = "#8c564b"
"""Of Algorithm 1 to the letter, where it is compared."""

MORE_COLORS = {"step": "#e377c2", "cosine": "#ff7f0e", "abel-paper": LITERAL_COLOR}
"""Other arms, in the figures in which each is compared."""

BANDS = ((0.1, "#f0f0f0"), (0.05, "#dcead8"))
"""Half width in normalised score -> behind differences; the inner is the margin of "equivalent"."""

PART_COLORS = {"total": "#111111", "policy": "#9467bd", "value": "#17becf", "shared": "#bcbd22"}
"""None of them an arm's."""

CAUSES = {"bounce": ("v", "decay after a bounce"), "final": ("o", "final decay")}

VERDICTS = {"better": "#2166ac", "worse": "#b2182b"}
UNDECIDED = "#8a8a8a"
"""Of an interval above 0, below it, or on both sides."""
