"""Who may import whom, and what stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = {"rl_abel", "agents", "envs", "benchmarks", "tests"}

# What each module may import of the house, of torch and of SB3; a prefix stands for all below it.
FORBIDDEN = {
    "rl_abel": HOUSE - {"rl_abel"},
    "agents": {"envs", "benchmarks", "tests"},
    "envs": {"agents", "benchmarks", "tests"},
    "benchmarks": {"tests"},
    "benchmarks/statistics.py": {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"},
    "benchmarks/equivalence.py": {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"},
    "benchmarks/report": {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"},
    "benchmarks/results.py": {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"},
    "rl_abel/norms.py": {"tensorboard", "gymnasium"},
}


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def modules():
    for package in sorted(HOUSE - {"tests"}):
        yield from sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_who_imports_whom(path):
    name = path.relative_to(ROOT).as_posix()
    forbidden = set().union(*(names for prefix, names in FORBIDDEN.items() if name.startswith(prefix)))
    imported = {module.partition(".")[0] for module in imports(path)}
    assert not imported & forbidden


def test_the_rule_needs_the_standard_library_only():
    imported = {module.partition(".")[0] for module in imports(ROOT / "rl_abel/rule.py")}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("module", ["rl_abel", "rl_abel.rule", "rl_abel.checks"])
def test_light_modules_do_not_load_torch(module):
    code = f"import sys, {module}; assert not {{'torch', 'stable_baselines3'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there():
    import rl_abel

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
