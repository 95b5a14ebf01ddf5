"""The rates that AbelScheduler leaves and applies: random uses against a twin without it, errors, tensors, copies."""

import copy
import gc
import json
import math
import pickle
import warnings
import weakref
from contextlib import suppress
from types import MethodType, SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler as schedulers

from rl_abel.torch import AbelScheduler
from tests.test_torch import OTHERS, At, Recording, optimizer_of, step_other, update

# What torch says of its own schedulers, where it is used in odd orders, or is older.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Seems like .optimizer.step"),
    pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step"),
    pytest.mark.filterwarnings("ignore:The epoch parameter"),
]


class Now:
    """A rule that decays when it is told to."""

    now = False

    def init(self):
        return 0

    def observe(self, state, weight_norm):
        return state, self.now


class Failing(Recording):
    """Fails on demand: before the weights move, or after."""

    fails = None

    def step(self, closure=None):
        if self.fails == "before":
            self.rates.append([float(group["lr"]) for group in self.param_groups])
            raise MemoryError
        super().step(closure)
        if self.fails == "after":
            raise KeyboardInterrupt


def rates_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


# How the rates are given: numbers, a tensor each, one tensor for all, two views of one, an integer.
RATES = {
    "numbers": lambda: (0.1, 0.02),
    "tensors": lambda: (torch.tensor(0.1), torch.tensor(0.02)),
    "one tensor": lambda: (torch.tensor(0.1),) * 3,
    "views": lambda: tuple(torch.full((1,), 0.1).expand(2)),
    "mixed": lambda: (torch.tensor(0.1), 1, 0.02),
}


class Training:
    """An optimizer and another scheduler, with ours or without; each use of it is a method."""

    def __init__(self, name, rates, with_abel):
        self.name, self.made_rates = name, rates
        self.factor = 1.0
        self.build(with_abel)

    def build(self, with_abel):
        self.optimizer = optimizer_of(Failing, RATES[self.made_rates]())
        self.other = OTHERS[self.name](self.optimizer)
        self.rule = Now()
        # 0.5: the product of any number of decays is exact in floats.
        self.abel = AbelScheduler(self.optimizer, rule=self.rule, decay_factor=0.5) if with_abel else None

    def set_rate(self, index, value):
        group = self.optimizer.param_groups[index % len(self.optimizer.param_groups)]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value

    def step_other(self):
        step_other(self.other)

    def decide(self, decays):
        if self.abel:
            self.abel.rule.now = decays
            self.abel.step()
            self.factor *= 0.5 if decays else 1.0

    def update(self, fails):
        self.optimizer.fails = fails
        with suppress(MemoryError, KeyboardInterrupt):
            update(self.optimizer)

    def fail_in_closure(self):
        def closure():
            raise ZeroDivisionError

        self.optimizer.fails = None
        with suppress(ZeroDivisionError):
            self.optimizer.step(closure)

    def save_and_load(self):
        kept = [copy.deepcopy(o and o.state_dict()) for o in (self.optimizer, self.other, self.abel)]
        kept[2] = json.loads(json.dumps(kept[2]))
        self.build(self.abel is not None)
        for target, state in zip((self.optimizer, self.other, self.abel), kept):
            if target is not None:
                target.load_state_dict(state)

    def go_on_with_a_copy(self):
        self.optimizer, self.other, self.abel = copy.deepcopy((self.optimizer, self.other, self.abel))

    def copy_aside(self):
        if self.abel:
            aside = copy.copy(self.abel)
            with pytest.raises(RuntimeError, match="another AbelScheduler"):
                aside.step()
            copy.deepcopy(self.abel).step()
            copy.deepcopy(self.optimizer).step()


USES = st.one_of(
    st.tuples(st.just("set_rate"), st.integers(0, 2), st.sampled_from([1.0, 0.25, 0.003])),
    st.tuples(st.just("step_other")),
    st.tuples(st.just("decide"), st.booleans()),
    st.tuples(st.just("update"), st.sampled_from([None, None, "before", "after"])),
    st.sampled_from([("fail_in_closure",), ("save_and_load",), ("go_on_with_a_copy",), ("copy_aside",)]),
)


@pytest.mark.parametrize("name", OTHERS)
@settings(deadline=None, max_examples=25)
@given(made=st.sampled_from(sorted(RATES)), uses=st.lists(USES, min_size=3, max_size=20))
def test_rates_are_the_twins_outside_of_a_step_and_times_the_factor_within(name, made, uses):
    ours, twin = Training(name, made, with_abel=True), Training(name, made, with_abel=False)
    for use, *arguments in uses:
        for training in (ours, twin):
            training.optimizer.rates = []
            getattr(training, use)(*arguments)
        assert rates_of(ours.optimizer) == rates_of(twin.optimizer), (use, "the plain rates are the twin's")
        expected = [[rate * ours.factor for rate in rates] for rates in twin.optimizer.rates]
        assert ours.optimizer.rates == expected, (use, "what is applied is the twin's rate times the factor")
        assert ours.abel.factor == ours.factor
        assert list(map(float, ours.abel.get_last_lr())) == [r * ours.factor for r in rates_of(twin.optimizer)]
    moved = [[float(p.detach()) for g in t.optimizer.param_groups for p in g["params"]] for t in (ours, twin)]
    assert ours.factor != 1 or moved[0] == moved[1]


# Rates that are tensors


@pytest.mark.parametrize("made", RATES)
# Adam's foreach takes numbers alone, on a CPU.
@pytest.mark.parametrize(
    ("kind", "foreach"), [(torch.optim.SGD, False), (torch.optim.SGD, True), (torch.optim.Adam, False)]
)
def test_groups_that_share_a_tensor_are_decayed_once_and_get_it_back(made, kind, foreach):
    rates = RATES[made]()
    plain = [float(rate) for rate in rates]
    optimizer = optimizer_of(kind, rates, foreach=foreach)
    tensors = [group["lr"] for group in optimizer.param_groups]
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.1)
    seen = []
    # After the multiplication, and within the step.
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(rates_of(o)))
    for _ in range(2):
        update(optimizer)
        abel.step()
        assert rates_of(optimizer) == plain, "exactly, as it was"
    assert seen == [pytest.approx(plain), pytest.approx([0.1 * rate for rate in plain])]
    assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, tensors))


# Errors within a step, and what is set there


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("fails", ["before", "after"])
def test_an_error_within_a_step_leaves_the_plain_rate_and_a_rate_set_afterwards_stays(tensor, fails):
    optimizer = optimizer_of(Failing, (torch.tensor(0.5) if tensor else 0.5,))
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
    other = schedulers.ExponentialLR(optimizer, 0.5)
    abel.step()
    optimizer.fails = fails
    with pytest.raises((MemoryError, KeyboardInterrupt)):
        update(optimizer)
    assert rates_of(optimizer) == [0.5]
    other.step()
    assert rates_of(optimizer) == [0.25], "a scheduler that multiplies the rate has not met the decayed one"
    optimizer.param_groups[0]["lr"] = 2.0
    abel.step()
    optimizer.fails = None
    update(optimizer)
    assert optimizer.rates[-1] == [1.0]
    assert rates_of(optimizer) == [2.0]


def test_a_rate_that_is_set_within_a_step_stays_and_is_said():
    optimizer = optimizer_of(rates=(0.1,))
    abel = AbelScheduler(optimizer, rule=At(1))
    abel.step()
    optimizer.register_step_pre_hook(lambda o, *_: o.param_groups[0].update(lr=0.3))
    update(optimizer)
    assert rates_of(optimizer) == [0.3]
    with pytest.warns(UserWarning, match=r"sets the learning rate within optimizer.step\(\)") as caught:
        abel.step()
    update(optimizer)
    abel.step()
    assert len(caught) == 1


def test_a_closure_is_called_at_the_decayed_rate():
    optimizer = torch.optim.LBFGS([weight := nn.Parameter(torch.tensor([3.0]))], lr=0.5, max_iter=3)
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
    seen = []

    def closure():
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    abel.step()
    calls = len(seen)
    assert optimizer.step(closure) is not None, "what the closure returns is handed on"
    assert set(seen[:calls]) == {0.5}
    assert set(seen[calls:]) == {0.25}
    assert rates_of(optimizer) == [0.5]


# Groups and states in mid-training


def test_groups_that_are_added_and_states_that_are_loaded_are_multiplied():
    optimizer = optimizer_of(rates=(0.5,))
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5, max_decays=1)
    abel.step()
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 2.0})
    update(optimizer)
    with pytest.warns(UserWarning, match="other weights are trained"):
        abel.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 4.0
    optimizer.load_state_dict(state)
    update(optimizer)
    assert optimizer.rates == [[0.25, 1.0], [2.0, 1.0]]
    assert rates_of(optimizer) == [4.0, 2.0]


# Copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda abel: pickle.loads(pickle.dumps(abel))])
def test_a_copy_of_the_scheduler_leaves_the_original_in_force(copied):
    optimizer = optimizer_of(rates=(0.5,))
    abel = AbelScheduler(optimizer, rule=At(1, 2), decay_factor=0.5)
    abel.step()
    made = copied(abel)
    update(optimizer)
    abel.step()
    update(optimizer)
    assert optimizer.rates == [[0.25], [0.125]]
    if made.optimizer is optimizer:
        with pytest.raises(RuntimeError, match="another AbelScheduler"):
            made.step()
        del abel
        made.step()
    else:
        update(made.optimizer)
        assert made.optimizer.rates[-1] == [0.25], "with its own optimizer, at the factor of its time"
        assert rates_of(made.optimizer) == [0.5]


def test_the_decays_outlive_a_scheduler_that_is_dropped_and_nothing_keeps_it():
    optimizer = optimizer_of(rates=(0.5,))
    gc.disable()
    try:
        abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
        abel.step()
        reference = weakref.ref(abel)
        del abel
        assert reference() is None
    finally:
        gc.enable()
    update(optimizer)
    assert optimizer.rates == [[0.25]]
    AbelScheduler(optimizer)
    update(optimizer)
    assert optimizer.rates[-1] == [0.5], "a new one begins anew"


# What others do to optimizer.step


@pytest.mark.parametrize("how", ["function", "method of another", "before and after"])
def test_steps_that_others_have_wrapped_are_multiplied_once(how):
    optimizer = optimizer_of(rates=(0.5,))
    if how == "before and after":
        AbelScheduler(optimizer)
    inner = optimizer.step
    if how == "method of another":
        optimizer.step = MethodType(lambda self, *args: self.inner(*args), SimpleNamespace(inner=inner))
    else:
        # It hands on no attributes, so that ours cannot be seen through it.
        optimizer.step = lambda *args: inner(*args)
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
    schedulers.LambdaLR(optimizer, lambda n: 1.0)
    abel.step()
    update(optimizer)
    assert optimizer.rates == [[0.25]]
    assert rates_of(optimizer) == [0.5]


def test_a_step_that_was_taken_before_is_said():
    optimizer = optimizer_of()
    step = optimizer.step
    abel = AbelScheduler(optimizer)
    for group in optimizer.param_groups:
        group["params"][0].grad = torch.ones(1)
    step()
    abel.step()
    step()
    with pytest.warns(UserWarning, match="taken or compiled before AbelScheduler was made"):
        abel.step()


def test_an_optimizer_that_wraps_another_as_accelerate_s_does():
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

        param_groups = property(lambda self: self.optimizer.param_groups)

        def step(self, closure=None):
            self.optimizer.step(closure)

    wrapper = Wrapper(optimizer_of(rates=(0.5,)))
    abel = AbelScheduler(wrapper, rule=At(1), decay_factor=0.5)
    abel.step()
    update(wrapper)
    assert wrapper.optimizer.rates == [[0.25]]
    assert rates_of(wrapper) == [0.5]


# What libraries read of torch's schedulers


@pytest.mark.parametrize("total_steps", [None, 5])
def test_it_has_what_libraries_read(total_steps):
    optimizer = optimizer_of()
    abel = AbelScheduler(optimizer, rule=At(2), total_steps=total_steps, final_decay_at=None)
    torchs = schedulers.LambdaLR(optimizer, lambda n: 1.0)
    for made in range(7):
        assert (abel._step_count, abel.last_epoch) == (torchs._step_count, torchs.last_epoch) == (made + 1, made)
        assert abel.base_lrs == torchs.base_lrs
        assert abel.optimizer is torchs.optimizer
        assert abel._last_lr == abel.get_last_lr()
        # Accelerate steps a scheduler that has total_steps on this condition.
        assert (abel._step_count <= abel.total_steps) == (total_steps is None or made < total_steps)
        update(optimizer)
        abel.step()
        torchs.step()
    resumed = AbelScheduler(optimizer_of(), rule=At(2))
    resumed.load_state_dict(abel.state_dict())
    assert (resumed._step_count, resumed.last_epoch) == (8, 7)
    # Accelerate counts so a batch of which the gradients are kept.
    resumed._step_count += 1
    with pytest.raises(RuntimeError, match=r"call its step\(\)"):
        abel.get_lr()


def test_its_own_groups_have_no_new_keys():
    """Another scheduler of torch's would take ``initial_lr`` for the rate to begin with."""
    optimizer = optimizer_of(rates=(0.5,))
    before = set(optimizer.param_groups[0])
    AbelScheduler(optimizer).step()
    assert set(optimizer.param_groups[0]) == before
    optimizer.param_groups[0]["lr"] = 0.25
    assert schedulers.StepLR(optimizer, 5).base_lrs == [0.25]


# In a sequence


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("resumed", [None, 1, 3])
def test_in_a_sequential_lr_it_begins_from_the_base_rate_and_its_decays_stay(first, tensor, resumed):
    def build():
        optimizer = optimizer_of(rates=(torch.tensor(0.5) if tensor else 0.5,))
        if first:
            # Its decay comes with its second step.
            made = [AbelScheduler(optimizer, rule=At(2), decay_factor=0.5), schedulers.ExponentialLR(optimizer, 0.5)]
        else:
            warmup = schedulers.LinearLR(optimizer, 0.1, 1.0, 2)
            made = [warmup, AbelScheduler(optimizer, rule=At(2), decay_factor=0.5)]
        return optimizer, made, schedulers.SequentialLR(optimizer, made, [3 if first else 2])

    optimizer, made, sequence = build()
    rates = []
    for step in range(6):
        update(optimizer)
        rates += optimizer.rates[-1]
        sequence.step()
        if step == resumed:
            kept = copy.deepcopy([optimizer.state_dict(), sequence.state_dict()])
            optimizer, made, sequence = build()
            optimizer.load_state_dict(kept[0])
            sequence.load_state_dict(kept[1])
    expected = [0.5, 0.5, 0.25, 0.25, 0.125, 0.0625] if first else [0.05, 0.275, 0.5, 0.5, 0.25, 0.25]
    assert rates == pytest.approx(expected)
    assert [decay.step for decay in made[0 if first else 1].decays] == [2]
    assert math.isfinite(sum(map(float, sequence.get_last_lr())))


def test_an_older_sequential_lr_gives_it_the_epoch_0():
    optimizer = optimizer_of(rates=(0.5,))
    abel = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
    optimizer.param_groups[0]["lr"] = 0.125
    abel.last_epoch = -1
    abel.step(0)
    assert (abel.last_epoch, abel.trace["steps"], rates_of(optimizer)) == (0, [], [0.5])


def test_all_of_this_says_nothing():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        optimizer = optimizer_of()
        made = [AbelScheduler(optimizer), schedulers.StepLR(optimizer, 2)]
        for _ in range(4):
            update(optimizer)
            for scheduler in made:
                scheduler.step()
    assert said == []
