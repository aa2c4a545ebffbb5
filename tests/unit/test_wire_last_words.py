"""What a worker sent last outlives it, with who was to get it, and is shown once, for the call that wrote it."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from ipyactors.ground.config import SessionPaths
from ipyactors.node.children import Child, Evidence, compose_death
from ipyactors.node.evidence import Coroner, OomCounter, unsent
from ipyactors.owner import scopes
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.state import OwnerState
from ipyactors.wire.deaths import without_words
from ipyactors.wire.head_messages import LeaseLost, WorkerLost
from ipyactors.wire.last_words import ROOM_BYTES, LastWords, Words, read
from ipyactors.wire.marks import Marks, last_begun, log_sent, read_words
from ipyactors.wire.node_messages import ForkWorker
from ipyactors.wire.specs import ActorSpec, Death, Definition, LossReason, Payload
from ipyactors.wire.worker_messages import OutputWritten
from ipyactors.worker.call_stream import CallStream
from ipyactors.worker.log_file import LogFile
from ipyactors.worker.output import Output
from tests.support.owner_scenario import OwnerScenario

A, B = b"d1234567", b"w7654321"
W1 = b"wworker1"
ME = OwnerScenario().state.owner_id


def written(seq: int, text: str) -> OutputWritten:
    return OutputWritten(seq, "f", 1, text)


# -- the room ------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_read_in_order_with_its_readers(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "m")
    assert read_words(path) == []
    marks = Marks(path)
    assert marks.words.keep(A, written(1, "one\n")) == 1
    assert marks.words.keep(B, OutputWritten(0, "C", 2, "two\n", b"block", b"actor", b"call")) == 2
    expected = [Words(A, 1, 1, "f", 1, "one\n"), Words(B, 2, 0, "C", 2, "two\n", b"block", b"actor", b"call")]
    assert read_words(path) == expected  # while the worker still has it mapped
    marks.close()
    assert read_words(path) == expected


def test_the_last_texts_are_there_however_many_there_were() -> None:
    room = bytearray(ROOM_BYTES)
    last = LastWords(memoryview(room))
    for number in range(5_000):
        last.keep(A, written(1, f"line {number}\n"))
        found = read(bytes(room)) if number % 97 == 0 or number > 4_990 else []
        if found:
            numbers = [words.number for words in found]
            assert numbers == list(range(numbers[0], number + 2))
            assert numbers[0] == 1 or sum(len(words.text) for words in found) > 2_000
    assert found[-1].text == "line 4999\n"


def test_of_a_long_text_the_end_is_kept() -> None:
    room = bytearray(ROOM_BYTES)
    last = LastWords(memoryview(room))
    last.keep(A, written(1, "x" * 100_000 + "end\n"))
    last.keep(A, OutputWritten(1, "y" * 100_000, 1, "a name that is too long\n"))
    (words,) = read(bytes(room))
    assert words.text.startswith("... x")
    assert words.text.endswith("xend\n")
    assert len(words.text) < 4_000


def test_what_has_waited_for_its_reader_is_known_by_its_new_number_alone() -> None:
    room = bytearray(ROOM_BYTES)
    last = LastWords(memoryview(room))
    text = written(0, "held\n")
    text.number = last.keep(b"", text)
    text.seq = 7
    assert last.keep(A, text) == 2
    assert [(words.reader, words.number, words.seq) for words in read(bytes(room))] == [(A, 2, 7)]


def test_what_a_crash_has_scribbled_over_is_left_out() -> None:
    room = bytearray(ROOM_BYTES)
    last = LastWords(memoryview(room))
    for number in range(3):
        last.keep(A, written(number, "hello\n"))
    for at in range(len(room) // 2):
        scribbled = bytearray(room)
        scribbled[at : at + 9] = b"\xff" * 9
        assert len(read(bytes(scribbled))) <= 3


# -- the agent -----------------------------------------------------------------------------------------------------


def test_the_call_that_began_last_is_known(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "m")
    assert last_begun(path) == (b"", 0)
    marks = Marks(path)
    for caller, seq in ((A, 1), (B, 5), (A, 2), (A, 3)):
        marks.mark(caller, seq)
        assert last_begun(path) == (caller, seq)


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> SessionPaths:
    (tmp_path / "logs").mkdir()
    return SessionPaths("s", str(tmp_path), str(tmp_path))


def death_with(paths: SessionPaths) -> Death:
    child = Child(ForkWorker(W1), pid=7)
    evidence = Coroner(paths, 1_000, OomCounter([])).examine(child, signal.SIGKILL, 0, 1.0)
    return compose_death(child, evidence, b"nnode123")


def test_what_nobody_was_sent_is_of_the_call_that_began_last(paths: SessionPaths) -> None:
    log = pathlib.Path(paths.log_path(W1))
    log.write_bytes(b"sent\nof a library\nunended")
    marks = Marks(paths.marks_path(W1))
    marks.mark(A, 4)
    marks.words.keep(A, written(4, "sent\n"))
    marks.note_sent(5)
    assert death_with(paths).words == (
        Words(A, 1, 4, "f", 1, "sent\n"),
        Words(A, 2, 4, "", 1, "of a library\nunended\n"),
    )


def test_nothing_is_told_of_what_is_for_nobody(paths: SessionPaths) -> None:
    pathlib.Path(paths.log_path(W1)).write_bytes(b"a replay, say\n")
    marks = Marks(paths.marks_path(W1))
    marks.mark(A, 4)
    marks.note_sent(1 << 62)
    assert death_with(paths).words == ()


def test_what_earlier_tasks_have_left_is_not_the_latest_ones(paths: SessionPaths) -> None:
    pathlib.Path(paths.log_path(W1)).write_bytes(b"of a program\n")
    marks = Marks(paths.marks_path(W1))
    marks.note_sent(3)
    marks.note_log(13)
    assert log_sent(paths.marks_path(W1)) == 13
    assert death_with(paths).words == ()


def test_of_a_long_rest_the_end_is_told_and_no_report_of_a_crash(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"word\n" * 10_000 + b"last\nFatal Python error: Aborted\n\n  File ...\n")
    text = unsent(str(log), 0)
    assert text.startswith("... ipyactors.logs(")
    assert text.endswith("\nword\nlast\n")
    assert text.count("\n") == 101
    log.write_bytes(b"x" * 50_000 + b"y\nend")
    assert unsent(str(log), 0).splitlines()[1:] == ["end"]
    assert unsent(str(log), log.stat().st_size) == ""
    log.write_bytes(b"\n\nFatal Python error: Aborted\n")
    assert unsent(str(log), 0) == ""
    assert unsent(str(tmp_path / "missing"), 0) == ""


def test_the_words_of_no_call_are_the_creators_and_named_by_the_actor() -> None:
    definition = Definition(b"d" * 16, "Counter", Payload(b""))
    spec = ActorSpec(b"a" * 16, "Counter", B, definition, Payload(b""), name="c1")
    evidence = Evidence(signal=9, words=(Words(A, 1, 4, "", 1, "x\n"), Words(b"", 2, 7, "s", 1, "y\n", call_id=b"id")))
    assert compose_death(Child(ForkWorker(W1, spec)), evidence, b"n").words == (
        Words(A, 1, 4, "Counter 'c1'", 1, "x\n"),
        Words(B, 2, 0, "s", 1, "y\n", actor_id=b"a" * 16, call_id=b"id"),
    )


def test_an_agent_does_not_keep_words_for_the_next_head() -> None:
    death = without_words(killed(words(1, "x\n")))
    assert death.words == ()
    assert without_words(death) is death


# -- the worker ----------------------------------------------------------------------------------------------------


class Worker:
    """What a worker writes, over a log of its own and marks."""

    def __init__(self, path: pathlib.Path) -> None:
        self.marks = str(path / "marks")
        self.log = path / "log"
        marks = Marks(self.marks)
        self.descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.sent: list[tuple[bytes, OutputWritten]] = []
        self.output = Output(lambda peer, message: self.sent.append((peer, message)))
        self.output.outlet.keep = marks.words.keep
        self.output.log = LogFile(str(self.log))
        self.output.log.on_sent = marks.note_sent
        self.stream = CallStream(self.output, 1, self.descriptor)
        self.output.latest = CurrentCall(A, 1, b"t", "f")

    def unsent(self) -> str:
        return unsent(str(self.log), log_sent(self.marks))


@pytest.fixture
def worker(tmp_path: pathlib.Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    made.stream.flush()
    os.close(made.descriptor)


def test_what_is_sent_is_kept_and_what_is_not_ended_is_in_the_log(worker: Worker) -> None:
    print("one\ntwo", end="", file=worker.stream, flush=True)
    assert [(words.reader, words.seq, words.text) for words in read_words(worker.marks)] == [(A, 1, "one\n")]
    assert [(peer, said.number) for peer, said in worker.sent] == [(A, 1)]
    assert worker.unsent() == "two\n"
    print(" and a half", file=worker.stream)
    assert read_words(worker.marks)[-1].text == "two and a half\n"
    assert worker.unsent() == ""


def test_what_a_library_writes_is_unsent_until_somebody_has_looked(worker: Worker) -> None:
    os.write(worker.descriptor, b"of a library\n")
    assert worker.unsent() == "of a library\n"
    worker.output.look()
    assert worker.unsent() == ""
    assert [said.text for _, said in worker.sent] == ["of a library\n"]


def test_what_a_replay_writes_is_for_nobody(worker: Worker) -> None:
    with worker.output.silenced():
        print("again", file=worker.stream)
        os.write(worker.descriptor, b"of a library\n")
        assert worker.unsent() == ""
    assert worker.unsent() == ""
    os.write(worker.descriptor, b"new\n")
    assert worker.unsent() == "new\n"
    assert worker.sent == []


def test_the_end_of_a_flood_is_unsent_until_it_is_told(worker: Worker) -> None:
    for number in range(2_100):
        print(number, file=worker.stream)
    assert worker.unsent().endswith("\n2098\n2099\n")
    worker.output.end_call(A, 1)
    assert worker.unsent() == ""


def test_a_line_that_moves_is_not_kept_until_it_rests(worker: Worker) -> None:
    worker.stream.write("\r 10%")
    worker.stream.write("\r 20%")
    assert read_words(worker.marks) == []
    worker.stream.write("\n")
    worker.output.end_call(A, 1)
    assert [words.text for words in read_words(worker.marks)] == [" 20%\n"]
    assert read_words(worker.marks)[0].block_id


# -- the owner -----------------------------------------------------------------------------------------------------


def shown(owner: OwnerScenario) -> list[tuple[str, str, int]]:
    """Return what was shown: by whom, text, scope; and forget it."""
    taken, owner.out.shown = owner.out.shown, []
    return [(one.source, one.text, scope) for one, scope in taken]


def killed(*words: Words) -> Death:
    return Death(LossReason.KILLED, signal=9, worker_id=W1, started={ME: 1}, words=words)


def words(number: int, text: str, *, seq: int = 1, source: str = "f", reader: bytes = ME) -> Words:
    return Words(reader, number, seq, source, 1, text)


def test_what_has_not_arrived_is_shown_once_for_its_call() -> None:
    owner = OwnerScenario()
    scope = scopes.enter()
    owner.task()
    owner.grant(1, W1)
    scopes.enter()
    owner.hear(W1, OutputWritten(1, "f", 1, "first\n", number=1))
    assert shown(owner) == [("f", "first\n", scope)]
    death = killed(
        words(1, "first\n"), words(2, "second\n"), words(3, "not mine\n", reader=B), words(4, "third\n", source="")
    )
    owner.hear(b"", LeaseLost(1, W1, death))
    assert shown(owner) == [("f", "second\n", scope), ("f", "third\n", scope)]
    owner.hear(b"", WorkerLost(W1, death))
    owner.hear(W1, OutputWritten(1, "f", 1, "second\n", number=2))  # it was on its way after all
    assert shown(owner) == []


def test_the_two_ways_to_a_creator_have_numbers_of_their_own() -> None:
    state = OwnerState(ME, "ipc://x")
    assert state.arrived.note(W1, 3, is_unasked=False)
    assert state.arrived.miss(W1, 2, is_unasked=True)
    assert not state.arrived.miss(W1, 2, is_unasked=False)
    assert not state.arrived.note(W1, 2, is_unasked=True)
    assert state.arrived.note(W1, 9, is_unasked=True)


def test_what_is_passed_on_has_no_number_of_its_writer() -> None:
    owner = OwnerScenario()
    client = owner.actor()
    owner.alive(client, W1)
    call = owner.method(client)
    owner.hear(W1, OutputWritten(call.seq, "c", 1, "hello\n", number=5))
    assert [one.number for one, _ in owner.out.shown] == [0]
