"""The folder of a durable actor that has lived: incarnations, values, checkpoints, blobs; and ways to damage it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import msgspec

from ipyactors.durable import blobs, spec_file
from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.blobs import Namer
from ipyactors.durable.call_tables import Verdict
from ipyactors.durable.carried import CarriedCall
from ipyactors.durable.disk import Disk
from ipyactors.durable.manifest import CheckpointData
from ipyactors.durable.record import Abort, Answer, Call, Done, Open, Outcome, Value, ValueKind
from ipyactors.wire.specs import ActorSpec, Definition, Durability, Payload

ACTOR = b"a" + bytes(range(1, 16))
CALLER = b"d" + b"\x07" * 7


class Life:
    """Writes an actor's folder, one incarnation after the other, as an actor's process does."""

    def __init__(self, disk: Disk, level: str = "process", boot: str = "boot") -> None:
        self.disk = disk
        self.level = level
        self.incarnation = -1
        self.counter = 0
        self.boot = boot
        self.log = self.start()

    def start(self, definition_id: bytes = b"class", *, interrupted: int = 0) -> ActorLog:
        """Begin the next incarnation, from the newest checkpoint."""
        self.incarnation += 1
        remains = read_remains(self.disk, ACTOR, self.boot)
        newest = remains.checkpoints[0] if remains.checkpoints else None
        opened = Open(definition_id, self.level, "host", self.boot, "3.11.7", "0", interrupted)
        self.log = ActorLog(self.disk, remains, remains.since(newest), self.incarnation, opened)
        return self.log

    def begin(self, method: str = "deposit", *, values: int = 0, size: int = 20, key: str = "") -> Call:
        """Put a call into the log, and what it takes from outside."""
        self.counter += 1
        call_id = b"call%016d" % self.counter
        args, made = (Payload(bytes(size)),), ()
        if size > 64 * 1024:
            namer = Namer(self.log.tables.last_lsn + 1)
            args, made = blobs.put_aside(self.disk, args, namer, syncs=self.log.syncs)
            made = tuple(msgspec.structs.replace(one, index=-1) for one in made)
        call = Call(call_id, CALLER, self.counter, method, args[0], key=key, digest=call_id, blobs=made)
        assert self.log.take(call) is Verdict.NEW
        self.log.write()
        lsn, _ = self.log.tables.open[call_id]
        for index in range(values):
            self.log.add_value(lsn, Value(index, ValueKind.RANDOM, b"8 bytes!"))
        return call

    def end(self, call: Call, *, outcome: Outcome = Outcome.RETURNED, size: int = 8) -> None:
        """Note how it ended."""
        lsn, _ = self.log.tables.open[call.call_id]
        results, made = blobs.put_aside(self.disk, (Payload(bytes(size)),), Namer(lsn, 10), syncs=self.log.syncs)
        answer = msgspec.msgpack.encode(Answer(results, blobs=made))
        self.log.finish(Done(call.call_id, outcome, answer))
        self.log.secure()

    def calls(self, count: int, *, size: int = 20) -> None:
        """Execute calls, with something random in every third."""
        for number in range(count):
            outcome = Outcome.RAISED if number % 5 == 4 else Outcome.RETURNED
            self.end(self.begin(values=number % 3 // 2, size=size), outcome=outcome)

    def abort(self, call: Call | None = None) -> None:
        """Give up a call; without one, one that never comes."""
        self.counter += 1
        message = Abort(b"call%016d" % self.counter, "its caller gave it up", CALLER, self.counter)
        if call is not None:
            message = Abort(call.call_id, "it has ended 4 processes")
        self.log.abort(message)
        self.log.secure()

    def checkpoint(
        self, data: bytes = b"the state", *, settle: bool = True, carried: tuple[CarriedCall, ...] = ()
    ) -> str:
        """Make a checkpoint, with its data in the folder."""
        name = f"{self.incarnation:04d}-{self.log.position:08d}"
        if settle:
            self.log.settle(CALLER, self.counter)
        content = data + name.encode()
        self.disk.replace(f"data-{name}", content)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        made = CheckpointData(name, b"class", f"data-{name}", len(content), digest, 1_700_000_000.0, "3.11.7", carried)
        for one in self.log.add_checkpoint(made):
            self.disk.remove([one.data.locator])
        return name

    def carried(self) -> CarriedCall:
        """Return a call of this actor to another one, with a large argument beside the log."""
        lsn = self.log.tables.last_lsn
        (args,), (made,) = blobs.put_aside(self.disk, (Payload(bytes(70_000)),), Namer(lsn, 20))
        aside = msgspec.structs.replace(made, index=-1)
        return CarriedCall(b"b" * 16, "Account", "pay", args, (), ACTOR, b"id %d" % lsn, 1, b"digest", blobs=(aside,))

    def add_files(self, *, begun: int = 0, store: str = "") -> None:
        """Add what stands beside the log."""
        spec = ActorSpec(
            ACTOR,
            "Account",
            CALLER,
            Definition(b"class", "Account", Payload(b"")),
            Payload(b""),
            name="acct",
            durability=Durability(self.level, store),
        )
        spec_file.write(self.disk, spec)
        self.disk.replace("begun", struct.pack("<Q", begun or self.log.tables.last_lsn))
        self.disk.replace("lock", b"")


def copy_files(disk: Disk, target: Disk, names: Sequence[str] | None = None) -> None:
    """Copy all files, or those of these names."""
    for name in disk.names() if names is None else names:
        target.replace(name, disk.read(name))
