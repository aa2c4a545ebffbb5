"""A durable actor that has lived in this process: its calls are run on an instance, and logged as its process would."""

from __future__ import annotations

import hashlib
import pathlib
import struct
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from ipyactors.durable import blobs, spec_file
from ipyactors.durable.actor_log import ActorLog, read_remains
from ipyactors.durable.blobs import Namer
from ipyactors.durable.folder import Folder
from ipyactors.durable.manifest import CheckpointData, Manifest
from ipyactors.durable.record import Abort, Answer, Call, Done, Open, Outcome, Value, ValueKind
from ipyactors.wire import serialize, state
from ipyactors.wire.specs import ActorSpec, Definition, Durability, Payload
from ipyactors.worker.errors import describe_error
from tests.support.actor_folder import ACTOR, CALLER

_encode = msgspec.msgpack.encode


def definition_of(cls: type) -> Definition:
    return Definition(hashlib.blake2b(cls.__qualname__.encode(), digest_size=16).digest(), cls.__name__, _pickle(cls))


def _pickle(value: Any) -> Payload:
    return serialize.owned(serialize.dumps(value))


class Lived:
    """Writes the folder of an actor of ``cls`` below ``parent``. ``instance`` is what it is in memory."""

    def __init__(
        self, parent: pathlib.Path, cls: type, *args: Any, values: tuple[Value, ...] = (), **durability: Any
    ) -> None:
        self.path = parent / ACTOR.hex()
        self.disk = Folder(self.path)
        self.cls = cls
        self.instance = cls(*args)
        self.counter = 0
        given = serialize.owned(serialize.dumps_call(args, {}, what="the arguments"))
        kind = Durability("process", **durability)
        self.is_by_itself = kind.by_itself
        spec_file.write(
            self.disk, ActorSpec(ACTOR, cls.__name__, CALLER, definition_of(cls), given, name="acct", durability=kind)
        )
        self.log = self._open(0)
        for value in values:
            self.log.add_value(0, value)
        self.log.secure()

    def _open(self, incarnation: int) -> ActorLog:
        remains = read_remains(self.disk, ACTOR)
        newest = remains.checkpoints[0] if remains.checkpoints else None
        opened = Open(definition_of(self.cls).definition_id, "process", "host", "boot", "3.0.0", "")
        return ActorLog(self.disk, remains, remains.since(newest), incarnation, opened)

    def begin(self, method: str, *args: Any, values: tuple[Value, ...] = (), is_persist: bool = False) -> Call:
        """Log a call, and what it takes from outside."""
        self.counter += 1
        lsn = self.log.tables.last_lsn + 1
        payloads = (serialize.owned(serialize.dumps_call(args, {}, what="the arguments")),)
        kept, aside = blobs.put_aside(self.disk, payloads, Namer(lsn))
        aside = tuple(msgspec.structs.replace(one, index=-1) for one in aside)
        call_id = uuid.uuid4().bytes + bytes(4)
        call = Call(call_id, CALLER, self.counter, method, kept[0], digest=call_id, blobs=aside, is_persist=is_persist)
        self.log.take(call)
        self.log.write()
        for value in values:
            self.log.add_value(lsn, value)
        return call

    def call(self, method: str, *args: Any, values: tuple[Value, ...] = (), is_persist: bool = False) -> Any:
        """Run a call and log its end; return its result."""
        call = self.begin(method, *args, values=values, is_persist=is_persist)
        return self.end(call, lambda: getattr(self.instance, method)(*args))

    def end(self, call: Call, run: Callable[[], Any]) -> Any:
        result = None
        try:
            result = run()
        except Exception as error:
            answer, outcome = Answer(error=describe_error(error, function_name=call.method)), Outcome.RAISED
        else:
            lsn, _ = self.log.tables.open[call.call_id]
            kept, aside = blobs.put_aside(self.disk, (_pickle(result),), Namer(lsn, 10))
            answer, outcome = Answer(kept, blobs=aside), Outcome.RETURNED
        self.log.finish(Done(call.call_id, outcome, _encode(answer), 0.001))
        self.log.secure()
        return result

    def abort(self, call: Call) -> None:
        self.log.abort(Abort(call.call_id, "it has ended 4 processes"))
        self.log.secure()

    def checkpoint(self, name: str, keep: int = 3) -> list[Manifest]:
        data = state.dumps(self.instance, self.cls)
        self.disk.replace(f"data-{name}", data)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        definition_id = definition_of(self.cls).definition_id
        locator = "" if self.is_by_itself else f"data-{name}"
        made = CheckpointData(name, definition_id, locator, len(data), digest, 1_700_000_000.0)
        return self.log.add_checkpoint(made, keep)

    def upgrade(self, cls: type) -> None:
        """As an actor's process does: a checkpoint under each class."""
        spec_file.write_class(self.disk, definition_of(self.cls))
        spec_file.write_class(self.disk, definition_of(cls))
        self.checkpoint(f"before-{cls.__name__}")
        self.instance = state.loads(state.dumps(self.instance, self.cls), cls)
        self.cls = cls
        self.checkpoint(f"after-{cls.__name__}")

    def close(self) -> pathlib.Path:
        self.disk.close()
        return self.path


def number(index: int, value: float) -> Value:
    """Return a random number that a call took."""
    return Value(index, ValueKind.RANDOM, struct.pack("<d", value))


def once(index: int, value: Any) -> Value:
    """Return what a call got of ``once``."""
    return Value(index, ValueKind.ONCE, _encode(Answer((_pickle(value),))))
