"""What a worker may cause: answers to callers, words to the head, a wait. The session provides it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ipyactors.owner.endless_waits import EndlessWait
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import ActorSpec, Payload
from ipyactors.wire.worker_messages import ProbeCalls, Written


class Leader(Protocol):
    """The part of :class:`~ipyactors.wire.leader.LeaderFollowers` that a worker uses."""

    def wake(self) -> None:
        """Make a sleeping leader take a turn."""
        ...


class Custody(Protocol):
    """The part of :class:`~ipyactors.owner.custody.Custody` that a worker uses; every method is thread-safe."""

    def lend(self, receiver: bytes, *payloads: Payload) -> None:
        """Announce the references and handles in payloads that are about to be sent."""
        ...

    def receive(self, sender: bytes, *payloads: Payload) -> None:
        """Take over the references and handles in payloads that have arrived; they live as long as those do."""
        ...

    def watch(self, process_id: bytes) -> None:
        """Hear when a process is gone, or that it is: with an ``OwnerLost``, as a message of the head."""
        ...

    def receive_constructor(self, spec: ActorSpec) -> tuple[object, ...]:
        """Take over the references that an actor is made from; they live as long as what is returned."""
        ...


class Blocking(Protocol):
    """The part of :class:`~ipyactors.owner.blocking.Blocking` that a worker uses."""

    def on_probe(self, message: ProbeCalls, held_up: Callable[[EndlessWait], str | None]) -> None:
        """Somebody waits for calls that are to run here; under the lock."""
        ...


class WorkerSession(Protocol):
    """The part of :class:`~ipyactors.owner.session.Session` that a worker uses; every method is thread-safe."""

    on_output: Callable[[Written, int], None]
    """Shows what calls write that this process has made."""

    @property
    def lock(self) -> threading.RLock:
        """What guards the session and everything that its leader calls."""
        ...

    @property
    def leader(self) -> Leader:
        """Who reads the sockets."""
        ...

    @property
    def custody(self) -> Custody:
        """What counts references and handles that come and go."""
        ...

    @property
    def blocking(self) -> Blocking:
        """What knows which calls wait here."""
        ...

    @property
    def discarded(self) -> list[object]:
        """Things of the user's to let go of: emptied after each turn, on any thread, but not under the lock."""
        ...

    @property
    def is_blocked(self) -> bool:
        """Whether the code that runs here waits for other calls."""
        ...

    def serve(self, on_message: Callable[[bytes, Any], None], on_turn: Callable[[float], float | None]) -> None:
        """Call these under the lock: for each message of a caller, and at the end of each turn of the leader."""
        ...

    def start(self) -> None:
        """Bind, connect, register."""
        ...

    def close(self) -> None:
        """Close the sockets; what is queued gets a moment to leave."""
        ...

    def answer(self, peer: bytes, *messages: Message) -> None:
        """Queue messages for a caller; they leave with the next flush, in order."""
        ...

    def flush(self) -> None:
        """Send what is queued."""
        ...

    def tell_head(self, message: Message) -> None:
        """Send a message to the head."""
        ...

    def repeat_to_head(self, message: Message) -> None:
        """Send a message to the head, and to every one that is started again."""
        ...

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until ``is_done()``; meanwhile this thread may read the sockets for all."""
        ...

    def keep(self, payload: Payload, segment_id: bytes, name: str) -> Payload:
        """Return a fresh payload as it travels: what is large goes to the store."""
        ...

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return payloads with their bytes; may wait for other processes and machines. Raises SegmentsMissing."""
        ...

    def cancel_children(self, task_id: bytes) -> None:
        """Cancel what the call with this task id has submitted from here."""
        ...


class MailboxOut(Protocol):
    """What the mailbox's reactor may cause."""

    def answer(self, peer: bytes, message: Message) -> None:
        """Tell a caller something."""
        ...

    def refuse(self, peer: bytes, seq: int, name: str, why: str) -> None:
        """Answer a call that will not be run, with an error."""
        ...

    def interrupt(self, peer: bytes, seq: int, recursive: bool) -> None:
        """Cancel this call if it is running; else do nothing."""
        ...
