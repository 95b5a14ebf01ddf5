"""One meaning a colour, and a mark, in all pictures."""

ARM_COLORS = {"constant": "#444444", "linear": "#1f77b4", "constant+final": "#d62728", "abel": "#2ca02c"}
"""The arms that the questions are about; the others are grey."""

LITERAL_COLOR = "#8c564b"
"""Of Algorithm 1 to the letter, where it is compared."""

PART_COLORS = {"total": "#111111", "policy": "#9467bd", "value": "#17becf", "shared": "#bcbd22"}
"""None of them an arm's."""

CAUSES = {"bounce": ("v", "decay after a bounce"), "final": ("o", "final decay")}
