"""What arrives at a process's sockets, in the order in which it is heard."""

from __future__ import annotations

from ipyactors.ground.ids import HEAD_ID
from ipyactors.owner.doors import messages_of
from ipyactors.wire.channel import RECEIVE_AT_MOST
from ipyactors.wire.head_messages import HeadToOwner, LeaseLost, OwnerToHead
from ipyactors.wire.memory_channel import Switchboard
from ipyactors.wire.specs import Death, LossReason
from ipyactors.wire.worker_messages import CallerToWorker, CallSucceeded, WorkerToCaller

WORKER, OWNER = b"wworker1", b"downer01"
LOST = LeaseLost(1, WORKER, Death(LossReason.KILLED))


def test_a_death_is_heard_after_the_answers_that_came_before_it() -> None:
    board = Switchboard()
    head = board.channel(HEAD_ID, OwnerToHead, bind="mem://head")
    worker = board.channel(WORKER, CallerToWorker, bind="mem://worker")
    outbound = board.channel(OWNER, HeadToOwner | WorkerToCaller)
    inbound = board.channel(OWNER, CallerToWorker, bind="mem://owner")
    outbound.connect(HEAD_ID, "mem://head")
    outbound.connect(WORKER, "mem://worker")
    head.send(OWNER, [LOST])
    worker.send(OWNER, [CallSucceeded(1), CallSucceeded(2)])
    worker.send(OWNER, [CallSucceeded(3)])
    board.deliver()
    assert list(messages_of(outbound, inbound)) == [
        (WORKER, CallSucceeded(1)),
        (WORKER, CallSucceeded(2)),
        (WORKER, CallSucceeded(3)),
        (HEAD_ID, LOST),
    ]


def test_the_head_is_heard_however_fast_the_others_talk() -> None:
    class Chatter:
        """A channel on which something has always arrived."""

        said_the_head = False

        def receive(self) -> list[tuple[bytes, list[object]]]:
            others: list[tuple[bytes, list[object]]] = [(WORKER, [CallSucceeded(1)])] * RECEIVE_AT_MOST
            if not self.said_the_head:
                self.said_the_head = True
                others[0] = (HEAD_ID, [LOST])
            return others

    behind: list[bool] = []
    heard = list(messages_of(Chatter(), on_behind=lambda: behind.append(True)))  # type: ignore[arg-type]
    assert heard[-1] == (HEAD_ID, LOST)
    assert behind == [True]
    assert len(heard) < 100_000
