"""Actors that nothing happens to: order of calls, classes, handles, names, what they tell about themselves."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import (
    ActorAlreadyExistsError,
    ActorNotFoundError,
    DirectCallError,
    OptionError,
    PendingCallsLimitError,
    TaskError,
)

pytestmark = pytest.mark.usefixtures("shared_runtime")

#: No answer takes longer than this, on however busy a machine.
PATIENCE_S = 60


@ia.remote
class Log:
    """Remembers what it was told, in the order in which it was told."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def add(self, entry: Any) -> Any:
        self.entries.append(entry)
        return entry

    def read(self) -> list[Any]:
        return self.entries

    def pid(self) -> int:
        return os.getpid()


@ia.remote
class Keeper:
    """Holds a handle in its state."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def keep(self, held: Any) -> None:
        self.held = held

    def give(self) -> Any:
        return self.held

    def tell(self, entry: Any) -> Any:
        return ia.get(self.held.add.remote(entry))


def get(refs: Any) -> Any:
    return ia.get(refs, timeout=PATIENCE_S)


# -- one process each, calls in order ----------------------------------------------------------------------------------


def test_each_actor_has_a_process_of_its_own() -> None:
    first, second = Log.remote(), Log.remote()
    pids = get([first.pid.remote(), second.pid.remote(), first.pid.remote()])
    assert pids[0] == pids[2]
    assert len({*pids, os.getpid()}) == 3


def test_thousands_of_calls_run_in_the_order_in_which_they_were_made() -> None:
    log = Log.remote()
    refs = [log.add.remote(number) for number in range(6000)]
    assert get(refs) == list(range(6000))
    assert get(log.read.remote()) == list(range(6000))


def test_a_call_that_waits_for_an_argument_keeps_those_behind_it_waiting(tmp_path: pathlib.Path) -> None:
    @ia.remote
    def when_there(path: pathlib.Path, value: str) -> str:
        while not path.exists():
            pass
        return value

    log, flag = Log.remote(), tmp_path / "go"
    refs = [log.add.remote("first"), log.add.remote(when_there.remote(flag, "late")), log.add.remote("last")]
    assert get(refs[0]) == "first"
    assert "waits for 1 of its arguments" in ia.explain(refs[1])
    assert ia.wait(refs[1:], timeout=0) == ([], refs[1:])
    flag.touch()
    assert get(refs) == ["first", "late", "last"]
    assert get(log.read.remote()) == ["first", "late", "last"]


def test_results_of_calls_are_arguments_of_later_ones_in_long_chains() -> None:
    log = Log.remote()
    ref = log.add.remote(0)
    for _ in range(500):
        ref = log.add.remote(ref)
    other = Log.remote()
    copies = [other.add.remote(ref) for _ in range(100)]
    assert get(copies) == [0] * 100
    assert len(get(log.read.remote())) == 501


def test_calls_of_several_threads_and_processes_keep_each_callers_order() -> None:
    log = Log.remote()

    @ia.remote
    def tell(who: str) -> None:
        ia.get([log.add.remote((who, number)) for number in range(300)])

    def tell_from_thread(who: str) -> None:
        ia.get([log.add.remote((who, number)) for number in range(300)])

    threads = [threading.Thread(target=tell_from_thread, args=(f"thread {number}",)) for number in range(3)]
    refs = [tell.remote(f"task {number}") for number in range(2)]
    for thread in threads:
        thread.start()
    get(refs)
    for thread in threads:
        thread.join(PATIENCE_S)
    entries = get(log.read.remote())
    assert len(entries) == 5 * 300
    for who in {who for who, _ in entries}:
        assert [number for name, number in entries if name == who] == list(range(300)), who


def test_a_failed_call_does_not_disturb_its_neighbours() -> None:
    log = Log.remote()
    before, bad, after = log.add.remote(1), log.__ray_call__.remote(lambda _self: 1 // 0), log.add.remote(2)
    with pytest.raises(ZeroDivisionError) as caught:
        get(bad)
    assert isinstance(caught.value, TaskError)
    assert get([before, after]) == [1, 2]


# -- classes -----------------------------------------------------------------------------------------------------------


class Base:
    kind = "base"

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def describe(self) -> str:
        return f"{self.kind} {self.value} {self.doubled}"

    @property
    def doubled(self) -> int:
        return 2 * self.value

    @staticmethod
    def add(left: int, right: int) -> int:
        return left + right

    @classmethod
    def name_of_kind(cls) -> str:
        return f"{cls.__name__}:{cls.kind}"


@ia.remote
class Derived(Base):
    kind = "derived"

    def __init__(self, start: int, *, extra: int = 0) -> None:
        super().__init__(start + extra)

    def describe(self) -> str:
        return "a " + super().describe()

    @ia.method(num_returns=2)
    def halves(self) -> tuple[int, int]:
        return self.value // 2, self.value - self.value // 2

    @ia.method(num_returns=0)
    def silent(self) -> str:
        self.value += 1
        return "nobody sees this"


def test_inheritance_attributes_properties_static_and_class_methods() -> None:
    actor = Derived.remote(3, extra=1)
    assert get(actor.describe.remote()) == "a derived 4 8"
    assert get(actor.add.remote(2, right=3)) == 5
    assert get(actor.name_of_kind.remote()) == "Derived:derived"
    assert Derived.kind == "derived"

    @ia.remote
    class Further(Derived):
        kind = "further"

    assert get(Further.remote(1).describe.remote()) == "a further 1 2"


def test_a_method_returns_as_many_references_as_it_says() -> None:
    actor = Derived.remote(5)
    assert get(actor.halves.remote()) == [2, 3]
    assert get(actor.halves.options(num_returns=1).remote()) == (2, 3)
    assert actor.silent.remote() is None
    assert get(actor.describe.remote()) == "a derived 6 12"


def test_an_attribute_of_the_class_that_is_changed_there_is_the_actors_own() -> None:
    @ia.remote
    class Counting:
        total = 0

        def count(self) -> int:
            type(self).total += 1
            return type(self).total

    first, second = Counting.remote(), Counting.remote()
    assert get([first.count.remote(), first.count.remote(), second.count.remote()]) == [1, 2, 1]
    assert Counting.total == 0


def test_mistakes_are_told_before_anything_is_sent() -> None:
    log = Log.remote()
    with pytest.raises(DirectCallError, match=r"use add\.remote"):
        log.add(1)
    with pytest.raises(DirectCallError, match=r"use Log\.remote"):
        Log()
    with pytest.raises(AttributeError, match=r"class Log has no method 'red'. Did you mean 'read'"):
        log.red.remote()
    with pytest.raises(TypeError, match="add"):
        log.add.remote()
    with pytest.raises(TypeError, match="__init__"):
        Log.remote(1)
    with pytest.raises(OptionError, match="max_restarts"):
        Log.options(max_restarts=-2)
    assert get(log.read.remote()) == []


def test_a_redefined_class_leaves_live_actors_as_they_are() -> None:
    def define(version: int) -> Any:
        @ia.remote
        class Versioned:
            def version(self) -> int:
                return version

        return Versioned

    old = define(1).remote()
    assert get(old.version.remote()) == 1
    new = define(2).remote()
    assert get([old.version.remote(), new.version.remote()]) == [1, 2]


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
    with pytest.raises(ActorAlreadyExistsError, match=r"'unique' in namespace .*get_if_exists=True"):
        Log.options(name="unique").remote()
    other = Log.options(name="unique", namespace="elsewhere").remote()
    assert get(first.pid.remote()) != get(other.pid.remote())
    assert ia.get_actor("unique", namespace="elsewhere") == other
    assert {"name": "unique", "namespace": "elsewhere"} in ia.list_named_actors(all_namespaces=True)
    with pytest.raises(ActorNotFoundError, match="no live actor is named 'nobody'"):
        ia.get_actor("nobody")


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


# -- limits and looks --------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file that calls wait for; opened at the latest when the test ends."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def test_a_call_above_max_pending_calls_is_refused_and_the_others_are_answered(gate: pathlib.Path) -> None:
    @ia.remote(max_pending_calls=3)
    class Slow:
        def wait(self, path: pathlib.Path) -> str:
            while not path.exists():
                pass
            return "done"

    slow = Slow.remote()
    refs = [slow.wait.remote(gate) for _ in range(3)]
    with pytest.raises(PendingCallsLimitError, match="3 unanswered calls.*max_pending_calls=3"):
        slow.wait.remote(gate)
    gate.touch()
    assert get(refs) == ["done"] * 3
    assert get(slow.wait.remote(gate)) == "done"


def test_an_actor_knows_itself() -> None:
    @ia.remote
    class Curious:
        def look(self) -> dict[str, Any]:
            context = ia.get_runtime_context()
            return {
                "actor": context.get_actor_id(),
                "name": context.get_actor_name(),
                "task": context.get_task_name(),
                "incarnation": context.get_incarnation(),
                "restarted": context.was_current_actor_reconstructed,
                "namespace": context.namespace,
                "worker": context.get_worker_id(),
                "itself": context.current_actor,
            }

    @ia.remote
    def look() -> tuple[Any, ...]:
        context = ia.get_runtime_context()
        return context.get_actor_id(), context.get_task_name(), context.get_task_id(), context.attempt

    actor = Curious.options(name="curious").remote()
    seen = get(actor.look.remote())
    [row] = [row for row in ia.list_actors() if row["actor_id"] == seen["actor"]]
    assert (row["class_name"], row["name"], row["state"], row["restarts_left"]) == ("Curious", "curious", "alive", 0)
    assert seen["name"] == "curious"
    assert seen["task"] == "Curious.look"
    assert (seen["incarnation"], seen["restarted"]) == (0, False)
    here = ia.get_runtime_context()
    assert seen["namespace"] == here.namespace == row["namespace"]
    assert seen["itself"] == actor
    assert (here.get_actor_id(), here.get_task_id(), here.get_incarnation()) == (None, None, 0)
    assert seen["worker"] != here.get_worker_id()
    ref = look.remote()
    actor_id, name, task_id, attempt = get(ref)
    assert (actor_id, task_id, attempt) == (None, ref.task_id(), 0)
    assert name.endswith("look")


def test_a_running_actor_and_a_waiting_call_are_explained(gate: pathlib.Path) -> None:
    @ia.remote
    class Busy:
        def wait(self, path: pathlib.Path) -> None:
            path.with_suffix(".started").touch()
            while not path.exists():
                pass

    busy = Busy.options(name="busy").remote()
    assert get(busy.__ray_ready__.remote()) is True
    running, behind = busy.wait.remote(gate), busy.wait.remote(gate)
    while not gate.with_suffix(".started").exists():
        pass
    text = ia.explain(busy)
    assert "Actor Busy 'busy' is alive (incarnation 0" in text
    assert "2 are with it" in text
    assert "Busy.wait is at the actor and runs" in ia.explain(running)
    assert "behind 1 of this process's calls" in ia.explain(behind)
    gate.touch()
    get([running, behind])
    assert ia.explain(running) == "It is done: the value is there."
