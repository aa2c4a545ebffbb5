"""Durable actors: one word, and each call takes effect once, in one order, through any number of crashes."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ipyactors as ia
from ipyactors.exceptions import (
    ActorDiedError,
    CallAbortedError,
    CallOutcomeUnknownError,
    GetTimeoutError,
    TaskCancelledError,
)
from tests.support.durable import Killer, get, kill, pid_of
from tests.support.gates import Gate, Tally, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class Ledger:
    """Remembers what it was told; what it returns is the position."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)

    def add(self, entry: Any) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def read(self) -> list[Any]:
        return self.entries

    def add_and_die_once(self, entry: Any, tally: Tally) -> int:
        self.entries.append(entry)
        if tally.add() == 1:
            os.kill(os.getpid(), 9)
        return len(self.entries)

    def add_and_die(self, entry: Any, tally: Tally) -> None:
        self.entries.append(entry)
        tally.add()
        os.kill(os.getpid(), 9)

    def add_and_raise(self, entry: Any) -> None:
        self.entries.append(entry)
        raise LookupError(f"no {entry} ({object()!r})")

    def add_and_wait(self, entry: Any, gate: Gate, tally: Tally) -> int:
        self.entries.append(entry)
        tally.add()
        gate.wait()
        return len(self.entries)

    def add_sum(self, array: Any) -> float:
        self.entries.append(float(array.sum()))
        return self.entries[-1]

    def say(self, text: str) -> None:
        print(text)

    def leave(self) -> None:
        from ipyactors.actor import exit_actor

        exit_actor()


@ia.remote
class Plain:
    def add(self, ledger: Any, entry: Any) -> Any:
        return ia.get(ledger.add.remote(entry))


@ia.remote(max_retries=10)
def add_from_task(ledger: Any, entry: Any) -> Any:
    return ia.get(ledger.add.remote(entry))


@pytest.mark.parametrize("level", [True, "host"])
def test_kills_at_random_under_load_from_threads_tasks_and_actors(level: Any) -> None:
    """Each entry once, at the position that its caller was told; the calls of one caller in its order."""
    ledger = Ledger.options(durable=level).remote()
    plain = Plain.remote()
    told: dict[Any, int] = {}

    def load(who: int) -> None:
        refs = [ledger.add.remote((who, n)) for n in range(400)]
        told.update(zip([(who, n) for n in range(400)], get(refs), strict=True))

    with Killer(ledger, seed=1) as killer, ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(load, who) for who in range(3)]
        tasks = {("task", n): add_from_task.remote(ledger, ("task", n)) for n in range(25)}
        calls = {("actor", n): plain.add.remote(ledger, ("actor", n)) for n in range(25)}
        for future in futures:
            future.result()
        killer.wait_for_kills(5)
        for name, ref in (tasks | calls).items():
            told[name] = get(ref)
    kill(ledger)
    entries = get(ledger.read.remote())
    assert {entry: position for position, entry in enumerate(entries, 1)} == told
    assert len(entries) == 3 * 400 + 50
    for who in (*range(3), "actor"):
        mine = [n for name, n in entries if name == who]
        assert mine == sorted(mine)


def test_an_exception_keeps_what_the_method_had_changed_and_stays_the_same(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.remote()
    with pytest.raises(LookupError, match=r"no 1 \(<object"):
        get(ledger.add_and_raise.remote(1))
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    waiting = ledger.add_and_wait.remote(2, gate, tally)
    raising = ledger.add_and_raise.remote(3)
    until(tally.lines, "the call runs")
    kill(ledger)
    gate.open()
    assert get(waiting) == 2
    with pytest.raises(LookupError, match="no 3"):
        get(raising)
    kill(ledger)
    assert get(ledger.read.remote()) == [1, 2, 3]


def test_a_call_that_was_interrupted_runs_again_from_the_state_before_it(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.remote("first")
    assert get(ledger.add_and_die_once.remote("second", Tally(tmp_path / "tally"))) == 2
    assert get(ledger.read.remote()) == ["first", "second"]
    assert len(Tally(tmp_path / "tally").lines()) == 2


def test_a_replay_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger.remote()
    get([ledger.say.remote(f"line {n}") for n in range(20)])
    for _ in range(2):
        kill(ledger)
        get(ledger.say.remote("another line"))
    shown = until(lambda: (text := _seen(capfd)).count("another line") >= 2 and text, "the last line")
    assert [shown.count(f"line {n}\n") for n in range(20)] == [1] * 20
    assert shown.count("another line") == 2


_shown: list[str] = []


def _seen(capfd: pytest.CaptureFixture[str]) -> str:
    out, err = capfd.readouterr()
    _shown.append(out + err)
    return "".join(_shown)


def test_a_get_that_gives_up_loses_nothing(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    ref = ledger.add_and_wait.remote("a", gate, tally)
    until(tally.lines, "the call runs")
    with pytest.raises(GetTimeoutError):
        ia.get(ref, timeout=0.01)
    kill(ledger)
    with pytest.raises(GetTimeoutError):
        ia.get(ref, timeout=0.01)
    gate.open()
    assert get(ref) == 1


# -- cancelling ------------------------------------------------------------------------------------------------


def test_what_was_cancelled_before_it_ran_never_runs(tmp_path: pathlib.Path) -> None:
    """Whether it waits in the log, behind the log, or was sent to a process that is gone."""
    ledger = Ledger.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    running = ledger.add_and_wait.remote("runs", gate, tally)
    until(tally.lines, "the call runs")
    waiting = [ledger.add.remote(n) for n in range(300)]
    ia.cancel(waiting[10])
    kill(ledger)
    ia.cancel(waiting[20])
    pid_of(ledger)
    ia.cancel(waiting[30])
    until(lambda: len(tally.lines()) == 2, "it runs again")
    ia.cancel(waiting[40])
    kill(ledger)
    gate.open()
    assert get(running) == 1
    for n in (10, 20, 30, 40):
        with pytest.raises(TaskCancelledError, match="It was not run"):
            get(waiting[n])
    others = [n for n in range(300) if n not in (10, 20, 30, 40)]
    assert get([waiting[n] for n in others]) == list(range(2, 298))
    kill(ledger)
    assert get(ledger.read.remote()) == ["runs", *others]


def test_cancelling_while_the_actor_comes_back_is_told_truthfully() -> None:
    """A call that is in the log may run there, or may have run; who cancels it must not hear that it was not run."""
    ledger = Ledger.remote()
    for round_ in range(6):
        refs = {(round_, n): ledger.add.remote((round_, n)) for n in range(100)}
        get(refs[round_, 5])
        kill(ledger)
        for n in range(0, 100, 3):
            ia.cancel(refs[round_, n])
        not_run = set()
        for name, ref in refs.items():
            try:
                get(ref)
            except TaskCancelledError:
                not_run.add(name)
        kill(ledger)
        entries = [tuple(entry) for entry in get(ledger.read.remote())]
        assert not not_run & set(entries), "it was not to run"
        assert sorted(refs.keys() - not_run) == sorted(entry for entry in entries if entry[0] == round_)


def test_a_call_that_runs_is_not_stopped_and_says_what_it_did(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    running = ledger.add_and_wait.remote("a", gate, tally)
    until(tally.lines, "the call runs")
    ia.cancel(running)
    kill(ledger)
    gate.open()
    assert get(running) == 1
    assert get(ledger.read.remote()) == ["a"]


# -- calls that end the process ------------------------------------------------------------------------------------


def test_a_call_that_ends_every_process_is_given_up_and_the_queue_goes_on(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.options(max_task_retries=2).remote("before")
    tally = Tally(tmp_path / "tally")
    poison = ledger.add_and_die.remote("poison", tally)
    behind = [ledger.add.remote(n) for n in range(10)]
    with pytest.raises(CallAbortedError) as caught:
        get(poison)
    words = str(caught.value)
    assert (
        "the actor's process ended 3 times while Ledger.add_and_die ran, and max_task_retries=2 allows 2; "
        "the last time it was killed by SIGKILL"
    ) in words
    assert "It had no effect on the actor and will have none" in words
    assert caught.value.lsn == 1
    assert len(tally.lines()) == 3
    assert get(behind) == list(range(2, 12))
    kill(ledger)
    assert get(ledger.read.remote()) == ["before", *range(10)]


def test_a_call_given_up_that_had_called_others_says_that_these_may_have_run(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True, max_task_retries=1)
    class Outer:
        def __init__(self) -> None:
            self.count = 0

        def tell(self, other: Any) -> None:
            self.count += 1
            ia.get(other.add.remote("from outer"))
            os.kill(os.getpid(), 9)

        def read(self) -> int:
            return self.count

    ledger, outer = Ledger.remote(), Outer.remote()
    with pytest.raises(CallAbortedError) as caught:
        get(outer.tell.remote(ledger))
    assert "calls that it had made to others may have taken effect" in str(caught.value)
    assert get(outer.read.remote()) == 0
    assert get(ledger.read.remote()) == ["from outer"], "once, however often its caller has tried"


def test_an_actor_that_never_ends_a_call_is_given_up_with_its_log_kept(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.options(max_task_retries=-1).remote()
    tally = Tally(tmp_path / "tally")
    poison = ledger.add_and_die.remote("poison", tally)
    behind = ledger.add.remote(1)
    with pytest.raises(CallOutcomeUnknownError) as caught:
        get(poison)
    assert "given up after 5 restarts in 60 s in which it never ended a call; its log is kept" in str(caught.value)
    with pytest.raises((ActorDiedError, CallOutcomeUnknownError)):
        get(behind)
    assert len(tally.lines()) == 6


def test_killed_with_a_restart(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    waiting = ledger.add_and_wait.remote("a", gate, tally)
    behind = ledger.add.remote("b")
    until(tally.lines, "the call runs")
    ia.kill(ledger, no_restart=False)
    gate.open()
    assert get([waiting, behind]) == [1, 2]


def test_killed_for_good_with_calls_under_way(tmp_path: pathlib.Path) -> None:
    """Of what had begun nobody knows; what had not will never run."""
    ledger = Ledger.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    done = ledger.add.remote("done")
    get(done)
    waiting = ledger.add_and_wait.remote("a", gate, tally)
    behind = [ledger.add.remote("b") for _ in range(200)]
    until(tally.lines, "the call runs")
    ia.kill(ledger)
    with pytest.raises(CallOutcomeUnknownError) as caught:
        get(waiting)
    assert "Nobody can say whether the call Ledger.add_and_wait has taken effect" in str(caught.value)
    for ref in behind:
        with pytest.raises(ActorDiedError, match=r"The call Ledger.add was not run"):
            get(ref)
    with pytest.raises(ActorDiedError, match="was not run"):
        get(ledger.read.remote())
    assert get(done) == 1


def test_out_of_restarts(tmp_path: pathlib.Path) -> None:
    ledger = Ledger.options(max_restarts=1).remote()
    tally = Tally(tmp_path / "tally")
    assert get(ledger.add.remote("a")) == 1
    kill(ledger)
    assert get(ledger.add.remote("b")) == 2
    dying, behind = ledger.add_and_die.remote("c", tally), ledger.add.remote("d")
    with pytest.raises(CallOutcomeUnknownError):
        get(dying)
    with pytest.raises(ActorDiedError, match=r"was not run.*max_restarts"):
        get(behind)


def test_leaving_on_purpose() -> None:
    ledger = Ledger.remote()
    added, left, behind = ledger.add.remote("a"), ledger.leave.remote(), ledger.add.remote("b")
    assert get(added) == 1
    with pytest.raises((ActorDiedError, CallOutcomeUnknownError), match="exit_actor"):
        get(left)
    with pytest.raises(ActorDiedError, match="was not run"):
        get(behind)


# -- arguments and results -----------------------------------------------------------------------------------------


def test_large_arguments_outlive_their_sender() -> None:
    ledger = Ledger.remote()
    array = np.arange(125_000.0)
    ref = ia.put(array + 1)
    sums = [ledger.add_sum.remote(array), ledger.add_sum.remote(ref), ledger.add_sum.remote(array=array * 2)]
    expected = [float(array.sum()), float((array + 1).sum()), float((array * 2).sum())]
    assert get(sums) == expected
    del ref, array
    for _ in range(2):
        kill(ledger)
        assert get(ledger.read.remote()) == expected


def test_references_and_handles_among_the_arguments() -> None:
    """What was taken from a reference once is what a replay takes, whatever has become of it."""

    @ia.remote(durable=True)
    class Taker:
        def __init__(self, other: Any) -> None:
            self.other = other
            self.sums: list[float] = []

        def take(self, refs: Any) -> float:
            self.sums.append(sum(float(value.sum()) for value in ia.get(refs)))
            ia.get(self.other.add.remote(self.sums[-1]))
            return self.sums[-1]

        def read(self) -> list[float]:
            return self.sums

    ledger = Ledger.remote()
    taker = Taker.remote(ledger)
    refs = [ia.put(np.full(100_000, n)) for n in (1.0, 2.0)]
    assert get(taker.take.remote(refs)) == 300_000.0
    del refs
    kill(taker)
    kill(ledger)
    assert get(taker.read.remote()) == [300_000.0]
    assert get(ledger.read.remote()) == [300_000.0]


@ia.remote(durable=True, max_concurrency=1)
class Maker:
    """Gives all kinds of results."""

    def __init__(self) -> None:
        self.made = 0

    def array(self, count: int, gate: Any = None) -> Any:
        self.made += 1
        if gate is not None:
            gate.wait()
        return np.arange(count) + self.made

    def two(self) -> tuple[int, str]:
        self.made += 1
        return self.made, "two"

    def nothing(self) -> None:
        self.made += 1

    def stream(self, count: int, gate: Any, tally: Any) -> Iterator[int]:
        for n in range(count):
            self.made += 1
            if n == count // 2:
                tally.add()
                gate.wait()
            yield n

    async def slowly(self, n: int) -> int:
        await asyncio.sleep(0)
        self.made += n
        return self.made

    def read(self) -> int:
        return self.made


def test_large_results_of_calls_that_a_crash_interrupted(tmp_path: pathlib.Path) -> None:
    maker = Maker.remote()
    gate = Gate(tmp_path / "gate")
    first, second = maker.array.remote(200_000), maker.array.remote(200_000, gate)
    third = maker.array.remote(300_000)
    assert get(first)[0] == 1
    kill(maker)
    gate.open()
    assert get(second).tolist() == (np.arange(200_000) + 2).tolist()
    kill(maker)
    assert get(third)[-1] == 300_002
    assert get(first)[-1] == 200_000
    assert get(maker.read.remote()) == 3


def test_several_results_and_none() -> None:
    maker = Maker.remote()
    with Killer(maker, seed=2) as killer:
        pairs = [maker.two.options(num_returns=2).remote() for _ in range(50)]
        for _ in range(50):
            assert maker.nothing.options(num_returns=0).remote() is None
        killer.wait_for_kills(2)
        assert [get(pair) for pair in pairs] == [[n, "two"] for n in range(1, 51)]
    assert get(maker.read.remote()) == 100


def test_a_stream_goes_on_where_it_was(tmp_path: pathlib.Path) -> None:
    maker = Maker.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    stream = maker.stream.options(num_returns="streaming").remote(10, gate, tally)
    items = [get(next(stream)) for _ in range(3)]
    until(tally.lines, "the middle")
    kill(maker)
    gate.open()
    items += [get(ref) for ref in stream]
    assert items == list(range(10))
    kill(maker)
    assert get(maker.read.remote()) == 10


def test_async_methods_of_a_serial_actor() -> None:
    maker = Maker.remote()
    with Killer(maker, seed=3) as killer:
        refs = [maker.slowly.remote(1) for _ in range(200)]
        killer.wait_for_kills(2)
        assert get(refs) == list(range(1, 201))


class Base:
    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value


@ia.remote
def slow_start() -> int:
    return 7


def test_a_class_with_bases_and_a_constructor_that_asks_around(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Derived(Base):
        def __init__(self, ledger: Any, tally: Tally) -> None:
            tally.add()
            super().__init__(ia.get(slow_start.remote()))
            context = ia.get_runtime_context()
            self.began, self.name, self.chance = context.now(), context.uuid4(), context.random()
            self.position = ia.get(ledger.add.remote("born"))
            self.file = context.once(os.getpid)

        def add(self, n: int) -> int:
            return super().add(n) + 1000

        def tell(self) -> tuple[Any, ...]:
            return self.began, self.name, self.chance, self.position, self.file

    ledger, tally = Ledger.remote(), Tally(tmp_path / "tally")
    derived = Derived.remote(ledger, tally)
    told = get(derived.tell.remote())
    assert get(derived.add.remote(1)) == 1008
    for _ in range(2):
        kill(derived)
        assert get(derived.tell.remote()) == told
    assert get(derived.add.remote(1)) == 1009
    assert len(tally.lines()) == 3
    assert get(ledger.read.remote()) == ["born"]


def test_killed_in_its_constructor(tmp_path: pathlib.Path) -> None:
    """What it has taken from outside by then stays so; what it called is called once."""

    @ia.remote(durable=True)
    class Born:
        def __init__(self, ledger: Any, tally: Tally) -> None:
            self.chance = ia.get_runtime_context().random()
            self.position = ia.get(ledger.add.remote("born"))
            tally.add(repr(self.chance))
            if len(tally.lines()) < 3:
                os.kill(os.getpid(), 9)

        def tell(self) -> tuple[float, int]:
            return self.chance, self.position

    ledger, tally = Ledger.remote(), Tally(tmp_path / "tally")
    born = Born.remote(ledger, tally)
    told = get(born.tell.remote())
    assert tally.lines() == [repr(told[0])] * 3
    assert told[1] == 1
    assert get(ledger.read.remote()) == ["born"]
