"""The pages: their code runs, their figures are those of this code, their links lead somewhere."""

import ast
import inspect
import re
from contextlib import suppress
from pathlib import Path

import pytest
from matplotlib.image import imread
from matplotlib.testing.compare import compare_images
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

import rl_abel.torch
from docs import figures, pictures
from rl_abel import AutoLearningRate, TrendRule
from tests.algorithms import ALGORITHMS, make_model, torch_optimizers
from tests.browser import browser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ["README", "index", "tutorial", "rules", "diagnosis", "recipes", "arguments"]
# Its page shows how many measurements its run makes.
UNSHORTENED = "diagnosis"
# Needs a cluster: what it says is not tried.
NOT_RUN = ["benchmark"]
GOES_ON = re.compile(r"# Goes on from the \w+ above\.\n")

pytestmark = pytest.mark.filterwarnings("ignore:rl_abel. about .* measurement")


def text_of(page):
    return (ROOT / "README.md" if page == "README" else DOCS / f"{page}.md").read_text()


def blocks(page, language):
    """Fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def programs(page):
    """What a reader would run: each block by itself, with those that say they go on from it."""
    found = []
    for block in blocks(page, "python"):
        found.append(found.pop() + block if found and GOES_ON.match(block) else block)
    return found


PROGRAMS = [
    pytest.param(page, program, id=f"{page}-{number}")
    for page in PAGES
    for number, program in enumerate(programs(page), start=1)
]


def shortened(learn, budget=300):
    def learn_less(self, total_timesteps, *args, **kwargs):
        return learn(self, min(total_timesteps, budget), *args, **kwargs)

    return learn_less


def run(program, name="program.py"):
    """Run a program where we are; return its names."""
    # As a script: SB3 pickles classes that are defined in one by value.
    names = {"__name__": "__main__"}
    exec(compile(program, name, "exec"), names)
    return names


# A program, a line that leads over, and all that it prints.
SHOWN = re.compile(r"^```python\n((?:(?!```).)*)^```\n\n[^\n]*:\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
[[FIRST, PRINTED]] = SHOWN.findall(text_of("README"))


def said(program):
    """What it says that its print() calls give, where it does not say that this is an instance."""
    for comment in re.findall(r"^print\(.*\)  # (.*)$", program, re.MULTILINE):
        with suppress(ValueError, SyntaxError):
            ast.literal_eval(comment)
            yield comment


@pytest.fixture
def a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_budgets(monkeypatch):
    for kind in (OnPolicyAlgorithm, OffPolicyAlgorithm):
        monkeypatch.setattr(kind, "learn", shortened(kind.learn))


@pytest.mark.filterwarnings("ignore:jax:DeprecationWarning")  # SBX imports what JAX deprecates
@pytest.mark.usefixtures("a_folder", "tiny_budgets")
@pytest.mark.parametrize(("page", "program"), [case for case in PROGRAMS if case.values[0] != UNSHORTENED])
def test_each_block_runs_by_itself(page, program, capsys):
    run(program, page)
    printed = capsys.readouterr().out.splitlines()
    for output in said(program):
        assert output in printed


@pytest.mark.published
@pytest.mark.usefixtures("a_folder")
def test_the_first_program_prints_what_is_shown(capsys):
    """The whole training. Where the KL divergence leads, and how well it ends, differs between machines."""
    assert programs("README")[0] == FIRST
    names = run(FIRST)
    led = re.compile(r"(?<=rate from 1e-05 to ).*|(?<=reward ).*")
    assert led.sub("", capsys.readouterr().out).splitlines() == led.sub("", PRINTED).splitlines()
    assert "mean reward 500\n" in PRINTED
    without = run(re.sub(r", callback=.*\)", ")", FIRST))["mean_reward"]
    [said] = re.findall(r"ended at (\d+); the most", text_of("README"))
    assert without < 2 * int(said) < 400 < names["mean_reward"]


def test_the_index_shows_it_too():
    assert SHOWN.findall(text_of("index")) == [(FIRST, PRINTED)]
    assert all(len(blocks(page, "text")) == 1 for page in ("README", "index")), "no output that nothing compares"


def test_the_outputs_of_some_blocks_are_exact():
    assert [(case.id, [*said(case.values[1])]) for case in PROGRAMS if [*said(case.values[1])]] == [
        ("rules-1", ["[49, 69]"]),
        ("arguments-1", ["[54]"]),
    ]


def test_every_page_with_code_is_run():
    assert {path.stem for path in DOCS.glob("*.md") if blocks(path.stem, "python")} <= {*PAGES, *NOT_RUN}


@pytest.mark.usefixtures("a_folder")
def test_the_run_of_the_diagnosis_makes_as_many_measurements_as_its_page_shows(capsys):
    from rl_abel.inspection.cli import main

    [program] = programs("diagnosis")
    trace = run(program)["callback"].trace
    assert len(capsys.readouterr().out.splitlines()) == len(trace["total"]), "a line for every measurement"
    main(["inspect", "runs"])
    counts = re.compile(r"(\d+) measurements, timestep ([\d,]+) to ([\d,]+)")
    given, shown = (counts.search(text).groups() for text in (capsys.readouterr().out, text_of("diagnosis")))
    assert given == shown


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "ARS"])
def test_weight_decay_in_every_algorithm(name):
    """It decays matrices alone, and all else about the optimizer is as SB3 has it."""
    [program] = [block for block in blocks("recipes", "python") if "def with_weight_decay" in block]
    with_weight_decay = run(program)["with_weight_decay"]
    plain = make_model(name)
    policy_kwargs = {**plain.policy_kwargs, **with_weight_decay(name, 0.25, batch_size=16)}
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


@pytest.mark.filterwarnings("ignore:rl_abel. there is no final decay")
def test_a_job_that_is_started_again_goes_on(a_folder):
    [script] = [program for program in programs("recipes") if program.startswith("# train.py")]
    for timesteps, reached in ((2_000, 2048), (4_000, 4096)):
        names = run(script.replace("TIMESTEPS = 100_000", f"TIMESTEPS = {timesteps}"), "train.py")
        assert names["model"].num_timesteps == reached
        assert (a_folder / f"runs/seed_0/ppo_{reached}_steps.zip").is_file()
    assert len(names["model"].abel_state["trace"]) == 1, "measured after the first update, that of the first job"


def test_the_loop_of_ppo_trains_and_is_that_of_the_page(capsys):
    script = (DOCS / "examples" / "ppo_loop.py").read_text()
    shown, _ = blocks("recipes", "diff")
    assert all(line[1:] in script.splitlines() for line in shown.splitlines() if line != " ...")
    loop = {"__name__": "ppo_loop"}
    exec(compile(script, "ppo_loop.py", "exec"), loop)
    scheduler, returns = loop["main"](["--total-timesteps", "12800", "--num-steps", "64"])
    trace = scheduler.trace
    assert trace["steps"] == list(range(1, 51))
    assert [a + c for a, c in zip(trace["actor"], trace["critic"])] == pytest.approx(trace["total"])
    assert [decay for decay in scheduler.decays if decay.cause == "final"] == [(43, "final", 0.1)]
    assert sum(returns[-10:]) > 2 * sum(returns[:10]), "it learns"
    assert f"rate {0.0025 * scheduler.factor:g}" in capsys.readouterr().out


@pytest.mark.parametrize("alpha_lr", ["1e-5"])
def test_the_loop_of_sac_learns_whatever_the_rate_of_its_temperature(alpha_lr):
    script = (DOCS / "examples" / "sac_loop.py").read_text()
    _, shown = blocks("recipes", "diff")
    assert all(line[1:] in script.splitlines() for line in shown.splitlines() if line != " ...")
    loop = {"__name__": "sac_loop"}
    exec(compile(script, "sac_loop.py", "exec"), loop)
    arguments = ["--total-timesteps", "2600", "--learning-starts", "200", "--hidden", "32", "--batch-size", "64"]
    schedulers, returns = loop["main"]([*arguments, "--alpha-lr", alpha_lr])
    assert [scheduler.rate for scheduler in schedulers] == [0.3 / 2400**0.5] * 2
    assert [scheduler.get_last_lr() for scheduler in schedulers] == [[0.0]] * 2
    assert max(returns[-3:]) > -400 > max(returns[:3]), "it learns"


def test_the_yaml_for_the_zoo_names_the_callback():
    yaml = pytest.importorskip("yaml")
    from rl_zoo3.utils import get_callback_list

    [text] = blocks("tutorial", "yaml")
    [callback] = get_callback_list(yaml.safe_load(text)["CartPole-v1"])
    assert (type(callback).__name__, callback.decay_factor) == ("AbelCallback", 0.3)


@pytest.mark.published
def test_the_figures_are_those_of_this_code(tmp_path):
    figures.main(tmp_path)
    committed = {path.name for path in figures.FOLDER.iterdir()}
    assert committed == {path.name for path in tmp_path.iterdir()}
    for name in committed:
        different = compare_images(str(figures.FOLDER / name), str(tmp_path / name), tol=5)
        assert different is None, f"python -m docs.figures\n{different}"


@pytest.mark.browser
def test_the_picture_of_a_report_is_taken_by_its_command(tmp_path):
    browser()  # or skipped
    pictures.PICTURES["report"](tmp_path / "report.png")
    taken, committed = (imread(path) for path in (tmp_path / "report.png", DOCS / "report.png"))
    assert taken.shape[:2] == committed.shape[:2]
    assert taken.std() > 0.05


def tables_of_arguments(page):
    """Section -> argument -> default, of the tables that begin with these two columns."""
    sections = re.split(r"^## `?(.+?)`?$", text_of(page), flags=re.MULTILINE)
    row = re.compile(r"^\| `(\w+)` \| `?(.+?)`? \| \S", re.MULTILINE)
    tables = {
        name: text.partition("| argument | default | meaning |\n")[2] for name, text in zip(*[iter(sections[1:])] * 2)
    }
    return {name: dict(row.findall(table.partition("\n\n")[0])) for name, table in tables.items() if table}


def signature(of):
    """Argument -> default, as the tables have it."""
    parameters = inspect.signature(of).parameters.values()
    return {p.name: "–" if p.default is p.empty else repr(p.default).replace("'", '"') for p in parameters}


ARGUMENTS = tables_of_arguments("arguments")
SCHEDULERS = ("AbelScheduler", "BudgetScheduler")
WITHOUT_ARGUMENTS = {"Decay", "PaperRule", "Rule", "TrendRule", "weight_norms"}


@pytest.mark.parametrize("name", [*sorted({*rl_abel.__all__} - WITHOUT_ARGUMENTS), *SCHEDULERS])
def test_every_argument_stands_on_its_page(name):
    table = dict(ARGUMENTS[f"rl_abel.torch.{name}" if name in SCHEDULERS else name])
    given = signature(getattr(rl_abel.torch if name in SCHEDULERS else rl_abel, name))
    if name == "AutoLearningRate":
        inherited = {**ARGUMENTS["KLAdaptiveCallback"], **ARGUMENTS["AbelCallback"]}
        assert not [argument for argument in table if inherited[argument] == table[argument]]
        table = {**inherited, **table}
    if name == "find_decays":
        table |= {"options": given["options"]}
        assert {of: table.pop(of) for of in signature(TrendRule)} == signature(TrendRule)
    assert table == given


def test_the_everyday_arguments_of_the_readme_are_those_of_the_callback():
    [everyday] = tables_of_arguments("README").values()
    assert [*everyday] == ["decay_factor", "final_decay_at", "final_decay_shape", "verbose"]
    assert everyday.items() <= signature(AutoLearningRate).items()


def prose(page):
    """Sentences of a page, its tables by cell."""
    text = re.sub(r"\]\([^)]*\)|[*`_]", "", without_code(text_of(page)).replace("![", "["))
    for block in re.split(r"\n\s*\n|\n(?=[-|#])|\|", text):
        yield from re.split(r"(?<=[.?!])\s+", " ".join(block.split()))


def test_the_readme_is_short_and_plain():
    text = text_of("README")
    assert text.count("\n") <= 110
    assert len(text.split()) <= 900
    assert max(len(sentence.split()) for sentence in prose("README")) <= 30
    assert not re.findall(r"\[[−\d., ]+\]", text), "intervals are for the pages"


def test_links_of_the_readme():
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text_of("README")) if "://" not in target]
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_every_page_is_in_the_tree():
    [pages, _] = re.findall(r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    listed = {line for line in pages.split("\n") if line and not line.startswith(":")}
    assert listed | {"index"} == {path.stem for path in DOCS.glob("*.md")}


def test_the_options_of_the_command_are_described(capsys):
    from rl_abel.inspection.cli import main

    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    described = set(re.findall(r"`(--[a-z]+)", (DOCS / "inspect.md").read_text()))
    assert options == described


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_a_page_has_one_title(path):
    assert len(re.findall(r"^# ", without_code(path.read_text()), re.MULTILINE)) == 1


def test_the_index_says_how_to_install_and_shows_a_run():
    text = text_of("index")
    assert "```\npip install .\n```" in text
    shown = re.findall(r"!\[.+\]\((.+?)\)", text)
    assert shown
    assert all((DOCS / picture).is_file() for picture in shown)
