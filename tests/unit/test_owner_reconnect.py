"""What a process tells a head that was started again."""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.ground.clock import FakeClock
from ipyactors.owner import outbox
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.mail import Mail
from ipyactors.owner.reconnect import on_head_restarted, registration
from ipyactors.owner.state import OwnerState
from ipyactors.wire.head_messages import CreateActor, OwnerToHead, RegisterOwner
from ipyactors.wire.memory_channel import Switchboard
from tests.support.head_scenario import actor_spec


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
