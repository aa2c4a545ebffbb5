"""What the user's code prints and displays: to the caller whose call does it, in order, before the call's answer.

Callers get whole lines, each named by its call, and lines that move (progress bars) as blocks. The log, which is the
process's descriptors 1 and 2, gets all text as it is written (:mod:`ipyactors.worker.call_stream`). A call that floods
does not drown its caller: beyond 2,000 lines a second the rest is in the log only, but for the last few.

What gets into the log in other ways (the programs that a call runs, C libraries) is found there, when its call ends and
five times a second while it runs, and is told as what it prints (:mod:`ipyactors.worker.log_file`).

Text belongs to the call whose context it is written in; in a thread, to the call that has started the thread. A pool's
threads work for whoever gives them work: what they write, and native threads and programs, belongs to the call that
began last of those that run. What programs write when none runs belongs to the call that began last of all, never to a
later one. What remains belongs to no call, a constructor's say.

To whom it goes is for :mod:`ipyactors.worker.outlet`. What a constructor has written its creator has before anybody
hears that the actor is there, or that it will not be (:meth:`ipyactors.owner.creator.Creator.wait_until_heard`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from ipyactors.ground.tracebacks import clean
from ipyactors.owner import current
from ipyactors.owner.current import CurrentCall
from ipyactors.wire.codec import Message
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.worker_messages import DisplayWritten, OutputWritten, Written
from ipyactors.worker.call_stream import CallStream
from ipyactors.worker.lines import Lines, Words
from ipyactors.worker.log_file import LogFile
from ipyactors.worker.outlet import Outlet
from ipyactors.worker.pacing import EVERY_S, Pacing

#: While calls run, it is looked so often what others have written into the log; and for so long after they have.
_LOOK_EVERY_S = 0.2
_LOOK_ON_S = 10.0

#: A call that begins so soon after the one before does not look what is there: that one has when it ended.
_SOON_S = 1e-3

#: What calls leave open that are over (their threads go on printing) is kept for so many writers.
_OPEN_AT_MOST = 1000

#: Names one writer: the caller (none for a call that was found in the log), its ``seq`` (0 for no call), the stream.
_Key = tuple[bytes, int, int]

#: By this name a thread has the call that has started it; a pool's has none.
_STARTED_BY = "_ipyactors_started_by"
_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


class Output:
    """Collects what is printed and displayed and sends it to callers. Thread-safe.

    ``is_silent``: what is written is dropped. ``send`` queues a message for a caller
    (:meth:`ipyactors.worker.answers.Answers.add`). ``source`` is what an actor's lines are named by; a task's are named
    by the task. ``latest`` is the call that began last, ``running`` are all that run. ``wake`` is called when
    :meth:`on_turn` is wanted. ``outlet`` knows to whom all goes. ``log`` is where :meth:`look` looks, if anywhere.
    ``is_child``: this process is a child that the user's code has forked.
    """

    def __init__(
        self,
        send: Callable[[bytes, Message], None],
        source: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._monotonic = monotonic
        self.outlet = Outlet(send, monotonic, lambda: self.wake())
        self._lock = self.outlet.lock
        self._post, self._send_posted = self.outlet.post, self.outlet.send_posted
        self._pacing: Pacing[tuple[bytes, Written]] = Pacing()
        self._flooded: set[_Key] = set()
        self._at_end: dict[tuple[bytes, int], list[Callable[[], object]]] = {}
        self._streams: tuple[CallStream, ...] = ()
        self.is_child = False
        self._looks_until_s = 0.0
        self._began_s = 0.0
        self.log: LogFile | None = None
        self.is_silent = False
        self.latest: CurrentCall | None = None
        self.running: Mapping[tuple[bytes, int], CurrentCall] = {}
        self.wake: Callable[[], object] = lambda: None
        #: Writers with something to say at the end of their call; empty for calls that print nothing.
        self.open: dict[_Key, Lines] = {}

    def install(self) -> None:
        """Take ``sys.stdout`` and ``sys.stderr`` over, and have threads know which call has started them."""
        self._streams = sys.stdout, sys.stderr = CallStream(self, 1), CallStream(self, 2)
        os.register_at_fork(after_in_child=self._after_fork)
        _note_who_starts_threads()

    def _after_fork(self) -> None:
        """In a child of the user's own making: write to the log, where the parent finds it, whose the sockets are."""
        self.is_child = True
        if self.log is not None:
            self.log.disown()

    @contextlib.contextmanager
    def silenced(self, *, when: bool = True) -> Iterator[None]:
        """Drop what is printed meanwhile, in the log too: it is a replay, and was printed before."""
        self.look()
        self.is_silent = when
        if when and self.log is not None:
            self.log.skip(all_to_come=True)
        try:
            yield
        finally:
            self.look()
            self.is_silent = False
            if when and self.log is not None:
                self.log.skip()

    # -- what code here does -----------------------------------------------------------------------------------

    def write(self, stream: int, text: str) -> None:
        """Take ``text`` that the code running here has written."""
        if self.is_child:
            return
        self.look()
        with self._lock:
            key, lines = self._writer(stream)
            words = _unfailing(lines, lines.write, text, self._monotonic())
            if words or lines.is_flooded:
                self._post_all(key, lines, words)
        self._send_posted()

    def display(self, bundle: bytes, display_id: str, *, is_update: bool) -> None:
        """Take something that the code running here displays; see :class:`DisplayWritten`."""
        if self.is_child or self.is_silent:
            return
        self.look()
        with self._lock:
            key, lines = self._writer(1)
            written = DisplayWritten(key[1], lines.source, bundle, display_id, is_update, call_id=lines.call_id)
            if is_update:
                self._post_paced(display_id, key[0], written)
            else:
                self._pacing.forget(display_id)
                words, is_admitted = lines.admit_display(self._monotonic())
                self._post_all(key, lines, words)
                if is_admitted:
                    self._post(key[0], written)
        self._send_posted()

    def clear_lines(self) -> None:
        """Have what the code running here prints from now on come in one place, in that of what came there before."""
        self.look()
        with self._lock:
            self._writer(1)[1].clear()

    def at_end(self, finish: Callable[[], object]) -> None:
        """Call ``finish`` on the thread of the present call when its code has run, before its answer."""
        call = current.call.get()
        if call is not None and call.seq:
            with self._lock:
                self._writer(1)  # so that the call is open, whatever it prints
                self._at_end.setdefault((call.caller, call.seq), []).append(finish)

    def look(self, *, waits: bool = True, before: CurrentCall | None = None) -> bool:
        """Take what others have written into the log since the last look; return whether there was any.

        Not ``waits``: leave it to the next look if another thread is at it. ``before``: a call that is about to begin,
        which has not written it.
        """
        log = self.log
        if log is None or not log.has_grown() or self.is_child or not self._lock.acquire(blocking=waits):
            return False
        try:
            with deferred():
                key, lines = self._writer(1, is_native=True, before=before)  # now, for then the call has not ended
                found = log.take(waits=waits)
                for text, unread in found if not self.is_silent else ():
                    words = _unfailing(lines, lines.write, text, self._monotonic())
                    if unread:
                        lines.leave_out(unread)
                    self._post_all(key, lines, words)
        finally:
            self._lock.release()
        self._send_posted()
        return bool(found)

    # -- what happens to calls ---------------------------------------------------------------------------------

    def begin_call(self, call: CurrentCall, now_s: float) -> None:
        """A call begins; what is in the log by now is of those before it."""
        if now_s - self._began_s > _SOON_S:
            self.look(before=call)
        self._began_s = now_s
        self.latest = call

    def end_call(self, caller: bytes, seq: int) -> None:
        """Send what the call has left over, and have it in the log; call it before the call's answer."""
        for finish in self._at_end.pop((caller, seq), ()):
            try:
                finish()
            except Exception:  # it shows things of the user's
                traceback.print_exc()
        for written in self._streams:
            written.flush()
        self._finish([(caller, seq, stream) for stream in (1, 2)])
        with self._lock:
            for held in self._pacing.take_if(lambda held: (held[0], held[1].seq) == (caller, seq)):
                self._post(*held)
        self._send_posted()

    def end_all(self) -> None:
        """Send everything that is left over; before the process ends."""
        self.look()
        self._finish(tuple(self.open))
        with self._lock:
            for held in self._pacing.take_if(lambda _held: True):
                self._post(*held)
            self.outlet.give_up()
        self._send_posted()

    def relay(self, written: Written, _scope: int = 0) -> None:
        """Pass on what calls have written that were made here, if no call of a caller's has made them.

        Those of a call that was found in the log name that by its ``call_id``.
        """
        with self._lock:
            self._post(b"", msgspec.structs.replace(written, seq=0))
        self._send_posted()

    def on_turn(self, now: float, *, is_busy: bool = False) -> float | None:
        """Send what was held back for being too much, and what others have written; called by the leader.

        Return in how many seconds to come back. ``is_busy``: a call runs, or is about to.
        """
        if self.look(waits=False):
            self._looks_until_s = now + _LOOK_ON_S
        if self._pacing.is_idle and not self._flooded and self.outlet.is_idle:
            return _LOOK_EVERY_S if self.log is not None and (is_busy or now < self._looks_until_s) else None
        # The leader has the session's lock. Whoever has ours may be in a finalizer that wants the session's.
        if self._lock.acquire(blocking=False):
            try:
                for peer, written in self._pacing.take_due(now):
                    self._post(peer, written)
                for key in tuple(self._flooded):
                    lines = self.open.get(key)
                    if lines is not None:
                        self._post_all(key, lines, _unfailing(lines, lines.tick, now))
                    if lines is None or not lines.is_flooded:
                        self._flooded.discard(key)
                self.outlet.on_turn(now)
            finally:
                self._lock.release()
            self._send_posted()
        return EVERY_S

    def _finish(self, keys: Iterable[_Key]) -> None:
        with self._lock:
            for key in keys:
                lines = self.open.pop(key, None)
                if lines is not None:
                    self._post_all(key, lines, _unfailing(lines, lines.finish, self._monotonic()))
        self._send_posted()

    # -- under the lock ----------------------------------------------------------------------------------------

    def _writer(self, stream: int, *, is_native: bool = False, before: CurrentCall | None = None) -> tuple[_Key, Lines]:
        """Return in whose name the code running here writes.

        ``is_native``: code that runs in no thread of Python's; it is none of the call's ``before`` which it wrote.
        """
        call = None
        if not is_native:
            call = current.call.get() or getattr(threading.current_thread(), _STARTED_BY, None)
        if call is None:
            call = _began_last(self.latest, self.running, before) or (self.latest if is_native else None)
        key = (call.caller, call.seq, stream) if call is not None and call.seq else (b"", 0, stream)
        lines = self.open.get(key)
        if lines is None:
            if len(self.open) >= _OPEN_AT_MOST:
                self._finish([next(iter(self.open))])
            named_by = call or self.latest
            lines = self.open[key] = Lines(self._source or (named_by.name if named_by is not None else "worker"))
            if call is not None and call.seq and not call.caller:  # a durable actor has found it in its log
                lines.call_id = call.task_id
        return key, lines

    def _post_all(self, key: _Key, lines: Lines, words: list[Words]) -> None:
        caller, seq, stream = key
        for text, block_id in words:
            written = OutputWritten(seq, lines.source, stream, clean(text), block_id, call_id=lines.call_id)
            if not block_id:
                self._post(caller, written)
            elif text.endswith("\n"):
                self._pacing.forget(block_id)
                self._post(caller, written)
            else:
                self._post_paced(block_id, caller, written)
        if words and self.log is not None and not lines.is_flooded:
            self.log.note_sent(lines.unended)
        if lines.is_flooded and key not in self._flooded:
            self._flooded.add(key)
            self.wake()

    def _post_paced(self, what: object, caller: bytes, written: Written) -> None:
        was_idle = self._pacing.is_idle
        now = self._pacing.offer(what, (caller, written), self._monotonic())
        if now is not None:
            self._post(*now)
        elif was_idle:
            self.wake()


def _began_last(
    latest: CurrentCall | None, running: Mapping[tuple[bytes, int], CurrentCall], before: CurrentCall | None
) -> CurrentCall | None:
    """Return the call that began last of those that run and began ``before`` that one."""
    if latest is None or not latest.is_over:
        return latest
    # Of calls that run side by side, for what waits its turn has no thread and no task. The oldest comes first.
    begun = (call for call in reversed(list(running.values())) if call is not before and (call.thread or call.task))
    return next(begun, None)


def _unfailing(lines: Lines, take: Callable[..., list[Words]], *args: object) -> list[Words]:
    """Return what a method of ``lines`` returns. If it fails, no call is to fail of it: the text is in the log."""
    try:
        return take(*args)
    except Exception:
        lines.give_up()
        return []


def _note_who_starts_threads() -> None:
    """Have each thread that is started from here on know the call whose code starts it."""
    start = threading.Thread.start

    def start_noted(thread: threading.Thread) -> None:
        call = current.call.get() or getattr(threading.current_thread(), _STARTED_BY, None)
        if call is not None and getattr(getattr(thread, "_target", None), "__module__", "") not in _POOLS:
            setattr(thread, _STARTED_BY, call)
        start(thread)

    threading.Thread.start = start_noted  # type: ignore[method-assign, assignment]
