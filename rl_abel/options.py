"""What the user of ``AbelCallback`` chooses, each argument checked where it is given."""

from __future__ import annotations

import json

from rl_abel.acting import ACTIONS
from rl_abel.checks import check_between, check_choice, check_flag, check_integer, check_number
from rl_abel.deciding import WATCHABLE
from rl_abel.rule import Rule, TrendRule, make_rule

SCOPES = ("model", "part")
FINAL_DECAYS = ("step", "linear")
AUTO = "auto"
"""Of ``max_decays``: decays after a bounce where one is asked for, by saying how."""


class AbelOptions:
    """The arguments of ``AbelCallback``, which has the words for them, as attributes."""

    def _choose(
        self,
        rule: str | Rule | None,
        watch: str | None,
        decay_factor: float,
        final_decay_at: float | None,
        min_learning_rate: float,
        max_decays: int | str | None,
        measure_every: int | None,
        diagnose: bool,
        scope: str,
        decay: str,
        final_decay: str,
        max_batch_size: int | None,
    ) -> None:
        """Check and keep them.

        :raises ValueError: for one out of its range, or two that cannot be had together
        """
        if max_decays == AUTO:
            max_decays = 0 if rule is None and watch is None and scope == "model" else None
        self.rule = make_rule("trend" if rule is None else rule)
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
        self.decay = check_choice("decay", decay, ACTIONS)
        self.final_decay = check_choice("final_decay", final_decay, FINAL_DECAYS)
        if scope == "part" and (self.watch == "total" or decay != "learning_rate"):
            with_it = f"watch={self.watch!r}" if self.watch == "total" else f"decay={decay!r}"
            raise ValueError(f"scope='part' cannot be had with {with_it}: there is one for all parts")
        self.max_batch_size = (
            None if max_batch_size is None else check_integer("max_batch_size", max_batch_size, at_least=1)
        )
        if max_batch_size is not None and decay == "learning_rate":
            raise ValueError(f"max_batch_size={max_batch_size!r} needs decay='batch_size' or 'mixed'")
