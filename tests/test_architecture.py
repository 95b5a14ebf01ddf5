"""Who may import whom, and what stays light."""

import ast
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3.common.callbacks import BaseCallback

import rl_abel
from benchmarks.study.__main__ import STUDIES

ROOT = Path(__file__).parent.parent
PACKAGES = ("rl_abel", "agents", "envs", "benchmarks")
HEAVY = {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"}

# What each package imports of the house, and of the benchmark each room of its ground floor and each wing.
HOUSE = {
    "rl_abel": set(),
    "agents": set(),
    "envs": set(),
    "benchmarks": {"rl_abel", "agents", "envs"},
}
BENCHMARKS = {
    "arguments": set(),
    "plan": set(),
    "callbacks": set(),
    "schedules": {"callbacks"},
    "results": {"folders"},
    "colors": set(),
    "words": {"statistics", "colors"},
    "drawing": {"statistics", "colors"},
    "demo": {"arguments", "colors"},
    "suites": {"plan"},
    "branches": {"plan"},
    "folders": set(),
    "lock": set(),
    "evaluation": {"plan"},
    "together": {"plan", "schedules"},
    "train": {"plan", "schedules", "together", "evaluation", "folders"},
    "starter": {"train"},
    "engine": {"plan", "branches", "folders", "lock", "starter", "train"},
    "launch": {"arguments", "plan", "branches", "engine"},
    "statistics": set(),
    "report": {"statistics", "colors", "words", "drawing", "plan", "results"},
    "study": {
        *("arguments", "plan", "results", "launch", "engine", "lock", "starter"),
        *("automatic", "control", "evidence", "moments", "ppo"),
    },
    "automatic": {"study", "plan", "results", "statistics", "words"},
    "ppo": {"study", "plan", "results", "statistics", "words", "evidence"},
    "control": {"study", "statistics", "words", "colors", "drawing"},
    "evidence": {"study", "statistics", "report", "words", "drawing", "colors", "plan", "results", "automatic"},
    "moments": {
        "study",
        "colors",
        "control",
        "drawing",
        "evaluation",
        "plan",
        "schedules",
        "statistics",
        "train",
        "words",
    },
    "measure": {"statistics", "plan", "suites"},
    "__main__": {"report", "suites", "launch", "arguments"},
}
LIGHT = (
    "benchmarks.statistics",
    "benchmarks.words",
    "benchmarks.drawing",
    "benchmarks.report",
    "benchmarks.results",
    "benchmarks.plan",
    "benchmarks.suites",
)
PAGES = tuple(f"benchmarks.{page}" for page in ("report.page", "evidence.page", "control.page", "moments.page"))


def imports(path):
    """Names of the modules that a file imports, wherever it does; for types alone is not at all."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes.extend(node.orelse)
        else:
            nodes.extend(ast.iter_child_nodes(node))


def graph(root, packages):
    """Module -> the modules that it imports, of the packages' own, and top-level names of all others.

    To import a module is to import the packages around it.
    """
    files = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    edges = {}
    for module, path in files.items():
        found = edges.setdefault(module, set())
        for name in imports(path):
            parts = name.split(".")
            known = {whole for end in range(1, len(parts) + 1) if (whole := ".".join(parts[:end])) in files}
            found |= known or {parts[0]}
        # A package is there before its modules, which it may import from, in order, as it starts.
        found -= {module, *(module[:dot] for dot in range(len(module)) if module[dot] == ".")}
    return edges


def reached(edges, module, within):
    """All that a module imports, by way of those whose names begin as said."""
    found, new = set(), {module}
    while new:
        found |= new
        new = set().union(*(edges.get(name, set()) for name in new if name.startswith(within))) - found
    return found


EDGES = graph(ROOT, PACKAGES)


def between(part, of):
    """Which parts each part imports; a part is what ``part`` makes of a module's name."""
    found = {}
    for module, imported in EDGES.items():
        if module.startswith(of) and (own := part(module)):
            others = {part(other) for other in imported if other.startswith(of)}
            found.setdefault(own, set()).update(others - {own, None})
    return found


def test_who_imports_whom():
    assert between(lambda module: module.split(".")[0] if module.split(".")[0] in PACKAGES else None, "") == HOUSE


def test_the_wings_of_the_benchmark():
    assert between(lambda module: (module.split(".") + [None])[1], "benchmarks") == BENCHMARKS


ROOMS = ("rules", "networks", "training", "learning_rate", "reporting", "callbacks", "finishing")
"""Of the package, each of which imports those before it alone. ``inspection`` stands beside them."""


def test_the_rooms_of_the_package():
    arrows = between(lambda module: (module.split(".") + [None])[1], "rl_abel")
    for number, room in enumerate(ROOMS):
        allowed = {*ROOMS[:number], "_validation", "_warnings"}
        # A rule is checked by what all arguments are checked by; numbers and words beside it load nothing.
        assert arrows[room] <= allowed, room
    assert arrows["inspection"] <= {"rules", "networks"}
    assert arrows["torch"] <= {"rules", "networks", "learning_rate", "_validation", "_warnings"}
    assert sum(map(len, arrows.values())) < 45
    entries = {path.name for path in (ROOT / "rl_abel").iterdir() if path.name != "__pycache__"}
    assert len(entries) <= 14
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / "rl_abel").rglob("*.py")}
    assert {path: n for path, n in lines.items() if n > 300} == {}


def test_no_circles():
    order = list(graphlib.TopologicalSorter(EDGES).static_order())
    assert set(EDGES) <= set(order), "an order exists, in which nothing imports what comes after it"


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a": "import p.b", "b": "from p import c", "c": ""}, None),
        ({"a": "import p.b", "b": "from p import c", "c": "from p.a import thing"}, {"p.a", "p.b", "p.c"}),
        ({"a": "def f():\n    from p import b", "b": "import p.a"}, {"p.a", "p.b"}),
        ({"a": "if TYPE_CHECKING:\n    from p import b", "b": "import p.a"}, None),
    ],
)
def test_a_circle_is_found(files, circle, tmp_path):
    (tmp_path / "p").mkdir()
    for name, code in {"__init__": "", **files}.items():
        (tmp_path / "p" / f"{name}.py").write_text(code)
    sorter = graphlib.TopologicalSorter(graph(tmp_path, ["p"]))
    if circle is None:
        sorter.prepare()
    else:
        with pytest.raises(graphlib.CycleError) as found:
            sorter.prepare()
        assert set(found.value.args[1]) == circle


def test_nothing_imports_a_page_but_the_command_that_writes_it():
    for page in PAGES:
        importers = {module for module, imported in EDGES.items() if page in imported}
        assert importers or f"{page}:write_page" in {study.page for study in STUDIES.values()}, page
        assert all(module.endswith("__main__") for module in importers), (page, importers)


@pytest.mark.parametrize("module", sorted(name for name in EDGES if name.startswith(LIGHT) or name in PAGES))
def test_what_needs_no_training_reaches_neither_torch_nor_sb3(module):
    # What agents and envs load only when they make something, test_light_modules_do_not_load_torch tells.
    assert not reached(EDGES, module, "benchmarks") & HEAVY


def test_the_demo_needs_what_its_extra_installs():
    """The first command of README, in an environment that holds nothing else."""
    outside = reached(EDGES, "benchmarks.demo", "benchmarks") - set(EDGES)
    extra = {"matplotlib", "rich", "tqdm", "numpy", "torch", "stable_baselines3"}
    assert outside <= extra | sys.stdlib_module_names


def test_norms_need_torch_alone():
    assert not {"tensorboard", "gymnasium"} & EDGES["rl_abel.networks.norms"]


def test_the_rule_needs_the_standard_library_only():
    assert reached(EDGES, "rl_abel.rules.bounce", "rl_abel") - set(EDGES) <= sys.stdlib_module_names


def test_light_modules_do_not_load_torch():
    modules = ", ".join(["rl_abel", "rl_abel.rules.bounce", "rl_abel._validation", *PAGES])
    code = f"import sys, {modules}; assert not {{'torch', 'stable_baselines3'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_scheduler_needs_no_import_of_its_own():
    code = "import sys, rl_abel; assert 'torch' not in sys.modules; print(rl_abel.torch.AbelScheduler.__name__)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "AbelScheduler\n"


def test_verbose_is_the_last_or_named():
    """Where it stands by position, another argument added later would shift it."""
    for name in rl_abel.__all__:
        made = getattr(rl_abel, name)
        if isinstance(made, type) and issubclass(made, BaseCallback):
            parameters = list(signature_of(made).values())
            [verbose] = [one for one in parameters if one.name == "verbose"]
            assert verbose.kind is verbose.KEYWORD_ONLY or verbose is parameters[-1], name
            assert not [one for one in parameters if one.kind is one.VAR_KEYWORD], name
            missing = [one.name for one in parameters if f":param {one.name}:" not in made.__doc__]
            assert missing == [], name


def test_auto_has_all_arguments_of_both():
    own = set(signature_of(rl_abel.AutoLearningRate))
    assert own == {*signature_of(rl_abel.AbelCallback), *signature_of(rl_abel.KLAdaptiveCallback)}


def signature_of(made):
    return inspect.signature(made).parameters


def test_public_names_are_there():
    assert all(getattr(rl_abel, name) is not None for name in rl_abel.__all__)
    assert set(rl_abel.__all__) <= set(dir(rl_abel))
    with pytest.raises(AttributeError, match="no attribute 'Abel'"):
        rl_abel.Abel  # noqa: B018


def test_no_path_or_host_of_a_machine_is_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    needles = ["/" + folder + "/" for folder in ("home", "root", "work")]
    for name in tracked.stdout.split():
        if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".cff", ".yml", ""}:
            text = (ROOT / name).read_text()
            assert not [needle for needle in needles if needle in text], name
