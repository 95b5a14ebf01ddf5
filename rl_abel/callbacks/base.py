"""What every callback that moves a learning rate shares: where it may stand, and the course of one update."""

from __future__ import annotations

from typing import Any, ClassVar

from stable_baselines3.common.callbacks import BaseCallback

from rl_abel._validation import check_verbose
from rl_abel._warnings import Harmless, warn
from rl_abel.callbacks.placement import Portable, as_given, misplaced, refuse_to_be_a_child, require_alone
from rl_abel.learning_rate.applied_rate import AppliedRate
from rl_abel.learning_rate.multiplied_schedule import Multiplier


class LearningRateCallback(Portable, BaseCallback):
    """Moves the learning rate by a factor of its own, in every update of one ``learn()``.

    A subclass says what it does there in four verbs, measure, decide, apply and record:
    in :meth:`_begin`, :meth:`_before_update`, :meth:`_after_update` and :meth:`_end`. To apply is to set
    ``self._factor``. Other movers stand beside it, in any order: the rate is multiplied by the factors of all.
    """

    NAME: ClassVar[str]
    """Of its factor: one of :data:`rl_abel.learning_rate.multiplied_schedule.ORDER`."""

    KIND: ClassVar[type[LearningRateCallback]]
    """Of which a model can have one."""

    PASSING: ClassVar[tuple[str, ...]] = (*Portable.PASSING, "_rate", "_factor")

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose=check_verbose(verbose))
        self._started = self._in_rollouts = False
        self._said: set[str] = set()
        self._harmless = Harmless()

    @property
    def _may_move(self) -> bool:
        """Whether the rate may ever be another than the user's."""
        return True

    def _begin(self) -> None:
        """Take up a training, as it begins or goes on; ``self._factor`` is 1."""

    def _before_update(self) -> None:
        """A rollout has ended, and SB3 is about to update the weights and to ask for the rate."""

    def _after_update(self) -> None:
        """The first event after an update, or after the training start."""

    def _at_step(self) -> None:
        """Any other event."""

    def _end(self) -> None:
        """The training has ended."""

    def _touched(self) -> bool:
        """Whether weights are known to have moved in the latest update, for algorithms that do not count."""
        return False

    # What SB3 calls

    def _init_callback(self) -> None:
        self._started = self._in_rollouts = False
        refuse_to_be_a_child(self, None)

    def _on_training_start(self) -> None:
        root = self.locals.get("callback")
        refuse_to_be_a_child(self, root)
        require_alone(self.KIND, root)
        self._rate = AppliedRate.of(self.model)
        if self._may_move:
            self._rate.require_movable(type(as_given(self)).__name__)
        self._factor: Multiplier = self._rate.join(self.NAME)
        self._begin()
        self._started = self._updating = True

    def _on_rollout_start(self) -> None:
        self._in_rollouts = True
        self._look_back()

    def _on_step(self) -> bool:
        if not self._started and not self._in_rollouts:
            raise misplaced(self, as_given(self).parent)
        self._look_back()
        return True

    def _on_rollout_end(self) -> None:
        # Rollouts are collected outside of learn() too.
        if self._started:
            self._updating = True
            self._rate = self._rate.hold()
            self._before_update()
            self._rate.begin_update()

    def _on_training_end(self) -> None:
        # The zoo calls it twice.
        if self._started:
            self._updating = True
            self._look_back()
            self._started = False
            self._end()
            self._rate.leave(self.NAME)

    def _look_back(self) -> None:
        if not self._started:
            return
        if self._updating:
            self._updating = False
            self._rate.end_update(self._touched)
            self._rate = self._rate.hold()
            self._after_update()
        else:
            # There are as many steps as environment steps: this has to be quick.
            self._rate = self._rate.hold()
            self._at_step()

    # What survives, and what is said

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._started = False

    def _say(self, line: str) -> None:
        if self.verbose >= 1:
            print(f"abel: {line}")

    def _warn(self, key: str, message: str) -> None:
        """Warn once, whatever numbers the message holds."""
        if key not in self._said:
            self._said.add(key)
            warn(message)
