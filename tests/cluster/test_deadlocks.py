"""Calls that wait for each other in a circle: one of them is told, the others go on, and nobody else hears of it."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDeadlockError, GetTimeoutError, TaskCancelledError
from tests.support.durable import get, kill
from tests.support.gates import Gate

pytestmark = pytest.mark.usefixtures("shared_runtime")


class Node:
    """Does what it is told: a plan is a list of actors, each of which is asked with the rest of it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def ask(self, *plan: Any) -> Any:
        return ia.get(plan[0].ask.remote(*plan[1:])) if plan else "asked"

    def ask_when(self, started: Gate, gate: Gate, other: Any) -> Any:
        started.open()
        gate.wait()
        return ia.get(other.note.remote("asked"))

    def note(self, what: str) -> str:
        self.done.append(what)
        return what

    def send(self, other: Any, *plan: Any) -> list[Any]:
        return [other.ask.remote(*plan)]

    def take(self, refs: list[Any], started: Gate | None = None) -> Any:
        if started is not None:
            started.open()
        return ia.get(refs)

    def call_back(self, caller: Any) -> Any:
        self.done.append("called")
        return ia.get(caller.give.remote("noted"))

    def give(self, what: str) -> str:
        return what

    def ask_and_go_on(self, other: Any, this: Any) -> str:
        """Catch the error, and change afterwards; what it had asked for is still good."""
        self.kept = other.call_back.remote(this)
        try:
            ia.get(self.kept)
        except ActorDeadlockError as error:
            self.done.append(f"told {len(error.cycle)}")
        return self.done[-1]

    def take_kept(self) -> Any:
        self.done.append(ia.get(self.kept))
        return self.done[-1]

    def ask_with_limit(self, limit_s: float, *plan: Any) -> Any:
        return ia.get(plan[0].ask.remote(*plan[1:]), timeout=limit_s)

    def look(self) -> list[str]:
        return self.done


PlainNode = ia.remote(Node)
DurableNode = ia.remote(durable=True)(Node)
both_kinds = pytest.mark.parametrize("kind", [PlainNode, DurableNode])


@ia.remote(num_cpus=0)
def ask_by_task(*plan: Any) -> Any:
    return ia.get(plan[0].ask.remote(*plan[1:]))


@both_kinds
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_a_circle_of_actors(kind: Any, length: int) -> None:
    actors = [kind.remote() for _ in range(length)]
    with pytest.raises(ActorDeadlockError) as raised:
        get(actors[0].ask.remote(*actors[1:], actors[0]))
    assert get([actor.ask.remote() for actor in actors]) == ["asked"] * length
    assert len(raised.value.cycle) == length + 1
    assert raised.value.actor_id in {actor._ipyactors_client.actor_id.hex() for actor in actors}


def test_what_is_said() -> None:
    one, other = PlainNode.options(name="one").remote(), PlainNode.options(name="other").remote()
    with pytest.raises(ActorDeadlockError) as raised:
        get(one.ask.remote(other, one))
    told = raised.value.cycle[0]
    assert sorted(raised.value.cycle) == ["ask() of Node 'one'", "ask() of Node 'one'", "ask() of Node 'other'"]
    for words in (
        f"{told} waits for ",
        "in line behind ask() of Node 'one'",
        "nothing would ever end",
        "return the ref",
    ):
        assert words in str(raised.value), str(raised.value)
    assert "return ia.get(plan[0].ask.remote(*plan[1:])) if plan" in raised.value.remote_traceback


@both_kinds
def test_two_chains_that_cross(kind: Any, tmp_path: pathlib.Path) -> None:
    """Each waits for a call that stands in line behind the other, and was not made by it."""
    one, other, gate = kind.remote(), kind.remote(), Gate(tmp_path / "gate")
    started = [Gate(tmp_path / name) for name in ("one", "other")]
    refs = [one.ask_when.remote(started[0], gate, other), other.ask_when.remote(started[1], gate, one)]
    for each in started:
        each.wait()
    gate.open()
    ended = [outcome(ref) for ref in refs]
    assert sorted(map(str, ended)) == sorted(["asked", str(ActorDeadlockError)])
    assert get([one.look.remote(), other.look.remote()]) == [["asked"], ["asked"]]


def outcome(ref: Any) -> Any:
    """Return what a reference refers to, or the kind of its error."""
    try:
        return get(ref)
    except ActorDeadlockError:
        return ActorDeadlockError


@both_kinds
def test_by_way_of_a_task(kind: Any) -> None:
    @ia.remote
    class Caller:
        def call(self, actor: Any) -> Any:
            return ia.get(ask_by_task.remote(actor, ia.get_runtime_context().current_actor))

        def ask(self) -> str:
            return "asked"

    caller, actor = Caller.remote(), kind.remote()
    with pytest.raises(ActorDeadlockError) as raised:
        get(caller.call.remote(actor))
    assert "task ask_by_task" in str(raised.value)
    assert get([caller.ask.remote(), actor.ask.remote()]) == ["asked", "asked"]


@both_kinds
def test_by_way_of_a_reference_of_the_drivers(kind: Any, tmp_path: pathlib.Path) -> None:
    """It waits for a call that the driver has made, and that one calls it."""
    one, other, gate = kind.remote(), kind.remote(), Gate(tmp_path / "gate")
    started = [Gate(tmp_path / name) for name in ("one", "other")]
    ref = other.ask_when.remote(started[1], gate, one)
    taking = one.take.remote([ref], started[0])
    for each in started:
        each.wait()
    gate.open()
    assert outcome(taking) is ActorDeadlockError
    assert outcome(ref) in ("asked", ActorDeadlockError)
    assert get(one.look.remote()) == ["asked"]


def test_an_argument_that_cannot_be_made() -> None:
    @ia.remote
    class Maker:
        def run(self, other: Any) -> Any:
            later = ia.get_runtime_context().current_actor.value.remote()
            return ia.get(other.take.remote(later))

        def value(self) -> int:
            return 1

    with pytest.raises(ActorDeadlockError):
        get(Maker.remote().run.remote(PlainNode.remote()))


def test_threads() -> None:
    """With room beside others nothing is in line; but a thread may wait for itself, by way of one that waits for it."""
    many = ia.remote(max_concurrency=2)(Node)
    one, other = many.remote(), PlainNode.remote()
    assert get(one.ask.remote(other, one)) == "asked"
    with pytest.raises(ActorDeadlockError):
        get(other.ask.remote(one, other))
    assert get([one.ask.remote(), other.ask.remote()]) == ["asked", "asked"]


class AsyncNode:
    def __init__(self) -> None:
        self.done: list[str] = []

    async def ask(self, *plan: Any) -> Any:
        return await plan[0].ask.remote(*plan[1:]) if plan else "asked"

    async def ask_blocking(self, *plan: Any) -> Any:
        return ia.get(plan[0].ask.remote(*plan[1:]))

    async def ask_with_limit(self, limit_s: float, *plan: Any) -> Any:
        return await asyncio.wait_for(plan[0].ask.remote(*plan[1:]), limit_s)


@pytest.mark.parametrize("options", [{"max_concurrency": 1}, {"durable": True, "max_concurrency": 1}])
def test_coroutines_one_at_a_time(options: dict[str, Any]) -> None:
    kind = ia.remote(**options)(AsyncNode)
    one, other = kind.remote(), kind.remote()
    with pytest.raises(ActorDeadlockError):
        get(one.ask.remote(other, one))
    with pytest.raises(ActorDeadlockError):
        get(one.ask.remote(one))
    assert get([one.ask.remote(), other.ask.remote()]) == ["asked", "asked"]


def test_coroutines_side_by_side() -> None:
    kind = ia.remote(max_concurrency=10)(AsyncNode)
    one, other = kind.remote(), PlainNode.remote()
    assert get(one.ask.remote(other, one)) == "asked"
    with pytest.raises(ActorDeadlockError):  # get() blocks the one thread that runs all of them
        get(one.ask_blocking.remote(other, one))
    assert get(one.ask.remote()) == "asked"


@both_kinds
def test_a_limit_of_time_ends_a_wait_as_always(kind: Any) -> None:
    one, other = kind.remote(), kind.remote()
    with pytest.raises(GetTimeoutError):
        get(one.ask_with_limit.remote(0.3, other, one))
    assert get([one.ask.remote(), other.ask.remote()]) == ["asked", "asked"]


def test_a_limit_of_time_of_a_coroutine_ends_a_wait_as_always() -> None:
    one, other = ia.remote(max_concurrency=1)(AsyncNode).remote(), PlainNode.remote()
    with pytest.raises(TimeoutError):
        get(one.ask_with_limit.remote(0.3, other, one))
    assert get(one.ask.remote()) == "asked"


@both_kinds
def test_whoever_does_not_wait_is_not_told(kind: Any) -> None:
    """It calls another one that waits for it, and does not wait itself."""
    one, other = kind.remote(), kind.remote()
    (ref,) = get(one.send.remote(other, one))
    assert get(ref) == "asked"


def test_a_long_wait_for_what_ends_is_no_circle(tmp_path: pathlib.Path) -> None:
    """All wait for one that takes its time, some of them in line, and none of them for itself."""
    slow, gate = PlainNode.remote(), Gate(tmp_path / "gate")
    started = Gate(tmp_path / "started")
    other = PlainNode.remote()
    first = slow.ask_when.remote(started, gate, other)
    started.wait()
    actors = [PlainNode.remote() for _ in range(3)]
    refs = [actor.ask.remote(slow) for actor in actors]
    refs += [actors[0].ask.remote(actors[1], slow)]
    with pytest.raises(GetTimeoutError):
        ia.get(refs, timeout=2.5)
    gate.open()
    assert get(refs) == ["asked"] * 4
    assert get(first) == "asked"


def test_a_cancelled_call_that_was_in_line_ends_the_wait(tmp_path: pathlib.Path) -> None:
    """The circle is no more when the call in line is gone, however it went."""
    one, other = PlainNode.remote(), PlainNode.remote()
    started, gate = Gate(tmp_path / "started"), Gate(tmp_path / "gate")
    blocking = one.ask_when.remote(started, gate, other)
    started.wait()
    in_line = one.ask.remote()
    waiting = other.take.remote([in_line])
    ia.cancel(in_line)
    with pytest.raises(TaskCancelledError):
        get(waiting)
    gate.open()
    assert get(blocking) == "asked"


# -- durable actors ----------------------------------------------------------------------------------------------


def test_a_replay_is_told_at_the_same_place() -> None:
    """It catches the error and changes; its replays come to the same, and nothing is done twice."""
    actors = [DurableNode.remote(), DurableNode.remote()]
    get([actor.look.remote() for actor in actors])
    other, one = sorted(actors, key=lambda actor: actor._ipyactors_client.worker_id)  # the greater one is told
    assert get(one.ask_and_go_on.remote(other, one)) == "told 3"
    kill(one)
    assert get(one.look.remote()) == ["told 3"]
    assert get(other.look.remote()) == ["called"]  # what it asks of the one is not in line behind what follows
    assert get(one.take_kept.remote()) == "noted"
    kill(one)
    kill(other)
    assert get(one.take_kept.remote()) == "noted"
    assert get(one.look.remote()) == ["told 3", "noted", "noted"]
    assert get(other.look.remote()) == ["called"]


def test_a_circle_that_is_there_again_after_a_crash(tmp_path: pathlib.Path) -> None:
    """The process is killed while the calls wait for each other, or after they were told: they are told, once."""
    one, other, gate = DurableNode.remote(), DurableNode.remote(), Gate(tmp_path / "gate")
    started = [Gate(tmp_path / name) for name in ("one", "other")]
    refs = [one.ask_when.remote(started[0], gate, other), other.ask_when.remote(started[1], gate, one)]
    for each in started:
        each.wait()
    gate.open()
    kill(one)
    assert sorted(map(str, map(outcome, refs))) == sorted(["asked", str(ActorDeadlockError)])
    kill(other)
    assert get([one.look.remote(), other.look.remote()]) == [["asked"], ["asked"]]


@pytest.mark.parametrize("make", [lambda: PlainNode.remote(), lambda: DurableNode.remote()])
def test_many_circles_at_once(make: Callable[[], Any]) -> None:
    actors = [make() for _ in range(4)]
    refs = [actors[n].ask.remote(actors[(n + k) % 4], actors[n]) for n in range(4) for k in (1, 2, 3)]
    outcomes = [outcome(ref) for ref in refs]
    assert ActorDeadlockError in outcomes
    assert get([actor.ask.remote() for actor in actors]) == ["asked"] * 4
