"""What a process tells a head that was started again."""

from __future__ import annotations

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.clock import FakeClock
from ipyactors.owner import constructors, outbox
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.mail import Mail
from ipyactors.owner.objects import Entry
from ipyactors.owner.reconnect import on_head_restarted, registration
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import (
    ActorChanged,
    CreateActor,
    HoldActor,
    OwnerToHead,
    RegisterOwner,
    ReleaseActor,
)
from ipyactors.wire.memory_channel import Switchboard
from ipyactors.wire.specs import ActorState, ActorStatus, Payload
from tests.support.head_scenario import actor_spec
from tests.support.owner_scenario import OWNER, OwnerScenario


def test_it_is_one_batch_however_much_it_is() -> None:
    """A head may settle after any batch, and must not miss what comes with the registration."""
    board = Switchboard()
    head = board.channel(ids.HEAD_ID, OwnerToHead, bind="mem://head")
    own = board.channel(b"downer01", OwnerToHead)
    own.connect(ids.HEAD_ID, "mem://head")
    mail = Mail(own, own, EventLog(FakeClock()))
    state = OwnerState(b"downer01", "mem://own")
    for number in range(300):
        actor_id = b"a%015d" % number
        client = outbox.client_of(state, actor_id)
        client.weight, client.creation = 1, CreateActor(number, actor_spec(actor_id, b"downer01"))
    on_head_restarted(state, mail, registration(state, 7))
    mail.flush()
    board.deliver()
    [(_, messages)] = head.receive()
    assert isinstance(messages[0], RegisterOwner)
    assert len(messages[0].held) == 300
    assert sum(isinstance(message, CreateActor) for message in messages) == 300


def test_what_is_kept_for_an_actor_without_a_handle_here_is_asked_for_once() -> None:
    """The old head may have told of its end, or of its last start, when nobody could hear it."""
    owner = OwnerScenario()
    entry = Entry(ids.object_id(OWNER, 1))
    entry.complete(Payload(b"value"))
    actor_id = b"a".ljust(16, b".")
    named = constructors.stand_for(owner.state, owner.out, entry)
    constructors.keep(owner.state, owner.out, msgspec.structs.replace(actor_spec(actor_id, OWNER), args=named))
    on_head_restarted(owner.state, owner.out, registration(owner.state, 7))
    assert HoldActor(actor_id) in [message for _, message in owner.out.sent]
    owner.hear(ids.HEAD_ID, ActorChanged(ActorStatus(actor_id, ActorState.DEAD)))
    assert ReleaseActor(actor_id, 1) in [message for _, message in owner.out.sent]
    assert not owner.state.constructors
    assert not owner.state.actors
