"""Messages over a stream socket: four bytes of length (little-endian), then MessagePack.

Agent and zygote talk this way and not over ZeroMQ, because a ZeroMQ context does not survive a fork. Neither end
ever blocks in a write: each could be writing while the other one is, and both would wait for ever.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct("<I")
_READ_BYTES = 256 * 1024


class FrameSocket:
    """One end. ``words`` is the union of messages that may arrive. Takes the socket over and makes it non-blocking."""

    def __init__(self, stream: socket.socket, words: Any) -> None:
        stream.setblocking(False)
        self._socket = stream
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(words)
        self._unsent = bytearray()
        self._unread = bytearray()
        self.at_end = False

    def fileno(self) -> int:
        """Return the descriptor; wait for it to be readable, and writable while :meth:`has_unsent`."""
        return self._socket.fileno()

    def has_unsent(self) -> bool:
        """Return whether :meth:`flush` has more to do."""
        return bool(self._unsent)

    def send(self, message: msgspec.Struct) -> None:
        """Send, or keep what does not fit for :meth:`flush`. At the end of the stream nothing happens."""
        body = self._encoder.encode(message)
        self._unsent += _LENGTH.pack(len(body))
        self._unsent += body
        self.flush()

    def flush(self) -> None:
        """Write as much as the system takes."""
        while self._unsent and not self.at_end:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone. What it said before it went can still be read.
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def receive(self) -> list[Any]:
        """Return every whole message that is there, without waiting; sets ``at_end`` at the end of the stream."""
        while not self.at_end:
            try:
                chunk = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self.at_end = True
            self._unread += chunk
        return self._cut()

    def wait(self) -> list[Any]:
        """Return the messages that come next, waiting for them; none: the stream is at its end."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while not (messages := self.receive()) and not self.at_end:
            poll.poll()
        return messages

    def _cut(self) -> list[Any]:
        """Take the whole messages off what was read."""
        messages = []
        start = 0
        while len(self._unread) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread, start)
            end = start + _LENGTH.size + length
            if len(self._unread) < end:
                break
            # A copy of its own: buffers of a payload point into it for as long as the message lives.
            messages.append(self._decoder.decode(bytes(self._unread[start + _LENGTH.size : end])))
            start = end
        del self._unread[:start]
        return messages

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
