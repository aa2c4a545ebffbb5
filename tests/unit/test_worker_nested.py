"""Nested calls through a replay: which are kept back, which must be sent after all, and which are not answered."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ipyactors.ground import ids
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import PendingCall, TaskCall
from ipyactors.owner.current import Submission
from ipyactors.owner.objects import Entry
from ipyactors.owner.streams import Stream
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallIdentity
from ipyactors.worker.nested import Nested
from tests.support.owner_scenario import error, payload, task_template

ACTOR = b"a" * ids.ACTOR_ID_BYTES


class Replay:
    """An actor that is replayed, and makes calls in it."""

    def __init__(self) -> None:
        self.sent: list[PendingCall] = []
        self.nested = Nested(self.sent.append)
        self.made = 0

    def method(
        self, *, durable: bool = True, returns: int = 1, lsn: int = 1, is_replayed: bool = True
    ) -> tuple[MethodCall, list[Entry]]:
        template = MethodTemplate("deposit", num_returns=returns, is_durable=durable)
        call = MethodCall(template, ActorClient(b"b" * 16), self._next_id(), Payload(b""), (), None)
        return call, self._register(call, returns, lsn, is_replayed, durable=durable)

    def task(self, *, lsn: int = 1) -> tuple[TaskCall, list[Entry]]:
        call = TaskCall(task_template(), self._next_id(), Payload(b""), (), None)
        return call, self._register(call, 1, lsn, True, durable=False)

    def _next_id(self) -> bytes:
        self.made += 1
        return ids.object_id(b"wworker1", self.made)

    def _register(self, call: Any, returns: int, lsn: int, is_replayed: bool, *, durable: bool) -> list[Entry]:
        made = Submission(ACTOR, lsn, self.made, is_replayed)
        if durable:
            call.identity = CallIdentity(ACTOR, made.call_id, lsn)
        entries = [Entry(call.task_id[:-1] + bytes([index]), call) for index in range(returns)]
        call.entries = tuple(entries)
        self.nested.register(made, call, tuple(entries))
        return entries


def answer(call: PendingCall) -> None:
    call.finish(None, tuple(payload(1) for _ in call.entries) or (payload(1),))


# -- what is sent after all --------------------------------------------------------------------------------------


def test_a_durable_call_is_sent_though_nobody_waits_for_it() -> None:
    """It may never have arrived; and if it has, it is known there."""
    replay = Replay()
    call, entries = replay.method()
    del entries
    assert replay.nested.release() == 1
    assert replay.sent == [call]
    assert len(call.entries) == 1


def test_what_was_received_is_not_sent_again() -> None:
    replay = Replay()
    _, entries = replay.method()
    replay.nested.note_received(entries, [payload(5)])
    assert replay.nested.release() == 0
    assert not replay.sent


def test_of_several_results_all_have_to_be_received() -> None:
    replay = Replay()
    call, entries = replay.method(returns=2)
    _, others = replay.method(returns=2)
    replay.nested.note_received(entries[:1], [payload(5)])
    replay.nested.note_received(others[:1], [payload(5)])
    replay.nested.note_received(others[1:], [payload(6)])
    replay.nested.release()
    assert replay.sent == [call]


@pytest.mark.parametrize("make", ["task", "plain"])
def test_other_calls_are_sent_only_if_somebody_can_ask_for_their_results(make: str) -> None:
    replay = Replay()
    calls = [replay.task() if make == "task" else replay.method(durable=False) for _ in range(2)]
    (kept, entries), (left, others) = calls
    calls.clear()
    del others
    gc.collect()
    replay.nested.release()
    assert replay.sent == [kept]
    assert kept.entries == tuple(entries)
    assert left.entries == ()


def test_the_objects_that_the_user_has_are_those_that_are_filled() -> None:
    replay = Replay()
    call, (entry,) = replay.method()
    assert call.entries == (), "while it is kept back, it keeps nothing alive"
    replay.nested.release()
    assert call.entries == (entry,)
    answer(call)
    assert entry.done


def test_a_stream_is_sent_again() -> None:
    replay = Replay()
    call, entries = replay.method(durable=False, returns=0)
    call.stream = Stream(call.task_id)
    assert not entries
    assert replay.nested.release() == 1


def test_calls_are_sent_in_the_order_in_which_they_were_made_and_once() -> None:
    replay = Replay()
    made = [replay.method(lsn=lsn) for lsn in (1, 1, 2, 5)]
    replay.nested.release()
    assert replay.sent == [call for call, _ in made]
    assert replay.nested.release() == 0


def test_a_call_that_runs_on_for_real_sends_only_its_own() -> None:
    replay = Replay()
    first, _kept = replay.method(lsn=1)
    second, _too = replay.method(lsn=2)
    assert replay.nested.release(2) == 1
    assert replay.sent == [second]
    assert replay.nested.release(2) == 0
    replay.nested.release()
    assert replay.sent == [second, first]


def test_a_call_that_runs_for_real_is_not_kept_back() -> None:
    replay = Replay()
    call, entries = replay.method(is_replayed=False)
    assert call.entries == tuple(entries)
    assert replay.nested.release() == 0


# -- what is received --------------------------------------------------------------------------------------------


def test_what_a_replay_is_given_can_be_asked_for_again() -> None:
    replay = Replay()
    _, (entry,) = replay.method()
    given = payload(5)
    replay.nested.note_received([entry], [given])
    assert entry.done
    assert entry.payload is given


def test_the_failure_of_one_object_is_its_outcome() -> None:
    replay = Replay()
    _, (entry,) = replay.method()
    failure = error("no")
    replay.nested.note_received([entry], failure)
    assert entry.failure is failure
    assert replay.nested.release() == 0


def test_of_several_objects_a_failure_may_be_of_any() -> None:
    """The others may be asked for once more: their calls have to be sent."""
    replay = Replay()
    made = [replay.method() for _ in range(2)]
    entries = [entry for _, (entry,) in made]
    replay.nested.note_received(entries, error("no"))
    assert not any(entry.done for entry in entries)
    replay.nested.release()
    assert replay.sent == [call for call, _ in made]


@pytest.mark.parametrize("is_replayed", [True, False])
def test_what_is_received_is_consumed(is_replayed: bool) -> None:
    replay = Replay()
    call, entries = replay.method(is_replayed=is_replayed)
    other, _too = replay.method(is_replayed=is_replayed)
    replay.nested.note_received(entries, [payload(5)] if is_replayed else None)
    replay.nested.secure(lambda: None)
    assert (call.is_consumed, other.is_consumed) == (True, False)


def test_what_is_received_is_consumed_once_the_log_is_safe() -> None:
    """The process may be killed before that, and the next one asks for the result again."""
    replay = Replay()
    call, entries = replay.method(is_replayed=False)
    other, others = replay.method(is_replayed=False)
    replay.nested.note_received(entries)
    assert not call.is_consumed

    def secure() -> None:
        assert not call.is_consumed
        replay.nested.note_received(others)  # by another thread: perhaps too late for this time

    replay.nested.secure(secure)
    assert (call.is_consumed, other.is_consumed) == (True, False)
    replay.nested.secure(lambda: None)
    assert other.is_consumed


def test_of_several_results_all_have_to_be_consumed() -> None:
    replay = Replay()
    call, entries = replay.method(returns=2, is_replayed=False)
    replay.nested.note_received(entries[:1])
    replay.nested.secure(lambda: None)
    assert not call.is_consumed
    replay.nested.note_received(entries[1:])
    replay.nested.secure(lambda: None)
    assert call.is_consumed


# -- what is not answered ----------------------------------------------------------------------------------------


def test_a_call_is_unanswered_until_it_is() -> None:
    replay = Replay()
    assert not replay.nested.unanswered()
    first, _ = replay.method(is_replayed=False)
    second, _ = replay.method(is_replayed=False)
    assert replay.nested.unanswered()
    answer(first)
    assert replay.nested.unanswered()
    answer(second)
    assert not replay.nested.unanswered()


def test_answers_that_overtake_each_other_hide_nothing() -> None:
    replay = Replay()
    first, _ = replay.method(is_replayed=False)
    second, _ = replay.method(is_replayed=False)
    answer(second)
    third, _ = replay.method(is_replayed=False)
    answer(third)
    assert replay.nested.unanswered()
    answer(first)
    assert not replay.nested.unanswered()


def test_what_is_sent_after_a_replay_is_unanswered() -> None:
    replay = Replay()
    call, _ = replay.method()
    replay.nested.release()
    assert replay.nested.unanswered()
    answer(call)
    assert not replay.nested.unanswered()


@pytest.mark.parametrize("make", [Replay.task, lambda replay: replay.method(durable=False, is_replayed=False)])
def test_other_calls_are_not_waited_for(make: Callable[[Replay], Any]) -> None:
    """Nobody promises that they take effect, and a state with references to their results makes no checkpoint."""
    replay = Replay()
    kept = make(replay)
    replay.nested.release()
    assert kept
    assert not replay.nested.unanswered()


@pytest.mark.parametrize("durable", [True, False])
def test_nothing_is_kept_of_calls_whose_results_nobody_has(durable: bool) -> None:
    replay = Replay()
    call, (entry,) = replay.method(durable=durable, is_replayed=False)
    answer(call)
    watched = weakref.ref(entry)
    replay.method(is_replayed=False)
    del entry, call
    gc.collect()
    assert watched() is None


def test_a_call_that_is_kept_back_counts_as_a_handle_until_it_is_sent() -> None:
    """The user's code may have had the only handle while the replay ran; without one the actor is let go of."""
    held: list[ActorClient] = []

    class Token:
        def __init__(self, client: ActorClient) -> None:
            self.client = client
            held.append(client)

        def __del__(self) -> None:
            held.remove(self.client)

    replay = Replay()
    sent_with: list[int] = []
    replay.nested = Nested(lambda _call: sent_with.append(len(held)), hold=Token)
    replay.method()
    assert len(held) == 1
    replay.nested.release()
    gc.collect()
    assert sent_with == [1]
    assert held == []


def test_what_the_log_says_of_an_object_is_given_to_it() -> None:
    """A later call may ask for it again; of several results of one call each counts for itself."""
    replay = Replay()
    call, (one, other) = replay.method(returns=2)
    failed, (bad,) = replay.method()
    replay.nested.note_received([one], [payload(1)])
    replay.nested.note_received([bad], error("no"))
    assert one.done
    assert one.payload == payload(1)
    assert bad.failure == error("no")
    assert not other.done
    assert not call.is_consumed
    assert failed.is_consumed
    assert replay.nested.release() == 1, "the other result is still to come"
    assert replay.sent == [call]
    replay.nested.note_received([other], [payload(2)])
    assert call.is_consumed
