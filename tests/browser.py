"""Pages in headless Chromium: through its command line alone, or over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 60
"""Seconds after which what should be there is missing."""

# What a reader sees, as lines: elements that are drawn, the shadow roots of web components included.
VISIBLE_TEXT = """(() => {
  const lines = [];
  const walk = node => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data.trim()) lines.push(node.data.trim().replace(/\\s+/g, ' '));
      return;
    }
    if (node.nodeType === Node.ELEMENT_NODE) {
      if (['SCRIPT', 'STYLE', 'TEMPLATE'].includes(node.tagName)) return;
      if (node.tagName !== 'SLOT' && !node.checkVisibility()) return;
    }
    let inside = (node.shadowRoot || node).childNodes;
    if (node.tagName === 'SLOT' && node.assignedNodes().length) inside = node.assignedNodes();
    inside.forEach(walk);
  };
  walk(document.body);
  return lines.join('\\n');
})()"""


def browser() -> str:
    """Return the command of a Chromium; where there is none the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (.ci/run installs it)")
    return found


def open_page(page, tmp_path, script=""):
    """Return the DOM after the page's scripts and this one have run, and what the console said."""
    copy = tmp_path / "opened.html"
    copy.write_text(page.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8")
    command = [browser(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--dump-dom", copy.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return run.stdout, re.findall(r"CONSOLE.*", run.stderr)


class Page:
    """A page under remote control (the DevTools protocol, over a websocket of tornado's)."""

    def __init__(self, address: str) -> None:
        from tornado.websocket import websocket_connect

        self._loop = asyncio.new_event_loop()
        self._call = 0
        self._socket: Any = self._wait(lambda: websocket_connect(address, max_message_size=2**27))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._call += 1
        message = json.dumps({"id": self._call, "method": method, "params": parameters})
        self._wait(lambda: self._socket.write_message(message))
        while True:
            message = json.loads(self._wait(self._socket.read_message))
            if message.get("id") == self._call:  # others are events
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def go(self, address: str) -> None:
        """Open an address from scratch, even if only its fragment differs from the present one."""
        for where in ("about:blank", address):
            self.call("Page.navigate", url=where)

    def text(self) -> str:
        """Return what can be read, a line for every piece of text."""
        return self.evaluate(f"document.body ? {VISIBLE_TEXT} : ''")

    def wait_for(self, *lines: str, until: Callable[[list[str]], bool] = lambda shown: True) -> list[str]:
        """Return the lines of text as soon as all of these are among them, and they are as ``until`` wants them."""
        deadline = time.monotonic() + PATIENCE
        while (missing := set(lines) - set(shown := self.text().split("\n"))) or not until(shown):
            assert time.monotonic() < deadline, f"{sorted(missing)} not in {shown}" if missing else shown
            time.sleep(0.2)
        return shown

    def wait_until(self, expression: str) -> None:
        """Return as soon as a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.2)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Set the size of the page in CSS pixels, and how many pixels of a picture one of them is."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def picture(self, path: Path) -> None:
        """Save what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Close the connection."""
        self._wait(self._hang_up)
        self._loop.close()

    async def _hang_up(self) -> None:
        self._socket.close()
        while await self._socket.read_message() is not None:
            pass

    def _wait(self, begin: Callable[[], Any]) -> Any:
        async def wait() -> Any:
            return await asyncio.wait_for(begin(), PATIENCE)

        return self._loop.run_until_complete(wait())


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Page]:
    """Start a headless Chromium with a profile of its own below ``folder``, and hand over its page."""
    profile = folder / "profile"
    command = [browser(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        deadline = time.monotonic() + PATIENCE
        while not (told.is_file() and told.read_text().count("\n")):
            assert process.poll() is None, "Chromium has ended"
            assert time.monotonic() < deadline, "Chromium does not say where it listens"
            time.sleep(0.1)
        [port, *_] = told.read_text().split("\n")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            address = next(tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page")
        page = Page(address)
        try:
            yield page
        finally:
            page.close()
    finally:
        process.terminate()
        process.wait(PATIENCE)
        _remove(profile)


def _remove(profile: Path) -> None:
    """Remove a profile. Chromium's children outlive it for a moment, and still write."""
    deadline = time.monotonic() + PATIENCE
    while profile.exists() and time.monotonic() < deadline:
        shutil.rmtree(profile, ignore_errors=True)
        time.sleep(0.1 * profile.exists())


@contextlib.contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """Serve the logs in a folder with TensorBoard, on this machine alone; yields the address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))
    finally:
        process.kill()
        process.communicate()
