"""What the user of ``AbelCallback`` chooses, each argument checked where it is given."""

from __future__ import annotations

import json

from rl_abel._validation import check_between, check_choice, check_flag, check_integer, check_number, known_arguments
from rl_abel.callbacks.base import LearningRateCallback
from rl_abel.learning_rate.batch_size import ACTIONS
from rl_abel.rules.bounce import Rule, TrendRule, make_rule
from rl_abel.rules.decays import WATCHABLE

SCOPES = ("model", "part")
SHAPES = ("step", "linear")


class AbelOptions(LearningRateCallback):
    """The arguments of ``AbelCallback``, which has the words for them, as attributes."""

    @known_arguments
    def __init__(
        self,
        rule: str | Rule = "trend",
        *,
        watch: str | None = None,
        decay_factor: float = 0.1,
        final_decay_at: float | None = 0.85,
        final_decay_shape: str = "step",
        max_decays: int | None = None,
        min_learning_rate: float = 0.0,
        scope: str = "model",
        acts_on: str = "learning_rate",
        max_batch_size: int | None = None,
        measure_every: int | None = None,
        diagnose: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.rule = make_rule(rule)
        if watch is None:
            watch = "any" if isinstance(self.rule, TrendRule) else "total"
        self.watch = check_choice("watch", watch, WATCHABLE)
        try:
            json.dumps(self.rule.init())
        except TypeError as error:
            raise ValueError(f"rule must keep a state made of JSON values, got {self.rule.init()!r}: {error}") from None
        self.decay_factor = check_between("decay_factor", decay_factor, 0, 1)
        self.final_decay_at = None if final_decay_at is None else check_between("final_decay_at", final_decay_at, 0, 1)
        self.min_learning_rate = check_number("min_learning_rate", min_learning_rate, at_least=0)
        self.max_decays = None if max_decays is None else check_integer("max_decays", max_decays, at_least=0)
        self.measure_every = (
            None if measure_every is None else check_integer("measure_every", measure_every, at_least=1)
        )
        self.diagnose = check_flag("diagnose", diagnose)
        self.scope = check_choice("scope", scope, SCOPES)
        self.acts_on = check_choice("acts_on", acts_on, ACTIONS)
        self.final_decay_shape = check_choice("final_decay_shape", final_decay_shape, SHAPES)
        if scope == "part" and max_decays == 0:
            raise ValueError(
                "scope='part' says whose rate decays after a bounce, and max_decays=0 that none does: "
                "give max_decays=None for any number"
            )
        if scope == "part" and (self.watch == "total" or acts_on != "learning_rate"):
            with_it = f"watch={self.watch!r}" if self.watch == "total" else f"acts_on={acts_on!r}"
            raise ValueError(f"scope='part' cannot be had with {with_it}: there is one for all parts")
        self.max_batch_size = (
            None if max_batch_size is None else check_integer("max_batch_size", max_batch_size, at_least=1)
        )
        if max_batch_size is not None and acts_on == "learning_rate":
            raise ValueError(f"max_batch_size={max_batch_size!r} needs acts_on='batch_size' or 'mixed'")
        self._prepare()

    @property
    def step(self) -> float | None:
        """Factor of the final decay, None for one that falls linearly to 0."""
        return self.decay_factor if self.final_decay_shape == "step" else None

    def _prepare(self) -> None:
        """Make what a training needs."""
