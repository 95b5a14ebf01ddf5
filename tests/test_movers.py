"""Movers of the learning rate, each alone and all together: what each optimizer step sees is the product."""

import functools
import io
import itertools
import math
import warnings

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.save_util import load_from_zip_file

import rl_abel
from rl_abel import (
    AbelCallback,
    AutoLearningRate,
    FinishedEval,
    KLAdaptiveCallback,
    RateByPart,
    find_decays,
    finish,
)
from rl_abel.rules.budget import budget_rate
from rl_abel.rules.kl import kl_adapted
from tests.algorithms import ALGORITHMS, ONE_OF_EACH, STEPS, DecayAt, Do, make_model, torch_optimizers

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm")
KL_ALGORITHMS = ["PPO", "MaskablePPO", "RecurrentPPO"]
BUDGET_ALGORITHMS = ["SAC", "TD3", "DDPG", "TQC", "CrossQ", "DQN", "QRDQN"]
POLICY = ("actor", "action_net", "policy_net", "lstm_actor", "pi_features_extractor")


def part_of(name, algorithm):
    """An oracle of its own for the tests' small networks."""
    if name == "log_std":
        return "log_std"
    if algorithm in ("DQN", "QRDQN"):
        return "value"
    return "policy" if name.split(".")[0] in POLICY or ".policy_net." in f".{name}" else "value"


def rates_of(model, algorithm):
    """Record (timestep, part, rate) of each parameter in each optimizer step; None is the entropy coefficient."""
    parts = {id(p): part_of(name, algorithm) for name, p in model.policy.named_parameters()}
    seen = []

    def note(optimizer, *_):
        for group in optimizer.param_groups:
            seen.extend((model.num_timesteps, parts.get(id(p)), group["lr"]) for p in group["params"])

    for optimizer in torch_optimizers(model):
        optimizer.register_step_post_hook(note)
    return seen


def weights(model):
    return [p.detach().clone() for p in model.policy.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def saved(model):
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return buffer


def said_by(train):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train()
    ours = [str(warning.message) for warning in caught if str(warning.message).startswith("rl_abel")]
    return [message for message in ours if "of the weight norm" not in message]


# A rate for each network


@pytest.mark.parametrize("name", ["PPO", "TRPO", "RecurrentPPO", "DQN", "SAC", "CrossQ"])
def test_each_part_has_its_rate_in_every_step(name):
    model = make_model(name, learning_rate=lambda remaining: 1e-3 * remaining)
    multipliers = {"policy": 0.5, "value": 3.0} if name not in ("DQN", "QRDQN") else {"value": 3.0}
    seen = rates_of(model, name)
    ours = []
    mover = RateByPart(**multipliers)
    during = Do(rollout_start=lambda m: ours.append(m.logger.name_to_value.get("train/learning_rate")))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rl_abel: TRPO")
        model.learn(STEPS, callback=[mover, during])
    assert seen
    for timestep, part, rate in seen:
        # On-policy the update's progress is that of its rollout's end.
        base = 1e-3 * (1 - timestep / STEPS)
        assert rate == pytest.approx(base * multipliers.get(part, 1.0), abs=1e-12), (timestep, part)
    assert any(logged for logged in ours), "SB3's own stays the rate before the multipliers"


def test_ars_has_one_rate_and_one_part():
    trained = []
    for rate, others in ((0.04, []), (0.02, [RateByPart(policy=2)])):
        model = make_model("ARS", learning_rate=rate)
        model.learn(STEPS, callback=others)
        trained.append(weights(model))
    assert same(*trained)
    with pytest.raises(ValueError, match=r"value=3: ARS trains no such part at a rate of its own; it has \['policy'\]"):
        make_model("ARS").learn(STEPS, callback=RateByPart(value=3))


def test_trpos_policy_has_no_rate_to_multiply():
    [message] = said_by(lambda: make_model("TRPO").learn(100, callback=RateByPart(policy=2)))
    assert "line search" in message


@pytest.mark.parametrize("name", ["PPO", "SAC", "DQN"])
@pytest.mark.parametrize(
    "mover",
    [RateByPart, lambda: AbelCallback(scope="part", rule=DecayAt(), watch="any", final_decay_at=None)],
    ids=["RateByPart", "scope"],
)
def test_with_all_factors_1_a_training_and_its_zips_are_sb3s_own(name, mover, tmp_path):
    """To the last bit: weights, the optimizer's state in each zip, and what a load trains on to."""
    states = []
    for others in ([], [mover()]):
        model = make_model(name)
        folder = tmp_path / str(len(others))
        model.learn(STEPS, callback=[*others, CheckpointCallback(50, folder)])
        zips = sorted(folder.glob("*.zip"), key=lambda path: int(path.stem.split("_")[-2]))
        loaded = type(model).load(zips[1], env=model.get_env(), device="cpu")
        loaded.learn(60, reset_num_timesteps=False)
        states.append((weights(model), [load_from_zip_file(path)[1] for path in zips], weights(loaded)))
    (plain, plain_zips, plain_on), (moved, moved_zips, moved_on) = states
    assert same(plain, moved)
    assert same(plain_on, moved_on)
    assert len(plain_zips) == len(moved_zips) == 4
    for one, other in zip(plain_zips, moved_zips):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])


def assert_equal(one, other):
    """Compare what torch saves: nested, with tensors."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_equal(*pair)
    else:
        assert one == other


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_zip_of_moved_rates_loads_and_trains_on_without_us(name, tmp_path):
    """It holds the groups that SB3 makes, at the rate that SB3 has set."""
    model = make_model(name)
    model.learn(STEPS, callback=[CheckpointCallback(50, tmp_path), RateByPart(policy=0.5, value=3)])
    for path in tmp_path.glob("*.zip"):
        parameters = load_from_zip_file(path)[1]
        rates = {key: [g["lr"] for g in value["param_groups"]] for key, value in parameters.items() if "opti" in key}
        assert set(itertools.chain(*rates.values())) == {1e-3}
        loaded = type(model).load(path, env=model.get_env(), device="cpu")
        seen = rates_of(loaded, name)
        loaded.learn(60, reset_num_timesteps=False)
        assert {rate for _, _, rate in seen} == {1e-3}


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_interrupted_within_an_update(name):
    """Which leaves hooks behind: what is saved then is whole, and what is trained on is at the user's own rate."""
    model, steps = make_model(name), itertools.count()

    def interrupt(*_):
        if next(steps) == 15:
            raise KeyboardInterrupt

    handle = torch_optimizers(model)[0].register_step_post_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.learn(STEPS, callback=RateByPart(value=3))
    handle.remove()
    loaded = type(model).load(saved(model), env=model.get_env(), device="cpu")
    for left in (loaded, model):
        seen = rates_of(left, name)
        left.learn(60, reset_num_timesteps=False)
        assert {rate for _, _, rate in seen} == {1e-3}
        assert [len(o.param_groups) for o in torch_optimizers(left)] == [1] * len(torch_optimizers(left))


def test_parameters_that_are_loaded_in_mid_training():
    """By a callback that returns to the best model: the optimizer takes them in, and its parts keep their rates."""
    model = make_model("PPO")
    best = model.get_parameters()
    seen = rates_of(model, "PPO")
    load = Do(rollout_start=lambda m: m.set_parameters(best) if m.num_timesteps == 100 else None)
    assert said_by(lambda: model.learn(STEPS, callback=[load, RateByPart(value=3)])) == []
    assert {(part, rate) for _, part, rate in seen} == {("policy", 1e-3), ("log_std", 1e-3), ("value", 3e-3)}


class DecayMatricesAlone(torch.optim.AdamW):
    """Weights decay, biases do not: groups of the user's own."""

    def __init__(self, params, weight_decay=0.01, **kwargs):
        params = list(params)
        groups = [
            {"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
        ]
        super().__init__(groups, **kwargs)


def test_groups_of_the_users_keep_their_differences():
    kwargs = {"net_arch": [8], "optimizer_class": DecayMatricesAlone}
    model = make_model("PPO", policy_kwargs=kwargs)
    decays = {}
    optimizer = model.policy.optimizer
    optimizer.register_step_post_hook(
        lambda o, *_: decays.update((id(p), (g["weight_decay"], g["lr"])) for g in o.param_groups for p in g["params"])
    )
    model.learn(60, callback=RateByPart(value=3))
    for name, parameter in model.policy.named_parameters():
        rate = 3e-3 if part_of(name, "PPO") == "value" else 1e-3
        assert decays[id(parameter)] == (0.01 if parameter.ndim > 1 else 0.0, pytest.approx(rate))
    assert [g["weight_decay"] for g in optimizer.state_dict()["param_groups"]] == [0.01, 0.0]
    type(model).load(saved(model), env=model.get_env()).learn(60)


def test_an_optimizer_that_is_replaced_has_its_rates_too():
    model, seen = make_model("PPO"), []

    def replace(model):
        if model.num_timesteps == 1000:
            model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=1.0)
            seen.append(rates_of(model, "PPO"))

    model.learn(1500, callback=[Do(rollout_start=replace), RateByPart(value=3)])
    rates = {(part, rate) for timestep, part, rate in seen[0] if timestep > 1040}
    assert rates == {("policy", 1e-3), ("log_std", 1e-3), ("value", 3e-3)}


class Nothing:
    """In place of an optimizer, while a part of the model is not to be trained."""

    param_groups: list = []  # noqa: RUF012

    def zero_grad(self, *_, **__): ...

    def step(self): ...


def without_policy(model, name):
    """Train the value network alone for a while, as a warm-up does; return what undoes it."""
    if name in ("SAC", "TD3", "TQC", "DQN"):
        owner = model.policy if name == "DQN" else model.actor
        own, owner.optimizer = owner.optimizer, Nothing()
        return lambda: setattr(owner, "optimizer", own)
    own = model.policy.optimizer
    value = [p for key, p in model.policy.named_parameters() if part_of(key, name) == "value"]
    model.policy.optimizer = type(own)(value, lr=own.param_groups[0]["lr"])
    return lambda: setattr(model.policy, "optimizer", own)


def frozen(model, name):
    for key, p in model.policy.named_parameters():
        p.requires_grad = part_of(key, name) == "value" and name != "DQN"
    return lambda: [p.requires_grad_(True) for p in model.policy.parameters()]


@pytest.mark.parametrize(
    ("name", "event"),
    [(name, without_policy) for name in ("PPO", "SAC", "DQN")] + [(name, frozen) for name in ("PPO", "SAC")],
)
def test_a_part_that_is_not_trained_for_a_while_ends_no_training(name, event, monkeypatch):
    """As in a curriculum: it is said once, and when the part comes back it has its rate again."""
    monkeypatch.setattr("rl_abel.callbacks.rate_by_part.FEW_TIMESTEPS", 40)
    model, undo = make_model(name), []
    part = "value" if name == "DQN" else "policy"

    def change(model):
        if model.num_timesteps >= 100 and not undo:
            undo.append(event(model, name))
        if model.num_timesteps >= 200 and len(undo) == 1:
            undo.append(undo[0]())

    seen = rates_of(model, name)
    movers = [RateByPart(**{part: 0.5}), AbelCallback(rule=DecayAt(), watch="any", scope="part", final_decay_at=None)]
    messages = said_by(lambda: model.learn(400, callback=[*movers, Do(rollout_start=change)]))
    assert sum("trains no such part now" in message for message in messages) == (event is without_policy)
    assert {rate for timestep, of, rate in seen if timestep > 300 and of == part} == {5e-4}
    assert {rate for timestep, of, rate in seen if timestep > 300 and of != part} in ({1e-3}, set())


# scope="part"


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_part_that_bounces_decays_alone(name):
    model, seen = make_model(name), None
    abel = AbelCallback(rule=DecayAt(3), watch="policy", scope="part", decay_factor=0.5, measure_every=1)
    seen = rates_of(model, name)
    model.learn(STEPS, callback=abel)
    [bounce, final] = abel.decays
    assert (bounce.cause, bounce.part, final.cause, final.part) == ("bounce", "policy", "final", "total")
    assert abel.factor == 0.5
    assert abel.factors["policy"] == 0.25
    assert abel.factors["value"] == 0.5
    between = {(part, rate) for t, part, rate in seen if bounce.timestep + 20 < t < final.timestep}
    assert {rate for part, rate in between if part == "policy"} == {5e-4}
    assert {rate for part, rate in between if part != "policy"} == {1e-3}
    last = {(part, rate) for t, part, rate in seen if t > final.timestep}
    assert {rate for part, rate in last if part == "policy"} == {2.5e-4}
    assert {rate for part, rate in last if part != "policy"} == {5e-4}


def test_what_belongs_to_neither_network_decays_with_the_total():
    model = make_model("SAC")
    abel = AbelCallback(rule=DecayAt(3), watch="any", scope="part", decay_factor=0.5, final_decay_at=None)
    seen = rates_of(model, "SAC")
    model.learn(STEPS, callback=abel)
    assert [decay.part for decay in abel.decays] == ["rest", "policy", "value"]
    assert {rate for _, _, rate in seen[-40:]} == {5e-4}, "the entropy coefficient's too"
    assert abel.factors == {"policy": 0.5, "value": 0.5}


def test_parts_that_have_decayed_stay_so_over_save_and_load():
    model = make_model("PPO")
    abel = AbelCallback(rule=DecayAt(2), watch="value", scope="part", final_decay_at=None, measure_every=1)
    model.learn(120, callback=abel)
    loaded = type(model).load(saved(model), env=model.get_env())
    for again in (
        AbelCallback(rule=DecayAt(2), watch="value", scope="part", final_decay_at=None, measure_every=1),
        AbelCallback(max_decays=0, final_decay_at=None),
    ):
        seen = rates_of(loaded, "PPO")
        loaded.learn(60, callback=again, reset_num_timesteps=False)
        assert again.factors["value"] == pytest.approx(0.1)
        assert {(part, rate) for _, part, rate in seen} == {("policy", 1e-3), ("log_std", 1e-3), ("value", 1e-4)}


def test_a_model_with_one_network_decays_as_a_whole():
    model = make_model("DQN")
    abel = AbelCallback(rule=DecayAt(3), watch="any", scope="part", final_decay_at=None)
    model.learn(STEPS, callback=abel)
    assert [(decay.cause, decay.part) for decay in abel.decays] == [("bounce", "total")]


# The final decay


@pytest.mark.parametrize("at", [0.5, 0])
@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_a_linear_final_decay_falls_to_0_at_the_end(name, at, capsys):
    """From 0 on it falls over the whole training, and that is no cause for a warning."""
    model = make_model(name)
    abel = AbelCallback(max_decays=0, final_decay_at=at, final_decay_shape="linear", verbose=1)
    seen = rates_of(model, name)
    model.learn(400, callback=abel)
    rollout = model.n_steps if name == "PPO" else model.train_freq.frequency
    for timestep, _, rate in seen:
        began = (timestep - 1) // rollout * rollout
        line = min(1, (1 - began / 400) / (1 - at))
        # Nothing decays before something was learned.
        assert rate == pytest.approx(1e-3 * (1 if timestep == seen[0][0] else line)), timestep
    assert abel.factor == pytest.approx(rollout / 400 / (1 - at))
    assert "final decay (falling linearly" in capsys.readouterr().out
    assert len(abel.decays) == 1


@pytest.mark.filterwarnings("ignore:rl_abel. no budget is known")
@pytest.mark.parametrize("at", [0.5, 0])
def test_a_linear_final_decay_lapses_where_a_training_has_no_end(at):
    model = make_model("PPO")
    abel = AbelCallback(max_decays=0, final_decay_at=at, final_decay_shape="linear")
    model.learn(400, callback=abel)
    assert abel.factor < 0.2
    seen, stop = rates_of(model, "PPO"), Do(step=lambda model: model.num_timesteps < 600)
    model.learn(math.inf, callback=[abel, stop], reset_num_timesteps=False)
    assert {rate for *_, rate in seen} == {1e-3}
    assert abel.decays == []


def test_a_linear_final_decay_that_is_measured_within_updates_begins_with_a_rollout():
    """Few long rollouts: the callback measures within each update, and decays between them."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=400, batch_size=50, n_epochs=10, device="cpu", seed=0)
    abel = AbelCallback(max_decays=0, final_decay_at=0, final_decay_shape="linear")
    model.learn(2_000, callback=abel)
    assert len(abel.trace["total"]) > 5
    assert [decay.timestep % 400 for decay in abel.decays] == [0]
    assert abel.factor == pytest.approx(1 / 5)


# The KL-adaptive rate


def rsl_rl(learning_rate, kls, desired_kl=0.01):
    """rsl_rl's ``update``, at one update a rollout: the rates of the updates that follow each KL."""
    rates = []
    for kl_mean in kls:
        if kl_mean > desired_kl * 2.0:
            learning_rate = max(1e-5, learning_rate / 1.5)
        elif kl_mean < desired_kl / 2.0 and kl_mean > 0.0:
            learning_rate = min(1e-2, learning_rate * 1.5)
        rates.append(learning_rate)
    return rates


@pytest.mark.parametrize("name", KL_ALGORITHMS)
@pytest.mark.parametrize("base", [3e-4, 3e-3, 1e-2])
def test_the_kl_adaptive_rate_is_rsl_rls(name, base):
    model, kls, rates = make_model(name, learning_rate=base, n_epochs=8, ent_coef=0.1), [], []
    first = Do(
        rollout_start=lambda m: kls.append(m.logger.name_to_value.get("train/approx_kl")),
        rollout_end=lambda m: m.logger.name_to_value.pop("train/approx_kl", None),
    )
    model.policy.optimizer.register_step_pre_hook(
        lambda o, *_: rates.append((model.num_timesteps, o.param_groups[0]["lr"]))
    )
    model.learn(200, callback=[first, KLAdaptiveCallback()])
    seen = [rate for _, rate in sorted(dict(rates).items())]
    expected = [base, *rsl_rl(base, [float(kl) for kl in kls[1:]])]
    assert seen == pytest.approx(expected[: len(seen)])
    assert base != 3e-4 or len(set(seen)) > 3, "it has moved"


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in KL_ALGORITHMS])
def test_an_algorithm_without_a_kl_is_an_error_that_names_those_with_one(name):
    with pytest.raises(ValueError, match=rf"\['PPO', 'MaskablePPO', 'RecurrentPPO'\], got {name}"):
        make_model(name).learn(60, callback=KLAdaptiveCallback())


@pytest.mark.parametrize("name", KL_ALGORITHMS)
def test_a_resumed_kl_adaptive_rate_is_the_uninterrupted_one(name):
    """What the last update before the save said counts too."""
    kl = KLAdaptiveCallback()
    whole = make_model(name)
    seen = rates_of(whole, name)
    whole.learn(200, callback=kl)
    half = make_model(name)
    half.learn(100, callback=KLAdaptiveCallback())
    at_half = {rate for timestep, _, rate in seen if 100 < timestep <= 120}
    loaded = type(half).load(saved(half), env=half.get_env())
    resumed = rates_of(loaded, name)
    again = KLAdaptiveCallback()
    loaded.learn(100, callback=again, reset_num_timesteps=False)
    assert {resumed[0][2]} == at_half
    fresh = KLAdaptiveCallback()
    resumed.clear()
    loaded.learn(20, callback=fresh)
    assert {rate for _, _, rate in resumed} == {1e-3}, "a reset begins anew"


def test_the_kl_adaptive_rate_stays_within_its_bounds():
    """Before the factor of AbelCallback, also where the user's own rate is outside."""
    for base, least, said in ((1e-7, 1e-7, []), (1.0, 1e-5, ["begins at 0.01, the max_learning_rate, not at 1"])):
        model = make_model("PPO", learning_rate=base)
        seen, callbacks = rates_of(model, "PPO"), [AbelCallback(max_decays=0), KLAdaptiveCallback()]
        messages = said_by(lambda: model.learn(STEPS, callback=callbacks))  # noqa: B023
        assert [text for text in messages if "begins at" in text] == [f"rl_abel: the learning rate {s}" for s in said]
        assert all(least - 1e-12 <= rate <= 1e-2 + 1e-12 for t, _, rate in seen if t <= 200)
        assert all(least / 10 - 1e-12 <= rate <= 1e-3 + 1e-12 for t, _, rate in seen if t > 220)


@pytest.mark.parametrize("order", [1, -1])
def test_in_the_final_decay_the_kl_factor_may_fall_and_not_rise(order):
    """After a decay updates move the policy less: the KL alone would undo it."""
    model = make_model("PPO", learning_rate=1e-4)
    factors = []
    note = Do(
        rollout_start=lambda m: factors.append((m.num_timesteps, m.lr_schedule.applied.factors["lead"].rate or 1e-4))
    )
    movers = [AbelCallback(max_decays=0, final_decay_at=0.5), KLAdaptiveCallback()][::order]
    model.learn(600, callback=[*movers, note])
    rising = [b > a for (_, a), (t, b) in itertools.pairwise(factors) if t <= 300]
    after = [b <= a for (_, a), (t, b) in itertools.pairwise(factors) if t > 320]
    assert any(rising)
    assert all(after)
    assert len(after) > 5


# All together


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_rate_of_each_step_is_the_product_over_save_and_load(order):
    """KL, Abel, parts, and a linear schedule of the user's: computed here from what was measured."""

    def movers():
        abel = AbelCallback(rule=DecayAt(3), watch="total", decay_factor=0.5, final_decay_at=0.8, measure_every=1)
        return [abel, KLAdaptiveCallback(), RateByPart(policy=0.5, value=2)]

    model, kls, seen = make_model("PPO", learning_rate=lambda remaining: 2e-3 * remaining), [], []
    note = Do(rollout_start=lambda m: kls.append((m.num_timesteps, m.logger.name_to_value.get("train/approx_kl"))))

    def learn(model, until):
        here, ours = rates_of(model, "PPO"), movers()
        stop = Do(step=lambda m: m.num_timesteps < until)
        callbacks = [*(ours[i] for i in order), note, stop]
        messages = said_by(
            lambda: model.learn(400 - model.num_timesteps, callback=callbacks, reset_num_timesteps=False)
        )
        assert sum("the KL divergence leads the learning rate" in message for message in messages) == 1
        seen.extend(here)
        return ours

    learn(model, 221)
    loaded = type(model).load(saved(model), env=model.get_env())
    ours = learn(loaded, 500)
    assert [(decay.cause, decay.factor) for decay in ours[0].decays] == [("bounce", 0.5), ("final", 0.5)]
    bounce, final = (decay.timestep for decay in ours[0].decays)
    told = {t: kl for t, kl in kls if kl is not None}
    expected = {}
    # The first rate of the schedule, as SB3 knows the progress at a rollout's end; what it says later counts no more.
    rate = 2e-3 * (1 - 20 / 400)
    for timestep in sorted({t for t, _, _ in seen}):
        decays = 0.5 ** ((timestep >= bounce) + (timestep > final))
        expected[timestep] = rate * decays
        if timestep in told:
            adapted = kl_adapted(rate, told[timestep])
            rate = adapted if adapted <= rate or timestep <= final else rate
    for timestep, part, rate in seen:
        multiplier = {"policy": 0.5, "value": 2.0}.get(part, 1.0)
        assert rate == pytest.approx(expected[timestep] * multiplier, rel=1e-6), (timestep, part)


def test_a_schedule_that_is_replaced_between_two_movers_moves_at_both_rates():
    model = make_model("PPO")
    seen = rates_of(model, "PPO")
    replace = Do(training_start=lambda model: setattr(model, "lr_schedule", lambda remaining: 2e-3))
    model.learn(60, callback=[AbelCallback(DecayAt(1), final_decay_at=None), replace, RateByPart(policy=3)])
    assert {(part, round(rate, 9)) for t, part, rate in seen if t > 40} == {
        ("policy", 6e-4),
        ("value", 2e-4),
        ("log_std", 2e-4),
    }


def test_nothing_compounds_over_learns():
    model = make_model("PPO")
    for _ in range(4):
        seen = rates_of(model, "PPO")
        model.learn(60, callback=[RateByPart(value=3), AbelCallback(final_decay_at=None)])
        assert {(part, rate) for _, part, rate in seen} == {("policy", 1e-3), ("log_std", 1e-3), ("value", 3e-3)}
    assert len(model.policy.optimizer.param_groups) == 1
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("wraps", [False, True])
def test_movers_between_which_another_sets_the_schedule_stand_side_by_side(wraps):
    """The second finds none of ours on the model as it begins."""
    model = make_model("PPO")

    def halve(model):
        before = model.lr_schedule
        model.lr_schedule = lambda remaining: 0.5 * before(remaining) if wraps else 0.5e-3

    seen = rates_of(model, "PPO")
    abel = AbelCallback(rule=DecayAt(3), watch="policy", scope="part", final_decay_at=0.8)
    assert said_by(lambda: model.learn(STEPS, callback=[abel, Do(training_start=halve), RateByPart(value=3)])) == []
    rates = {part: [rate for _, of, rate in seen if of == part] for part in ("policy", "value", "log_std")}
    assert rates["value"][0] == pytest.approx(1.5e-3)
    assert rates["value"][-1] == pytest.approx(1.5e-4)
    assert rates["policy"][-1] == pytest.approx(0.5e-5)
    assert rates["log_std"][-1] == pytest.approx(0.5e-4)
    seen.clear()
    model.learn(60)
    assert {rate for _, _, rate in seen} == {0.5e-3}


class CountsInGroups(torch.optim.SGD):
    """As Lookahead and Prodigy do."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
        return super().step(closure)


def test_what_an_optimizer_keeps_in_its_groups_stays():
    model = make_model("PPO", policy_kwargs={"net_arch": [8], "optimizer_class": CountsInGroups})
    seen = rates_of(model, "PPO")
    model.learn(60, callback=RateByPart(value=3))
    [group] = model.policy.optimizer.param_groups
    # A class derived from another runs the other's hooks too, once torch has given it some.
    assert seen
    assert (group["k"], group["lr"]) == (model._n_updates * (model.n_steps // model.batch_size), 1e-3)
    assert len(group["params"]) == len(list(model.policy.parameters()))
    assert "step" not in vars(model.policy.optimizer), "an optimizer is left as it was found"


def test_groups_are_cut_when_the_parts_first_differ():
    model, mover, groups = make_model("PPO"), RateByPart(), []

    def part(model):
        if model.num_timesteps == 60:
            mover.multipliers["value"] = 3

    model.policy.optimizer.register_step_pre_hook(
        lambda optimizer, *_: groups.append((model.num_timesteps > 60, len(optimizer.param_groups)))
    )
    seen = rates_of(model, "PPO")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(120, callback=[mover, Do(rollout_start=part)])
    assert set(groups) == {(False, 1), (True, 3)}
    assert {rate for timestep, part, rate in seen if timestep <= 60 or part != "value"} == {1e-3}
    assert {rate for timestep, part, rate in seen if timestep > 60 and part == "value"} == {3e-3}


# A rate that is lost


@pytest.mark.parametrize(
    ("name", "event"), [("PPO", "rollout_start"), ("PPO", "rollout_end"), ("PPO", "step"), ("SAC", "step")]
)
@pytest.mark.parametrize("mover", [AbelCallback, RateByPart])
def test_a_rate_that_sb3_overwrites_is_said_once(name, event, mover):
    def edit(model):
        for optimizer in torch_optimizers(model):
            optimizer.param_groups[0]["lr"] = 0.5

    model = make_model(name)
    for callbacks in ([Do(**{event: edit}), mover()], [mover(), Do(**{event: edit})]):
        [message] = said_by(lambda callbacks=callbacks: model.learn(STEPS, callback=callbacks))
        assert "was set to 0.5 in mid-training" in message
        assert "RateByPart" in message


@pytest.mark.parametrize("name", ["PPO", "SAC"])
@pytest.mark.parametrize("scope", ["model", "part"])
def test_it_is_said_of_an_optimizer_that_came_later_too(name, scope):
    def edit(model):
        owner = model.policy if name == "PPO" else model.critic
        if model.num_timesteps == 60:
            owner.optimizer = type(owner.optimizer)(owner.parameters(), lr=1e-3)
        if model.num_timesteps == STEPS - 20:
            owner.optimizer.param_groups[0]["lr"] = 0.5

    model = make_model(name)
    said = said_by(lambda: model.learn(STEPS, callback=[Do(rollout_start=edit), AbelCallback(scope=scope)]))
    assert any("was set to 0.5 in mid-training" in message for message in said), said


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_who_asks_the_schedule_between_updates_changes_nothing(name):
    def ask(model):
        model.lr_schedule(0.123)

    def learned(*before):
        model = make_model(name, learning_rate=lambda progress: 1e-3 * progress)
        movers = [KLAdaptiveCallback()] if name in KL_ALGORITHMS else []
        seen = rates_of(model, name)
        said = said_by(lambda: model.learn(STEPS, callback=[*before, *movers, AbelCallback()]))
        return seen, said

    assert learned(Do(step=ask, rollout_start=ask)) == learned()


def test_a_rate_that_was_set_just_before_groups_are_cut_is_said():
    model, mover = make_model("PPO"), RateByPart()

    def edit(model):
        if model.num_timesteps == 60:
            model.policy.optimizer.param_groups[0]["lr"] = 0.5
            mover.multipliers["value"] = 3

    [message] = said_by(lambda: model.learn(120, callback=[mover, Do(rollout_start=edit)]))
    assert "the learning rate of 1 parameter groups was set to 0.5 in mid-training" in message


def test_who_asks_between_two_movers_gets_no_rate_that_stays():
    """As an evaluation that logs the rate does: what movers after it in the list set is applied all the same."""

    def ask(model):
        model.lr_schedule(model._current_progress_remaining)

    def learned(*between):
        model = make_model("PPO")
        seen = rates_of(model, "PPO")
        model.learn(STEPS, callback=[AbelCallback(), *between, KLAdaptiveCallback()])
        return seen

    seen = learned(Do(rollout_end=ask))
    assert seen == learned()
    assert len({rate for *_, rate in seen}) > 2


@pytest.mark.parametrize("name", ["DQN", "SAC"])
def test_who_asks_before_anything_is_learned_makes_no_update(name):
    def ask(model):
        model.lr_schedule(model._current_progress_remaining)

    model = make_model(name, learning_starts=40, learning_rate=lambda progress: 1e-3 * progress)
    callbacks = [RateByPart(value=3), AbelCallback(), Do(rollout_end=ask)]
    assert said_by(lambda: model.learn(STEPS, callback=callbacks)) == []


def test_a_learning_rate_that_nobody_reads_is_said_once():
    edit = Do(rollout_start=lambda model: setattr(model, "learning_rate", 0.5))
    model = make_model("PPO")
    [message] = said_by(lambda: model.learn(STEPS, callback=[edit, AbelCallback()]))
    assert "model.learning_rate was set to 0.5 in mid-training" in message


# What is recommended

KL_AT_REST, AUTO_AT_REST = (
    functools.partial(made, target_kl=1.0, step=1 + 1e-9) for made in (KLAdaptiveCallback, AutoLearningRate)
)
KL_THAT_LOWERS = functools.partial(KLAdaptiveCallback, target_kl=1e-9)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_auto_takes_what_is_recommended(name, capsys):
    model, auto = make_model(name), AutoLearningRate(verbose=1)
    model.learn(STEPS, callback=auto)
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("abel:"))
    if name in KL_ALGORITHMS:
        assert "adapts to the KL divergence" in first
        assert auto.kl.factor != 1
    else:
        assert auto.kl is None
    if name in BUDGET_ALGORITHMS:
        assert first.endswith("follows from the number of optimizer steps")
        assert auto.budget.rate == budget_rate(auto.budget.steps)
        assert auto.factor == pytest.approx(auto.budget.factor * auto.abel.factor)
        assert (auto.abel.final_decay_at, auto.abel.final_decay_shape) == (0.8, "linear")
    else:
        assert auto.budget is None
        assert (auto.abel.final_decay_at, auto.abel.final_decay_shape) == (0.85, "step")
    if name not in (*KL_ALGORITHMS, *BUDGET_ALGORITHMS):
        assert first.endswith("is your own")
    assert auto.abel.max_decays == 0
    assert [decay.cause for decay in auto.decays] == ["final"]
    assert len(auto.trace["timesteps"]) > 3


def test_auto_hands_its_options_through():
    auto = AutoLearningRate(target_kl=0.02, final_decay_shape="linear", min_learning_rate=1e-6, max_decays=2)
    PPO("MlpPolicy", "CartPole-v1", n_steps=64, device="cpu").learn(128, callback=auto)
    assert (auto.kl.target_kl, auto.kl.min_learning_rate) == (0.02, 1e-6)
    assert (auto.abel.final_decay_shape, auto.abel.min_learning_rate, auto.abel.max_decays) == ("linear", 1e-6, 2)
    with pytest.raises(ValueError, match=r"target_kl=0.02: SAC has no KL divergence"):
        make_model("SAC").learn(60, callback=auto)


def test_auto_goes_from_one_algorithm_to_another():
    auto, own = AutoLearningRate(final_decay_at=0.5), AutoLearningRate(final_decay_shape="step")
    for name, shape in (("PPO", "step"), ("TD3", "linear"), ("A2C", "step")):
        for callback in (auto, own):
            make_model(name).learn(STEPS, callback=callback)
        assert (auto.abel.final_decay_at, auto.abel.final_decay_shape) == (0.5, shape)
        assert (own.abel.final_decay_at, own.abel.final_decay_shape) == (0.8 if name == "TD3" else 0.85, "step")


def test_auto_leaves_the_rate_of_optimizers_that_were_never_tried():
    model, auto = (
        make_model("SAC", policy_kwargs={"net_arch": [8], "optimizer_class": torch.optim.SGD}),
        AutoLearningRate(),
    )
    model.learn(STEPS, callback=auto)
    assert auto.budget is None


def test_auto_refuses_a_bound_where_nothing_raises_the_rate():
    assert AutoLearningRate(max_learning_rate=1e-3).abel.min_learning_rate == 0
    model = make_model("TD3")
    model.learn(STEPS, callback=(auto := AutoLearningRate(max_learning_rate=1e-3)))
    assert auto.budget.rate == 1e-3
    with pytest.raises(ValueError, match=r"max_learning_rate=0\.001: nothing raises the rate of A2C"):
        make_model("A2C").learn(STEPS, callback=auto)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AutoLearningRate(target=1), TypeError, r"no argument 'target'; did you mean 'target_kl'\?"),
        (lambda: RateByPart(0.1, 3), TypeError, r"RateByPart: too many positional arguments; it has \['policy',"),
        (lambda: FinishedEval(None), TypeError, "FinishedEval: missing a required argument: 'every'"),
        (lambda: AutoLearningRate(xyz=1), TypeError, r"no argument 'xyz'; it has \['decay_factor', 'final_decay_at',"),
        (lambda: AutoLearningRate(target_kl=-1), ValueError, "target_kl must be a finite number above 0, got -1"),
        (lambda: KLAdaptiveCallback(step=1), ValueError, "step must be a finite number above 1, got 1"),
        (lambda: KLAdaptiveCallback(max_learning_rate=1e-6), ValueError, "max_learning_rate must be .* above 1e-05"),
        (lambda: RateByPart(value=-1), ValueError, "value must be a finite number of at least 0, got -1"),
        (lambda: RateByPart(critic=2), TypeError, "RateByPart has no argument 'critic'; did you mean 'value'"),
        (lambda: AbelCallback(scope="layer"), ValueError, r"scope must be one of \['model', 'part'\], got 'layer'"),
        (lambda: AbelCallback(final_decay_shape="cosine"), ValueError, r"shape must be one of .*, got 'cosine'"),
        (
            lambda: AbelCallback(scope="part", watch="total"),
            ValueError,
            "scope='part' cannot be had with watch='total'",
        ),
        (lambda: AbelCallback(scope="part", max_decays=0), ValueError, "scope='part' .* give max_decays=None"),
        (lambda: AutoLearningRate(scope="part"), ValueError, "scope='part' .* give max_decays=None"),
        (lambda: AbelCallback(acts_on="steps"), ValueError, r"acts_on must be one of \['learning_rate'"),
    ],
)
def test_bad_input_is_named_where_the_user_calls(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: AbelCallback(watch="actor"), "policy"),
        (lambda: AbelCallback(watch="critic"), "value"),
        (lambda: AbelCallback(watch="q"), "value"),
        (lambda: AutoLearningRate(watch="q_net"), "value"),
        (lambda: AbelCallback(watch="Policy"), "policy"),
        (lambda: RateByPart(actor=1), "policy"),
        (lambda: RateByPart(critic=1), "value"),
        (lambda: RateByPart(q=1), "value"),
        (lambda: RateByPart(vlaue=1), "value"),
        (lambda: AbelCallback(decay="linear"), "final_decay_shape"),
        (lambda: AbelCallback(decay="batch_size"), "acts_on"),
        (lambda: AutoLearningRate(decay=0.1), "decay_factor"),
        (lambda: AutoLearningRate(final_decay="linear"), "final_decay_shape"),
        (lambda: AbelCallback(final_decay=0.8), "final_decay_at"),
        (lambda: AbelCallback(gamma=0.1), "decay_factor"),
        (lambda: KLAdaptiveCallback(lr_min=1e-6), "min_learning_rate"),
        (lambda: AutoLearningRate(desired_kl=1e-6), "target_kl"),
        (lambda: AbelCallback(acts_on="batch"), "batch_size"),
        (lambda: AbelCallback(acts_on="lr"), "learning_rate"),
        (lambda: AbelCallback(final_decay_shape="cosine"), "linear"),
        (lambda: AbelCallback(scope="parts"), "part"),
        (lambda: AbelCallback("tend"), "trend"),
        (lambda: finish(None, 20, gamma=0.1), "decay_factor"),
        (lambda: rl_abel.torch.AbelScheduler(None, num_training_steps=10), "total_steps"),
        (lambda: find_decays([1.0], windows=3), "window"),
    ],
)
def test_a_natural_wrong_name_gets_the_right_one(make, meant):
    with pytest.raises((ValueError, TypeError), match=f"did you mean ('[a-z_]+' or )*'{meant}'"):
        make()


# The smallest rate


@pytest.mark.filterwarnings("ignore:rl_abel. min_learning_rate", "ignore:rl_abel. 10 updates in a row")
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("movers", "base", "applied"),
    [
        # The user's rate, after a final decay by 0.1, in whichever callback the floor is given.
        ([lambda: AbelCallback(min_learning_rate=5e-4)], 1e-3, 5e-4),
        ([lambda: AbelCallback(min_learning_rate=5e-4)], 1e-4, 1e-4),
        ([lambda: AUTO_AT_REST(min_learning_rate=5e-4)], 1e-3, 5e-4),
        ([lambda: AUTO_AT_REST(min_learning_rate=6e-4, final_decay_shape="linear")], 1e-3, 6e-4),
        ([lambda: AbelCallback(min_learning_rate=5e-4), KL_AT_REST], 1e-3, 5e-4),
        ([AbelCallback, lambda: KL_AT_REST(min_learning_rate=5e-4)], 1e-3, 5e-4),
        ([AbelCallback, KL_AT_REST], 1e-3, 1e-4),
        ([AbelCallback, KL_AT_REST], 2e-5, 2e-6),  # the bound of the KL divergence is none of the decays
        ([lambda: AbelCallback(min_learning_rate=5e-4), KL_THAT_LOWERS], 1e-3, 5e-4),
        # What a part is multiplied by is the user's own.
        ([lambda: AbelCallback(min_learning_rate=5e-4), lambda: RateByPart(policy=0.8, value=0.8)], 1e-3, 5e-4),
        ([lambda: AbelCallback(min_learning_rate=5e-4), lambda: RateByPart(policy=0.2, value=0.2)], 1e-3, 2e-4),
        ([lambda: AbelCallback(min_learning_rate=5e-4), lambda: RateByPart(policy=0, value=0)], 1e-3, 0.0),
    ],
)
def test_no_rate_is_smaller_than_the_smallest_nor_raised_above_the_users_own(movers, base, applied, order):
    model = make_model("PPO", learning_rate=base)
    seen = rates_of(model, "PPO")
    model.learn(STEPS, callback=[make() for make in movers][::order])
    rates = [rate for _, part, rate in seen if part == "policy"]
    assert (min(rates), rates[-1]) == (pytest.approx(applied), pytest.approx(applied))


# Finished copies


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_finished_copy_runs_at_what_all_movers_make_of_the_rate(name):
    """Within a training, which goes on as without, and with the groups that SB3 makes."""
    trained, copies = [], []

    def copy(model):
        if model.num_timesteps >= 160 and not copies:
            copies.append(finish(model, 20))

    for event in (lambda model: None, copy):
        model = make_model(name)
        abel = AbelCallback(rule=DecayAt(2), watch="value", scope="part", final_decay_at=None, measure_every=1)
        model.learn(STEPS, callback=[abel, RateByPart(policy=0.5), Do(rollout_start=event)])
        trained.append(weights(model))
    assert same(*trained)
    [copied] = copies
    assert [len(o.param_groups) for o in torch_optimizers(copied)] == [1] * len(torch_optimizers(copied))
    assert copied.learning_rate == pytest.approx(1e-4)
    type(copied).load(saved(copied), env=copied.get_env())
