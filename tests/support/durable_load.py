"""Durable actors whose history can be checked, and the callers that make one. Workers import this too."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

import ipyactors as ia
from ipyactors.durable import blobs
from ipyactors.durable.actor_log import read_remains
from ipyactors.durable.folder import Folder
from ipyactors.durable.record import Done
from ipyactors.exceptions import (
    ActorDiedError,
    CallAbortedError,
    CallOutcomeUnknownError,
    StorageFullError,
    TaskCancelledError,
    TaskError,
)
from ipyactors.testing.history import Operation, Report, check_history
from ipyactors.wire import serialize

#: No answer takes longer, on however busy a machine.
PATIENCE_S = 60.0

LARGE = bytes(100_000)


def roll(before: str, uid: str) -> str:
    """Return the hash of a list that has one more entry."""
    return hashlib.blake2b(f"{before}/{uid}".encode(), digest_size=8).hexdigest()


class _List:
    """Appends, and says where and after what."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.digest = ""

    def append(self, uid: str, _payload: bytes = b"") -> tuple[int, str]:
        self.entries.append(uid)
        self.digest = roll(self.digest, uid)
        return len(self.entries) - 1, self.digest

    def echo(self, uid: str, payload: bytes) -> tuple[int, str, bytes]:
        """Append, and answer with something large."""
        return (*self.append(uid), payload)

    @ia.method(effect="readonly")
    def read(self) -> list[str]:
        return self.entries

    @ia.method(effect="readonly")
    def pid(self) -> int:
        return os.getpid()


@ia.remote(durable=True)
class Appender(_List):
    def die(self, uid: str) -> None:
        """Append, and end the process."""
        self.append(uid)
        os.kill(os.getpid(), signal.SIGKILL)

    @ia.method(effect="persist")
    def keep(self, uid: str) -> tuple[int, str]:
        """Append something that no replay could append again: a checkpoint has it."""
        index, digest = self.append(uid)
        self.moment = time.monotonic()
        return index, digest


@ia.remote(durable=True)
class Upgraded(_List):
    """What an Appender becomes."""

    def read_again(self) -> list[str]:
        return self.entries


@ia.remote(durable=True, max_concurrency=4)
class Threads(_List):
    """Runs several calls at once; one at a time appends."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"entries": self.entries, "digest": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.Lock())

    @ia.method(effect="persist")
    def append(self, uid: str, _payload: bytes = b"") -> tuple[int, str]:
        with self.lock:
            return super().append(uid)

    @ia.method(effect="readonly")
    def echo(self, uid: str, payload: bytes) -> tuple[int, str, bytes]:
        return 0, uid, payload


@ia.remote(durable=True, max_concurrency=4)
class Coroutines(_List):
    """Runs several calls at once, in one thread."""

    @ia.method(effect="persist")
    async def append(self, uid: str, _payload: bytes = b"") -> tuple[int, str]:
        await asyncio.sleep(0)
        result = super().append(uid)
        await asyncio.sleep(0)
        return result

    @ia.method(effect="readonly")
    def echo(self, uid: str, payload: bytes) -> tuple[int, str, bytes]:
        return 0, uid, payload


@ia.remote(durable=True)
class Account(_List):
    def __init__(self, balance: int) -> None:
        super().__init__()
        self.balance = balance

    def deposit(self, uid: str, amount: int) -> tuple[int, str]:
        self.balance += amount
        return self.append(uid)

    @ia.method(effect="readonly")
    def total(self) -> int:
        return self.balance


@ia.remote(durable=True)
class Bank(_List):
    def __init__(self, one: Any, other: Any) -> None:
        super().__init__()
        self.accounts = one, other
        self.left: list[Any] = []
        self.last: Any = None

    def transfer(self, uid: str, amount: int) -> tuple[int, str]:
        """Move money by two nested calls, and take both results, one, or none."""
        one, other = self.accounts
        context = ia.get_runtime_context()
        self.last = context.now(), context.uuid4()
        refs = [one.deposit.remote(uid, -amount), other.deposit.remote(uid, amount)]
        if amount % 3 == 0:
            ia.get(refs)
        elif amount % 3 == 1:
            self.left, left = refs, self.left
            ia.get(left)
        else:
            done, _ = ia.wait(refs)
            ia.get(done)
        return self.append(uid)


@ia.remote(durable=True)
class Relay:
    """A durable actor that calls another for whoever asks it."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def append(self, uid: str) -> tuple[int, str]:
        result: tuple[int, str] = ia.get(self.target.append.remote(uid))
        return result


def outcome_of(operation: Operation, get: Callable[[], Any]) -> Operation:
    """Wait for a call's end, and note how its caller has seen it."""
    try:
        value = get()
    except (CallAbortedError, StorageFullError, TaskCancelledError):
        operation.outcome = "failed"
    except ActorDiedError as error:
        operation.outcome = "failed" if error.started is False else "unknown"
        operation.digest = str(error)
    except (CallOutcomeUnknownError, TaskError) as error:  # the latter of an actor that has called another in vain
        operation.outcome, operation.digest = "unknown", str(error)
    else:
        operation.outcome = "ok"
        operation.index, operation.digest = value[:2]
    operation.completed = time.monotonic()
    return operation


@ia.remote(max_retries=-1, num_cpus=0)
def append_from_task(target: Any, caller: str, count: int, invoked: float) -> list[Operation]:
    """Append from a task, which may be run again: its calls were made when it was submitted, at the latest then."""
    history = []
    for number in range(count):
        uid = f"{caller}-{number}"
        ref = target.append.remote(uid)
        history.append(outcome_of(Operation(caller, number, uid, invoked), lambda ref=ref: ia.get(ref)))
    return history


class Callers:
    """Threads of this process that call, and the history of all."""

    def __init__(self) -> None:
        self.history: list[Operation] = []
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, calls: Iterable[tuple[str, Callable[[str], Any]]], window: int = 4) -> None:
        """Make calls ``(word, submit)`` one after the other in a thread, so many of them under way at a time."""
        thread = threading.Thread(target=self._run, args=(name, calls, window), name=name)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, calls: Iterable[tuple[str, Callable[[str], Any]]], window: int) -> None:
        under_way: list[tuple[Operation, Any]] = []
        try:
            for number, (word, submit) in enumerate(calls):
                operation = Operation(name, number, f"{name}-{number}{word}", time.monotonic())
                under_way.append((operation, submit(operation.uid)))
                if len(under_way) >= window:
                    self._end(*under_way.pop(0))
            for pair in under_way:
                self._end(*pair)
        except BaseException as error:
            self.errors.append(error)

    def _end(self, operation: Operation, ref: Any) -> None:
        self.history.append(outcome_of(operation, lambda: ia.get(ref, timeout=PATIENCE_S)))

    def join(self) -> None:
        """Wait for all of them; raise what one of them has run into."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        for error in self.errors:
            raise error


def check(history: Sequence[Operation], final: Sequence[str]) -> Report:
    """Return what is wrong with a history of lists that are rolled up."""
    return check_history(history, final, roll=roll)


def appended_by_the_log(folder: pathlib.Path) -> list[str]:
    """Return what an actor's whole log says that was appended; the actor cannot be asked any more."""
    disk = Folder(folder)
    history = read_remains(disk, bytes.fromhex(folder.name)).since(None)
    found = []
    for past in history.past.values():
        if isinstance(past.end, Done):
            aside = [msgspec.structs.replace(blob, index=blob.index + 1) for blob in past.call.blobs]
            args, _ = serialize.loads(blobs.bring_back(disk, [past.call.args], aside)[0])
            found.append(args[0])
    return found
