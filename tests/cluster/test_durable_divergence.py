"""A method that does not do again what it did is caught; one that does is never accused."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from typing import Any

import numpy as np
import pytest

import ipyactors as ia
from ipyactors.exceptions import RecoveryFailedError
from tests.support.durable import folder, get, kill, pid_of, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote
def echo(value: Any) -> Any:
    return value


@ia.remote(durable=True)
class Fickle:
    """Each of its methods depends on something that is other in the next process."""

    def __init__(self) -> None:
        self.value = 0

    def returns_another(self) -> int:
        self.value += os.getpid()
        return self.value

    def sometimes_raises(self, pid: int) -> None:
        if os.getpid() == pid:
            raise ValueError("in the first process")

    def raises_another(self) -> None:
        self.value = os.getpid()
        raise ValueError(f"rolled {self.value}")

    def sometimes_returns(self, pid: int) -> None:
        if os.getpid() != pid:
            raise ValueError("in the second process")

    def asks_for_more(self, pid: int) -> None:
        if os.getpid() != pid:
            ia.get_runtime_context().random()

    def asks_for_less(self, pid: int) -> None:
        if os.getpid() == pid:
            ia.get_runtime_context().random()

    def asks_for_another(self, pid: int) -> None:
        context = ia.get_runtime_context()
        context.random() if os.getpid() == pid else context.now()

    def calls_another(self, pid: int) -> None:
        ia.get(echo.remote(os.getpid()))

    def hides_it(self, pid: int) -> None:
        try:
            if os.getpid() != pid:
                ia.get_runtime_context().random()
        except Exception:
            pass


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("returns_another", "it returned [0-9]+, and now it is [0-9]+"),
        ("raises_another", "it raised ValueError: rolled [0-9]+, and now it raised ValueError: rolled [0-9]+"),
        ("sometimes_raises", "it raised ValueError: in the first process, and now it returned"),
        ("sometimes_returns", "it returned, and now it raised ValueError: in the second process"),
        ("asks_for_more", r"it asks for a random number \(value 0\), and had ended there"),
        ("asks_for_less", r"it ended without asking for a random number \(value 0\), and did before"),
        ("asks_for_another", "value 0 of it was a random number, and now it asks for the time there"),
        ("calls_another", "value 0 of it submitted another call, or with other arguments"),
        ("hides_it", r"it asks for a random number \(value 0\), and had ended there"),
    ],
)
def test_what_depends_on_the_process_is_caught(method: str, words: str) -> None:
    fickle = Fickle.remote()
    args = () if method in ("returns_another", "raises_another") else (pid_of(fickle),)
    ref = getattr(fickle, method).remote(*args)
    try:
        get(ref)
    except ValueError:
        assert method in ("sometimes_raises", "raises_another")
    kill(fickle)
    with pytest.raises(RecoveryFailedError, match=words) as caught:
        get(fickle.returns_another.remote())
    told = str(caught.value)
    assert f"Fickle.{method} (lsn 1) does not do again what it did before" in told
    for part in (
        "now(), random(), uuid4(), once(",
        "effect='persist'",
        "ipyactors fsck /",
        "ipyactors replay /",
        "was not run",
    ):
        assert part in told
    assert (folder(fickle) / "log-0000000000000000").exists()


class OddError(Exception):
    pass


class BoundError(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


@ia.remote(max_retries=0)
def fail(how: str) -> None:
    if how == "dies":
        os.kill(os.getpid(), 9)
    if how == "sleeps":
        threading.Event().wait()
    raise {"odd": OddError, "bound": BoundError, "key": KeyError}[how](f"{how} in {os.getpid()} {object()!r}")


def raise_here(error: Exception) -> None:
    raise error


@ia.remote
class Mortal:
    def die(self) -> None:
        os._exit(3)


class Point:
    """Equal to no other."""

    def __init__(self, x: float) -> None:
        self.x = x
        self.tags = {f"tag{n}" for n in range(5)}


@ia.remote(durable=True)
class Steady:
    """Returns what is equal, and is pickled to other bytes each time."""

    def __init__(self) -> None:
        self.word = f"a long word of {len('nine more')}"
        self.names = {"a": self.word, "b": self.word}
        self.set: set[Any] = set()
        self.point = Point(1.0)
        self.nan = float("nan")
        self.count = 0

    def strings(self) -> Any:
        self.count += 1
        return {"a": self.word, "b": self.names["a"], "c": ["a long word", "a long word"]}

    def sets(self) -> Any:
        self.count += 1
        self.set |= {f"word {n}" for n in range(self.count)} | {(1, n) for n in range(40)} | {8 * n for n in range(9)}
        self.set -= {8 * self.count}
        return [self.set, frozenset(self.set)]

    def nans(self) -> Any:
        return [self.nan, float("nan"), {"x": self.nan}, np.array([1.0, np.nan]), -0.0, 1e300 * 1e10]

    def arrays(self) -> Any:
        table = np.arange(12.0).reshape(3, 4)
        return {"a": table, "b": table.T, "c": table[:, 1], "d": np.float64(1.5), "e": np.array(["x", None])}

    def large(self) -> Any:
        return np.arange(100_000) * self.count, "x" * 200_000

    def objects(self) -> Any:
        return [self.point, self.point, Point(float("nan")), object, len, Point]

    def mixed(self) -> Any:
        return {"set": self.set, "array": np.arange(3), "nan": self.nan, "point": self.point}

    def generator(self) -> Any:
        return list(itertools.count(self.count).__reduce__()[1])

    def circular(self) -> Any:
        one: list[Any] = [self.word]
        one.append(one)
        return one

    def constants(self) -> Any:
        return [(1, 2, "abc"), (1, 2, "abc"), b"", "", (), True, None, 256, 257, 10**30]

    def fails(self) -> None:
        raise OddError(f"{object()!r} and {self.point!r}")

    def raises(self, how: str) -> Any:
        """Raise what was raised elsewhere, which tells of other processes; it comes from the log again."""
        match how:
            case "task":
                ia.get(fail.remote("odd"))
            case "unpicklable":
                ia.get(fail.remote("bound"))
            case "from":
                try:
                    ia.get(fail.remote("key"))
                except KeyError as error:
                    raise OddError(f"because of {error}, {error!r}") from error
            case "crash":
                ia.get(fail.remote("dies"))
            case "actor":
                ia.get(Mortal.remote().die.remote())
            case "late":
                ref = fail.remote("sleeps")
                try:
                    ia.get(ref, timeout=0.01)
                finally:
                    ia.cancel(ref, force=True)
            case "once":
                ia.get_runtime_context().once(lambda: 1 // (os.getpid() - os.getpid()))
            case "once, unpicklable":
                ia.get_runtime_context().once(lambda: raise_here(BoundError("here")))
            case "reference":
                raise OddError(f"{echo.remote(1)} of {ia.get_runtime_context().current_actor}")
            case "set":
                raise OddError(f"none of {self.set | {str(n) for n in range(9)}}")
            case "thread":
                raise OddError(f"{threading.Thread()} {tempfile.mkdtemp()}")
            case "result":
                return threading.Lock()
            case "results":
                return iter(())
            case _:
                return self.nobody
        return None

    def times(self) -> Any:
        context = ia.get_runtime_context()
        return context.now(), context.uuid4(), context.random()

    def nested(self) -> Any:
        return ia.get(echo.remote({"a": self.word, "b": np.arange(3)}))

    def handles(self, other: Any) -> Any:
        return {"me": ia.get_runtime_context().current_actor, "other": other}

    def references(self) -> Any:
        one = echo.remote(1)
        return {"a": one, "b": [one, echo.remote(2)]}

    def items(self) -> Any:
        for n in range(3):
            yield {self.word, f"{n}"}


METHODS = [
    "strings", "sets", "nans", "arrays", "large", "objects", "mixed", "generator", "circular", "constants", "times",
    "nested", "references",
]  # fmt: skip


RAISED = [
    "task", "unpicklable", "from", "crash", "actor", "late", "once", "once, unpicklable", "reference", "set", "thread",
    "result", "results", "attribute",
]  # fmt: skip


def test_an_exception_that_comes_again_is_never_accused() -> None:
    steady = Steady.remote()
    for round_ in range(2):
        get(steady.sets.remote())
        for how in RAISED:
            with pytest.raises(Exception) as caught:
                get(steady.raises.options(num_returns=1 + (how == "results")).remote(how))
            assert not isinstance(caught.value, RecoveryFailedError), how
        with pytest.raises(TypeError, match="it must return a generator"):
            get(list(steady.strings.options(num_returns="streaming").remote()))
        with pytest.raises(AttributeError):
            get(steady.__ray_call__.remote(lambda self: self.nobody))
        kill(steady)
        get(steady.times.remote())
        assert len(recoveries(steady)) == round_ + 1
        get(steady.checkpoint())


def test_what_is_equal_is_never_accused() -> None:
    steady = Steady.remote()
    for round_ in range(3):
        refs = [getattr(steady, method).remote() for method in METHODS * 2]
        refs.append(steady.handles.remote(steady))
        stream = steady.items.options(num_returns="streaming").remote()
        assert len([get(ref) for ref in stream]) == 3
        get(refs)
        with pytest.raises(OddError, match="<object"):
            get(steady.fails.remote())
        if round_ == 1:
            get(steady.checkpoint())  # what it brings back shares other parts than what was there before
            get([getattr(steady, method).remote() for method in METHODS])
        kill(steady)
        get(steady.times.remote())
        assert len(recoveries(steady)) == round_ + 1
