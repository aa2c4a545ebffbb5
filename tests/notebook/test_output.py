"""What is shown, and how, beside a real kernel: taken over and given back, silenced, bounded."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ipyactors.notebook import cell_quota
from ipyactors.notebook.cell_quota import CellQuota
from ipyactors.notebook.output import CellOutput, Cells
from ipyactors.owner import output as owner_output
from ipyactors.owner import process, scopes
from ipyactors.owner.output import show_in_terminal, show_nothing
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten

HELLO = OutputWritten(1, "f", 1, "hello\nyou\n")


class FakeShell:
    """A kernel's shell; ``sent`` is what it publishes: the kind of message, its content, and its cell."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.display_pub = SimpleNamespace(pub_socket="socket", topic=b"topic", session=self)
        self.cell = "cell 1"

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": self.cell}}

    def send(self, _socket: str, kind: str, content: dict[str, Any], *, parent: dict[str, Any], ident: bytes) -> None:
        self.sent.append((kind, content["data"], parent["msg_id"]))


@pytest.fixture(autouse=True)
def _own_scopes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scopes, "_latest", 0)
    token = scopes._scope.set(0)
    yield
    scopes._scope.reset(token)


@pytest.fixture
def session() -> Iterator[Any]:
    stand_in: Any = SimpleNamespace(on_output=show_in_terminal)
    before = process.session()
    process.set_session(stand_in)
    yield stand_in
    process.set_session(before)
    owner_output.set_front_end(show_in_terminal)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> FakeShell:
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE", raising=False)
    return FakeShell()


def noted(shell: Any, cells: Cells | None = None) -> CellOutput:
    output = CellOutput(shell, cells or Cells())
    output.note_cell()
    return output


def test_a_terminal_has_no_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output = noted(object())
    output.write(OutputWritten(1, "C 'c1'", 2, "oh"))
    output.write(OutputWritten(1, "f", 1, "50%", b"block"))
    output.write(OutputWritten(1, "f", 1, "100%\n", b"block"))
    output.write(DisplayWritten(1, "f", b'{"data":{"text/plain":"<Figure>","image/png":""},"metadata":{}}', "id"))
    captured = capsys.readouterr()
    assert captured.err == "(C 'c1') oh\n"
    assert captured.out == "(f) 100%\n(f) <Figure>\n"


def test_sessions_are_taken_over_and_given_back(session: Any) -> None:
    output = CellOutput(FakeShell(), Cells())
    output.install()
    assert session.on_output == output.write == owner_output.front_end()
    output.release()
    assert session.on_output is show_in_terminal is owner_output.front_end()


def test_a_session_that_shows_nothing_is_left_alone(session: Any) -> None:
    session.on_output = show_nothing
    output = CellOutput(FakeShell(), Cells())
    output.install()
    output.release()
    assert session.on_output is show_nothing


def test_a_bar_is_a_display_that_is_updated_until_it_ends(shell: FakeShell) -> None:
    output = noted(shell)
    for text in ("1%", "2%", "3%\n", "1%"):
        output.write(OutputWritten(1, "f", 2, text, b"block"))
    assert [(kind, data["text/plain"]) for kind, data, _ in shell.sent] == [
        ("display_data", "(f) 1%"),
        ("update_display_data", "(f) 2%"),
        ("update_display_data", "(f) 3%"),
        ("display_data", "(f) 1%"),
    ]


def test_nothing_moves_where_nobody_looks(shell: FakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    output = noted(shell)
    output.write(OutputWritten(1, "f", 2, "1%", b"block"))
    output.write(OutputWritten(1, "f", 2, "2%\n", b"block"))
    assert shell.sent == []


def test_a_cell_shows_so_many_bars_and_the_last_of_the_rest(
    shell: FakeShell, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_quota, "LINES_AT_MOST", 100)
    monkeypatch.setattr(cell_quota, "DISPLAYS_AT_MOST", 2)
    output = noted(shell)
    for number in range(4):
        for text in ("1%", "2%", f"{number} done\n"):
            output.write(OutputWritten(1, "f", 1, text, b"block %d" % number), scopes.current())
    assert [data["text/plain"] for _, data, _ in shell.sent] == [
        *("(f) 1%", "(f) 2%", "(f) 0 done"),
        *("(f) 1%", "(f) 2%", "(f) 1 done"),
    ]
    timers.pass_by()
    assert rests(shell)[6:] == [("display_data", "(f) 3 done")]
    assert output._blocks == {}


def test_lines_that_moved_count_as_lines_when_they_have_come_to_rest(shell: FakeShell, timers: Timers) -> None:
    output = noted(shell)
    output.write(OutputWritten(1, "f", 1, "1%", b"block"), scopes.current())
    output.write(OutputWritten(1, "f", 1, "100%\n", b"block"), scopes.current())
    flood(output, 1)
    output.write(OutputWritten(1, "f", 1, "other bar\n", b"other"), scopes.current())
    timers.pass_by()
    assert [data["text/plain"] for _, data, _ in shell.sent] == ["(f) 1%", "(f) 100%", "(f) 1\n(f) other bar"]


class Timers:
    """Stands in for ``threading.Timer``: what was to be done later is done when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: list[Callable[[], None]] = []
        monkeypatch.setattr("ipyactors.notebook.output.threading.Timer", self._make)

    def _make(self, _seconds: float, do: Callable[..., None], args: tuple[Any, ...]) -> Any:
        return SimpleNamespace(start=lambda: self.due.append(lambda: do(*args)))

    def pass_by(self) -> None:
        due, self.due = self.due, []
        for do in due:
            do()


def flood(output: CellOutput, *numbers: int) -> None:
    for number in numbers:
        output.write(OutputWritten(1, "f", 1, f"{number}\n"), scopes.current())


def rests(shell: FakeShell) -> list[tuple[str, str]]:
    """Return what was shown of what was left out: whether in place of what was before, and the last line of it."""
    return [(kind, data["text/plain"].splitlines()[-1]) for kind, data, _ in shell.sent]


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    monkeypatch.setattr("ipyactors.notebook.cell_quota.LINES_AT_MOST", 1)
    return Timers(monkeypatch)


def test_the_last_lines_of_what_is_left_out_are_shown_while_they_come(shell: FakeShell, timers: Timers) -> None:
    output = noted(shell)
    flood(output, 1, 2, 3)
    timers.pass_by()
    flood(output, 4, 5)
    timers.pass_by()
    timers.pass_by()
    flood(output, 6)
    output.note_end()
    timers.pass_by()
    updates = [("update_display_data", f"(f) {number}") for number in (5, 6)]
    assert rests(shell) == [("display_data", "(f) 3"), *updates]


def test_where_nobody_looks_they_are_shown_once_at_the_end_of_the_cell(
    shell: FakeShell, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    output = noted(shell)
    for numbers in ((1, 2, 3), (4, 5)):
        flood(output, *numbers)
        timers.pass_by()
    assert rests(shell) == []
    output.note_end()
    output.note_end()
    assert rests(shell) == [("display_data", "(f) 5")]


def test_what_comes_after_the_cell_where_nobody_looks_is_shown_when_no_more_comes(
    shell: FakeShell, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    output = noted(shell)
    output.note_end()
    for number in (1, 2, 3, 4):
        flood(output, number)
        timers.pass_by()
        assert rests(shell) == []
        flood(output, 10 + number)
    timers.pass_by()
    timers.pass_by()
    assert rests(shell) == [("display_data", "(f) 14")]


def test_what_is_for_a_cell_that_nobody_remembers_is_dropped(
    shell: FakeShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ipyactors.notebook.output._CELLS_AT_MOST", 1)
    output = noted(shell)
    first = scopes.current()
    shell.cell = "cell 2"
    output.note_cell()
    output.write(HELLO, first)
    assert capsys.readouterr().out == ""
    output.write(HELLO, first + 1)
    assert capsys.readouterr().out == "(f) hello\n(f) you\n"


def test_loaded_again_it_knows_the_cells_from_before(shell: FakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipyactors.notebook.output._CELLS_AT_MOST", 2)
    of_another_shell = scopes.enter()
    cells = Cells()
    noted(shell, cells)
    shell.cell = "cell 2"
    loaded_again = noted(shell, cells)
    written = OutputWritten(1, "f", 1, "50%", b"block")
    loaded_again.write(written, scope=of_another_shell + 1)
    loaded_again.write(written, scope=of_another_shell)
    assert [cell for _, _, cell in shell.sent] == ["cell 1", "cell 2"]
    shell.cell = "cell 3"
    loaded_again.note_cell()
    loaded_again.write(written, scope=of_another_shell + 1)
    assert len(shell.sent) == 2, "forgotten by now"


def test_a_cell_that_runs_itself_as_one_more_keeps_its_streams(
    shell: FakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = noted(shell)
    cells = list(output._cells.by_scope)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    streams = output._streams
    output.note_cell()
    assert list(output._cells.by_scope) == cells
    assert output._streams is streams


# -- how much of it --------------------------------------------------------------------------------------------


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LINES": 3, "BYTES": 40, "DISPLAYS": 2, "DISPLAY_BYTES": 10}.items():
        monkeypatch.setattr(cell_quota, f"{name}_AT_MOST", value)


@pytest.mark.usefixtures("_small")
def test_a_cell_shows_so_many_lines_and_the_last_of_the_rest() -> None:
    quota = CellQuota()
    assert quota.take("1\n2\n") == "1\n2\n"
    assert quota.rest == ""
    assert quota.take("3\n4\n") == "3\n"
    assert quota.rest == "4"
    assert quota.take("".join(f"{number}\n" for number in range(5, 20))) == ""
    note, *last = quota.rest.splitlines()
    assert note.startswith("... 6 more lines are left out here: one cell shows 3. ipyactors.logs(ref or actor) reads")
    assert last == [str(number) for number in range(10, 20)]


@pytest.mark.usefixtures("_small")
def test_a_cell_shows_so_many_bytes() -> None:
    quota = CellQuota()
    assert quota.take("x" * 39 + "\n") != ""
    assert quota.take("y\n") == ""
    assert quota.rest == "y"


@pytest.mark.usefixtures("_small")
def test_a_cell_shows_so_many_displays_of_such_a_size() -> None:
    quota = CellQuota()
    assert [quota.admit_display(4) for _ in range(3)] == [True, True, False]
    assert [CellQuota().admit_display(size) for size in (10, 11)] == [True, False]
    assert quota.rest == "(a display)"
