"""What an actor's constructor needs is there for as long as the actor may be started, and no longer."""

from __future__ import annotations

import pytest

from ipyactors.ground import ids
from ipyactors.owner import loans
from ipyactors.wire.head_messages import ActorChanged
from ipyactors.wire.specs import ActorState, Location, Payload, RefSpec, Stored
from tests.support.loans_world import Process, World

DRIVER, W1, W2 = b"driver00", b"worker01", b"worker02"


@pytest.fixture
def world() -> World:
    """A driver that has made two objects, and two processes for its actors."""
    made = World()
    for process_id in (DRIVER, W1, W2):
        made.add(process_id, is_driver=process_id == DRIVER)
    for _ in range(2):
        made.processes[DRIVER].put([])
    return made


def create(world: World, restarts: int) -> None:
    """Create an actor from a reference to the first and the value of the second, and let go of both here."""
    driver = world.processes[DRIVER]
    world.create(driver, driver.refs, restarts)
    driver.refs.clear()
    world.settle()


def is_there(world: World) -> list[bool]:
    return [made() is not None for made in world.made.values()]


def forget(process: Process) -> None:
    """Have the actor let go of what it was made from."""
    process.refs.clear()
    process.turn()


def test_only_what_has_no_bytes_stands_for_an_object() -> None:
    ref = RefSpec(ids.object_id(DRIVER, 1), "mem://driver00")
    stored = Stored(ids.object_id(DRIVER, 2), 100_000, (Location(b"n1", "mem://n1"),))
    assert Payload(b"", (), (ref,)).stands_for == ref
    assert Payload(b"pickle", (), (ref,)).stands_for is None
    assert Payload(b"", (), (ref,), (), stored).stands_for is None
    assert Payload(b"").stands_for is None


def test_what_the_value_is_asked_for_is_known_to_the_creator(world: World) -> None:
    create(world, 0)
    [actor] = world.actors
    [named] = actor.spec.arg_values
    assert named.stands_for is not None
    world.start(actor, world.processes[W1])
    wanted = [entry for entry in world.processes[W1].refs if entry.object_id == named.stands_for.object_id]
    world.fetch(world.processes[W1], wanted[0])
    world.settle()
    assert wanted[0].done
    assert wanted[0].failure is None


def test_with_the_last_start_it_is_the_actors_own(world: World) -> None:
    create(world, 0)
    assert is_there(world) == [True, True], "it is about to start"
    world.start(world.actors[0], world.processes[W1])
    world.settle()
    assert not world.processes[DRIVER].state.constructors
    assert is_there(world) == [True, True], "the actor has them"
    forget(world.processes[W1])
    world.settle()
    assert is_there(world) == [False, False]


def test_as_long_as_it_may_be_started_again_everything_is_kept(world: World) -> None:
    create(world, 1)
    world.start(world.actors[0], world.processes[W1])
    world.settle()
    forget(world.processes[W1])
    world.settle()
    assert is_there(world) == [True, True]
    world.crash(W1, 1.0)
    world.settle()
    world.start(world.actors[0], world.processes[W2])
    world.settle()
    assert [entry.failure for entry in world.processes[W2].refs] == [None, None]
    forget(world.processes[W2])
    world.settle()
    assert is_there(world) == [False, False]


def test_an_actor_that_never_came_to_be_keeps_nothing(world: World) -> None:
    create(world, -1)
    [actor] = world.actors
    actor.is_dead = True
    world.post(ids.HEAD_ID, DRIVER, "", ActorChanged(actor.status(ActorState.DEAD)))
    world.settle()
    assert is_there(world) == [False, False]


def test_an_actor_is_made_from_what_its_creator_has_borrowed(world: World) -> None:
    """The owner counts what each of its processes has."""
    driver, creator = world.processes[DRIVER], world.processes[W1]
    driver.answer(W1, driver.refs)
    driver.refs.clear()
    world.settle()
    [payload] = creator.inbox
    world.create(creator, [loans.adopt(creator.state, creator.mail, spec) for spec in payload.refs], 0)
    creator.inbox.clear()
    del payload
    world.settle()
    assert is_there(world) == [True, True]
    world.start(world.actors[0], world.processes[W2])
    world.settle()
    assert is_there(world) == [True, True]
    assert not creator.state.objects.loans, "it has given back its own"
    forget(world.processes[W2])
    world.settle()
    assert is_there(world) == [False, False]
