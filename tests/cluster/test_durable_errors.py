"""What live code learns of an exception of a call that it makes, and what a replay of it learns, is the same."""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import Any

import pytest

import ipyactors as ia
from ipyactors import exceptions
from tests.support.durable import get, kill, recoveries

pytestmark = pytest.mark.usefixtures("shared_runtime")


class OddError(Exception):
    """Cannot be made again from its args."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{words} ({code})")
        self.code = code


class _Failing:
    def unicode(self) -> None:
        b"\xff".decode()

    def odd(self) -> None:
        raise OddError(3, "no such thing")

    def caused(self) -> None:
        try:
            {}["x"]
        except KeyError as error:
            raise ValueError("v") from error

    def noted(self) -> None:
        error = ValueError("v")
        error.add_note("a note")
        raise error

    def die(self) -> None:
        os._exit(3)

    def sleep(self, gate: Any) -> None:
        gate.wait()


_Plain = ia.remote(_Failing)
_Durable = ia.remote(durable=True)(_Failing)


@ia.remote(max_retries=0)
def _crash() -> None:
    os._exit(4)


@ia.remote(num_cpus=0)
def _wait_for(gate: Any) -> None:
    gate.wait()


def _told(error: BaseException) -> dict[str, Any]:
    return {
        "type": [base.__name__ for base in type(error).__mro__],
        "text": str(error),
        "args": repr(error.args),
        "attributes": sorted((name, str(value)) for name, value in vars(error).items()),
        "cause": repr(error.__cause__),
        "traceback": traceback.format_exc(),
        "itself": [] if isinstance(error, OddError) else {"errors": [error]},
    }


@ia.remote(durable=True)
class _Catching:
    def __init__(self) -> None:
        self.kept: list[BaseException] = []

    def _call(self, which: str, gate: Any) -> Any:
        if which == "task":
            return _crash.remote()
        if which in ("timeout", "cancel"):
            ref = _wait_for.remote(gate)
            if which == "cancel":
                ia.cancel(ref, force=True)
            return ref
        kind, method = which.split(".")
        handle = (_Plain if kind == "plain" else _Durable).remote()
        return getattr(handle, method).remote()

    def catch(self, which: str, gate: Any) -> dict[str, Any]:
        ref = self._call(which, gate)
        try:
            ia.get(ref, timeout=0.05 if which == "timeout" else None)
        except Exception as error:
            self.kept += [error]
            return _told(error)
        raise AssertionError("nothing was raised")

    def once(self) -> dict[str, Any]:
        def fail() -> None:
            raise OddError(3, "no such thing")

        try:
            ia.get_runtime_context().once(fail)
        except OddError as error:
            return _told(error)
        raise AssertionError("nothing was raised")

    def count(self) -> int:
        return len(self.kept)


@ia.remote(durable=True, max_concurrency=1)
class _Awaiting:
    async def catch(self, which: str, gate: Any) -> dict[str, Any]:
        ref = _Catching._get_target()._call(self, which, gate)
        try:
            if which == "timeout":
                await asyncio.wait_for(ref, 0.05)
            await ref
        except Exception as error:
            return _told(error)
        raise AssertionError("nothing was raised")

    async def count(self) -> int:
        return 1


WHICH = ["plain.unicode", "plain.odd", "plain.caused", "plain.noted", "durable.odd", "plain.die", "task", "cancel"]


@pytest.mark.parametrize("cls", [_Catching, _Awaiting])
@pytest.mark.parametrize("which", [*WHICH, "timeout"])
def test_a_caught_exception_is_the_same_in_a_replay(cls: Any, which: str, gate: Any) -> None:
    actor = cls.remote()
    told = get(actor.catch.remote(which, gate))
    kill(actor)
    assert get(actor.count.remote()) == 1, "the replay has told the same, or it would not be there"
    assert len(recoveries(actor)) == 1
    assert ("TaskError" in told["type"]) is (which not in ("plain.die", "task", "cancel", "timeout"))
    gate.open()


def test_what_is_raised_once_is_the_same_in_a_replay() -> None:
    actor = _Catching.remote()
    told = get(actor.once.remote())
    assert told["type"][0] == "OddError"
    assert ("code", "3") in told["attributes"]
    kill(actor)
    assert get(actor.count.remote()) == 0


@ia.remote(durable=True)
class _Showing:
    """Tells of itself what is another thing in each process; and something that is, where it should not be."""

    def show(self) -> tuple[str, str]:
        return repr(self), f"{self.show}"

    def owe(self) -> BaseException:
        error = ValueError("v")
        vars(error)["pid"] = os.getpid()
        return error

    def nothing(self) -> None:
        pass


def test_where_an_object_lies_is_not_compared() -> None:
    actor = _Showing.remote()
    assert " at 0x" in get(actor.show.remote())[0]
    kill(actor)
    get(actor.nothing.remote())


def test_it_is_told_where_two_results_differ_that_look_the_same() -> None:
    actor = _Showing.remote()
    get(actor.owe.remote())
    kill(actor)
    with pytest.raises(
        exceptions.RecoveryDivergedError, match=r"ValueError\('v'\), where pid is \d+, and now it is .*pid is \d+"
    ):
        get(actor.nothing.remote())
