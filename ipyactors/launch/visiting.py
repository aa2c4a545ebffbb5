"""The agent of a session that another process has started, as a driver sees it that has come to that session.

The end of the agent is noticed as by the driver that started it: by an error on the write end of a pipe of which the
agent alone has the read end. That pipe has a name in the session's runtime folder, for nobody could hand it over.
"""

from __future__ import annotations

import contextlib
import os
import signal

from ipyactors.ground.exceptions import SessionError
from ipyactors.launch.address import SessionNote
from ipyactors.launch.sessions import sweep_session
from ipyactors.wire import liveness

#: How long an agent may take to end everything; it takes itself at most three seconds for its processes.
_END_WITHIN_S = 8.0


class VisitedAgent:
    """See the head of this file. Raises SessionError if the agent is gone."""

    def __init__(self, note: SessionNote) -> None:
        self.note = note
        self.pid = note.agent.pid
        self.log = note.paths.role_log_path("agent")
        try:
            self._alive_w = os.open(note.paths.alive_path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SessionError(
                f"the session {note.paths.name!r} cannot be reached: its agent, process {self.pid}, does not listen "
                f"({error}). It has ended, or is just starting or ending. Nothing was started."
            ) from error

    @property
    def alive_fd(self) -> int:
        """The write end of the pipe: an error condition on it means that the agent is gone."""
        return self._alive_w

    def leave(self) -> None:
        """Let go of the agent, which goes on. Harmless if repeated."""
        if self._alive_w >= 0:
            os.close(self._alive_w)
            self._alive_w = -1


def end_session(note: SessionNote) -> None:
    """End a session of somebody else's, or of nobody, with everything in it; return when nothing is left of it.

    Its agent is asked to end in good order, and killed if it does not.
    """
    if liveness.is_running(note.agent):
        with contextlib.suppress(ProcessLookupError):
            os.kill(note.agent.pid, signal.SIGTERM)
        if not liveness.wait_gone(note.agent, _END_WITHIN_S):
            liveness.kill(note.agent)
            liveness.wait_gone(note.agent, _END_WITHIN_S)
    sweep_session(note.paths.state_dir)
