"""The engine of this process: started by ``init()`` or by the first use, ended by ``shutdown()`` or by the exit."""

from __future__ import annotations

import atexit
import json
import os
import pathlib
import threading
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import process

if TYPE_CHECKING:
    from ipyactors.engines.base import Engine


class SessionContext:
    """The live session, as :func:`ipyactors.init` returns it; as a context manager it ends it after the block."""

    def __init__(self, engine: Engine, given: Mapping[str, Any]) -> None:
        self._engine = engine
        self._given = dict(given)
        session = process.session()
        self._folder = session.paths.state_dir if session is not None else ""

    @property
    def folder(self) -> pathlib.Path:
        """What outlives the session: its logs, and the logs and checkpoints of its durable actors, for ``fsck``.

        Another process of this machine comes to the session with ``init(address=...)`` and this path.
        """
        return pathlib.Path(self._folder)

    @property
    def namespace(self) -> str:
        """The namespace in which this process names its actors."""
        return self._engine.namespace

    @property
    def is_live(self) -> bool:
        """Whether this is still the session of the process."""
        return _runtime.engine is self._engine

    def disconnect(self) -> None:
        """End the session, as :func:`shutdown` does."""
        if self.is_live:
            shutdown()

    def differing(self, given: Mapping[str, Any]) -> list[str]:
        """Return the names of the arguments in ``given`` that this session was not started with."""
        return [
            name
            for name, value in given.items()
            if value is not None and _plain(self._given.get(name)) != _plain(value)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return f"<ipyactors session{self._where()}, {'live' if self.is_live else 'ended'}>"

    def _where(self) -> str:
        """Return the namespace in words, if the user has given one."""
        return f", namespace {self.namespace!r}" if self._given.get("namespace") else ""

    def _repr_html_(self) -> str:
        """Return a table of what this process knows of the session; nobody is asked."""
        from ipyactors.api import reprs  # few sessions are shown

        session = process.session() if self.is_live else None
        clients = [] if session is None else list(session.state.actors.values())
        facts = [
            ("ipyactors session", "live" if self.is_live else "ended"),
            ("namespace", self._given.get("namespace") or ""),
        ]
        return reprs.session_as_html(facts, self._given, clients)


class _Runtime:
    """The one engine of this process. ``forked`` is set in a process that was forked from one with a live engine."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.context: SessionContext | None = None
        self.forked = False
        self.lock = threading.RLock()
        #: How an engine is made; tests put another one here.
        self.start: Callable[..., Engine] = _start_local

    def forget(self) -> None:
        """Drop the engine without ending it."""
        self.engine = self.context = None

    def after_fork(self) -> None:
        """Let go of what a forked child must not touch: its parent's sockets and threads."""
        self.lock = threading.RLock()
        if self.engine is not None or process.session() is not None:
            self.forget()
            self.forked = True
            process.set_session(None)


def _start_local(**arguments: Any) -> Engine:
    # Imported here, so that `import ipyactors` needs neither ZeroMQ nor anything that starts processes.
    from ipyactors.engines.returning import start_or_come_back

    return start_or_come_back(**arguments)


def _plain(value: Any) -> Any:
    """Return an argument of ``init()`` as it comes back from a session's note: a list where it was a tuple."""
    return json.loads(json.dumps(value))


def _attach() -> Engine | None:
    """Return an engine over the session that this process has already: a worker's."""
    session = process.session()
    if session is None:
        return None
    from ipyactors.engines.local import LocalEngine

    return LocalEngine(session)


_runtime = _Runtime()
process.forgets.append(_runtime.forget)
os.register_at_fork(after_in_child=_runtime.after_fork)


def engine() -> Engine:
    """Return this process's engine; start the default one if there is none. From any thread."""
    return _runtime.engine or _first_use()


def _first_use() -> Engine:
    with _runtime.lock:
        if _runtime.engine is None:
            check_not_forked()
            attached = _attach()
            if attached is None:
                start({})
            else:
                _runtime.engine = attached
                _runtime.context = SessionContext(attached, {})
    live = _runtime.engine
    if live is None:
        raise SessionError("the session ended while it was being used for the first time. Call ipyactors.init() again.")
    return live


def live_engine() -> Engine | None:
    """Return this process's engine if it has one."""
    return _runtime.engine


def engine_for(what: str) -> Engine:
    """Return this process's engine for ``what``, which only looks: to start one for that would show an empty one.

    Raises SessionError if there is none.
    """
    __tracebackhide__ = True
    if _runtime.engine is None and process.session() is None:
        check_not_forked()
        words = without_session("there is no session in this process, and so nothing to look at.")
        raise SessionError(
            f"{what}: {words} Nothing was started. Call ipyactors.init() first, or what starts one: .remote() or put()."
        )
    return engine()


def without_session(words: str) -> str:
    """Return what to say where this process has no session: ``words``, or that this notebook's goes on without it."""
    from ipyactors.engines.returning import left_session

    name = left_session()
    if not name:
        return words
    return f"the session of this notebook, {name}, goes on with its detached actors; ipyactors.init() comes back to it."


def check_not_forked() -> None:
    """Raise SessionError in a process that was forked from one with a live session."""
    if _runtime.forked:
        raise SessionError(
            "This process was forked from one with a live session, whose sockets and threads it cannot use. "
            "Nothing was sent. Start it with the 'spawn' method instead, or run the work as a remote function."
        )


def start(given: Mapping[str, Any], meanwhile: Callable[[], object] = lambda: None) -> SessionContext:
    """Return the live session; start it if there is none. Warns about arguments that have no effect.

    ``given`` are arguments of :func:`~ipyactors.api.init.init`, checked. ``meanwhile`` is called while the processes
    start.
    """
    with _runtime.lock:
        if _is_over():
            shutdown()
        if _runtime.engine is None:
            check_not_forked()
            started_with = {**given, "log_to_driver": given.get("log_to_driver") is not False}
            live = _runtime.engine = _attach() or _runtime.start(**started_with, meanwhile=meanwhile)
            at_first = live.given_at_first
            _runtime.context = SessionContext(live, started_with if at_first is None else at_first)
            if live.welcome:
                print(live.welcome)
        context = _runtime.context
        assert context is not None
        if differing := context.differing(given):
            warnings.warn(
                f"init: the session is running already; {', '.join(differing)} had no effect. "
                "Call ipyactors.shutdown() first to start another.",
                UserWarning,
                stacklevel=4,  # the line that calls init(), beyond what checks its keywords
            )
        return context


def shutdown(*, everything: bool = False) -> None:
    """End the session and all its processes; nothing happens if there is none. In a worker it raises SessionError.

    A session that this process has not started but come to, with ``init(address=...)`` or as a notebook's new kernel,
    is only left: what this process has made in it ends, and no more. ``everything=True`` ends that session too, with
    its detached actors, and what other drivers have in it; also where a new kernel has not come back to it yet.
    """
    _shut_down(everything=everything or None)


def _shut_down(*, everything: bool | None) -> None:
    session = process.session()
    if session is not None and not session.is_driver:
        raise SessionError("a worker cannot end the session: call shutdown() in the driver. Nothing was ended.")
    with _runtime.lock:
        live = _runtime.engine
        if live is None:
            if everything:
                _end_left_sessions()
            return
        try:
            live.shutdown(everything=everything)
        finally:
            _runtime.forget()


def _end_left_sessions() -> None:
    from ipyactors.engines.returning import end_left_sessions

    end_left_sessions()


def is_initialized() -> bool:
    """Return whether this process has a live session."""
    return not _is_over() and (_runtime.engine is not None or process.session() is not None)


def _is_over() -> bool:
    """Return whether the session of this process has ended by itself: its agent is gone, say."""
    session = process.session()
    return session is not None and session.is_over


@atexit.register
def _shutdown_at_exit() -> None:
    session = process.session()
    if session is None or session.is_driver:
        _shut_down(everything=False)  # a kernel that is restarted exits: what is detached is to go on
