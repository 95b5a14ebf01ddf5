"""Which training a model is in: decays, trace and the rate that was found stay until a reset, and no longer."""

import io
import warnings

import pytest

from rl_abel import AbelCallback
from tests.algorithms import DecayAt, make_model

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. .* measurements? of the weight norm")


def abel():
    return AbelCallback(rule=DecayAt(2), watch="total", final_decay_at=None, decay_factor=0.5, measure_every=1)


def watch(model, timesteps):
    model.learn(timesteps, callback=(seen := abel()))
    assert [decay.cause for decay in seen.decays] == ["bounce"]
    return model


def save_and_load(model):
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    return type(model).load(buffer, env=model.get_env(), device="cpu")


def on(model):
    model.learn(140, reset_num_timesteps=False)
    return model


def reset(model):
    model.learn(300)
    return model


def other_pace(model):
    """More updates a timestep, or fewer, as others may have them: PPO's n_epochs, SAC's gradient_steps."""
    for name in ("n_epochs", "gradient_steps", "n_critic_updates"):
        if hasattr(model, name):
            setattr(model, name, 2 * getattr(model, name))
    return model


# What happens between two trainings that are watched, and whether the first of them goes on.
LIVE = [
    ([], True),
    ([on], True),
    ([reset], False),
    ([on, reset], False),
    ([reset, on], False),
    ([other_pace, on], True),
    ([other_pace, reset], False),
    ([save_and_load], True),
]
# Where an episode of Pendulum has ended, after 200 timesteps.
LOADED = [
    ([on, save_and_load], True),
    ([save_and_load, on], True),
    ([save_and_load, on, save_and_load], True),
    ([save_and_load, reset], False),
    ([reset, save_and_load], False),
    ([other_pace, reset, save_and_load], False),
    ([other_pace, on, save_and_load], True),
]


def named(steps):
    return " ".join(step.__name__ for step in steps) or "nothing"


def between(name, timesteps, steps, callback):
    model = watch(make_model(name), timesteps)
    trace = len(model.abel_state["trace"])
    for step in steps:
        model = step(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(60, callback=callback, reset_num_timesteps=False)
    said = [str(w.message) for w in caught if "cannot be told" in str(w.message)]
    return trace, said


# SAC is told by its episodes as DQN is.
@pytest.mark.parametrize("name", ["PPO", "DQN", "ARS"])
@pytest.mark.parametrize(("steps", "goes_on"), LIVE, ids=[named(steps) for steps, _ in LIVE])
def test_a_training_goes_on_until_a_reset(name, steps, goes_on):
    again = AbelCallback(rule=DecayAt(), watch="total", final_decay_at=None, measure_every=1)
    trace, said = between(name, 100, steps, again)
    assert said == []
    assert again.factor == (0.5 if goes_on else 1.0)
    assert (len(again.trace["timesteps"]) > trace) is goes_on


# SAC is told by its episodes as DQN is.
@pytest.mark.parametrize("name", ["PPO", "DQN", "ARS"])
@pytest.mark.parametrize(("steps", "goes_on"), LOADED, ids=[named(steps) for steps, _ in LOADED])
def test_it_does_so_over_save_and_load(name, steps, goes_on):
    """Told by the episodes that SB3 keeps; where these do not tell, decays stay, and that is said once."""
    again = AbelCallback(rule=DecayAt(), watch="total", final_decay_at=None, measure_every=1)
    _, said = between(name, 240, steps, again)
    if name == "ARS":
        goes_on = True
        assert len(said) == 1
    else:
        assert said == []
    assert again.factor == (0.5 if goes_on else 1.0)
