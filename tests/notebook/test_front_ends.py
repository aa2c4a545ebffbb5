"""Other places where cells run: IPython in a terminal, nbclient, and the version of ipykernel that was asked for."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

#: A busy machine may be slow; nothing is measured here.
PATIENCE_S = 60

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_the_kernel_is_of_the_version_that_was_asked_for() -> None:
    asked = os.environ.get("IPYACTORS_TEST_IPYKERNEL")
    if asked is None:
        pytest.skip("no version was asked for: it is the one that is installed")
    assert importlib.metadata.version("ipykernel") == asked


class Terminal:
    """IPython in a terminal."""

    def __init__(self) -> None:
        arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"]
        self._child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=PATIENCE_S, echo=False)
        self._child.expect(r"In \[\d+\]: ")

    def run(self, *lines: str) -> str:
        """Type lines, the last of which ends the cell; return what was shown until the next prompt."""
        self.type(*lines)
        return self.shown()

    def type(self, *lines: str) -> None:
        """Type lines and do not wait."""
        for line in lines:
            self._child.sendline(line)

    def shown(self) -> str:
        """Return what is shown until the next prompt."""
        self._child.expect(r"In \[\d+\]: ")
        return _CONTROL.sub("", self._child.before)

    def wait_for(self, text: str) -> None:
        """Wait until this is shown."""
        self._child.expect_exact(text)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._child.sendintr()

    def end(self) -> None:
        """Leave, as a user does."""
        self._child.sendline("exit")
        self._child.expect(pexpect.EOF)
        self._child.close()


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    running = Terminal()
    running.run("%load_ext ipyactors")
    running.run("import ipyactors, time; session = ipyactors.init(num_cpus=2)")
    yield running
    running.end()


def test_a_cell_of_a_terminal_defines_prints_and_fails_as_in_a_notebook(terminal: Terminal) -> None:
    defined = terminal.run("%%remote", "def share(x):", "    print('sharing', x)", "    return 1 / x", "", "")
    assert "defined task share" in defined
    assert "0.5" in terminal.run("ipyactors.get(share.remote(2))")
    shown = terminal.run("ipyactors.get(share.remote(0))")
    assert "(share) sharing 0" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "----> 4     return 1 / x" in shown
    assert "/ipyactors/" not in shown


def test_ctrl_c_ends_a_wait_in_a_terminal_and_the_next_cell_works(terminal: Terminal) -> None:
    terminal.run("%%remote", "def wait_long():", "    print('begun')", "    time.sleep(600)", "", "")
    terminal.type("ipyactors.get(wait_long.remote())")
    terminal.wait_for("begun")
    terminal.interrupt()
    assert "KeyboardInterrupt" in terminal.shown()
    assert "0.25" in terminal.run("ipyactors.get(share.remote(4))")


def test_nbclient_runs_cells_with_their_outputs() -> None:
    sources = (
        "%load_ext ipyactors\nimport ipyactors",
        "%%remote\ndef double(x):\n    print('doubling', x)\n    return 2 * x",
        "await double.remote(21)",
        "%actors",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3").execute()
    [printed, value] = notebook.cells[2].outputs
    assert printed["text"] == "(double) doubling 21\n"
    assert value["data"]["text/plain"] == "42"
