"""Calls that wait for each other in a circle: each circle is found, one of it is told, and no other call is."""

from __future__ import annotations

import itertools
import random

import pytest

from ipyactors.owner import deadlock
from ipyactors.wire.worker_messages import ProbeCalls, WaitingCall
from tests.support.deadlock_world import Made, World, greatest_of_circles


def ask(world: World, by: Made, *to: int) -> list[Made]:
    """Have running code call actors, and wait for all of them."""
    made = [world.call(by.runner, world.processes[one], by) for one in to]
    world.wait(by, made)
    return made


def test_two_that_call_each_other() -> None:
    world = World(0, [1, 1, 1])
    driver, one, _ = world.processes
    first = world.call(driver, one)
    [second] = ask(world, first, 2)
    [third] = ask(world, second, 1)
    world.tick(deadlock.PROBE_AFTER_S / 2)
    assert not world.network
    world.settle(1)
    assert first.wait is not None
    assert second.wait is not None
    assert not first.wait.circle
    assert len(second.wait.circle) == 3
    assert [call.line for call in second.wait.circle] == ["", "m3", ""]
    error = deadlock.error_for(second.wait)
    assert error.cycle == ("m2", "m3", "m1")
    assert "m2 waits for m3, which is in line behind m1, which waits for m2: nothing would ever end" in str(error)
    world.hear(second)
    world.finish(second)
    world.answer(0)
    world.finish(first)
    assert third.running is not None
    world.settle()
    assert not world.network


def test_one_that_waits_for_itself() -> None:
    world = World(0, [1, 1])
    first = world.call(*world.processes)
    ask(world, first, 1)
    world.settle(1)
    assert first.wait is not None
    assert deadlock.error_for(first.wait).cycle == ("m1", "m2")


@pytest.mark.parametrize("limit", [1, 2])
def test_what_has_room_beside_others_is_in_no_circle(limit: int) -> None:
    world = World(0, [1, limit, 1])
    first = world.call(*world.processes[:2])
    [second] = ask(world, first, 2)
    [third] = ask(world, second, 1)
    world.settle()
    told = [one for one in (first, second) if one.wait is not None and one.wait.circle]
    assert len(told) == (limit == 1)
    assert (third.running is not None) == (limit == 2)


def test_whoever_does_not_wait_is_in_no_circle() -> None:
    world = World(0, [1, 1, 1])
    first = world.call(*world.processes[:2])
    second = world.call(first.runner, world.processes[2], first)
    ask(world, second, 1)
    world.settle()
    assert second.wait is not None
    assert not second.wait.circle
    world.wait(first, [second])
    world.settle()
    assert second.wait.circle


def test_a_wait_that_ends_while_its_probe_is_under_way() -> None:
    """The first probe has met all of the circle when one of its waits ends, and the same call waits once more."""
    world = World(0, [1, 1, 1])
    first = world.call(*world.processes[:2])
    [second] = ask(world, first, 2)
    [third] = ask(world, second, 1)
    world.tick(deadlock.PROBE_AFTER_S)
    own = next(one for one in world.network if one[1] == second.runner.process_id)
    world.network[:] = [own]
    world.deliver(0)
    assert len(world.network) == 1, "the probe is on its way back"
    assert first.wait is not None
    deadlock.end(first.runner.state, first.wait)
    first.wait = None
    while world.network:
        world.deliver(0)
    assert second.wait is not None
    assert not second.wait.circle
    world.wait(first, [second])
    world.settle()
    assert second.wait.circle
    del third


def test_the_same_word_twice_is_no_second_look() -> None:
    world = World(0, [1, 1])
    first = world.call(*world.processes)
    ask(world, first, 1)
    world.tick(deadlock.PROBE_AFTER_S)
    world.deliver(0, keep=True)
    world.deliver(0)
    assert first.wait is not None
    assert not first.wait.circle
    world.deliver(0)
    assert first.wait.circle


def test_a_circle_that_is_closed_late_is_found_soon() -> None:
    """The wait that is to be told has looked in vain, and looks again because of the one that closes the circle."""
    world = World(0, [1, 1, 1])
    first = world.call(world.processes[0], world.processes[2])
    [second] = ask(world, first, 1)
    world.tick(deadlock.PROBE_AFTER_S)
    while world.network:
        world.deliver(0)
    ask(world, second, 2)
    world.tick(deadlock.PROBE_AFTER_S)
    while world.network:
        world.deliver(0)
        world.tick(0.0)
    assert first.wait is not None
    assert first.wait.circle


def test_a_late_word_about_a_wait_that_is_over() -> None:
    world = World(0, [1, 1])
    first = world.call(*world.processes)
    [second] = ask(world, first, 1)
    world.tick(deadlock.PROBE_AFTER_S)
    assert first.wait is not None
    deadlock.end(first.runner.state, first.wait)
    first.wait = None
    world.deliver(0)
    assert not world.network
    del second


def test_it_takes_no_part_in_what_has_gone_on_without_it() -> None:
    """The word that a call is held up comes after its answer has left."""
    world = World(0, [1, 1, 1])
    first = world.call(*world.processes[:2])
    [second] = ask(world, first, 2)
    world.tick(deadlock.PROBE_AFTER_S)
    world.finish(second)
    other = world.call(world.processes[0], world.processes[2])
    ask(world, other, 1)
    while world.network:
        world.deliver(0)
    world.tick(deadlock.PROBE_AFTER_S)
    while world.network:
        world.deliver(0)
    assert first.wait is not None
    assert not first.wait.circle


def test_what_waits_for_its_arguments() -> None:
    """A call that was not sent, for its argument is made by a call that stands in line behind who waits."""
    world = World(0, [1, 1, 1])
    first = world.call(*world.processes[:2])
    argument = world.call(first.runner, world.processes[1], first)
    unsent = world.submit(first.runner, world.processes[2], first)
    unsent.call.state, unsent.call.deps = type(unsent.call.state).WAITING, (argument.entry,)
    behind = world.submit(first.runner, world.processes[2], first)
    behind.call.state = type(unsent.call.state).QUEUED
    unsent.call.client.outbox.extend([unsent.call, behind.call])
    world.wait(first, [behind])
    world.settle(1)
    assert first.wait is not None
    assert first.wait.circle


def test_a_probe_asks_for_all_calls_of_one_worker_at_once() -> None:
    world = World(0, [1, 1, 4])
    first = world.call(*world.processes[:2])
    ask(world, first, 2, 2, 2)
    world.tick(deadlock.PROBE_AFTER_S)
    [(_, _, probe)] = world.network
    assert isinstance(probe, ProbeCalls)
    assert sorted(probe.seqs) == [1, 2, 3]
    assert deadlock.next_probe_s(first.runner.state) == world.now_s + deadlock.PROBE_AGAIN_S


def test_many_waits_whose_probes_come_by() -> None:
    """What one wait remembers of others has a limit; it passes on probes of those with greater ids only."""
    world = World(0, [1, 1, 1])
    first = world.call(*world.processes[:2])
    [second] = ask(world, first, 2)
    assert first.wait is not None
    state, held_up = first.runner.state, first.runner.places.held_up(first.maker.process_id, [first.call.seq])
    for number in range(3000):
        path = (WaitingCall(b"x%015d" % number, "x"),)
        probe = ProbeCalls((1,), 1, path)
        for _ in range(2):
            deadlock.on_probe_calls(state, first.runner.out, probe, held_up, world.now_s)
    assert len(first.wait.passed_on) <= 1000
    assert len(first.runner.out.sent) == 3000
    del second


# -- thousands of worlds -----------------------------------------------------------------------------------------


def make_graph(world: World) -> None:
    """Have calls run in all actors but the first, each with references to some of the others', and some wait."""
    choose = world.random
    driver, *actors = world.processes
    for actor in actors:
        for _ in range(choose.randint(1, 2)):
            world.call(driver, actor)
    running = [made for actor in actors for made in actor.at_work]
    for made in running:
        for _ in range(choose.randint(0, 2)):
            world.call(made.runner, choose.choice(actors), made)
    for made in running:
        for other in choose.sample(world.calls, min(2, len(world.calls))):
            if choose.random() < 0.7 and other is not made:
                world.lend(other, made)
    for made in choose.sample(running, len(running)):
        if made.has and choose.random() < 0.9:
            world.wait(made, choose.sample(made.has, choose.randint(1, len(made.has))))
    world.note_edges()


def check_told(world: World, told: list[Made]) -> None:
    for made in told:
        assert made.wait is not None
        path = [one.wait_id for one in made.wait.circle]
        assert made.wait.wait_id == max(path) == path[0] == path[-1]
        assert len(set(path)) == len(path) - 1
        assert world.was_circle(made.wait), f"a false alarm: {path}"


@pytest.mark.parametrize("block", range(10))
def test_every_circle_of_a_random_graph_is_found_and_no_other(block: int) -> None:
    circles = 0
    for seed in range(block * 200, block * 200 + 200):
        limits = [1, *random.Random(seed).choices([1, 1, 1, 2, 3], k=seed % 6 + 1)]
        world = World(seed, limits)
        make_graph(world)
        greatest = greatest_of_circles(world.graph())
        circles += bool(greatest)
        for _ in range(3):
            world.tick(deadlock.PROBE_AGAIN_S)
            for _ in itertools.count():
                if not world.network:
                    break
                index = world.random.randrange(len(world.network))
                world.deliver(index, keep=world.random.random() < 0.05)
                world.note_edges()
        told = [made for made in world.calls if made.wait is not None and made.wait.circle]
        check_told(world, told)
        assert {made.wait.wait_id for made in told if made.wait is not None} <= greatest
        assert bool(told) == bool(greatest), f"seed {seed}"
        assert not greatest_of_circles(world.graph()), f"seed {seed}: a circle was not found"
    assert circles > 50


def step(world: World) -> None:
    """Have one thing happen anywhere."""
    choose = world.random
    driver, *actors = world.processes
    free = [made for actor in actors for made in actor.at_work if made.wait is None]
    match choose.randrange(12):
        case 0 if len(world.calls) < 40:
            world.submit(driver, choose.choice(actors))
        case 1 | 2 if free and len(world.calls) < 40:
            made = choose.choice(free)
            world.submit(made.runner, choose.choice(actors), made)
        case 3 if free and world.calls:
            made, other = choose.choice(free), choose.choice(world.calls)
            if other is not made and not other.is_over:
                world.lend(other, made)
        case 4 | 5 if free:
            made = choose.choice(free)
            left = [one for one in made.has if not one.entry_in(made.runner).done]
            if left:
                world.wait(made, choose.sample(left, choose.randint(1, len(left))))
        case 6 if free:
            world.finish(choose.choice(free))
        case 7 if world.on_the_way:
            world.arrive(choose.choice(world.on_the_way))
        case 8 if world.answers:
            world.answer(choose.randrange(len(world.answers)))
        case 9 if choose.random() < 0.3:  # somebody cancels a call in line
            in_line = [made for actor in actors for made in actor.in_line]
            if in_line:
                world.finish(choose.choice(in_line), fails=True)
        case 10:
            world.tick(deadlock.PROBE_AFTER_S)
        case _ if world.network:
            world.deliver(choose.randrange(len(world.network)))
    world.note_edges()
    told = [made for made in world.calls if made.wait is not None and made.wait.circle]
    check_told(world, told)
    for made in told:
        if choose.random() < 0.3:
            world.hear(made)


@pytest.mark.parametrize("block", range(10))
def test_whatever_happens_meanwhile_nobody_is_told_in_vain_and_all_calls_end(block: int) -> None:
    alarms = 0
    for seed in range(block * 100, block * 100 + 100):
        world = World(seed, [1, *random.Random(seed).choices([1, 1, 100], k=seed % 3 + 2)])
        for _ in range(400):
            step(world)
        for _ in range(500):
            if all(made.is_over for made in world.calls):
                break
            for made in list(world.on_the_way):
                world.arrive(made)
            while world.answers:
                world.answer(0)
            world.note_edges()
            world.settle(1)
            for made in world.calls:
                if made.wait is not None and made.wait.circle:
                    check_told(world, [made])
                    alarms += 1
                    world.hear(made)
            for made in [made for actor in world.processes for made in actor.at_work if made.wait is None]:
                world.finish(made)
        assert all(made.is_over for made in world.calls), f"seed {seed}: somebody waits for ever"
    assert alarms
