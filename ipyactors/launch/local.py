"""Starts the agent from a driver, and lets go of it without leaving anything behind.

The driver may be a Jupyter kernel: many threads, its own signal handlers, its own children. So it is never forked
(``subprocess`` execs at once), no signal handler is installed, and no child is waited for but this one. The agent
gets a session of its own, so that an interrupt at the terminal never reaches it.

Three descriptors pass through the exec. The *alive pipe*: the driver keeps the only write end, and its end of file
tells the agent that the driver is gone, however it died; a byte tells it to end although the driver lives. The *ready
pipe*: the agent says once that it is ready, or what went wrong. The session's *lock*.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import msgspec

from ipyactors.ground.config import AgentConfig
from ipyactors.ground.exceptions import StartError
from ipyactors.launch.address import SessionNote, publish, unpublish
from ipyactors.launch.argv import role_argv, role_input, session_environment
from ipyactors.launch.folders import PreparedSession, end_machine, remove_folders
from ipyactors.launch.machines import folder_of, sweep_machine, sweep_machines
from ipyactors.wire import liveness

AGENT_ROLE = "ipyactors.node.main:main"

#: What the agent writes to the ready pipe when all is well; anything else is an error's text.
READY = b"ready"

_LAST_WORDS_BYTES = 4096


def package_parent() -> str:
    """Return the folder from which ``ipyactors`` was imported here."""
    # Not resolved: a link named ipyactors may lead to a folder of another name.
    return str(pathlib.Path(__file__).absolute().parents[2])


def spawn(
    role: str,
    arguments: Sequence[str],
    config: bytes,
    *,
    session: str,
    sys_path: Sequence[str],
    pass_fds: Sequence[int],
    log: str,
) -> subprocess.Popen[bytes]:
    """Exec a role of a session in a new session of the operating system; its output is appended to the file ``log``.

    ``config`` is what it reads after the path list. Raises StartError when the interpreter cannot be started; whether
    it gets anywhere is for the caller to see, who is its parent.
    """
    try:
        # A file without a name, and no pipe: all of it is there before the process is. So neither can the process
        # die while it is written to, nor its parent before it knows what it would have to clean up.
        with tempfile.TemporaryFile(dir=os.path.dirname(log)) as configuration, open(log, "ab") as output:
            configuration.write(role_input(package_parent(), sys_path, config))
            configuration.seek(0)
            return subprocess.Popen(
                role_argv(sys.executable, role, arguments),
                stdin=configuration,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
                env={**os.environ, **session_environment(os.environ, session)},
            )
    except OSError as error:
        raise StartError(f"{role} could not be started with {sys.executable}: {error}. Nothing was run.") from error


def last_words(log: str) -> str:
    """Return the end of a log, for an error's text."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_WORDS_BYTES))
            text = file.read().decode("utf-8", "replace").strip()
    except OSError:
        text = ""
    return f"Its last words ({log}):\n{text}" if text else f"It wrote nothing to {log}."


def start_agent(session: PreparedSession, config: AgentConfig, *, role: str = AGENT_ROLE) -> AgentProcess:
    """Start the agent of a prepared session; the session's lock passes to it. Does not wait until it is ready.

    The same for a further machine of a session, which has no lock. Raises StartError; the folders are gone then.
    """
    alive_r, alive_w = os.pipe()
    ready_r, ready_w = os.pipe()
    descriptors = [alive_r, ready_w, *([session.lock_fd] if session.lock_fd >= 0 else [])]
    try:
        process = spawn(
            role,
            [str(descriptor) for descriptor in descriptors],
            msgspec.msgpack.encode(config),
            session=session.paths.name,
            sys_path=config.sys_path,
            pass_fds=descriptors,
            log=agent_log(session),
        )
    except BaseException:
        os.close(alive_w)
        os.close(ready_r)
        session.discard()
        raise
    finally:
        os.close(alive_r)
        os.close(ready_w)
    session.release()
    agent = AgentProcess(process, session, alive_w, ready_r)
    identity = liveness.identify(agent.pid)
    if identity is not None and not config.joins:
        publish(SessionNote(session.paths, config.node_id, identity, config.namespace, config.max_lineage_bytes))
    return agent


def agent_log(session: PreparedSession) -> str:
    """Return where the agent of a session writes."""
    return session.paths.role_log_path("agent")


class AgentProcess:
    """The agent as its driver sees it. It ends when this process does, or :meth:`stop` is called. Not thread-safe."""

    def __init__(self, process: subprocess.Popen[bytes], session: PreparedSession, alive_w: int, ready_r: int) -> None:
        self._process = process
        self._session = session
        self._alive_w = alive_w
        self._ready_r = ready_r
        self.pid = process.pid
        self.log = agent_log(session)

    def __repr__(self) -> str:
        state = "alive" if self.is_alive() else f"ended with {self._process.returncode}"
        return f"<agent of session {self._session.paths.name!r}, pid {self.pid}, {state}>"

    @property
    def alive_fd(self) -> int:
        """The write end of the alive pipe: an error condition on it means that the agent is gone."""
        return self._alive_w

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until its socket is bound and it has reported to the head.

        Raises StartError with its last words when it failed or was too slow; everything is cleaned up then.
        """
        if self._ready_r < 0:
            return
        try:
            said, in_time = self._read_ready(timeout_s)
        except BaseException:
            # An interrupt: nobody will hold this object any more, and its pipe alone would keep the agent alive.
            self.abandon()
            raise
        if said == READY:
            os.close(self._ready_r)
            self._ready_r = -1
            return
        self.stop(timeout_s=5.0 if in_time else 0.0)
        paths = self._session.paths
        what = "no machine was added to session {!r}" if paths.label else "session {!r} could not be started"
        words = said.decode("utf-8", "replace") or last_words(agent_log(self._session))
        happened = (
            f"its agent ended with {self._process.returncode}"
            if in_time
            else f"its agent was not ready after {timeout_s:g} s"
        )
        raise StartError(f"{what.format(paths.name)}: {happened}. Nothing was run. {words}")

    def _read_ready(self, timeout_s: float) -> tuple[bytes, bool]:
        """Return what the agent says until it closes the ready pipe, and whether it did so in time."""
        deadline = time.monotonic() + timeout_s
        said = b""
        while liveness.wait_readable(self._ready_r, deadline - time.monotonic()):
            chunk = os.read(self._ready_r, 65536)
            if not chunk:
                return said, True
            said += chunk
        return said, False

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it has ended; return its exit status (negative: the signal), or None if it has not in time."""
        if self._process.poll() is None and timeout_s is not None:
            # Popen.wait with a timeout polls with growing sleeps; the descriptor wakes at once where there is one.
            descriptor = liveness.open_pidfd(self.pid)
            if descriptor is not None:
                with os.fdopen(descriptor, "rb"):
                    liveness.wait_readable(descriptor, timeout_s)
                timeout_s = 0.0
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = 5.0) -> int | None:
        """End the session: the agent ends all its processes and removes its sockets. Return its exit status.

        An agent that does not manage in ``timeout_s`` is killed, and what it left is ended here. Harmless if repeated.
        The agent of a further machine ends the machine's part only.
        """
        if self._alive_w >= 0 and self.is_alive():
            with contextlib.suppress(OSError):  # it has just ended
                os.write(self._alive_w, b"\0")
        for descriptor in (self._alive_w, self._ready_r):
            if descriptor >= 0:
                os.close(descriptor)
        self._alive_w = self._ready_r = -1
        if self.wait(timeout_s) is None:
            self._process.kill()
            self._process.wait()
        self._clear_up()
        return self._process.returncode

    def abandon(self) -> None:
        """End a session that nobody is to have; one that is not ready yet without waiting until it hears."""
        self.stop(timeout_s=5.0 if self._ready_r < 0 else 0.0)  # before it is ready, it still imports for a while

    def kill(self) -> None:
        """End the agent with SIGKILL, and clear up what it has left. Harmless if it has ended."""
        self._process.kill()
        self.stop()

    def terminate(self) -> None:
        """Ask the agent of a further machine to leave the session when its tasks are done; that of the first to end."""
        self._process.terminate()

    def _clear_up(self) -> None:
        """Remove the machine's folders; what an agent left running that could not end it is ended first."""
        paths = self._session.paths
        if paths.label:
            sweep_machine(folder_of(paths.state_dir, paths.label))
            return
        if os.path.exists(paths.run_dir):
            end_machine(paths.node_dir)
            sweep_machines(paths.state_dir)
        remove_folders(paths.node_dir)
        unpublish(paths.state_dir)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(paths.state_dir, "processes"))
