"""Code of the caller's that runs inside an actor, and what an actor is seen to have."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.durable.record import Call
from tests.support.durable import get, kill, records

pytestmark = pytest.mark.usefixtures("shared_runtime")


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


class Cached:
    @functools.cached_property
    def words(self) -> list[str]:
        return ["a", "b"]

    def first(self) -> str:
        return self.words[0]


Plain = ia.remote(Counter)
Durable = ia.remote(durable=True)(Counter)


def bump(self: Any, by: int, *, twice: bool = False) -> int:
    self.value += by * (2 if twice else 1)
    return int(self.value)


async def bump_later(self: Any) -> int:
    await asyncio.sleep(0)
    self.value += 1
    return int(self.value)


@pytest.mark.parametrize("cls", [Plain, Durable])
def test_a_function_runs_in_its_turn_in_the_actors_process(cls: Any) -> None:
    counter = cls.remote()
    references = [
        counter.add.remote(1),
        ia.on(counter, bump, 10, twice=True),
        counter.add.remote(1),
        ia.on(counter, bump_later),
        ia.on(counter, lambda self: self.value, readonly=True),
    ]
    assert get(references) == [1, 21, 22, 23, 23]
    assert get(ia.on(counter, lambda _: os.getpid(), readonly=True)) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        get(ia.on(counter, lambda _: 1 // 0))
    assert get(counter.add.remote(0)) == 23


def test_of_a_durable_actor_it_is_recorded_unless_it_is_readonly() -> None:
    counter = Durable.remote()
    by = 5
    get(ia.on(counter, lambda self: bump(self, by)))
    get(ia.on(counter, lambda self: self.value, readonly=True))
    assert len(records(counter, Call)) == 1
    kill(counter)
    assert get(counter.add.remote(0)) == 5


def set_seven(self: Any) -> None:
    self.value = 7


async def set_seven_later(self: Any) -> None:
    self.value = 7


def set_seven_and_fail(self: Any) -> None:
    self.value = 7
    raise ValueError("later")


@pytest.mark.parametrize("change", [set_seven, set_seven_later, set_seven_and_fail])
def test_what_a_readonly_function_changes_of_a_durable_actor_is_put_back_and_told(change: Any) -> None:
    counter = Durable.remote()
    assert get(counter.add.remote(1)) == 1
    with pytest.raises(ia.exceptions.CallAbortedError, match=r"readonly.*changed .*value was 1 and became 7.*again as"):
        get(ia.on(counter, change, readonly=True))
    assert get(counter.add.remote(1)) == 2
    kill(counter)
    assert get(counter.add.remote(1)) == 3


def test_a_readonly_function_may_raise_and_fill_a_cache() -> None:
    cached = ia.remote(durable=True)(Cached).remote()
    assert get(ia.on(cached, lambda self: len(self.words), readonly=True)) == 2
    with pytest.raises(ZeroDivisionError):
        get(ia.on(cached, lambda _: 1 // 0, readonly=True))
    assert get(cached.first.remote()) == "a"


def test_all_that_take_an_actor_take_its_name() -> None:
    counter = Durable.options(name="by name").remote()
    assert get(ia.on("by name", bump, 2)) == 2
    made = get(ia.checkpoint("by name"))
    assert made in [one.checkpoint_id for one in ia.list_checkpoints("by name")]
    get(counter.add.remote(5))
    assert get(ia.restore("by name", made)) == 1
    assert get(counter.add.remote(0)) == 2
    ia.upgrade("by name", Durable)
    assert ia.explain("by name") == ia.explain(counter)
    assert [one.path for one in ia.logs("by name")] == [one.path for one in ia.logs(counter)]
    ia.kill("by name")
    with pytest.raises(ia.exceptions.ActorError):
        get(counter.add.remote(1))
    with pytest.raises(ia.exceptions.ActorNotFoundError, match="nobody"):
        ia.kill("nobody")


def test_what_it_takes_is_checked() -> None:
    counter = Plain.remote()
    with pytest.raises(TypeError, match="on takes a function"):
        ia.on(counter, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an actor's handle or name, not int"):
        ia.on(3, bump)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes True or False"):
        ia.on(counter, bump, readonly=1)  # type: ignore[arg-type]


class Guarded:
    """Whoever runs its code is caught at it."""

    def __init__(self) -> None:
        self.name, self.password, self.lock = "x" * 1000, "hush", threading.Lock()
        self.many = {f"attribute_{index}": index for index in range(100)}
        self.value = self

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise AssertionError("its code was run")
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        raise AssertionError("its code was run")


def test_an_actor_is_looked_at_without_running_its_code() -> None:
    guarded = ia.remote(Guarded).remote()
    report = ia.describe_actor(guarded, state=True)
    told = dict(report.attributes)
    assert told["name"].startswith("'xxx")
    assert len(told["name"]) <= 200
    assert "hush" not in repr(report)
    assert set(told) == {"name", "password", "lock", "many", "value"}
    assert report.calls == {"answered": 0, "failed": 0, "sent again": 0}


def test_a_handle_that_is_got_after_an_upgrade_knows_the_new_class() -> None:
    counter = Durable.options(name="upgraded").remote()
    for number in range(20):
        methods = {f"method_{number}": lambda self: self.value}
        ia.upgrade(counter, ia.remote(durable=True)(type("Counter", (Counter,), methods)))
        assert hasattr(ia.get_actor("upgraded"), f"method_{number}")


def test_calls_by_functions_of_the_package_have_their_names() -> None:
    counter = Durable.remote()
    checkpoint_id = get(counter.checkpoint())
    back = ia.restore(counter, checkpoint_id)
    assert repr(back).startswith("ObjectRef(Counter.restore #")
    get(back)
    failed = ia.on(counter, lambda _self: os._exit(3))
    assert repr(failed).startswith("ObjectRef(Counter.on #")
    with pytest.raises(ia.exceptions.CallAbortedError, match=r"while Counter\.on ran"):
        get(failed)
