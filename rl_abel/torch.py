"""Schedulers for a training loop of one's own in PyTorch. They need torch alone, no stable-baselines3."""

import math
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter
from torch.optim.lr_scheduler import LRScheduler

from rl_abel._validation import check_integer, check_number, known_arguments
from rl_abel._warnings import WarnOnce, warn
from rl_abel.learning_rate.while_stepping import WhileStepping, copied, set_rate
from rl_abel.networks.norms import squared_norms
from rl_abel.rules.bounce import Rule, TrendRule, make_rule
from rl_abel.rules.budget import SCALE, budget_rate
from rl_abel.rules.decay_controller import DecayRules, DecayState, check_final_decay_at, decide, resume
from rl_abel.rules.decays import Decay, final_factor

__all__ = ["AbelScheduler", "BudgetScheduler", "Decay"]


class BudgetScheduler(LRScheduler):
    """Set the learning rate to scale / sqrt(total_steps), falling linearly to 0 from ``final_decay_at`` on.

    The rates of all groups are set, whatever they were. To train in RL with Adam; what was measured is in
    docs/results/automatic.md. Leave out the temperature's optimizer of SAC. Call :meth:`step` after each
    ``optimizer.step()``. To resume, load the ``state_dict()``, as with any scheduler of torch.

    >>> optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters())
    >>> scheduler, rates = BudgetScheduler(optimizer, total_steps=10_000), []
    >>> for step in range(10_000):
    ...     rates.append(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 6) for rate in (rates[0], rates[8000], rates[9000], scheduler.get_last_lr()[0])]
    [0.003, 0.003, 0.0015, 0.0]

    :param optimizer: of torch
    :param total_steps: calls of ``optimizer.step()`` in the training
    :param scale: of the rate; 0.3 was chosen with Adam
    :param max_learning_rate: largest rate
    :param final_decay_at: share of ``total_steps``, in [0, 1), after which the rate falls. None turns that off
    :raises ValueError: for an argument out of its range
    """

    @known_arguments
    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        total_steps: int,
        scale: float = SCALE,
        max_learning_rate: float = 1e-2,
        final_decay_at: float | None = 0.8,
    ) -> None:
        self.total_steps = check_integer("total_steps", total_steps, at_least=1)
        most = check_number("max_learning_rate", max_learning_rate, above=0)
        self.rate = budget_rate(self.total_steps, check_number("scale", scale, above=0), most)
        self.final_decay_at = final_decay_at
        if final_decay_at is not None:
            self.final_decay_at = check_final_decay_at("final_decay_at", final_decay_at, falls=True)
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rate of each group in the next ``optimizer.step()``."""
        at, progress = self.final_decay_at, self.last_epoch / self.total_steps
        factor = None if at is None else final_factor(progress, at, step=None)
        return [self.rate if factor is None else self.rate * factor for _ in self.optimizer.param_groups]


RESERVED = ("steps", "total")  # what a trace holds beside the parts


class AbelScheduler(LRScheduler):
    """Decay the learning rate after each bounce of the squared weight norm, and once near the end.

    It is for any loop with an optimizer of torch (Lewkowycz 2021, Algorithm 1). Call :meth:`step` where you call
    torch's schedulers, after ``optimizer.step()``:

    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    >>> scheduler = AbelScheduler(optimizer, total_steps=100)
    >>> for epoch in range(100):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(8, 1)).square().mean().backward()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.decays
    [Decay(timestep=85, cause='final', factor=0.1)]
    >>> optimizer.param_groups[0]["lr"], scheduler.get_last_lr()
    (0.25, [0.025])

    The rates of all groups are multiplied by :attr:`factor` while ``optimizer.step()`` runs, and at no other time.
    ``group["lr"]`` holds the plain rate: you or another scheduler may set it as if there were no decays. To log the
    rate that is applied, read :meth:`get_last_lr`. ``ChainedScheduler`` and ``SequentialLR`` may hold this scheduler.

    To resume, load the ``state_dict()`` of optimizer and scheduler. Copy both together: a copy of the optimizer
    alone has no decays. In RL decays after bounces have not been shown to help: take ``max_decays=0`` there.

    Frozen parameters are not measured. When others are trained the trace begins anew, with a warning. On a GPU a
    measurement costs one synchronisation. Sharded parameters (FSDP) are not supported: each process sees a share.

    :param optimizer: of torch. A second ``AbelScheduler`` on it takes the place of the first
    :param rule: what a bounce is: "trend" (after the final decay it decides no more), "paper" (Algorithm 1 to the
        letter: it decays on noise), or an object of your own with the methods of :class:`rl_abel.Rule`
    :param decay_factor: in (0, 1). Each decay multiplies the rates by it
    :param total_steps: calls of :meth:`step` in the training. None is an unknown number: then no decay is final
    :param final_decay_at: share of ``total_steps``, in (0, 1), at which the rate decays once. None turns it off
    :param parts: name -> parameters, for instance of each network. With "trend" a bounce of one counts beside that of
        the total of all that the optimizer owns; other rules decide by the total
    :param measure_every: calls of :meth:`step` between measurements. "trend" is calibrated on about 100 a
        training, and needs 21 to see a bounce
    :param max_decays: most decays after a bounce. None is any number, as in the paper, 0 the final decay alone
    :raises ValueError: for an argument out of its range
    :raises TypeError: if ``optimizer`` is not one of torch
    """

    @known_arguments
    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rule: str | Rule = "trend",
        decay_factor: float = 0.1,
        total_steps: int | None = None,
        final_decay_at: float | None = 0.85,
        parts: Mapping[str, Iterable[torch.Tensor]] | None = None,
        measure_every: int = 1,
        max_decays: int | None = None,
    ) -> None:
        # Without the base's own: it sets rates, and writes initial_lr into the groups.
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {optimizer!r:.200}")
        self.optimizer = optimizer
        self.rules = DecayRules(make_rule(rule), decay_factor, final_decay_at, max_decays=max_decays)
        # Infinity, not None: Accelerate compares it with _step_count.
        self.total_steps = math.inf if total_steps is None else check_integer("total_steps", total_steps, at_least=1)
        self.measure_every = check_integer("measure_every", measure_every, at_least=1)
        self._parts = _check_parts({} if parts is None else parts)
        needed = getattr(self.rules.rule, "min_measurements", 0) if max_decays != 0 else 0
        if (fit := self.total_steps // self.measure_every) < needed:
            warn(
                f"total_steps={total_steps} and measure_every={measure_every} make {fit} measurements, and the rule "
                f"needs {needed} before it can see a bounce: no bounce can decay the rate"
            )
        self.base_lrs = [copied(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        self._initial_step()
        self._state = DecayState()
        self._trace: dict[str, list[Any]] = {"steps": []}
        self._sizes: dict[str, int] = {}
        self._warn = WarnOnce()
        self._total: float | None = None  # the latest that was measured in this session
        self._rates = WhileStepping.of(optimizer)
        self._rates.owner, self._rates.factor = weakref.ref(self), 1.0

    def __getattr__(self, name: str) -> Any:
        # The arguments are attributes too.
        if name in DecayRules.__dataclass_fields__:
            return getattr(self.rules, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def decays(self) -> list[Decay]:
        """Decays in force, in the order in which they were made; each has the ``step`` after which it is in force."""
        return list(self._state.decays)

    @property
    def factor(self) -> float:
        """Product of the decays in force."""
        return self._state.factor_of()

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Measurements so far: ``steps``, and |w|^2 of ``total`` and each part, lists of equal length."""
        return {name: list(values) for name, values in self._trace.items()}

    def get_last_lr(self) -> list[Any]:
        """Return the rate of each group in the next ``optimizer.step()``, decays included: a number, or a tensor."""
        return [group["lr"] * self.factor for group in self.optimizer.param_groups]

    _last_lr = property(get_last_lr)

    def step(self, epoch: int | None = None) -> None:
        """Measure, and decide on the rate from the next ``optimizer.step()`` on. Only ``SequentialLR`` gives an epoch.

        :raises RuntimeError: if another ``AbelScheduler``, or a copy of this one, has the optimizer
        """
        if self._rates.owner() not in (None, self):
            raise RuntimeError("another AbelScheduler has been made for this optimizer since: step() that one")
        if epoch == 0:
            self._update_lr(epoch)
            return
        self._step_count += 1
        self.last_epoch += 1
        self._decide(self._measure() if self.last_epoch % self.measure_every == 0 else None)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs, as JSON values. What was given as arguments is not in it."""
        seen = {"steps": self.last_epoch, "sizes": dict(self._sizes), "trace": self.trace}
        return {**seen, **self._state.to_json()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, with the arguments that this scheduler was made with.

        With more ``total_steps`` than before the final decay may lapse. Another rule begins anew.

        :raises ValueError: if this is nothing that :meth:`state_dict` has returned
        """
        try:
            steps = check_integer("steps", state_dict["steps"], at_least=-1)  # -1 while a SequentialLR lets it wait
            state = DecayState.from_json(state_dict)
            sizes = {str(part): int(size) for part, size in state_dict["sizes"].items()}
            trace = {name: list(state_dict["trace"][name]) for name in ("steps", *sizes)}
        except (AttributeError, KeyError, TypeError, ValueError):
            what = "what AbelScheduler.state_dict() returns"
            raise ValueError(f"state_dict must be {what}, got {state_dict!r:.200}") from None
        self.last_epoch, self._sizes, self._trace = steps, sizes, trace
        self._step_count, self._total = steps + 1, None
        self._state = resume(self.rules, state, steps / self.total_steps)
        self._decide()

    def get_lr(self) -> list[Any]:
        """Refuse, with a RuntimeError: whoever asks would set the rates, without :meth:`step`."""
        raise RuntimeError("AbelScheduler sets no rates: call its step(), and read get_last_lr()")

    def _initial_step(self) -> None:
        self.last_epoch, self._step_count = 0, 1

    def _update_lr(self, epoch: int | None = None) -> None:
        # A SequentialLR has come to this scheduler, and left the scheduler before one step short of its end.
        self.last_epoch = 0
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs):
            set_rate(group, rate)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_rates"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What the original has measured says nothing about steps of the copy.
        self.__dict__.update(state, _total=None, _rates=WhileStepping.of(state["optimizer"]))
        self._apply()

    def _apply(self) -> None:
        # Of several for one optimizer, copies among them, one has it.
        if self._rates.owner() in (None, self):
            self._rates.owner, self._rates.factor = weakref.ref(self), self.factor

    def _decide(self, norms: Mapping[str, float] | None = None) -> None:
        progress = self.last_epoch / self.total_steps
        self._state, _ = decide(self.rules, self._state, self.last_epoch, norms, progress)
        self._apply()

    def _measure(self) -> dict[str, float] | None:
        """Return |w|^2 of what the rule watches, None where nothing can be measured."""
        owned, parts = [p for group in self.optimizer.param_groups for p in group["params"]], {}
        for part, tensors in {"total": owned, **self._parts}.items():
            # A lazy layer has no weights before its first call.
            there = (p for p in dict.fromkeys(tensors) if not isinstance(p, UninitializedParameter))
            if trained := [p for p in there if p.requires_grad]:
                parts[part] = trained
        if "total" not in parts:
            self._warn("frozen", "no parameter of the optimizer is trained now, so nothing is measured")
            return None
        norms = dict(zip(parts, squared_norms(list(parts.values()))))
        if not all(map(math.isfinite, norms.values())):
            self._warn("not finite", "the weight norm is not finite: such measurements are skipped")
            return None
        sizes = {part: sum(p.numel() for p in tensors) for part, tensors in parts.items()}
        if sizes != self._sizes:
            if self._sizes:
                warn(f"other weights are trained than before ({self._sizes}, now {sizes}): the trace begins anew")
            self._sizes, self._total = sizes, None
            self._state = replace(self._state, rule_states={})
            self._trace = {name: [] for name in ("steps", *sizes)}
        for name, value in {"steps": self.last_epoch, **norms}.items():
            self._trace[name].append(value)
        for message in self._rates.complaints(moved=self._total not in (None, norms["total"])):
            self._warn(message, message)
        self._total = norms["total"]
        return norms if isinstance(self.rules.rule, TrendRule) else {"total": norms["total"]}


def _check_parts(parts: object) -> dict[str, list[torch.Tensor]]:
    if not isinstance(parts, Mapping):
        raise ValueError(f"parts must map names to parameters, got {parts!r:.200}")
    checked = {}
    for name, parameters in parts.items():
        if not isinstance(name, str) or name in RESERVED:
            raise ValueError(f"names in parts must be strings and none of {list(RESERVED)}, got {name!r}")
        tensors = list(parameters) if isinstance(parameters, Iterable) else []
        if not tensors or isinstance(parameters, torch.Tensor) or not all(isinstance(t, torch.Tensor) for t in tensors):
            raise ValueError(f"parts[{name!r}] must be parameters, as module.parameters(), got {parameters!r:.200}")
        checked[name] = tensors
    return checked
