"""Actors that nothing happens to: order of calls, classes, limits, what they tell about themselves."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import DirectCallError, OptionError, PendingCallsLimitError, TaskError
from tests.support.actors import PATIENCE_S, Log, get

pytestmark = pytest.mark.usefixtures("shared_runtime")

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
    with pytest.raises(PendingCallsLimitError, match=r"3 unanswered calls.*max_pending_calls=3"):
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
    assert "2 with it" in text
    assert "Busy.wait is at the actor and runs" in ia.explain(running)
    assert "behind 1 of this process's calls" in ia.explain(behind)
    gate.touch()
    get([running, behind])
    assert ia.explain(running) == "It is done: the value is there."
