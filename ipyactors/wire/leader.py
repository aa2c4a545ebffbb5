"""Leader and followers: how several threads share one set of sockets, one thread waiting on them at a time.

A thread that waits for an answer should read the socket itself: handing an answer from an I/O thread to the
waiting thread doubles the cost of a call (measured: 75 against 141 microseconds). But somebody must also read when
no thread waits, or a death notice would lie unread while the user's code computes.

So whichever thread waits becomes the *leader*: it sleeps on the descriptors and acts on what arrives. Other waiting
threads are followers; they sleep until the leader has served them or leaves. A *standby* thread leads when nobody
has for a few milliseconds. It costs the fast path nothing: while calls come and go it looks at a flag now and then,
when a leader sleeps for long it does not even look, and when the process is idle it is the one that sleeps on the
descriptors.

The name and the idea are Schmidt's (Leader/Followers, "Pattern-Oriented Software Architecture", volume 2).
ZeroMQ's descriptor is edge-triggered: a leader announces that it is about to sleep, *then* looks at the sockets one
last time (``turn``), then sleeps. Whoever touches a socket in between sees the announcement and wakes it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Sequence

from ipyactors.wire.interrupts import deferred

#: The standby thread leads when nobody has led for this long.
STANDBY_AFTER_S = 0.003

#: A leader that has led this long without a break lets the standby thread sleep without looking.
_CALM_AFTER_S = 0.1

#: The main thread looks up this often. A signal that comes when it is about to sleep, after Python has looked for
#: signals for the last time, does not end the sleep, and its handler, which would, runs only after it.
_UNHEARD_S = 0.1


class _Follower:
    """A thread that waits while another leads.

    A bare lock and not an Event: the handler of an interrupt serves followers too, and might find its own thread
    inside the Event, holding the lock that it needs.
    """

    __slots__ = ("_latch", "is_done", "is_served")

    def __init__(self, is_done: Callable[[], bool]) -> None:
        self.is_done = is_done
        self.is_served = False
        self._latch = threading.Lock()
        self._latch.acquire()

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until :meth:`serve`, or the time has passed."""
        self._latch.acquire(timeout=-1 if timeout_s is None else timeout_s)

    def serve(self) -> None:
        """Wake it; once is enough."""
        if not self.is_served:
            self.is_served = True
            self._latch.release()


class _Followers(list[_Follower]):
    """The threads that wait while another leads. They come and go at any moment, so each walk is over a copy."""

    def serve_all(self) -> None:
        """Wake every one."""
        for follower in tuple(self):
            follower.serve()

    def serve_done(self) -> None:
        """Wake those whose wait is over."""
        for follower in tuple(self):
            if follower.is_done():
                follower.serve()

    def serve_one(self) -> None:
        """Wake one that has not been woken, to take the lead."""
        for follower in tuple(self):
            if not follower.is_served:
                follower.serve()
                return


class LeaderFollowers:
    """Shares the work of reading between threads.

    ``turn()`` is called by the leader: it acts on everything that has arrived (under the session's own lock) and
    returns how many seconds the leader may sleep at most, or None. ``descriptors`` are what it sleeps on.
    """

    #: A pipe's write end, and what to call (once, from the leader) when nobody is left who could read.
    _alarm: tuple[int, Callable[[], None]] | None = None

    def __init__(self, turn: Callable[[], float | None], descriptors: Sequence[int], name: str) -> None:
        self._turn = turn
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._descriptors = tuple(descriptors)
        self._poll = self._new_poll()
        self._lead = threading.Lock()
        self._leader: int | None = None  # which thread leads
        self._sleeping = False
        self._poked = False  # since the leader last drained the pipe: one byte is enough
        self._closed = False
        self._is_over = False
        self._wanted = 0  # how many threads want the standby to step aside
        self._followers = _Followers()
        self._left_s = time.monotonic()  # when a leader last left
        self._calm = threading.Event()
        self._standby_is_calm = False
        self._standby = threading.Thread(target=self._stand_by, name=f"{name}-standby", daemon=True)

    def watch_reader(self, descriptor: int, on_gone: Callable[[], None]) -> None:
        """Have the leader call ``on_gone``, once, when no process has the read end of this pipe any more.

        To be called before :meth:`start`. The descriptor must stay open until :meth:`close`.
        """
        self._alarm = descriptor, on_gone
        self._poll.register(descriptor, 0)  # an error is reported though it was not asked for

    def start(self) -> None:
        """Start the standby thread."""
        self._standby.start()

    @property
    def is_sleeping(self) -> bool:
        """Whether a leader sleeps on the descriptors, or is about to."""
        return self._sleeping

    def wake(self) -> None:
        """Make a sleeping leader take a turn; callable from any thread, and from a signal handler."""
        if self._sleeping and not self._poked:
            self._poke()

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block the calling thread until ``is_done()``; return False when ``timeout_s`` passes first.

        Returns False too once the waits are ended (:meth:`end_waits`). A keyboard interrupt ends the wait of the main
        thread within microseconds, rarely a tenth of a second, and is raised by its own handler.
        ``is_done`` is called from whichever thread leads; it must be quick and must not block.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not (is_done() or self._is_over):
            with deferred(self._on_interrupt) as interrupt:
                if self._wait_once(is_done, interrupt, deadline):
                    return True
                if not interrupt.came:
                    break
            # The handler of an interrupt has been called by now. One that raised is out of here; one that did not
            # (it logs, say, or cancels an asyncio task) leaves this thread waiting as before.
        return is_done()

    def _wait_once(self, is_done: Callable[[], bool], interrupt: deferred, deadline: float | None) -> bool:
        """Lead or follow until ``is_done()``; return False at an interrupt, at the deadline, at the end."""
        self._wanted += 1
        try:
            while not (interrupt.came or self._is_over):
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                if self._leader == threading.get_ident():
                    # A signal handler or finalizer that waits, on the thread that was asleep in the poll: it leads on,
                    # and has the wait below it look up, for what that waits for may have come meanwhile.
                    has_come = self._lead_until(is_done, interrupt, deadline, self._new_poll())
                    self._poke()
                elif self._lead.acquire(blocking=False):
                    try:
                        self._leader = threading.get_ident()
                        has_come = self._lead_until(is_done, interrupt, deadline, self._poll)
                    finally:
                        self._leave()
                else:
                    if interrupt.is_holding and (left_s is None or left_s > _UNHEARD_S):
                        left_s = _UNHEARD_S
                    self._follow(_Follower(lambda: interrupt.came or is_done()), left_s)
                    has_come = is_done()
                if has_come:
                    return True
            return False
        finally:
            self._wanted -= 1
            self._hand_over()

    def _on_interrupt(self) -> None:
        """Wake everyone: the main thread is one of them, and the others go back to sleep."""
        self._followers.serve_all()
        self._poke()

    def end_waits(self) -> None:
        """Have every wait return, now and from now on: what they wait for will never come. Reading goes on."""
        self._is_over = True
        self._followers.serve_all()
        self._poke()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop the standby thread and free the pipe; waiting threads return."""
        self._closed = True
        self._calm.set()
        self.end_waits()
        self._write()
        if self._standby.is_alive() and self._standby is not threading.current_thread():
            self._standby.join(timeout_s)
        # Whoever leads is out of the poll before the pipe goes: its number may soon be another file's.
        if self._leader != threading.get_ident() and self._lead.acquire(timeout=timeout_s):
            os.close(self._wake_r)
            os.close(self._wake_w)

    # -- leading ----------------------------------------------------------------------------------------------

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        for descriptor in (*self._descriptors, self._wake_r):
            poll.register(descriptor, select.POLLIN)
        return poll

    def _lead_until(
        self, is_done: Callable[[], bool], interrupt: deferred | None, deadline: float | None, poll: select.poll
    ) -> bool:
        """Take turns and sleep in between until ``is_done()``; return False when :meth:`wait` is to look again.

        ``interrupt`` is None for the standby thread, which has nothing to wait for.
        """
        was_sleeping = self._sleeping  # only below a handler that waits
        while not self._closed:
            self._sleeping = True
            try:
                pause_s = self._turn()
                if self._followers:
                    self._followers.serve_done()
                if is_done():
                    return True
                if interrupt is not None and (interrupt.came or self._is_over):
                    return False
                if deadline is not None:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        return False
                    pause_s = left_s if pause_s is None else min(pause_s, left_s)
                if interrupt is not None and interrupt.is_holding and (pause_s is None or pause_s > _UNHEARD_S):
                    pause_s = _UNHEARD_S
                ready = poll.poll(None if pause_s is None else int(pause_s * 1000) + 1 if pause_s > 0 else 0)
            finally:
                self._sleeping = was_sleeping
            if self._closed:
                return False
            if any(descriptor == self._wake_r for descriptor, _ in ready):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 4096)
                self._poked = False  # before the next turn, which sees all that was done until now
            if self._alarm is not None and any(descriptor == self._alarm[0] for descriptor, _ in ready):
                self._raise_alarm(*self._alarm)
        return False

    def _raise_alarm(self, descriptor: int, on_gone: Callable[[], None]) -> None:
        self._alarm = None
        self._poll.unregister(descriptor)
        self._turn()  # the last words of who is gone come first
        on_gone()

    def _leave(self) -> None:
        self._left_s = time.monotonic()
        self._leader = None
        self._lead.release()
        if self._followers:
            self._followers.serve_done()
            self._hand_over()
        if self._standby_is_calm:
            self._calm.set()

    def _hand_over(self) -> None:
        """Wake one follower to take the lead, if nobody has it.

        Called by whoever stops leading, and by whoever stops waiting: a thread that was woken to lead may find its
        own wait over, and must pass the lead on, or the others would sleep for ever.
        """
        if self._followers and not self._lead.locked():
            self._followers.serve_one()

    def _follow(self, follower: _Follower, left_s: float | None) -> None:
        self._followers.append(follower)
        try:
            # The leader may be the standby thread, which steps aside for anyone that pokes it. One that left before
            # this follower was on the list has not served it: look once more before sleeping.
            self._poke()
            if self._lead.locked():
                follower.wait(left_s)
        finally:
            self._followers.remove(follower)

    def _poke(self) -> None:
        self._poked = True
        if not self._closed:
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_w, b"\0")

    # -- the standby thread -----------------------------------------------------------------------------------

    def _stand_by(self) -> None:
        while not self._closed:
            if self._wanted or self._lead.locked():
                self._rest()
                continue
            quiet_s = time.monotonic() - self._left_s
            if quiet_s < STANDBY_AFTER_S:
                time.sleep(STANDBY_AFTER_S - quiet_s)
            elif self._lead.acquire(blocking=False):
                try:
                    self._leader = threading.get_ident()
                    self._lead_until(lambda: self._wanted > 0, None, None, self._poll)
                finally:
                    self._leave()

    def _rest(self) -> None:
        """Let another thread lead: look again soon; once it has led for long, only when it leaves."""
        left_s = self._left_s
        time.sleep(STANDBY_AFTER_S)
        if self._left_s != left_s or not self._lead.locked():
            return
        self._calm.wait(_CALM_AFTER_S)
        if self._left_s != left_s:
            return
        self._calm.clear()
        self._standby_is_calm = True
        # The flag is up before the last look: a leader that leaves now sees it, or this look sees that it left.
        if self._lead.locked() and self._left_s == left_s and not self._closed:
            self._calm.wait()
        self._standby_is_calm = False
