"""Up to where callers have all answers of a durable actor: never too far, for what is settled is forgotten there."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest

from ipyactors.ground import ids
from ipyactors.owner import outbox
from ipyactors.owner.actors import ActorClient, MethodCall, Settling
from ipyactors.owner.objects import Entry
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.specs import ActorState, Payload
from ipyactors.wire.worker_messages import CallIdentity, CallMethod, CallSucceeded
from tests.support.owner_scenario import OwnerScenario, payload

BANK = b"bank".ljust(ids.ACTOR_ID_BYTES, b".")
TEMPLATE = MethodTemplate("deposit", is_durable=True, max_task_retries=-1)


class Calls:
    """Calls to one durable actor, and what is said of them there."""

    def __init__(self) -> None:
        self.settling = Settling()
        self.client = ActorClient(b"account".ljust(ids.ACTOR_ID_BYTES, b"."))
        self.made = 0

    def make(self, identity: CallIdentity | None = None, *, entries: Sequence[Entry] = ()) -> MethodCall:
        self.made += 1
        task_id = ids.object_id(b"downer01", self.made)
        call = MethodCall(TEMPLATE, self.client, task_id, Payload(b""), (), None)
        call.counter = self.made
        call.identity = identity
        call.entries = tuple(entries) or (Entry(task_id, call),)
        self.settling.add(call)
        return call

    def nested(
        self, lsn: int, index: int = 0, caller: bytes = BANK, oldest: int | None = None
    ) -> tuple[MethodCall, Entry]:
        """Make a call in a turn of a durable actor; return it with what the user's code has.

        ``oldest`` is the lowest lsn of the turns that run side by side with it.
        """
        call_id = caller + lsn.to_bytes(8, "big") + index.to_bytes(4, "big")
        entry = Entry(call_id)
        call = self.make(CallIdentity(caller, call_id, lsn), entries=[entry])
        call.caller_settled = lsn if oldest is None else oldest
        return call, entry


def answer(call: MethodCall) -> None:
    call.finish(None, (Payload(b"1"),))


def test_a_process_has_an_answer_when_it_has_arrived() -> None:
    calls = Calls()
    first, second, third = calls.make(), calls.make(), calls.make()
    assert calls.settling.below(third) == 1
    answer(second)
    assert calls.settling.below(third) == 1, "the first has none"
    answer(first)
    assert calls.settling.below(third) == 3
    answer(third)
    assert calls.settling.below(calls.make()) == 4


def test_calls_of_this_process_under_a_key_count_with_the_others() -> None:
    calls = Calls()
    keyed = calls.make(CallIdentity(b"downer01", b"id", 0, b"digest"))
    plain = calls.make()
    assert calls.settling.below(plain) == 1
    answer(keyed)
    assert calls.settling.below(plain) == 2
    assert calls.settling.below(keyed) == 2


def test_a_call_that_is_tried_again_has_no_answer() -> None:
    calls = Calls()
    first, second = calls.make(), calls.make()
    answer(second)
    first.take_retry()
    assert calls.settling.below(first) == 1


@pytest.mark.parametrize("caller", [b"retried" + b"downer01", b"init" + BANK])
def test_who_may_do_all_again_has_settled_nothing_here(caller: bytes) -> None:
    calls = Calls()
    for index in range(3):
        call = calls.make(CallIdentity(caller, caller + bytes([index]), index))
        answer(call)
        assert calls.settling.below(call) == 0
    assert calls.settling.below(calls.make()) == 4, "it is no call of this process"


def test_an_actor_has_an_answer_when_it_is_in_its_log() -> None:
    calls = Calls()
    first, kept = calls.nested(3)
    second, _ = calls.nested(4)
    answer(first)
    answer(second)
    third, _ = calls.nested(5)
    assert calls.settling.below(third) == 3, "its result can still be asked for"
    first.is_consumed = True
    assert calls.settling.below(third) == 3, "the log may not be safe yet"
    assert calls.settling.below(second) == 3
    fourth, _ = calls.nested(6)
    assert calls.settling.below(fourth) == 5, "of the second nobody has the reference; the third has no answer"
    assert kept is not None


def test_what_a_new_constructor_calls_is_counted_high_and_settles_nothing() -> None:
    """It runs before the calls of the log are made again, and is counted by the last of them."""
    calls = Calls()
    for lsn in (3, 4):
        answer(calls.nested(lsn)[0])
    again = Calls()
    call_id = BANK + bytes(8) + (7).to_bytes(4, "big")
    entry = Entry(call_id)
    constructing = again.make(CallIdentity(BANK, call_id, 4), entries=[entry])
    constructing.caller_settled = 4
    assert again.settling.below(constructing) == 0
    fourth, _ = again.nested(4)
    assert again.settling.below(fourth) == 0, "the call before may have no answer"
    answer(constructing)
    constructing.is_consumed = True
    fifth, _ = again.nested(5)
    assert again.settling.below(fifth) == 4


def test_an_actor_that_is_rid_of_a_reference_has_settled_it_with_its_next_call() -> None:
    calls = Calls()
    first, kept = calls.nested(3)
    answer(first)
    second, _ = calls.nested(4)
    assert calls.settling.below(second) == 3
    del kept
    assert calls.settling.below(second) == 3, "whether it was let go of may depend on what is not safe yet"
    third, _ = calls.nested(5)
    assert calls.settling.below(third) == 4


def test_a_call_without_an_answer_is_not_settled_though_nobody_has_its_reference() -> None:
    calls = Calls()
    calls.nested(3)
    call, _ = calls.nested(4)
    assert calls.settling.below(call) == 3
    assert calls.settling.below(calls.nested(5)[0]) == 3


def test_calls_of_one_turn_are_settled_together() -> None:
    calls = Calls()
    first, _ = calls.nested(3, 0)
    second, _ = calls.nested(3, 1)
    answer(first)
    third, _ = calls.nested(3, 2)
    assert calls.settling.below(third) == 3
    answer(second)
    assert calls.settling.below(calls.nested(4)[0]) == 3, "one of the three has no answer"


def test_turns_side_by_side_settle_nothing_of_those_that_have_not_called_yet() -> None:
    calls = Calls()
    third, _ = calls.nested(3, oldest=1)
    assert calls.settling.below(third) == 1, "the turns at 1 and 2 may call as well"
    answer(third)
    third.is_consumed = True
    second, _ = calls.nested(2, oldest=1)
    assert calls.settling.below(second) == 1
    answer(second)
    second.is_consumed = True
    assert calls.settling.below(calls.nested(5, oldest=4)[0]) == 4
    first_of_next = calls.nested(4, oldest=4)[0]
    assert calls.settling.below(first_of_next) == 4
    assert calls.settling.below(calls.nested(7)[0]) == 4, "nor of those that were made later and are not over"


def test_callers_do_not_settle_for_each_other() -> None:
    calls = Calls()
    other = b"other".ljust(ids.ACTOR_ID_BYTES, b".")
    first, _ = calls.nested(90)
    mine = calls.make()
    second, _ = calls.nested(4, caller=other)
    assert calls.settling.below(first) == 90
    assert calls.settling.below(mine) == 2
    assert calls.settling.below(second) == 4


def test_what_is_settled_is_not_kept() -> None:
    calls = Calls()
    for _ in range(3):
        answer(calls.make())
    alive = sum(type(one) is MethodCall and one.client is calls.client for one in gc.get_objects())
    assert alive == 3
    last = calls.make()
    calls.settling.below(last)
    assert sum(type(one) is MethodCall and one.client is calls.client for one in gc.get_objects()) == 1


# -- through the owner's tables ----------------------------------------------------------------------------------


class Owner(OwnerScenario):
    """An owner that hosts a durable actor, which calls another one."""

    def nested(self, client: ActorClient, lsn: int) -> Entry:
        """Make a call in a turn; return what the user's code has of it."""
        call_id = BANK + lsn.to_bytes(8, "big") + bytes(4)
        call = MethodCall(TEMPLATE, client, self._next_task_id(), payload(lsn), (), None)
        call.identity = CallIdentity(BANK, call_id, lsn)
        call.caller_settled = lsn
        self._submit(call, 1)
        self.settle()
        return call.entries[0]

    def sent(self) -> list[CallMethod]:
        sent = [message for _, message in self.out.sent if isinstance(message, CallMethod)]
        self.out.sent.clear()
        return sent


def test_what_is_not_taken_outlives_the_last_handle() -> None:
    """A reference may be kept where no handle is: the actor that made it must not forget its answer meanwhile."""
    owner = Owner()
    client = owner.actor("account")
    owner.alive(client, b"wworker1")
    kept = owner.nested(client, 3)
    owner.hear(b"wworker1", CallSucceeded(1, (payload(1),)))
    assert kept.done
    outbox.count_handle(owner.state, client, -1)
    owner.settle()
    assert client.actor_id not in owner.state.actors
    again = owner.actor("account")
    assert again is not client
    owner.alive(again, b"wworker1")
    owner.sent()
    owner.nested(again, 8)
    assert [call.settled for call in owner.sent()] == [3]
    assert not owner.state.left_settlings
    del kept
    owner.nested(again, 9)
    assert [call.settled for call in owner.sent()] == [8]


def test_nothing_is_kept_of_an_actor_whose_results_are_all_taken() -> None:
    owner = Owner()
    client = owner.actor("account")
    owner.alive(client, b"wworker1")
    owner.nested(client, 3)
    owner.hear(b"wworker1", CallSucceeded(1, (payload(1),)))
    outbox.count_handle(owner.state, client, -1)
    owner.settle()
    assert not owner.state.actors
    assert not owner.state.left_settlings


def test_what_is_sent_again_says_what_was_safe_when_calls_were_made() -> None:
    """A result was taken meanwhile, and is perhaps not safe in the log of who took it."""
    owner = Owner()
    client = owner.actor("account")
    owner.alive(client, b"wworker1")
    kept = [owner.nested(client, 3), owner.nested(client, 4)]
    (first,) = [call for call in client.in_flight.values() if call.seq == 1]
    owner.hear(b"wworker1", CallSucceeded(1, (payload(1),)))
    first.is_consumed = True
    owner.sent()
    owner.died(client, b"wworker1", started=2, final=False)
    owner.alive(client, b"wworker2", 1)
    assert [(call.identity.counter, call.settled) for call in owner.sent() if call.identity] == [(4, 3)]
    assert len(kept) == 2
    assert client.state is ActorState.ALIVE
