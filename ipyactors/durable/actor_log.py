"""One incarnation of a durable actor and its log: what may be done when.

The order is the whole point. A call is in the log before it is executed; what it took from outside and how it ended are
as safe as the actor's level asks before anybody hears of them. One thread uses this, that which executes the calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import msgspec

from ipyactors.durable import blobs, call_tables, log, manifest, power_loss, recovery
from ipyactors.durable.call_tables import CallTables, Recorded, Verdict
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.disk import Disk
from ipyactors.durable.log import Contents, LogSealedError, LogWriter
from ipyactors.durable.manifest import CheckpointData, Construction, Manifest
from ipyactors.durable.record import OVERHEAD_BYTES, Abort, Call, Checkpoint, Done, Open, Value
from ipyactors.durable.recovery import History, HistoryError
from ipyactors.ground import faultpoints
from ipyactors.ground.exceptions import LogDamagedError
from ipyactors.ground.tracebacks import in_words

#: Bytes that a call's record has besides its arguments, generously.
_CALL_BYTES = 1024 + OVERHEAD_BYTES


@dataclasses.dataclass(frozen=True, slots=True)
class Remains:
    """What an actor's folder holds: its checkpoints that are whole, newest first, and its log from the oldest on.

    ``problems`` tells what is wrong with checkpoints that are not whole, by file name. ``dropped`` are files that a
    loss of power has made useless, and ``lost_lsns`` how many lsns the calls may have had that it has taken. An earlier
    one has taken calls with lsns up to ``least_lsn``.
    """

    actor_id: bytes
    checkpoints: tuple[Manifest, ...]
    contents: Contents
    problems: dict[str, str]
    dropped: tuple[str, ...] = ()
    lost_lsns: int = 0
    least_lsn: int = 0

    def since(self, checkpoint: Manifest | None) -> History:
        """Return what became of the actor since a checkpoint; None: since the beginning. Raises LogDamagedError."""
        try:
            history = recovery.follow(checkpoint, self.contents)
        except HistoryError as error:
            damaged = LogDamagedError(
                f"The log of actor {self.actor_id.hex()} contradicts itself: {error}. Nothing was changed and nothing "
                "was run: the state before that call can be had from a checkpoint or by replaying up to it."
            )
            damaged.actor_id, damaged.lsn = self.actor_id.hex(), error.lsn
            raise damaged from error
        history.switches = recovery.switches_after(checkpoint, self.contents, self.checkpoints)
        if history.switches:
            history.definition_id = history.switches[-1].definition_id
        return history


def read_remains(disk: Disk, actor_id: bytes, boot_id: str = "", *, is_lasting: bool = True) -> Remains:
    """Read an actor's folder. Raises LogDamagedError; changes nothing.

    With ``boot_id``, that of the machine, what a loss of power has taken is told from damage. ``is_lasting``: data of
    checkpoints outlives that.
    """
    checkpoints, problems = manifest.read_all(disk)
    since = min((one.position for one in checkpoints), default=0)
    least_lsn = power_loss.read_lost(disk)
    damage: LogDamagedError | None = None
    try:
        contents = log.read(disk, actor_id, since)
        if not checkpoints or contents.end >= checkpoints[0].position:
            if contents.last is None or not power_loss.is_possible(contents.records, checkpoints, boot_id):
                return Remains(actor_id, tuple(checkpoints), contents, problems, (), 0, least_lsn)
            cut = power_loss.cut(disk, contents, checkpoints if is_lasting else [])
            return Remains(actor_id, tuple(checkpoints), cut.contents, problems, cut.dropped, cut.lost_lsns, least_lsn)
    except LogDamagedError as error:
        damage = error
    if not problems and power_loss.is_possible(power_loss.records_of(disk, actor_id), checkpoints, boot_id):
        usable = checkpoints if is_lasting else []
        left = power_loss.find(disk, actor_id, usable)
        if left is not None:
            gone = tuple(manifest.name_of(one.number) for one in reversed(checkpoints) if one not in usable)
            dropped = (*gone, *left.dropped)
            return Remains(actor_id, left.checkpoints, left.contents, problems, dropped, left.lost_lsns, least_lsn)
    if damage is not None:
        raise damage
    remains = Remains(actor_id, tuple(checkpoints), contents, problems)
    remains.since(checkpoints[0])  # raises: that of an older one would not be all
    return remains


class ActorLog:
    """The log in the hands of the incarnation that runs. ``tables`` are the tables, after replay.

    ``syncs``: what it has is to survive a loss of power.
    ``carried`` are the calls that its newest checkpoint has; none while it has made no checkpoint. ``construction`` is
    what constructors have taken, None where nothing is known of that; ``checkpoints`` are those kept, newest first.

    Every method that writes raises LogSealedError when the disk fails: then the process must end without another word.
    """

    def __init__(self, disk: Disk, remains: Remains, history: History, incarnation: int, opened: Open) -> None:
        """Open the log for writing behind all that is there, and say so in it."""
        self._disk = disk
        self._actor_id = remains.actor_id
        self._incarnation = incarnation
        self.checkpoints = list(remains.checkpoints)
        self.carried: tuple[CarriedCall, ...] = ()
        self._opened = opened
        self.syncs = opened.level == "host"
        self._synced: set[str] = set()  # large values, as far as is known
        self.construction = _construction_of(remains, history, opened)
        self._least_lsn = remains.least_lsn
        if remains.lost_lsns:
            self._least_lsn = max(self._least_lsn, history.tables.last_lsn + remains.lost_lsns)
            power_loss.write_lost(disk, self._least_lsn)
        self.adopt(history.tables)
        disk.remove(remains.dropped)
        self._writer = LogWriter(disk, remains.actor_id, incarnation, remains.contents, syncs=self.syncs)
        self._writer.append(opened, self.tables.last_lsn)
        for done in history.owed.values():
            self._writer.append(done, self.tables.recorded[done.call_id].lsn)
        if history.unnoted is not None and not history.past:  # or a class that it brought would be in no log
            self._writer.append(history.unnoted, self.tables.last_lsn)
        before = history.opened or (remains.checkpoints[0] if remains.checkpoints else None)
        if before is not None and before.boot_id == opened.boot_id:
            self._writer.secure()
        else:  # by which a loss of power can be told from damage
            self._writer.sync()
        faultpoints.hit("durable.open.logged")

    def adopt(self, tables: CallTables) -> None:
        """Go on with these tables, as a replay has left them."""
        tables.last_lsn = max(tables.last_lsn, self._least_lsn)
        self.tables = tables

    @property
    def position(self) -> int:
        """Where the log ends."""
        return self._writer.end

    # -- calls ------------------------------------------------------------------------------------------------

    def take(self, call: Call, *, may_be_known: bool = True) -> Verdict:
        """Judge a call that has come, and put it into the log if it is new; :meth:`write` before it is executed.

        Raises StorageFullError: then nothing has changed, and the call must not be executed.
        """
        verdict = call_tables.judge(self.tables, call, may_be_known=may_be_known)
        if verdict is Verdict.NEW:
            size = len(call.args.data) + sum(len(value.data) for value in call.arg_values) + len(call.key)
            self._writer.make_room(size + _CALL_BYTES)
            lsn = self.tables.last_lsn + 1
            self._writer.append(call, lsn)
            call_tables.begin(self.tables, lsn, call)
        return verdict

    def judge(self, call: Call, *, may_be_known: bool = True) -> Verdict:
        """Return what is to be done with a call that has come; changes nothing."""
        return call_tables.judge(self.tables, call, may_be_known=may_be_known)

    def settle(self, caller_id: bytes, below: int) -> None:
        """The caller has the answers to all its calls with a counter lower than ``below``."""
        call_tables.settle(self.tables, caller_id, below)

    def forget_process(self, process_id: bytes) -> None:
        """A process is gone, and will never ask for the answers to its calls."""
        call_tables.forget_process(self.tables, process_id)

    def id_of(self, call: Call) -> bytes:
        """Return the id under which a call that has come is known."""
        return call_tables.id_of(self.tables, call)

    def recorded(self, call: Call) -> Recorded:
        """Return the record of a call that was judged RECORDED."""
        return call_tables.find(self.tables, call)

    def read_ends(self) -> dict[int, Done]:
        """Return how calls have ended, by lsn, as far back as the log reaches. Raises LogDamagedError."""
        oldest = min(log.segments_of(self._disk), default=0)
        contents = log.read(self._disk, self._actor_id, oldest)
        return {one.lsn: one.body for one in contents.records if isinstance(one.body, Done)}

    def seal(self, problem: str) -> None:
        """Write nothing any more, for this reason."""
        self._writer.seal(problem)

    def write(self) -> None:
        """Make what was taken survive this process: now it may be executed."""
        self._writer.write()

    def add_value(self, lsn: int, value: Value) -> None:
        """Note what a call takes from outside; :meth:`secure` before anything that depends on it leaves."""
        self._writer.append(value, lsn)
        made = self.construction
        if not lsn and made is not None:
            self.construction = msgspec.structs.replace(made, values=(*made.values, value))

    def finish(self, done: Done) -> Recorded:
        """Note how a call ended; its answer may leave after :meth:`secure`."""
        lsn, _ = self.tables.open[done.call_id]
        self._writer.append(done, lsn)
        return call_tables.finish(self.tables, done)

    def abort(self, message: Abort) -> Recorded:
        """Note that a call has and will have no effect; that may be said after :meth:`secure`.

        Raises StorageFullError for one that is not in the log: then nothing has changed, and it may still come.
        """
        opened = self.tables.open.get(message.call_id)
        if opened is None:
            self._writer.make_room(_CALL_BYTES)
        lsn = opened[0] if opened is not None else self.tables.last_lsn + 1
        self._writer.append(message, lsn)
        return call_tables.abort(self.tables, lsn, message)

    def secure(self) -> None:
        """Make everything as safe as the level asks: now answers may leave."""
        self._writer.secure()

    # -- checkpoints ------------------------------------------------------------------------------------------

    def add_checkpoint(
        self, data: CheckpointData, keep: int = manifest.KEPT, *, drops_log: bool = True, ended: Sequence[Done] = ()
    ) -> list[Manifest]:
        """Make a checkpoint of data that is safe, and is the state now; no call may be open, but for those ``ended``.

        What the checkpoint makes dispensable of the log is dropped, unless the data may not last. Those ``ended`` are
        over only when the checkpoint is there: their ends are in the manifest, and then in the log.

        Return those that are no longer kept, oldest first: their data may be removed. Raises OSError if it could not be
        made one, and StorageFullError if there is no room to note it; then everything is as before. Raises
        LogSealedError if it may have become one.
        """
        self._writer.make_room(_CALL_BYTES)
        self._writer.secure()  # who recovers from it goes on behind what is in the log now
        newest = self.checkpoints[0].number if self.checkpoints else 0
        tables, position = self.tables.snapshot(ended), self._writer.end
        opened = self._opened
        made = Manifest(
            newest + 1,
            data,
            self.tables.last_lsn,
            position,
            self._incarnation,
            tables,
            tuple(ended),
            opened.boot_id,
            opened.level,
            None if data.locator else self.construction,  # only who loads its data itself is constructed before
        )
        faultpoints.hit("durable.checkpoint.secured")
        self._publish(made)
        self.checkpoints.insert(0, made)
        self.carried = data.carried
        expired = self.checkpoints[keep:]
        del self.checkpoints[keep:]
        for done in ended:
            self.finish(done)
        self._writer.append(Checkpoint(data.checkpoint_id, data.definition_id), self.tables.last_lsn)
        with contextlib.suppress(Exception):  # it is one already; what could not be removed goes with the next
            faultpoints.hit("durable.checkpoint.noted")
            self._drop(may_drop_log=drops_log and len(self.checkpoints) >= keep)
        return expired[::-1]

    def _publish(self, made: Manifest) -> None:
        """Make it one. Raises OSError if it is none; LogSealedError if only the next process can tell."""
        needed = set() if self.syncs else _blobs_of(made)
        for name in needed - self._synced:  # no loss of power may leave it without what it needs
            with contextlib.suppress(FileNotFoundError):  # an answer that is gone; who asks for it is told
                self._disk.sync(name)
        self._synced = needed
        try:
            manifest.write(self._disk, made)
            faultpoints.hit("durable.checkpoint.manifest")
        except Exception as error:
            if manifest.name_of(made.number) not in self._disk.names():
                raise
            problem = f"It is not known whether checkpoint {made.data.checkpoint_id} is safe: {in_words(error)}."
            self.seal(problem)
            raise LogSealedError(problem) from error

    def _drop(self, *, may_drop_log: bool) -> None:
        """Remove what the checkpoints make dispensable: older ones, then of the log what only those needed."""
        oldest = self.checkpoints[-1]
        self._disk.remove(manifest.names_before(self._disk, oldest.number))
        if may_drop_log:  # till then the log can stand in for a checkpoint gone bad
            self._writer.drop_before(oldest.position)
            faultpoints.hit("durable.checkpoint.dropped")
            self._drop_blobs()

    def _drop_blobs(self) -> None:
        """Remove the files of records that are no longer there, but for answers that may be asked for again."""
        dropped = blobs.names_up_to(self._disk, self.checkpoints[-1].lsn)
        if dropped:
            needed = set().union(*map(_blobs_of, self.checkpoints))
            self._disk.remove(name for name in dropped if name not in needed)


def _blobs_of(made: Manifest) -> set[str]:
    """Return the names of the large values that a checkpoint needs."""
    construction = made.construction.values if made.construction is not None else ()
    return blobs.needed_by(made.tables, made.data.carried, construction)


def _construction_of(remains: Remains, history: History, opened: Open) -> Construction | None:
    """Return what is known of how the actor was made; None if nothing is."""
    made = Construction(recovery.made_of(remains.contents) or opened.definition_id)
    known = remains.checkpoints[0].construction if remains.checkpoints else made
    return None if known is None else Construction(known.definition_id, tuple(history.construction))
