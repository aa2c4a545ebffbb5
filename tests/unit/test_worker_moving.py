"""What a terminal would show of lines that move, and where such a block ends."""

from __future__ import annotations

import pytest

from ipyactors.worker import moving
from ipyactors.worker.moving import MovingLines, is_moving

UP = "\x1b[A"


def seen(*texts: str) -> str:
    """Return what is to be seen after these texts, of which none ends the block."""
    block = MovingLines()
    for text in texts:
        assert block.feed(text) == ([], None)
    return str(block)


@pytest.mark.parametrize(("text", "moves"), [("a\n", False), ("a\r\nb\r\n", False), ("\ra", True), ("a\r\n\rb", True)])
def test_only_going_back_is_moving(text: str, moves: bool) -> None:
    assert is_moving(text) is moves


def test_a_line_is_written_over_from_its_start() -> None:
    assert seen("\r 3%") == " 3%"
    assert seen("\rlonger", "\rab") == "abnger"
    assert seen("\rlonger", "\r\x1b[Kab") == "ab"
    assert seen("\rlonger", "\x1b[2K\rab") == "ab"
    assert seen("\r\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"


def test_bars_below_each_other_move_up_and_down() -> None:
    inner = [part for number in range(3) for part in ("\n", f"\rinner {number}", UP)]
    assert seen("\router 0", *inner, "\router 1") == "outer 1\ninner 2"
    assert seen("\router 0", *inner, "\n", "\r       \r", UP, "\router 1") == "outer 1"
    assert seen(UP * 3, "\rtop") == "top"


def test_a_line_that_does_not_go_back_ends_the_block_and_is_given_back() -> None:
    block = MovingLines()
    assert block.feed("\rbar 1\n") == ([], None)
    assert block.feed("do") == ([], None)
    assert block.feed("ne\nmore\r") == (["bar 1"], "done\nmore\r")


def test_a_block_that_stays_does_not_end() -> None:
    block = MovingLines(stays=True)
    assert block.feed("one\ntwo\n") == ([], None)
    assert str(block) == "one\ntwo"


def test_many_lines_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_ROWS_AT_MOST", 4)
    block = MovingLines()
    left = [text for number in range(6) for text in block.feed(f"\rbar {number}\n")[0]]
    assert left == ["bar 0\nbar 1", "bar 2\nbar 3"]
    assert str(block) == "bar 4\nbar 5"
