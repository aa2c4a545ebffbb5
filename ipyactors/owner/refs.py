"""References: promises of values, that can be waited for, passed on and awaited."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ipyactors.ground import ids, tables
from ipyactors.ground.exceptions import SessionError
from ipyactors.owner import current, deadlock, labels, origins, process, ref_words, values
from ipyactors.owner.belonging import is_of_another
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.lending import LEND_AFTER_S
from ipyactors.owner.objects import Entry, Reference
from ipyactors.owner.streams import Stream
from ipyactors.owner.waits import NO_THREAD
from ipyactors.wire import serialize
from ipyactors.wire.specs import RefSpec

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

    from ipyactors.owner.session import Session

#: An awaiting coroutine looks up this often: an interrupt of a notebook's loop is only noticed when it wakes.
_AWAIT_TICK_S = 0.1


class ObjectRef(Reference):
    """A promise of a value, returned by ``.remote()`` and :func:`ipyactors.put`.

    Pass it to :func:`ipyactors.get`, ``await`` it, or hand it to another task: as an argument of its own it arrives
    as the value, inside a container it arrives as a reference. It may be used from any thread.
    """

    __slots__ = ("__weakref__",)

    def binary(self) -> bytes:
        """Return the object's id (20 bytes)."""
        return self._entry.object_id

    def hex(self) -> str:
        """Return the object's id in hexadecimal."""
        return self._entry.object_id.hex()

    def task_id(self) -> str:
        """Return the id of the call that makes the object, in hexadecimal."""
        return ids.object_id(ids.owner_of(self.binary()), ids.counter_of(self.binary())).hex()

    def future(self) -> concurrent.futures.Future[Any]:
        """Return a future of the value; its callbacks run one after the other, on a thread of the session's own.

        Raises NotReplayableError in a method of a durable actor: a replay could not tell when it was done.
        """
        turn = current.turn()
        if turn is not None:
            raise turn.refuse("asks for a future", "Await the reference, or get() or wait() for it.")
        return _session().future_of(self._entry)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Any:
        turn = current.turn()
        if turn is None:
            return await self._arrive()
        import asyncio

        entries = [self._entry]
        taken = turn.given(entries)
        if isinstance(taken, current.WasCancelled):
            taken = await _cancellation()
        if taken is None:
            try:
                await asyncio.sleep(0)  # so that others come between however fast the result is
                taken = [await self._arrive()]
            except asyncio.CancelledError as error:
                turn.cancelled()
                taken = error.with_traceback(None)
            except Exception as error:
                taken = turn.failed(entries, error)
            else:
                turn.received(entries)
        if isinstance(taken, list):
            return taken[0]
        try:
            raise taken  # here in either case: so its traceback is the same
        finally:
            del taken

    async def _arrive(self) -> Any:
        import asyncio  # here and below: who awaits has it, and the others need not pay for it

        entry = self._entry
        if entry.done and process.session() is None:
            return values.value_of(entry)  # it outlives the session
        session = _session()
        if not entry.done:
            loop = asyncio.get_running_loop()
            done = asyncio.Event()

            def wake(_: Entry) -> None:
                set_soon(loop, done)

            session.when_done(entry, wake)
            waiter = asyncio.ensure_future(done.wait())
            try:
                with session.waits.during((entry,), NO_THREAD):
                    await look_up(session, waiter, lambda: entry.done, entry)
            finally:
                waiter.cancel()
                with session.lock:
                    entry.forget(wake)
        session.announcer.catch_up()
        if not session.is_here(entry):
            return await asyncio.to_thread(session.value_of, entry)  # it waits for another machine
        return session.value_of(entry)

    def __reduce__(self) -> tuple[Any, ...]:
        session = _session()
        if is_of_another(session, self._entry):
            raise SessionError(
                f"{self!r} is of a session that has ended; nobody in session {session.paths.name} could get its value. "
                "Put the value again, or submit again the call that made it."
            )
        spec = session.custody.refer(self._entry)
        serialize.note_ref(spec, self._entry)
        return _rebuild, (spec.object_id, spec.owner_address)

    def __copy__(self) -> ObjectRef:
        return self

    def __deepcopy__(self, _memo: object) -> ObjectRef:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and other._entry.object_id == self._entry.object_id

    def __hash__(self) -> int:
        return hash(self._entry.object_id)

    def __repr__(self) -> str:
        return f"ObjectRef({labels.label_of(self._entry)})"

    def _repr_html_(self) -> str:
        """Return a table of what this process knows of the object; nobody is asked."""
        return tables.facts_as_html(ref_words.facts_of(self._entry))


async def _cancellation() -> BaseException:
    """Wait until the running task is cancelled; return that."""
    import asyncio

    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError as error:
        return error.with_traceback(None)
    raise AssertionError("nobody has that future")


async def look_up(
    session: Session, waiter: asyncio.Future[Any], is_done: Callable[[], bool], awaited: Entry | None = None
) -> None:
    """Wait for ``waiter`` until ``is_done()``; a worker lends its CPUs meanwhile. Raises SessionError at its end.

    Raises ActorDeadlockError if ``awaited`` waits for the call that waits here.
    """
    import asyncio

    wait = None
    with contextlib.ExitStack() as meanwhile:
        if not session.is_driver:
            await asyncio.wait({waiter}, timeout=LEND_AFTER_S)
            if is_done():
                return
            meanwhile.enter_context(session.lending.meanwhile())
            entries = () if awaited is None else (awaited,)
            wait = meanwhile.enter_context(session.blocking.during(entries, is_coroutine=True))
        while not (is_done() or session.is_over or (wait is not None and wait.circle)):
            await asyncio.wait({waiter}, timeout=_AWAIT_TICK_S)
    if is_done():
        return
    if wait is not None and wait.circle:
        raise deadlock.error_for(wait)
    session.check_open()


def set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of another thread's loop; a loop that was closed meanwhile does not care."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _session() -> Session:
    session = process.session()
    if session is None:
        raise SessionError(
            "this reference belongs to a session that has ended, and its value went with it. "
            "Call ipyactors.init() and submit the work again."
        )
    return session


def adopt(spec: RefSpec) -> ObjectRef:
    """Return a reference to an object that something unpickled here names. Raises SessionError without a session."""
    if process.session() is None:
        raise SessionError(
            "there is no session in this process, so the reference was not unpickled. Call ipyactors.init(address=...) "
            f"first, to come to the session that it belongs to (its owner is at {spec.owner_address}), and try again."
        )
    entry = _session().custody.adopt(spec)
    if entry.origin is None:
        running = current.call.get()
        entry.origin = origins.note("", 1) if running is None else (running.name, None, 0)
    return ObjectRef(entry)


def _rebuild(object_id: bytes, owner_address: str) -> ObjectRef:
    return adopt(RefSpec(object_id, owner_address))


class ObjectRefGenerator:
    """The references that a generator task produces, while it runs: an iterator, and an async iterator.

    Each step waits until the next item exists and returns its reference. After an attempt that crashed, the task
    runs again and the items that have arrived are not produced twice. When the generator object goes, or
    :meth:`close` is called, its task is cancelled.
    """

    def __init__(self, session: Session, stream: Stream, call: PendingCall) -> None:
        self._session = session
        self._stream = stream
        self._call = call
        self._taken = 0

    def __iter__(self) -> ObjectRefGenerator:
        return self

    def __next__(self) -> ObjectRef:
        __tracebackhide__ = True
        session = _session()
        with session.waits.during((self._stream,)):
            session.wait(self._is_ready)
        return self._take(StopIteration)

    def __aiter__(self) -> ObjectRefGenerator:
        return self

    async def __anext__(self) -> ObjectRef:
        import asyncio

        session, stream = _session(), self._stream
        changed = asyncio.Event()
        with session.lock:
            is_ready = self._is_ready()
            if not is_ready:
                stream.callbacks.append(functools.partial(set_soon, asyncio.get_running_loop(), changed))
        if not is_ready:
            waiter = asyncio.ensure_future(changed.wait())
            try:
                with session.waits.during((stream,), NO_THREAD):
                    await look_up(session, waiter, self._is_ready)
            finally:
                waiter.cancel()
        return self._take(StopAsyncIteration)

    def _is_ready(self) -> bool:
        return bool(self._stream.waiting) or self._stream.ended

    def _take(self, end: type[Exception]) -> ObjectRef:
        try:
            entry = self._stream.waiting.popleft()
        except IndexError:
            raise end from None
        self._taken += 1
        return ObjectRef(entry)

    def is_finished(self) -> bool:
        """Return whether every item has been taken and none will follow."""
        return self._stream.ended and not self._stream.waiting

    def close(self) -> None:
        """Cancel the generator's task, if it still runs; what has arrived can still be taken."""
        if not self._stream.ended:
            self._session.let_go(self._call)

    def __del__(self) -> None:
        # Nobody can take another item: a worker that goes on producing them would do so for nothing, perhaps forever.
        with contextlib.suppress(AttributeError):  # __init__ did not get that far
            self.close()

    @property
    def call(self) -> PendingCall:
        """The call that produces the items; for ``cancel``."""
        return self._call

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("its items arrive where it was made; pass the references that it yields, or a list of them")

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._call.name}, {self._taken} taken)"
