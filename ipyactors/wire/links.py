"""News of connections: which peer of a connecting channel has come, and which is away.

ZeroMQ connects again by itself and says nothing of it; what was on a connection when it broke is lost without a word.
Who must know watches the socket's *monitor*: a pair of sockets inside this process over which ZeroMQ reports changes.
"""

from __future__ import annotations

import struct

import zmq

_CAME = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_WENT = int(zmq.EVENT_DISCONNECTED)
_FAILED = int(zmq.EVENT_CONNECT_RETRIED)
_NOBLOCK = int(zmq.NOBLOCK)

#: A report's first part, as libzmq documents it (zmq_socket_monitor): event and value; the second part is the address.
#: Read here, because pyzmq's own reader loads asyncio, a fifth of what an agent's start takes.
_REPORT = struct.Struct("=HI")


class Links:
    """The monitor of one socket."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_CAME | _WENT | _FAILED)

    def fileno(self) -> int:
        """Return the edge-triggered descriptor: :meth:`take` until it returns nothing."""
        return self._monitor.getsockopt(zmq.FD)  # type: ignore[return-value]

    def take(self) -> list[tuple[str, bool]]:
        """Return the changes since the last call, oldest first: an address, and whether there is a connection now.

        An address where nobody listens is reported as away again and again, at each attempt to reach it.
        """
        changes: list[tuple[str, bool]] = []
        while True:
            try:
                report, address = self._monitor.recv_multipart(_NOBLOCK)
            except zmq.Again:
                return changes
            event, _value = _REPORT.unpack(report)
            if event in (_CAME, _WENT, _FAILED):
                changes.append((address.decode(), event == _CAME))

    def close(self) -> None:
        """Stop watching."""
        self._socket.disable_monitor()
