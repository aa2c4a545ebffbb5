"""When a durable actor makes checkpoints, and how: its data first, then the manifest that says that it is there.

The log has everything that a checkpoint has; a checkpoint only makes recovery shorter. So one that cannot be made is no
loss: it is said, and tried again later. Used by the thread that runs calls, between calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ipyactors.durable.call_tables import Recorded
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.checkpoint_store import CheckpointStore
from ipyactors.durable.log import LogSealedError
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.ground import faultpoints, ids
from ipyactors.ground.checkpointable import CheckpointContext
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import current
from ipyactors.wire.specs import Durability
from ipyactors.worker import chaos
from ipyactors.worker.call_log import CallLog, End
from ipyactors.worker.removal import Noted, Removal, Unnoted

#: A replay is to take no longer than this, if the user has not said otherwise.
REPLAY_AT_MOST_S = 1.0

#: What a call costs in a replay besides its own code.
REPLAY_OVERHEAD_S = 20e-6

#: A replay has no more than so much of the log to read.
LOG_AT_MOST_BYTES = 64 * 1024 * 1024

#: What a call is taken to need as long as none has been measured; and the weight of each that is.
_FIRST_CALL_S = 0.1
_SMOOTHING = 0.2

#: How long an actor rests, when a checkpoint is due, for answers to calls that no checkpoint can have.
QUIET_WITHIN_S = 1.0

#: How long one that was asked for waits for them.
AWAITED_AT_MOST_S = 60.0

#: Checkpoints take no more than this share of the time, unless the user has said when to make them.
_SHARE_AT_MOST = 0.05


class Subject(Protocol):
    """The actor."""

    @property
    def definition_id(self) -> bytes:
        """The class that it runs."""
        ...

    @property
    def instance(self) -> Any:
        """The user's object."""
        ...

    def dump_state(self) -> bytes:
        """Return its state. Raises SerializationError."""
        ...

    def copy_of(self, data: bytes) -> Any:
        """Return another instance with a state that was dumped. Raises SerializationError."""
        ...

    def go_on_as(self, instance: Any) -> None:
        """Be another instance from now on."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint that was made: of the state after the call ``lsn``; for people."""

    checkpoint_id: str
    lsn: int
    size: int
    duration_s: float


class Checkpointer:
    """``tell`` hears of each checkpoint that was made, ``monotonic`` and ``wall`` are clocks.

    ``carry(timeout_s)`` returns the calls to durable actors that this one has made and that have no answer: one that
    has not arrived would be lost with this process, for what is before a checkpoint is not done again. Raises
    TimeoutError for those that no checkpoint can have, if they are still not answered then.

    The actor ``goes_on`` as the copy that the checkpoint has, unless calls run beside: else it would not be what comes
    back (in another order of a set, say, or another object that is compared with ``is``). ``saving`` is entered while
    one is made, for the next process to know; ``deaths`` processes in a row before this one have ended in there.
    ``noted`` outlives this process, and tells of one that is saved and none yet; ``removal`` is of such data.
    """

    def __init__(
        self,
        actor: Subject,
        log: CallLog,
        durability: Durability,
        store: CheckpointStore,
        tell: Callable[[Made], None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        carry: Callable[[float], tuple[CarriedCall, ...]] = lambda _timeout_s: (),
        *,
        goes_on: bool = True,
        saving: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        noted: Noted | None = None,
        deaths: int = 0,
    ) -> None:
        self._actor = actor
        self._log = log
        self._durability = durability
        self._store = store
        self._tell = tell
        self._monotonic = monotonic
        self._wall = wall
        self._carry = carry
        self._goes_on = goes_on
        self._saving = saving
        self.removal = Removal(actor, log.actor_id, durability, store, noted or Unnoted(), self._complain)
        self.asks_actor = True
        """Whether an actor that says so itself is asked: not where what it saves could not be loaded."""
        self._copy: Any = None
        self._call_s = _FIRST_CALL_S
        self._is_requested = False
        self._wait_factor = 2.0**deaths
        self._problems: dict[str, str] = {}
        self._cost_s = 0.0
        self._begin_again()

    def _begin_again(self) -> None:
        self._calls = 0
        self._replay_s = 0.0
        self._since_s = self._monotonic()
        self._position = self._log.position

    # -- when ---------------------------------------------------------------------------------------------------

    def note_call(self, duration_s: float) -> None:
        """Count a call that a replay would have to run again."""
        self._call_s += _SMOOTHING * (duration_s - self._call_s)
        self._calls += 1
        self._replay_s += duration_s + REPLAY_OVERHEAD_S

    def note_replayed(self, calls: int, duration_s: float) -> None:
        """Count what a recovery has replayed, and the next would have to again."""
        if calls:
            self._call_s = duration_s / calls
        self._calls += calls
        self._replay_s += duration_s

    def request(self) -> None:
        """Have one made when no call is open."""
        self._is_requested = True

    def calls_until_due(self, most: int) -> int:
        """Return how many calls may be put into the log before one may be due: from 1 to ``most``."""
        durability = self._durability
        if durability.by_itself:
            return 1
        if durability.every_calls:
            return max(1, min(most, durability.every_calls - self._calls))
        due_in_s = self._budget_s - self._replay_s
        if durability.every_s:
            due_in_s = min(self._since_s + durability.every_s * self._wait_factor - self._monotonic(), REPLAY_AT_MOST_S)
        return max(1, min(most, int(due_in_s / (self._call_s + REPLAY_OVERHEAD_S))))

    def due_in_s(self) -> float | None:
        """Return in how many seconds the clock alone makes one due; None if it does not."""
        every_s = self._durability.every_s
        if not every_s or not self._calls:
            return None
        return self._since_s + every_s * self._wait_factor - self._monotonic()

    def is_due(self, *, asks: bool = True) -> bool:
        """Return whether one is to be made now; ``asks``: an actor that says so itself may be asked."""
        if self._is_requested:
            return True
        if not self._calls:
            return False
        durability = self._durability
        if durability.by_itself:
            return asks and self.asks_actor and self._ask_actor()
        if durability.every_calls or durability.every_s:
            if durability.every_calls and self._calls >= durability.every_calls * self._wait_factor:
                return True
            due_in_s = self.due_in_s()
            return due_in_s is not None and due_in_s <= 0
        grown = self._log.position - self._position
        return self._replay_s > self._budget_s or grown > LOG_AT_MOST_BYTES * self._wait_factor

    @property
    def _budget_s(self) -> float:
        """How long a replay may take before a checkpoint is made by itself."""
        return max(REPLAY_AT_MOST_S, self._cost_s / _SHARE_AT_MOST) * self._wait_factor

    def _ask_actor(self) -> bool:
        elapsed_ms = int((self._monotonic() - self._since_s) * 1000)
        context = CheckpointContext(self._log.actor_id.hex(), self._calls, elapsed_ms)
        try:
            with current.outside_calls():
                return bool(self._actor.instance.should_checkpoint(context))
        except Exception as error:
            problem = in_words(error)
            text = (
                f"should_checkpoint raised {problem.rstrip('.')}. No checkpoint was made. Nothing is lost: the log "
                "has all calls since the last one. It is asked again after the next call."
            )
            self._complain("asked", problem, text)
            return False

    # -- how ----------------------------------------------------------------------------------------------------

    def make_if_due(self) -> None:
        """Make one if it is due; one that cannot be made is told in the actor's output, and tried again later."""
        try:
            self.make(QUIET_WITHIN_S)
        except LogSealedError:
            raise
        except Exception as error:  # the user's pickling, or the user's save_checkpoint, or the place it goes to
            self._postpone(in_words(error))

    def _postpone(self, problem: str) -> None:
        self._is_requested = False
        self._wait_factor *= 2
        what, again = f"{self._calls} calls", "has all of them, and a recovery runs them again"
        if self._calls == 1:
            what, again = "1 call", "has it, and a recovery runs it again"
        text = (
            f"No checkpoint could be made after {what}: {problem.rstrip('.')}. Nothing is lost: the log {again}. It is "
            "tried again later."
        )
        self._complain("made", problem, text)

    def _complain(self, what: str, problem: str, text: str) -> None:
        """Tell in the actor's output what could not be done, and why; not at every call again."""
        if problem != self._problems.get(what):
            self._problems[what] = problem
            print(text, file=sys.stderr)

    def make(self, wait_s: float = AWAITED_AT_MOST_S) -> Made:
        """Make one now; no call may be open. Raises what keeps it from being made; then everything is as before.

        Waits for the answers to calls to durable actors that the checkpoint cannot have, for so long at most.
        """
        carried = self._carry(wait_s)
        began_s = self._monotonic()
        with self._making():
            data = self._save(carried)
            expired = self._log.add_checkpoint(data, self._durability.keep, drops_log=self._drops_log)
            return self._made(data, expired, began_s)

    def make_with(self, ends: Sequence[End]) -> list[Recorded]:
        """Make one by which calls are over; return their records. Raises as :meth:`make`; then none is over."""
        carried = self._carry(AWAITED_AT_MOST_S)
        began_s = self._monotonic()
        with self._making():
            data = self._save(carried)
            recorded, expired = self._log.finish_with_checkpoint(
                ends, data, self._durability.keep, drops_log=self._drops_log
            )
            self._made(data, expired, began_s)
        return recorded

    @property
    def _drops_log(self) -> bool:
        return self._durability.by_itself or self._store.is_lasting

    def _save(self, carried: tuple[CarriedCall, ...]) -> CheckpointData:
        faultpoints.hit("durable.checkpoint.begun")
        if chaos.armed is not None:
            chaos.armed.full_disk("a checkpoint")
        checkpoint_id = ids.new_checkpoint_id().hex()
        locator, size, digest = "", 0, b""
        if self._durability.by_itself:
            self.removal.note_saving(checkpoint_id)
            with current.outside_calls():
                self._actor.instance.save_checkpoint(self._log.actor_id.hex(), checkpoint_id)
        else:
            with current.outside_calls():
                state = self._actor.dump_state()
                self._copy = self._actor.copy_of(state)  # one that cannot be loaded is none
            self.removal.note_saving(checkpoint_id)
            locator, size = self._store.save(checkpoint_id, state), len(state)
            digest = hashlib.blake2b(state, digest_size=16).digest()
        faultpoints.hit("durable.checkpoint.saved")
        return CheckpointData(
            checkpoint_id,
            self._actor.definition_id,
            locator,
            size,
            digest,
            self._wall(),
            platform.python_version(),
            carried,
        )

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        """Have what was saved removed if the block does not make a checkpoint of it."""
        with self._saving():
            try:
                yield
            except LogSealedError:  # it may have become one: the next process can tell
                raise
            except Exception:
                self.removal.of_unmade()
                raise

    def _made(self, data: CheckpointData, expired: list[Manifest], began_s: float) -> Made:
        self.removal.note_made()
        copy, self._copy = self._copy, None
        if self._goes_on and copy is not None:
            self._actor.go_on_as(copy)
        del copy
        for manifest in expired:
            self.removal.of_expired(manifest.data)
        self._cost_s = self._monotonic() - began_s
        self._is_requested, self._wait_factor = False, 1.0
        self._problems.pop("made", None)
        self._problems.pop("asked", None)
        self._begin_again()
        faultpoints.hit("durable.checkpoint.made")
        made = Made(data.checkpoint_id, self._log.last_lsn, data.size, self._cost_s)
        self._tell(made)
        return made
