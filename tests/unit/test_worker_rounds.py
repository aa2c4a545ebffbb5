"""Calls of a durable actor that run side by side: answered ones are in its state once, and none half."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyactors.owner.templates import STREAMING
from ipyactors.wire.worker_messages import CancelCall, FinishAndExit
from tests.support.rounds_world import Caller, Incarnation, Store
from tests.support.sim_disk import ProcessDied, SimDisk


class World:
    def __init__(self) -> None:
        self.disk = SimDisk()
        self.store = Store()
        self.caller = Caller()
        self.number = 0
        self.process = Incarnation(self.disk, self.store, 0)

    def send(self, method: str, **kwargs: Any) -> int:
        uid = self.caller.make(method, **kwargs)
        self.caller.send(uid, self.process)
        return uid

    def add(self) -> int:
        return self.send("add")

    def look(self) -> int:
        return self.send("look", is_readonly=True)

    def start(self) -> None:
        self.act(self.process.look)

    def act(self, action: Any, *args: Any) -> None:
        """Do something that the process may die of."""
        try:
            action(*args)
            self.process.answers.flush()
        except ProcessDied:
            self.crash()
        else:
            self.caller.hear(self.process)

    def crash(self) -> None:
        """End the process, bring up the next one, and send it what has no answer."""
        self.caller.hear(self.process)
        self.process.end()
        self.disk.dies_at = 0
        self.store.is_broken = False
        self.number += 1
        self.process = Incarnation(self.disk, self.store, self.number)
        self.caller.check(self.process.restored)
        for uid in list(self.caller.open):
            self.caller.send(uid, self.process, again=True)

    def run(self) -> None:
        """Have everything come to its end."""
        for turn in range(10_000):
            self.start()
            if not self.process.tasks:
                return
            self.process.now_s += 60
            self.act(self.process.step, turn)
        raise AssertionError("it does not come to its end")


@pytest.fixture
def world() -> World:
    return World()


def states(world: World) -> list[int]:
    return list(world.process.hosted.instance.ended)


def test_a_round_ends_with_one_checkpoint_and_then_all_are_answered(world: World) -> None:
    for _ in range(3):
        world.add()
    world.start()
    assert len(world.process.tasks) == 3
    for which in (0, 1, 2, 0, 1, 2):
        world.act(world.process.step, which)
    world.act(world.process.step, 0)  # the first has ended
    assert not world.caller.lasting
    late = world.add()
    world.start()
    assert len(world.process.tasks) == 2, "the gate is closed"
    world.act(world.process.step, 0)
    assert not world.store.kept
    world.act(world.process.step, 0)
    assert world.caller.lasting == {1, 2, 3}
    assert len(world.store.kept) == 1
    world.run()
    assert late in world.caller.lasting


def test_what_was_interrupted_is_undone_and_runs_again(world: World) -> None:
    world.run()
    uids = {world.add() for _ in range(3)}
    world.start()
    for which in (0, 1, 2, 0, 1, 0):
        world.act(world.process.step, which)
    world.crash()
    assert world.process.restored == []
    assert not world.caller.lasting
    world.start()
    assert len(world.process.tasks) == 3
    world.run()
    assert world.caller.lasting == uids
    world.crash()
    assert set(world.process.restored) == uids


def test_it_has_caught_up_when_what_was_interrupted_is_in_a_checkpoint(world: World) -> None:
    for _ in range(2):
        world.add()
    world.start()
    world.crash()
    assert not world.process.told
    world.run()
    assert world.process.told == ["caught up"]
    assert len(world.caller.lasting) == 2
    world.add()
    world.run()
    assert world.process.told == ["caught up"]


def test_an_answer_waits_for_what_it_has_seen(world: World) -> None:
    changing, reading = world.add(), world.look()
    world.start()
    world.act(world.process.step, 0)
    world.act(world.process.step, 1)
    world.act(world.process.step, 1)
    assert len(world.process.tasks) == 1, "it has come to its end"
    assert reading in world.caller.open
    again = world.look()
    world.start()
    world.act(world.process.step, 1)
    world.act(world.process.step, 1)
    world.act(world.process.step, 0)
    world.act(world.process.step, 0)
    assert not world.caller.open.keys() & {changing, reading, again}
    assert world.caller.lasting == {changing}


def test_reading_starts_whatever_waits_and_is_answered_at_once_where_nothing_runs(world: World) -> None:
    reading = world.look()
    world.start()
    world.act(world.process.step, 0)
    world.act(world.process.step, 0)
    assert reading not in world.caller.open
    world.add()
    world.start()
    world.act(world.process.step, 0)
    world.add()
    world.act(world.process.step, 0)
    world.send("__ipyactors_checkpoint__")
    reading = world.look()
    world.start()
    assert [logged.call.method for logged, _ in world.process.tasks.values()] == ["add", "add", "look"]


def test_the_items_of_a_stream_are_shown_when_nothing_can_undo_them(world: World) -> None:
    uid = world.send("stream", num_returns=STREAMING)
    watching = world.send("watch", is_readonly=True, num_returns=STREAMING)
    world.start()
    world.act(world.process.step, 0)
    world.act(world.process.step, 1)
    assert not world.caller.streams
    world.crash()
    assert not world.caller.streams
    world.run()
    assert world.caller.streams[uid] == [uid, -uid]
    assert watching in world.caller.streams
    assert not world.caller.open


def test_a_checkpoint_that_is_asked_for_waits_for_the_round_and_holds_back_the_next(world: World) -> None:
    world.add()
    world.start()
    asked = world.send("__ipyactors_checkpoint__")
    late = world.add()
    world.start()
    assert len(world.process.tasks) == 1
    for _ in range(3):
        world.act(world.process.step, 0)
    world.start()
    assert [logged.call.method for logged, _ in world.process.tasks.values()] == ["__ipyactors_checkpoint__"]
    world.act(world.process.step, 0)
    assert asked not in world.caller.open
    assert len(world.store.kept) == 2
    world.run()
    assert late in world.caller.lasting


def test_where_no_checkpoint_can_be_made_nothing_was_done(world: World) -> None:
    uids = {world.add() for _ in range(3)}
    world.start()
    world.store.is_broken = True
    world.run()
    assert world.number == 1
    assert world.caller.never == uids
    assert world.process.restored == []


def test_a_call_that_is_cancelled_in_line_does_not_run_and_one_that_runs_ends(world: World) -> None:
    for _ in range(4):
        world.add()
    world.start()
    world.act(world.process.step, 0)
    for uid in (1, 2, 4):
        world.caller.cancelled.add(uid)
        world.process.deliver(CancelCall(uid))
    world.start()
    assert world.caller.never == {4}
    world.run()
    assert world.caller.never == {2, 4}, "it had not taken its first step"
    assert world.caller.lasting == {1, 3}
    world.crash()
    assert sorted(world.process.restored) == [1, 3]


def test_a_round_ends_with_a_call_that_is_cancelled_before_its_first_step(world: World) -> None:
    first, last = world.add(), world.add()
    world.start()
    for _ in range(3):
        world.act(world.process.step, 0)
    assert first in world.caller.open
    world.caller.cancelled.add(last)
    world.act(world.process.deliver, CancelCall(last))
    world.act(world.process.step, 0)
    assert (world.caller.lasting, world.caller.never) == ({first}, {last})


def test_what_the_log_has_cannot_be_cancelled_in_line(world: World) -> None:
    uid = world.add()
    world.start()
    world.crash()
    world.caller.cancelled.add(uid)
    world.process.deliver(CancelCall(world.caller.open[uid].seq))
    world.run()
    assert world.caller.lasting == {uid}


def test_who_ends_the_actor_lets_the_others_finish(world: World) -> None:
    first, _leaving, last = world.add(), world.send("leave"), world.add()
    world.start()
    world.act(world.process.step, 1)
    world.act(world.process.step, 1)
    assert world.process.executor.exit is not None
    late = world.add()
    world.start()
    for _ in range(6):
        if world.process.tasks:
            world.act(world.process.step, 0)
    assert not world.caller.lasting
    world.act(world.process.rounds.leave)
    assert world.caller.lasting == {first, last}
    assert late in world.caller.open


def test_the_word_to_finish_waits_for_all_before_it(world: World) -> None:
    uids = {world.add() for _ in range(5)}
    world.process.deliver(FinishAndExit("enough"))
    late = world.add()
    world.run()
    assert world.process.rounds.exit is not None
    assert world.process.rounds.exit.detail == "enough"
    assert world.caller.lasting == uids
    assert late in world.caller.open


def test_a_result_that_was_seen_beside_a_change_is_of_no_one_state(world: World) -> None:
    world.add()
    world.run()
    alone = world.look()
    world.run()
    world.add()
    world.start()
    beside = world.look()
    world.start()
    for which in (0, 1, 1):
        world.act(world.process.step, which)
    world.run()
    assert world.caller.versions == {alone: (0, 1), beside: None}


def test_a_result_that_was_seen_before_a_call_with_a_lower_lsn_had_begun_is_of_no_one_state(world: World) -> None:
    world.add()
    world.add()
    world.start()
    for _ in range(3):
        world.act(world.process.step, 1)
    looking = world.look()
    world.start()
    for _ in range(2):
        world.act(world.process.step, 1)
    world.run()
    assert world.caller.versions == {looking: None}


def test_who_waits_for_a_later_call_is_answered_once_that_has_come(world: World) -> None:
    waiting, first = world.send("meet"), world.send("meet")
    world.start()
    assert len(world.process.tasks) == 2
    for which in (0, 1, 0):  # the first meets the second
        world.act(world.process.step, which)
    assert len(world.process.tasks) == 1
    late = world.add()
    world.start()
    assert len(world.process.tasks) == 1, "the gate is closed"
    assert world.process.rounds.look_in_s() == pytest.approx(0.05)
    world.process.now_s += 0.05
    world.start()
    assert len(world.process.tasks) == 2
    assert not world.caller.lasting
    world.run()
    assert world.caller.lasting == {waiting, first, late}
    assert len(world.store.kept) == 1, "it was one round"
    assert world.process.rounds.look_in_s() is None


def test_a_round_that_has_grown_runs_again_with_no_more_at_a_time_than_may(world: World) -> None:
    uids = {world.send("meet") for _ in range(2)}
    world.start()
    for which in (0, 1, 0):
        world.act(world.process.step, which)
    for _ in range(3):  # each meets the one before it
        uids.add(world.send("meet"))
        world.process.now_s += 60
        world.start()
        assert len(world.process.tasks) == 2
        for which in (1, 0):
            world.act(world.process.step, which)
        assert len(world.process.tasks) == 1
    assert not world.caller.lasting
    world.crash()
    world.start()
    assert len(world.process.tasks) == 3
    uids.add(world.add())
    world.run()
    assert world.caller.lasting == uids


def test_what_holds_a_round_is_told_and_warned_of(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.run()
    world.send("meet")
    world.send("meet")
    world.start()
    process = world.process
    assert process.rounds.look_in_s() is None
    for which in (0, 1, 0):
        world.act(process.step, which)
    words = (
        "Ledger.meet has ended; its answer waits for the checkpoint after all that ran beside: it waits for "
        "Ledger.meet, which still runs"
    )
    assert (process.rounds.look_in_s(), process.told) == (1.0, [])
    for _ in range(9):
        process.now_s += 1
        assert process.rounds.look_in_s() == 1.0
        assert process.told == [words], "it is told once"
    assert not capsys.readouterr().err
    for _ in range(3):
        process.now_s += 1
        process.rounds.look_in_s()
    warning = capsys.readouterr().err
    assert warning.count("Answers have been held back for 10 s: " + words) == 1
    assert "have the method return instead" in warning
    world.add()
    world.run()
    assert process.told == [words, ""]


class RoundsMachine(RuleBasedStateMachine):
    """Sends, steps, cancels and crashes in any order; the caller's checker looks at every state that a crash leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(fails=st.booleans())
    def add(self, fails: bool) -> None:
        self.world.send("add", **({"fails": True} if fails else {}))

    @rule()
    def stream(self) -> None:
        self.world.send("stream", num_returns=STREAMING)

    @rule()
    def look(self) -> None:
        self.world.look()

    @rule()
    def watch(self) -> None:
        self.world.send("watch", is_readonly=True, num_returns=STREAMING)

    @precondition(lambda self: self.count("meet") < 2 and not self.count("__ipyactors_checkpoint__"))
    @rule()
    def meet(self) -> None:
        self.world.send("meet")

    def count(self, method: str) -> int:
        return sum(call.method == method for call in self.world.caller.open.values())

    @rule(seconds=st.sampled_from([0.01, 0.1, 10.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.process.now_s += seconds

    @precondition(lambda self: not self.count("meet"))
    @rule()
    def ask_for_a_checkpoint(self) -> None:
        self.world.send("__ipyactors_checkpoint__")

    @rule()
    def start(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.process.tasks)
    @rule(which=st.integers(0, 7), count=st.integers(1, 4))
    def step(self, which: int, count: int) -> None:
        for _ in range(count):
            if self.world.process.tasks:
                self.world.act(self.world.process.step, which)

    @precondition(lambda self: self.world.caller.open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = self.world.caller
        uid = data.draw(st.sampled_from(sorted(caller.open)))
        if caller.open[uid].method != "stream":  # which would not note its own end
            caller.cancelled.add(uid)
            self.world.act(self.world.process.deliver, CancelCall(caller.open[uid].seq))

    @rule()
    def crash(self) -> None:
        self.world.crash()

    @rule(steps=st.integers(1, 12))
    def let_it_crash_soon(self, steps: int) -> None:
        self.world.disk.dies_at = self.world.disk.steps + steps

    @rule()
    def break_the_store(self) -> None:
        self.world.store.is_broken = True

    @invariant()
    def what_was_told_is_so(self) -> None:
        self.world.caller.check([*self.world.process.restored, *_new(self.world)])

    def teardown(self) -> None:
        world = self.world
        world.disk.dies_at, world.store.is_broken = 0, False
        if self.count("meet"):
            world.add()
        world.run()
        assert not world.caller.open
        world.crash()
        assert set(world.process.restored) == world.caller.lasting


def _new(world: World) -> list[int]:
    """Return what has ended since this process began, and may be undone."""
    return world.process.hosted.instance.begun[len(world.process.restored) :]  # type: ignore[no-any-return]


RoundsMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRoundsMachine = RoundsMachine.TestCase
