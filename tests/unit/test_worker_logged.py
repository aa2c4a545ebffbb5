"""A durable actor's calls from their arrival to their answer, over a real log on a simulated disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import pytest

from ipyactors.durable import log as log_room
from ipyactors.durable import manifest, segment
from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.manifest import CheckpointData
from ipyactors.durable.record import Abort, Answer, Call, Done, Open, Value, ValueKind
from ipyactors.durable.recovery import History
from ipyactors.ground import ids
from ipyactors.ground.exceptions import (
    CallAbortedError,
    CallOutcomeUnknownError,
    ReplayDivergenceError,
    StorageFullError,
)
from ipyactors.owner import values
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.templates import STREAMING
from ipyactors.wire.codec import Message
from ipyactors.wire.outside import OUT_OF_BAND_BYTES
from ipyactors.wire.specs import Durability, Payload
from ipyactors.wire.worker_messages import (
    LOGGED,
    ActorHasChanged,
    CallCancelled,
    CallIdentity,
    CallMethod,
    CallRaised,
    CallSucceeded,
    ItemYielded,
)
from ipyactors.worker.call_log import CallLog
from ipyactors.worker.checkpoint import Checkpointer
from ipyactors.worker.guarded_log import GuardedLog
from ipyactors.worker.logged import LoggedCalls, UndoneError
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.results import IN_MESSAGES
from ipyactors.worker.turn import Turn
from tests.support.owner_scenario import error, payload
from tests.support.sim_disk import SimDisk

ACTOR = b"a" * 16
DRIVER = b"ddriver1"
OTHER = b"ddriver2"
LARGE = Payload(b"x" * (OUT_OF_BAND_BYTES + 1))


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "SEGMENT_BYTES", 8192)
        patch.setattr(log_room, "RESERVE_BYTES", 512)
        yield


class SealedError(Exception):
    """The process ends."""


def _end(problem: str) -> NoReturn:
    raise SealedError(problem)


class Subject:
    """The actor, and where its checkpoints' data goes."""

    definition_id = b"class"
    instance = None
    is_lasting = True

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.removed: list[str] = []

    def dump_state(self) -> bytes:
        if self.problem is not None:
            raise self.problem
        return b"state"

    def copy_of(self, data: bytes) -> bytes:
        return data

    def go_on_as(self, instance: object) -> None:
        pass

    def save(self, name: str, _data: bytes) -> str:
        return name

    def load(self, locator: str) -> bytes:
        raise NotImplementedError(locator)

    def remove(self, locator: str) -> None:
        self.removed.append(locator)


class Incarnation:
    """One incarnation over a disk: what it was sent, what it answered."""

    def __init__(self, disk: SimDisk, number: int = 0) -> None:
        self.disk = disk
        remains = read_remains(disk, ACTOR)
        self.history: History = remains.since(remains.checkpoints[0] if remains.checkpoints else None)
        self.log = ActorLog(disk, remains, self.history, number, Open(b"class", "process"))
        self.guarded = GuardedLog(self.log, disk, ACTOR, _end)
        call_log = CallLog(self.guarded, IN_MESSAGES)
        self.sent: list[tuple[bytes, Any]] = []
        self.lent: list[tuple[bytes, tuple[Payload, ...]]] = []
        self.claimed: list[tuple[bytes, bytes, int, int]] = []
        self.calls = LoggedCalls(
            call_log,
            IN_MESSAGES,
            self._describe,
            self._send,
            lambda peer, *lent: self.lent.append((peer, lent)),
            lambda call_id, peer, seq: self.claimed.append((call_id, peer, seq, len(self.sent))),
        )
        self.subject = Subject()
        durability = Durability("process", keep=1)
        self.calls.checkpointer = Checkpointer(self.subject, call_log, durability, self.subject, lambda _made: None)

    @staticmethod
    def _describe(caller: bytes, call: CallMethod) -> CurrentCall:
        return CurrentCall(caller, call.seq, call.task_id, f"Account.{call.method}", ACTOR)

    def _send(self, peer: bytes, message: Message) -> None:
        self.sent.append((peer, message))

    def take(self, call: CallMethod, caller: bytes = DRIVER) -> LoggedCall | None:
        return self.calls.take(caller, call)

    def run(self, call: CallMethod, *results: Payload, caller: bytes = DRIVER) -> None:
        """Take a new call, and have it return."""
        logged = self.take(call, caller)
        assert logged is not None
        self.guarded.write()
        self.calls.finish(logged, CallSucceeded(logged.running.seq, results or (payload(1),), 0.5))

    def told(self) -> list[tuple[bytes, Any]]:
        told, self.sent = self.sent, []
        return told

    def records(self, kind: type) -> list[Any]:
        self.guarded.write()
        return [one.body for one in read_remains(self.disk, ACTOR).contents.records if isinstance(one.body, kind)]

    def next(self) -> Incarnation:
        """Return the incarnation after this one."""
        self.guarded.write()
        return Incarnation(self.disk, self.log._incarnation + 1)


@pytest.fixture
def actor() -> Incarnation:
    return Incarnation(SimDisk())


def call_of(counter: int, method: str = "deposit", *, seq: int = 0, owner: bytes = DRIVER, **facts: Any) -> CallMethod:
    task_id = ids.object_id(owner, counter)
    return CallMethod(seq or counter, task_id, method, facts.pop("args", payload(counter)), counter=counter, **facts)


def raised(message: Any) -> BaseException:
    assert isinstance(message, CallRaised)
    return values.exception_of(message.error)


# -- coming ------------------------------------------------------------------------------------------------------


def test_a_new_call_is_in_the_log_and_then_runs(actor: Incarnation) -> None:
    logged = actor.take(call_of(1))
    assert logged is not None
    assert (logged.lsn, logged.call_id, logged.running.caller) == (1, ids.object_id(DRIVER, 1), DRIVER)
    (entry,) = actor.records(Call)
    assert (entry.call_id, entry.caller_id, entry.counter, entry.method) == (logged.call_id, DRIVER, 1, "deposit")
    assert not actor.told()


def test_its_end_is_in_the_log_and_its_caller_told(actor: Incarnation) -> None:
    actor.run(call_of(1), payload(7))
    ((peer, message),) = actor.told()
    assert (peer, message.seq, message.results) == (DRIVER, 1, (payload(7),))
    (done,) = actor.records(Done)
    answer = msgspec.msgpack.decode(done.answer, type=Answer)
    assert (answer.results, answer.duration_s) == ((payload(7),), 0.5)


@pytest.mark.parametrize("what", ["readonly", "__ray_ready__", "__ipyactors_checkpoint__", "__ipyactors_upgrade__"])
def test_what_changes_nothing_is_not_logged(actor: Incarnation, what: str) -> None:
    call = call_of(1, is_readonly=True) if what == "readonly" else call_of(1, what)
    logged = actor.take(call)
    assert logged is not None
    assert logged.lsn == 0
    assert not actor.records(Call)


def test_a_call_that_comes_again_while_it_runs_waits_for_the_same_end(actor: Incarnation) -> None:
    logged = actor.take(call_of(1))
    assert actor.take(call_of(1, seq=9), OTHER) is None
    assert not actor.told()
    assert logged is not None
    actor.calls.finish(logged, CallSucceeded(1, (payload(7),), 0.5))
    assert [(peer, one.seq, one.results) for peer, one in actor.told()] == [
        (DRIVER, 1, (payload(7),)),
        (OTHER, 9, (payload(7),)),
    ]
    assert len(actor.records(Call)) == len(actor.records(Done)) == 1


def test_a_call_that_comes_again_gets_what_is_recorded(actor: Incarnation) -> None:
    actor.run(call_of(1), payload(7))
    actor.told()
    for incarnation in (actor, actor.next()):
        assert incarnation.take(call_of(1, seq=5), OTHER) is None
        ((peer, message),) = incarnation.told()
        assert isinstance(message, CallSucceeded)
        assert (peer, message.seq, message.results, message.duration_s) == (OTHER, 5, (payload(7),), 0.5)
        assert incarnation.lent == [(OTHER, (payload(7),))], "what is given once more is counted once more"


def test_who_waits_for_a_call_that_was_found_in_the_log_gets_what_it_writes_before_its_end(actor: Incarnation) -> None:
    call_id = ids.object_id(DRIVER, 1)
    actor.take(call_of(1))
    again = actor.next()
    ((past),) = again.history.tables.open.values()
    found = again.calls.reopen(past[1], past[0], ())
    again.take(call_of(1, seq=5))
    assert again.claimed == [(call_id, DRIVER, 5, 0)], "at once: it may run for long"
    again.calls.finish(found, CallSucceeded(found.running.seq, (payload(7),), 0.5))
    assert again.claimed[1:] == [(call_id, DRIVER, 5, 0)]
    again.take(call_of(1, seq=6), OTHER)
    assert again.claimed[2:] == [(call_id, OTHER, 6, 1)], "whose caller comes late gets it before the end, too"
    assert [one.seq for _, one in again.told()] == [5, 6]


@pytest.mark.parametrize("how", ["raised", "cancelled"])
def test_what_is_recorded_may_be_an_exception(actor: Incarnation, how: str) -> None:
    logged = actor.take(call_of(1))
    assert logged is not None
    ending = CallRaised(1, error("no"), True) if how == "raised" else CallCancelled(1, started=True)
    actor.calls.finish(logged, ending)
    assert actor.told() == [(DRIVER, ending)]
    again = actor.next()
    again.take(call_of(1, seq=4))
    ((_, message),) = again.told()
    if how == "raised":
        assert (message.seq, message.error.message, message.retryable) == (4, "no", True)
    else:
        assert message == CallCancelled(4, started=True)


def test_what_its_caller_has_acknowledged_is_not_known_any_more_and_not_run(actor: Incarnation) -> None:
    actor.run(call_of(1))
    actor.run(call_of(2, settled=2))
    actor.told()
    assert actor.take(call_of(1, may_be_known=True)) is None
    ((_, message),) = actor.told()
    problem = raised(message)
    assert isinstance(problem, CallOutcomeUnknownError)
    assert "took effect once, and nothing was run now" in str(problem)
    assert actor.take(call_of(2, may_be_known=True)) is None
    assert isinstance(actor.told()[0][1], CallSucceeded), "the second was not acknowledged"
    assert len(actor.records(Call)) == 2


def test_a_key_answers_for_its_call_and_refuses_another(actor: Incarnation) -> None:
    def keyed(counter: int, digest: bytes) -> CallMethod:
        identity = CallIdentity(DRIVER, ids.object_id(DRIVER, counter), 0, digest)
        return call_of(counter, key="order 7", identity=identity)

    actor.run(keyed(1, b"a"), payload(7))
    actor.told()
    assert actor.take(keyed(2, b"a")) is None
    assert actor.told()[0][1].results == (payload(7),)
    assert actor.take(keyed(3, b"b")) is None
    problem = raised(actor.told()[0][1])
    assert isinstance(problem, ReplayDivergenceError)
    assert "has the key 'order 7' of an earlier call" in str(problem)
    assert "Use another key" in str(problem)
    assert len(actor.records(Call)) == 1


def test_a_key_answers_for_the_last_attempt_of_its_call(actor: Incarnation) -> None:
    def keyed(counter: int, attempt: int = 0) -> CallMethod:
        call_id = ids.object_id(DRIVER, counter) + (attempt.to_bytes(4, "big") if attempt else b"")
        identity = CallIdentity(DRIVER, call_id, 0, b"a")
        return call_of(counter, seq=10 * counter + attempt, key="k", identity=identity, attempt=attempt)

    def fail(call: CallMethod) -> None:
        logged = actor.take(call)
        assert logged is not None, "it is tried again"
        actor.guarded.write()
        actor.calls.finish(logged, CallRaised(call.seq, error(f"attempt {call.attempt}"), retryable=True))
        assert [message.retryable for _, message in actor.told()] == [True]

    def told(call: CallMethod) -> Any:
        assert actor.take(call) is None
        return actor.told()[0][1]

    fail(keyed(1))
    again = told(keyed(1))
    assert (again.error.message, again.retryable) == ("attempt 0", True)
    other = told(keyed(2))
    assert (other.error.message, other.retryable) == ("attempt 0", False), "the call of another is not tried again"
    assert told(keyed(2, 1)).error.message == "attempt 0"
    fail(keyed(1, 1))
    actor = actor.next()
    fail(keyed(1, 2))
    assert told(keyed(1, 1)).error.message == "attempt 1", "it is sent again, after a crash"
    actor.log.add_checkpoint(CheckpointData("c1"))
    actor = actor.next()
    assert told(keyed(2)).error.message == "attempt 2"
    actor.run(keyed(1, 3), payload(7))
    actor.told()
    actor = actor.next()
    for call in (keyed(1), keyed(1, 3), keyed(1, 4), keyed(2), keyed(2, 1)):
        assert told(call).results == (payload(7),)
    actor.log.tables.check_invariants()
    assert len(actor.records(Call)) == 4


def test_a_task_that_makes_another_call_the_second_time_is_told(actor: Incarnation) -> None:
    caller = b"retried" + DRIVER
    actor.run(call_of(1, identity=CallIdentity(caller, b"task0000", 1, b"a")))
    actor.told()
    assert actor.take(call_of(2, identity=CallIdentity(caller, b"task0000", 1, b"b"))) is None
    assert "A task that is retried must make the same calls again" in str(raised(actor.told()[0][1]))


def test_without_room_a_call_is_refused_and_has_no_effect(actor: Incarnation) -> None:
    actor.disk.fails["allocate"] = errno.ENOSPC
    counter = 0
    while not actor.sent:
        counter += 1
        logged = actor.take(call_of(counter, args=Payload(bytes(500))))
    assert logged is None
    ((peer, message),) = actor.told()
    assert (peer, message.seq) == (DRIVER, counter)
    assert isinstance(raised(message), StorageFullError)
    del actor.disk.fails["allocate"]
    assert len(actor.records(Call)) == counter - 1
    assert actor.take(call_of(counter)) is not None, "once there is room, it can be done"


def test_large_arguments_are_beside_the_log_and_come_back(actor: Incarnation) -> None:
    call = call_of(1, args=Payload(b"args", (memoryview(LARGE.data),)), arg_values=(payload(1), LARGE))
    assert actor.take(call) is not None
    assert actor.take(call) is None, "it is known by its id, without its arguments"
    names = [name for name in actor.disk.names() if name.startswith("blob-")]
    assert len(names) == 2
    again = actor.next()
    (past,) = again.history.past.values()
    reopened = again.calls.reopen(past.call, past.lsn, past.values)
    assert [bytes(view) for view in reopened.call.args.buffers] == [LARGE.data]
    assert [one.data for one in reopened.call.arg_values] == [payload(1).data, LARGE.data]


def test_without_room_for_its_large_arguments_a_call_is_refused(actor: Incarnation) -> None:
    actor.disk.fails["put"] = errno.ENOSPC
    assert actor.take(call_of(1, args=Payload(b"args", (memoryview(LARGE.data),)))) is None
    ((peer, message),) = actor.told()
    assert peer == DRIVER
    error = raised(message)
    assert isinstance(error, StorageFullError)
    assert "has no effect" in str(error)
    del actor.disk.fails["put"]
    assert actor.take(call_of(2)) is not None, "the log goes on"
    assert len(actor.records(Call)) == 1


def test_a_disk_that_fails_under_a_large_value_ends_the_process(actor: Incarnation) -> None:
    actor.disk.fails["put"] = errno.EIO
    with pytest.raises(SealedError, match="A large value could not be written beside the log"):
        actor.guarded.do(actor.guarded.put_aside, (LARGE,), 1)  # of a call that has begun
    with pytest.raises(SealedError):
        actor.guarded.write()


# -- ending ------------------------------------------------------------------------------------------------------


def test_large_results_are_beside_the_log_and_are_given_again(actor: Incarnation) -> None:
    result = Payload(b"array", (memoryview(LARGE.data),))
    actor.run(call_of(1), result)
    assert actor.told()[0][1].results == (result,)
    again = actor.next()
    again.take(call_of(1, seq=3))
    ((_, message),) = again.told()
    assert [bytes(view) for view in message.results[0].buffers] == [LARGE.data]
    (done,) = again.records(Done)
    assert len(done.answer) < 500


@pytest.mark.parametrize("has", range(4))
def test_a_streaming_call_gives_again_what_its_caller_lacks(actor: Incarnation, has: int) -> None:
    logged = actor.take(call_of(1, num_returns=STREAMING))
    assert logged is not None
    for number in range(3):
        assert not actor.calls.keep_item(logged, ItemYielded(1, number, payload(number)))
    actor.calls.finish(logged, CallSucceeded(1, (), 0.5))
    actor.told()
    actor.take(call_of(1, seq=8, num_returns=STREAMING, skip_items=has))
    told = [message for _, message in actor.told()]
    assert [(one.seq, one.index, one.payload) for one in told[:-1]] == [(8, n, payload(n)) for n in range(has, 3)]
    assert (type(told[-1]), told[-1].seq, told[-1].results) == (CallSucceeded, 8, ())


def test_a_call_that_was_begun_before_has_to_do_the_same_again(actor: Incarnation) -> None:
    logged = actor.take(call_of(1))
    assert logged is not None
    actor.guarded.do(actor.log.add_value, 1, Value(0, ValueKind.NOW, bytes(8)))
    again = actor.next()
    (past,) = again.history.past.values()
    reopened = again.calls.reopen(past.call, past.lsn, past.values)
    journal: Any = type("Nobody", (), {"actor_id": ACTOR})()
    reopened.running.turn = Turn(journal, 1, "Account.deposit", reopened.past, is_over=False)
    with pytest.raises(ReplayDivergenceError, match="ended without asking for the time"):
        again.calls.finish(reopened, CallSucceeded(0, (payload(1),)))
    assert not again.records(Done)


def test_what_was_taken_up_again_answers_those_who_ask_again(actor: Incarnation) -> None:
    actor.take(call_of(1))
    again = actor.next()
    (past,) = again.history.past.values()
    reopened = again.calls.reopen(past.call, past.lsn, past.values)
    assert again.take(call_of(1, seq=6)) is None
    again.calls.finish(reopened, CallSucceeded(reopened.running.seq, (payload(7),)))
    assert [(peer, one.seq, one.results) for peer, one in again.told()] == [(DRIVER, 6, (payload(7),))]


def keyed(counter: int, seq: int, **facts: Any) -> CallMethod:
    identity = CallIdentity(DRIVER, ids.object_id(DRIVER, counter), 0, b"arguments")
    return call_of(counter, seq=seq, key="order 7", identity=identity, **facts)


def test_who_cancels_a_call_that_others_wait_for_gives_up_waiting_and_no_more(actor: Incarnation) -> None:
    """Also where it is one process that waits several times, under one key."""
    actor.take(keyed(1, 1))
    again = actor.next()
    (past,) = again.history.past.values()
    reopened = again.calls.reopen(past.call, past.lsn, past.values)
    for seq in (1, 2, 3):
        again.take(keyed(seq, seq))
    again.calls.cancel_open(DRIVER, keyed(2, 2))
    assert again.told() == [(DRIVER, CallCancelled(2, started=False))]
    assert not reopened.running.cancelled
    again.calls.cancel_open(DRIVER, keyed(1, 1))
    assert again.told() == [(DRIVER, CallCancelled(1, started=False))]
    assert not reopened.running.cancelled
    again.calls.cancel_open(DRIVER, keyed(3, 3))
    assert not again.told(), "the call itself is given up, which tells the last"
    assert reopened.running.cancelled
    again.calls.cancel(reopened)
    assert again.told() == [(DRIVER, CallCancelled(3, started=False))]


def test_what_its_caller_cancels_before_it_runs_goes_on_for_those_who_wait_besides(actor: Incarnation) -> None:
    logged = actor.take(keyed(1, 1))
    assert logged is not None
    actor.take(keyed(2, 2))
    actor.take(keyed(3, 3), OTHER)
    logged.running.cancelled = True
    assert actor.calls.hand_over(logged)
    assert actor.told() == [(DRIVER, CallCancelled(1, started=False))]
    assert (logged.running.caller, logged.running.seq, logged.running.cancelled) == (b"", logged.lsn, False)
    assert (logged.call.seq, logged.call.task_id) == (logged.lsn, logged.call_id)
    actor.calls.finish(logged, CallSucceeded(logged.call.seq, (payload(7),), 0.5))
    assert [(peer, one.seq, one.results) for peer, one in actor.told()] == [
        (DRIVER, 2, (payload(7),)),
        (OTHER, 3, (payload(7),)),
    ]


def test_what_nobody_else_waits_for_is_not_handed_over(actor: Incarnation) -> None:
    logged = actor.take(keyed(1, 1))
    assert logged is not None
    assert not actor.calls.hand_over(logged)
    assert not actor.told()


@pytest.mark.parametrize("ends", ["abort", "cancel"])
def test_a_call_that_is_given_up_stays_so(actor: Incarnation, ends: str) -> None:
    logged = actor.take(call_of(1))
    assert logged is not None
    if ends == "abort":
        actor.calls.abort(logged, "it has ended 4 processes")
    else:
        actor.calls.cancel(logged)
    (told,) = actor.told()
    again = actor.next()
    assert again.take(call_of(1)) is None
    for _, message in (told, *again.told()):
        if ends == "abort":
            problem = raised(message)
            assert isinstance(problem, CallAbortedError)
            assert "given up: it has ended 4 processes. It had no effect" in str(problem)
        else:
            assert message == CallCancelled(1, started=False)
    assert len(again.records(Abort)) == 1


# -- calls that are over by a checkpoint -------------------------------------------------------------------------


def test_a_persist_call_is_over_by_a_checkpoint(actor: Incarnation) -> None:
    actor.run(call_of(1, is_persist=True), payload(7))
    assert actor.told()[0][1].results == (payload(7),)
    (made,), _ = manifest.read_all(actor.disk)
    assert made.lsn == 1
    again = actor.next()
    assert not again.history.past, "nothing is to be done again"
    again.take(call_of(1))
    assert again.told()[0][1].results == (payload(7),)


@pytest.mark.parametrize("problem", ["state", "manifest"])
def test_without_a_checkpoint_a_persist_call_is_undone(actor: Incarnation, problem: str) -> None:
    logged = actor.take(call_of(1, is_persist=True))
    assert logged is not None
    actor.guarded.write()
    if problem == "state":
        actor.subject.problem = TypeError("a lock cannot be pickled.")
    else:
        actor.disk.fails["replace"] = errno.ENOSPC
    with pytest.raises(UndoneError, match=r"Account\.deposit \(lsn 1\)"):
        actor.calls.finish(logged, CallSucceeded(1, (payload(7),)))
    ((_, message),) = actor.told()
    assert isinstance(raised(message), CallAbortedError)
    assert ".." not in str(raised(message))
    actor.disk.fails.clear()
    assert not manifest.read_all(actor.disk)[0]
    assert not actor.records(Done)
    again = actor.next()
    again.take(call_of(1))
    assert isinstance(raised(again.told()[0][1]), CallAbortedError)


def test_the_items_of_a_persist_call_leave_with_its_end(actor: Incarnation) -> None:
    logged = actor.take(call_of(1, is_persist=True, num_returns=STREAMING))
    assert logged is not None
    assert actor.calls.keep_item(logged, ItemYielded(1, 0, payload(0)))
    assert not actor.told()
    actor.guarded.write()
    actor.calls.finish(logged, CallSucceeded(1, ()))
    assert [type(message) for _, message in actor.told()] == [ItemYielded, CallSucceeded]


def large_result(actor: Incarnation, call: CallMethod) -> str:
    """Have a call return what is beside the log; return the name of that file."""
    actor.run(call, Payload(b"array", (memoryview(LARGE.data),)))
    actor.told()
    (name,) = [name for name in actor.disk.names() if name.startswith("blob-")]
    return name


@pytest.mark.parametrize("what", ["removed", "damaged"])
@pytest.mark.parametrize("how", ["resent", "key"])
def test_a_recorded_result_that_cannot_be_read_is_said_to_who_asks_and_to_nobody_else(
    actor: Incarnation, what: str, how: str
) -> None:
    identity = CallIdentity(DRIVER, ids.object_id(DRIVER, 1), 0, b"a")
    name = large_result(actor, call_of(1, key="k" * (how == "key"), identity=identity))
    if what == "removed":
        actor.disk.remove([name])
    else:
        actor.disk.damage(name, 100)
    for incarnation in (actor, actor.next()):
        again = call_of(1 if how == "resent" else 2, key="k" * (how == "key"), identity=identity, may_be_known=True)
        assert incarnation.take(again, OTHER) is None
        ((peer, message),) = incarnation.told()
        problem = raised(message)
        assert peer == OTHER
        assert isinstance(problem, CallOutcomeUnknownError)
        assert name in str(problem)
        for part in ("(lsn 1)", "took effect once", "nothing was run now", "cannot be read"):
            assert part in str(problem)
    actor = actor.next()
    actor.run(call_of(3), payload(7))
    assert actor.told()[0][1].results == (payload(7),), "the actor goes on"
    assert len(actor.records(Call)) == 2


@pytest.mark.parametrize("what", ["blob", "segment"])
def test_a_lost_result_whose_record_cannot_be_read_is_not_to_be_had(actor: Incarnation, what: str) -> None:
    """The file goes with a checkpoint, long before the segment with the call's end."""
    name = large_result(actor, call_of(1))
    if what == "blob":
        actor.log.settle(DRIVER, 2)
        actor.log.add_checkpoint(CheckpointData("c1"), keep=1)
        assert name not in actor.disk.names()
    else:
        actor.guarded.write()
        actor.disk.damage(segment.name_at(0), segment.HEAD_BYTES + 60)
    assert actor.take(call_of(2, expected=(LOGGED, 1)), OTHER) is None
    assert actor.told() == [(OTHER, ActorHasChanged(2))]
    actor.run(call_of(3), payload(7))
    assert actor.told()[0][1].results == (payload(7),), "the actor goes on"
