"""The owner's mail: what cannot be sent fails alone, and takes nothing else of its batch with it."""

from __future__ import annotations

from typing import Any

import pytest

from ipyactors.ground.clock import FakeClock
from ipyactors.ground.exceptions import SerializationError
from ipyactors.ground.ids import HEAD_ID
from ipyactors.owner import retries
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.mail import Mail
from ipyactors.wire.codec import encode
from ipyactors.wire.head_messages import ReleaseActor
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod, CallRaised, CancelCall, RunTask
from ipyactors.worker.mailbox import Mailbox, on_call
from tests.support.owner_scenario import OwnerScenario, error
from tests.unit.test_worker_mailbox import FakeOut

ONE, OTHER = b"wworker1", b"wworker2"
TOO_LARGE = 2**70


class Socket:
    """A channel that encodes, as the real one does."""

    def __init__(self) -> None:
        self.sent: dict[bytes, list[Any]] = {}

    def send(self, peer: bytes, messages: list[Any]) -> bool:
        encode(messages)
        self.sent.setdefault(peer, []).extend(messages)
        return True


def call(seq: int, counter: int = 0) -> CallMethod:
    return CallMethod(seq, b"t" * 16, "deposit", Payload(b"args"), counter=counter)


def make() -> tuple[Mail, Socket, list[tuple[bytes, Any]]]:
    socket = Socket()
    mail = Mail(socket, socket, EventLog(FakeClock()))  # type: ignore[arg-type]
    unsent: list[tuple[bytes, Any]] = []
    mail.fail = lambda peer, message, _error: unsent.append((peer, message))
    return mail, socket, unsent


def test_a_call_that_cannot_be_encoded_fails_alone() -> None:
    mail, socket, unsent = make()
    bad = call(2, TOO_LARGE)
    mail.to_head(ReleaseActor(b"a" * 16, TOO_LARGE))
    mail.to_head(ReleaseActor(b"a" * 16, 1))
    for message in (call(1), bad, call(3)):
        mail.to_worker(ONE, message)
    mail.to_worker(OTHER, call(1))
    assert mail.flush()
    assert [message for peer, message in unsent if peer == ONE] == [bad]
    assert [one.count for one in socket.sent[HEAD_ID]] == [1]
    assert socket.sent[OTHER] == [call(1)]
    first, stand_in, last = socket.sent[ONE]
    assert (first, last) == (call(1), call(3))
    # Its number is used up, or those behind it would wait for ever; no actor has that incarnation, so it is not run.
    assert (stand_in.seq, stand_in.incarnation, stand_in.args) == (2, -1, Payload(b""))


@pytest.mark.parametrize("kind", ["method", "task"])
def test_who_waits_for_it_is_told(kind: str) -> None:
    owner = OwnerScenario()
    if kind == "method":
        client = owner.actor()
        owner.alive(client, ONE)
        sent = owner.method(client, "deposit")
    else:
        sent = owner.task("deposit")
        owner.grant(1, ONE)
    message = next(one for _, one in owner.out.sent if isinstance(one, (CallMethod, RunTask)))
    retries.on_unsent(owner.state, ONE, message, OverflowError("too large"))
    with pytest.raises(SerializationError, match=r"deposit could not be sent: OverflowError: too large. It was not"):
        raise sent.entries[0].failure  # type: ignore[misc]
    assert not owner.state.holders[ONE].in_flight
    owner.hear(ONE, CallRaised(message.seq, error()))  # the refusal of what stands in for it
    assert isinstance(sent.entries[0].failure, SerializationError)


def test_what_stands_in_for_it_is_refused_by_any_worker() -> None:
    for is_actor in (True, False):
        out = FakeOut()
        box = Mailbox(is_actor=is_actor)
        assert on_call(box, out, ONE, CallMethod(1, b"t" * 16, "", Payload(b""), incarnation=-1)) == 0
        [(_, what, seq, _)] = out.take()
        assert (what, seq, box.streams[ONE].next_seq) == ("refused", 1, 2)


def test_a_task_that_cannot_be_encoded_uses_up_its_number_too() -> None:
    mail, socket, unsent = make()
    bad = RunTask(1, b"t" * 16, b"f", "f", Payload(b"args"), counter=TOO_LARGE)
    mail.to_worker(ONE, bad)
    mail.to_worker(ONE, CancelCall(1))
    assert mail.flush()
    assert unsent == [(ONE, bad)]
    assert [(type(one), one.seq) for one in socket.sent[ONE]] == [(CallMethod, 1), (CancelCall, 1)]
