"""An actor that keeps its checkpoints itself and was upgraded: what its new constructor does is done once."""

from __future__ import annotations

import os
import pathlib
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import Checkpoint, Checkpointable, CheckpointContext, get_checkpoints_for_actor
from ipyactors.ground import faultpoints
from tests.support.durable import get, kill, recoveries
from tests.support.gates import Tally, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class Registry:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def register(self, name: str) -> int:
        self.seen.append(name)
        return len(self.seen)

    @ia.method(effect="readonly")
    def look(self) -> list[str]:
        return self.seen


class Old(Checkpointable):
    """Saves what it is with each second call; ``place`` also has files that tell it how to misbehave."""

    name = "old"

    def __init__(self, others: Any, place: pathlib.Path) -> None:
        self.others, self.place, self.count = others, place, 0
        context = ia.get_runtime_context()
        self.step("begun")
        now, number = context.now(), context.random()
        self.step("numbers")
        once = context.once(lambda: Tally(place / "once").add(self.name))
        self.step("once")
        others.register.remote(f"{self.name} does not wait")
        self.step("does not wait")
        registered = get(others.register.remote(self.name))
        self.step("registered")
        kept = get(ia.put(registered))
        self.facts = [self.name, now, number, once, registered, kept]
        Tally(place / "constructed").add(repr(self.facts))

    def step(self, name: str) -> None:
        """Die here, or in the next call to another, if it is told to, once."""
        order = self.place / f"{self.name}: {name}"
        if order.exists():
            how = order.read_text()
            order.unlink()
            if how:
                faultpoints.arm(how, "kill")
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    def add(self) -> int:
        self.count += 1
        get(self.others.register.remote(f"{self.name} adds {self.count}"))
        return self.count

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        return checkpoint_context.num_tasks_since_last_checkpoint >= 2

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        (self.place / f"{self.name} {checkpoint_id}").write_text(str(self.count))

    def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
        checkpoint_id = available_checkpoints[0].checkpoint_id
        self.count = int((self.place / f"{self.name} {checkpoint_id}").read_text())
        return checkpoint_id

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None: ...


class New(Old):
    name = "new"


class Third(Old):
    name = "third"


class Broken(Old):
    """Has a constructor that raises, until there is a file that says that it does not."""

    name = "broken"

    def __init__(self, others: Any, place: pathlib.Path) -> None:
        if not (place / "mended").exists():
            raise ValueError("the new constructor does not work")
        super().__init__(others, place)


RemoteOld, RemoteNew, RemoteThird, RemoteBroken = map(ia.remote, (Old, New, Third, Broken))


def constructed(place: pathlib.Path) -> dict[str, list[str]]:
    """Return what the constructors had from outside, each time, by the name of the class."""
    found: dict[str, list[str]] = {}
    for line in Tally(place / "constructed").lines():
        found.setdefault(line.split("'")[1], []).append(line)
    return found


def came_back(handle: Any) -> str:
    count = len(recoveries(handle))
    kill(handle)
    until(lambda: len(recoveries(handle)) > count, "its return")
    return recoveries(handle)[-1]


def check_once(registry: Any, place: pathlib.Path, *names: str) -> None:
    """All that the constructors of these classes have done they have done once, and they are what they were."""
    wanted = [one for name in names for one in (name, f"{name} does not wait")]
    until(lambda: set(wanted) <= set(get(registry.look.remote())), "what nobody waits for")
    seen = Counter(get(registry.look.remote()))
    assert [name for name, count in seen.items() if count > 1] == []
    assert sorted(name for name in seen if "adds" not in name) == sorted(wanted)
    assert sorted(Tally(place / "once").lines()) == sorted(names)
    assert {name: len(set(lines)) for name, lines in constructed(place).items()} == dict.fromkeys(names, 1)


def lived(place: pathlib.Path, **options: Any) -> tuple[Any, Any]:
    """Return an actor that others have answered, and they."""
    registry = Registry.remote()
    actor = RemoteOld.options(**options).remote(registry, place)
    assert get([actor.add.remote() for _ in range(3)]) == [1, 2, 3]
    return actor, registry


def test_what_its_new_constructor_does_is_done_once(tmp_path: pathlib.Path) -> None:
    actor, registry = lived(tmp_path, num_checkpoints_to_keep=2)
    actor.upgrade(RemoteNew)
    assert get(actor.add.remote()) == 4
    assert "new" not in constructed(tmp_path), "so far it was only given its state"
    for count in range(3):
        assert came_back(actor).startswith("from checkpoint")
        assert get(actor.add.remote()) == 5 + count
    check_once(registry, tmp_path, "old", "new")
    actor.upgrade(RemoteThird)
    for count in range(3):
        assert get(actor.add.remote()) == 8 + count
        assert came_back(actor).startswith("from checkpoint")
    assert get(actor.add.remote()) == 11
    check_once(registry, tmp_path, "old", "new", "third")
    assert {name: len(lines) for name, lines in constructed(tmp_path).items()} == {"old": 1, "new": 3, "third": 3}


def test_an_older_checkpoint_is_of_the_class_before_and_that_is_constructed_as_it_was(tmp_path: pathlib.Path) -> None:
    """Each class is constructed before one of its own is loaded, also those that were passed over."""
    actor, registry = lived(tmp_path)
    actor.upgrade(RemoteNew)
    assert get([actor.add.remote() for _ in range(3)])[-1] == 6
    actor.upgrade(RemoteThird)
    assert get([actor.add.remote() for _ in range(3)])[-1] == 9
    for lost in ("third", "new", "none"):
        for _ in range(2):
            came_back(actor)
        for file in tmp_path.glob(f"{lost} *"):
            file.unlink()
    assert get(actor.add.remote()) == 10
    check_once(registry, tmp_path, "old", "new", "third")
    assert get_checkpoints_for_actor(actor)
    came_back(actor)
    assert get(actor.add.remote()) == 11
    check_once(registry, tmp_path, "old", "new", "third")


STEPS = ("begun", "numbers", "once", "does not wait", "registered")
IN_A_CALL = ("durable.nested.noted", "durable.nested.submitted")


@pytest.mark.parametrize(
    ("step", "how"), [(step, "") for step in STEPS] + [(step, how) for step in STEPS[:-1] for how in IN_A_CALL]
)
def test_a_death_on_the_way_through_the_new_constructor(step: str, how: str, tmp_path: pathlib.Path) -> None:
    actor, registry = lived(tmp_path)
    actor.upgrade(RemoteNew)
    assert get(actor.add.remote()) == 4
    (tmp_path / f"new: {step}").write_text(how)
    came_back(actor)
    assert not (tmp_path / f"new: {step}").exists(), "it has died there"
    assert get(actor.add.remote()) == 5
    check_once(registry, tmp_path, "old", "new")
    came_back(actor)
    assert get(actor.add.remote()) == 6
    check_once(registry, tmp_path, "old", "new")


def test_a_new_constructor_that_raises_does_not_cost_the_actor(tmp_path: pathlib.Path) -> None:
    """It lives on from what the class before has saved, which does not expire before the constructor works."""
    actor, registry = lived(tmp_path, num_checkpoints_to_keep=3)
    actor.upgrade(RemoteBroken)
    made = get_checkpoints_for_actor(actor)
    for count in range(4, 14):
        if count % 4 == 0:
            assert "whose class was not constructed: ValueError: the new constructor does not work" in came_back(actor)
        assert get(actor.add.remote()) == count
    assert get_checkpoints_for_actor(actor) == made
    (tmp_path / "mended").touch()
    assert came_back(actor).endswith(" calls replayed")
    assert get([actor.add.remote() for _ in range(4)])[-1] == 17
    check_once(registry, tmp_path, "old", "broken")
