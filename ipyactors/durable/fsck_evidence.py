"""What one look at a folder has found: its parts, how far they can be relied on, and the best way to a state."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator

from ipyactors.durable import blobs, fsck_facts, log, manifest, power_loss, routes, stretches
from ipyactors.durable.actor_log import Remains
from ipyactors.durable.disk import Disk
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.power_loss import Left
from ipyactors.durable.record import Blob, Call, Done, Value
from ipyactors.ground.exceptions import LogDamagedError
from ipyactors.wire.specs import ActorSpec

#: Loads the data of a checkpoint from where its manifest says that it is. Raises OSError.
Load = Callable[[str], bytes]

#: What the data of a checkpoint that is of no use is said to be begins with one of these.
USELESS = ("missing", "damaged", "gone")

#: Said of a checkpoint from which a call has to be made again, whose arguments cannot be had.
CALL_GONE = "damaged: a call that is made again from there is gone"


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """What a large value is, and of which call."""

    what: str
    lsn: int


class Evidence:
    """A folder that was read. ``data`` and ``misfits`` tell of the checkpoints, by number, what is wrong with them.

    ``ways`` are all ways to a state, ``best`` the one that leads furthest; ``is_all``: nothing is lost by it.
    ``by_itself``: the actor's next start goes it; otherwise ``refusal`` is what it says, if anything. ``left`` is set
    where a loss of power explains what is missing: the actor's next start goes on behind ``left_lsn`` then.
    """

    def __init__(
        self, disk: Disk, names: list[str], actor_id: bytes, spec: ActorSpec | None, load: Load | None, boot_id: str
    ) -> None:
        self.disk = disk
        self.names = names
        self.actor_id = actor_id
        self.spec = spec
        self._load = load
        self._blobs: dict[Blob, str] = {}
        self.begun = fsck_facts.begun_of(disk, names)
        self.manifests, self.broken = manifest.read_all(disk)
        self.reading = stretches.read(disk, actor_id)
        self.data = {one.number: self._data_of(one) for one in self.manifests}
        self.misfits = routes.judge(self.reading, self.manifests)
        self.fitting = [one for one in self.manifests if one.number not in self.misfits]
        bases = (*filter(self._has_data, self.fitting), None)
        found = [routes.find(self.reading, base, self.problem_of) for base in bases]
        self.ways = [way for way in found if way is not None]
        self.best = routes.choose(self.ways)
        self.is_all = self.best is not None and self.best.is_all(self.reading, self.fitting) and not self.is_log_missing
        self.lost_to = power_loss.read_lost(disk)
        self.left = self._after_power_loss(boot_id)
        self.left_lsn = 0
        self.by_itself, self.refusal = self._try_recovery()

    def problem_of(self, blob: Blob) -> str:
        """Return what is wrong with a large value's file; empty if nothing is."""
        if blob not in self._blobs:
            try:
                blobs.read(self.disk, blob)
            except (OSError, ValueError, RecursionError) as error:
                self._blobs[blob] = str(error)
            else:
                self._blobs[blob] = ""
        return self._blobs[blob]

    @property
    def is_log_missing(self) -> bool:
        """Whether there is no log, and was one: its first segment is there before anything else is written."""
        has_been_used = bool(self.manifests or self.broken or self.begun)
        return not self.reading.pieces and (has_been_used or any(name.startswith("blob-") for name in self.names))

    def needed_blobs(self) -> dict[Blob, Need]:
        """Return all large values that records and checkpoints name, and what for.

        Those of calls up to the oldest checkpoint go when it becomes that, though their records may still be there.
        """
        needed: dict[Blob, Need] = {}
        for _, _, one in self.reading.located():
            for blob, what in _blobs_of(one.body):
                needed.setdefault(blob, Need(what, one.lsn))
        answers = self.answers()
        for made in self.manifests:
            for recorded in made.tables.recorded:
                for blob in blobs.blobs_of(recorded.answer):
                    answers.add(blob)
                    needed.setdefault(blob, Need("the answer", recorded.lsn))
            if made.construction is not None:
                for blob in blobs.of_values(made.construction.values):
                    answers.add(blob)
                    needed.setdefault(blob, Need("a value that was received in the course", 0))
        carried = self.carried()
        for blob, made in carried.items():
            needed.setdefault(blob, Need("an argument of a call of the actor's own, which a checkpoint has", made.lsn))
        oldest = min((one.lsn for one in self.manifests), default=-1)
        blocked = self.best.blocked if self.best is not None else 0
        return {
            blob: need
            for blob, need in needed.items()
            if blob.name in self.names or blob in answers or blob in carried or need.lsn > oldest or need.lsn == blocked
        }

    def carried(self) -> dict[Blob, Manifest]:
        """Return the large arguments of calls that are made again from checkpoints, each with the newest of these."""
        by_age = reversed(self.manifests)
        return {blob: made for made in by_age for call in made.data.carried for blob in call.blobs}

    def answers(self) -> set[Blob]:
        """Return the large values that callers may still ask for."""
        recorded = self.best.history.tables.recorded.values() if self.best is not None else ()
        return {blob for one in recorded for blob in blobs.blobs_of(one.answer)}

    def _has_data(self, one: Manifest) -> bool:
        return not self.data[one.number].startswith(USELESS)

    def _data_of(self, one: Manifest) -> str:
        data = one.data
        if any(self.problem_of(blob) for call in data.carried for blob in call.blobs):
            return CALL_GONE
        if not data.locator and not data.digest:
            return "its own"
        durability = self.spec.durability if self.spec is not None else None
        if durability is not None and durability.store.startswith("memory:"):
            return "gone with its process"
        is_here = data.locator.startswith("data-") and "/" not in data.locator
        load = self.disk.read if is_here else self._load
        if load is None:
            return "not looked at"
        try:
            content = load(data.locator)
        except FileNotFoundError:
            return "missing"
        except (OSError, ValueError) as error:
            return f"missing: {error}"
        if len(content) != data.size:
            return f"damaged: it has {len(content):,} bytes and had {data.size:,}"
        if hashlib.blake2b(content, digest_size=16).digest() != data.digest:
            return "damaged: it is not what was saved"
        return "right"

    def _after_power_loss(self, boot_id: str) -> Left | None:
        """Return what the actor's next start makes of a log that a loss of power may have cut off."""
        newest = self.manifests[0].position if self.manifests else 0
        is_whole = self.reading.end is not None and not any(piece.problem for piece in self.reading.pieces)
        is_blocked = self.best is not None and self.best.blocked
        if is_whole and (self.reading.end or 0) >= newest and not is_blocked:
            return None
        records = [one for _, _, one in self.reading.located(unsafe=True)]
        if self.broken or not power_loss.is_possible(records, self.manifests, boot_id):
            return None
        return power_loss.find(self.disk, self.actor_id, [*filter(self._has_data, self.manifests)])

    def _try_recovery(self) -> tuple[bool, str]:
        """Return whether the actor's next start comes to the same state, and what it says if it refuses."""
        if self.best is None or (self.best.blocked and self.left is None):
            return False, ""
        chosen = next(filter(self._has_data, self.manifests if self.left is None else self.left.checkpoints), None)
        since = min((one.position for one in self.manifests), default=0)
        wanted = log.starts_from([piece.start for piece in self.reading.pieces], since)
        pieces = [piece for piece in self.reading.pieces if piece.start in wanted]
        try:
            contents = log.assemble(self.actor_id, pieces, since) if self.left is None else self.left.contents
            history = Remains(self.actor_id, tuple(self.manifests), contents, self.broken).since(chosen)
        except (LogDamagedError, OSError) as error:
            return False, str(error)
        self.left_lsn = history.tables.last_lsn
        is_same = chosen == self.best.base and history.tables == self.best.history.tables
        return is_same, "" if is_same else "It would come to another state than the one that can be relied on."


def _blobs_of(body: object) -> Iterator[tuple[Blob, str]]:
    match body:
        case Call():
            yield from ((blob, "an argument") for blob in body.blobs)
        case Value():
            yield from ((blob, "a value that was received in the course") for blob in blobs.of_values((body,)))
        case Done():
            yield from ((blob, "the answer") for blob in blobs.blobs_of(body.answer))
