"""What arrives of a run that was given up, when its call was made again: it must not free what the other run wrote."""

from __future__ import annotations

import pytest

from ipyactors.owner import rebuild
from ipyactors.owner.objects import Entry
from ipyactors.wire.worker_messages import CallSucceeded, ItemYielded, RunTask
from tests.support.rebuild_world import HOME, LARGE, NODES, SMALL, World

TWO = NODES[1]


@pytest.fixture
def world() -> World:
    return World()


def sent_run(world: World) -> tuple[bytes, RunTask]:
    """Return the one task that was sent, with its worker, which is granted if there is none."""
    if not any(isinstance(message, RunTask) for _, message in world.out.sent):
        world._grant(1)
    ((worker, run),) = [pair for pair in world.out.sent if isinstance(pair[1], RunTask)]
    world.out.sent.clear()
    return worker, run


def begun_twice(world: World, name: str = "a", **options: int) -> tuple[list[Entry], bytes, RunTask, bytes, RunTask]:
    """Have a task run whose worker is given up; return its results' entries, both workers and both runs."""
    entries = world.call(name, max_retries=3, **options)
    first, run = sent_run(world)
    world.end(first, started=run.seq)
    second, again = sent_run(world)
    assert (second, again.task_id) != (first, None)
    return entries, first, run, second, again


def returned(world: World, run: RunTask, node_id: bytes, size: str = LARGE) -> CallSucceeded:
    return CallSucceeded(run.seq, (world._value(world._id(run, 0), size, node_id),), 1.0)


def test_a_late_result_does_not_free_what_the_next_run_has_written(world: World) -> None:
    (a,), first, run, second, again = begun_twice(world)
    world.hear(second, returned(world, again, HOME))
    world.hear(first, returned(world, run, HOME))
    assert world.segments[a.object_id] == {HOME}
    assert world.get(a) == a.object_id
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


def test_a_late_result_does_not_free_what_the_next_run_is_about_to_answer_with(world: World) -> None:
    (a,), first, run, second, again = begun_twice(world)
    answer = returned(world, again, HOME)
    world.hear(first, returned(world, run, HOME))
    assert not a.done
    world.hear(second, answer)
    del answer
    assert world.segments[a.object_id] == {HOME}
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


@pytest.mark.parametrize("is_late_first", [True, False])
def test_what_a_late_run_has_written_elsewhere_goes_with_the_object(world: World, is_late_first: bool) -> None:
    (a,), first, run, second, again = begun_twice(world)
    words = [(first, returned(world, run, TWO)), (second, returned(world, again, HOME))]
    for peer, message in words if is_late_first else words[::-1]:
        world.hear(peer, message)
    del words, message
    assert world.segments[a.object_id] == {HOME, TWO}
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


def test_a_late_result_that_nobody_needs_is_freed(world: World) -> None:
    (a,), first, run, second, again = begun_twice(world)
    world.hear(second, returned(world, again, HOME))
    del a
    world.hear(first, returned(world, run, TWO))
    assert world.segments[world._id(run, 0)] == set()


def test_a_late_result_of_what_turned_out_small_is_freed(world: World) -> None:
    (a,), first, run, second, again = begun_twice(world)
    world.hear(second, returned(world, again, HOME, SMALL))
    world.hear(first, returned(world, run, TWO))
    assert world.get(a) == a.object_id
    assert world.segments[a.object_id] == set()


def test_a_late_result_waits_while_the_data_is_made_again(world: World) -> None:
    """The data was lost, and the call runs once more, when the answer of a run comes that was given up before."""
    (a,), first, run, second, again = begun_twice(world)
    world.hear(second, returned(world, again, HOME))
    world.lose(a)
    world.is_paused = True
    rebuild.on_missing(world.state, world.out, a)
    world.settle()
    world.hear(first, returned(world, run, TWO))
    assert world.segments[a.object_id] == {TWO}
    world.is_paused = False
    assert world.get(a) == a.object_id
    segment = a.object_id
    del a
    assert world.segments[segment] == set()


def test_a_late_item_does_not_free_the_item_of_the_next_run(world: World) -> None:
    call = world.task("stream", settle=False, num_returns=-1, max_retries=3)
    world.settle()
    first, run = sent_run(world)
    world.end(first, started=run.seq)
    second, again = sent_run(world)
    stream = call.stream
    del call

    def item(of: RunTask, index: int, node_id: bytes) -> ItemYielded:
        return ItemYielded(of.seq, index, world._value(world._id(of, index + 1), LARGE, node_id))

    world.hear(second, item(again, 0, HOME))  # there, when the late one comes
    world.hear(first, item(run, 0, HOME))
    next_one = item(again, 1, HOME)  # written, and on its way
    world.hear(first, item(run, 1, TWO))
    world.hear(second, next_one)
    del next_one
    world.hear(first, item(run, 2, TWO))  # the next run ends before it
    world.hear(second, CallSucceeded(again.seq, (), 1.0))
    assert stream is not None
    segments = [world.segments[world._id(run, index)] for index in (1, 2, 3)]
    assert segments == [{HOME}, {HOME, TWO}, set()]
    stream.waiting.clear()
    assert segments == [set(), set(), set()]
