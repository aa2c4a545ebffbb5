"""A durable actor that is killed again and again gets on: what it has done is done, also while nobody waits for it."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import threading
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import exit_actor
from ipyactors.exceptions import ActorDiedError, ActorError, RecoveryFailedError
from tests.support import durable
from tests.support.durable import get, kill
from tests.support.gates import Gate, Tally, until


def test_calls_that_are_taken_up_again_are_done_one_by_one(shared_runtime: Any, tmp_path: pathlib.Path) -> None:
    @shared_runtime.remote(durable=True)
    class Steps:
        def take(self, number: int, gate: Gate, tally: Tally) -> int:
            tally.add(f"{number} began")
            gate.wait()
            return number

    gates = [Gate(tmp_path / f"gate-{number}") for number in range(3)]
    tally = Tally(tmp_path / "tally")
    steps = Steps.remote()
    refs = [steps.take.remote(number, gate, tally) for number, gate in enumerate(gates)]
    durable.until(lambda: tally.lines().count("0 began") == 1, "the first step, in line with the others")
    durable.kill(steps)
    gates[0].open()
    durable.until(lambda: "1 began" in tally.lines(), "the second step")
    durable.kill(steps)
    gates[1].open()
    durable.until(lambda: "2 began" in tally.lines(), "the third step")
    gates[2].open()
    assert durable.get(refs) == [0, 1, 2]
    assert "0 calls replayed" not in durable.recoveries(steps)[1]


def wait_while(file: pathlib.Path) -> None:
    while file.exists():
        threading.Event().wait(0.01)


@ia.remote(durable=True, max_task_retries=1)
class Held:
    """Comes back, and has its work done, no sooner than nothing holds it; tells its process, and that work began."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        (self.place / "comes back").write_text(str(os.getpid()))
        wait_while(self.place / "hold back")

    @ia.method(effect="persist")
    def work(self) -> str:
        with (self.place / "began").open("a") as file:
            file.write(".")
        wait_while(self.place / "hold work")
        return "done"


@pytest.mark.parametrize("max_concurrency", [1, 2])
@pytest.mark.usefixtures("shared_runtime")
def test_a_death_on_the_way_back_is_not_blamed_on_a_call_that_did_not_run(
    max_concurrency: int, tmp_path: pathlib.Path
) -> None:
    held = Held.options(max_concurrency=max_concurrency).remote(tmp_path)
    get(held.checkpoint())
    comes_back = tmp_path / "comes back"
    comes_back.unlink()  # it has been loaded to see that it can be
    for name in ("hold work", "hold back"):
        (tmp_path / name).touch()
    work = held.work.remote()
    until((tmp_path / "began").exists, "the call to begin")
    kill(held)
    pid = int(until(lambda: comes_back.exists() and comes_back.read_text(), "the actor to come back"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end")
    for name in ("hold work", "hold back"):
        (tmp_path / name).unlink()
    assert get(work) == "done"
    assert (tmp_path / "began").read_text() == ".."


class Child:
    def __init__(self) -> None:
        self.entries: list[int] = []

    def add(self, number: int, gate: Gate, tally: Tally) -> int:
        tally.add(str(number))
        gate.wait()
        self.entries.append(number)
        return len(self.entries)


@ia.remote(durable=True, max_task_retries=-1)
class Factory:
    def make(self) -> Any:
        return ia.remote(durable=True)(Child).remote()


class Parent:
    def use(self, factory: Any, gates: list[Gate], tally: Tally) -> list[int]:
        child = ia.remote(durable=True)(Child).remote() if factory is None else ia.get(factory.make.remote())
        return [ia.get(child.add.remote(number, gate, tally)) for number, gate in enumerate(gates)]


class PersistParent(Parent):
    use = ia.method(effect="persist")(Parent.use)


@pytest.mark.usefixtures("shared_runtime")
@pytest.mark.parametrize("max_concurrency", [1, 2])
@pytest.mark.parametrize("has_factory", [False, True])
def test_actors_of_a_call_that_is_interrupted_live_until_it_has_run_again(
    has_factory: bool, max_concurrency: int, tmp_path: pathlib.Path
) -> None:
    gates = [Gate(tmp_path / f"gate-{number}") for number in range(3)]
    tally = Tally(tmp_path / "tally")
    factory = Factory.remote() if has_factory else None
    kind = Parent if max_concurrency == 1 else PersistParent
    parent = ia.remote(durable=True, max_task_retries=-1, max_concurrency=max_concurrency)(kind).remote()
    made = parent.use.remote(factory, gates, tally)
    for number in range(3):
        until(lambda number=number: str(number) in tally.lines(), "the child to be at it")  # type: ignore[misc]
        kill(parent)
        gates[number].open()
    assert get(made) == [1, 2, 3]
    until(lambda: {one["state"] for one in ia.list_actors() if one["class_name"] == "Child"} == {"dead"}, "its end")


@pytest.mark.usefixtures("shared_runtime")
def test_a_replay_that_ends_each_process_is_given_up_with_its_log_kept(tmp_path: pathlib.Path) -> None:
    dies = tmp_path / "dies"

    @ia.remote(durable=True)
    class Worked:
        def work(self) -> str:
            if dies.exists():
                print("again")
                os._exit(3)
            return "done"

    worked = Worked.remote()
    assert get(worked.work.remote()) == "done"
    dies.touch()
    kill(worked)
    with pytest.raises(RecoveryFailedError) as caught:
        get(worked.work.remote())
    words = str(caught.value)
    assert "times in a row while it came back; the last time it exited with code 3" in words
    assert "Its log and its checkpoints are kept: `ipyactors fsck" in words
    assert "max_task_retries" not in words


@pytest.mark.usefixtures("shared_runtime")
@pytest.mark.parametrize("what", ["checkpoint()", "upgrade()"])
def test_what_ends_its_process_without_being_a_call_is_given_up_alone(what: str) -> None:
    class Fragile:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        def __getstate__(self) -> Any:
            if what == "checkpoint()":
                os._exit(3)
            return self.__dict__

    class Later(Fragile):
        def __setstate__(self, state: dict[str, Any]) -> None:
            os._exit(3)

    fragile = ia.remote(durable=True, max_task_retries=1)(Fragile).remote()
    assert get(fragile.add.remote()) == 1
    with pytest.raises(ActorError, match=re.escape(f"The call Fragile.{what} was given up: while it ran")) as caught:
        if what == "checkpoint()":
            get(fragile.checkpoint())
        else:
            fragile.upgrade(ia.remote(durable=True)(Later))
    assert "exited with code 3. It was tried 2 times" in str(caught.value)
    assert get(fragile.add.remote()) == 2


@pytest.mark.usefixtures("shared_runtime")
def test_the_call_that_ends_its_actor_is_told_what_is_known() -> None:
    @ia.remote(durable=True)
    class Leaving:
        def leave(self) -> None:
            exit_actor()

    with pytest.raises(ActorDiedError, match=r"The call Leaving.leave had begun, and ended with it: it has no result"):
        get(Leaving.remote().leave.remote())
