"""An actor that goes on after a checkpoint is what would come back from it: no crash can tell the two apart."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import SerializationError
from tests.support import anatomy
from tests.support.durable import get, kill, pid_of, records, status
from tests.support.gates import until

pytestmark = pytest.mark.usefixtures("shared_runtime")

MISSING = object()


@ia.remote(durable=True, checkpoint=ia.every(calls=10))
class Frontier:
    """Its order is that of a set, which a pickled one does not have."""

    def __init__(self) -> None:
        self.todo: set[Any] = set()
        self.taken: list[Any] = []

    def add(self, *found: Any) -> int:
        self.todo.update(found)
        return len(self.todo)

    def take(self) -> Any:
        self.taken.append(self.todo.pop())
        return self.taken[-1]

    def order(self) -> list[Any]:
        return list(self.todo)


@pytest.mark.parametrize("kind", [str, int])
def test_a_set_has_the_order_that_comes_back(kind: type) -> None:
    frontier = Frontier.remote()
    for number in range(12):
        get(frontier.add.remote(*(kind(7919 * number + 104729 * index) for index in range(9))))
        get([frontier.take.remote() for _ in range(7)])
    for _ in range(3):
        before = get(frontier.order.remote())
        kill(frontier)
        assert get(frontier.order.remote()) == before


def test_strings_are_hashed_in_one_way_by_all_processes_of_a_session() -> None:
    frontier = Frontier.options(checkpoint=None).remote()
    words = [f"word {number}" for number in range(50)]
    get(frontier.add.remote(*words))
    before = get(frontier.order.remote())
    zygote = anatomy.zygote()
    zygote.kill()
    kill(frontier)
    assert get(frontier.order.remote()) == before
    assert anatomy.zygote() != zygote


@ia.remote(durable=True)
class Identity:
    def __init__(self) -> None:
        self.value: Any = MISSING
        self.seen: list[bool] = []

    def look(self) -> bool:
        self.seen.append(self.value is MISSING)
        return self.seen[-1]


def test_what_is_compared_by_identity_is_another_object_from_the_checkpoint_on() -> None:
    actor = Identity.remote()
    get(actor.look.remote())
    get(actor.checkpoint())
    after = get(actor.look.remote())
    kill(actor)
    assert get(actor.look.remote()) == after


class TwoArgumentsError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one}, {two}")


@ia.remote(durable=True, checkpoint=ia.every(calls=10))
class Unloadable:
    """Its state can be pickled, and not unpickled."""

    def __init__(self) -> None:
        self.count = 0
        self.kept = TwoArgumentsError(1, 2)

    def add(self, padding: bytes) -> int:
        del padding
        self.count += 1
        return self.count

    @ia.method(effect="persist")
    def save(self) -> int:
        self.count += 1
        return self.count


def test_a_checkpoint_that_cannot_be_loaded_is_none_and_the_log_is_kept() -> None:
    actor = Unloadable.remote()
    assert get([actor.add.remote(bytes(40_000)) for _ in range(200)])[-1] == 200
    with pytest.raises(SerializationError, match="could not be unpickled"):
        get(actor.checkpoint())
    with pytest.raises(ia.exceptions.CallAbortedError, match="could not be unpickled"):
        get(actor.save.remote())
    kill(actor)
    assert get(actor.add.remote(b"")) == 201


@ia.remote(durable=True, checkpoint=ia.every(calls=5))
class Heavy:
    """Dies when its state is pickled, until it is told not to."""

    def __init__(self, path: str) -> None:
        self.count = 0
        self.path = path

    def add(self) -> int:
        self.count += 1
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        if not os.path.exists(self.path):
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(vars(self))


def test_one_that_ends_its_process_is_made_later(tmp_path: Any) -> None:
    actor = Heavy.remote(str(tmp_path / "enough"))
    assert [get(actor.add.remote()) for _ in range(100)] == list(range(1, 101))
    assert ia.list_actors()


@ia.remote(durable=True, checkpoint=ia.every(seconds=1))
class Slow:
    def __init__(self) -> None:
        self.count = 0

    def work(self, gate: Any) -> int:
        import time

        time.sleep(0.1)
        self.count += 1
        return self.count


def test_calls_that_wait_together_do_not_keep_a_checkpoint_from_being_made() -> None:
    from ipyactors.durable.record import Checkpoint

    actor = Slow.remote()
    refs = [actor.work.remote(None) for _ in range(60)]
    until(lambda: records(actor, Checkpoint), "a checkpoint")
    assert ia.wait(refs, num_returns=60, timeout=0)[1], "one was made while calls were waiting"
    assert get(refs)[-1] == 60
    assert pid_of(actor)


def test_a_store_that_is_away_for_a_while_is_waited_for(tmp_path: Any) -> None:
    place = tmp_path / "share"
    actor = Frontier.options(checkpoint=ia.every(calls=5), checkpoint_store=f"file://{place}").remote()
    for number in range(30):  # so large a log that it was dropped up to the checkpoints
        get(actor.add.remote("x" * 60_000 + str(number)))
    place.rename(tmp_path / "away")
    kill(actor)
    count = actor.add.remote("last")
    until(lambda: status(actor).incarnation >= 2, "that it tries again")
    (tmp_path / "away").rename(place)
    assert get(count) == 31
