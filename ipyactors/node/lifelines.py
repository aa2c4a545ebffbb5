"""Whose end concerns this agent: its driver, the first machine's agent, and those that have come to it since.

The driver holds the only write end of the *alive pipe*; its end of file says that the driver is gone, however it went.
A byte before that says that the driver lives and wants the agent to end. A descriptor of the driver's process tells its
end too, even while a child of the driver's still holds the pipe. An agent that
has joined a session holds one of the first machine's agent: a machine does not outlive its session. The first machine's
agent watches those that have joined, and drivers that have come to a running session; those in turn learn of its end
by a named pipe, as the first driver does by the one that it has made.
"""

from __future__ import annotations

import contextlib
import os

from ipyactors.ground.config import AgentConfig
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity
from ipyactors.wire.watch import Watch

_DRIVER = b"driver"
_FIRST_AGENT = b"first agent"


class Lifelines:
    """See the head of this file. ``alive_fd`` is the read end of the alive pipe."""

    def __init__(self, config: AgentConfig, alive_fd: int) -> None:
        self._alive_fd = alive_fd
        self._watch = Watch()
        self._is_session_over = False
        self._visitors_fd = -1
        if config.driver_pid:
            self._watch.add(_DRIVER, config.driver_pid)
        if config.joins:
            first = Identity(*config.first_agent)
            self._watch.add(_FIRST_AGENT, first.pid)
            self._is_session_over = liveness.identify(first.pid) != first

    def open_for_visitors(self, path: str) -> None:
        """Make a named pipe of which this process alone has the read end, for drivers that come to the session.

        To be called when all is forked that is forked: no other process may have that end.
        """
        os.mkfifo(path, 0o600)
        self._visitors_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def watch(self, process_id: bytes, pid: int) -> None:
        """Watch another process from now on."""
        self._watch.add(process_id, pid)

    def unwatch(self, process_id: bytes) -> None:
        """Watch it no longer."""
        self._watch.drop(process_id)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to sleep on."""
        return (*([self._alive_fd] if self._alive_fd >= 0 else []), *self._watch.descriptors)

    @property
    def look_again_s(self) -> float | None:
        """After how long to look again although no descriptor is readable; None: never."""
        return 0.0 if self._is_session_over else self._watch.look_again_s

    def look(self) -> Ends:
        """Return who has ended since the last look."""
        ended = self._watch.take_ended()
        is_told_to_stop, is_pipe_at_end = self._read_alive()
        is_session_over = _FIRST_AGENT in ended or self._is_session_over
        others = tuple(key for key in ended if key not in (_DRIVER, _FIRST_AGENT))
        return Ends(is_pipe_at_end or _DRIVER in ended, is_told_to_stop, is_session_over, others)

    def _read_alive(self) -> tuple[bool, bool]:
        """Return whether the driver has said to stop, and whether it is gone, as far as the alive pipe tells."""
        if self._alive_fd < 0 or not liveness.wait_readable(self._alive_fd, 0.0):
            return False, False
        if os.read(self._alive_fd, 1):
            return True, False
        os.close(self._alive_fd)  # it would go on being readable
        self._alive_fd = -1
        return False, True


class Ends:
    """What :meth:`Lifelines.look` found. ``others`` are the process ids of those that were watched on request."""

    __slots__ = ("is_driver_gone", "is_session_over", "is_told_to_stop", "others")

    def __init__(
        self, is_driver_gone: bool, is_told_to_stop: bool, is_session_over: bool, others: tuple[bytes, ...]
    ) -> None:
        self.is_driver_gone = is_driver_gone
        self.is_told_to_stop = is_told_to_stop
        self.is_session_over = is_session_over
        self.others = others


class ReadyPipe:
    """The pipe on which the agent says, once, that it is ready or what went wrong."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, words: bytes) -> None:
        """Say it, and close the pipe; harmless if something was said before, or nobody listens any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.write(descriptor, words)
            os.close(descriptor)
