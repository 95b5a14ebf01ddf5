"""Arguments are checked once, where the user calls; errors name the argument and show the value."""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# What others call a name of ours, where the two look nothing alike
OTHER_NAMES = {
    "policy": "actor pi mu",
    "value": "critic q qf q_net q_network q_function vf v",
    "shared": "encoder backbone features_extractor feature_extractor",
    "log_std": "sigma",
    "learning_rate": "lr",
    "linear": "cosine cooldown anneal annealing",
    "acts_on": "decay",
    "decay_factor": "gamma lr_decay",
    "final_decay_at": "last_decay last_decay_epoch",
    "max_decays": "bounces",
    "min_learning_rate": "min_lr lr_min eta_min floor",
    "max_learning_rate": "max_lr lr_max",
    "target_kl": "kl desired_kl kl_threshold",
    "watch": "part parts network layer",
    "measure_every": "interval eval_freq freq",
    "every": "interval eval_freq freq",
    "total_steps": "t_max num_training_steps",
    "diagnose": "debug",
}


def check_number(
    name: str, value: object, at_least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """Return the finite number as a float, if it lies within the bounds that are given."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not (at_least <= number < below and above < number):
        low, bracket, word = (above, "(", "above") if above > -math.inf else (at_least, "[", "of at least")
        bound = f"in {bracket}{low:g}, {below:g})" if below < math.inf else f"a finite number {word} {low:g}"
        raise ValueError(f"{name} must be {bound}, got {value!r}")
    return number


def check_between(name: str, value: object, low: float, high: float) -> float:
    """Return the number as a float if it lies strictly between the two bounds."""
    return check_number(name, value, above=low, below=high)


def check_integer(name: str, value: object, at_least: int) -> int:
    """Return the integer as Python's own."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return the value if it is known."""
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}, got {value!r}{meant(value, known)}")
    return value


def check_flag(name: str, value: object) -> bool:
    """Return the boolean: a number or a text in its place is a slip."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_field(made: object, name: str, check: Callable[..., object], *bounds: Any, **options: Any) -> None:
    """Check a field of a frozen dataclass, and keep what the check returns: numpy's numbers are no JSON."""
    object.__setattr__(made, name, check(name, getattr(made, name), *bounds, **options))


def meant(name: object, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: which of those known may be meant, if any.

    >>> meant("critic", ["policy", "value"]), meant("tend", ["trend", "paper"]), meant("xyz", ["trend"])
    ("; did you mean 'value'?", "; did you mean 'trend'?", '')
    """
    known, name = list(known), str(name).lower()
    parts = [ours for ours in known if len(name) > 2 and (name in ours or ours in name)]
    found = [ours for ours in known if ours in parts or name in OTHER_NAMES.get(ours, "").split()]
    found = found or get_close_matches(name, known, 1)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def known_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function, or an ``__init__``, answer an unknown argument with the right name.

    The object that an ``__init__`` has made keeps its arguments for :func:`written`.
    """
    signature = inspect.signature(function)
    known = [name for name in signature.parameters if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        made: Any = args[0] if function.__name__ == "__init__" else None
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            who = function.__name__ if made is None else type(made).__name__
            if unknown := [name for name in kwargs if name not in known]:
                hint = meant(unknown[0], known) or f"; it has {known}"
                raise TypeError(f"{who} has no argument {unknown[0]!r}{hint}") from None
            raise TypeError(f"{who}: {error}; it has {known}") from None
        returned = function(*args, **kwargs)
        if made is not None and type(made).__init__ is checked:
            made._given = {name: _short(value) for name, value in {**dict(zip(known, args[1:])), **kwargs}.items()}
        return returned

    return checked


def written(made: object) -> str:
    """Return the code that has made an object, as far as it is known.

    >>> class Example:
    ...     @known_arguments
    ...     def __init__(self, rate, factor=1): ...
    >>> written(Example(0.1, factor=[2])), written(object())
    ('Example(rate=0.1, factor=[2])', 'object(...)')
    """
    given: dict[str, str] | None = getattr(made, "_given", None)
    arguments = "..." if given is None else ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{type(made).__name__}({arguments})"


def _short(value: object) -> str:
    return "..." if (text := repr(value)).startswith("<") or len(text) > 60 else text
