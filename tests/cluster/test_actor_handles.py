"""Handles go everywhere, names lead to them, and an actor lives as long as somebody has one."""

from __future__ import annotations

from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorAlreadyExistsError, ActorNotFoundError
from tests.support.actors import Keeper, Log, get

pytestmark = pytest.mark.usefixtures("shared_runtime")


# -- handles -----------------------------------------------------------------------------------------------------------


def test_a_handle_goes_anywhere_as_argument_in_containers_and_back() -> None:
    log = Log.remote()

    @ia.remote
    def use(handle: Any, box: dict[str, list[Any]]) -> list[Any]:
        ia.get([handle.add.remote("direct"), box["logs"][0].add.remote("nested")])
        return [handle]

    [returned] = get(use.remote(log, {"logs": [log]}))
    assert returned == log
    assert get(returned.add.remote("again")) == "again"
    assert get(ia.get(ia.put({"log": log}))["log"].read.remote()) == ["direct", "nested", "again"]


def test_a_handle_in_a_closure_and_in_an_object_reaches_a_task() -> None:
    log = Log.remote()
    boxed = ia.put([log])

    @ia.remote
    def use(box: list[Any]) -> bool:
        ia.get(log.add.remote("from the closure"))
        ia.get(box[0].add.remote("from the object"))
        return box[0] == log

    assert get(use.remote(boxed))
    assert get(log.read.remote()) == ["from the closure", "from the object"]


def test_actors_hold_handles_of_actors_and_hand_them_on() -> None:
    log = Log.remote()
    keeper = Keeper.remote()
    get(keeper.keep.remote(log))
    assert get(keeper.tell.remote("told")) == "told"
    assert get(get(keeper.give.remote()).read.remote()) == ["told"]


def test_actors_create_actors_and_return_them() -> None:
    @ia.remote
    class Parent:
        def __init__(self) -> None:
            self.children = [Log.remote() for _ in range(3)]

        def get_children(self) -> list[Any]:
            return self.children

        def pids(self) -> list[int]:
            return ia.get([child.pid.remote() for child in self.children])

    parent = Parent.remote()
    children = get(parent.get_children.remote())
    assert get([child.pid.remote() for child in children]) == get(parent.pids.remote())
    assert len(set(get(parent.pids.remote()))) == 3


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_named_actor_is_found_from_everywhere() -> None:
    log = Log.options(name="the log").remote()

    @ia.remote
    def find_in_task() -> int:
        return ia.get(ia.get_actor("the log").pid.remote())

    @ia.remote
    class Finder:
        def find(self) -> int:
            return ia.get(ia.get_actor("the log").pid.remote())

    pid = get(log.pid.remote())
    assert get([find_in_task.remote(), Finder.remote().find.remote()]) == [pid, pid]
    assert ia.get_actor("the log") == log
    assert "the log" in ia.list_named_actors()
    assert "'the log'" in repr(log)


def test_a_name_is_unique_in_its_namespace() -> None:
    first = Log.options(name="unique").remote()
    with pytest.raises(ActorAlreadyExistsError, match=r"the name 'unique' already\. .*get_if_exists=True") as caught:
        Log.options(name="unique").remote()
    assert "namespace" not in str(caught.value)  # nobody has chosen one
    other = Log.options(name="unique", namespace="elsewhere").remote()
    with pytest.raises(ActorAlreadyExistsError, match=r"the name 'unique' in namespace 'elsewhere' already\. "):
        Log.options(name="unique", namespace="elsewhere").remote()
    assert get(first.pid.remote()) != get(other.pid.remote())
    assert ia.get_actor("unique", namespace="elsewhere") == other
    assert {"name": "unique", "namespace": "elsewhere"} in ia.list_named_actors(all_namespaces=True)
    with pytest.raises(ActorNotFoundError, match=r"no live actor is named 'nobody'\. "):
        ia.get_actor("nobody")
    with pytest.raises(ActorNotFoundError, match=r"no live actor is named 'nobody' in namespace 'elsewhere'\. "):
        ia.get_actor("nobody", namespace="elsewhere")


def test_get_if_exists_finds_the_first_whoever_asks() -> None:
    options = {"name": "one of a kind", "get_if_exists": True}

    @ia.remote
    def join(options: dict[str, Any]) -> Any:
        handle = Log.options(**options).remote()
        ia.get(handle.add.remote("joined"))
        return handle

    first = Log.options(**options).remote()
    again = get([join.remote(options) for _ in range(4)])
    assert all(handle == first for handle in again)
    assert get(first.read.remote()) == ["joined"] * 4
