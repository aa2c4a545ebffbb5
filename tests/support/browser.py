"""Debian's Chromium without a window, driven by its own debugging protocol: open a page, ask it, photograph it.

The protocol is JSON over a WebSocket, so that no driver program and no further dependency is needed
(``websocket-client`` comes with JupyterLab).
"""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import websocket

PATIENCE_S = 90.0

_TICK_S = 0.1

#: What makes Chromium run as root, in a container, without a network of its own.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--window-size=1400,1000",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE_S)
        self._last_id = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; what the page reports meanwhile is dropped."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str) -> None:
        """Go to ``url``; does not wait for it."""
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, what: str) -> Any:
        """Wait until the expression is true in the page; return its value."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):  # the page is being replaced by the next one
                if value := self.ask(expression):
                    return value
            time.sleep(_TICK_S)
        raise AssertionError(f"{what}: not there after {PATIENCE_S:g} s; the page says: {self.ask(_WORDS)[:2000]}")

    def photograph(self, path: pathlib.Path) -> None:
        """Write what the page looks like to a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


_WORDS = "document.body ? document.body.innerText : ''"


@contextlib.contextmanager
def open_browser() -> Iterator[Page]:
    """Start Chromium with a fresh profile; yield its tab; end it and remove the profile."""
    chromium = find_chromium()
    assert chromium is not None
    profile = pathlib.Path(tempfile.mkdtemp(prefix="chromium-"))
    process = subprocess.Popen(
        [chromium, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Page(_find_tab(profile, process))
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(profile, ignore_errors=True)


def _find_tab(profile: pathlib.Path, process: subprocess.Popen[bytes]) -> str:
    """Return the WebSocket address of the first tab, once Chromium has written down its port."""
    deadline = time.monotonic() + PATIENCE_S
    port_file = profile / "DevToolsActivePort"
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            port = port_file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as reply:
                tabs = json.load(reply)
            return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        time.sleep(_TICK_S)
    raise AssertionError(f"Chromium did not start (exit code {process.poll()})")
