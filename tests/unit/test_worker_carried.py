"""Calls without an answer in a checkpoint: which it can have, and that they come out as they went in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ipyactors.durable import manifest
from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.ground import ids
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState
from ipyactors.owner.objects import Entry
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.specs import Payload, RefSpec
from ipyactors.wire.worker_messages import CallIdentity
from ipyactors.worker import carried
from tests.support.owner_scenario import payload

ME = b"a" * ids.ACTOR_ID_BYTES
OTHER = b"b" * ids.ACTOR_ID_BYTES
ARGS = Payload(b"args")


def made(number: int = 1, target: bytes = OTHER, args: Payload = ARGS, **facts: Any) -> MethodCall:
    template = MethodTemplate("deposit", max_task_retries=3, class_name="Account", is_durable=True, **facts)
    call = MethodCall(template, ActorClient(target, "Account"), ids.object_id(b"wworker1", number), args, (), None)
    call.identity = CallIdentity(ME, b"call %d" % number, number, b"digest")
    call.state = CallState.SENT
    return call


def carry_all(calls: list[MethodCall], meanwhile: Callable[[], None] = lambda: None) -> tuple[Any, ...]:
    def wait(is_done: Callable[[], bool], _timeout_s: float) -> bool:
        if not is_done():
            meanwhile()
        return is_done()

    return carried.carry_all(lambda: [call for call in calls if call.state is not CallState.DONE], wait, ME, 5.0)


def test_a_call_comes_out_of_a_manifest_as_it_went_in() -> None:
    call = made(7, args=Payload(b"args", (memoryview(b"buffer"),)), num_returns=2, retry_on=b"r", key="k")
    call.attempt = 2
    done = Entry(b"o" * 20)
    done.complete(payload(5))
    call.deps = (done,)
    facts: Any = (1, 2, 3, Snapshot(0))
    written = manifest.encode(Manifest(1, CheckpointData("c", carried=carry_all([call])), *facts))
    (one,) = manifest.decode(written).data.carried
    again = carried.call_again(one, ActorClient(one.actor_id, one.class_name), b"t" * 20)
    assert (again.template, again.identity, again.client.actor_id) == (call.template, call.identity, OTHER)
    assert (again.args.data, [bytes(view) for view in again.args.buffers]) == (b"args", [b"buffer"])
    assert again.arg_values() == call.arg_values()
    assert (again.attempt, again.retries_left) == (2, call.retries_left)
    assert again.may_be_known, "it may have arrived"


def test_they_keep_their_order_and_those_with_an_answer_are_left_out() -> None:
    calls = [made(number) for number in (1, 2, 3)]
    calls[1].finish(None, (payload(1),))
    assert [one.counter for one in carry_all(calls)] == [1, 3]


REF = RefSpec(b"o" * 20, "mem://")


@pytest.mark.parametrize("args", [Payload(b"x", refs=(REF,)), Payload(b"x", actor_ids=(OTHER,))])
def test_what_a_checkpoint_cannot_have_is_waited_for(args: Payload) -> None:
    call, other = made(1, args=args), made(2)
    assert [one.counter for one in carry_all([call, other], lambda: call.finish(None, (payload(1),)))] == [2]
    with pytest.raises(TimeoutError, match=r"no answer for 5 s.*: Account\.deposit"):
        carry_all([made(1, args=args)])


def test_arguments_that_are_not_there_are_waited_for() -> None:
    call = made()
    call.state, call.deps = CallState.WAITING, (Entry(b"o" * 20),)

    def arrive() -> None:
        call.deps[0].complete(payload(5))
        call.state = CallState.QUEUED

    assert carry_all([call], arrive)[0].arg_values == (payload(5),)


def test_a_call_to_itself_is_not_waited_for() -> None:
    """It is run when the checkpoint is made, and not before."""
    waits: list[None] = []
    assert carry_all([made(target=ME)], lambda: waits.append(None))
    with pytest.raises(TimeoutError, match=r"had no answer, and that a checkpoint cannot have"):
        carry_all([made(target=ME, args=Payload(b"x", refs=(REF,)))], lambda: waits.append(None))
    assert not waits
