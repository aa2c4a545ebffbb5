"""Everything that can go wrong inside a process, by name: how it ends (or what it raises), and where.

Imported by workers, so it needs nothing that a worker has not got in memory anyway.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn


class NeedsTwoError(Exception):
    """Cannot be made again from its ``args``, as the default pickling tries."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.one, self.two = one, two


class LockedError(Exception):
    """Cannot be pickled at all."""

    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class MuteError(Exception):
    """Its texts cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class MuteAndFinalError(MuteError):
    """Forbids subclasses as well, so it cannot be joined with any other type."""

    def __init_subclass__(cls) -> None:
        raise TypeError("nobody inherits from this")


class HomeboundError(Exception):
    """Unpickles only in the process that raised it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickle_at_home, (os.getpid(), HomeboundError)


class HomeboundValue:
    """The same as a value."""

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickle_at_home, (os.getpid(), HomeboundValue)


def unpickle_at_home(pid: int, kind: type) -> Any:
    """Unpickle something of ``kind`` in the process ``pid``; raise anywhere else."""
    if os.getpid() != pid:
        raise LookupError("far from home")
    return kind()


def _recurse() -> NoReturn:
    _recurse()
    raise AssertionError


def _end(number: signal.Signals) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


def _raising(make: Callable[[], BaseException]) -> Callable[[], object]:
    def throw() -> NoReturn:
        raise make()

    return throw


#: How a process ends, or what its code raises.
WAYS: dict[str, Callable[[], object]] = {
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(1)": lambda: os._exit(1),
    "sys.exit()": sys.exit,
    "sys.exit(5)": lambda: sys.exit(5),
    "sys.exit('text')": lambda: sys.exit("enough of this"),
    "SIGKILL": _end(signal.SIGKILL),
    "SIGTERM": _end(signal.SIGTERM),
    "SIGSEGV": faulthandler._sigsegv,
    "abort": os.abort,
    "recursion": _recurse,
    "MemoryError": _raising(lambda: MemoryError("no room")),
    "KeyboardInterrupt": _raising(KeyboardInterrupt),
    "CancelledError": _raising(asyncio.CancelledError),
    "StopIteration": _raising(StopIteration),
    "GeneratorExit": _raising(GeneratorExit),
    "NeedsTwo": _raising(lambda: NeedsTwoError(1, 2)),
    "Locked": _raising(LockedError),
    "Mute": _raising(MuteError),
    "MuteAndFinal": _raising(MuteAndFinalError),
    "Homebound": _raising(HomeboundError),
    "group": _raising(lambda: ExceptionGroup("both", [ValueError("a"), LockedError()])),
    "nothing": lambda: None,
}


def die(way: str) -> object:
    """Do what ``way`` names, here and now."""
    return WAYS[way]()


class DiesUnpickled:
    """Dies where it arrives."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __reduce__(self) -> tuple[Any, ...]:
        return die, (self.way,)


class DiesPickled:
    """Dies where it is sent from."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __reduce__(self) -> tuple[Any, ...]:
        die(self.way)
        raise AssertionError


class DiesCollected:
    """Dies when the collector finds it."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.circle = self

    def __del__(self) -> None:
        die(self.way)


def go_wrong(way: str, where: str, _arg: object = None) -> Any:
    """Go wrong in that way, at that place of a call: while it runs, or with what it returns."""
    match where:
        case "arguments":
            return "the arguments arrived"
        case "run":
            return die(way)
        case "result":
            return DiesPickled(way)
        case "gc":
            DiesCollected(way)
            gc.collect()
            return "survived"
        case "thread":
            thread = threading.Thread(target=die, args=(way,))
            thread.start()
            thread.join()
            return "survived"
        case "home":
            return HomeboundValue()
        case "lock":
            return {"outer": [threading.Lock()]}
    raise AssertionError(where)


def generate(way: str) -> Iterator[int]:
    """Yield once, then go wrong."""
    yield 1
    die(way)


def add(one: int, other: int) -> int:
    """Be of use."""
    return one + other


class Victim:
    """An actor to which it happens."""

    def __init__(self, way: str = "nothing") -> None:
        die(way)
        self.counted = 0

    def go_wrong(self, way: str, where: str, arg: object = None) -> Any:
        return go_wrong(way, where, arg)

    def generate(self, way: str) -> Iterator[int]:
        yield from generate(way)

    def leave(self, way: str) -> None:
        """End this actor on purpose; ``way`` happens while it says goodbye."""
        from ipyactors.actor import exit_actor

        atexit.register(die, way)
        exit_actor()

    def count(self) -> int:
        """Return how often this was called."""
        self.counted += 1
        return self.counted


class AsyncVictim:
    """The same with an event loop."""

    def __init__(self) -> None:
        self.counted = 0

    async def go_wrong(self, way: str, where: str, arg: object = None) -> Any:
        await asyncio.sleep(0)
        return go_wrong(way, where, arg)

    async def generate(self, way: str) -> AsyncIterator[int]:
        yield 1
        die(way)

    async def count(self) -> int:
        self.counted += 1
        return self.counted
