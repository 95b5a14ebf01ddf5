"""What every callback that moves a learning rate shares: its place in ``learn()``, and the course of one update."""

import copy
from typing import Any, ClassVar, Self

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback, EveryNTimesteps

from rl_abel._validation import check_integer, written
from rl_abel._warnings import Harmless, WarnOnce
from rl_abel.learning_rate.applied_rate import AppliedRate
from rl_abel.learning_rate.multiplied_schedule import Multiplier


class Portable:
    """A callback that can be pickled and copied at any time: a copy keeps what was decided, and not the model."""

    # Attributes of one ``learn()``, which a copy leaves out
    PASSING: ClassVar[tuple[str, ...]] = ("model", "locals", "globals", "parent")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.PASSING}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, locals={}, globals={}, parent=None, _started=False)

    def __copy__(self) -> Self:
        # A shallow copy would write into lists and dicts of the original.
        return copy.deepcopy(self)


class TopLevelCallback(Portable, BaseCallback):
    """A callback that needs rollouts. It refuses to stand in ``EvalCallback`` or the like, which pass on none."""

    def __init__(self, verbose: int) -> None:
        # Many write True.
        super().__init__(int(verbose) if isinstance(verbose, bool) else check_integer("verbose", verbose, at_least=0))
        self._started = self._in_rollouts = False
        self._harmless = Harmless()

    def _init_callback(self) -> None:
        self._started = self._in_rollouts = False
        self._refuse_inside(as_given(self).parent)

    def _on_training_start(self) -> None:
        self._refuse_inside(as_given(self).parent, *_callbacks_in(self.locals.get("callback")))

    def _on_rollout_start(self) -> None:
        if not self._in_rollouts:
            self._in_rollouts = True

    def _on_step(self) -> bool:
        if not self._started and not self._in_rollouts:
            raise self._misplaced(as_given(self).parent)
        return True

    def _refuse_inside(self, *others: BaseCallback | None) -> None:
        given = as_given(self)
        for other in others:
            if isinstance(other, EventCallback) and any(inner is given for inner in _callbacks_in(other)):
                raise self._misplaced(other)

    def _misplaced(self, other: BaseCallback | None) -> ValueError:
        """Return the error that says where to put the callback instead; None where the other is not known."""
        given = as_given(self)
        where = "another callback" if other is None else type(other).__name__
        beside = ", your_other_callback" if other is None else f", {where}(...)"
        if isinstance(other, EveryNTimesteps) and other.callback is given:
            # Without its child EveryNTimesteps does nothing.
            beside = ""
        return ValueError(
            f"{type(given).__name__} cannot work inside {where}, which passes on steps but no rollouts. "
            f"Put it beside: model.learn(..., callback=[{written(given)}{beside}])"
        )


class LearningRateCallback(TopLevelCallback):
    """Multiplies the learning rate by ``self._factor``, which a subclass sets, in every update of one ``learn()``.

    Several such callbacks can stand side by side, in any order: their factors are multiplied.
    """

    NAME: ClassVar[str]  # one of rl_abel.learning_rate.multiplied_schedule.ORDER; a model has one of each
    PASSING: ClassVar[tuple[str, ...]] = (*Portable.PASSING, "_rate", "_factor")

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._warn = WarnOnce()
        self._rate: AppliedRate
        self._factor: Multiplier

    @property
    def _may_move(self) -> bool:
        """Whether the rate may ever be another than the user's."""
        return True

    def _begin(self) -> None:
        """Take up a training, which begins here or goes on; ``self._factor`` is 1."""

    def _before_update(self) -> None:
        """A rollout has ended. SB3 is about to ask for the rate and to update the weights."""

    def _after_update(self) -> None:
        """The first event after an update, or after the training start."""

    def _at_step(self) -> None:
        """Any other event."""

    def _end(self) -> None:
        """The training has ended."""

    def _touched(self) -> bool:
        """Whether the latest update is known to have moved weights, for algorithms that do not count updates."""
        return False

    def _on_training_start(self) -> None:
        super()._on_training_start()
        others = _callbacks_in(self.locals.get("callback"))
        same = [other for other in others if isinstance(other, LearningRateCallback) and other.NAME == self.NAME]
        if len(same) > 1:
            names = " and ".join(type(as_given(other)).__name__ for other in same)
            kind = next(kind.__name__ for kind in type(self).__mro__ if "NAME" in vars(kind))
            raise ValueError(f"one {kind} a model, got {names}: two would overwrite each other's learning rate")
        self._rate = AppliedRate.of(self.model)
        if self._may_move:
            self._rate.require_movable(type(as_given(self)).__name__)
        self._factor = self._rate.join(self.NAME)
        self._begin()
        self._started = self._updating = True

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        self._look_back()

    def _on_step(self) -> bool:
        super()._on_step()
        self._look_back()
        return True

    def _on_rollout_end(self) -> None:
        # Rollouts can be collected outside of learn().
        if self._started:
            self._updating = True
            self._hold()
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
        # This runs at every environment step, so it has to be quick.
        if not self._started:
            return
        if self._updating:
            self._updating = False
            self._rate.end_update(self._touched)
            self._hold()
            self._after_update()
        else:
            self._hold()
            self._at_step()

    def _hold(self) -> None:
        rate = self._rate.hold()
        if rate is not self._rate:
            self._rate = rate

    def _say(self, line: str) -> None:
        if self.verbose >= 1:
            print(f"abel: {line}")


def as_given(callback: BaseCallback) -> BaseCallback:
    """Return what the user has written: for a part of ``AutoLearningRate`` that one."""
    return callback.parent if isinstance(callback.parent, CallbackList) else callback


def _callbacks_in(root: object) -> list[BaseCallback]:
    """Return a callback and all that it holds, level by level; nothing for what is no callback."""
    found = [root] if isinstance(root, BaseCallback) else []
    for holder in found:
        attributes = [value for name, value in vars(holder).items() if name != "parent"]
        for inner in holder.callbacks if isinstance(holder, CallbackList) else attributes:
            # By identity: a callback that is a dataclass may say that it equals another.
            if isinstance(inner, BaseCallback) and not any(inner is known for known in found):
                found.append(inner)
    return found
