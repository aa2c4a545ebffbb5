"""Who may run when: resources are counted, what waits says why, what can never run is refused, nesting goes on."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import Gate, Tally, until


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start a session with what is given, and end it after the test."""
    import ipyactors

    def make(**given: Any) -> Any:
        ipyactors.shutdown()
        ipyactors.init(**given)
        return ipyactors

    yield make
    ipyactors.shutdown()


def make_hold(ia: Any, gate: Gate, tally: Tally, **options: Any) -> Any:
    """Return a remote function that says that it has begun and holds its resources until the gate opens."""

    def hold() -> None:
        tally.add("begun")
        gate.wait()

    return ia.remote(**options)(hold) if options else ia.remote(hold)


def free(ia: Any, name: str) -> float:
    return float(ia.available_resources().get(name, 0.0))


# -- resources are counted ---------------------------------------------------------------------------------------


def test_what_tasks_hold_is_gone_while_they_run_and_back_after(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=4, num_gpus=1, memory=1_000_000_000, resources={"disk": 2})
    hold = make_hold(ia, gate, tally, num_cpus=1.5, num_gpus=0.25, memory=400_000_000, resources={"disk": 0.5})
    everything = {"CPU": 4.0, "GPU": 1.0, "memory": 1e9, "disk": 2.0}
    assert ia.cluster_resources() == everything
    refs = [hold.remote() for _ in range(2)]
    until(lambda: tally.lines() == ["begun"] * 2, "both run")
    assert ia.available_resources() == {"CPU": 1.0, "GPU": 0.5, "memory": 2e8, "disk": 1.0}
    assert ia.cluster_resources() == everything
    gate.open()
    ia.get(refs)
    until(lambda: ia.available_resources() == everything, "all is back")


def test_fractions_run_side_by_side_and_no_more_than_fit(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=1)
    hold = make_hold(ia, gate, tally, num_cpus=0.3)
    refs = [hold.remote() for _ in range(5)]
    until(lambda: len(tally.lines()) == 3, "three thirds run")
    until(lambda: "free now: 0.1 CPU" in ia.explain(refs[4]), "the rest is told to wait")
    assert len(tally.lines()) == 3
    gate.open()
    ia.get(refs)
    assert len(tally.lines()) == 5


def test_tasks_without_cpus_are_not_held_up_by_those_with(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=1)
    held = make_hold(ia, gate, tally).remote()

    @ia.remote(num_cpus=0)
    def light() -> int:
        return 1

    until(tally.lines, "the CPU is busy")
    assert ia.get([light.remote() for _ in range(10)]) == [1] * 10
    gate.open()
    ia.get(held)


def test_an_actor_gives_its_resources_back_when_it_ends(start: Any) -> None:
    ia = start(num_cpus=2, resources={"seat": 1})

    @ia.remote(resources={"seat": 1})
    class Passenger:
        def name(self) -> str:
            return "p"

    first = Passenger.remote()
    assert ia.get(first.name.remote()) == "p"
    assert free(ia, "seat") == 0
    second = Passenger.remote()
    waiting = second.name.remote()
    until(lambda: "needs 1 seat; free now: 0 seat" in ia.explain(second), "the second waits for the seat")
    assert "waits to be placed" in ia.explain(waiting)
    ia.kill(first)
    assert ia.get(waiting) == "p"


# -- what waits, and what never can run --------------------------------------------------------------------------


def test_what_waits_says_what_for(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=2)
    hold = make_hold(ia, gate, tally)
    running = [hold.remote() for _ in range(2)]
    until(lambda: len(tally.lines()) == 2, "both CPUs are busy")

    @ia.remote(num_cpus=2)
    def wide(*_values: Any) -> str:
        return "ran"

    waiting = wide.remote()
    dependent = wide.remote(waiting)
    until(lambda: "needs 2 CPU; free now: 0 CPU on host" in ia.explain(waiting), "the reason is known")
    assert "wide waits for a worker" in ia.explain(waiting)
    assert "(2 in all)" in ia.explain(waiting)
    third = wide.remote(running[0], waiting, dependent)
    assert ia.explain(dependent) == "wide waits for 1 of its arguments: wide #3 (waits for a worker)."
    assert ia.explain(third) == (
        "wide waits for 3 of its arguments: hold #1 (runs), wide #3 (waits for a worker) and 1 more."
    )
    assert "hold is running; no answer for " in ia.explain(running[0])
    shown = ia.describe_cluster().waiting
    assert any(words.startswith("1 task (wide #3): needs 2 CPU") for words in shown), shown
    assert "wide #4: 1 of its arguments: wide #3 (waits for a worker)" in shown
    gate.open()
    assert ia.get(dependent) == "ran"
    assert ia.explain(dependent) == "It is done: the value is there."


def test_explain_tells_how_it_failed(start: Any) -> None:
    ia = start(num_cpus=1)

    @ia.remote
    def fail() -> None:
        raise ValueError("so it goes")

    ref = fail.remote()
    ia.wait([ref])
    assert ia.explain(ref) == "It failed: ValueError: so it goes"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"num_cpus": 3}, "asks for 3 CPU"),
        ({"num_gpus": 1}, "asks for 1 CPU, 1 GPU"),
        ({"memory": 3_000_000_000}, "asks for 1 CPU, 3 GB memory"),
        ({"resources": {"disk": 0.6}}, "asks for 1 CPU, 0.6 disk"),
    ],
)
def test_what_can_never_be_placed_is_refused(start: Any, options: Any, asked: str) -> None:
    ia = start(num_cpus=2, num_gpus=0, memory=2_000_000_000, resources={"disk": 0.5})

    @ia.remote(**options)
    def impossible() -> None: ...

    @ia.remote
    def use(_value: Any) -> None: ...

    with pytest.raises(exceptions.PlacementError) as caught:
        ia.get(use.remote(impossible.remote()))
    text = str(caught.value)
    assert text.startswith(f"Task impossible can never be placed: it {asked}, ")
    assert "the machine that comes nearest has 2 CPU, 0.5 disk, 2 GB memory" in text
    assert "It was not run" in text
    assert ia.get(use.remote(1)) is None  # the session goes on


def test_an_actor_that_can_never_be_placed_fails_its_calls(start: Any) -> None:
    ia = start(num_cpus=1)

    @ia.remote(num_gpus=2)
    class Wide:
        def f(self) -> None: ...

    wide = Wide.remote()
    with pytest.raises(exceptions.PlacementError, match=r"Actor Wide .*can never be placed: it asks for 2 GPU"):
        ia.get(wide.f.remote())


# -- leases change hands -----------------------------------------------------------------------------------------


def feed_until_ready(ia: Any, ref: Any) -> None:
    """Keep ten tasks of one shape in line until ``ref`` is ready: their leases are never idle."""

    @ia.remote
    def step() -> None: ...

    line = [step.remote() for _ in range(10)]

    def is_ready_after_one_more() -> bool:
        line.append(step.remote())
        ia.get(line.pop(0))
        return bool(ia.wait([ref], timeout=0)[0])

    until(is_ready_after_one_more, "its turn")
    ia.get(line)


def test_a_lease_is_handed_over_when_another_shape_waits(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=1)
    running = make_hold(ia, gate, tally).remote()
    until(tally.lines, "the CPU is busy")

    @ia.remote(num_cpus=0.5)
    def other() -> str:
        return "had its turn"

    waiting = other.remote()
    gate.open()
    feed_until_ready(ia, waiting)
    assert ia.get(waiting) == "had its turn"
    ia.get(running)


def test_a_lease_is_handed_over_when_an_actor_waits(start: Any, gate: Gate, tally: Tally) -> None:
    ia = start(num_cpus=2)
    running = make_hold(ia, gate, tally, num_cpus=2).remote()
    until(tally.lines, "the CPUs are busy")

    @ia.remote(num_cpus=1)
    class Other:
        def ping(self) -> str:
            return "had its turn"

    other = Other.remote()
    waiting = other.ping.remote()
    gate.open()
    feed_until_ready(ia, waiting)
    assert ia.get(waiting) == "had its turn"
    ia.get(running)


def test_a_lease_is_handed_over_when_another_process_waits(start: Any) -> None:
    ia = start(num_cpus=1)

    @ia.remote
    def grandchild() -> str:
        return "had its turn"

    @ia.remote(num_cpus=0)
    def child() -> Any:
        return [grandchild.remote()]

    (waiting,) = ia.get(child.remote())
    feed_until_ready(ia, waiting)
    assert ia.get(waiting) == "had its turn"


# -- nesting -----------------------------------------------------------------------------------------------------


def test_nesting_deeper_than_the_cpus_goes_on(start: Any) -> None:
    ia = start(num_cpus=1)

    @ia.remote
    def depth(left: int) -> int:
        return 0 if left == 0 else 1 + ia.get(depth.remote(left - 1))

    @ia.remote
    def fib(n: int) -> int:
        return n if n < 2 else sum(ia.get([fib.remote(n - 1), fib.remote(n - 2)]))

    @ia.remote
    def is_even(n: int) -> bool:
        return True if n == 0 else ia.get(is_odd.remote(n - 1))

    @ia.remote
    def is_odd(n: int) -> bool:
        return False if n == 0 else ia.get(is_even.remote(n - 1))

    assert ia.get(depth.remote(8)) == 8
    assert ia.get(fib.remote(7)) == 13
    assert ia.get([is_even.remote(6), is_odd.remote(6)]) == [True, False]
    until(lambda: free(ia, "CPU") == 1, "the CPU is back")


def _by_wait(ia: Any, one: Any) -> int:
    ready, rest = ia.wait([one.remote(), one.remote()], num_returns=2)
    return len(ready) - len(rest)


def _by_completion(ia: Any, one: Any) -> int:
    return sum(ia.get(ref) for ref in ia.as_completed([one.remote(), one.remote()]))


def _by_stream(ia: Any, one: Any) -> int:
    return sum(ia.get(ref) for ref in one.options(num_returns="streaming").remote(items=2))


def _by_future(_ia: Any, one: Any) -> int:
    return sum(ref.future().result() for ref in (one.remote(), one.remote()))


def _by_await(_ia: Any, one: Any) -> int:
    async def main() -> int:
        return sum(await asyncio.gather(one.remote(), one.remote()))

    return asyncio.run(main())


def _by_threads(ia: Any, one: Any) -> int:
    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(lambda _: ia.get(one.remote()), range(2)))


@pytest.mark.parametrize("way", [_by_wait, _by_completion, _by_stream, _by_future, _by_await, _by_threads])
def test_a_task_that_waits_in_any_way_lends_its_cpu(start: Any, way: Callable[..., int]) -> None:
    ia = start(num_cpus=1)

    @ia.remote
    def one(items: int = 0) -> Any:
        return iter([1] * items) if items else 1

    @ia.remote
    def parent() -> int:
        return way(ia, one)

    assert ia.get(parent.remote(), timeout=30) == 2


def test_tasks_wider_than_what_is_left_wait_their_turn(start: Any, tmp_path: pathlib.Path) -> None:
    ia = start(num_cpus=2)
    running = Tally(tmp_path / "running")

    @ia.remote(num_cpus=2)
    def wide() -> int:
        return 2

    @ia.remote
    def narrow() -> int:
        running.add()
        return 1

    refs = [task.remote() for _ in range(10) for task in (narrow, wide, narrow)]
    assert sum(ia.get(refs)) == 40
