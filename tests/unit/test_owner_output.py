"""What a terminal shows of what calls print and display: lines that move stay at the bottom, and their end remains."""

from __future__ import annotations

import io

import pytest

from ipyactors.owner import output
from ipyactors.owner.output import show_in_terminal
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten

ERASE = "\r\x1b[K"


class Screen(io.StringIO):
    """A terminal of 20 columns, or a file."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def take(self) -> str:
        text = self.getvalue()
        self.truncate(0)
        self.seek(0)
        return text


def on(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr(output, "_bars", output._Bars())
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("IPYACTORS_NONINTERACTIVE", raising=False)
    return screen


def move(text: str, block_id: bytes = b"one") -> None:
    show_in_terminal(OutputWritten(1, "f", 2, text, block_id))


def test_a_bar_moves_below_what_is_printed_and_stays_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on(Screen(is_terminal=True), monkeypatch)
    move("1%")
    move("2% " + "#" * 40)
    assert screen.take() == f"{ERASE}(f) 1%{ERASE}(f) 2% ############"
    show_in_terminal(OutputWritten(2, "g", 1, "hello\n"))
    assert screen.take() == f"{ERASE}(g) hello\n{ERASE}(f) 2% ############"
    move("100%\n")
    assert screen.take() == f"{ERASE}(f) 100%\n"
    show_in_terminal(OutputWritten(2, "g", 1, "hello\n"))
    assert screen.take() == "(g) hello\n"


def test_of_several_bars_the_first_is_shown_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on(Screen(is_terminal=True), monkeypatch)
    move("1%")
    screen.take()
    move("5%", b"two")
    assert screen.take() == ""
    move("100%\n")
    assert screen.take() == f"{ERASE}(f) 100%\n{ERASE}(f) 5%"


def test_a_bar_that_stands_still_makes_place_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on(Screen(is_terminal=True), monkeypatch)
    now = 0.0
    monkeypatch.setattr("ipyactors.owner.output.time.monotonic", lambda: now)
    move("1%")
    screen.take()
    now = 11.0
    move("5%", b"two")
    assert screen.take() == f"{ERASE}(f) 5%"


def test_a_file_gets_the_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    file = on(Screen(is_terminal=False), monkeypatch)
    move("1%")
    show_in_terminal(OutputWritten(2, "g", 1, "hello\n"))
    move("100%\n")
    assert file.take() == "(g) hello\n(f) 100%\n"


def test_nothing_moves_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on(Screen(is_terminal=True), monkeypatch)
    monkeypatch.setenv("IPYACTORS_NONINTERACTIVE", "1")
    move("1%")
    move("100%\n")
    assert screen.take() == ""


def test_of_a_display_its_text_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on(Screen(is_terminal=True), monkeypatch)
    bundle = b'{"data":{"image/png":"","text/plain":"<Figure>"},"metadata":{}}'
    show_in_terminal(DisplayWritten(1, "f", bundle, "id"))
    show_in_terminal(DisplayWritten(1, "f", b'{"data":{},"metadata":{}}', "id"))
    assert screen.take() == "(f) <Figure>\n"
