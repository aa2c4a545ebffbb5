"""The stores of several machines with each other: accounts, room, copies, and who is told what."""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Callable, Iterator

import pytest

from ipyactors.ground import ids
from ipyactors.node.store_table import Shelf
from ipyactors.wire.store_messages import ForgetOwner, ForgetSegments, NodeLost, SegmentGone, SegmentHere
from tests.support.keeper_node import KeeperNode
from tests.support.turns import run_until

OWNER = ids.new_driver_id()
MB = 1_000_000
MakeNode = Callable[..., KeeperNode]


@pytest.fixture
def nodes() -> list[KeeperNode]:
    return []


@pytest.fixture
def make_node(tmp_path: pathlib.Path, nodes: list[KeeperNode]) -> Iterator[MakeNode]:
    def make(limit_bytes: int = 50 * MB) -> KeeperNode:
        nodes.append(KeeperNode(tmp_path / f"m{len(nodes)}", limit_bytes))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


def segment(number: int) -> bytes:
    return ids.object_id(OWNER, number)


def content(number: int, size: int = 3 * MB) -> bytes:
    return random.Random(number).randbytes(size)


def shelf(node: KeeperNode, segment_id: bytes) -> Shelf | None:
    found = node.keeper.table.find(segment_id)
    return None if found is None else found.shelf


def test_what_has_come_is_a_copy_and_counted(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert here.heard == [SegmentHere(segment(1))]
    assert here.content(segment(1)) == content(1)
    assert shelf(here, segment(1)) is Shelf.COPY
    assert shelf(there, segment(1)) is Shelf.ORIGINAL
    assert here.keeper.table.used_bytes == there.keeper.table.used_bytes
    assert not here.keeper.table.promises


def test_a_copy_that_its_owner_counts_on_is_kept(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1))
    here.pull(segment(1), there, keep=True)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert shelf(here, segment(1)) is Shelf.ORIGINAL


def test_a_segment_larger_than_the_store_goes_straight_to_disk(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(2 * MB), make_node()
    there.write(segment(1), content(1))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert here.content(segment(1)) == content(1)
    assert shelf(here, segment(1)) is Shelf.DISK


def test_room_for_what_comes_is_made_by_spilling(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(7 * MB), make_node()
    for number in (1, 2):
        here.write(segment(number), content(number))
    there.write(segment(3), content(3))
    here.pull(segment(3), there)
    run_until(lambda: here.has_answer(segment(3)), *nodes)
    for number in (1, 2, 3):
        assert here.content(segment(number)) == content(number)
    assert here.keeper.table.used_bytes <= 7 * MB


def test_many_at_once_arrive_within_the_limit(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(12 * MB), make_node(200 * MB)
    for number in range(20):
        there.write(segment(number), content(number))
        here.pull(segment(number), there)
    run_until(lambda: all(here.has_answer(segment(number)) for number in range(20)), *nodes)
    for number in range(20):
        if SegmentHere(segment(number)) in here.heard:  # copies may have been dropped again for later ones
            assert here.content(segment(number)) in (content(number), None)
    assert not any(isinstance(answer, SegmentGone) for answer in here.heard)
    run_until(lambda: here.keeper.table.used_bytes <= 12 * MB, *nodes)
    assert not here.keeper.table.promises
    assert not here.keeper.table.wishes


def test_what_was_spilled_is_served_from_disk(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1), spill=True)
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert here.content(segment(1)) == content(1)


def test_what_its_owner_frees_goes_everywhere(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    first, second, third = make_node(), make_node(), make_node()
    first.write(segment(1), content(1))
    second.pull(segment(1), first)
    run_until(lambda: second.has_answer(segment(1)), *nodes)
    third.pull(segment(1), second, keep=True)
    run_until(lambda: third.has_answer(segment(1)), *nodes)
    first.free(segment(1))
    run_until(lambda: not any(node.files() for node in nodes), *nodes)
    run_until(lambda: not any(node.keeper.table.used_bytes for node in nodes), *nodes)


def test_what_a_process_here_has_written_again_is_no_copy(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    here.write(segment(1), content(2))
    run_until(lambda: shelf(here, segment(1)) is Shelf.ORIGINAL, *nodes)
    there.free(segment(1))
    run_until(lambda: not there.files(), *nodes)
    run_until(lambda: True, *nodes)
    assert here.content(segment(1)) == content(2)


def test_a_copy_outlives_the_machine_that_it_came_from(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there, other = make_node(), make_node(), make_node()
    there.write(segment(1), content(1))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    for node in (here, other):
        node.tell(NodeLost(there.node_id, "its agent ended"))
    other.pull(segment(1), there, here)
    run_until(lambda: other.has_answer(segment(1)), *nodes)
    assert other.heard == [SegmentHere(segment(1))]
    other.pull(segment(2), there)
    run_until(lambda: other.has_answer(segment(2)), *nodes)
    assert "its agent ended" in other.heard[-1].detail


@pytest.mark.parametrize("word", [ForgetOwner(OWNER), ForgetSegments((segment(1),))])
def test_what_the_head_has_forgotten_is_served_by_nobody(
    make_node: MakeNode, nodes: list[KeeperNode], word: ForgetOwner | ForgetSegments
) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1))
    run_until(lambda: shelf(there, segment(1)) is not None, *nodes)
    there.tell(word)
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert isinstance(here.heard[-1], SegmentGone)
    run_until(lambda: not any(node.files() for node in nodes), *nodes)


def test_what_others_claim_of_an_owner_that_is_gone_is_served_until_it_is_forgotten(
    make_node: MakeNode, nodes: list[KeeperNode]
) -> None:
    here, there = make_node(), make_node()
    for number in (1, 2):
        there.write(segment(number), content(number))
    run_until(lambda: shelf(there, segment(2)) is not None, *nodes)
    for node in nodes:
        node.tell(ForgetOwner(OWNER, (segment(1),)))
    here.pull(segment(1), there)
    here.pull(segment(2), there)
    run_until(lambda: here.has_answer(segment(1)) and here.has_answer(segment(2)), *nodes)
    assert {type(answer) for answer in here.heard} == {SegmentHere, SegmentGone}
    assert here.content(segment(1)) == content(1)
    for node in nodes:
        node.tell(ForgetSegments((segment(1),)))
    run_until(lambda: not any(node.files() for node in nodes), *nodes)


def test_what_was_claimed_may_come_after_its_owner_went(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here = make_node()
    here.tell(ForgetOwner(OWNER, (segment(1),)))
    for number in (1, 2):
        here.write(segment(number), content(number))
    run_until(lambda: shelf(here, segment(1)) is not None and len(here.files()) == 1, *nodes)
    here.tell(ForgetOwner(OWNER))  # a new head, to which nobody has claimed it
    run_until(lambda: not here.files(), *nodes)


def test_a_copy_of_what_was_freed_here_and_made_again_elsewhere_is_served(
    make_node: MakeNode, nodes: list[KeeperNode]
) -> None:
    here, there, other = make_node(), make_node(), make_node()
    here.write(segment(1), content(1))
    here.free(segment(1))
    run_until(lambda: not here.files(), *nodes)
    there.write(segment(1), content(2))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    other.pull(segment(1), here)
    run_until(lambda: other.has_answer(segment(1)), *nodes)
    assert other.content(segment(1)) == content(2)


def test_what_was_forgotten_and_written_again_is_served(make_node: MakeNode, nodes: list[KeeperNode]) -> None:
    here, there = make_node(), make_node()
    there.write(segment(1), content(1))
    run_until(lambda: shelf(there, segment(1)) is not None, *nodes)
    there.tell(ForgetSegments((segment(1),)))
    run_until(lambda: not there.files(), *nodes)
    there.write(segment(1), content(2))
    here.pull(segment(1), there)
    run_until(lambda: here.has_answer(segment(1)), *nodes)
    assert here.content(segment(1)) == content(2)


def test_what_a_dead_process_had_set_aside_and_told_nobody_counts_while_it_is_mapped(
    make_node: MakeNode, nodes: list[KeeperNode]
) -> None:
    here = make_node()
    here.write(segment(1), content(1))
    view = here.reader.open(segment(1))
    assert view is not None
    run_until(lambda: shelf(here, segment(1)) is Shelf.ORIGINAL, *nodes)
    size = here.keeper.table.used_bytes
    here.arena.take_back([segment(1)], mapped=[])
    here.keeper.on_process_gone(here.process_id, time.monotonic())
    here.tell(ForgetOwner(OWNER))
    run_until(lambda: here.keeper.table.mapped.total_bytes == size, *nodes)
    assert here.keeper.table.memory_bytes == 0
    del view
    # Nobody says so: it is looked, and then the memory is given back.
    run_until(lambda: here.keeper.table.used_bytes == 0, *nodes)
    assert here.files() == []
