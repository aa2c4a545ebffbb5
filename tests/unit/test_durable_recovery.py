"""What recovery makes of whole records: tables, calls to replay, and a refusal where they contradict each other."""

from __future__ import annotations

import pytest

from ipyactors.durable import call_tables, log, manifest, recovery
from ipyactors.durable.call_tables import CallTables, Snapshot, Verdict
from ipyactors.durable.log import LogWriter
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.durable.record import Abort, Body, Call, Done, Open, Outcome, Value, ValueKind
from ipyactors.durable.recovery import History, HistoryError
from ipyactors.wire.specs import Payload
from tests.support.sim_disk import SimDisk

ACTOR = b"a" * 16


def call(name: str, counter: int = 1, key: str = "", digest: bytes = b"") -> Call:
    return Call(name.encode(), b"driver00", counter, "deposit", Payload(b""), key=key, digest=digest or name.encode())


def value(index: int) -> Value:
    return Value(index, ValueKind.NOW, b"")


def done(name: str) -> Done:
    return Done(name.encode(), Outcome.RETURNED, b"answer of " + name.encode())


def follow(*records: tuple[int, Body] | tuple[int, Body, int]) -> History:
    """Write records (lsn, what it says, incarnation 0 or another) and return what recovery makes of them."""
    disk = SimDisk()
    for lsn, body, *incarnation in records:
        writer = LogWriter(disk, ACTOR, *(incarnation or [0]), log.read(disk, ACTOR), syncs=False)
        writer.append(body, lsn)
        writer.write()
    return recovery.follow(None, log.read(disk, ACTOR))


def test_the_past_is_what_was_executed_and_what_was_not_ended() -> None:
    history = follow((0, Open(b"", "process")), (1, call("a")), (1, value(0)), (1, done("a")), (2, call("b", 2)))
    assert [(past.lsn, len(past.values), past.end) for past in history.past.values()] == [
        (1, 1, done("a")),
        (2, 0, None),
    ]
    assert history.tables.last_lsn == 2
    assert [call_tables.judge(history.tables, one) for one in (call("a"), call("b", 2), call("c", 3))] == [
        Verdict.RECORDED,
        Verdict.RUNNING,
        Verdict.NEW,
    ]


def test_it_is_known_which_incarnations_a_call_has_ended() -> None:
    history = follow(
        (0, Open(b"", "process")),
        (1, call("a")),
        (2, call("b", 2)),
        (2, Open(b"", "process", interrupted=1), 1),
        (2, Open(b"", "process", interrupted=1), 2),
        (2, Open(b"", "process"), 3),
    )
    assert history.crashes == {1: (0, 1)}
    assert history.incarnation == 3


@pytest.mark.parametrize(
    ("records", "lsn"),
    [
        ([(2, call("a"))], 2),
        ([(1, call("a")), (1, done("a")), (3, call("b", 2))], 3),
        ([(1, call("a")), (2, call("a"))], 2),
        ([(1, value(0))], 1),
        ([(1, call("a")), (1, value(1))], 1),
        ([(1, call("a")), (1, value(0)), (1, value(0))], 1),
        ([(1, call("a")), (1, done("a")), (1, value(0))], 1),
        ([(1, call("a")), (1, done("a")), (1, done("a"))], 1),
        ([(1, call("a")), (2, call("b", 2)), (2, done("a"))], 2),
        ([(1, call("a")), (2, call("b", 2)), (1, Abort(b"b", "given up"))], 1),
        ([(2, Abort(b"a", "given up", b"driver00", 1))], 2),
        ([(1, call("a"), 5), (1, done("a"), 4)], 1),
    ],
)
def test_records_that_contradict_each_other_are_refused(records: list[tuple[int, Body]], lsn: int) -> None:
    with pytest.raises(HistoryError) as caught:
        follow(*records)
    assert caught.value.lsn == lsn


def test_a_manifest_under_the_name_of_another_is_none() -> None:
    disk = SimDisk()
    manifest.write(disk, Manifest(2, CheckpointData("a"), 0, 0, 0, Snapshot(0)))
    disk.replace(manifest.name_of(3), disk.read(manifest.name_of(2)))
    whole, problems = manifest.read_all(disk)
    assert [one.number for one in whole] == [2]
    assert problems == {manifest.name_of(3): "it says that it is checkpoint 2"}


# -- the tables ------------------------------------------------------------------------------------------------


def taken(*calls: Call) -> CallTables:
    made = CallTables()
    for lsn, one in enumerate(calls, 1):
        call_tables.begin(made, lsn, one)
        call_tables.finish(made, Done(one.call_id, Outcome.RETURNED, one.call_id))
    made.check_invariants()
    return made


def test_another_call_under_a_recorded_id_or_key_is_a_divergence() -> None:
    made = taken(call("a", digest=b"10"), call("b", 2, key="pay", digest=b"20"))
    assert call_tables.judge(made, call("a", digest=b"11")) is Verdict.DIVERGED
    assert call_tables.judge(made, call("c", 3, key="pay", digest=b"21")) is Verdict.DIVERGED


def test_a_key_answers_for_its_first_call_for_good() -> None:
    made = taken(call("a", 1, key="pay", digest=b"20"))
    call_tables.settle(made, b"driver00", 2)
    again = call("z", 1, key="pay", digest=b"20")
    assert call_tables.judge(made, again) is Verdict.RECORDED
    assert call_tables.find(made, again).answer == b"a"


def test_the_key_of_an_aborted_call_is_free_again() -> None:
    made = CallTables()
    call_tables.begin(made, 1, call("a", key="pay"))
    call_tables.abort(made, 1, Abort(b"a", "it killed the worker"))
    made.check_invariants()
    assert call_tables.judge(made, call("b", 2, key="pay")) is Verdict.NEW
    assert call_tables.judge(made, call("a")) is Verdict.RECORDED


def test_what_is_settled_is_forgotten_and_never_run_again() -> None:
    made = taken(call("a", 1), call("b", 2), call("c", 3))
    call_tables.settle(made, b"driver00", 3)
    made.check_invariants()
    assert list(made.recorded) == [b"c"]
    assert [call_tables.judge(made, call(*one)) for one in (("a", 1), ("b", 2), ("c", 3), ("d", 4))] == [
        Verdict.SETTLED,
        Verdict.SETTLED,
        Verdict.RECORDED,
        Verdict.NEW,
    ]


def test_the_tables_of_a_checkpoint_are_those_that_were_kept() -> None:
    made = taken(call("a", 1), call("b", 2, key="pay"))
    call_tables.settle(made, b"driver00", 2)
    restored = call_tables.restore(made.snapshot())
    restored.check_invariants()
    assert restored == made


# -- callers that are gone -------------------------------------------------------------------------------------


def called_by(caller_id: bytes, number: int) -> Call:
    return Call(b"%s-%d" % (caller_id, number), caller_id, number, "deposit", Payload(b""), digest=b"%d" % number)


def test_what_a_process_had_called_goes_with_it() -> None:
    made = taken(called_by(b"dprocess", 1), called_by(b"dprocess", 2), called_by(b"wanother", 1))
    call_tables.settle(made, b"dprocess", 2)
    call_tables.forget_process(made, b"dprocess")
    made.check_invariants()
    assert [one.caller_id for one in made.recorded.values()] == [b"wanother"]
    assert not made.settled


@pytest.mark.parametrize("kind", [b"retried", b"reading"])
def test_the_records_of_its_calls_that_may_be_retried_go_and_none_of_them_is_run_again(kind: bytes) -> None:
    """Whoever runs a call of a process that is gone may be there still, and send again what it has made in it."""
    retried = kind + b"dprocess"
    made = taken(called_by(retried, 1), called_by(retried, 2), called_by(b"retriedwanother", 1))
    call_tables.forget_process(made, b"dprocess")
    made.check_invariants()
    assert [one.caller_id for one in made.recorded.values()] == [b"retriedwanother"]
    assert call_tables.judge(made, called_by(retried, 2)) is Verdict.SETTLED
    assert call_tables.judge(made, called_by(retried, 2), may_be_known=False) is Verdict.NEW
    assert call_tables.restore(made.snapshot()) == made
    # One that ends later is kept for whoever has made it.
    late = called_by(retried, 3)
    call_tables.begin(made, 9, late)
    call_tables.finish(made, Done(late.call_id, Outcome.RETURNED, b""))
    assert call_tables.judge(made, late) is Verdict.RECORDED


def test_an_actor_that_lives_long_does_not_grow() -> None:
    made, sizes = CallTables(), set[tuple[int, ...]]()
    for number in range(3 * call_tables.GONE_KEPT):
        process = b"w%07d" % number
        for caller_id in (process, b"retried" + process, b"reading" + process):
            call = called_by(caller_id, 1)
            call_tables.begin(made, made.last_lsn + 1, call)
            call_tables.finish(made, Done(call.call_id, Outcome.RETURNED, b"answer"))
        call_tables.forget_process(made, process)
        late = called_by(b"retried" + process, 2)
        call_tables.begin(made, made.last_lsn + 1, late)
        call_tables.finish(made, Done(late.call_id, Outcome.RETURNED, b"late"))
        if number % 500 == 499:
            made.check_invariants()
            made = call_tables.restore(made.snapshot())
            sizes.add(tuple(map(len, (made.recorded, made.settled, made._by_caller, made.gone))))
    assert len(sizes) <= 3, sizes
    assert max(map(max, sizes)) <= call_tables.GONE_KEPT
