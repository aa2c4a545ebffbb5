"""Which actor this process hosts, and which call the running code belongs to.

The call is a context variable, so that it is right in threads of a threaded actor and in coroutines of an async one.
The actor is a fact of the whole process, so threads that the user's code starts, which run no call, know it too.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ipyactors.ground.exceptions import NotReplayableError

if TYPE_CHECKING:
    import uuid

    from ipyactors.owner.retriable import Unanswered
    from ipyactors.wire.specs import ActorSpec

_actor: ActorSpec | None = None
_incarnation = 0


class Turn(Protocol):
    """What one call of a durable actor takes from outside; made real by :mod:`ipyactors.worker.turn`.

    Every method raises ReplayDivergenceError where the call does not do again what the log says that it has done, and
    NotReplayableError for what no log could give again. ``is_inside_once`` while a function runs that once() calls.
    """

    is_inside_once: bool

    @property
    def is_replaying(self) -> bool:
        """Whether the call is done again, as the log says, and has no effect outside."""
        ...

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        ...

    def random(self) -> float:
        """Return a random number from 0 to 1."""
        ...

    def uuid4(self) -> uuid.UUID:
        """Return a random UUID."""
        ...

    def once(self, function: Callable[[], Any]) -> Any:
        """Return what ``function()`` returns, or raise what it raises: it is called at most once."""
        ...

    def is_canceled(self, *, is_flagged: bool) -> bool:
        """Return whether the call is cancelled, which it stays; ``is_flagged``: somebody has asked for that by now."""
        ...

    def request_checkpoint(self) -> None:
        """Have a checkpoint made when the call is over."""
        ...

    def submitting(self, digest: bytes) -> Submission:
        """Note that the call submits another one, of which ``digest`` tells what is called with what."""
        ...

    def submitted(self, submission: Submission, call: object, entries: tuple[object, ...]) -> None:
        """Take a call that was made, with the objects that it makes; one that is replayed was not sent."""
        ...

    def receive(self, entries: Sequence[Any], take: Callable[[], list[Any]]) -> list[Any]:
        """Return the values of objects: those that the log has, else what ``take()`` returns or raises."""
        ...

    def given(self, entries: Sequence[Any]) -> list[Any] | BaseException | None:
        """Return the values of objects as the log has them, or what to raise; None if they are to be waited for."""
        ...

    def received(self, entries: Sequence[Any]) -> None:
        """Note the values of objects, which are there."""
        ...

    def failed(self, entries: Sequence[Any], error: Exception) -> BaseException:
        """Note what the first of some objects has failed with; return it as a replay will have it, to be raised."""
        ...

    def cancelled(self) -> None:
        """Note that the code was cancelled while it waited for the values of objects."""
        ...

    def choose(self, choose: Callable[[], list[int]]) -> list[int]:
        """Return which of several came first: as the log says, else what ``choose()`` returns."""
        ...

    def refuse(self, what: str, instead: str) -> NotReplayableError:
        """Return the error for what the call does, in words, which no log could give again."""
        ...


#: What :meth:`Turn.refuse` says of a call inside of ``once()``: where that is given its result, it would not be made.
CALL_INSIDE_ONCE = (
    "makes a call inside of once()",
    "Make it before or after: a call is not made twice anyway.",
)


class WasCancelled(Exception):  # noqa: N818  # no error: it tells what to do
    """Stands for the result where replayed code had been cancelled while it waited: it waits until it is again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """Which call of a durable actor's turn a nested call is. ``is_replayed``: it was made before, and is not sent.

    ``lsn`` is 0 in a constructor; that of a class that the actor was upgraded to runs ``after`` calls up to this lsn.
    ``oldest`` is the lowest lsn of the calls that run side by side: what they call first may be still to come.
    """

    actor_id: bytes
    lsn: int
    index: int
    is_replayed: bool
    after: int = 0
    oldest: int = 0

    @property
    def counter(self) -> int:
        """What the nested call is counted by: of what the actor has called before, all may be settled below this."""
        return self.lsn or self.after

    @property
    def call_id(self) -> bytes:
        """The nested call's id, the same in every incarnation."""
        return self.actor_id + self.lsn.to_bytes(8, "big") + self.index.to_bytes(4, "big")


@dataclasses.dataclass(slots=True)
class CurrentCall:
    """The call that runs here. ``caller`` is the process id of who sent it, ``seq`` its number there.

    ``turn`` is what notes, in a durable actor, what the call takes from outside, and ``lsn`` its place in the log;
    ``nested`` counts the calls to durable actors that it has made, if it may be retried: then ``counter`` is its number
    among those calls of its caller, of which those with one below ``settled`` are over. Of such a task, ``given`` is
    what earlier attempts have taken from outside, ``kept`` how much of it is with its owner, and ``notes`` notes it.
    ``unanswered`` are such calls that have no answer, None if it has made none; ``is_over`` once it has ended.
    ``thread`` is that which runs the call, 0 for the main thread if it has no turn; ``task`` the ``id()`` of the
    asyncio task that runs its coroutine.

    ``cancelled`` is set when the caller asked to cancel it, ``exit_detail`` when it has called ``exit_actor()``.
    ``is_changing``, ``seen`` and ``expected`` are of :mod:`ipyactors.worker.changes`.
    """

    caller: bytes
    seq: int
    task_id: bytes
    name: str
    actor_id: bytes = b""
    attempt: int = 0
    cancelled: bool = False
    exit_detail: str = ""
    is_changing: bool = False
    seen: int = -1
    expected: tuple[int, int] | None = None
    turn: Turn | None = None
    lsn: int = 0
    nested: int = 0
    counter: int = 0
    settled: int = 0
    given: tuple[bytes, ...] | None = None
    kept: int = 0
    notes: Turn | None = None
    unanswered: Unanswered | None = None
    is_over: bool = False
    thread: int = 0
    task: int = 0


call: contextvars.ContextVar[CurrentCall | None] = contextvars.ContextVar("ipyactors_call", default=None)

_is_outside: contextvars.ContextVar[bool] = contextvars.ContextVar("ipyactors_is_outside", default=False)


#: Makes the ``notes`` of a task; set by a worker.
make_notes: Callable[[CurrentCall], Turn] | None = None


def notes() -> Turn | None:
    """Return what notes what the running code takes from outside, in a task too; None where nobody does.

    Raises NotReplayableError as :func:`turn`.
    """
    running = call.get()
    if running is None or running.turn is not None:
        return turn()
    if running.notes is None and running.given is not None and make_notes is not None:
        running.notes = make_notes(running)
    return None if running.is_over else running.notes


def turn() -> Turn | None:
    """Return what notes what the running call takes from outside; None where nobody does.

    Raises NotReplayableError in a durable actor for code that is no call's own: no log would have what it takes, or
    nobody knows in which order.
    """
    running = call.get()
    if running is None:
        if _actor is not None and _actor.durability is not None and not _is_outside.get():
            raise _not_replayable("code that runs in no call of it (a thread, say)")
        return None
    if running.turn is None:
        return None
    if running.is_over:
        raise _not_replayable(f"code of {running.name} that goes on after that has ended")
    if running.thread != threading.get_ident():
        raise _not_replayable(f"code of {running.name} that runs in another thread")
    return running.turn


def _not_replayable(who: str) -> NotReplayableError:
    spec = _actor
    assert spec is not None
    return NotReplayableError(  # not with the thread's name: the text may become part of the actor's state
        f"Actor {spec.class_name} is durable, and {who} makes a call, waits for a result or asks get_runtime_context() "
        "for something. After a crash nobody could do that again as it was: it is in no log. Nothing was done. Have "
        "the method itself do it, before it ends: calls that it submits one after the other run side by side, and "
        "get() waits for all of them. Methods with effect='readonly' may use asyncio.to_thread().",
        actor_id=spec.actor_id.hex(),
    )


@contextlib.contextmanager
def outside_calls() -> Iterator[None]:
    """Let the user's code take what it likes from outside: it is part of no call, and no replay does it again.

    The call that ended last is still there for who asks, and its log must have nothing that comes after its end.
    """
    token, was_outside = call.set(None), _is_outside.set(True)
    try:
        yield
    finally:
        _is_outside.reset(was_outside)
        call.reset(token)


def actor() -> ActorSpec | None:
    """Return the actor that this process hosts, or None."""
    return _actor


def incarnation() -> int:
    """Return which incarnation of its actor this process is, from 0; 0 where it hosts none."""
    return _incarnation


def set_actor(spec: ActorSpec, incarnation: int) -> None:
    """Say which actor this process hosts; called by a worker before it runs the constructor."""
    global _actor, _incarnation
    _actor, _incarnation = spec, incarnation
