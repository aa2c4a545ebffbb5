"""A channel over one ZeroMQ ROUTER socket.

Why ROUTER at both ends: it names its peers, so one socket reaches any number of processes and one descriptor
tells of all of them; the cost of a wait does not grow with the number of actors. ROUTER can also name the peer
that it connects to (``ZMQ_CONNECT_ROUTING_ID``), so a caller addresses a worker by its process id from the first
message on.

A process that both serves and calls has two channels, one bound and one connecting: two processes that call each
other over a single pair of sockets would each claim the same routing id twice, and ROUTER refuses the second.

High-water marks are off: what may be in flight is bounded by those who send (pipelines, pending-call limits), and
a ROUTER at its mark would drop silently.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from typing import Any

import zmq

from ipyactors.wire.channel import RECEIVE_AT_MOST, Batch
from ipyactors.wire.codec import Codec, Message, ProtocolError, encode
from ipyactors.wire.links import Links

_log = logging.getLogger(__name__)

#: Frames above this size are handed to ZeroMQ without a copy; below, the copy is cheaper.
_ZERO_COPY_BYTES = 64 * 1024

# Plain integers: pyzmq's enums cost as much as the calls that they are passed to.
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE_NOBLOCK = int(zmq.SNDMORE | zmq.NOBLOCK)


class ZmqChannel:
    """See :class:`ipyactors.wire.channel.Channel`. ``words`` is the union of the messages that may arrive.

    A peer that cannot be reached is tried every 20 ms; with ``retry_at_most_ms``, less and less often, down to that.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        process_id: bytes,
        words: Any,
        *,
        bind: str | None = None,
        linger_ms: int = 0,
        retry_at_most_ms: int = 0,
    ) -> None:
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTING_ID, process_id)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, linger_ms)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, retry_at_most_ms)
        if bind is not None:
            socket.bind(bind)
        self._socket = socket
        self._codec = Codec(words)
        self._addresses: dict[bytes, str] = {}
        self._gone: set[bytes] = set()
        self.address = bind or ""

    def send(self, peer: bytes, messages: Sequence[Message]) -> bool:
        """Queue one batch for ``peer``. Return False if it is not connected."""
        frame = encode(messages)
        try:
            self._socket.send(peer, _SNDMORE_NOBLOCK)
            self._socket.send(frame, _NOBLOCK, copy=len(frame) < _ZERO_COPY_BYTES)
        except zmq.ZMQError as error:
            if error.errno in (errno.EHOSTUNREACH, zmq.EHOSTUNREACH, errno.EAGAIN):
                return False
            raise
        return True

    def connect(self, peer: bytes, address: str) -> None:
        """Make ``peer`` reachable at ``address``.

        A peer has one connection in its life: libzmq aborts the process when a name is given a second time while
        the first pipe is still closing (``router.cpp``, ``!has_out_pipe``). A peer that was given up is dead, and its
        process id is never used again, so late news of it changes nothing here. ValueError is raised for a second
        address.
        """
        known = self._addresses.get(peer)
        if known == address or peer in self._gone:
            return
        if known is not None:
            raise ValueError(f"peer {peer!r} is connected at {known} and cannot be at {address} too")
        self._socket.setsockopt(zmq.CONNECT_ROUTING_ID, peer)
        self._socket.connect(address)
        self._addresses[peer] = address

    def disconnect(self, peer: bytes) -> None:
        """Forget ``peer``."""
        address = self._addresses.pop(peer, None)
        if address is not None:
            self._gone.add(peer)
            self._socket.disconnect(address)

    def receive(self, at_most: int = RECEIVE_AT_MOST) -> list[Batch]:
        """Return what has arrived; so many batches at most, so call again while it returns something."""
        batches: list[Batch] = []
        socket = self._socket
        while len(batches) < at_most and socket.get(_EVENTS) & _POLLIN:  # type: ignore[operator]
            peer = socket.recv(_NOBLOCK)
            frame = more = socket.recv(_NOBLOCK, copy=False)
            while more.more:  # a stray part must not be taken for the next sender's name
                more = socket.recv(_NOBLOCK, copy=False)
            try:
                batches.append((peer, self._codec.decode(frame.buffer)))
            except ProtocolError:
                # Only processes of this user can connect (the folder is 0700); a frame that is not ours is a bug
                # or a stray, and must not stop the process that got it.
                _log.warning("a frame of %r was dropped: it holds no batch of messages that this door admits", peer)
        return batches

    def watch_links(self) -> Links:
        """Return news of this channel's connections from now on; to be closed before the channel."""
        return Links(self._socket)

    def fileno(self) -> int:
        """Return the edge-triggered descriptor."""
        return self._socket.getsockopt(zmq.FD)  # type: ignore[return-value]

    def has_arrived(self) -> bool:
        """Return whether something waits."""
        return bool(self._socket.get(_EVENTS) & _POLLIN)  # type: ignore[operator]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
