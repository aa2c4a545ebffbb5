"""What a terminal would show of lines that move, and where such a block ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyactors.worker import lines as lines_module
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


# -- all at once, and anything ---------------------------------------------------------------------------------


def test_many_bars_in_one_text_each_leave_their_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "LINES_PER_S", 10_000)
    words = Lines("f").write("file 50%\rfile 100%\nfile done\n" * 1500, 0.0)
    assert [text for text, _ in words] == ["file 100%\n", "file done\n"] * 1500
    assert len({block_id for _, block_id in words}) == 1501


def test_lines_between_bars_are_sent_together() -> None:
    words = Lines("f").write("\rbar\none\ntwo\nthree\n\rbar\n", 0.0)
    assert [text for text, _ in words] == ["bar\n", "one\ntwo\nthree\n", "bar"]


@pytest.mark.parametrize(
    "text",
    ["\ra\nb\n", "\r", "\ra", "\x1b[A\r", "\r\n\x1b[A", "\r\x1b[K.", "\r\n", "\n\r\n", "\x1b[9A\r\n", "x\x1b[0A\r"],
)
def test_what_a_text_costs_grows_with_its_length(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = 0
    feed = MovingLines.feed

    def feed_counted(block: MovingLines, part: str) -> tuple[list[str], str | None]:
        nonlocal fed
        fed += len(part) + 1
        return feed(block, part)

    monkeypatch.setattr(MovingLines, "feed", feed_counted)
    lines, whole = Lines("f"), "x" * 50_000 + text * 50_000
    lines.write(whole, 0.0)
    assert fed <= 3 * len(whole)
    assert len(str(lines._block)) < 1_000_000


def test_a_long_line_ends_a_block_and_is_whole_but_one_that_moves_is_cut() -> None:
    lines, block, text = Lines("f"), MovingLines(), "x" * moving._COLUMNS_AT_MOST
    assert [text for text, _ in lines.write("\rbar\n", 0.0)] == ["bar"]
    lines.write(text, 0.0)
    assert [text for text, _ in lines.write("y", 0.0)] == ["bar\n"]
    assert lines.write("z\n", 0.0) == [(text + "yz\n", b"")]
    for moves in ("\r", UP, "\n"):
        block.feed(moves + text + "y\x1b[2K\r" + text + "y")
        assert max(map(len, str(block).split("\n"))) == len(text)


def test_no_number_of_lines_to_go_up_is_too_high() -> None:
    assert seen("\rbar\x1b[999A", "\rtop").startswith("top\n")
    Lines("f").write(f"\rbar\x1b[{'9' * 5000}A", 0.0)
    Lines("f").write("\n" * 100_000 + "\r\n" + "\rbar\n" * 10, 0.0)


_MOVING = st.lists(
    st.sampled_from(["a", "bc\n", "\n", "\r", "\r\n", UP, "\x1b[K", "\x1b[2K", "\x1b[12A", "\x1b[", "é"])
)


@given(parts=st.lists(st.one_of(_MOVING.map("".join), st.text())), clears=st.sets(st.integers(0, 5)))
def test_any_text_cut_anywhere_is_taken(parts: list[str], clears: set[int]) -> None:
    lines = Lines("f")
    for index, part in enumerate(parts):
        if index in clears:
            lines.clear()
        lines.write(part, 0.0)
    lines.finish(0.0)
    assert lines.finish(0.0) == []


@given(parts=st.lists(st.text("ab\n é\x1b[K", max_size=20)), ends=st.sampled_from(["\n", "\r\n"]))
def test_text_that_does_not_move_is_whole(parts: list[str], ends: str) -> None:
    lines, whole = Lines("f"), "".join(parts)
    words = [word for part in parts for word in lines.write(part.replace("\n", ends), 0.0)] + lines.finish(0.0)
    assert not any(block_id for _, block_id in words)
    sent = "".join(text for text, _ in words).replace("\r\n", "\n")
    assert sent.removesuffix("\n") == whole.removesuffix("\n")


@given(plain=st.lists(st.text("ab ", min_size=1, max_size=8)), cuts=st.lists(st.integers(1, 30)))
def test_lines_after_a_bar_are_whole_however_they_come(plain: list[str], cuts: list[int]) -> None:
    text = "\r 50%\r100%\n" + "".join(f"{line}.\n" for line in plain)
    lines, words = Lines("f"), []
    for cut in [*cuts, len(text)]:
        words += lines.write(text[:cut], 0.0)
        text = text[cut:]
    words += lines.finish(0.0)
    shown = {block_id: text for text, block_id in words if block_id}
    assert list(shown.values()) == ["100%\n"]
    assert "".join(text for text, block_id in words if not block_id) == "".join(f"{line}.\n" for line in plain)
