"""What the user of ``AbelCallback`` chooses: one frozen value, checked when it is made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl_abel._validation import check_choice, check_field, check_flag, check_integer, check_number
from rl_abel.learning_rate.batch_size import ACTIONS
from rl_abel.rules.bounce import TrendRule, make_rule
from rl_abel.rules.decay_controller import DecayRules

WATCHABLE = ("any", "total", "policy", "value")


@dataclass(frozen=True)
class AbelSettings(DecayRules):
    """The arguments of ``AbelCallback``, which explains them.

    :raises ValueError: for an argument out of its range, or two that exclude each other
    """

    watch: str = "any"
    min_learning_rate: float = 0.0
    acts_on: str = "learning_rate"
    max_batch_size: int | None = None
    measure_every: int | None = None
    diagnose: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            json.dumps(self.rule.init())
        except TypeError as error:
            raise ValueError(f"rule must keep a state made of JSON values, got {self.rule.init()!r}: {error}") from None
        check_field(self, "watch", check_choice, WATCHABLE)
        check_field(self, "min_learning_rate", check_number, at_least=0)
        check_field(self, "acts_on", check_choice, ACTIONS)
        for name in ("max_batch_size", "measure_every"):
            if getattr(self, name) is not None:
                check_field(self, name, check_integer, at_least=1)
        check_field(self, "diagnose", check_flag)
        if self.scope == "part" and self.max_decays == 0:
            raise ValueError(
                "scope='part' says whose rate decays after a bounce, and max_decays=0 that none does: "
                "give max_decays=None for any number"
            )
        if self.scope == "part" and (self.watch == "total" or self.acts_on != "learning_rate"):
            with_it = f"watch={self.watch!r}" if self.watch == "total" else f"acts_on={self.acts_on!r}"
            raise ValueError(f"scope='part' cannot be had with {with_it}: there is one for all parts")
        if self.max_batch_size is not None and self.acts_on == "learning_rate":
            raise ValueError(f"max_batch_size={self.max_batch_size!r} needs acts_on='batch_size' or 'mixed'")

    def watches(self, part: str) -> bool:
        """Whether the norm of a part decides."""
        return part == self.watch or (self.watch == "any" and part in WATCHABLE)

    def check_watched(self, parts: Sequence[str], model: str) -> None:
        """Raise a ValueError if nothing that decides is among the parts of a model of this name."""
        if not any(map(self.watches, parts)):
            have = [part for part in WATCHABLE if part in parts]
            raise ValueError(f"watch={self.watch!r}: {model} has no such part; it has {have}")


def settings_in(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of a callback that are settings, with the rule made, and with what it watches."""
    given = {name: value for name, value in arguments.items() if name in AbelSettings.__dataclass_fields__}
    rule = make_rule(given["rule"])
    # Algorithm 1 has one norm.
    own = "any" if isinstance(rule, TrendRule) else "total"
    return {**given, "rule": rule, "watch": own if given["watch"] is None else given["watch"]}
