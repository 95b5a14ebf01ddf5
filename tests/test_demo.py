"""The demo: the run of the tutorial, what it says and what it draws."""

import re
from pathlib import Path

import matplotlib.image
import pytest
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from benchmarks import demo
from rl_abel import Decay

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
NORMS = {"total": [10.0, 5.0, 12.0], "policy": [4.0, 1.0, 4.0], "value": [6.0, 4.0, 8.0]}
BOUNCE, FINAL = Decay(700, "bounce", 0.3), Decay(850, "final", 0.3)


def trained(*decays, episodes=20):
    returns = [-100.0 * (number < 10) for number in range(episodes)]
    return demo.Trained(NORMS, [10, 500, 990], list(decays), [50 * (n + 1) for n in range(episodes)], returns)


def test_what_is_said_of_a_run_that_bounces():
    assert list(demo.told(trained(BOUNCE, FINAL))) == [
        "|w|² of the total: down to 50% of its start at timestep 500, 120% at the end",
        "|w|² of the policy: down to 25% of its start at timestep 500, 100% at the end",
        "|w|² of the value: down to 67% of its start at timestep 500, 133% at the end",
        "learning rate 0.001 → 0.0003 at timestep 700: the norm of the policy had bounced",
        "learning rate 0.0003 → 9e-05 at timestep 850: the final decay, always made",
        "return of an episode: -100 at first, 0 in the end (means of 10)",
    ]


@pytest.mark.parametrize(("decays", "said"), [((FINAL,), True), ((BOUNCE,), False), ((), True)])
def test_a_run_without_a_bounce_says_so(decays, said):
    assert any("no bounce was seen" in line for line in demo.told(trained(*decays))) == said


@pytest.mark.parametrize("episodes", [0, 1, 20])
@pytest.mark.parametrize("decays", [(), (FINAL,), (BOUNCE, FINAL)])
def test_every_run_can_be_drawn(decays, episodes, tmp_path):
    demo.picture(tmp_path / "demo.png", trained(*decays, episodes=episodes))
    assert matplotlib.image.imread(tmp_path / "demo.png").std() > 0.05


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
    ours = demo.train(tmp_path / "runs", demo.TIMESTEPS)
    assert ours.norms | {"timesteps": ours.timesteps} == dict(names["callback"].trace)
    assert (ours.ends, len(ours.returns)) == ([200, 400], 2)


@pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")
@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
def test_the_command(tmp_path, capsys):
    demo.main(["--timesteps", "450", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "What happened" in printed
    assert f"Picture:      {tmp_path / 'demo.png'}" in printed
    assert (tmp_path / "demo.png").is_file()
