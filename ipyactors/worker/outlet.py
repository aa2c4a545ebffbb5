"""To whom it goes what calls write, and what waits until there is somebody to have it.

A call's caller gets it on the connection that the answer takes, and so before the answer. What belongs to no call goes
to the creator of the actor that lives here, or to whoever called last.

A durable actor runs what it finds in its log before the callers are back. What such a call writes waits a second for
the caller, to go before the answer too: the creator is told by another connection, on which it may come later. Whose
caller does not come is shown by the creator, which may know of which call it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from ipyactors.wire.codec import Message
from ipyactors.wire.worker_messages import OutputWritten, Written

#: What is printed before any caller is known (by a constructor, say) waits for the first one, up to this many texts.
_EARLY_AT_MOST = 1000

#: What a call writes that was found in the log waits so long for its caller, and up to this size in all.
_FOUND_WAITS_S = 1.0
_FOUND_AT_MOST_BYTES = 1024 * 1024

#: Of so many calls that were found in the log it is known who waits for them.
_CALLERS_AT_MOST = 1000


class Outlet:
    """Sends on what calls write. Thread-safe, but :meth:`post`, which is called under ``lock``.

    ``send`` queues a message for a caller; ``wake`` is called when :meth:`on_turn` is wanted. ``actor_id`` is the
    actor's that lives here; with ``tell_creator``, its creator gets what belongs to no call. ``keep`` numbers a text
    for a reader, and keeps it in case this process is killed (:mod:`ipyactors.wire.last_words`).
    """

    def __init__(
        self, send: Callable[[bytes, Message], None], monotonic: Callable[[], float], wake: Callable[[], object]
    ) -> None:
        self.lock = threading.RLock()
        self.actor_id = b""
        self.last_caller = b""
        self.tell_creator: Callable[[Message], object] | None = None
        self.keep: Callable[[bytes, OutputWritten], int] | None = None
        self._send = send
        self._monotonic = monotonic
        self._wake = wake
        self._posted: deque[tuple[bytes, Written]] = deque()
        self._early: deque[Written] = deque(maxlen=_EARLY_AT_MOST)
        self._found: deque[tuple[float, Written]] = deque()
        self._found_bytes = 0
        self._callers: dict[bytes, tuple[bytes, int]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the caller of a call that was found in the log."""
        return not self._found

    def post(self, caller: bytes, written: Written) -> None:
        """Take what is to leave with :meth:`send_posted`; without a ``caller``, it says in which call it was found."""
        if caller:
            self._leave(caller, written)
        elif written.call_id:
            self._post_found(written)
        else:
            self._post_to_creator(written)

    def send_posted(self) -> None:
        """Send what was posted. Not under the lock.

        A finalizer that prints while its thread holds the session's lock must not meet a thread that holds ours and
        wants the session's.
        """
        while self._posted:
            with contextlib.suppress(IndexError):
                peer, written = self._posted.popleft()
                if peer or self.tell_creator is None:
                    self._send(peer, written)
                else:
                    self.tell_creator(written)

    def greet(self, caller: bytes) -> None:
        """Note who called last; the first one gets what was printed before anyone called."""
        self.last_caller = caller
        if self._early:
            with self.lock:
                while self._early:
                    self._leave(caller, self._early.popleft())
        self.send_posted()

    def claim(self, call_id: bytes, caller: bytes, seq: int) -> None:
        """Send a call's words, of those that wait and from now on, to a caller that is back and knows it as ``seq``."""
        with self.lock:
            self._callers[call_id] = caller, seq
            if len(self._callers) > _CALLERS_AT_MOST:
                del self._callers[next(iter(self._callers))]
            found, self._found, self._found_bytes = self._found, deque(), 0
            for since_s, written in found:
                if written.call_id == call_id:
                    self._post_found(written)
                else:
                    self._hold(since_s, written)
        self.send_posted()

    def on_turn(self, now_s: float) -> None:
        """Post what has waited long enough for a caller. Under the lock."""
        while self._found and now_s - self._found[0][0] >= _FOUND_WAITS_S:
            self._give_up_first()

    def give_up(self) -> None:
        """Post all that waits for callers. Under the lock."""
        while self._found:
            self._give_up_first()

    def _post_found(self, written: Written) -> None:
        caller, written.seq = self._callers.get(written.call_id, (b"", 0))
        if caller:
            written.actor_id = written.call_id = b""
            self._leave(caller, written)
            return
        written.actor_id = self.actor_id
        if not self._found:
            self._wake()
        self._keep(b"", written)
        self._hold(self._monotonic(), written)
        if self._found_bytes > _FOUND_AT_MOST_BYTES:
            self.give_up()

    def _leave(self, reader: bytes, written: Written) -> None:
        self._keep(reader, written)
        self._posted.append((reader, written))

    def _keep(self, reader: bytes, written: Written) -> None:
        """Have it outlive this process until it has arrived; but not what moves, and soon comes again."""
        if self.keep is not None and isinstance(written, OutputWritten) and written.text.endswith("\n"):
            written.number = self.keep(reader, written)

    def _hold(self, since_s: float, written: Written) -> None:
        self._found.append((since_s, written))
        self._found_bytes += _size_of(written)

    def _give_up_first(self) -> None:
        _, written = self._found.popleft()
        self._found_bytes -= _size_of(written)
        self._post_to_creator(written)

    def _post_to_creator(self, written: Written) -> None:
        written.actor_id = self.actor_id
        if self.tell_creator is not None or self.last_caller:
            self._leave(b"" if self.tell_creator is not None else self.last_caller, written)
        else:
            self._early.append(written)


def _size_of(written: Written) -> int:
    return len(written.text if isinstance(written, OutputWritten) else written.bundle)
