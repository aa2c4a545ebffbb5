"""What an interrupted piece of code has submitted to the session of this process: withdraws it, or tells of it."""

from __future__ import annotations

import contextlib
import threading

from ipyactors.ground.exceptions import SessionError
from ipyactors.owner.session import Session
from ipyactors.owner.withdrawal import Withdrawal, withdraw, words_of_what_goes_on
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.marks import read_marks

#: An actor answers within a millisecond, unless what it runs does not let its other threads run.
_ACTORS_ANSWER_S = 0.15


def describe_calls(session: Session, scope: int) -> str:
    """Return in words what was submitted in ``scope`` and goes on, where nothing is to be withdrawn; empty if nothing.

    Called by the thread that was interrupted, as :func:`withdraw_calls`.
    """
    session.turn()
    with deferred(), session.lock:
        return words_of_what_goes_on(session.state, scope)


def withdraw_calls(session: Session, scope: int) -> Withdrawal:
    """Cancel what was submitted in ``scope`` and nobody else needs; say what was done.

    To be called by the thread that was interrupted: what it was waiting for, and other code of that scope, nobody waits
    for any more. Actors are given a moment to say which calls they have not begun. One that begins in that moment is
    cancelled as by ``cancel``.
    """
    session.turn()  # takes what was submitted, and what has arrived
    with deferred(), session.lock:
        state, me = session.state, session.process_id
        busy = (worker_id for worker_id, holder in state.holders.items() if holder.in_flight)
        begun = {worker_id: read_marks(session.paths.marks_path(worker_id)).get(me, 0) for worker_id in busy}
        awaited = session.waits.subjects(threading.get_ident(), scope)
        done = withdraw(state, session.mail, scope, awaited, begun)
    with contextlib.suppress(SessionError, KeyboardInterrupt):
        session.wait(lambda: done.is_answered, _ACTORS_ANSWER_S)
    with deferred(), session.lock:
        return done.settled()
