"""What a terminal would show of lines that move, and where such a block ends."""

from __future__ import annotations

import pytest

from ipyactors.worker import moving
from ipyactors.worker.lines import Lines
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


def test_a_bar_below_those_of_others_stays_in_its_place() -> None:
    """The other bars of the process are other calls', so what is above this one is not written here."""
    block = MovingLines(above=2)
    updates = [part for number in range(1, 4) for part in ("\n\n", f"\rbar {number}", UP, UP)]
    block.feed("\rbar 0")
    for text in (UP, UP, *updates):
        assert block.feed(text) == ([], None)
        assert str(block).startswith("bar ")
    assert str(block) == block.end() == "bar 3"
    assert seen("\rbar 0", UP, "\n", "\rbar 1", UP) == "bar 1"


def test_a_bar_that_is_left_where_the_cursor_was_is_seen_once_in_the_end() -> None:
    block = MovingLines(above=1)
    for text in ("\r 0%", UP, "\n", "\r99%", UP, "\r100%", "\n"):
        assert block.feed(text) == ([], None)
    assert block.end() == "100%"
    assert block.feed("now\n") == (["100%"], "now\n")


def test_what_is_below_the_cursor_counts_while_a_bar_moves_there() -> None:
    block = MovingLines()
    for text in ("\router", "\n", "\rinner", UP):
        block.feed(text)
    assert block.end() == "outer\ninner"


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


def test_empty_lines_wait_for_what_comes_after_them() -> None:
    lines = Lines("f")
    assert lines.write("\n", 0.0) == lines.write("\n", 0.0) == []
    assert lines.write("text\n", 0.0) == [("\n\ntext\n", b"")]
    assert [text for part in ("\n", "\rbar", UP) for text, _ in lines.write(part, 0.0)] == ["\nbar", "bar"]
    assert [text for text, _ in lines.finish(0.0)] == ["bar\n"]
    assert lines.write("\n" * 20, 0.0) == []
    assert lines.write("\n", 0.0) == [("\n" * 21, b"")]
    lines.write("\n", 0.0)
    assert lines.finish(0.0) == [("\n", b"")]


def test_what_is_printed_before_a_bar_is_passed_on_and_the_empty_lines_are_kept() -> None:
    lines = Lines("f")
    (printed, _), (block, block_id) = lines.write("one\ntwo\n\n\rbar", 0.0)
    assert (printed, block) == ("one\ntwo\n", "\nbar")
    assert block_id
