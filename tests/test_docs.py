"""The pages: their code runs, their figures are those of this code, their links lead somewhere."""

import re
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from docs import figures
from tests.algorithms import ALGORITHMS, make_model, torch_optimizers

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ["index", "tutorial", "rules", "diagnosis", "recipes"]
# Three rollouts of PPO, without which nothing has been measured twice.
BUDGETS = dict.fromkeys(PAGES, 300) | {"diagnosis": 6_000}

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurements")


def blocks(page, language):
    """Fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)


def shortened(learn, budget):
    def learn_less(self, total_timesteps, *args, **kwargs):
        return learn(self, min(total_timesteps, budget), *args, **kwargs)

    return learn_less


def run(page, monkeypatch, tmp_path):
    """Run the code of a page from its first line to its last, with tiny budgets; return its names."""
    monkeypatch.chdir(tmp_path)
    for kind in (OnPolicyAlgorithm, OffPolicyAlgorithm):
        monkeypatch.setattr(kind, "learn", shortened(kind.learn, BUDGETS[page]))
    # As a script: SB3 pickles classes that are defined in one by value.
    names = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, f"{page}.md", "exec"), names)
    return names


@pytest.mark.parametrize("page", [page for page in PAGES if page != "recipes"])
def test_the_code_of_a_page_runs(page, monkeypatch, tmp_path, capsys):
    run(page, monkeypatch, tmp_path)
    printed = capsys.readouterr().out
    if page == "rules":
        assert printed == "[49, 69]\n"
    if page == "diagnosis":
        assert len(printed.splitlines()) == 2, "a line for every measurement"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = run("recipes", monkeypatch, tmp_path := tmp_path_factory.mktemp("recipes"))
        yield names, tmp_path


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "ARS"])
def test_weight_decay_in_every_algorithm(name, recipes):
    """It decays matrices alone, and all else about the optimizer is as SB3 has it."""
    names, _ = recipes
    plain = make_model(name)
    policy_kwargs = {**plain.policy_kwargs, **names["with_weight_decay"](name, 0.25, batch_size=16)}
    model = make_model(name, policy_kwargs=policy_kwargs)
    for ours, own in zip(torch_optimizers(model), torch_optimizers(plain)):
        for group in ours.param_groups:
            for key in ("eps", "betas"):
                assert group[key] == own.param_groups[0].get(key, group[key])
        if ours is not getattr(model, "ent_coef_optimizer", None):
            decaying, spared = ours.param_groups
            assert (decaying["weight_decay"], spared["weight_decay"]) == (0.25, 0)
            assert {p.ndim for p in decaying["params"]} == {2}
            assert {p.ndim for p in spared["params"]} == {1}


def test_a_job_that_is_started_again_goes_on(recipes, monkeypatch):
    _, folder = recipes
    monkeypatch.chdir(folder)
    [script] = [block for block in blocks("recipes", "python") if block.startswith("# train.py")]
    assert [path.name for path in folder.glob("runs/seed_0/*.zip")] == ["ppo_2048_steps.zip"]
    again = {"__name__": "__main__"}
    exec(compile(script.replace("TIMESTEPS = 100_000", "TIMESTEPS = 4_000"), "train.py", "exec"), again)
    assert again["model"].num_timesteps == 4096
    assert len(again["model"].abel_state["trace"]) == 1, "measured after the first update, that of the first job"
    assert (folder / "runs/seed_0/ppo_4096_steps.zip").is_file()


def test_the_yaml_for_the_zoo_names_the_callback():
    yaml = pytest.importorskip("yaml")
    from rl_zoo3.utils import get_callback_list

    [text] = blocks("tutorial", "yaml")
    [callback] = get_callback_list(yaml.safe_load(text)["CartPole-v1"])
    assert (type(callback).__name__, callback.decay_factor) == ("AbelCallback", 0.3)


def test_the_figures_are_those_of_this_code(tmp_path):
    figures.main(tmp_path)
    committed = {path.name for path in figures.FOLDER.iterdir()}
    assert committed == {path.name for path in tmp_path.iterdir()}
    for name in committed:
        different = compare_images(str(figures.FOLDER / name), str(tmp_path / name), tol=5)
        assert different is None, f"python -m docs.figures\n{different}"


def test_links_of_the_readme():
    text = (ROOT / "README.md").read_text()
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_every_page_is_in_the_tree():
    [pages, _] = re.findall(r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    listed = {line for line in pages.split("\n") if line and not line.startswith(":")}
    assert listed | {"index"} == {path.stem for path in DOCS.glob("*.md")}


def test_the_options_of_the_command_are_described(capsys):
    from rl_abel.cli import main

    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    described = set(re.findall(r"`(--[a-z]+)", (DOCS / "api.md").read_text()))
    assert options == described
