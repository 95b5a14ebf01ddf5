"""The picture in the tutorial: TensorBoard's page on the tutorial's own first run: ``python -m docs.pictures``."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from pathlib import Path

from tests.browser import Page, open_browser, tensorboard

FOLDER = Path(__file__).parent
PICTURE = FOLDER / "tensorboard.png"

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
    page.resize(1480, 990, scale=1)
    page.go(f"{address}/#custom_scalars&_smoothingWeight=0")
    page.wait_for("ABEL", "|w|² of the policy, over its start", "factor", "Matches (1)")
    outliers = "element.matches('paper-checkbox') && element.textContent.includes('Ignore outliers')"
    page.evaluate(f"{ELEMENTS}.filter(element => {outliers}).forEach(element => element.click())")
    # Axes move for a while.
    before, now = None, b""
    while before != now:
        time.sleep(1)
        page.picture(path)
        before, now = now, path.read_bytes()


def main() -> None:
    """Train, serve the log, open the page, and save what it shows."""
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        # TensorBoard shows the path that it was given.
        with contextlib.chdir(folder), tensorboard(Path("runs")) as address, open_browser(Path(folder)) as page:
            photograph(page, address, PICTURE)


if __name__ == "__main__":
    main()
