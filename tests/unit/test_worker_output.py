"""What the user's code prints: whole lines to the right caller, everything to the log, floods bounded."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.worker_messages import OutputWritten
from ipyactors.worker import output as module
from ipyactors.worker.output import CallStream, Output

A, B = b"d1234567", b"w7654321"


class World:
    """An output, a stream over a pipe in place of the log, a clock, and what was sent."""

    def __init__(self, source: str = "") -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.now = 10.0
        self.output = Output(lambda peer, message: self.sent.append((peer, message)), source, lambda: self.now)
        self.log_r, log_w = os.pipe()
        self.stream = CallStream(self.output, 1, log_w)
        self.log_w = log_w

    def as_call(self, caller: bytes, seq: int, name: str = "f") -> None:
        current.call.set(CurrentCall(caller, seq, b"t", name))

    def texts(self) -> list[tuple[bytes, int, str, str]]:
        sent = [(peer, said.seq, said.source, said.text) for peer, said in self.sent]
        self.sent.clear()
        return sent

    def log(self) -> str:
        return os.read(self.log_r, 1 << 20).decode()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    current.call.set(None)
    # What a stream still holds is written when it is collected, and its descriptor's number has another use by then.
    made.stream.flush()
    os.close(made.log_r)
    os.close(made.log_w)


def test_lines_go_to_the_caller_whose_call_prints(world: World) -> None:
    world.as_call(A, 1)
    print("one", 2, file=world.stream)
    world.as_call(B, 5, "g")
    print("three", file=world.stream)
    assert world.texts() == [(A, 1, "f", "one 2\n"), (B, 5, "g", "three\n")]
    assert world.log() == "one 2\nthree\n"


def test_parts_of_lines_of_two_calls_do_not_mix(world: World) -> None:
    world.as_call(A, 1)
    world.stream.write("a")
    world.as_call(A, 2)
    world.stream.write("b\nc")
    world.as_call(A, 1)
    world.stream.write("A\n")
    assert world.texts() == [(A, 2, "f", "b\n"), (A, 1, "f", "aA\n")]
    world.output.end_call(A, 2)
    assert world.texts() == [(A, 2, "f", "c\n")]
    world.output.end_call(A, 2)
    assert world.texts() == []
    world.output.end_all()
    assert world.output.open == {}


def test_without_a_call_the_last_caller_gets_it(world: World) -> None:
    print("early", file=world.stream)
    assert world.texts() == []
    world.output.greet(A)
    assert world.texts() == [(A, 0, "worker", "early\n")]
    world.output.greet(B)
    print("late", file=world.stream)
    assert world.texts() == [(B, 0, "worker", "late\n")]


def test_an_actors_lines_bear_its_name() -> None:
    actor = World("Counter 'c1'")
    current.call.set(CurrentCall(A, 0, b"t", "Counter.__init__", b"actor"))
    print("built", file=actor.stream)
    current.call.set(CurrentCall(A, 1, b"t", "Counter.get", b"actor"))
    print("got", file=actor.stream)
    actor.output.greet(A)
    current.call.set(None)
    assert sorted(actor.texts()) == [(A, 0, "Counter 'c1'", "built\n"), (A, 1, "Counter 'c1'", "got\n")]


def test_a_flood_is_bounded_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 3)
    world.as_call(A, 1)
    for number in range(5):
        print(number, file=world.stream)
    world.now += 1.5
    print("next second", file=world.stream)
    texts = [text for *_, text in world.texts()]
    assert texts[:3] == ["0\n", "1\n", "2\n"]
    assert texts[3].startswith("... 2 more lines are only in the worker's log")
    assert texts[4:] == ["next second\n"]
    assert world.log() == "0\n1\n2\n3\n4\nnext second\n"


def test_what_a_flood_left_out_is_told_at_the_end_of_the_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 1)
    world.as_call(A, 1)
    world.stream.write("1\n2\n3\n")
    world.output.end_call(A, 1)
    assert [text[:14] for *_, text in world.texts()] == ["1\n", "... 2 more lin"]


def test_a_long_line_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_AT_MOST", 10)
    world.as_call(A, 1)
    world.stream.write("x" * 12 + "\n")
    world.stream.write("y" * 12)
    assert [text for *_, text in world.texts()] == [
        "xxxxxxxxxx... [cut: the line has 12 characters]\n",
        "yyyyyyyyyy... [cut: the line has 12 characters]\n",
    ]


def test_logging_and_odd_characters_pass(world: World) -> None:
    world.as_call(A, 1)
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(world.stream))
    logger.warning("careful \udc80 ü")
    assert world.texts() == [(A, 1, "f", "careful \\udc80 ü\n")]
    assert world.log() == "careful \\udc80 ü\n"


def test_it_looks_like_a_text_file(world: World) -> None:
    stream = world.stream
    assert (stream.encoding, stream.isatty(), stream.writable(), stream.fileno()) == ("utf-8", False, True, world.log_w)
    with pytest.raises(TypeError, match="must be str"):
        stream.write(b"x")  # type: ignore[arg-type]
    stream.write("kept")
    stream.flush()
    assert world.log() == "kept"
    stream.buffer.write(b"raw")
    assert world.log() == "raw"
    stream.close()
    assert not stream.closed


def test_a_forked_child_writes_to_the_log_only(world: World) -> None:
    world.as_call(A, 1)
    world.output._after_fork()
    print("child", file=world.stream)
    assert world.texts() == []
    assert world.log() == "child\n"


def test_a_finalizer_that_prints_while_printing_is_harmless(world: World) -> None:
    world.as_call(A, 1)

    def send(peer: bytes, message: OutputWritten) -> None:
        if message.text == "outer\n":
            print("inner", file=world.stream)
        world.sent.append((peer, message))

    world.output._send = send
    print("outer", file=world.stream)
    assert sorted(text for *_, text in world.texts()) == ["inner\n", "outer\n"]
