"""A session without sockets for tests of the worker: keeps what is answered, and tells apart what has been sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ipyactors.wire.specs import ActorSpec, Payload


class FakeLeader:
    """Counts how often it was woken."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class FakeCustody:
    """Keeps what was received and lent, with whom."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Payload]] = []
        self.lent: list[tuple[bytes, Payload]] = []
        self.watched: set[bytes] = set()

    def lend(self, receiver: bytes, *payloads: Payload) -> None:
        self.lent.extend((receiver, payload) for payload in payloads)

    def receive(self, sender: bytes, *payloads: Payload) -> None:
        self.received.extend((sender, payload) for payload in payloads)

    def watch(self, process_id: bytes) -> None:
        self.watched.add(process_id)

    def receive_constructor(self, spec: ActorSpec) -> tuple[object, ...]:
        self.receive(spec.owner_id, spec.args, *spec.arg_values)
        return ()


class FakeSession:
    """See :class:`ipyactors.worker.out.WorkerSession`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.leader = FakeLeader()
        self.discarded: list[object] = []
        self.is_blocked = False
        self.queued: list[tuple[bytes, Any]] = []
        self.sent: list[tuple[bytes, Any]] = []
        self.head: list[Any] = []
        self.cancelled_children: list[bytes] = []
        self.custody = FakeCustody()
        self.flushes = 0
        self.is_closed = False

    def serve(self, on_message: Callable[[bytes, Any], None], on_turn: Callable[[float], float | None]) -> None:
        self.on_message = on_message
        self.on_turn = on_turn

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    def answer(self, peer: bytes, *messages: Any) -> None:
        self.queued.extend((peer, message) for message in messages)

    def flush(self) -> None:
        self.flushes += 1
        self.sent += self.queued
        self.queued.clear()

    def tell_head(self, message: Any) -> None:
        self.head.append(message)

    def repeat_to_head(self, message: Any) -> None:
        self.tell_head(message)

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        return is_done()

    def cancel_children(self, task_id: bytes) -> None:
        self.cancelled_children.append(task_id)

    def take(self) -> list[Any]:
        """Return every message answered so far, sent or not, and forget them."""
        messages = [message for _, message in self.sent + self.queued]
        self.sent.clear()
        self.queued.clear()
        return messages
