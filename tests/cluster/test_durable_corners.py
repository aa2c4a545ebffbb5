"""What durable actors meet rarely: time limits inside of methods, persist methods that cannot be run again."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import threading
from typing import Any

import pytest

import ipyactors as ia
from ipyactors import exceptions
from tests.support.durable import get, kill, recoveries
from tests.support.gates import Gate

pytestmark = pytest.mark.usefixtures("shared_runtime")


def test_a_method_that_gives_up_waiting_gives_up_again_when_it_is_replayed(gate: Gate) -> None:
    @ia.remote
    def block(gate: Gate) -> None:
        gate.wait()

    @ia.remote(durable=True, max_concurrency=1)
    class Patient:
        def __init__(self) -> None:
            self.timeouts = 0

        async def try_for(self, gate: Gate, seconds: float) -> int:
            try:
                await asyncio.wait_for(block.remote(gate), seconds)
            except TimeoutError:
                self.timeouts += 1
            return self.timeouts

        async def quick(self) -> int:
            return self.timeouts

    patient = Patient.remote()
    assert get(patient.try_for.remote(gate, 0.05)) == 1
    assert get(patient.try_for.remote(gate, 0.05)) == 2
    kill(patient)
    assert get(patient.quick.remote()) == 2
    assert len(recoveries(patient)) == 1
    gate.open()


def test_a_persist_method_that_was_interrupted_and_now_does_otherwise_is_undone(tmp_path: pathlib.Path) -> None:
    mark = tmp_path / "was here"

    @ia.remote(durable=True)
    class Moody:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        @ia.method(effect="persist")
        def act(self, mark: pathlib.Path) -> int:
            self.count += 100
            if not mark.exists():
                mark.touch()
                ia.get_runtime_context().once(int)  # is in the log when it returns
                os.kill(os.getpid(), signal.SIGKILL)
            ia.get_runtime_context().random()
            return self.count

    moody = Moody.remote()
    assert get(moody.add.remote()) == 1
    with pytest.raises(exceptions.CallAbortedError, match="could not be run again as it had begun"):
        get(moody.act.remote(mark))
    assert get(moody.add.remote()) == 2
    assert get(moody.act.remote(mark)) == 102
    kill(moody)
    assert get(moody.add.remote()) == 103


def test_a_nondeterministic_actor_is_told_from_one_that_is_not_there() -> None:
    @ia.remote(durable=True)
    class Fickle:
        def pid(self) -> int:
            return os.getpid()

    fickle = Fickle.remote()
    os.kill(get(fickle.pid.remote()), signal.SIGKILL)
    with pytest.raises(exceptions.ReplayDivergenceError, match="does not do again what it did before") as caught:
        get(fickle.pid.remote())
    assert isinstance(caught.value, exceptions.RecoveryFailedError)


class Unloadable:
    """Can be sent, and not received."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_what_has_failed_in_whatever_way_fails_the_same_way_in_a_replay() -> None:
    @ia.remote(durable=True)
    class Clumsy:
        def __init__(self) -> None:
            self.count = 0

        def add(self, _value: Any = None) -> int:
            self.count += 1
            return self.count

        def lock(self) -> Any:
            self.count += 1
            return threading.Lock()

        @ia.method(num_returns=2)
        def one_too_few(self) -> Any:
            self.count += 1
            return (1,)

        def locks(self) -> Any:
            self.count += 1
            yield 1
            yield threading.Lock()

        def odd(self) -> None:
            self.count += 1
            raise GeneratorExit("odd")

    clumsy = Clumsy.remote()
    with pytest.raises(exceptions.SerializationError):
        get(clumsy.lock.remote())
    with pytest.raises(TypeError, match="num_returns=2"):
        get(clumsy.one_too_few.remote())
    items = clumsy.locks.remote()
    assert get(next(items)) == 1
    with pytest.raises(exceptions.SerializationError):
        get(list(items))
    with pytest.raises(GeneratorExit):
        get(clumsy.odd.remote())
    with pytest.raises(exceptions.SerializationError, match="was not run"):
        get(clumsy.add.remote(Unloadable()))
    kill(clumsy)
    assert get(clumsy.add.remote()) == 5
    assert len(recoveries(clumsy)) == 1
