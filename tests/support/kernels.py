"""A real Jupyter kernel to talk to: cells in, what a notebook would show out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.page import Page

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
        self.page = Page()
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

    def start(self, code: str, *, allow_stdin: bool = False) -> str:
        """Send a cell and do not wait; return its message id."""
        return str(self._client.execute(code, allow_stdin=allow_stdin))

    def converse(self, code: str, *lines: str) -> Shown:
        """Run a cell to its end, and type these lines one by one where it asks for input."""
        shown, typed = Shown(), iter(lines)
        message_id = self.start(code, allow_stdin=True)
        for message in self._listen(message_id, each_s=0.05):
            if message is None:
                if self._client.stdin_channel.msg_ready():
                    self._client.get_stdin_msg(timeout=PATIENCE_S)
                    self._client.input(next(typed))
                continue
            _take(shown, message["msg_type"], message["content"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        assert next(typed, None) is None, f"not everything was asked for: {shown.text}"
        return self._reply_of(message_id, shown)

    def finish(self, message_id: str) -> Shown:
        """Wait for a cell's end: its reply, and all that it has shown."""
        shown = Shown()
        for message in self._messages_of(message_id):
            _take(shown, message["msg_type"], message["content"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        return self._reply_of(message_id, shown)

    def _reply_of(self, message_id: str, shown: Shown) -> Shown:
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

    def wait_page(self, is_shown: Callable[[Page], bool]) -> None:
        """Wait until the page shows what is looked for, under whichever cell."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_shown(self.page):
            assert time.monotonic() < deadline, "it is not shown"
            with contextlib.suppress(queue.Empty):
                self.page.take(self._client.get_iopub_msg(timeout=1.0))

    def help(self, name: str) -> str:
        """Return what ``name?`` shows."""
        self._client.execute(f"{name}?")
        while True:
            reply = self._client.get_shell_msg(timeout=PATIENCE_S)["content"]
            if payload := reply.get("payload"):
                return _COLOURS.sub("", payload[0]["data"]["text/plain"])

    def complete(self, code: str) -> list[str]:
        """Press TAB where ``|`` stands in the code; return what the line would be with each of what is offered."""
        cursor = code.index("|")
        code = code.replace("|", "", 1)
        reply = self._client.complete(code, cursor, reply=True, timeout=PATIENCE_S)["content"]
        assert reply["cursor_end"] == cursor, reply
        begin = code.rfind("\n", 0, cursor) + 1
        return [code[begin : reply["cursor_start"]] + match for match in reply["matches"]]

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()

    def restart(self, *, now: bool = True) -> None:
        """Restart the kernel: ``now`` kills it, and its session is told nothing; else it exits, as by the menu."""
        self._manager.restart_kernel(now=now)
        self._client.wait_for_ready(timeout=PATIENCE_S)

    def stop(self, *, now: bool = False) -> None:
        """Shut the kernel down; ``now`` kills it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=now)

    def _messages_of(self, message_id: str) -> Iterator[Any]:
        return (message for message in self._listen(message_id, each_s=1.0) if message is not None)

    def _listen(self, message_id: str, *, each_s: float) -> Iterator[Any]:
        """Yield what the cell sends, and None whenever nothing has come for ``each_s``."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                message = self._client.get_iopub_msg(timeout=each_s)
            except queue.Empty:
                yield None
                continue
            self.page.take(message)
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
