"""One controller decides on decays: alone, in AbelScheduler and in AbelCallback it makes the same of one trace."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.logger import Logger

from rl_abel import AbelCallback, PaperRule, TrendRule
from rl_abel.rules.decay_controller import DecayRules, DecayState, decide, resume
from rl_abel.rules.decays import Decay
from rl_abel.torch import AbelScheduler
from tests.algorithms import DecayAt, make_model

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel")

ROLLOUT = 20
PARTS = ("policy", "value")
MODEL = make_model("A2C", n_steps=ROLLOUT, policy_kwargs={"net_arch": []})
MODEL._logger = Logger(None, [])


@st.composite
def traces(draw):
    """Lengths of the weights of each part, which move from one measurement to the next."""
    columns = []
    for _ in PARTS:
        pieces = draw(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 12)), min_size=1, max_size=6))
        steps = [step for step, times in pieces for _ in range(times)]
        columns.append([100 + moved for moved in itertools.accumulate(steps)])
    rows = list(zip(*columns))
    return [row for row, before in zip(rows, [None, *rows]) if row != before]


choices = st.fixed_dictionaries(
    {
        "rule": st.sampled_from([PaperRule(), TrendRule(2, 0.5, 0.0), TrendRule(3, 2.0, 0.01), DecayAt(2, 3, 7, 20)]),
        "decay_factor": st.sampled_from([0.1, 0.5, 0.9]),
        "final_decay_at": st.sampled_from([None, 0.5, 0.85]),
        "max_decays": st.sampled_from([None, 0, 1, 2]),
    }
)


def norms_of(row):
    policy, value = (float(length) ** 2 for length in row)
    return {"total": policy + value, "policy": policy, "value": value}


def by_controller(trace, total, arguments):
    """Decays as (number of the measurement, cause, factor, part), measured once for each of ``total`` steps."""
    rules, state = DecayRules(**arguments), DecayState()
    for number, row in enumerate(trace, 1):
        norms = norms_of(row)
        watched = norms if isinstance(rules.rule, TrendRule) else {"total": norms["total"]}
        state, _ = decide(rules, state, number, watched, number / total)
    return told(state.decays)


def by_scheduler(trace, total, arguments, cut=None):
    """The same of a scheduler, which is saved and loaded after the measurement ``cut``."""
    tensors = {part: torch.nn.Parameter(torch.zeros(2)) for part in PARTS}

    def make():
        optimizer = torch.optim.SGD(tensors.values(), lr=0.1)
        parts = {part: [tensor] for part, tensor in tensors.items()}
        return AbelScheduler(optimizer, total_steps=total, parts=parts, **arguments)

    scheduler = make()
    for number, row in enumerate(trace, 1):
        for tensor, length in zip(tensors.values(), row):
            tensor.data[0] = length
        scheduler.optimizer.step()
        scheduler.step()
        if number == cut:
            kept, scheduler = scheduler.state_dict(), make()
            scheduler.load_state_dict(kept)
    return told(scheduler.decays)


def by_callback(trace, total, arguments, cut=None):
    """The same of a callback in a training whose first rollout is not learned from."""
    model = MODEL
    vars(model).pop("abel_state", None)
    model.num_timesteps, model._n_updates, model._total_timesteps = 0, 0, total * ROLLOUT
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()  # else the weights of the trace before could be those of this one's first row
    abel = begin(model, arguments)
    for number, row in enumerate([None, *trace]):
        if row:
            with torch.no_grad():
                for module, length in zip((model.policy.action_net, model.policy.value_net), row):
                    for parameter in module.parameters():
                        parameter.zero_()
                    module.bias[0] = length
            model._n_updates += 1
        abel.on_rollout_start()
        model.num_timesteps += ROLLOUT
        abel.on_step()
        abel.on_rollout_end()
        if number == cut:
            abel.on_training_end()
            abel = begin(model, arguments)
    abel.on_training_end()
    bounces = [decay for decay in abel.decays if decay.cause == "bounce"]
    assert all(decay.timestep % ROLLOUT == 0 for decay in abel.decays)
    numbered = [Decay(d.timestep // ROLLOUT - (d in bounces), d.cause, d.factor, d.part) for d in abel.decays]
    return told(numbered)


def begin(model, arguments):
    abel = AbelCallback(measure_every=1, **arguments)
    abel.init_callback(model)
    abel.on_training_start({"callback": abel}, {})
    return abel


def told(decays):
    return [(*decay, decay.part) for decay in decays]


BOUNCING = [
    *((50, 110 - i) for i in range(10)),
    *((50, 100 + i) for i in range(10)),
    *((51, 110 + i % 2) for i in range(9)),
]


@settings(max_examples=40, deadline=None)
@given(traces(), st.integers(1, 20), choices, st.integers(1, 60))
@example(BOUNCING, 3, {"rule": PaperRule()}, 12)
@example(BOUNCING, 3, {"rule": TrendRule(3, 2.0, 0.01), "max_decays": 1}, 12)
def test_all_three_decay_alike_on_one_trace(trace, more, arguments, cut):
    total = len(trace) + more
    expected = by_controller(trace, total, arguments)
    assert by_scheduler(trace, total, arguments) == expected
    assert by_callback(trace, total, arguments) == expected
    assert by_scheduler(trace, total, arguments, cut) == expected, "a resume changes nothing"
    assert by_callback(trace, total, arguments, cut) == expected


@settings(max_examples=60, deadline=None)
@given(traces(), choices, st.sampled_from(["step", "linear"]), st.sampled_from(["model", "part"]), st.data())
def test_a_state_that_is_kept_goes_on_as_if_never_put_down(trace, arguments, shape, scope, data):
    rules = DecayRules(**arguments, final_decay_shape=shape, scope=scope)
    whole = parted = again = DecayState()
    for number, row in enumerate(trace, 1):
        progress = number / len(trace)
        whole, _ = decide(rules, whole, number, norms_of(row), progress)
        # A measurement, and the end of the budget by itself.
        again, _ = decide(rules, again, number, norms_of(row))
        again, _ = decide(rules, again, number, progress=progress)
        parted, _ = decide(rules, parted, number, norms_of(row), progress)
        if data.draw(st.booleans()):
            parted = resume(rules, DecayState.from_json(parted.to_json()), progress)
    assert whole == parted == again
    assert told(whole.decays) == told(parted.decays)
    assert whole.factor_of() == pytest.approx(
        math.prod(decay.factor for decay in whole.decays if decay.part in ("total", "rest"))
    )


RULES = DecayRules(DecayAt(1, 3), 0.5, max_decays=1)


@pytest.mark.parametrize(
    ("progress", "decays"),
    [(0.0, []), (0.84, []), (0.85, [(8, "final", 0.5)]), (2.0, [(8, "final", 0.5)])],
)
def test_the_final_decay(progress, decays):
    state, decided = decide(RULES, DecayState(), 10, progress=progress, began=8)
    assert list(state.decays) == decays
    assert [decay for decay, _ in decided.made] == decays
    assert resume(RULES, state, 0.5).decays == (), "where the budget has become longer it lapses"
    assert resume(RULES, state, 0.9) is state
    assert resume(RULES, state, None).decays == (), "and where there is no budget any more"
    late, _ = decide(RULES, state, 12, progress=1.0)
    assert list(late.decays) == (decays or [(12, "final", 0.5)]), "it comes once"


def test_another_rule_knows_nothing_yet():
    state, _ = decide(RULES, DecayState(), 1, {"total": 1.0})
    assert (state.decays, state.bounces, state.rule) == (((1, "bounce", 0.5),), (1,), "DecayAt(1, 3)")
    other, _ = decide(DecayRules(DecayAt(2)), state, 2, {"total": 1.0})
    assert other.rule_states == {"total": {"seen": 1}}
    same, _ = decide(RULES, state, 2, {"total": 1.0})
    assert same.rule_states == {"total": {"seen": 2}}
    assert decide(RULES, same, 3, {"total": 1.0})[0].bounces == (1, 3), "seen, though max_decays lets it decay nothing"


class Unnamed:
    """A rule whose text is an address."""

    def init(self):
        return 0

    def observe(self, state, weight_norm):
        return (state + 1, False) if state < 2 else ({1, 2}, False)


def test_a_rule_without_a_name_of_its_own_is_known_again():
    state, _ = decide(DecayRules(Unnamed()), DecayState(), 1, {"total": 1.0})
    again, _ = decide(DecayRules(Unnamed()), DecayState.from_json(state.to_json()), 2, {"total": 1.0})
    assert again.rule_states == {"total": 2}
    late, _ = decide(DecayRules(Unnamed()), again, 3, {"total": 1.0})
    assert DecayState.from_json(late.to_json()).rule_states == {}, "what is no JSON is not kept"


@pytest.mark.parametrize("values", [{}, None, {"decays": 5}, {**DecayState().to_json(), "decays": [[1, "final"]]}])
def test_what_is_no_state_is_refused(values):
    with pytest.raises((KeyError, TypeError, ValueError)):
        DecayState.from_json(values)
