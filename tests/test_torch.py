"""AbelScheduler: its rates beside every scheduler of torch, what survives a save, what it says."""

import copy
import io
import json
import math
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from rl_abel import PaperRule, TrendRule, find_decays
from rl_abel.torch import AbelScheduler

pytestmark = [
    pytest.mark.filterwarnings("ignore:rl_abel. total_steps"),
    # Torch's own SequentialLR, in older torch.
    pytest.mark.filterwarnings("ignore:The epoch parameter"),
]


class At:
    """A rule that decays at given measurements, counted from 1."""

    def __init__(self, *measurements):
        self.measurements = measurements

    def init(self):
        return 0

    def observe(self, state, weight_norm):
        return state + 1, state + 1 in self.measurements


class Recording(torch.optim.SGD):
    """Keeps the rates of every step that is made, as they are within it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rates = []

    def __getstate__(self):
        return {**super().__getstate__(), "rates": []}

    @torch.no_grad()
    def step(self, closure=None):
        self.rates.append([float(group["lr"]) for group in self.param_groups])
        return super().step(closure)


def optimizer_of(kind=Recording, rates=(0.1, 0.02), **options):
    """An optimizer with a group a rate, each of one weight that a gradient of 1 moves."""
    groups = [{"params": [nn.Parameter(torch.tensor([3.0 + i]))], "lr": rate} for i, rate in enumerate(rates)]
    return kind(groups, **options)


def set_norm(optimizer, squared):
    [parameter] = optimizer.param_groups[0]["params"]
    parameter.data.fill_(math.sqrt(squared))


def update(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


# Beside torch's own schedulers

OTHERS = {
    "none": lambda o: None,
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda n: 1 / (1 + n)),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda n: 0.9),
    "StepLR": lambda o: schedulers.StepLR(o, 4, 0.5),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [3, 8], 0.3),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.3, 5),
    "LinearLR": lambda o: schedulers.LinearLR(o, 1.0, 0.1, 15),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 15, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 12, eta_min=0.001),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 5, eta_min=0.001),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.3, 20, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=1, min_lr=0.004),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.3, 5), schedulers.ExponentialLR(o, 0.9)]
    ),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, 1.0, 4), schedulers.CosineAnnealingLR(o, 10, eta_min=0.001)], [4]
    ),
}
if hasattr(torch.optim.swa_utils, "SWALR"):
    OTHERS["SWALR"] = lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=0.005, anneal_epochs=5)


def step_other(other):
    if isinstance(other, schedulers.ReduceLROnPlateau):
        other.step(1.0)
    elif other is not None:
        other.step()


def train(name, order, n_steps=16, kind=Recording, **options):
    """Return the rates of every step: of the other scheduler alone ("alone"), or with ours before or after it."""
    optimizer = optimizer_of(kind, **options)
    made = [OTHERS[name](optimizer)]
    if order != "alone":
        abel = AbelScheduler(optimizer, rule=At(3, 9), decay_factor=0.1, total_steps=20, final_decay_at=0.7)
        made.insert(0 if order == "before" else 1, abel)
    rates = []
    for _ in range(n_steps):
        expected = [scheduler.get_last_lr() for scheduler in made if isinstance(scheduler, AbelScheduler)]
        update(optimizer)
        rates.append(optimizer.rates[-1])
        assert all(rates[-1] == list(map(float, applied)) for applied in expected), (
            "get_last_lr() tells what is applied"
        )
        for scheduler in made:
            step_other(scheduler)
    return rates


# After how many steps which factor is in force: bounces at 3 and 9, the end at 14.
FACTORS = [1.0] * 3 + [0.1] * 6 + [0.01] * 5 + [0.001] * 2


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", OTHERS)
def test_rates_are_those_of_the_other_scheduler_times_the_factor(name, order):
    alone = train(name, "alone")
    assert [len(rates) for rates in alone] == [2] * 16
    expected = [[rate * factor for rate in rates] for rates, factor in zip(alone, FACTORS)]
    assert train(name, order) == [pytest.approx(rates, rel=1e-12) for rates in expected]


def test_every_scheduler_of_torch_is_tried():
    known = {name for name in dir(schedulers) if isinstance(getattr(schedulers, name), type)}
    known = {name for name in known if issubclass(getattr(schedulers, name), schedulers.LRScheduler)}
    assert known - {"LRScheduler", "_LRScheduler"} <= set(OTHERS)


def test_it_can_be_chained():
    optimizer = optimizer_of()
    abel = AbelScheduler(optimizer, rule=At(2))
    chained = schedulers.ChainedScheduler([schedulers.ExponentialLR(optimizer, 0.5), abel])
    for _ in range(4):
        update(optimizer)
        chained.step()
    assert [rates[0] for rates in optimizer.rates] == pytest.approx([0.1, 0.05, 0.0025, 0.00125])


def test_groups_hold_plain_rates_between_steps():
    optimizer = optimizer_of()
    abel = AbelScheduler(optimizer, rule=At(1))
    for _ in range(3):
        update(optimizer)
        abel.step()
        assert [group["lr"] for group in optimizer.state_dict()["param_groups"]] == [0.1, 0.02]
    assert optimizer.rates[-1] == abel.get_last_lr() == pytest.approx([0.01, 0.002])
    optimizer.param_groups[1]["lr"] = 0.5
    update(optimizer)
    assert optimizer.rates[-1] == pytest.approx([0.01, 0.05]), "a rate that the user sets is the plain one"


# Optimizers


@pytest.mark.parametrize("with_base", [False, True])
def test_a_derived_optimizer_is_multiplied_once_and_throughout(with_base):
    class Decoupled(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            super().step(closure)
            self.after = self.param_groups[0]["lr"]

    if with_base:
        optimizer_of(torch.optim.SGD)  # from now on the step that is derived from has hooks of its own
    optimizer = optimizer_of(Decoupled)
    abel = AbelScheduler(optimizer, rule=At(1))
    for _ in range(2):
        before = optimizer.param_groups[0]["params"][0].item()
        update(optimizer)
        abel.step()
    assert before - optimizer.param_groups[0]["params"][0].item() == pytest.approx(0.01, rel=1e-4)
    assert optimizer.after == pytest.approx(0.01)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_step_that_fails_leaves_the_plain_rate():
    optimizer = optimizer_of(torch.optim.SGD)
    abel = AbelScheduler(optimizer, rule=At(1))
    abel.step()

    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        optimizer.step(fail)
    abel.step()
    assert optimizer.param_groups[0]["lr"] == 0.1
    before = optimizer.param_groups[0]["params"][0].item()
    update(optimizer)
    assert before - optimizer.param_groups[0]["params"][0].item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"fused": True}, {"foreach": False, "tensor": True}, {"fused": True, "tensor": True}], ids=str
)
def test_a_rate_that_is_a_tensor_stays_the_same_tensor(options):
    options = dict(options)
    rates = (torch.tensor(0.1), torch.tensor(0.02)) if options.pop("tensor", False) else (0.1, 0.02)
    optimizer = optimizer_of(torch.optim.Adam, rates=rates, **options)
    first = optimizer.param_groups[0]["lr"]
    abel = AbelScheduler(optimizer, rule=At(2))
    moved = []
    for _ in range(4):
        before = optimizer.param_groups[0]["params"][0].item()
        update(optimizer)
        moved.append(before - optimizer.param_groups[0]["params"][0].item())
        abel.step()
    assert moved == pytest.approx([0.1, 0.1, 0.01, 0.01], rel=1e-3)
    assert optimizer.param_groups[0]["lr"] is first or isinstance(first, float)
    assert float(first) == pytest.approx(0.1)
    assert list(map(float, abel.get_last_lr())) == pytest.approx([0.01, 0.002])
    last = abel.get_last_lr()[0]
    assert type(last) is type(first)
    assert last is not first


# Of torch's own making, as it compiles.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_step_and_a_compiled_model():
    torch._dynamo.reset()
    model = torch.compile(nn.Linear(2, 1, bias=False), backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    abel = AbelScheduler(optimizer, rule=At(2))
    step = torch.compile(optimizer.step, backend="eager")
    moved = []
    for _ in range(4):
        [parameter] = model.parameters()
        before = parameter.detach().clone()
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        step()
        moved.append(float((before - parameter).detach()[0, 0]))
        abel.step()
    assert moved == pytest.approx([0.1, 0.1, 0.01, 0.01], rel=1e-4)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1)


def test_steps_that_the_grad_scaler_skips():
    optimizer = optimizer_of()
    abel, scaler = AbelScheduler(optimizer, rule=At(2)), torch.amp.GradScaler("cpu", init_scale=4.0)
    for gradient in (1.0, float("inf"), 1.0):
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.full((1,), gradient * scaler.get_scale())
        # The scale is there from the first loss on.
        scaler.scale(torch.zeros(1))
        scaler.step(optimizer)
        scaler.update()
        abel.step()
    assert [rates[0] for rates in optimizer.rates] == pytest.approx([0.1, 0.01]), "the second step was skipped"
    assert abel.trace["total"][0] == abel.trace["total"][1]


# Measure and decide


def show(norms, rule="trend", **options):
    """Show a scheduler these squared norms, one a step."""
    optimizer = optimizer_of(rates=(0.1,))
    abel = AbelScheduler(optimizer, rule=rule, **options)
    for norm in norms:
        optimizer.step()
        set_norm(optimizer, norm)
        abel.step()
    return abel


BOUNCE = [300.0 - 4 * i for i in range(30)] + [180.0 + 3 * i for i in range(20)] + [240.0] * 20


@pytest.mark.parametrize("rule", ["trend", "paper", TrendRule(window=5), PaperRule()])
def test_it_decides_as_find_decays_does(rule):
    norms = BOUNCE + BOUNCE
    abel = show(norms, rule)
    expected = find_decays(abel.trace["total"], rule=rule)
    assert expected
    assert abel.decays == [(index + 1, "bounce", 0.1) for index in expected]
    assert abel.factor == pytest.approx(0.1 ** len(expected))
    assert abel.trace["steps"] == list(range(1, len(norms) + 1))
    assert abel.trace["total"] == pytest.approx(norms, rel=1e-6)


def test_it_measures_every_few_steps():
    abel = show(BOUNCE, measure_every=3)
    assert abel.trace["steps"] == list(range(3, 71, 3))
    assert abel.trace["total"] == pytest.approx(BOUNCE[2::3], rel=1e-6)


@pytest.mark.parametrize(
    ("total_steps", "final_decay_at", "step"),
    [
        (100, 0.55, 55),
        (100, 0.85, 85),
        (10, 0.7, 7),
        (10, 0.85, 9),
        (7, 0.5, 4),
        (None, 0.85, None),
        (10, None, None),
        (200, 0.85, None),
    ],
)
def test_the_final_decay(total_steps, final_decay_at, step):
    abel = show([1.0] * 120, total_steps=total_steps, final_decay_at=final_decay_at, decay_factor=0.3)
    assert abel.decays == ([] if step is None else [(step, "final", 0.3)])


@pytest.mark.parametrize(("max_decays", "causes"), [(None, "bounce bounce final"), (1, "bounce final"), (0, "final")])
def test_bounces_decay_as_often_as_allowed(max_decays, causes):
    """A norm that bounces twice before the end."""
    twice = [*(100.0 - i for i in range(20)), *(80.0 + i for i in range(20)), *[100.0] * 15]
    abel = show(twice * 2, total_steps=110, final_decay_at=0.99, max_decays=max_decays)
    assert [cause for _, cause, _ in abel.decays] == causes.split()


@pytest.mark.parametrize(("rule", "late"), [("trend", False), ("paper", True)])
def test_after_the_final_decay_trend_decides_no_more(rule, late):
    norms = [100.0 - i for i in range(40)] + [60.0 + i for i in range(45)]
    norms += [105 + 0.05 * i + 0.1 * (i % 2) for i in range(15)]
    abel = show(norms, rule, total_steps=100)
    assert any(step > 85 for step, cause, _ in abel.decays if cause == "bounce") == late


@pytest.mark.parametrize(("rule", "causes"), [("trend", ["bounce"]), ("paper", [])])
def test_a_part_counts_by_itself(rule, causes):
    """Its bounce is hidden in the total, which only falls."""
    optimizer = optimizer_of(rates=(0.1, 0.1))
    big, small = (group["params"][0] for group in optimizer.param_groups)
    abel = AbelScheduler(optimizer, rule=rule, parts={"small": iter([small])})
    for step, norm in enumerate(BOUNCE):
        optimizer.step()
        big.data.fill_(math.sqrt(1e6 - 1e3 * step))
        small.data.fill_(math.sqrt(norm))
        abel.step()
    assert [cause for _, cause, _ in abel.decays] == causes
    assert abel.trace["small"] == pytest.approx(BOUNCE, rel=1e-6)
    assert abel.trace["total"] == pytest.approx([1e6 - 1e3 * i + n for i, n in enumerate(BOUNCE)], rel=1e-6)


def test_frozen_and_lazy_weights_do_not_count():
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3))
    model[0].bias.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    abel = AbelScheduler(optimizer, rule=At(2, 3))
    abel.step()
    assert abel.trace["total"] == [pytest.approx(float(model[0].weight.detach().square().sum()))]
    model(torch.ones(1, 2))
    with pytest.warns(UserWarning, match=r"other weights .*'total': 4.* now .*'total': 13") as caught:
        abel.step()
    assert caught[0].filename == __file__
    assert abel.trace["steps"] == [2]
    assert abel.decays == [], "the second measurement, and the first of these weights"
    model.requires_grad_(False)
    with pytest.warns(UserWarning, match="nothing is measured"):
        abel.step()
    abel.step()
    assert abel.trace["steps"] == [2]


def test_a_norm_that_is_not_finite_is_skipped_and_said_once():
    with pytest.warns(UserWarning, match="not finite") as caught:
        abel = show([3.0, 2.0, math.nan, math.inf, 3.0, 2.0], "paper")
    assert len(caught) == 1
    assert abel.decays == [(6, "bounce", 0.1)]
    assert abel.trace["steps"] == [1, 2, 5, 6]


def test_weights_that_something_else_moves_are_said():
    optimizer = optimizer_of()
    abel = AbelScheduler(optimizer)
    for norm in (3.0, 3.0):
        set_norm(optimizer, norm)
        abel.step()
    set_norm(optimizer, 4.0)
    with pytest.warns(UserWarning, match=r"optimizer.step\(\) was not seen") as caught:
        abel.step()
    set_norm(optimizer, 5.0)
    abel.step()
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("total_steps", "every", "fit"), [(20, 1, 20), (41, 2, 20), (21, 1, None), (42, 2, None)])
def test_too_few_measurements_are_said(total_steps, every, fit):
    def make():
        AbelScheduler(optimizer_of(), total_steps=total_steps, measure_every=every)

    if fit is None:
        make()
    else:
        with pytest.warns(UserWarning, match=f"make {fit} measurements, and the rule needs 21"):
            make()
        AbelScheduler(optimizer_of(), total_steps=total_steps, measure_every=every, max_decays=0)


# Save and resume


def loop(model, optimizer, made, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs = torch.randn(2, 4, generator=generator)
        loss = (model(inputs) - inputs.prod(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for scheduler in made:
            scheduler.step()


def build():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    rule = TrendRule(window=2, z=0.5, depth=0.0)
    abel = AbelScheduler(optimizer, rule, 0.9, 60, parts={"last": model[2].parameters()})
    return model, optimizer, [abel, schedulers.CosineAnnealingLR(optimizer, 60, eta_min=1e-4)]


def saved(objects):
    model, optimizer, made = objects
    return [model.state_dict(), optimizer.state_dict(), *(scheduler.state_dict() for scheduler in made)]


def restored(kept):
    model, optimizer, made = build()
    for target, state in zip([model, optimizer, *made], kept):
        target.load_state_dict(state)
    return model, optimizer, made


def through_a_file(objects):
    buffer = io.BytesIO()
    torch.save(saved(objects), buffer)
    buffer.seek(0)
    return restored(torch.load(buffer, weights_only=True))


def through_json(objects):
    # Loaded, the state of an optimizer may be that of the one it came from.
    kept = copy.deepcopy(saved(objects))
    kept[2] = json.loads(json.dumps(kept[2], allow_nan=False))
    return restored(kept)


RESUMED = {
    "a file": through_a_file,
    "JSON": through_json,
    "a copy": copy.deepcopy,
    "pickle": lambda objects: pickle.loads(pickle.dumps(objects)),
}


@pytest.mark.parametrize("stop", [7, 20, 51, 55])
@pytest.mark.parametrize("way", RESUMED)
def test_a_resumed_training_is_that_which_went_on(way, stop):
    whole = build()
    loop(*whole, stop, seed=0)
    part = RESUMED[way](whole)
    state = copy.deepcopy(whole[2][0].state_dict())
    for objects in (whole, part):
        loop(*objects, 60 - stop, seed=1)
    assert str(saved(part)) == str(saved(whole))
    assert part[2][0]._state == whole[2][0]._state
    assert {cause for _, cause, _ in part[2][0].decays} == {"bounce", "final"}
    assert state == json.loads(json.dumps(state)), "what was saved is left alone"
    assert len(state["trace"]["steps"]) == stop


def test_the_final_decay_lapses_where_the_training_has_become_longer():
    model, optimizer, made = build()
    loop(model, optimizer, made, 55, seed=0)
    longer, shorter = (AbelScheduler(optimizer_of(), total_steps=n, rule=At()) for n in (600, 40))
    for abel in (longer, shorter):
        abel.load_state_dict(made[0].state_dict())
    assert [cause for _, cause, _ in made[0].decays].count("final") == 1
    assert longer.decays == [decay for decay in made[0].decays if decay.cause != "final"]
    assert shorter.decays == made[0].decays
    early = AbelScheduler(optimizer_of(), rule=At(), total_steps=None)
    early.load_state_dict({**made[0].state_dict(), "decays": []})
    assert early.decays == []
    late = AbelScheduler(optimizer_of(), rule=At(), total_steps=60)
    late.load_state_dict({**made[0].state_dict(), "decays": []})
    assert late.decays == [(55, "final", 0.1)]


@pytest.mark.parametrize(("before", "decays"), [(TrendRule(), 1), (TrendRule(z=3.6), 0), (At(), 0)])
def test_another_rule_begins_anew(before, decays):
    kept = show(BOUNCE[:50], before).state_dict()
    optimizer = optimizer_of(rates=(0.1,))
    abel = AbelScheduler(optimizer)
    abel.load_state_dict(kept)
    for norm in BOUNCE[50:]:
        optimizer.step()
        set_norm(optimizer, norm)
        abel.step()
    assert len(abel.decays) == decays
    assert abel.trace == show(BOUNCE).trace, "the trace goes on"


@pytest.mark.parametrize("state", [{}, None, {"steps": 1}, {"steps": -1, "decays": [], "sizes": {}, "trace": {}}, "x"])
def test_a_state_that_is_none_is_refused_and_changes_nothing(state):
    abel = show(BOUNCE)
    kept = abel.state_dict()
    with pytest.raises(ValueError, match=r"state_dict must be what AbelScheduler.state_dict\(\) returns, got"):
        abel.load_state_dict(state)
    assert abel.state_dict() == kept


def test_a_second_one_takes_the_place_of_the_first():
    optimizer = optimizer_of()
    first = AbelScheduler(optimizer, rule=At(1))
    first.step()
    second = AbelScheduler(optimizer, rule=At(1), decay_factor=0.5)
    update(optimizer)
    second.step()
    update(optimizer)
    assert [rates[0] for rates in optimizer.rates] == [0.1, 0.05]
    with pytest.raises(RuntimeError, match="another AbelScheduler has been made"):
        first.step()


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "magic"}, "rule must be one of .* got 'magic'"),
        ({"decay_factor": 1.5}, r"decay_factor must be in \(0, 1\), got 1.5"),
        ({"total_steps": 0}, "total_steps must be an integer of at least 1, got 0"),
        ({"total_steps": 1e6}, "total_steps must be an integer of at least 1, got 1000000.0"),
        ({"final_decay_at": 85}, r"final_decay_at must be in \(0, 1\), got 85"),
        ({"max_decays": -1}, "max_decays must be an integer of at least 0, got -1"),
        ({"measure_every": 0}, "measure_every must be an integer of at least 1, got 0"),
        ({"parts": [1]}, r"parts must map names to parameters, got \[1\]"),
        ({"parts": {"total": [torch.ones(1)]}}, "names in parts must be .* got 'total'"),
        ({"parts": {3: [torch.ones(1)]}}, "names in parts must be .* got 3"),
        ({"parts": {"a": nn.Linear(1, 1)}}, r"parts\['a'\] must be parameters.* got Linear"),
        ({"parts": {"a": nn.Sequential(nn.Linear(1, 1))}}, r"parts\['a'\] must be parameters.* got Sequential"),
        ({"parts": {"a": torch.ones(2)}}, r"parts\['a'\] must be parameters.* got tensor"),
        ({"parts": {"a": []}}, r"parts\['a'\] must be parameters.* got \[\]"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AbelScheduler(optimizer_of(), **arguments)


def test_an_optimizer_is_one_of_torch():
    with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer, got Linear"):
        AbelScheduler(nn.Linear(1, 1))


def test_it_is_one_of_torchs_to_libraries_and_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        abel = show([1.0] * 30)
    assert isinstance(abel, schedulers.LRScheduler)


def test_it_loads_no_stable_baselines3():
    heavy = {"stable_baselines3", "gymnasium", "tensorboard", "matplotlib"}
    code = f"import sys, rl_abel.torch; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
