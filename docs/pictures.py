"""Pictures of pages, taken in a headless Chromium, and of a run: ``python -m docs.pictures [tensorboard] …``."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.drawing import small
from benchmarks.report.page import write
from benchmarks.results import FIRST_STUDY, read_parquet
from docs import bouncing_run
from rl_abel.inspection.cli import main as inspect_runs
from tests.browser import Page, open_browser, tensorboard

FOLDER = Path(__file__).parent
SHOWN = ("CartPole-v1", "Pendulum-v1")
"""Environments of the report in the picture; more have no room on a screen."""

# Every element of the page, those in shadow roots included.
ELEMENTS = """(() => {
  const found = [];
  const walk = element => {
    found.push(element);
    [...(element.shadowRoot ? element.shadowRoot.children : []), ...element.children].forEach(walk);
  };
  walk(document.body);
  return found;
})()"""


def train(folder: Path) -> None:
    """Run the first block of code of the tutorial; its log goes into ``folder/runs``."""
    [code, *_] = re.findall(r"^```python\n(.*?)^```$", (FOLDER / "tutorial.md").read_text(), re.DOTALL | re.MULTILINE)
    with contextlib.chdir(folder):
        exec(compile(code, "tutorial.md", "exec"), {"__name__": "__main__"})


def photograph(page: Page, address: str, path: Path) -> None:
    """Open the dashboard, let the axes hold all points, and save what is seen."""
    page.resize(1180, 760, scale=1)
    page.go(f"{address}/#custom_scalars&_smoothingWeight=0")
    page.wait_for("ABEL", "learning rate", "factor", "Matches (2)")
    outliers = "element.matches('paper-checkbox') && element.textContent.includes('Ignore outliers')"
    page.evaluate(f"{ELEMENTS}.filter(element => {outliers}).forEach(element => element.click())")
    # Axes move for a while.
    before, now = None, b""
    while before != now:
        time.sleep(1)
        page.picture(path)
        before, now = now, path.read_bytes()


def picture_tensorboard(path: Path) -> None:
    """TensorBoard's page on the tutorial's own first run."""
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        # TensorBoard shows the path that it was given.
        with contextlib.chdir(folder), tensorboard(Path("runs")) as address, open_browser(Path(folder)) as page:
            photograph(page, address, path)


def picture_report(path: Path) -> None:
    """The first screen of the benchmark's report on published runs of PPO, without those of the tuning."""
    results = read_parquet(FIRST_STUDY)
    runs = results.runs
    shown = (runs["agent"] == "PPO") & runs["env_id"].isin(SHOWN) & (runs["seed"] < 1000)
    with tempfile.TemporaryDirectory() as folder:
        report = write(
            replace(results, runs=runs[shown]), Path(folder), title="Benchmark: PPO on CartPole and Pendulum"
        )
        with open_browser(Path(folder)) as page:
            page.resize(1120, 780, scale=1)
            page.go(report.page.as_uri())
            page.wait_for(*report.answers)
            page.evaluate("document.body.style.overflow = 'hidden'")
            page.picture(path)


def picture_inspect(path: Path) -> None:
    """The page of ``rl-abel inspect --html`` on two trainings as the tutorial's, the first one open."""
    with tempfile.TemporaryDirectory() as folder:
        runs, page_path = Path(folder) / "runs", Path(folder) / "runs.html"
        for seed in range(2):
            bouncing_run.train(runs, seed=seed)
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            inspect_runs(["inspect", "runs", "--html", page_path.name])
        with open_browser(Path(folder)) as page:
            page.resize(1160, 900, scale=1)
            page.go(page_path.as_uri())
            page.wait_until("document.querySelectorAll('tbody button').length === 2")
            page.evaluate("document.querySelector('tbody button').click()")
            page.evaluate("document.body.style.overflow = 'hidden'")
            page.picture(path)


def picture_bounce(path: Path) -> None:
    """Weight norms, return and learning rate of the tutorial's first run."""
    with tempfile.TemporaryDirectory() as folder:
        bouncing_run.picture(path, bouncing_run.train(Path(folder)))


PICTURES: dict[str, Callable[[Path], None]] = {
    "tensorboard": picture_tensorboard,
    "report": picture_report,
    "inspect": picture_inspect,
    "bounce": picture_bounce,
}


def main(names: Sequence[str]) -> None:
    """Take the named pictures, or all."""
    for name in names or PICTURES:
        path = (FOLDER / f"{name}.png").resolve()
        PICTURES[name](path)
        path.write_bytes(small(path.read_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
