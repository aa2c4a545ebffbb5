"""The crash zoo: everything that can go wrong in a process, at every place of a call, in tasks and in actors.

One table says what happens, where, and what its caller must see: the type of the error and some of its words. After
each row the session must be as good as before: tasks run, and an actor that has nothing to do with it lives on.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, SerializationError, TaskError, WorkerCrashedError
from tests.support import crashes
from tests.support.gates import until

TIMEOUT_S = 60.0


class Crash:
    """Stands for the death of the process: WorkerCrashedError for a task, ActorDiedError for an actor."""


@dataclasses.dataclass(frozen=True)
class Row:
    """``what`` is a key of :data:`crashes.WAYS`. ``error`` is None where the call must not notice."""

    what: str
    where: str
    error: type | None
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} in {self.where}"


#: How a process can end, and the words that tell it.
_ENDS = {
    "os._exit(0)": "exited with code 0",
    "os._exit(1)": "exited with code 1",
    "SIGKILL": "killed by SIGKILL",
    "SIGTERM": "killed by SIGTERM",
    "SIGSEGV": "killed by SIGSEGV (it crashed in native code)",
    "abort": "killed by SIGABRT",
}

_PLACES = ("arguments", "run", "result", "gc", "thread", "generator")

_UNPICKLED = "could not be unpickled in the worker: "
_UNSENT = "cannot be sent to another process"

ZOO = [
    *(Row(what, where, Crash, (words,)) for where in _PLACES for what, words in _ENDS.items()),
    # Leaving politely is leaving: the words say who did it. In other threads and finalizers Python itself ignores it.
    *(Row("sys.exit()", where, Crash, ("exited with code 0", "called sys.exit()")) for where in ("arguments", "run")),
    # The call has run by then, and its result is what cannot be had.
    Row("sys.exit()", "result", SerializationError, (_UNSENT,)),
    Row("sys.exit(5)", "run", Crash, ("exited with code 5", "called sys.exit(5)")),
    Row("sys.exit(5)", "generator", Crash, ("exited with code 5", "called sys.exit(5)")),
    Row("sys.exit('text')", "run", Crash, ("exited with code 1", "enough of this")),
    *(Row("sys.exit()", where, None) for where in ("gc", "thread")),
    # What Python can raise is no reason for a process to end.
    Row("recursion", "run", RecursionError, ("maximum recursion depth exceeded",)),
    Row("recursion", "arguments", SerializationError, (_UNPICKLED + "RecursionError", "was not run")),
    Row("recursion", "result", SerializationError, (_UNSENT, "recursion")),
    Row("recursion", "generator", RecursionError, ("maximum recursion depth exceeded",)),
    Row("recursion", "gc", None),
    Row("MemoryError", "run", MemoryError, ("no room",)),
    Row("MemoryError", "arguments", SerializationError, (_UNPICKLED + "MemoryError: no room.", "was not run")),
    Row("MemoryError", "result", SerializationError, (_UNSENT, "no room")),
    Row("MemoryError", "gc", None),
    Row("KeyboardInterrupt", "run", KeyboardInterrupt),
    Row("CancelledError", "run", Exception),
    Row("GeneratorExit", "generator", GeneratorExit),
    Row("StopIteration", "generator", RuntimeError, ("StopIteration",)),
    Row("StopIteration", "arguments", SerializationError, (_UNPICKLED + "StopIteration. ",)),
    # What cannot travel is told in words.
    Row("nothing", "lock", SerializationError, (_UNSENT, "['outer'] -> [0]", "a lock")),
    Row("nothing", "home", SerializationError, ("cannot be unpickled here: LookupError: far from home",)),
    Row("NeedsTwo", "run", crashes.NeedsTwoError, ("1 and 2",)),
    Row("Locked", "run", TaskError, ("raised LockedError: it holds a lock", "could not be brought here", "lock")),
    Row("Homebound", "run", TaskError, ("raised HomeboundError", "could not be brought here")),
    Row("group", "run", TaskError, ("raised ExceptionGroup: both", "could not be brought here", "ValueError: a")),
    Row("Mute", "run", crashes.MuteError),
    Row("Mute", "arguments", SerializationError, (_UNPICKLED + "MuteError: (its __str__ raised ValueError)",)),
    Row("Mute", "result", SerializationError, ("cannot be pickled (its __str__ raised ValueError)",)),
    Row("MuteAndFinal", "run", TaskError, ("MuteAndFinalError: (its __str__ raised ValueError)",)),
]

#: The same for the first and the last thing that an actor does.
ZOO_OF_ACTORS = [
    *(Row(what, "__init__", Crash, (words, "was not run")) for what, words in _ENDS.items()),
    Row("sys.exit(5)", "__init__", Crash, ("exited with code 5", "Victim.__init__ called sys.exit(5)")),
    Row("recursion", "__init__", Crash, ("constructor raised RecursionError", "is final")),
    Row("MemoryError", "__init__", Crash, ("constructor raised MemoryError: no room.", "is final")),
    Row("KeyboardInterrupt", "__init__", Crash, ("constructor raised KeyboardInterrupt.", "is final")),
    Row("Locked", "__init__", Crash, ("constructor raised LockedError: it holds a lock", "is final")),
    Row("Mute", "__init__", Crash, ("constructor raised MuteError: (its __str__ raised ValueError)", "is final")),
    # Once it has said that it ends itself, no accident on the way out makes it a crash.
    *(Row(what, "exit", Crash, ("ended on purpose",)) for what in (*_ENDS, "sys.exit(5)", "recursion")),
]


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """A session for the whole zoo, which must have all its resources back at the end."""
    ia.shutdown()
    ia.init(num_cpus=2)
    yield
    until(lambda: ia.available_resources() == ia.cluster_resources(), "all resources given back")
    ia.shutdown()


@pytest.fixture(scope="module")
def bystander(session: None) -> Any:
    """An actor that must not notice any of it."""
    return ia.remote(crashes.Victim).remote()


@pytest.fixture(autouse=True)
def _still_usable(bystander: Any) -> Iterator[None]:
    """After each row: a task runs, and the actor next door is the same process as before."""
    before = ia.get(bystander.count.remote(), timeout=TIMEOUT_S)
    yield
    assert ia.get(ia.remote(crashes.add).remote(1, 2), timeout=TIMEOUT_S) == 3
    assert ia.get(bystander.count.remote(), timeout=TIMEOUT_S) == before + 1


def _run_task(row: Row) -> Any:
    if row.where == "generator":
        stream = ia.remote(max_retries=0, num_returns="streaming")(crashes.generate).remote(row.what)
        return [ia.get(ref, timeout=TIMEOUT_S) for ref in stream]
    task = ia.remote(max_retries=0)(crashes.go_wrong)
    return ia.get(task.remote(row.what, row.where, _argument(row)), timeout=TIMEOUT_S)


def _run_method(row: Row, cls: type, **options: Any) -> Any:
    actor = ia.remote(cls).options(**options).remote()
    if row.where == "generator":
        stream = actor.generate.options(num_returns="streaming").remote(row.what)
        return [ia.get(ref, timeout=TIMEOUT_S) for ref in stream]
    result = actor.go_wrong.remote(row.what, row.where, _argument(row))
    try:
        return ia.get(result, timeout=TIMEOUT_S)
    finally:
        _check_afterlife(row, actor)


def _check_afterlife(row: Row, actor: Any) -> None:
    """An actor whose code raised lives on; a dead one says so to each later caller, who learns that nothing ran."""
    later = actor.count.remote()
    if row.error is Crash:
        with pytest.raises(ActorDiedError, match="was not run"):
            ia.get(later, timeout=TIMEOUT_S)
    else:
        assert ia.get(later, timeout=TIMEOUT_S) == 1


def _argument(row: Row) -> Any:
    return crashes.DiesUnpickled(row.what) if row.where == "arguments" else None


def _check(row: Row, run: Callable[[], Any], death: type[Exception]) -> BaseException | None:
    """Run it, and compare what the caller sees with what the table says."""
    if row.error is None:
        assert run() == "survived"
        return None
    with pytest.raises(death if row.error is Crash else row.error) as caught:
        run()
    if row.words:  # some exceptions of the zoo have no text that could be had
        text = str(caught.value)
        assert [words for words in row.words if words not in text] == [], text
    return caught.value


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_tasks(row: Row) -> None:
    error = _check(row, lambda: _run_task(row), WorkerCrashedError)
    assert row.error is not Crash or "tried once" in str(error)


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_methods(row: Row) -> None:
    _check(row, lambda: _run_method(row, crashes.Victim), ActorDiedError)


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_async_methods(row: Row) -> None:
    _check(row, lambda: _run_method(row, crashes.AsyncVictim), ActorDiedError)


@pytest.mark.parametrize("row", [row for row in ZOO if row.where in ("run", "arguments")], ids=str)
def test_methods_in_threads(row: Row) -> None:
    _check(row, lambda: _run_method(row, crashes.Victim, max_concurrency=2), ActorDiedError)


@pytest.mark.parametrize("row", ZOO_OF_ACTORS, ids=str)
def test_first_and_last_things(row: Row) -> None:
    def run() -> object:
        at_first = row.where == "__init__"
        actor = ia.remote(crashes.Victim).remote(row.what if at_first else "nothing")
        return ia.get(actor.count.remote() if at_first else actor.leave.remote(row.what), timeout=TIMEOUT_S)

    _check(row, run, ActorDiedError)


@pytest.mark.parametrize("what", [*_ENDS, "sys.exit()"])
def test_neighbours_of_a_crash_are_unharmed(what: str) -> None:
    """Tasks that were sent to the same worker, ahead of the killer or behind it, come back right."""
    add = ia.remote(crashes.add)
    kill = ia.remote(max_retries=0)(functools.partial(crashes.go_wrong, what, "run"))
    before = [add.remote(n, n) for n in range(100)]
    killers = [kill.remote(), kill.remote()]
    after = [add.remote(n, n) for n in range(100)]
    for killer in killers:
        with pytest.raises(WorkerCrashedError):
            ia.get(killer, timeout=TIMEOUT_S)
    assert ia.get(before + after, timeout=TIMEOUT_S) == [2 * n for n in range(100)] * 2


def test_the_report_on_a_task_quotes_nothing_of_the_tasks_before() -> None:
    """Tasks of one shape go to the same worker, one after the other, as long as it lives."""

    @ia.remote(max_retries=0)
    def speak(text: str, is_last: bool) -> None:
        print(text, flush=True)
        if is_last:
            os._exit(3)

    for _ in range(20):
        ia.get(speak.remote("of an earlier task", False), timeout=TIMEOUT_S)
    with pytest.raises(WorkerCrashedError) as caught:
        ia.get(speak.remote("of the last task", True), timeout=TIMEOUT_S)
    assert "of the last task" in str(caught.value)
    assert "earlier" not in str(caught.value)


def test_the_report_shows_where_native_code_crashed() -> None:
    """Of all threads of the process, the last lines show the one that did it."""
    actor = ia.remote(crashes.Victim).options(max_concurrency=4).remote()
    with pytest.raises(ActorDiedError) as caught:
        ia.get(actor.go_wrong.remote("SIGSEGV", "run"), timeout=TIMEOUT_S)
    report = str(caught.value)
    assert "Segmentation fault" in report
    assert "in go_wrong" in report
