"""Calls without an answer in a checkpoint: which it can have, and that they come out as they went in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ipyactors.durable import blobs, manifest
from ipyactors.durable.call_tables import Snapshot
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectStoreFullError
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import CallState
from ipyactors.owner.missing import SegmentsMissing
from ipyactors.owner.objects import Entry
from ipyactors.owner.templates import MethodTemplate
from ipyactors.wire.head_messages import CreateActor
from ipyactors.wire.specs import ActorSpec, ActorState, Definition, Location, Payload, RefSpec, Stored
from ipyactors.wire.worker_messages import CallIdentity
from ipyactors.worker import carried
from ipyactors.worker.carried import Around
from tests.support.owner_scenario import payload
from tests.support.sim_disk import SimDisk

ME = b"a" * ids.ACTOR_ID_BYTES
OTHER = b"b" * ids.ACTOR_ID_BYTES
ARGS = Payload(b"args")
NO_CLASS = Definition(b"c" * 16, "Account", Payload(b""))


def made(number: int = 1, target: bytes = OTHER, args: Payload = ARGS, **facts: Any) -> MethodCall:
    template = MethodTemplate("deposit", max_task_retries=3, class_name="Account", is_durable=True, **facts)
    call = MethodCall(template, ActorClient(target, "Account"), ids.object_id(b"wworker1", number), args, (), None)
    call.identity = CallIdentity(ME, b"call %d" % number, number, b"digest")
    call.state = CallState.SENT
    return call


def carry_all(calls: list[MethodCall], meanwhile: Callable[[], None] = lambda: None, **how: Any) -> tuple[Any, ...]:
    def wait(is_done: Callable[[], bool], _timeout_s: float) -> bool:
        if not is_done():
            meanwhile()
        return is_done()

    return carried.carry_all(lambda: [call for call in calls if call.state is not CallState.DONE], wait, ME, 5.0, **how)


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


ELSEWHERE = Stored(b"s" * 20, 70_000, (Location(b"n2", "mem://"),))


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (Payload(b"x", refs=(REF,)), "has references inside of its arguments"),
        (Payload(b"", stored=ELSEWHERE), "has an argument that is on another machine"),
    ],
)
def test_what_a_checkpoint_cannot_have_is_waited_for(args: Payload, why: str) -> None:
    call, other = made(1, args=args), made(2)
    assert [one.counter for one in carry_all([call, other], lambda: call.finish(None, (payload(1),)))] == [2]
    with pytest.raises(
        TimeoutError, match=rf"has called Account\.deposit of Account 62.*{why}; it had no answer for 5 s"
    ):
        carry_all([made(1, args=args)])


def test_handles_and_what_is_on_this_machine_are_not_waited_for() -> None:
    here = Payload(b"", stored=Stored(b"s" * 20, 70_000, (Location(b"n1", "mem://"), Location(b"n2", "mem://"))))
    call = made(args=Payload(b"x", actor_ids=(ME, OTHER)))
    call.deps = (Entry(b"o" * 20),)
    call.deps[0].complete(here)
    assert not carried.obstacle(call, Around(b"n1"))
    assert carried.carry(call).args.actor_ids == (ME, OTHER)


def test_an_actor_that_the_head_may_not_know_is_waited_for() -> None:
    """Who is sent the call again would be told that there is no such actor."""
    named = ActorClient(OTHER, "Account")
    around = Around(b"n1", {OTHER: named})
    call = made(args=Payload(b"x", actor_ids=(OTHER,)))
    named.creating = True
    assert "only just being created" in carried.obstacle(call, around)
    named.creating, named.creation = False, CreateActor(0, ActorSpec(OTHER, "", b"", NO_CLASS, Payload(b"")))
    assert carried.obstacle(call, around)
    named.state = ActorState.STARTING
    assert not carried.obstacle(call, around)
    named.state, named.waiting_for = ActorState.PENDING, "4 CPUs"
    assert not carried.obstacle(call, around), "the head knows it, and has no room for it"


LARGE = bytes(70_000)


class Values:
    """A store with one large value."""

    def __init__(self) -> None:
        self.is_empty = False

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        if self.is_empty:
            raise SegmentsMissing((b"s" * 20,))
        return [one if one.stored is None else Payload(LARGE, (memoryview(b"array"),)) for one in payloads]


class Log:
    """The newest checkpoint, and the files beside the log."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.carried: tuple[CarriedCall, ...] = ()
        self.namer = blobs.Namer(1)

    @property
    def log(self) -> Log:
        return self

    def do(self, action: Callable[..., Any], *args: Any) -> Any:
        return action(*args)

    def put_aside_for_checkpoint(self, payloads: Sequence[Payload]) -> Any:
        return blobs.put_aside(self.disk, payloads, self.namer)


def test_large_arguments_are_in_files_and_come_back_with_what_they_name() -> None:
    log, values = Log(), Values()
    anything: Any = log
    aside = carried.Aside(anything, values)
    stored = Payload(b"", actor_ids=(OTHER,), stored=Stored(b"s" * 20, 70_000, (Location(b"", ""),)))
    call = made(args=ARGS)
    call.deps = (Entry(b"o" * 20), Entry(b"p" * 20))
    call.deps[0].complete(stored)
    call.deps[1].complete(Payload(LARGE))
    (one,) = carry_all([call], put_aside=aside.put)
    assert one.args == ARGS
    assert [(value.data, value.stored, value.actor_ids) for value in one.arg_values] == [
        (b"", None, (OTHER,)),
        (b"", None, ()),
    ]
    facts: Any = (1, 2, 3, Snapshot(0))
    written = manifest.encode(Manifest(1, CheckpointData("c", carried=(one,)), *facts))
    assert len(written) < 10_000
    (kept,) = manifest.decode(written).data.carried
    back = carried.brought_back(kept, log.disk)
    assert (back.args, back.blobs) == (ARGS, ())
    assert [(value.data, value.actor_ids) for value in back.arg_values] == [(LARGE, (OTHER,)), (LARGE, ())]
    assert [bytes(view) for view in back.arg_values[0].buffers] == [b"array"]
    assert len(log.disk.names()) == 2
    log.carried = (kept,)
    assert carry_all([call], put_aside=aside.put) == (kept,), "the next checkpoint has the same files"
    assert len(log.disk.names()) == 2
    log.carried, values.is_empty = (), True
    with pytest.raises(OSError, match="argument of its call deposit is not in the store any more"):
        carry_all([call], put_aside=aside.put)


class Session:
    """Holds actors as a session does."""

    def __init__(self) -> None:
        self.clients: dict[bytes, ActorClient] = {}
        self.sent: list[MethodCall] = []
        self.kept: list[Payload] = []

    def adopt_actor(self, actor_id: bytes, class_name: str, _name: str) -> ActorClient:
        client = self.clients.setdefault(actor_id, ActorClient(actor_id, class_name))
        client.handles += 1
        return client

    def count_handle(self, client: ActorClient, change: int) -> None:
        client.handles += change

    def next_task_id(self) -> bytes:
        return b"t" * 20

    def keep(self, payload: Payload, _segment_id: bytes, _name: str) -> Payload:
        if self.kept:
            raise ObjectStoreFullError("no room")
        self.kept.append(payload)
        return payload.with_bytes(b"", (), ELSEWHERE)

    def submit(self, call: MethodCall) -> None:
        self.sent.append(call)
        call.client.outbox.append(call)


def test_actors_that_are_named_are_held_until_there_is_an_answer() -> None:
    session, third = Session(), b"c" * ids.ACTOR_ID_BYTES
    anything: Any = session
    call = made(args=Payload(b"x", actor_ids=(ME, third)))
    (sent,) = carried.send_again(anything, carry_all([call]), SimDisk())
    assert {one.actor_id: one.handles for one in session.clients.values()} == {OTHER: 0, ME: 1, third: 1}
    assert session.sent == [sent]
    assert sent.args.actor_ids == (ME, third)
    sent.finish(None, (payload(1),))
    assert not any(one.handles for one in session.clients.values())


def test_large_arguments_are_in_the_store_again_if_there_is_room() -> None:
    log, session = Log(), Session()
    anything: Any = session
    a_log: Any = log
    calls = [made(number, args=Payload(LARGE)) for number in (1, 2)]
    kept = carry_all(calls, put_aside=carried.Aside(a_log, Values()).put)
    first, second = carried.send_again(anything, kept, log.disk)
    assert (first.args.stored, first.args.data) == (ELSEWHERE, b"")
    assert (second.args.stored, second.args.data) == (None, LARGE)


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
    with pytest.raises(TimeoutError, match=r"it would wait for itself"):
        carry_all([made(target=ME, args=Payload(b"x", refs=(REF,)))], lambda: waits.append(None))
    assert not waits
