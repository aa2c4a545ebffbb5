"""What the user's code prints: whole lines to the right caller, everything to the log, floods bounded."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten
from ipyactors.worker import lines as module
from ipyactors.worker import output as output_module
from ipyactors.worker.call_stream import CallStream
from ipyactors.worker.output import Output

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
    world.output.outlet.greet(A)
    assert world.texts() == [(A, 0, "worker", "early\n")]
    world.output.outlet.greet(B)
    print("late", file=world.stream)
    assert world.texts() == [(B, 0, "worker", "late\n")]


def test_an_actors_lines_bear_its_name() -> None:
    actor = World("Counter 'c1'")
    current.call.set(CurrentCall(A, 0, b"t", "Counter.__init__", b"actor"))
    print("built", file=actor.stream)
    current.call.set(CurrentCall(A, 1, b"t", "Counter.get", b"actor"))
    print("got", file=actor.stream)
    actor.output.outlet.greet(A)
    current.call.set(None)
    assert sorted(actor.texts()) == [(A, 0, "Counter 'c1'", "built\n"), (A, 1, "Counter 'c1'", "got\n")]


def test_a_flood_is_bounded_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 3)
    world.as_call(A, 1)
    for number in range(12):
        print(number, file=world.stream)
    world.now += 1.5
    print("next second", file=world.stream)
    texts = [text for *_, text in world.texts()]
    assert texts[:3] == ["0\n", "1\n", "2\n"]
    note, *last = texts[3].splitlines()
    assert note.startswith("... 4 lines are left out here: over 3 a second. ipyactors.logs(ref or actor) reads")
    assert last == ["7", "8", "9", "10", "11"]
    assert texts[4:] == ["next second\n"]
    assert world.log() == "".join(f"{number}\n" for number in range(12)) + "next second\n"


def test_of_a_small_flood_nothing_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 1)
    world.as_call(A, 1)
    world.stream.write("1\n2\n3\n")
    world.output.end_call(A, 1)
    assert [text for *_, text in world.texts()] == ["1\n", "2\n3\n"]


def test_what_a_flood_has_left_out_is_told_when_its_second_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 1)
    wakes: list[None] = []
    world.output.wake = lambda: wakes.append(None)
    world.as_call(A, 1)
    world.stream.write("1\n2\n")
    assert [text for *_, text in world.texts()] == ["1\n"]
    assert world.output.on_turn(world.now) is not None
    assert world.texts() == []
    world.now += 1
    assert world.output.on_turn(world.now) is not None
    assert [text for *_, text in world.texts()] == ["2\n"]
    assert world.output.on_turn(world.now) is None
    assert wakes == [None]


BAR = b"block001"


@pytest.fixture
def _named_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter((BAR, b"block002", b"block003"))
    monkeypatch.setattr(module.os, "urandom", lambda _size: next(names))


def moves(world: World) -> list[tuple[str, bytes]]:
    sent = [(said.text, said.block_id) for _, said in world.sent]
    world.sent.clear()
    return sent


@pytest.mark.usefixtures("_named_blocks")
def test_a_bar_is_one_block_that_changes_ten_times_a_second_and_its_end_is_sent(world: World) -> None:
    world.as_call(A, 1)
    world.stream.write("start\n")
    for number in range(3):
        world.stream.write(f"\rbar {number}")
    assert moves(world) == [("start\n", b""), ("bar 0", BAR)]
    world.now += 0.2
    assert world.output.on_turn(world.now) is not None
    assert moves(world) == [("bar 2", BAR)]
    world.stream.write("\rbar 3\n")
    world.stream.write("done\n")
    assert moves(world) == [("bar 3\n", BAR), ("done\n", b"")]
    assert world.output.on_turn(world.now) is None


@pytest.mark.usefixtures("_named_blocks")
def test_a_bar_that_the_call_leaves_is_ended_with_it(world: World) -> None:
    world.as_call(A, 1)
    world.stream.write("half\rwhole")
    world.as_call(A, 2)
    world.stream.write("\rother")
    world.output.end_call(A, 1)
    assert moves(world) == [("whole", BAR), ("other", b"block002"), ("whole\n", BAR)]


def shown_lines(world: World) -> int:
    """Return how many lines a page has of all that was sent."""
    blocks = {said.block_id: said.text for _, said in world.sent if said.block_id}
    return sum(text.rstrip("\n").count("\n") + 1 for text in blocks.values()) + sum(
        said.text.count("\n") for _, said in world.sent if not said.block_id
    )


@pytest.mark.parametrize("is_one_text", [False, True])
@pytest.mark.parametrize("is_cleared", [False, True])
def test_a_flood_of_lines_that_move_is_bounded_too(
    is_one_text: bool, is_cleared: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 100)
    world.as_call(A, 1)
    if is_cleared:
        world.output.clear_lines()
    texts = [f"\r{number}\n" for number in range(3000)]
    for text in ["".join(texts)] if is_one_text else texts:
        world.output.write(1, text)
    assert 80 <= shown_lines(world) <= 150
    world.now += 1.5
    world.output.on_turn(world.now)
    assert "lines are left out here: over 100 a second" in world.sent[-1][1].text
    world.output.write(1, "\rnext second\n")
    world.output.end_call(A, 1)
    assert world.sent[-1][1].text.endswith("next second\n")
    assert shown_lines(world) <= 200


def test_bars_that_are_shown_take_their_last_form_in_a_flood(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_PER_S", 5)
    world.as_call(A, 1)
    world.output.write(1, "\r 1%")
    world.as_call(A, 2)
    world.output.write(1, "\r 1%")
    world.output.write(1, "\r100%\n" + "line\n" * 10)
    world.output.end_call(A, 2)
    world.as_call(A, 1)
    world.output.write(1, "\r100%")
    world.output.end_call(A, 1)
    blocks = {said.block_id: said.text for _, said in world.sent if said.block_id}
    assert list(blocks.values()) == ["100%\n", "100%\n"]


@pytest.mark.parametrize("broken", ["feed", "end", "__str__", "__init__"])
def test_lines_that_cannot_be_shown_fail_nobody_and_are_in_the_log(
    broken: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.as_call(A, 1)
    with monkeypatch.context() as patched:
        patched.setattr(module.MovingLines, broken, lambda *_args, **_options: 1 / 0)
        world.stream.write("half\r50%")
        world.stream.write("\rwhole\n")
        world.stream.write("next\n")
        world.output.end_call(A, 1)
    world.sent.clear()
    print("fine", file=world.stream)
    assert world.texts() == [(A, 1, "f", "fine\n")]
    assert world.log() == "half\r50%\rwhole\nnext\nfine\n"


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

    world.output.outlet._send = send
    print("outer", file=world.stream)
    assert sorted(text for *_, text in world.texts()) == ["inner\n", "outer\n"]


# -- displays --------------------------------------------------------------------------------------------------


def test_displays_are_in_order_with_lines_and_updates_are_paced(world: World) -> None:
    world.as_call(A, 1)
    print("above", file=world.stream)
    world.output.display(b"{}", "id", is_update=False)
    for number in range(3):
        world.output.display(b"%d" % number, "id", is_update=True)
    print("below", file=world.stream)
    world.output.end_call(A, 1)
    assert [said for _, said in world.sent] == [
        OutputWritten(1, "f", 1, "above\n"),
        DisplayWritten(1, "f", b"{}", "id"),
        DisplayWritten(1, "f", b"0", "id", is_update=True),
        OutputWritten(1, "f", 1, "below\n"),
        DisplayWritten(1, "f", b"2", "id", is_update=True),
    ]


def test_too_many_displays_are_left_out_and_it_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DISPLAYS_PER_S", 1)
    world.as_call(A, 1)
    for number in range(3):
        world.output.display(b"{}", str(number), is_update=False)
    world.output.end_call(A, 1)
    (_, shown), (_, told) = world.sent
    assert shown.display_id == "0"
    assert told.text == "(a display: more than 1 a second)\n" * 2


def test_a_silent_replay_displays_nothing(world: World) -> None:
    world.as_call(A, 1)
    with world.output.silenced():
        world.output.display(b"{}", "id", is_update=False)
    assert world.sent == []


def test_what_is_to_be_done_at_the_end_of_a_call_is_done_once_and_may_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", world.stream)
    world.as_call(A, 1)
    world.output.at_end(lambda: print("shown", file=world.stream))
    world.output.at_end(lambda: 1 / 0)
    assert world.output.open
    world.output.end_call(A, 1)
    world.output.end_call(A, 1)
    texts = [text for *_, text in world.texts()]
    assert texts[0] == "shown\n"
    assert "".join(texts).count("ZeroDivisionError") == 1
    assert not world.output.open


# -- whose it is -----------------------------------------------------------------------------------------------


@pytest.fixture
def _noted_threads() -> Iterator[None]:
    start = threading.Thread.start
    output_module._note_who_starts_threads()
    yield
    threading.Thread.start = start  # type: ignore[method-assign]


def run_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.usefixtures("_noted_threads")
def test_a_thread_and_those_that_it_starts_print_for_the_call_that_has_started_it(world: World) -> None:
    world.as_call(A, 7)
    world.output.latest = CurrentCall(B, 8, b"t", "later")
    run_thread(lambda: run_thread(lambda: print("deep", file=world.stream)))
    assert world.texts() == [(A, 7, "f", "deep\n")]


@pytest.mark.usefixtures("_noted_threads")
def test_a_pools_thread_prints_for_the_call_that_began_last_while_it_runs(world: World) -> None:
    world.output.outlet.greet(B)
    world.as_call(A, 7)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        world.output.latest = CurrentCall(A, 8, b"t", "later")
        pool.submit(print, "mine", file=world.stream).result()
        world.output.latest.is_over = True
        pool.submit(print, "nobody's", file=world.stream).result()
    assert world.texts() == [(A, 8, "later", "mine\n"), (B, 0, "later", "nobody's\n")]


def test_what_nested_calls_leave_behind_goes_on_to_the_last_caller(world: World) -> None:
    world.output.outlet.greet(B)
    world.output.relay(OutputWritten(5, "nested", 1, "late\n"))
    assert world.texts() == [(B, 0, "nested", "late\n")]


def test_what_an_actor_writes_in_no_call_goes_to_its_creator() -> None:
    world = World("Counter 'c1'")
    world.output.outlet.actor_id = b"actor"
    told: list[Any] = []
    world.output.outlet.tell_creator = told.append
    current.call.set(CurrentCall(A, 0, b"t", "Counter.__init__", b"actor"))
    print("built", file=world.stream)
    current.call.set(None)
    world.output.outlet.greet(B)
    world.output.display(b"{}", "id", is_update=False)
    assert world.sent == []
    assert told == [
        OutputWritten(0, "Counter 'c1'", 1, "built\n", actor_id=b"actor"),
        DisplayWritten(0, "Counter 'c1'", b"{}", "id", actor_id=b"actor"),
    ]


class Found(World):
    """The output of a durable actor, and what its creator is told."""

    def __init__(self) -> None:
        super().__init__("C 'c1'")
        self.told: list[Any] = []
        self.output.outlet.actor_id = b"a" * 16
        self.output.outlet.tell_creator = self.told.append

    def run(self, lsn: int, *texts: str) -> None:
        """Run a call that was found in the log."""
        current.call.set(CurrentCall(b"", lsn, b"call %d" % lsn, "C.m"))
        for text in texts:
            self.output.write(1, text)
        self.output.end_call(b"", lsn)
        current.call.set(None)

    def texts_told(self) -> list[tuple[int, bytes, str]]:
        told = [(said.seq, said.call_id, said.text) for said in self.told]
        self.told.clear()
        return told


@pytest.fixture
def found() -> Iterator[Found]:
    made = Found()
    yield made
    current.call.set(None)
    os.close(made.log_r)
    os.close(made.log_w)


def test_what_a_call_writes_that_is_found_in_the_log_waits_for_its_caller(found: Found) -> None:
    found.run(3, "first\nhalf")
    found.run(4, "other\n")
    found.output.write(1, "of no call\n")
    assert (found.texts(), found.texts_told()) == ([], [(0, b"", "of no call\n")])
    found.output.outlet.claim(b"call 4", B, 2)
    assert found.texts() == [(B, 2, "C 'c1'", "other\n")]
    found.output.outlet.claim(b"call 3", A, 7)
    assert found.texts() == [(A, 7, "C 'c1'", "first\n"), (A, 7, "C 'c1'", "half\n")]
    assert found.output.on_turn(found.now + 100.0) is None
    assert (found.texts(), found.texts_told()) == ([], [])


def test_what_it_writes_when_its_caller_is_back_goes_to_him(found: Found) -> None:
    found.output.outlet.claim(b"call 3", A, 7)
    found.run(3, "live\n")
    assert found.texts() == [(A, 7, "C 'c1'", "live\n")]


def test_what_nobody_comes_for_is_shown_by_the_creator_after_a_second(found: Found) -> None:
    woken: list[bool] = []
    found.output.wake = lambda: woken.append(True)
    found.run(3, "first\n")
    assert woken == [True]
    found.now += 0.9
    found.run(3, "second\n")
    assert found.output.on_turn(found.now) is not None
    assert found.texts_told() == []
    assert found.output.on_turn(found.now + 0.1) is not None
    assert found.texts_told() == [(0, b"call 3", "first\n")]
    found.output.end_all()
    assert found.texts_told() == [(0, b"call 3", "second\n")]
    assert found.output.on_turn(found.now + 0.1) is None
    assert found.texts() == []


def test_too_much_does_not_wait(found: Found) -> None:
    line = "x" * 60_000 + "\n"
    found.run(3, *[line] * 18)
    assert [text for *_, text in found.texts_told()] == [line] * 18


def test_lines_of_calls_that_were_found_side_by_side_do_not_mix(found: Found) -> None:
    for lsn in (3, 4):
        current.call.set(CurrentCall(b"", lsn, b"call %d" % lsn, "C.m"))
        found.output.write(1, f"half of {lsn}")
    current.call.set(None)
    found.output.end_call(b"", 4)
    found.output.end_call(b"", 3)
    for lsn in (3, 4):
        found.output.outlet.claim(b"call %d" % lsn, A, lsn)
    assert [(seq, text) for _, seq, _, text in found.texts()] == [(3, "half of 3\n"), (4, "half of 4\n")]


def test_what_its_nested_calls_write_waits_too(found: Found) -> None:
    found.output.relay(OutputWritten(0, "nested", 1, "within\n", call_id=b"call 3"))
    found.output.relay(OutputWritten(0, "nested", 1, "of the constructor\n"))
    assert found.texts_told() == [(0, b"", "of the constructor\n")]
    found.output.outlet.claim(b"call 3", A, 7)
    assert found.texts() == [(A, 7, "nested", "within\n")]


def test_what_it_displays_waits_too(found: Found) -> None:
    current.call.set(CurrentCall(b"", 3, b"call 3", "C.m"))
    found.output.write(1, "above\n")
    found.output.display(b"{}", "id", is_update=False)
    found.output.outlet.claim(b"call 3", A, 7)
    assert [type(said) for _, said in found.sent] == [OutputWritten, DisplayWritten]
    assert found.sent[1][1].seq == 7


def test_few_writers_are_kept_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "_OPEN_AT_MOST", 2)
    for seq in (1, 2, 3):
        world.as_call(A, seq)
        world.stream.write("half")
    assert [seq for _, seq, *_ in world.texts()] == [1]
    assert len(world.output.open) == 2
