"""Where printed text goes: under the cell that runs, whichever thread takes it off the socket."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ipyactors.notebook.output import CellOutput
from ipyactors.owner import process
from ipyactors.owner.output import show_in_terminal, show_nothing
from ipyactors.wire.worker_messages import OutputWritten


class FakeShell:
    """A shell of ipykernel 7.4: it can file one thread's text under a cell."""

    def __init__(self) -> None:
        self.parent = "cell 1"
        self.calls: list[str] = []

    def get_parent(self) -> str:
        return self.parent

    def set_thread_parent(self, parent: str) -> str:
        self.calls.append(f"set {parent}")
        return "token"

    def reset_thread_parent(self, token: str) -> None:
        self.calls.append(f"reset {token}")


@pytest.fixture
def session() -> Iterator[Any]:
    stand_in: Any = SimpleNamespace(on_output=show_in_terminal)
    before = process.session()
    process.set_session(stand_in)
    yield stand_in
    process.set_session(before)


HELLO = OutputWritten(1, "f", 1, "hello\nyou\n")


def test_text_is_printed_on_behalf_of_the_cell_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shell = FakeShell()
    output = CellOutput(shell)
    output.note_cell()
    shell.parent = "a button"
    output.write(HELLO)
    assert capsys.readouterr().out == "(f) hello\n(f) you\n"
    assert shell.calls == ["set cell 1", "reset token"]


def test_errors_go_to_the_other_stream_and_a_terminal_has_no_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output = CellOutput(object())
    output.note_cell()
    output.write(OutputWritten(1, "C 'c1'", 2, "oh"))
    assert capsys.readouterr().err == "(C 'c1') oh\n"


def test_a_session_is_taken_over_at_the_next_cell_and_given_back(session: Any) -> None:
    output = CellOutput(FakeShell())
    output.note_cell()
    assert session.on_output == output.write
    output.release()
    assert session.on_output is show_in_terminal


def test_a_session_that_shows_nothing_is_left_alone(session: Any) -> None:
    session.on_output = show_nothing
    output = CellOutput(FakeShell())
    output.note_cell()
    output.release()
    assert session.on_output is show_nothing
