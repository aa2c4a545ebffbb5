"""What others write into a worker's log is found, in order, whatever happens to the log, and shown as prints are."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.worker import log_file as module
from ipyactors.worker.call_stream import CallStream
from ipyactors.worker.log_file import LogFile
from ipyactors.worker.output import Output

A, B = b"d1234567", b"w7654321"


class World:
    """A log with an output over it; ``descriptor`` stands for the process's 1 and 2."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.log = LogFile(str(path))
        self.sent: list[tuple[bytes, Any]] = []
        self.now = 10.0
        self.output = Output(lambda peer, message: self.sent.append((peer, message)), "", lambda: self.now)
        self.output.log = self.log
        self.stream = CallStream(self.output, 1, self.descriptor)

    def other(self, text: str | bytes) -> None:
        """Write as a program does that the user's code has started."""
        os.write(self.descriptor, text.encode() if isinstance(text, str) else text)

    def begin(self, seq: int, caller: bytes = A) -> CurrentCall:
        call = CurrentCall(caller, seq, b"t", f"f{seq}")
        current.call.set(call)
        self.output.latest = call
        return call

    def found(self) -> str:
        return "".join(text for text, _ in self.log.take())

    def texts(self) -> list[tuple[bytes, int, str]]:
        sent = [(peer, said.seq, said.text) for peer, said in self.sent]
        self.sent.clear()
        return sent

    def close(self) -> None:
        current.call.set(None)
        self.stream.flush()  # when it is collected, its descriptor's number has another use
        for descriptor in (self.descriptor, self.log._writing, self.log._reading):
            os.close(descriptor)


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    made = World(tmp_path / "log")
    yield made
    made.close()


# -- the log ---------------------------------------------------------------------------------------------------


def test_what_is_its_own_is_not_found(world: World) -> None:
    world.log.append(b"own\n")
    assert not world.log.has_grown()
    assert world.found() == ""
    assert world.path.read_text() == "own\n"


def test_what_was_there_before_is_not_found(world: World) -> None:
    world.other("old\n")
    assert LogFile(str(world.path)).take() == []


def test_between_its_own_all_else_is_found_once(world: World) -> None:
    for number in range(3):
        world.other(f"other {number}\n")
        world.log.append(b"own\n")
        world.log.append(b"own\n")
    world.other("last\n")
    assert world.log.has_grown()
    assert world.found() == "other 0\nother 1\nother 2\nlast\n"
    assert not world.log.has_grown()
    assert world.found() == ""
    world.log.append(b"own\n")
    world.other("more\n")
    assert world.found() == "more\n"


def test_a_character_may_come_in_two_halves_and_no_text_at_all_is_shown_as_it_is(world: World) -> None:
    world.other(b"\xc3")
    assert world.found() == ""
    world.other(b"\xa4\xff\n")
    assert world.found() == "ä\\xff\n"


def test_a_log_that_was_cut_is_followed_from_there(world: World) -> None:
    world.other("much text\n")
    assert world.found() == "much text\n"
    os.truncate(world.path, 0)
    assert world.found() == ""
    world.other("new\n")
    assert world.found() == "new\n"
    os.truncate(world.path, 0)
    world.log.append(b"own\n")
    assert world.found() == ""
    world.other("newer\n")
    assert world.found() == "newer\n"


def test_of_very_much_the_middle_is_counted_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_AT_MOST", 10)
    world.other("0\n" * 25)
    assert world.log.take() == [("0\n" * 5 + "\n", 14), ("0\n" * 5, 0)]


def test_a_full_disk_fails_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", full)
        world.log.append(b"lost\n")
    world.log.append(b"own\n")
    assert world.path.read_text() == "own\n"
    assert world.found() == ""


def test_a_finalizer_that_prints_while_the_log_is_written_is_harmless(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def interrupted(descriptor: int, data: Any) -> int:
        count = write(descriptor, data)
        if bytes(data) == b"outer\n":
            world.log.append(b"inner\n")
        return count

    monkeypatch.setattr(module.os, "write", interrupted)
    world.log.append(b"outer\n")
    assert world.path.read_text() == "outer\ninner\n"
    assert world.found() == ""


# -- whose it is -----------------------------------------------------------------------------------------------


def test_it_comes_in_order_with_what_is_printed(world: World) -> None:
    world.begin(1)
    print("one", file=world.stream)
    world.other("two\n")
    print("three", file=world.stream)
    world.other("four\n")
    world.stream.write("five ")
    world.other("six\n")
    world.output.display(b"{}", "id", is_update=False)
    world.other("seven")
    world.output.look()
    world.output.end_call(A, 1)
    shown = [getattr(said, "text", "(display)") for _, said in world.sent]
    assert shown == ["one\n", "two\n", "three\n", "four\n", "five six\n", "(display)", "seven\n"]


def test_it_is_of_the_call_that_began_last_of_those_that_run(world: World) -> None:
    first, second = world.begin(1), world.begin(2)
    first.thread = second.thread = 1
    world.output.running = {(A, 1): first, (A, 2): second, (A, 3): CurrentCall(A, 3, b"t", "waits")}
    world.other("two\n")
    current.call.set(first)
    print("mine", file=world.stream)
    assert world.texts() == [(A, 2, "two\n"), (A, 1, "mine\n")]
    second.is_over = True
    world.output.running = {(A, 1): first}
    world.other("one\n")
    world.output.look()
    assert world.texts() == [(A, 1, "one\n")]
    first.is_over = True
    world.output.running = {}
    world.output.outlet.greet(B)
    world.other("left behind\n")
    world.output.look()
    assert world.texts() == [(A, 2, "left behind\n")]


def test_what_is_there_when_a_call_begins_is_of_those_before(world: World) -> None:
    before = world.begin(1)
    before.is_over = True
    world.other("left behind\n")
    new = CurrentCall(A, 2, b"t", "f2")
    new.thread = 1
    world.output.running = {(A, 2): new}
    world.output.begin_call(new, world.now)
    world.other("new\n")
    world.output.look()
    assert world.texts() == [(A, 1, "left behind\n"), (A, 2, "new\n")]


def test_a_constructors_programs_go_on_in_no_calls_name_until_there_is_one(world: World) -> None:
    world.output.outlet.greet(B)
    world.begin(0).is_over = True
    world.other("built\n")
    world.output.look()
    assert world.texts() == [(B, 0, "built\n")]


def test_a_turn_finds_it_and_another_is_wanted_while_calls_run_and_for_a_while_after(world: World) -> None:
    assert world.output.on_turn(world.now) is None
    assert world.output.on_turn(world.now, is_busy=True) is not None
    world.begin(1)
    world.other("one\n")
    assert world.output.on_turn(world.now, is_busy=True) is not None
    assert world.texts() == [(A, 1, "one\n")]
    assert world.output.on_turn(world.now + 9) is not None
    assert world.output.on_turn(world.now + 11) is None


def test_a_flood_is_bounded_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_AT_MOST", 30_000)
    world.begin(1)
    world.other("".join(f"{number:05}\n" for number in range(100_000)))
    world.output.look()
    world.output.end_call(A, 1)
    text = "".join(text for *_, text in world.texts())
    assert text.startswith("00000\n00001\n")
    assert text.endswith("99998\n99999\n")
    lines = text.splitlines()
    assert len(lines) == 2006
    assert "... 97,995 lines are left out here" in lines[2000]


def test_a_silent_replay_shows_nothing(world: World) -> None:
    world.begin(1)
    world.other("before\n")
    with world.output.silenced():
        world.other("again\n")
        world.output.on_turn(world.now)
        world.other("and again\n")
    world.other("after\n")
    world.output.look()
    assert world.texts() == [(A, 1, "before\n"), (A, 1, "after\n")]


def test_who_puts_something_else_in_the_place_of_the_log_has_his_prints_there(
    world: World, tmp_path: pathlib.Path
) -> None:
    world.begin(1)
    kept = os.dup(world.descriptor)
    with (tmp_path / "other").open("w") as other:
        os.dup2(other.fileno(), world.descriptor)
        print("there", file=world.stream)
        world.other("there too\n")
    os.dup2(kept, world.descriptor)
    os.close(kept)
    print("here", file=world.stream)
    world.output.look()
    assert (tmp_path / "other").read_text() == "there\nthere too\n"
    assert world.path.read_text() == "here\n"
    assert world.texts() == [(A, 1, "there\n"), (A, 1, "here\n")]


def test_a_forked_child_leaves_the_position_alone_that_tells_what_is_whose(world: World) -> None:
    world.begin(1)
    pid = os.fork()
    if pid == 0:
        try:
            world.output._after_fork()
            print("child", file=world.stream)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    print("parent", file=world.stream)
    assert world.texts() == [(A, 1, "child\n"), (A, 1, "parent\n")]
