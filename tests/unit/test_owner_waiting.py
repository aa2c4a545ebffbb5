"""What a wait asks again and again, and how often a waiting worker speaks of its CPUs."""

from __future__ import annotations

from ipyactors.engines.waiting import AllDoneOrFailed, Completions
from ipyactors.owner.lending import Lending
from ipyactors.owner.objects import Entry, ObjectTable
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import WorkerBlocked, WorkerUnblocked
from ipyactors.wire.specs import Payload


def test_a_wait_that_is_over_stays_over() -> None:
    objects = ObjectTable()
    slow, failed = Entry(b"1"), Entry(b"2")
    is_over = AllDoneOrFailed(objects, [slow, failed])
    assert not is_over()
    failed.fail(ValueError())
    objects.failures += 1
    assert is_over()
    assert is_over()


def test_a_wait_for_values_ends_with_the_last() -> None:
    entries = [Entry(b"1"), Entry(b"2")]
    is_over = AllDoneOrFailed(ObjectTable(), entries)
    entries[1].complete(Payload(b""))
    assert not is_over()
    entries[0].complete(Payload(b""))
    assert is_over()


def test_entries_are_handed_out_in_the_order_in_which_they_are_done() -> None:
    first, second, third, late = (Entry(name) for name in (b"1", b"2", b"3", b"4"))
    second.complete(Payload(b""))
    completions = Completions([first, second, third, late])
    completions.watch()
    assert completions.take() is second
    assert not completions()
    third.fail(ValueError())
    first.complete(Payload(b""))
    assert completions()
    assert [completions.take(), completions.take()] == [third, first]
    assert not completions()


def test_what_nobody_waits_for_any_more_is_not_called_back() -> None:
    entries = [Entry(b"1"), Entry(b"2")]
    completions = Completions(entries)
    completions.watch()
    assert [len(entry.callbacks or ()) for entry in entries] == [1, 1]
    entries[0].complete(Payload(b""))
    completions.unwatch()
    assert not any(entry.callbacks for entry in entries)
    entries[1].complete(Payload(b""))
    assert completions.take() is entries[0]
    assert not completions()


def test_cpus_are_lent_with_the_first_wait_and_taken_back_after_the_last() -> None:
    told: list[Message] = []
    lending = Lending(told.append)
    with lending.meanwhile():
        with lending.meanwhile():
            assert told == [WorkerBlocked()]
        assert lending.is_under_way
        assert told == [WorkerBlocked()]
    assert not lending.is_under_way
    assert told == [WorkerBlocked(), WorkerUnblocked()]


def test_a_callback_can_be_taken_back() -> None:
    entry, called = Entry(b"1"), list[Entry]()
    callback = called.append
    entry.when_done(callback)
    entry.forget(callback)
    entry.forget(callback)
    entry.complete(Payload(b""))
    entry.forget(callback)
    assert called == []
