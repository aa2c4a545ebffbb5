"""The part in a session of a process that is in none: what a replay's code has to hold references and handles with.

Nothing is sent, nobody is asked, nothing is waited for. What the actor got from others is in its log; code that goes
past the log to them is refused, at once and with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from ipyactors.durable import blobs
from ipyactors.durable.disk import Disk
from ipyactors.durable.record import Answer, Value, ValueKind
from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.exceptions import SessionError
from ipyactors.owner.actors import ActorClient
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.current import Submission
from ipyactors.owner.custody import Custody
from ipyactors.owner.mail import Mail
from ipyactors.owner.objects import Entry
from ipyactors.owner.session import Session
from ipyactors.wire.codec import Message
from ipyactors.wire.specs import Payload, RemoteError
from ipyactors.worker.nested import Nested


class _NoMail(Mail):
    """Drops everything."""

    def to_head(self, message: Message) -> None:
        """Drop it."""

    def to_worker(self, worker_id: bytes, message: Message) -> None:
        """Drop it."""

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Drop it."""

    def to_caller(self, peer: bytes, message: Message) -> None:
        """Drop it."""

    def connect(self, process_id: bytes, address: str) -> None:
        """Do not."""

    def disconnect(self, process_id: bytes) -> None:
        """Nobody was connected."""

    def flush(self) -> bool:
        """Send nothing."""
        self.answers.clear()
        return False


class OfflineSession(Session):
    """Is never started. ``run_dir`` is an empty folder of its own; ``name`` is what code is told of its session.

    ``refused`` has what was asked of others, in words.
    """

    def __init__(self, name: str, run_dir: str, namespace: str) -> None:
        super().__init__(
            SessionPaths(name, run_dir, run_dir), ids.new_worker_id(), is_driver=False, namespace=namespace
        )
        self.refused: list[str] = []
        self.mail = _NoMail(self._doors.outbound, self._doors.inbound, self.log)
        self.custody = Custody(
            self.state, self.mail, self.lock, count_handle=self.count_handle, flush=self.flush, wake=self._wake
        )

    def _refuse(self, what: str) -> NoReturn:
        self.refused.append(what)
        raise SessionError(
            f"This is a replay of a log, and nobody else is there {what}. Nothing was sent. In its calls a durable "
            "actor is given what is in the log; this went past it."
        )

    # -- what leaves ------------------------------------------------------------------------------------------

    def submit(self, call: PendingCall) -> None:
        """Refuse: a call that is made for real is none that the log has."""
        self._refuse(f"to run {call.name}")

    def ask_head(self, make: Callable[[int], Message]) -> Any:
        """Refuse."""
        self._refuse(f"to answer {type(make(0)).__name__}")

    def kill_actor(self, actor_id: bytes, *, no_restart: bool, detail: str) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse(f"to end actor {actor_id.hex()}")

    def tell_head(self, message: Message) -> None:
        """Send nothing."""

    def repeat_to_head(self, message: Message) -> None:
        """Send nothing."""

    def flush(self) -> None:
        """Send nothing."""

    def turn(self) -> None:
        """Nothing has arrived."""

    def count_handle(self, client: ActorClient, change: int) -> None:
        """Nobody counts."""

    def let_go(self, call: PendingCall) -> None:
        """It was not sent."""

    def _wake(self) -> None:
        """Nobody sleeps."""

    # -- what would arrive ------------------------------------------------------------------------------------

    def wait(
        self,
        is_done: Callable[[], bool],
        timeout_s: float | None = None,  # noqa: ARG002
        awaited: Sequence[Entry] = (),  # noqa: ARG002
    ) -> bool:
        """Return at once if it is so already; else it never will be. Raises SessionError then."""
        if not is_done():
            self._refuse("to wait for")
        return True

    def when_done(self, entry: Entry, callback: Callable[[Entry], None]) -> None:
        """Call back at once if the entry is done. Raises SessionError otherwise."""
        if not entry.done:
            self._refuse(f"to give {entry.object_id.hex()}")
        callback(entry)

    def fetch(self, entries: Iterable[Entry]) -> None:
        """Ask nobody."""


class ReadingJournal:
    """See :class:`ipyactors.worker.row.Journal`: for calls that are over, which only read."""

    def __init__(self, actor_id: bytes, disk: Disk, session: OfflineSession) -> None:
        self.actor_id = actor_id
        self._disk = disk
        self._nested = Nested(session.submit)

    def add_value(self, lsn: int, value: Value) -> None:
        """Refuse: what is over takes nothing that is not in the log."""
        raise AssertionError(f"a replay adds {value} to the call at lsn {lsn}")

    def add_received(self, lsn: int, index: int, kind: ValueKind, payloads: Sequence[Payload]) -> None:  # noqa: ARG002
        """Refuse, as :meth:`add_value`."""
        raise AssertionError(f"a replay adds a value to the call at lsn {lsn}")

    def read_received(self, answer: Answer) -> Sequence[Payload]:
        """Return values that were noted, with their bytes. Raises BlobDamagedError."""
        return blobs.bring_back(self._disk, answer.results, answer.blobs)

    def payload_of(self, entry: Entry) -> Payload:
        """Return the value of an object that is done."""
        assert entry.payload is not None
        return entry.payload

    def secure(self) -> None:
        """Nothing was written."""

    def oldest_open(self) -> int:
        """Return 0: nothing is sent that would have to say so."""
        return 0

    def register(self, submission: Submission, call: Any, entries: tuple[Any, ...]) -> None:
        """Take a nested call that was made; it is never sent."""
        self._nested.register(submission, call, entries)

    def note_received(self, entries: Sequence[Entry], given: Sequence[Payload] | RemoteError | None = None) -> None:
        """Give the objects the values that the log has."""
        self._nested.note_received(entries, given)

    def release(self, lsn: int) -> None:
        """Send nothing."""
