"""The nouns of :func:`ipyactors.memory`: objects, processes, places, holders. Sizes in bytes, ages in seconds."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

#: The kind of what is still in a store although its owner has let go of it: it is removed in a moment.
FREED = "freed"


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryProcess:
    """A process of the session, or one that reads from its store. ``runs`` is the actor that it hosts, if it does.

    ``role`` is ``gone`` for an owner that has left something behind, ``process`` for one that is not the session's.
    """

    role: Literal["driver", "worker", "agent", "process", "gone"]
    pid: int
    node_id: str = ""
    process_id: str = ""
    runs: str = ""

    def __str__(self) -> str:
        if self.role == "gone":
            return f"a process that is gone ({self.process_id})"
        if self.role == "driver" or not self.pid:  # a session has one driver
            return self.runs or self.role
        return f"{self.runs or self.role} (pid {self.pid})"


@dataclasses.dataclass(frozen=True, slots=True)
class CallSite:
    """A line of the user's code. ``file`` is a path, or a cell's name (``Cell In[5]``); ``function`` may be empty."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        inside = f", in {self.function}" if self.function else ""
        return f"{self._short_file()}, line {self.line}{inside}"

    def _short_file(self) -> str:
        below = os.path.join(os.getcwd(), "")
        return self.file.removeprefix(below) if len(below) > 1 else self.file


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryPlace:
    """Where the bytes of an object are.

    ``medium`` is ``memory`` (shared, of that machine), ``disk`` (spilled there) or ``inline`` (in its owner's own
    memory); ``missing`` where the owner takes it to be and it is not; ``unknown`` where that machine did not answer.
    """

    medium: Literal["memory", "disk", "inline", "missing", "unknown"]
    node_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryHolder:
    """Something that keeps an object alive, or reads it.

    ``how`` says what: ``references`` (variables, containers), ``calls`` (under way, that take it), ``reruns`` (finished
    calls whose results may have to be made again with it), ``object`` (``object_id`` contains a reference to it, and is
    ``container`` in words), ``lent`` (to a process that has not said that it has it), ``mapping`` (a view of its
    memory; without a process where the system does not say whose), ``pinned`` (a reference to it was pickled outside of
    any call). ``since`` is the call, or the line, that brought the reference to a process that does not own the object.
    """

    how: Literal["references", "calls", "reruns", "object", "lent", "mapping", "pinned"]
    count: int
    process: MemoryProcess | None = None
    object_id: str = ""
    container: str = ""
    since: str = ""

    def __str__(self) -> str:
        return self.words()

    def words(self, owner: MemoryProcess | None = None) -> str:
        """Return it in words: ``2 references in driver``; what is in ``owner`` goes without saying so."""
        where = f" in {self.process}" if self.process is not None and self.process != owner else ""
        since = f" since {self.since}" if self.since else ""
        match self.how:
            case "references":
                return f"{_count(self.count, 'reference')}{where}{since}"
            case "calls":
                return f"{_count(self.count, 'call')} under way{where}"
            case "reruns":
                return f"{_count(self.count, 'finished call')} that may run again{where}"
            case "object":
                return f"inside {self.container}{where}"
            case "lent":
                return f"lent to {self.process}"
            case "mapping":
                return f"mapped by {self.process}" if self.process is not None else "mapped by some process"
            case "pinned":
                return "pickled by user code"


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryRow:
    """One object. ``size_bytes`` is 0 while it is pending or lost; ``age_s`` is right to 0.1 s, None if it is unknown.

    ``kind`` is ``put``, ``task result``, ``method result``, ``item`` (of a generator), ``arguments`` (of a call, where
    they are too large to travel with it), ``freed`` (nobody can reach it any more: it is removed in a moment, or when
    its last view goes) or ``unknown`` (in a store, and its owner is gone or has not answered). ``name`` is the
    function or ``Class.method``, ``index`` which of several values it is, from 1.
    """

    object_id: str
    size_bytes: int
    kind: str
    name: str
    index: int
    state: Literal["pending", "ready", "failed", "lost", "lost, can be made again"]
    places: tuple[MemoryPlace, ...]
    owner: MemoryProcess
    holders: tuple[MemoryHolder, ...]
    site: CallSite | None
    age_s: float | None

    @property
    def what(self) -> str:
        """What it is in words: ``put``, ``task result of f``, ``item 3 of g``, ``arguments of Counter.add``."""
        return words_of(self.kind, self.name, self.index)


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The objects of one call site, or of one owner; ``oldest_s`` is the age of the oldest."""

    key: str
    objects: int
    size_bytes: int
    oldest_s: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryNode:
    """The store of one machine. ``pool_bytes`` of ``used_bytes`` are freed memory, kept for the values to come.

    ``mapped_bytes`` of them are of freed values that views still map; ``objects`` are without these. All are 0 for a
    machine that did not answer.
    """

    node_id: str
    hostname: str
    used_bytes: int
    limit_bytes: int
    spilled_bytes: int
    pool_bytes: int
    objects: int
    mapped_bytes: int = 0


def words_of(kind: str, name: str, index: int) -> str:
    """Return what an object is in words, see :class:`MemoryRow`."""
    which = f" {index}" if index else ""
    return f"{kind}{which} of {name}" if name else kind


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
