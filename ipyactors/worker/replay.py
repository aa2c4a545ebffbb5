"""How a durable actor comes to be, and comes back: checkpoint, replay, and the calls that were not over.

A replay runs the calls that the log has, in their order, with what they took from outside at the time. Nothing that
they do leaves this process, what they print is not shown, and each must come to the end that the log says, or it is no
replay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from ipyactors.durable import blobs, constructions
from ipyactors.durable.actor_log import Remains
from ipyactors.durable.blobs import BlobDamagedError
from ipyactors.durable.checkpoint_store import CheckpointStore
from ipyactors.durable.constructions import Stretch
from ipyactors.durable.disk import Disk
from ipyactors.durable.manifest import Manifest
from ipyactors.durable.record import Done
from ipyactors.durable.recovery import History, Past, Switch, made_of
from ipyactors.ground import faultpoints
from ipyactors.ground.checkpointable import Checkpoint
from ipyactors.ground.exception_parts import is_a
from ipyactors.ground.exceptions import LogDamagedError, RecoveryFailedError, ReplayDivergenceError
from ipyactors.ground.tracebacks import in_words
from ipyactors.owner import current
from ipyactors.worker.hosting import HostedActor
from ipyactors.worker.repeating import Repeater, Run, check_given
from ipyactors.worker.replay_progress import ReplayProgress, ignore
from ipyactors.worker.row import Journal
from ipyactors.worker.turn import Turn


class StoreUnreachableError(OSError):
    """Raised when only a store that is not on this disk has what is needed, and does not give it: it may, later."""


class ConstructionJournal(Journal, Protocol):
    """See :class:`ipyactors.worker.journal.LogJournal`."""

    def construct(self, definition_id: bytes) -> Stretch | None:
        """Return what the constructor of a class has taken so far; None if nothing is known of constructors."""
        ...

    def constructed(self) -> None:
        """Note that the constructor has returned whose values were noted last."""
        ...


@dataclasses.dataclass(slots=True)
class Recovered:
    """What a recovery has come to. ``checkpoint`` is what it began with, None for the constructor.

    ``replayed`` calls were run again in ``replay_s``; ``problems`` are sentences on checkpoints that were of no use.
    ``is_of_older_class``: those of a newer class are of no use as long as its constructor raises.
    """

    history: History
    checkpoint: Manifest | None
    is_of_older_class: bool = False
    replayed: int = 0
    replay_s: float = 0.0
    problems: tuple[str, ...] = ()

    def unfinished(self) -> list[Past]:
        """Return the calls that are in the log and not over, in their order."""
        return [past for past in self.history.past.values() if past.end is None]

    def in_words(self) -> str:
        """Return from where the actor came back, and what was done for it."""
        checkpoint, count = self.checkpoint, self.replayed
        begun = f"from checkpoint {checkpoint.data.checkpoint_id[:10]}" if checkpoint else "from its constructor"
        words = f"{begun}, {count:,} call{'s' * (count != 1)} replayed"
        open_calls = len(self.unfinished())
        if open_calls:
            words += f", {open_calls:,} taken up again"
        if self.problems:
            words += f"; not used: {'; '.join(self.problems)}"
        return words


class Replayer(Repeater):
    """Brings an actor back, in the thread that will run its calls. ``construct`` runs its constructor.

    ``run`` calls a method and returns its result, or that of the coroutine that it returned.
    """

    def __init__(
        self,
        actor: HostedActor,
        remains: Remains,
        disk: Disk,
        store: CheckpointStore,
        construct: Callable[[Turn | None], None],
        load_class: Callable[[bytes], type],
        run: Run,
    ) -> None:
        problems = [f"{name}: {problem}" for name, problem in remains.problems.items()]
        super().__init__(actor, disk, run, problems)
        self._remains = remains
        self._store = store
        self.progress = ReplayProgress(ignore)
        self._histories: dict[int, History] = {}
        self._unreachable: OSError | None = None
        self._construct = construct
        self._constructing: ConstructionJournal | None = None
        self._load_class = load_class

    def newest_history(self) -> History:
        """Return what became of the actor since its newest checkpoint. Raises LogDamagedError, RecoveryFailedError."""
        for checkpoint in self._remains.checkpoints:
            with contextlib.suppress(LogDamagedError):
                return self._since(checkpoint)
        return self._since(None)

    def bring_back(self, journal: ConstructionJournal) -> Recovered:
        """Make the actor what the log says that it is.

        Raises RecoveryFailedError; what the constructor raises, if the actor has no history; ReplayDivergenceError.
        """
        self._journal = self._constructing = journal
        by_itself = self._actor.durability.by_itself
        recovered = self._by_itself() if by_itself else self._from_checkpoint()
        if recovered is None:
            history = self._from_beginning()
            self._actor.definition_id = self._made_of
            self._build(history)
            recovered = Recovered(history, None)
        faultpoints.hit("durable.replay.began")
        self._replay(recovered)
        self._check_unfinished(recovered.unfinished())
        faultpoints.hit("durable.replay.ended")
        recovered.problems = tuple(self._problems)
        return recovered

    def _from_beginning(self) -> History:
        """Return all that became of the actor. Raises StoreUnreachableError if it takes what cannot be had just now."""
        try:
            return self._since(None)
        except (LogDamagedError, RecoveryFailedError) as error:
            if self._unreachable is None:
                raise
            raise StoreUnreachableError(
                f"its checkpoints, without which it cannot come back, cannot be read just now: {self._unreachable}"
            ) from error

    # -- where to begin -----------------------------------------------------------------------------------------

    def _from_checkpoint(self) -> Recovered | None:
        """Restore the newest checkpoint that can be; None if the constructor has to be run."""
        for checkpoint in self._whole():
            try:
                history = self._since(checkpoint)
                self._restore(checkpoint.data.definition_id, self._read(checkpoint))
            except Exception as error:  # the disk, the store, the user's unpickling
                if isinstance(error, OSError) and self._actor.durability.store:
                    self._unreachable = error
                self._problems.append(f"checkpoint {checkpoint.data.checkpoint_id}: {in_words(error)}")
                continue
            return Recovered(history, checkpoint)
        return None

    def _whole(self) -> Iterator[Manifest]:
        """Yield the checkpoints that still have the calls that are to be made again, newest first."""
        for checkpoint in self._remains.checkpoints:
            try:
                blobs.check_carried(self._disk, checkpoint.data.carried)
            except BlobDamagedError as error:
                self._problems.append(
                    f"checkpoint {checkpoint.data.checkpoint_id}: a call that it has is gone: {error}"
                )
                continue
            yield checkpoint

    @property
    def _made_of(self) -> bytes:
        """The class whose constructor made the actor. What the session knows is the one that it was upgraded to."""
        return made_of(self._remains.contents) or self._actor.spec.definition.definition_id

    def _restore(self, definition_id: bytes, state: bytes) -> None:
        cls = self._load_class(definition_id)
        self._actor.restore(cls, state)
        self._actor.definition_id = definition_id

    def _read(self, checkpoint: Manifest) -> bytes:
        data = checkpoint.data
        state = self._store.load(data.locator)
        if len(state) != data.size or hashlib.blake2b(state, digest_size=16).digest() != data.digest:
            raise ValueError(f"its data at {data.locator} is not what was saved")
        return state

    def _by_itself(self) -> Recovered | None:
        """Run the constructor, and have the actor load one of its checkpoints; None if it loads none."""
        offered = list(self._whole())
        is_of_older_class = False
        while offered:
            # Those that another class has saved are that one's to load.
            cls = self._actor.definition_id = offered[0].data.definition_id
            own = [one for one in offered if one.data.definition_id == cls]
            try:
                self._build_to_load(offered[0])
            except RecoveryFailedError as error:
                offered = [one for one in offered if one.data.definition_id != cls]
                if not offered:
                    raise
                # The class before has a constructor that works, and the upgrade can be done again without one.
                is_of_older_class = True
                self._problems.append(
                    f"the newest checkpoints ({len(own)}), whose class was not constructed: "
                    f"{in_words(error.__cause__ or error)}; until it is, new ones are made on demand only"
                )
                continue
            listed = [Checkpoint(one.data.checkpoint_id, int(one.data.wall_s * 1000)) for one in own]
            try:
                with current.outside_calls():
                    chosen = self._actor.instance.load_checkpoint(self._actor.actor_id.hex(), listed)
            except Exception as error:  # the user's code: there may be an older one
                self._problems.append(f"load_checkpoint raised {in_words(error)}")
                del offered[0]
                continue
            if chosen is None:
                return None
            found = next((one for one in own if one.data.checkpoint_id == chosen), None)
            if found is not None:
                return Recovered(self._since(found), found, is_of_older_class)
            self._problems.append(f"load_checkpoint returned {chosen!r}, which is none of those that it was given")
            del offered[0]
        return None

    def _since(self, checkpoint: Manifest | None) -> History:
        number = 0 if checkpoint is None else checkpoint.number
        if number not in self._histories:
            self._histories[number] = self._follow(checkpoint)
        return self._histories[number]

    def _follow(self, checkpoint: Manifest | None) -> History:
        try:
            return self._remains.since(checkpoint)
        except LogDamagedError as error:
            if checkpoint is None and self._remains.checkpoints:
                raise self._failed(
                    "no checkpoint can be used, and the log does not reach back to the beginning: that was dropped "
                    f"when they were made. {error}"
                ) from error
            raise

    def _build(self, history: History) -> None:
        """Run the constructor of the class that the actor was made of, with what it took the first time."""
        has_history, row = bool(history.past), history.construction
        stretch = constructions.first_of(row)
        is_over = has_history or len(row) > len(stretch.values)  # another class was constructed after it
        self._run_constructor(stretch._replace(is_over=is_over), may_raise=not has_history)

    def _build_to_load(self, checkpoint: Manifest) -> None:
        """Run the constructor before a checkpoint is loaded, with what it took the first time, if it ever ran."""
        assert self._constructing is not None
        definition_id = self._actor.definition_id
        stretch = self._constructing.construct(definition_id) or self._constructed_with(checkpoint)
        self._run_constructor(stretch)
        if stretch is not None and not stretch.is_over:
            self._constructing.constructed()

    def _run_constructor(self, stretch: Stretch | None, *, may_raise: bool = False) -> None:
        """Run the constructor. Raises what it raises if it ``may_raise``, and RecoveryFailedError otherwise."""
        assert self._journal is not None
        turn = None
        if stretch is not None:
            values, start, is_over, after = stretch
            name = f"{self._actor.class_name}.__init__"
            turn = Turn(self._journal, 0, name, values, is_over=is_over, start=start, after=after)
        try:
            self._construct(turn)
            if turn is not None:
                turn.check_end()
        except (ReplayDivergenceError, RecoveryFailedError):
            raise
        except BaseException as error:
            check_given(turn)
            if may_raise or not is_a(error, Exception):
                raise
            is_known = stretch is None or stretch.is_over
            which = "its constructor" if is_known else "the constructor of the class that it was upgraded to"
            raise self._failed(f"{which} raised {in_words(error)}{', and had not before' * is_known}") from error

    def _constructed_with(self, checkpoint: Manifest) -> Stretch | None:
        """Return what the constructor of the class took that has saved a checkpoint; None if nothing has all of it."""
        definition_id, made = checkpoint.data.definition_id, checkpoint.construction
        first_id = self._made_of if made is None else made.definition_id
        try:
            row = self._since(None if made is None else checkpoint).construction
        except (LogDamagedError, RecoveryFailedError):
            if made is None:
                return None
            row = list(made.values)
        if definition_id == first_id:
            return constructions.first_of(row)
        stretch = constructions.find(row, definition_id)
        return stretch if stretch is not None and stretch.is_over else None

    # -- again --------------------------------------------------------------------------------------------------

    def _replay(self, recovered: Recovered) -> None:
        began_s = time.monotonic()
        finished = [past for past in recovered.history.past.values() if isinstance(past.end, Done)]
        if finished and self._actor.spec.max_concurrency > 1:
            raise self._failed(
                f"the call at lsn {finished[-1].lsn} ran side by side with others, so that only the checkpoint made "
                "when it ended has what it did, and that cannot be used"
            )
        open_lsn = next((past.lsn for past in recovered.history.past.values() if past.end is None), None)
        if open_lsn is not None and finished and finished[-1].lsn > open_lsn:
            raise self._failed(f"the call at lsn {open_lsn} has no end in the log, and later ones have")
        switches = deque(recovered.history.switches)
        for past in self.progress.through(finished):
            while switches and switches[0].lsn < past.lsn:
                self._switch(switches.popleft())
            self._again(past)
        for switch in switches:
            self._switch(switch)
        recovered.replayed, recovered.replay_s = len(finished), time.monotonic() - began_s

    def _switch(self, switch: Switch) -> None:
        """Go on as the copy that a checkpoint had, as the actor did when it was made; it may be of another class."""
        is_upgrade = switch.definition_id != self._actor.definition_id
        try:
            if is_upgrade:
                self._restore(switch.definition_id, self._actor.dump_state())
            if not self._actor.durability.by_itself:
                self._actor.go_on_as(self._actor.copy_of(self._actor.dump_state()))
        except Exception as error:  # the disk, the user's pickling
            what = "it was upgraded to another class" if is_upgrade else "a checkpoint of it was made"
            raise self._failed(
                f"{what} after lsn {switch.lsn}, and that cannot be done again: {in_words(error)}"
            ) from error
