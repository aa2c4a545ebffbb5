"""The owner's ``out``: collects what a turn wants sent, and sends it as one batch to each peer.

A payload that carries references or actor handles is announced before it leaves, to their owners and to the head, so
that the receiver is counted before the sender could let go.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ipyactors.ground import ids
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.out import Runner
from ipyactors.wire.channel import Channel
from ipyactors.wire.codec import Message, encode
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod, Define, RunTask, Written

#: A frame of calls has at most this many, so that a worker starts on the first while the last is being packed.
_BATCH_AT_MOST = 128

#: An incarnation that no actor ever has: whatever is for it is refused, by any worker.
_NEVER = -1

_log = logging.getLogger("ipyactors.owner")


class Mail:
    """See :class:`ipyactors.owner.out.Out`. Used under the session's lock only."""

    def __init__(self, outbound: Channel, inbound: Channel, log: EventLog) -> None:
        self._outbound = outbound
        self._inbound = inbound
        self._log = log
        self._head: list[Message] = []
        self._owners: dict[bytes, list[Message]] = {}
        self._workers: dict[bytes, list[Message]] = {}
        self._callers: dict[bytes, list[Message]] = {}
        self.answers: deque[tuple[bytes, Message]] = deque()
        """Answers to callers, with their peer: added by any thread without the lock, taken by :meth:`flush`."""
        self.outputs: list[tuple[Written, int]] = []
        self.lend: Callable[[bytes, Payload], object] = lambda _receiver, _payload: None
        """Announces what a payload contains that is about to be sent; set by the session, like the next."""
        self.receive: Callable[[bytes, Payload], object] = lambda _sender, _payload: None
        self.own: Callable[[Payload], object] = lambda _payload: None
        self.fail: Callable[[bytes, Any, Exception], object] = lambda _peer, _message, _error: None
        """Told what cannot be sent to a peer, for whoever waits for an answer to it; set by the session too."""

    def to_head(self, message: Message) -> None:
        """Send to the head with the next flush."""
        self._head.append(message)

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        """Send to a connected worker with the next flush."""
        if isinstance(message, (RunTask, CallMethod)):
            args = message.args
            if args.refs or args.actor_ids or message.arg_values:
                for payload in (args, *message.arg_values):
                    if payload.names_any:
                        self.lend(worker_id, payload)
        elif isinstance(message, Define) and message.definition.payload.names_any:
            self.lend(worker_id, message.definition.payload)
        batch = self._workers.get(worker_id)
        if batch is None:
            self._workers[worker_id] = [message]
        else:
            batch.append(message)

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Send to the owner of something borrowed with the next flush."""
        self._owners.setdefault(owner_id, []).append(message)

    def to_caller(self, peer: bytes, message: Message) -> None:
        """Answer with the next flush."""
        batch = self._callers.get(peer)
        if batch is None:
            self._callers[peer] = [message]
        else:
            batch.append(message)

    def connect(self, process_id: bytes, address: str) -> None:
        """Make a process reachable."""
        self._outbound.connect(process_id, address)

    def disconnect(self, process_id: bytes) -> None:
        """Forget a process."""
        self._workers.pop(process_id, None)
        self._owners.pop(process_id, None)
        self._outbound.disconnect(process_id)

    def event(
        self,
        kind: EventKind,
        call: PendingCall,
        *,
        duration_s: float = 0.0,
        detail: str = "",
        by: Runner | None = None,
        incarnation: int | None = None,
        ago_s: float = 0.0,
        became: Became = Became.NOT_KNOWN,
    ) -> None:
        """Record what became of a call."""
        self._log.record(kind, call, duration_s, detail, by, incarnation, ago_s, became)

    def object_event(
        self, kind: EventKind, object_id: bytes, *, name: str = "", attempt: int = 0, detail: str = ""
    ) -> None:
        """Record what became of an object."""
        self._log.record_object(kind, object_id, name, attempt, detail)

    def show(self, written: Written, scope: int = 0) -> None:
        """Keep what a call wrote for the shell to show, outside the lock."""
        self.outputs.append((written, scope))

    def flush(self) -> bool:
        """Send everything; first to the head and to owners, who must count what workers and callers are about to get.

        Return whether anything was sent.
        """
        while self.answers:
            self.to_caller(*self.answers.popleft())
        if not (self._head or self._workers or self._callers or self._owners):
            return False
        if self._head:
            # In one frame, so that a new head acts at once on all that this process repeats. Between two frames it
            # might find that everybody has come back, and deny an actor whose creation is repeated in the second.
            messages, self._head = self._head, []
            self._send(self._outbound, ids.HEAD_ID, messages, len(messages))
        if self._owners:
            batches, self._owners = self._owners, {}
            for owner_id, messages in batches.items():
                self._send(self._outbound, owner_id, messages)
        if self._workers:
            batches, self._workers = self._workers, {}
            for worker_id, messages in batches.items():
                self._send(self._outbound, worker_id, messages)
        if self._callers:
            batches, self._callers = self._callers, {}
            for peer, messages in batches.items():
                self._send(self._inbound, peer, messages)
        return True

    def _send(self, channel: Channel, peer: bytes, messages: Sequence[Any], at_most: int = _BATCH_AT_MOST) -> None:
        # A peer that cannot be reached is dead or dying: its death notice settles what it was sent.
        for start in range(0, len(messages), at_most):
            batch = messages[start : start + at_most]
            try:
                channel.send(peer, batch)
            except Exception:
                good = [one for one in (self._sendable(peer, message) for message in batch) if one is not None]
                if len(good) == len(batch) and all(one is other for one, other in zip(good, batch, strict=True)):
                    raise  # it is not the messages
                channel.send(peer, good)

    def _sendable(self, peer: bytes, message: Any) -> Message | None:
        """Return a message, or what goes in its place if it cannot be encoded; None if nothing has to."""
        try:
            encode([message])
        except Exception as error:
            _log.exception("a message of type %s could not be sent", type(message).__name__)
            self.fail(peer, message, error)
            if not isinstance(message, (RunTask, CallMethod)):
                return None
            # Its number has to come, or the calls behind it would wait for it for ever.
            return CallMethod(message.seq, message.task_id, "", Payload(b""), incarnation=_NEVER)
        return message  # type: ignore[no-any-return]

    def take_outputs(self) -> list[tuple[Written, int]]:
        """Return what was not shown yet, each with its scope."""
        outputs, self.outputs = self.outputs, []
        return outputs
