"""Does each extra, alone, in an empty environment, do what it is for? ``python -m tests.check_extras [extra ...]``.

Run before a release (``make extras``), not in CI: for each extra it makes a virtual environment, installs the extra
into it and runs ``tests/uses/<extra>.sh`` there, a minute or more each. Extras joined by commas are installed together
(``bench,mujoco``); ``none`` is the package without any. Needs git and the standard library.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
USES = Path(__file__).with_name("uses")
NONE = "none"


def declared() -> list[str]:
    """Return ``none`` and the extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [NONE, *project["optional-dependencies"]]


def check(extras: str, pinned: bool) -> str:
    """Install extras into an environment of their own and use each.

    :param extras: names joined by commas
    :param pinned: whether to install the versions of constraints.txt, else the newest
    :return: the output of what failed, empty where nothing did
    """
    names = extras.split(",")
    wanted = ",".join(name for name in names if name != NONE)
    with tempfile.TemporaryDirectory(prefix="extras-") as temporary:
        folder = Path(temporary).resolve()
        checkout = _copy(folder / "checkout")
        venv.create(folder / "venv", with_pip=True)
        bin_ = folder / "venv" / "bin"
        # The machine's own packages are not to be found.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environment |= {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        environment |= {"CHECKOUT": str(checkout), "BIN": str(bin_)}
        install = ["pip", "install", "--quiet", "--disable-pip-version-check"]
        install += ["--constraint", str(checkout / "constraints.txt")] if pinned else []
        steps = [([bin_ / "python", "-m", *install, f"{checkout}[{wanted}]" if wanted else str(checkout)], folder)]
        for name in names:
            # Where a use begins there is nothing: it sees the wheel, and goes to the checkout for the rest.
            (folder / name).mkdir()
            steps.append((["sh", "-eux", checkout / "tests" / "uses" / f"{name}.sh"], folder / name))
        for command, place in steps:
            run = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            if run.returncode:
                return f"{run.stdout}{run.stderr}exit status {run.returncode}"
    return ""


def _copy(target: Path) -> Path:
    """Copy what git knows, and what is new, so that nothing is left in the checkout."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def main(arguments: list[str] | None = None) -> int:
    """Check extras, all by default; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.check_extras", description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", default=declared(), help=f"of {', '.join(declared())}; all by default")
    parser.add_argument("--newest", action="store_true", help="the newest versions, not those of constraints.txt")
    given = parser.parse_args(arguments)
    if unknown := [name for extras in given.extras for name in extras.split(",") if name not in declared()]:
        parser.error(f"extras must be of {', '.join(declared())}, got {', '.join(unknown)}")
    if unused := [name for name in declared() if not (USES / f"{name}.sh").is_file()]:
        parser.error(f"what {', '.join(unused)} is for should be in {USES}, as a script")
    failed = False
    for extras in given.extras:
        start = time.perf_counter()
        wrong = check(extras, pinned=not given.newest)
        failed |= bool(wrong)
        print(f"{extras:24} {'FAILS' if wrong else 'works'} {time.perf_counter() - start:5.0f} s", flush=True)
        print(wrong, file=sys.stderr, end="\n" if wrong else "", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
