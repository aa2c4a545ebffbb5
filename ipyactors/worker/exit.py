"""How a worker ends on purpose, and what it still says on the way out."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from ipyactors.ground.exception_parts import is_a
from ipyactors.ground.exceptions import SessionError
from ipyactors.ground.value_texts import text_of
from ipyactors.owner import current
from ipyactors.worker.log_file import log_only
from ipyactors.worker.out import WorkerSession

#: The status of a worker that could not go on.
FAILED = 1

#: A worker that cannot end in good order within this time ends all the same.
LEAVE_AT_MOST_S = 5.0

#: How long a worker whose constructor has failed waits for the head, which has it ended once it has heard why.
HEAD_HEARS_WITHIN_S = 30.0

#: How long an actor's own goodbye (its shutdown hook, ``atexit`` handlers) may take.
GOODBYE_AT_MOST_S = 30.0

_CODE: Any = SystemExit.__dict__["code"]  # a subclass may mean something else by that name
_system_exit = os._exit
_leaving = threading.Lock()


class ActorExit(BaseException):
    """Raised inside a method to end its actor. No ``Exception``: the user's error handling must not stop it."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


def exit_actor() -> NoReturn:
    """End the actor that this code runs in, for good; does not return.

    Calls that run beside this one finish; those that wait are not run. Raises TypeError outside an actor.
    """
    call = current.call.get()
    if call is None or not call.actor_id:
        raise TypeError(
            "exit_actor() was called outside an actor, so there is nothing to end. "
            "Call it in a method of an actor; use ipyactors.kill(handle) from elsewhere."
        )
    call.exit_detail = f"exit_actor() was called in {call.name}"  # holds even if an `except:` swallows the exception
    raise ActorExit(call.exit_detail)


def leave(session: WorkerSession | None, code: int) -> NoReturn:
    """End this process with ``code`` after what it has queued has left; callable from any thread.

    The first to call it decides the code. Others (the main thread, say, that finds its session closed) stay here.
    """
    if not _leaving.acquire(blocking=False):
        threading.Event().wait()
    end_after(LEAVE_AT_MOST_S, code)
    if session is not None:
        with contextlib.suppress(Exception):
            session.flush()
        with contextlib.suppress(Exception):
            session.close()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _system_exit(code)


def hold_others() -> None:
    """Have every other thread that would end this process wait for ever: whoever calls this ends it, in his own way."""
    _leaving.acquire(blocking=False)


@contextlib.contextmanager
def fatal(session: WorkerSession) -> Iterator[None]:
    """End the process if anything is raised in the block, on whatever thread: it would only be missing afterwards."""
    try:
        yield
    except BaseException:  # the last words of a process that could not go on
        traceback.print_exc(file=log_only())
        leave(session, FAILED)


def wait_to_be_ended(session: WorkerSession) -> None:
    """Wait until the head, which was told that this process is of no use, has it ended; return if it does not.

    Who leaves at once may be overtaken by the report of his death, which comes by way of the agent, or take along what
    a busy head has not read. Nobody would know then what the constructor has raised.
    """
    with contextlib.suppress(SessionError):
        session.wait(lambda: False, HEAD_HEARS_WITHIN_S)


def end_after(seconds: float, code: int) -> threading.Timer:
    """Return a running timer that ends the process unless it is cancelled."""
    timer = threading.Timer(seconds, _system_exit, (code,))
    timer.daemon = True
    timer.start()
    return timer


def install_exit_hook(session: WorkerSession, look: Callable[[], object]) -> None:
    """Make ``os._exit`` in the user's code send the answers that are on their way before it ends the process.

    Without it, a task that exits would take the finished tasks before it along: their answers may still wait for
    company, or lie in ZeroMQ's queue. Each of them would lose a retry for nothing. ``look`` adds what the call has
    written that ends here. A child that the user's code has forked keeps the plain function.
    """
    pid = os.getpid()

    def exit_with_answers(status: int) -> NoReturn:
        if os.getpid() == pid:
            end_after(LEAVE_AT_MOST_S, status)
            look()
            leave(session, status)
        _system_exit(status)

    os._exit = exit_with_answers


def tell_exit(name: str, error: SystemExit, *, is_child: bool) -> int:
    """Print that ``name`` ends the worker with ``error``; return the exit status.

    In a child that the user's code has forked nothing is printed: it alone ends, as it was meant to.
    """
    code = exit_code_of(error)
    if not is_child:
        print(f"{name} called {exit_words(error)}: the worker exits with {code}", file=sys.stderr)
    return code


def exit_code_of(error: SystemExit) -> int:
    """Return the exit status that the interpreter would use."""
    code = _CODE.__get__(error)
    if code is None:
        return 0
    return int.__and__(code, 0xFF) if is_a(code, int) else 1


def exit_words(error: SystemExit) -> str:
    """Return the call that raised ``error``, as its author may have written it."""
    code = _CODE.__get__(error)
    return "sys.exit()" if code is None else f"sys.exit({text_of(code)[0]})"
