"""The protocol of durable actors, in whatever order things happen: what must hold after each step, by name.

Written against what is on the disk and what callers were told, with none of the tables that the protocol itself keeps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipyactors.durable import call_tables
from ipyactors.durable.actor_log import Remains, read_remains
from ipyactors.durable.call_tables import Verdict
from ipyactors.durable.record import Abort, Call, Done
from ipyactors.testing.history import Operation, check_history
from tests.support import simulations
from tests.support.durable_world import World
from tests.support.sim_disk import SimDisk


class DurableMachine(RuleBasedStateMachine):
    """One actor, its callers and its disk.

    ``calls`` has by lsn what was called, ``ends`` how it ended, as far as the log goes and as what it has dropped told.
    """

    @initialize(seed=st.integers(0, 2**32), level=st.sampled_from(("process", "host")), rate=st.sampled_from((0, 0.05)))
    def begin(self, seed: int, level: str, rate: float) -> None:
        self.short = simulations.small_segments()
        self.short.__enter__().setattr(SimDisk, "remove", self._looking(SimDisk.remove))
        self.world = World(seed)
        self.world.death_rate, self.world.actor.level = rate, level
        self.calls: dict[int, str] = {}
        self.ends: dict[int, type] = {}

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                report = check_history(self.world.history, self.world.heal())
                assert report.is_valid, report
            finally:
                self.short.__exit__(None, None, None)

    # -- what may happen --------------------------------------------------------------------------------------

    @rule()
    def call(self) -> None:
        self.world.call()

    @rule()
    def deliver(self) -> None:
        self._do("deliver")

    @rule()
    def deliver_again(self) -> None:
        self._do("repeat")

    @rule()
    def give_up(self) -> None:
        self._do("give_up")

    @rule()
    def checkpoint(self) -> None:
        self._do("checkpoint")

    @rule()
    def lose_a_checkpoint(self) -> None:
        self._do("lose_checkpoint")

    @rule()
    def fill_the_disk_or_make_room(self) -> None:
        self._do("fill")

    @rule()
    def crash(self) -> None:
        self._do("crash")

    @precondition(lambda self: self.world.actor.level == "host")
    @rule()
    def lose_power(self) -> None:
        self.world.actor.process = None
        self.world.actor.cut_power()

    def _do(self, name: str) -> None:
        self.world.now += 1
        self.world.guard(getattr(self.world, name))

    # -- what must hold ---------------------------------------------------------------------------------------

    def _remains(self, disk: SimDisk) -> Remains:
        actor = self.world.actor
        return read_remains(disk, actor.actor_id, actor.boot_id)

    @staticmethod
    def _ended(remains: Remains) -> Iterator[tuple[bytes, type]]:
        """Yield which calls are over, in the order in which that was written, by the log or by a checkpoint."""
        for one in remains.contents.records:
            if isinstance(one.body, (Done, Abort)):
                yield one.body.call_id, type(one.body)
        for made in remains.checkpoints:
            for done in made.ended:
                yield done.call_id, Done

    def _looking(self, remove: Callable[[SimDisk, Iterable[str]], None]) -> Callable[[SimDisk, Iterable[str]], None]:
        """Return a ``remove`` that looks first: a call may come, end and be dropped within one step."""

        def look_and_remove(disk: SimDisk, names: Iterable[str]) -> None:
            self._look(disk)
            remove(disk, names)

        return look_and_remove

    def _look(self, disk: SimDisk) -> Remains:
        """Learn what the log says, and forget what it never kept."""
        remains = self._remains(disk)
        logged = {one.lsn: one.body for one in remains.contents.records if isinstance(one.body, Call)}
        lsn_of = {call.call_id: lsn for lsn, call in logged.items()}
        ended = {lsn_of[call_id]: kind for call_id, kind in self._ended(remains) if call_id in lsn_of}
        first = min(logged, default=max((one.lsn for one in remains.checkpoints), default=0) + 1)
        self.calls = {lsn: uid for lsn, uid in self.calls.items() if lsn < first}
        self.ends = {lsn: kind for lsn, kind in self.ends.items() if lsn < first} | ended
        self.calls |= {lsn: call.args.data.decode() for lsn, call in logged.items()}
        return remains

    def _done(self) -> list[str]:
        return [uid for lsn, uid in sorted(self.calls.items()) if self.ends.get(lsn) is Done]

    def _operations(self, outcome: str) -> Iterator[Operation]:
        return (one for one in self.world.history if one.outcome == outcome)

    @invariant()
    def i1_ends_are_in_the_order_of_the_calls(self) -> None:
        remains = self._look(self.world.actor.disk)
        records = remains.contents.records
        calls = [one.lsn for one in records if isinstance(one.body, Call)]
        assert calls == sorted(set(calls))
        # One that was given up before it came has a place too, and no call.
        taken = sorted({*calls, *(one.lsn for one in records if isinstance(one.body, Abort))})
        assert not taken or taken == list(range(taken[0], taken[-1] + 1))
        ends = [one.lsn for one in records if isinstance(one.body, Done)]
        assert ends == sorted(set(ends))

    @invariant()
    def i2_no_call_is_there_twice(self) -> None:
        self._look(self.world.actor.disk)
        assert len(set(self.calls.values())) == len(self.calls)

    @invariant()
    def i3_what_was_answered_is_as_safe_as_the_level_asks(self) -> None:
        disk = copy.deepcopy(self.world.actor.disk)
        if self.world.actor.level == "host":
            disk.cut_power()
        self._look(disk)
        done = set(self._done())
        assert {one.uid for one in self._operations("ok")} <= done

    @invariant()
    def i4_what_has_failed_has_no_effect(self) -> None:
        self._look(self.world.actor.disk)
        failed = {one.uid for one in self._operations("failed")}
        assert failed.isdisjoint(self._done())
        process = self.world.actor.process
        if process is not None:
            assert failed.isdisjoint(uid for uid, _ in process.state.entries)

    @invariant()
    def i5_one_incarnation_writes_after_the_other(self) -> None:
        wrote = [one.incarnation for one in self._remains(self.world.actor.disk).contents.records]
        assert wrote == sorted(wrote)
        assert not wrote or wrote[-1] <= self.world.actor.incarnation

    @invariant()
    def i6_a_checkpoint_is_what_its_calls_come_to(self) -> None:
        remains = self._look(self.world.actor.disk)
        for made in remains.checkpoints:
            entries = self.world.actor.data.get(made.data.checkpoint_id)
            if entries is not None:
                until = {lsn: uid for lsn, uid in self.calls.items() if lsn <= made.lsn}
                folded = [uid for lsn, uid in sorted(until.items()) if self.ends.get(lsn) is Done]
                assert [uid for uid, _ in entries] == folded

    @invariant()
    def i7_what_is_not_acknowledged_is_known(self) -> None:
        process = self.world.actor.process
        if process is None:
            return
        self._look(self.world.actor.disk)
        done = set(self._done())
        for caller in self.world.callers:
            for call, _ in caller.unanswered.values():
                if call.args.data.decode() in done:
                    assert call_tables.judge(process.log.tables, call) is Verdict.RECORDED


TestDurableMachine = DurableMachine.TestCase
TestDurableMachine.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
