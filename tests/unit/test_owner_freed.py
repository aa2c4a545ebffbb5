"""What was freed on a machine that is lost: removed wherever it may be, unless it is there again."""

from __future__ import annotations

from ipyactors.ground.ids import object_id
from ipyactors.owner.freed import FreedElsewhere
from ipyactors.wire.specs import Location, Stored
from ipyactors.wire.store_messages import ForgetSegments, NodeLost
from tests.support.owner_scenario import HEAD, OWNER
from tests.support.rebuild_world import NODES, World, place

TWO = NODES[1]


def test_what_was_freed_on_a_lost_machine_is_removed_everywhere() -> None:
    world = World()
    gone = object_id(OWNER, 900)
    world.state.freed.note(TWO, gone)
    world.hear(HEAD, NodeLost(TWO, "it is gone"))
    assert world.take(ForgetSegments) == [ForgetSegments((gone,))]
    world.hear(HEAD, NodeLost(TWO, "it is gone"))
    world.silence()


def test_what_is_there_again_under_the_same_id_stays() -> None:
    world = World()
    entry = world.put()
    world.state.freed.note(TWO, entry.object_id)
    world.hear(HEAD, NodeLost(TWO, "it is gone"))
    world.silence()


def test_other_machines_do_not_matter() -> None:
    world = World()
    world.state.freed.note(NODES[2], object_id(OWNER, 900))
    world.hear(HEAD, NodeLost(TWO, "it is gone"))
    world.silence()


def test_a_place_is_known_to_be_lost_from_then_on() -> None:
    freed = FreedElsewhere()
    stored = Stored(object_id(OWNER, 900), 100_000, (place(NODES[0]), place(TWO)))
    assert not freed.was_lost(stored)
    freed.lose(TWO)
    assert freed.was_lost(stored)
    assert not freed.was_lost(Stored(object_id(OWNER, 901), 100_000, (Location(NODES[2], ""),)))


def test_so_many_are_remembered_and_no_more() -> None:
    freed = FreedElsewhere()
    for number in range(10_000):
        freed.note(TWO, object_id(OWNER, number))
    latest = freed.lose(TWO)
    assert len(latest) == 4096
    assert latest[-1] == object_id(OWNER, 9_999)
