"""What a durable actor's call takes from outside: noted, given again, and never anything else than before."""

from __future__ import annotations

import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.ground.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    NotReplayableError,
    ReplayDivergenceError,
    SerializationError,
    TaskCancelledError,
)
from ipyactors.owner import values
from ipyactors.owner.objects import Entry
from ipyactors.wire import serialize
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.worker.errors import describe_error
from ipyactors.worker.turn import Turn

ACTOR = b"a" * 16
LSN = 7


class FakeJournal:
    """Keeps the values of one row, and in which order it was asked for what."""

    def __init__(self) -> None:
        self.actor_id = ACTOR
        self.values: list[Value] = []
        self.did: list[str] = []
        self.received: list[tuple[list[Entry], Any]] = []
        self.registered: list[Any] = []

    def add_value(self, lsn: int, value: Value) -> None:
        assert lsn == LSN
        self.values.append(value)
        self.did.append(f"add {value.index}")

    def add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:
        self.add_value(lsn, Value(index, kind, msgspec.msgpack.encode(Answer(tuple(payloads)))))

    def read_received(self, answer: Answer) -> Sequence[Payload]:
        return answer.results

    def payload_of(self, entry: Entry) -> Payload:
        assert entry.payload is not None
        return entry.payload

    def secure(self) -> None:
        self.did.append("secure")

    def oldest_open(self) -> int:
        return LSN

    def register(self, submission: Any, call: object, entries: tuple[object, ...]) -> None:
        self.registered.append((submission, call, entries))

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        self.received.append((list(entries), given))

    def release(self, lsn: int = LSN) -> None:
        assert lsn == LSN
        self.did.append("release")


def entry_of(value: Any) -> Entry:
    entry = Entry(b"o" * 20)
    entry.complete(serialize.dumps(value))
    return entry


def turn_of(journal: FakeJournal, past: Sequence[Value] = (), *, is_over: bool = False) -> Turn:
    return Turn(journal, LSN, "Account.deposit", past, is_over=is_over)


def get(turn: Turn, value: Any) -> list[Any]:
    """Get a value that is there, or another one if it is asked for again."""
    return turn.receive([entry_of(value)], lambda: [value])


def counting(values: list[Any]) -> Callable[[], Any]:
    return lambda: values.pop(0)


#: By the kind of value: a way to ask for it, which gives something else each time it is not given.
ASKED: dict[ValueKind, Callable[[Turn], Any]] = {
    ValueKind.NOW: lambda turn: turn.now(),
    ValueKind.RANDOM: lambda turn: turn.random(),
    ValueKind.UUID4: lambda turn: turn.uuid4(),
    ValueKind.ONCE: lambda turn: turn.once(uuid.uuid4),
    ValueKind.SUBMITTED: lambda turn: turn.submitting(b"digest").call_id,
    ValueKind.RECEIVED: lambda turn: get(turn, random.random()),
    ValueKind.CHOSEN: lambda turn: turn.choose(lambda: [random.randrange(1000)]),
}


def all_of(turn: Turn) -> list[Any]:
    return [ask(turn) for ask in ASKED.values()]


@pytest.fixture(autouse=True)
def moving_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "time", lambda: 1e9 + next(ticks) + 0.1)


def test_every_kind_has_a_test() -> None:
    others = {ValueKind.CANCELED, ValueKind.OVERLAP, ValueKind.NEW_CLASS, ValueKind.CONSTRUCTED}
    assert {*ASKED, *others} == set(ValueKind), "these have tests of their own"


@pytest.mark.parametrize("kind", ASKED)
def test_what_was_taken_is_noted_and_given_again(kind: ValueKind) -> None:
    live, again = FakeJournal(), FakeJournal()
    turn = turn_of(live)
    assert not turn.is_replaying
    taken = [ASKED[kind](turn), ASKED[kind](turn)]
    turn.check_end()
    assert [(one.index, one.kind) for one in live.values] == [(0, kind), (1, kind)]
    assert taken[0] != taken[1]
    turn = turn_of(again, live.values, is_over=True)
    assert turn.is_replaying
    assert [ASKED[kind](turn), ASKED[kind](turn)] == taken
    turn.check_end()
    assert not again.values
    assert not again.did


@pytest.mark.parametrize("count", range(len(ASKED) + 1))
def test_the_beginning_of_a_row_is_given_and_the_rest_is_live(count: int) -> None:
    """An interrupted call: what was kept back is sent when its row runs out, and not before; or when it ends."""
    live, again = FakeJournal(), FakeJournal()
    taken = all_of(turn_of(live))
    turn = turn_of(again, live.values[:count])
    for number, ask in enumerate(ASKED.values()):
        assert turn.is_replaying is (number < count)
        assert ("release" in again.did) is (number > count > 0)
        value = ask(turn)
        assert (value == taken[number]) is (number < count or list(ASKED)[number] is ValueKind.SUBMITTED)
    turn.check_end()
    assert [(one.index, one.kind) for one in again.values] == [(one.index, one.kind) for one in live.values[count:]]
    # Of a row that has nothing, all was released when the recovery was over.
    assert again.did.count("release") == (count > 0)
    assert count == 0 or again.did[0] == "release"


@pytest.mark.parametrize("kind", ASKED)
def test_a_call_that_asks_for_something_else_diverges(kind: ValueKind) -> None:
    for other in set(ASKED) - {kind}:
        live, again = FakeJournal(), FakeJournal()
        ASKED[kind](turn_of(live))
        for is_over in (True, False):
            turn = turn_of(again, live.values, is_over=is_over)
            with pytest.raises(ReplayDivergenceError, match=r"Account\.deposit \(lsn 7\) .* value 0 of it was"):
                ASKED[other](turn)
            with pytest.raises(ReplayDivergenceError, match="value 0 of it was"):
                turn.check_end()
        assert not again.did


@pytest.mark.parametrize("kind", ASKED)
def test_a_call_that_asks_for_more_than_before_diverges(kind: ValueKind) -> None:
    live, again = FakeJournal(), FakeJournal()
    turn_of(live).now()
    turn = turn_of(again, live.values, is_over=True)
    turn.now()
    with pytest.raises(ReplayDivergenceError, match=r"\(value 1\), and had ended there") as caught:
        ASKED[kind](turn)
    assert (caught.value.lsn, caught.value.actor_id) == (LSN, ACTOR.hex())
    assert not again.did


@pytest.mark.parametrize("is_over", [True, False])
def test_a_call_that_asks_for_less_than_before_diverges(is_over: bool) -> None:
    live = FakeJournal()
    made = turn_of(live)
    made.now()
    made.random()
    turn = turn_of(live, live.values, is_over=is_over)
    turn.now()
    with pytest.raises(ReplayDivergenceError, match=r"without asking for a random number \(value 1\)"):
        turn.check_end()


def test_another_call_in_its_place_diverges() -> None:
    live, again = FakeJournal(), FakeJournal()
    turn_of(live).submitting(b"deposit 3")
    turn = turn_of(again, live.values)
    with pytest.raises(ReplayDivergenceError, match="value 0 of it submitted another call, or with other arguments"):
        turn.submitting(b"deposit 4")


def test_a_divergence_that_the_users_code_swallows_is_not_lost() -> None:
    """The first one is told: what follows may be its consequence."""
    live = FakeJournal()
    turn_of(live).now()
    turn = turn_of(FakeJournal(), live.values, is_over=True)
    for ask in (turn.random, turn.uuid4):
        with pytest.raises(ReplayDivergenceError):
            ask()
    turn.now()  # as if nothing had been
    with pytest.raises(ReplayDivergenceError, match="was the time, and now it asks for a random number"):
        turn.check_end()


def test_the_exception_that_kept_a_call_from_asking_is_told() -> None:
    live = FakeJournal()
    turn_of(live).submitting(b"digest")
    turn = turn_of(live, live.values, is_over=True)
    with pytest.raises(ReplayDivergenceError, match=r"it raised ValueError: no p without asking for a nested call"):
        turn.check_end("ValueError: no p")


# -- whether it is cancelled ---------------------------------------------------------------------------------------


def asked(turn: Turn, flags: Sequence[bool]) -> list[bool]:
    return [turn.is_canceled(is_flagged=flag) for flag in flags]


def test_only_the_first_word_that_a_call_is_cancelled_is_noted() -> None:
    live = FakeJournal()
    turn = turn_of(live)
    assert asked(turn, [False, False, True, True, False]) == [False, False, True, True, True]
    assert [(one.kind, one.data) for one in live.values] == [(ValueKind.CANCELED, msgspec.msgpack.encode(2))]


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
def test_a_replay_hears_that_it_is_cancelled_where_it_was(flag: bool, is_over: bool) -> None:
    """In the loop that asks, and between what else it takes."""
    live, again = FakeJournal(), FakeJournal()
    turn = turn_of(live)
    assert not turn.is_canceled(is_flagged=False)
    now = turn.now()
    assert asked(turn, [False, True]) == [False, True]
    chance = turn.random()
    turn = turn_of(again, live.values, is_over=is_over)
    assert not turn.is_canceled(is_flagged=flag)
    assert turn.now() == now
    assert asked(turn, [flag] * 3) == [False, True, True]
    assert turn.random() == chance
    turn.check_end()
    assert not again.values


def test_a_replay_of_a_call_that_was_not_cancelled_is_not() -> None:
    journal = FakeJournal()
    turn = turn_of(journal, is_over=True)
    assert asked(turn, [True, True]) == [False, False]
    turn.check_end()
    assert not journal.did


def test_a_call_that_was_interrupted_may_be_cancelled_where_its_row_ends() -> None:
    live, again = FakeJournal(), FakeJournal()
    turn_of(live).now()
    turn = turn_of(again, live.values)
    assert not turn.is_canceled(is_flagged=True), "it was not, where it asked for the time later"
    turn.now()
    assert asked(turn, [True, True]) == [True, True]
    assert again.did == ["release", "add 1"]
    assert again.values[0].data == msgspec.msgpack.encode(1)


@pytest.mark.parametrize("asks", [0, 1, 3])
def test_a_call_that_is_not_at_the_same_place_when_it_is_cancelled_diverges(asks: int) -> None:
    live = FakeJournal()
    turn = turn_of(live)
    asked(turn, [False, True])
    turn.now()
    turn = turn_of(FakeJournal(), live.values, is_over=True)
    if asks == 3:
        asked(turn, [False] * 3)
        turn.now()
        turn.check_end()
        return
    asked(turn, [False] * asks)
    with pytest.raises(ReplayDivergenceError, match="was the word that it is cancelled, and now it asks for the time"):
        turn.now()


# -- once --------------------------------------------------------------------------------------------------------


def test_what_is_to_happen_once_is_safe_before_anybody_hears_of_it() -> None:
    journal = FakeJournal()
    assert turn_of(journal).once(lambda: {"order": 7}) == {"order": 7}
    assert journal.did == ["add 0", "secure"]


def test_what_raised_once_raises_again_and_is_not_called() -> None:
    live, again = FakeJournal(), FakeJournal()

    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        turn_of(live).once(fail)
    assert live.did == ["add 0", "secure"]
    turn = turn_of(again, live.values, is_over=True)
    with pytest.raises(KeyError, match="gone"):
        turn.once(lambda: pytest.fail("it was called again"))
    turn.check_end()
    assert not again.did


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit])
def test_what_is_no_common_exception_is_raised_again_too(kind: type[BaseException]) -> None:
    live, again = FakeJournal(), FakeJournal()
    with pytest.raises(kind):
        turn_of(live).once(raising(kind))
    turn = turn_of(again, live.values, is_over=True)
    with pytest.raises(kind):
        turn.once(lambda: pytest.fail("it was called again"))
    turn.check_end()


def test_the_end_of_the_process_is_nothing_that_happened_once() -> None:
    journal = FakeJournal()
    with pytest.raises(SystemExit):
        turn_of(journal).once(raising(SystemExit))
    assert not journal.did


def test_an_interrupt_of_a_task_is_nothing_that_happened_once() -> None:
    journal = FakeJournal()
    journal.actor_id = b""
    with pytest.raises(KeyboardInterrupt):
        turn_of(journal).once(raising(KeyboardInterrupt))
    assert not journal.did


def raising(kind: type[BaseException]) -> Callable[[], None]:
    def fail() -> None:
        raise kind

    return fail


def test_a_result_that_cannot_be_kept_is_refused_again_and_not_made_again() -> None:
    live, again = FakeJournal(), FakeJournal()
    with pytest.raises(SerializationError, match="what once"):
        turn_of(live).once(threading.Lock)
    turn = turn_of(again, live.values, is_over=True)
    with pytest.raises(SerializationError, match="what once"):
        turn.once(lambda: pytest.fail("it was called again"))
    turn.check_end()


def test_an_async_function_is_not_for_once() -> None:
    async def pay() -> None:
        pytest.fail("it was run")

    live = FakeJournal()
    with pytest.raises(TypeError, match="plain function"):
        turn_of(live).once(pay)
    with pytest.raises(TypeError, match="plain function"):
        turn_of(FakeJournal(), live.values, is_over=True).once(lambda: pytest.fail("it was called again"))


def test_what_a_function_takes_that_is_called_once_is_part_of_what_it_returns() -> None:
    live, again = FakeJournal(), FakeJournal()
    turn = turn_of(live)

    def measure() -> list[Any]:
        taken = [turn.now(), turn.random(), turn.uuid4(), turn.once(lambda: "inner")]
        return [
            *taken,
            turn.choose(lambda: [3]),
            turn.receive([entry_of(1)], lambda: [1]),
            turn.is_canceled(is_flagged=True),
        ]

    first = turn.once(measure)
    assert first[3:] == ["inner", [3], [1], True]
    turn.check_end()
    assert [one.kind for one in live.values] == [ValueKind.ONCE]
    assert turn.random() != turn.random(), "it is noted again what is taken now"
    turn = turn_of(again, live.values[:1], is_over=True)
    assert turn.once(lambda: pytest.fail("it was called again")) == first
    turn.check_end()


def test_a_function_that_is_called_once_makes_no_calls() -> None:
    live, again = FakeJournal(), FakeJournal()
    turn = turn_of(live)
    with pytest.raises(NotReplayableError, match=r"Account.deposit makes a call inside of once.*Make it before"):
        turn.once(lambda: turn.submitting(b"digest"))
    turn.check_end()
    turn = turn_of(again, live.values, is_over=True)
    with pytest.raises(NotReplayableError, match="inside of once"):
        turn.once(lambda: pytest.fail("it was called again"))
    turn.check_end()


# -- nested calls ------------------------------------------------------------------------------------------------


def test_a_call_is_safe_in_the_log_before_it_is_sent() -> None:
    """It may carry what was noted before it, and its id is its place in the row."""
    journal = FakeJournal()
    turn = turn_of(journal)
    turn.now()
    made = turn.submitting(b"digest")
    assert journal.did == ["add 0", "add 1", "secure"]
    assert (made.actor_id, made.lsn, made.index, made.is_replayed) == (ACTOR, LSN, 1, False)
    assert made.call_id == ACTOR + (7).to_bytes(8, "big") + (1).to_bytes(4, "big")
    turn.submitted(made, "call", ("entry",))
    assert journal.registered == [(made, "call", ("entry",))]


def test_a_call_that_is_made_again_is_known_as_such_and_has_the_same_id() -> None:
    live, again = FakeJournal(), FakeJournal()
    first = turn_of(live).submitting(b"digest")
    turn = turn_of(again, live.values)
    second, third = turn.submitting(b"digest"), turn.submitting(b"digest")
    assert (second.call_id, second.is_replayed, third.is_replayed) == (first.call_id, True, False)
    assert third.call_id != first.call_id


def test_values_are_noted_as_taken_when_they_are_in_the_log() -> None:
    live, again = FakeJournal(), FakeJournal()
    entries = [entry_of(1), entry_of("two")]
    assert turn_of(live).receive(entries, lambda: [1, "two"]) == [1, "two"]
    assert [noted for noted, _ in live.received] == [entries]
    later = [Entry(b"1" * 20), Entry(b"2" * 20)]
    turn = turn_of(again, live.values, is_over=True)
    assert turn.receive(later, lambda: pytest.fail("it waits for what is in the log")) == [1, "two"]
    assert [noted for noted, _ in again.received] == [later]


def test_a_failure_is_noted_and_raised_again() -> None:
    live, again = FakeJournal(), FakeJournal()

    def fail() -> list[Any]:
        raise KeyError("no such account")

    with pytest.raises(KeyError):
        turn_of(live).receive([Entry(b"1" * 20)], fail)
    entry = Entry(b"1" * 20)
    with pytest.raises(KeyError, match="no such account"):
        turn_of(again, live.values, is_over=True).receive([entry], lambda: pytest.fail("it waits"))
    ((noted, error),) = again.received
    assert noted == [entry]
    assert error.type_name == "KeyError"


class OddError(Exception):
    """Cannot be made again from its args."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{words} ({code})")
        self.code = code


def story_of(run: Callable[[], Any]) -> tuple[Any, ...]:
    """Return all that code can learn of what is raised."""
    try:
        run()
    except BaseException as error:
        known = {name: str(value) for name, value in vars(error).items()}
        bases = [base.__name__ for base in type(error).__mro__]
        return str(error), error.args, known, bases, traceback.format_exc(), str(error.__cause__), error.__context__
    raise AssertionError("nothing was raised")


def raised_by(error: BaseException) -> RemoteError:
    """Return an exception as another process has told of it."""
    try:
        raise error
    except BaseException as raised:
        return describe_error(raised, function_name="far.away")


FAILURES: dict[str, Any] = {
    "unicode": raised_by(UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")),
    "odd": raised_by(OddError(3, "no such thing")),
    "common": raised_by(KeyError("x")),
    "a time limit of its own": raised_by(GetTimeoutError("too late")),
    "died": ActorDiedError("it is dead", actor_id="ab"),
    "cancelled": TaskCancelledError("it was"),
}


@pytest.mark.parametrize("which", FAILURES)
@pytest.mark.parametrize("count", [1, 2])
def test_a_failure_is_the_same_for_live_code_and_for_a_replay(which: str, count: int) -> None:
    """Its type, its words, its attributes, its traceback, and what it came from."""
    failed = Entry(b"f" * 20)
    failed.fail(FAILURES[which])
    entries = [entry_of(1), failed][-count:]
    live, again = FakeJournal(), FakeJournal()
    journals = iter([(live, ()), (again, live.values)])
    stories = [
        story_of(lambda: turn_of(*next(journals)).receive(entries, lambda: [values.value_of(one) for one in entries]))
        for _ in range(2)
    ]
    assert stories[0] == stories[1]
    assert ("TaskError" in stories[0][3]) is isinstance(FAILURES[which], RemoteError)
    assert stories[0][2].get("function_name", "far.away") == "far.away"
    assert [noted for noted, _ in again.received] == [entries], "it tells something of them, and is no timeout of ours"


@pytest.mark.parametrize("error", [GetTimeoutError("not yet"), SerializationError("no such module"), OSError(5, "io")])
def test_what_is_raised_by_the_waiting_itself_is_the_same_for_a_replay(error: Exception) -> None:
    def fail() -> list[Any]:
        raise error

    live = FakeJournal()
    journals = iter([(live, ()), (FakeJournal(), live.values)])
    stories = [story_of(lambda: turn_of(*next(journals)).receive([entry_of(1)], fail)) for _ in range(2)]
    assert stories[0] == stories[1]
    assert "TaskError" not in stories[0][3]


@pytest.mark.parametrize("error", [OddError(3, "no"), FileNotFoundError(2, "no such file", "/f"), KeyError("x")])
def test_what_is_raised_once_is_the_same_for_a_replay(error: Exception) -> None:
    def fail() -> None:
        raise error

    live = FakeJournal()
    journals = iter([(live, ()), (FakeJournal(), live.values)])
    stories = [story_of(lambda: turn_of(*next(journals)).once(fail)) for _ in range(2)]
    assert stories[0] == stories[1]
    assert "TaskError" not in stories[0][3]
    assert "in fail" in stories[0][4]


def test_what_a_function_returns_once_is_a_copy_from_the_first() -> None:
    live, state = FakeJournal(), {"count": 0}
    given = turn_of(live).once(lambda: state)
    given["count"] += 1
    assert state == {"count": 0}
    shrunk = set(range(100)) - set(range(100)).difference({9, 32})
    kept = set(range(100))
    kept -= kept - shrunk  # which tells its elements in another order than one that was made of them
    live = FakeJournal()
    first = list(turn_of(live).once(lambda: kept))
    assert list(turn_of(FakeJournal(), live.values).once(lambda: pytest.fail("it was called again"))) == first


def test_a_get_that_was_not_answered_in_time_tells_nothing_of_its_objects() -> None:
    """They may be asked for once more: then the call that makes them must have been sent again."""
    live, again = FakeJournal(), FakeJournal()

    def give_up() -> list[Any]:
        raise GetTimeoutError("1 of 1 objects is not there after 0.1 s")

    turn = turn_of(live)
    with pytest.raises(GetTimeoutError):
        turn.receive([Entry(b"1" * 20)], give_up)
    assert not live.received
    turn = turn_of(again, live.values)
    with pytest.raises(GetTimeoutError):
        turn.receive([Entry(b"1" * 20)], lambda: pytest.fail("it waits"))
    assert not again.received
    assert get(turn, 5) == [5]
    assert again.did == ["release", "add 1"]


@pytest.mark.parametrize("kind", [*ASKED, ValueKind.CANCELED])
def test_nothing_is_taken_while_a_result_is_waited_for(kind: ValueKind) -> None:
    """Nobody could tell later which came first; and what is refused once stays refused."""
    ask = ASKED.get(kind, lambda turn: turn.is_canceled(is_flagged=True))
    journal = FakeJournal()
    turn = turn_of(journal)
    first = entry_of(1)
    assert turn.given([first]) is None
    for _ in range(2):
        with pytest.raises(NotReplayableError, match="in one coroutine while another one waits"):
            ask(turn)
    with pytest.raises(NotReplayableError):
        turn.received([first])
    turn.cancelled()
    with pytest.raises(NotReplayableError):
        turn.failed([entry_of(1)], KeyError(1))
    with pytest.raises(NotReplayableError, match="Await one result after the other"):
        turn.check_end()
    assert [one.kind for one in journal.values] == [ValueKind.OVERLAP]


def test_a_call_that_may_overlap_notes_that_it_does_and_goes_on() -> None:
    journal = FakeJournal()
    turn = Turn(journal, LSN, "Account.deposit", is_over=False, may_overlap=True)
    first, second = entry_of(1), entry_of(2)
    assert turn.given([first]) is None
    assert turn.given([second]) is None
    turn.received([second])
    turn.random()
    turn.received([first])
    turn.check_end()
    kinds = [ValueKind.OVERLAP, ValueKind.RECEIVED, ValueKind.RANDOM, ValueKind.RECEIVED]
    assert [(one.index, one.kind) for one in journal.values] == list(enumerate(kinds))


@pytest.mark.parametrize("how", ["received", "failed", "interrupted"])
def test_one_result_can_be_awaited_after_the_other(how: str) -> None:
    journal = FakeJournal()
    turn = turn_of(journal)
    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            turn.receive([entry_of(1)], lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    else:
        assert turn.given([entry_of(1)]) is None
        if how == "received":
            turn.received([entry_of(1)])
        else:
            turn.failed([entry_of(1)], KeyError(1))
    assert get(turn, 2) == [2]
    turn.check_end()


def test_a_checkpoint_is_only_wished_for() -> None:
    journal = FakeJournal()
    turn = turn_of(journal)
    assert not turn.wants_checkpoint
    turn.request_checkpoint()
    assert turn.wants_checkpoint
    assert not journal.did
