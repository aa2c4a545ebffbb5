"""What user code in this process asks of its session: to wait, to hold references and handles, to ask the head."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ipyactors.ground import ids
from ipyactors.ground.config import MAX_LINEAGE_BYTES, SessionPaths
from ipyactors.ground.exceptions import HeadUnavailableError, SessionError
from ipyactors.owner import borrowing, current, deadlock, outbox, reactor, values
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.blocking import Blocking
from ipyactors.owner.callbacks import Callbacks
from ipyactors.owner.lending import LEND_AFTER_S
from ipyactors.owner.objects import Entry
from ipyactors.owner.storage import Storage
from ipyactors.owner.traffic import Traffic
from ipyactors.owner.waits import Waits
from ipyactors.wire import serialize
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import HoldActor, KillActor
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.specs import Location, Payload

if TYPE_CHECKING:
    import concurrent.futures

#: How long the head may take to answer a request; it restarts in well under a second.
_HEAD_ANSWERS_S = 30.0


class Session(Traffic):
    """This process's part in a session, as the owner of what it submits. One per process, usable from any thread."""

    def __init__(
        self,
        paths: SessionPaths,
        process_id: bytes,
        *,
        is_driver: bool,
        namespace: str = "",
        node_id: bytes = b"",
        max_lineage_bytes: int = MAX_LINEAGE_BYTES,
    ) -> None:
        super().__init__(
            paths,
            process_id,
            is_driver=is_driver,
            namespace=namespace,
            node_id=node_id,
            max_lineage_bytes=max_lineage_bytes,
        )
        if paths.store_dir:
            location = Location(node_id, paths.agent_address)
            self.storage = Storage(
                paths, location, process_id, self.post, self.wait, self.leader.wake, self.state.freed
            )
            self.mail.own = self.storage.hold
        self.callbacks = Callbacks(f"ipyactors-{ids.short(process_id)}-callbacks")
        self.blocking = Blocking(self.state, self.mail, self.lock, self.leader.wake)
        self.waits = Waits()
        self._counter = itertools.count(1)
        self._requests = itertools.count(1)

    def next_task_id(self) -> bytes:
        """Return the id of the next thing that this process makes. Raises SessionError if the session has ended."""
        if self.stopping_detail or self.is_closed:
            self.check_open()
        return ids.object_id(self.process_id, next(self._counter))

    # -- waiting ----------------------------------------------------------------------------------------------

    def wait(self, is_done: Callable[[], bool], timeout_s: float | None = None, awaited: Sequence[Entry] = ()) -> bool:
        """Block until ``is_done()``, leading or following; return False when ``timeout_s`` passes first.

        In a worker, code that waits lends its CPUs to others meanwhile. Raises SessionError if the session ends,
        ActorDeadlockError if all of ``awaited`` are needed, and one of them waits for the call that waits here.
        """
        __tracebackhide__ = True
        if self.announcer.is_telling_here and not is_done():
            raise SessionError(
                "a function given to on_event cannot wait for results: it runs on the thread that reads them. "
                "Nothing is lost; hand what is to be done to a thread or a queue of your own."
            )
        thread = threading.get_ident()
        if (self._turner == thread or thread in self._finalizing) and not is_done():
            raise SessionError(
                "a finalizer (__del__) cannot wait for results here: it interrupted the thread that reads them. "
                "Nothing is lost; collect what is to be done, and do it elsewhere."
            )
        if self.is_driver or _is_idle():
            done = self.leader.wait(is_done, timeout_s)
        else:
            done = self._wait_in_worker(is_done, timeout_s, awaited)
        if not done:
            self.check_open()
        return done

    def _wait_in_worker(self, is_done: Callable[[], bool], timeout_s: float | None, awaited: Sequence[Entry]) -> bool:
        __tracebackhide__ = True
        soon_s = LEND_AFTER_S if timeout_s is None else min(LEND_AFTER_S, timeout_s)
        if self.leader.wait(is_done, soon_s):
            return True
        if timeout_s is not None:
            timeout_s -= soon_s
            if timeout_s <= 0:
                return False
        endless = awaited if timeout_s is None else ()  # a wait with a limit ends by itself
        with self.lending.meanwhile(), self.blocking.during(endless) as wait:
            if wait is None:
                return self.leader.wait(is_done, timeout_s)
            done = self.leader.wait(lambda: bool(wait.circle) or is_done())
        if done and not is_done():
            raise deadlock.error_for(wait)
        return done

    @property
    def is_blocked(self) -> bool:
        """Whether code in this worker waits, and lends its CPUs."""
        return self.lending.is_under_way

    @property
    def is_over(self) -> bool:
        """Whether the session has ended, here or at its agent."""
        return self.is_closed or bool(self.stopping_detail)

    def check_open(self) -> None:
        """Raise SessionError if the session has ended."""
        if self.is_over:
            raise SessionError(self.end_words())

    def kill_actor(self, actor_id: bytes, *, no_restart: bool, detail: str) -> None:
        """Have the head end an actor's process, even if it is started again meanwhile; do not wait for it."""
        request_id = next(self._requests)
        message = KillActor(actor_id, no_restart, detail, request_id)
        with deferred(), self.lock:
            self.state.requests[request_id] = message
            self.mail.to_head(message)
        self.flush()

    def repeat_to_head(self, message: Message) -> None:
        """Send to the head, now, and to every head that is started again from here on. Do not wait for an answer."""
        with deferred(), self.lock:
            self.state.requests[next(self._requests)] = message
            self.mail.to_head(message)
        self.flush()

    def ask_head(self, make: Callable[[int], Message]) -> Any:
        """Send the request that ``make(request_id)`` returns; wait for the answer and return it.

        Raises HeadUnavailableError after 30 s.
        """
        __tracebackhide__ = True
        request_id = next(self._requests)
        message = make(request_id)
        answered, reply = False, None
        try:
            with deferred(), self.lock:
                self.state.requests[request_id] = message
                self.mail.to_head(message)
            self.flush()
            answered = self.wait(lambda: request_id in self.state.replies, _HEAD_ANSWERS_S)
        finally:  # an answer that comes later finds nobody, and what it grants is given back
            with deferred(), self.lock:
                self.state.requests.pop(request_id, None)
                reply = self.state.replies.pop(request_id, None)
        if not answered or reply is None:
            raise HeadUnavailableError(
                f"the head of session {self.paths.name} did not answer within {_HEAD_ANSWERS_S:.0f} s. Calls to actors "
                f"that are alive still work. Its log: {self.paths.state_dir}/logs/agent.log"
            )
        return reply

    # -- objects ----------------------------------------------------------------------------------------------

    def keep(self, payload: Payload, segment_id: bytes, name: str) -> Payload:
        """Return a fresh payload as it travels: what is large goes to the store. Raises ObjectStoreFullError."""
        if not serialize.is_large(payload):
            return payload
        if self.storage is None:
            return serialize.owned(payload)
        return self.storage.keep(payload, segment_id, name)

    def bring(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return payloads with their bytes; may wait for other processes and machines. Raises SegmentsMissing.

        For one that stands for an object, and which the caller holds, raises what that object has failed with.
        """
        if any(payload.stands_for is not None for payload in payloads):
            from ipyactors.owner import arrivals  # only what an actor is made from may stand for objects

            payloads = arrivals.stood_for(self, payloads)
        if self.storage is None or all(payload.stored is None for payload in payloads):
            return payloads
        return self.storage.filled(payloads)

    def when_done(self, entry: Entry, callback: Callable[[Entry], None]) -> None:
        """Call back when an entry is done, fetching it if it is borrowed; on the reading thread, so be quick."""
        with deferred(), self.lock:
            borrowing.fetch(self.state, self.mail, entry)
            entry.when_done(callback)
        self.turn()

    def fetch(self, entries: Iterable[Entry]) -> None:
        """Ask for those of the entries that are borrowed and not there."""
        borrowed = [entry for entry in entries if entry.owner_address and not entry.done]
        if borrowed:
            with deferred(), self.lock:
                for entry in borrowed:
                    borrowing.fetch(self.state, self.mail, entry)
            self.flush()

    def future_of(self, entry: Entry) -> concurrent.futures.Future[Any]:
        """Return a future of an entry's value."""
        with deferred():  # an import has callbacks of Python's own, and an interrupt that comes in one is lost
            from ipyactors.owner.futures import ValueFuture  # a session that makes none need not import what it needs

        future = ValueFuture(self, entry)
        self.when_done(entry, lambda _: self.callbacks.submit(future.settle))
        return future

    def value_of(self, entry: Entry) -> Any:
        """Return the value of an entry that is done, or raise its failure; may wait for another machine."""
        __tracebackhide__ = True
        payload = entry.payload
        if payload is None or payload.stored is None:
            return values.value_of(entry)
        from ipyactors.owner import arrivals  # only large values need it

        return arrivals.value_of(self, entry)

    def is_here(self, entry: Entry) -> bool:
        """Return whether the value of an entry that is done can be had without waiting for another process."""
        stored = entry.payload.stored if entry.payload is not None else None
        return stored is None or self.storage is None or self.storage.open(stored) is not None

    # -- actors -----------------------------------------------------------------------------------------------

    def adopt_actor(self, actor_id: bytes, class_name: str, name: str) -> ActorClient:
        """Return the client of an actor whose handle was unpickled here; the head is told if it did not know.

        The handle is counted: were it not, the actor could be let go of before its handle object exists.
        """
        with deferred(), self.lock:
            client = outbox.client_of(self.state, actor_id)
            client.handles += 1
            client.class_name = client.class_name or class_name
            client.name = client.name or name
            unknown = not client.weight
            if unknown:
                client.weight = 1
                self.mail.to_head(HoldActor(actor_id))
        if unknown:
            self.flush()
        return client

    def cancel_children(self, task_id: bytes) -> None:
        """Cancel what the call of that id has submitted from here and is not done."""
        with deferred(), self.lock:
            for call in tuple(self.state.children.get(task_id, ())):
                reactor.cancel_call(self.state, self.mail, call, force=False, recursive=True)
        self.turn()


def _is_idle() -> bool:
    """Whether this is a worker's main thread between two calls, waiting for work and not for results."""
    return current.call.get() is None and threading.current_thread() is threading.main_thread()
