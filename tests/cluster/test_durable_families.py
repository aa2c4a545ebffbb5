"""Actors that a durable actor holds or has created are there for its next process; with it, for good, they end."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import LIMIT_S, until


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def _pid(ia: Any, actor: Any) -> int:
    actor_id = actor._ipyactors_client.actor_id
    return next((one.pid for one in ia.api.runtime.engine().describe_cluster().actors if one.actor_id == actor_id), 0)


def _kill(ia: Any, actor: Any) -> None:
    os.kill(_pid(ia, actor), signal.SIGKILL)


def _living(ia: Any, name: str) -> int:
    actors = ia.api.runtime.engine().describe_cluster().actors
    return sum(one.class_name == name and one.state != "dead" for one in actors)


def _make(ia: Any) -> Any:
    @ia.remote
    class Plain:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

    @ia.remote(durable=True)
    class Keeper:
        def __init__(self, *, creates: bool = False) -> None:
            self.held = Plain.remote() if creates else None

        def hold(self, handle: list[Any]) -> None:
            self.held = handle[0]

        def create(self) -> None:
            self.held = Plain.remote()

        def create_and_drop(self) -> int:
            return int(ia.get(Plain.remote().add.remote()))

        def drop(self) -> None:
            self.held = None

        def use(self) -> int:
            return int(ia.get(self.held.add.remote()))

    return Plain, Keeper


def test_a_handle_that_was_given_is_good_after_a_crash(ia: Any) -> None:
    plain_class, keeper_class = _make(ia)
    keeper, plain = keeper_class.remote(), plain_class.remote()
    ia.get(keeper.hold.remote([plain]), timeout=LIMIT_S)
    assert ia.get(plain.add.remote(), timeout=LIMIT_S) == 1
    del plain
    for count in (2, 3, 4):
        assert ia.get(keeper.use.remote(), timeout=LIMIT_S) == count
        _kill(ia, keeper)
    ia.get(keeper.checkpoint(), timeout=LIMIT_S)
    _kill(ia, keeper)
    assert ia.get(keeper.use.remote(), timeout=LIMIT_S) == 5
    ia.get(keeper.drop.remote(), timeout=LIMIT_S)
    until(lambda: _living(ia, "Plain") == 0, "the end of what nobody holds")


@pytest.mark.parametrize("where", ["constructor", "method"])
def test_an_actor_that_it_has_created_is_the_same_after_a_crash(ia: Any, where: str) -> None:
    _, keeper_class = _make(ia)
    keeper = keeper_class.remote(creates=where == "constructor")
    if where == "method":
        ia.get(keeper.create.remote(), timeout=LIMIT_S)
    for count in (1, 2, 3):
        assert ia.get(keeper.use.remote(), timeout=LIMIT_S) == count
        _kill(ia, keeper)
    assert ia.get(keeper.use.remote(), timeout=LIMIT_S) == 4
    assert _living(ia, "Plain") == 1
    ia.kill(keeper)
    until(lambda: _living(ia, "Plain") == 0, "the end of what it had created")


def test_an_actor_that_was_created_and_dropped_is_not_created_again(ia: Any) -> None:
    _, keeper_class = _make(ia)
    keeper = keeper_class.remote()
    assert [ia.get(keeper.create_and_drop.remote(), timeout=LIMIT_S) for _ in range(3)] == [1, 1, 1]
    created = sum(event.kind == "actor_created" and event.name == "Plain" for event in ia.events())
    _kill(ia, keeper)
    assert ia.get(keeper.create_and_drop.remote(), timeout=LIMIT_S) == 1
    assert sum(event.kind == "actor_created" and event.name == "Plain" for event in ia.events()) == created + 1
    until(lambda: _living(ia, "Plain") == 0, "the end of what nobody holds")


def test_what_it_had_created_ends_when_it_ends_for_good_while_it_comes_back(ia: Any) -> None:
    _, keeper_class = _make(ia)
    keeper = keeper_class.options(max_restarts=0).remote(creates=True)
    assert ia.get(keeper.use.remote(), timeout=LIMIT_S) == 1
    _kill(ia, keeper)
    with pytest.raises(exceptions.ActorDiedError):
        ia.get(keeper.use.remote(), timeout=LIMIT_S)
    until(lambda: _living(ia, "Plain") == 0, "the end of what it had created")
