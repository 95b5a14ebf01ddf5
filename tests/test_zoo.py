"""A real client: rl_zoo3 takes the callback from its YAML."""

import sys

import pytest
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

HYPERPARAMETERS = """
CartPole-v1:
  n_envs: 2
  n_timesteps: !!float 2560
  policy: 'MlpPolicy'
  n_steps: 32
  batch_size: 64
  n_epochs: 2
  learning_rate: lin_0.001
  callback:
    - rl_abel.AbelCallback: {decay_factor: 0.3, measure_every: 64}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_zoo_trains_with_the_callback_from_its_yaml(tmp_path, monkeypatch):
    from rl_zoo3.train import train

    (tmp_path / "ppo.yml").write_text(HYPERPARAMETERS)
    arguments = ["train", "--algo", "ppo", "--env", "CartPole-v1", "-conf", str(tmp_path / "ppo.yml")]
    arguments += [
        "--device",
        "cpu",
        "-f",
        str(tmp_path / "logs"),
        "-tb",
        str(tmp_path / "tb"),
        "--eval-freq",
        "-1",
        "--seed",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", [*arguments, "--log-interval", "1"])
    train()
    [path] = (tmp_path / "logs").rglob("CartPole-v1.zip")
    model = PPO.load(path)
    [[timestep, cause, factor]] = model.abel_state["decays"]
    assert (timestep, cause, factor) == (2176, "final", 0.3)
    assert len(model.abel_state["trace"]) == 39
    [events] = (tmp_path / "tb").rglob("events.*")
    scalars = EventAccumulator(str(events), size_guidance={"scalars": 0}).Reload()
    rates = {event.step: event.value for event in scalars.Scalars("train/learning_rate")}
    # The rate that is dumped at a step is the one of the update before it.
    assert rates[2176] == pytest.approx(0.001 * (1 - 2112 / 2560), rel=1e-4)
    assert rates[2240] == pytest.approx(0.001 * (1 - 2176 / 2560), rel=1e-4), "of a rollout that began before 85 %"
    assert rates[2304] == pytest.approx(0.3 * 0.001 * (1 - 2240 / 2560), rel=1e-4)
    assert scalars.Scalars("abel/factor")[-1].value == pytest.approx(0.3)
