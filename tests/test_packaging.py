"""What a user installs: the wheel ships rl_abel alone."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import rl_abel
from tests import check_extras

ROOT = Path(__file__).parent.parent


@pytest.mark.packaging
def test_the_wheel_ships_rl_abel_alone(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"rl_abel-{rl_abel.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"rl_abel", f"rl_abel-{rl_abel.__version__}.dist-info"}
    shipped = {name.removeprefix("rl_abel/") for name in names if name.startswith("rl_abel/")}
    sources = {path.relative_to(ROOT / "rl_abel").as_posix() for path in (ROOT / "rl_abel").rglob("*.py")}
    assert shipped == sources | {"py.typed", "inspection/web_page.html", "inspection/web_page.js"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.packaging
def test_the_wheel_alone_is_enough(tmp_path):
    """Installed nowhere but on a path of its own, without the checkout, the package works."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); import rl_abel; assert {str(wheel)!r} in rl_abel.__file__; "
        "from rl_abel import AbelCallback, weight_norms; from stable_baselines3 import PPO; "
        "model = PPO('MlpPolicy', 'CartPole-v1', n_steps=16, batch_size=16, device='cpu'); "
        "callback = AbelCallback(max_decays=0); model.learn(160, callback=callback); print(callback.decays)"
    )
    run = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[Decay(timestep=144, cause='final', factor=0.1)]"
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); from rl_abel.inspection.cli import main; main(sys.argv[1:])"
    )
    inspect = [sys.executable, "-P", "-c", code, "inspect", "no/such/run", "--html", "page.html"]
    subprocess.run(inspect, cwd=tmp_path, capture_output=True, check=True)
    assert "No run could be read." in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_versions_agree():
    assert f"version: {rl_abel.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{rl_abel.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_extra_has_a_script_of_its_use(monkeypatch, capsys):
    """Running them takes a quarter of an hour: ``make extras``, before a release."""
    scripts = {path.stem for path in check_extras.USES.glob("*.sh")}
    assert scripts == set(check_extras.declared())
    monkeypatch.setattr(check_extras, "declared", lambda: ["none", "new"])
    with pytest.raises(SystemExit, match="2"):
        check_extras.main(["none"])
    assert "what new is for should be in" in capsys.readouterr().err


def test_an_extra_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        check_extras.main(["bench,mujco"])
    assert "got mujco" in capsys.readouterr().err


def test_every_requirement_is_pinned():
    """A fresh machine gets the versions that were tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pins = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split("\n")
    }
    for requirement in wanted:
        name = requirement.partition("[")[0].partition(">")[0].partition("=")[0].lower().replace("_", "-")
        assert name in pins | {"rl-abel"}, requirement


def test_the_lowest_versions_are_those_of_the_ranges():
    """Of the core and of what users' trainings need; ``make lowest`` runs them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ("contrib", "demo", "atari", "minatar", "mujoco")
    requirements = [*project["dependencies"], *(r for e in extras for r in project["optional-dependencies"][e])]
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in requirements:
        name, lowest = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)(?:,<\d+)?", requirement).groups()
        assert f"{pins[name.lower()]}.0.0".startswith(f"{lowest}."), requirement


def test_the_workflow_has_the_pythons_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    jobs = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert steps
    assert {step.removeprefix("make ") for step in steps} <= set(targets)


def test_the_commit_hooks_are_the_tools_of_make_lint():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {" ".join(hook["entry"].split()[:2]).replace(" --fix", "") for hook in repo["hooks"]}
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    lint = {line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]}
    assert {" ".join(line.split()[:2]) for line in lint} == {hook.strip() for hook in hooks}


def test_the_guide_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= set(targets)
    for path in re.findall(
        r"`((?:rl_abel|agents|envs|benchmarks|docs|tests)/[\w/]*)`", text.replace("docs/_build/html", "docs/")
    ):
        assert (ROOT / path).is_dir(), path
    for path in re.findall(r"\]\(([\w/]+\.md)\)", text):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"`([\w/]+\.py)`", text):
        assert [*ROOT.glob(module), *ROOT.glob(f"*/{module}")], module
