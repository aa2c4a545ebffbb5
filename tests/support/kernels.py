"""A real Jupyter kernel to talk to: cells in, what a notebook would show out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import re
import time
from collections.abc import Iterator
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

#: A busy machine may be slow; nothing is measured here.
PATIENCE_S = 60.0

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclasses.dataclass(slots=True)
class Shown:
    """What one cell has shown. ``text`` is what was printed, ``result`` the text of its last value.

    ``number`` is the one that a notebook shows beside the cell, as in ``In [3]``.
    """

    number: int = 0
    status: str = ""
    text: str = ""
    result: str = ""
    error_name: str = ""
    error_text: str = ""
    traceback: str = ""
    mimetypes: list[str] = dataclasses.field(default_factory=list)


class Kernel:
    """One kernel, started from the Python that runs the tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env={**os.environ, **environment})
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE_S)

    @property
    def pid(self) -> int:
        """The kernel's process id."""
        return int(self._manager.provisioner.process.pid)  # type: ignore[union-attr]

    def run(self, code: str) -> Shown:
        """Run a cell to its end."""
        return self.finish(self.start(code))

    def check(self, code: str) -> Shown:
        """Run a cell that must not fail."""
        shown = self.run(code)
        assert shown.status == "ok", shown.traceback or shown.text
        return shown

    def start(self, code: str) -> str:
        """Send a cell and do not wait; return its message id."""
        return str(self._client.execute(code))

    def finish(self, message_id: str) -> Shown:
        """Wait for a cell's end: its reply, and all that it has shown."""
        shown = Shown()
        for message in self._messages_of(message_id):
            _take(shown, message["msg_type"], message["content"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while True:
            reply = self._client.get_shell_msg(timeout=PATIENCE_S)
            if reply["parent_header"].get("msg_id") == message_id:
                shown.status = reply["content"]["status"]
                if shown.status == "error":
                    shown.error_name, shown.error_text = reply["content"]["ename"], reply["content"]["evalue"]
                return shown

    def wait_printed(self, message_id: str, text: str) -> None:
        """Wait until the cell has printed ``text``."""
        printed = ""
        for message in self._messages_of(message_id):
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if text in printed:
                return

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()

    def restart(self) -> None:
        """Restart the kernel as the menu does; its session is told nothing."""
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=PATIENCE_S)

    def stop(self, *, now: bool = False) -> None:
        """Shut the kernel down; ``now`` kills it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=now)

    def _messages_of(self, message_id: str) -> Iterator[Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                message = self._client.get_iopub_msg(timeout=1.0)
                if message["parent_header"].get("msg_id") == message_id:
                    yield message
        raise AssertionError(f"the cell was not finished after {PATIENCE_S:g} s")


def _take(shown: Shown, kind: str, content: dict[str, Any]) -> None:
    if kind == "execute_input":
        shown.number = content["execution_count"]
    elif kind == "stream":
        shown.text += content["text"]
    elif kind in {"execute_result", "display_data"}:
        shown.mimetypes += content["data"]
        shown.result = content["data"].get("text/plain", "")
    elif kind == "error":
        shown.traceback = _COLOURS.sub("", "\n".join(content["traceback"]))


@contextlib.contextmanager
def running_kernel(environment: dict[str, str] | None = None) -> Iterator[Kernel]:
    """Start a kernel; stop it at the end, whatever happened."""
    kernel = Kernel(environment or {})
    try:
        yield kernel
    finally:
        kernel.stop()
