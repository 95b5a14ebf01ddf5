"""The demo, what it says and draws; and the run of the tutorial that bounces, with its picture."""

import re
from pathlib import Path

import matplotlib.image
import pytest
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from benchmarks import demo
from docs import bouncing_run
from rl_abel import Decay

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
NORMS = {"total": [10.0, 5.0, 12.0], "policy": [4.0, 1.0, 4.0], "value": [6.0, 4.0, 8.0]}
BOUNCE, FINAL = Decay(700, "bounce", 0.3), Decay(850, "final", 0.3)


def course(*rates, returns=(), decayed_at=None):
    return demo.Course([(100 * n, rate) for n, rate in enumerate(rates)], list(returns), decayed_at)


LOW = course(1e-5, 1e-5, 1e-5, 1e-5, returns=[(10 * n, 20.0) for n in range(1, 21)])
LED = course(1e-5, 1e-4, 3e-3, 3e-4, returns=[(100, 20.0), (290, 200.0)], decayed_at=200)


def test_what_is_said():
    assert list(demo.told({False: LOW, True: LED})) == [
        "without                return at the end: 20 of 500;  learning rate at 1e-05 all along",
        "with AutoLearningRate  return at the end: 110 of 500;  learning rate from 1e-05 up to 0.003, a tenth from "
        "timestep 200 on",
    ]
    assert "no episode ended" in next(demo.told({False: course(1e-5)}))


@pytest.mark.parametrize("led", [LED, course(1e-5, 1e-5)])
def test_any_two_trainings_can_be_drawn(led, tmp_path):
    demo.picture(tmp_path / "demo.png", {False: LOW, True: led})
    assert matplotlib.image.imread(tmp_path / "demo.png").std() > 0.05


@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_the_command(tmp_path, capsys):
    demo.main(["--timesteps", "2560", "--out", str(tmp_path / "runs")])
    printed = capsys.readouterr().out
    assert re.search(r"without +return at the end: \d+ of 500;  learning rate at 3e-05 all along\n", printed)
    assert re.search(r"with AutoLearningRate .* from 3e-05 up to [\d.e-]+, a tenth from timestep 2,304 on\n", printed)
    assert (tmp_path / "runs" / "demo.png").is_file()


@pytest.mark.parametrize("episodes", [0, 1, 20])
@pytest.mark.parametrize("decays", [(), (FINAL,), (BOUNCE, FINAL)])
def test_a_run_that_may_bounce_can_be_drawn(decays, episodes, tmp_path):
    ends, returns = [50 * (n + 1) for n in range(episodes)], [-100.0 * (n < 10) for n in range(episodes)]
    run = bouncing_run.Trained(NORMS, [10, 500, 990], list(decays), ends, returns)
    bouncing_run.picture(tmp_path / "bounce.png", run)
    assert matplotlib.image.imread(tmp_path / "bounce.png").std() > 0.05


@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
def test_it_is_the_first_run_of_the_tutorial(tmp_path, monkeypatch, capsys):
    """Shortened alike, the two measure the same norms to the last digit."""
    [block, *_] = re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE)
    learn = OffPolicyAlgorithm.learn
    monkeypatch.setattr(
        OffPolicyAlgorithm, "learn", lambda self, **given: learn(self, **given | {"total_timesteps": 450})
    )
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(block, "tutorial.md", "exec"), names)
    ours = bouncing_run.train(tmp_path / "runs", bouncing_run.TIMESTEPS)
    assert ours.norms | {"timesteps": ours.timesteps} == dict(names["callback"].trace)
    assert (ours.ends, len(ours.returns)) == ([200, 400], 2)
