"""Functions in a worker: unpickled once for all who send them, and gone when nobody can call them any more."""

from __future__ import annotations

import gc
import pathlib
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from ipyactors.owner import current
from ipyactors.wire import serialize
from ipyactors.wire.head_messages import OwnerLost
from ipyactors.wire.specs import Definition, Payload
from ipyactors.wire.worker_messages import CallRaised, CallSucceeded, Define, ForgetDefinitions, RunTask
from ipyactors.worker import main_module
from ipyactors.worker.definitions import Definitions
from tests.unit.test_worker_execute import World

A, B = b"dcaller1", b"dcaller2"
FUNCTION_ID = b"f" * 16


class Captured:
    """What a function has captured; the last one that was unpickled is known."""

    last: weakref.ref[Any] | None = None

    def __reduce__(self) -> Any:
        return _arrive, ()


def _arrive() -> Captured:
    thing = Captured()
    Captured.last = weakref.ref(thing)
    return thing


def is_alive() -> bool:
    return Captured.last is not None and Captured.last() is not None


@pytest.fixture
def definition() -> Definition:
    thing = Captured()

    def function() -> str:
        return type(thing).__name__

    return Definition(FUNCTION_ID, "function", serialize.dumps(function))


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    gc.disable()
    yield World(tmp_path)
    gc.enable()
    current.call.set(None)


def call(world: World, caller: bytes, seq: int) -> Any:
    world.host.on_message(
        caller, RunTask(seq, b"t" * 16, FUNCTION_ID, "function", serialize.dumps_call((), {}, what="f"))
    )
    [answer] = world.run()
    world.box.definitions.check_invariants()
    return answer


def test_a_function_goes_with_what_it_has_captured(world: World, definition: Definition) -> None:
    world.host.on_message(A, Define(definition))
    assert isinstance(call(world, A, 1), CallSucceeded)
    assert is_alive()
    world.host.on_message(A, ForgetDefinitions((FUNCTION_ID, b"never" * 3)))
    assert is_alive(), "its finalizers do not run under the lock"
    world.session.discarded.clear()
    assert not is_alive()
    assert isinstance(call(world, A, 2), CallRaised)


def test_its_pickle_goes_as_soon_as_it_is_unpickled(world: World, definition: Definition) -> None:
    world.host.on_message(A, Define(definition))
    call(world, A, 1)
    world.host.on_message(B, Define(definition))
    assert isinstance(call(world, B, 1), CallSucceeded)
    assert world.box.definitions.get(FUNCTION_ID) is None


def test_a_function_of_two_callers_goes_with_the_last(world: World, definition: Definition) -> None:
    world.host.on_message(A, Define(definition))
    world.host.on_message(B, Define(definition))
    call(world, A, 1)
    world.host.on_message(A, ForgetDefinitions((FUNCTION_ID,)))
    assert world.session.discarded == []
    assert isinstance(call(world, B, 1), CallSucceeded)
    world.host.on_message(B, OwnerLost(A))
    assert is_alive()
    world.host.on_message(b"head", OwnerLost(B))
    world.session.discarded.clear()
    assert not is_alive()
    assert world.session.custody.watched == {A, B}


def test_a_function_that_was_forgotten_can_be_sent_again(world: World, definition: Definition) -> None:
    world.host.on_message(A, Define(definition))
    call(world, A, 1)
    world.host.on_message(A, ForgetDefinitions((FUNCTION_ID,)))
    world.host.on_message(A, Define(definition))
    assert isinstance(call(world, A, 2), CallSucceeded)


def test_a_function_whose_only_caller_dies_while_it_is_unpickled_is_not_kept() -> None:
    definitions = Definitions()
    definitions.add(A, Definition(FUNCTION_ID, "f", Payload(b"")))
    definitions.forget_caller(A)
    definitions.note_loaded(FUNCTION_ID, print)
    definitions.check_invariants()
    assert definitions.functions == {}


def test_main_knows_a_function_and_does_not_keep_it() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("class Shape: pass\ndef area(): return Shape", scope)
    main, area = sys.modules["__main__"], scope.pop("area")
    main_module.expose(area)
    try:
        assert main.area is area
        assert main.Shape is scope["Shape"]
        with pytest.raises(AttributeError, match=r"__main__.*no attribute 'volume'"):
            _ = main.volume
        del area
        assert not hasattr(main, "area")
    finally:
        del main.__getattr__  # type: ignore[attr-defined]
