"""What callbacks share that set the learning rate, which others then multiply."""

from typing import Any, ClassVar

from rl_abel.callbacks.base import LearningRateCallback, as_given


class LeadingCallback(LearningRateCallback):
    """Leads the learning rate away from the user's own. A model has one such callback."""

    NAME = "lead"
    BY: ClassVar[str]  # what leads it, in words

    def __init__(self, verbose: int) -> None:
        super().__init__(verbose)
        # Saved with the model; ``rate`` is the one that was found, ``asked`` the user's at the latest update.
        self._memory: dict[str, Any] = {}

    @property
    def factor(self) -> float:
        """The rate that was found, over the user's own as the latest update asked for it."""
        rate, asked = self._memory.get("rate"), self._memory.get("asked")
        return float(rate / asked) if rate and asked and asked > 0 else 1.0

    def _ask(self, asked: float) -> None:
        """Note the user's rate of an update, and say that a schedule counts no more."""
        memory = self._memory
        if memory["rate"] and memory["asked"] not in (None, asked):
            self._warn(
                "schedule",
                f"{self.BY} leads the learning rate from {memory['rate']:g} on, and the schedule, at {asked:g} "
                f"now, counts no more. Leave out {type(as_given(self)).__name__} to follow it",
            )
        memory["asked"] = asked
