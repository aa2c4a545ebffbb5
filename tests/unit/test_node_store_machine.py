"""Random lives of a store: whatever overtakes whatever, bytes add up, nothing freed remains, nothing reachable goes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyactors.node.store_room import BUSY_S, COPY_GRACE_S, DISK_RETRY_S, PROMISE_LASTS_S
from ipyactors.wire.store_messages import SegmentMapped
from tests.support.store_world import Process, StoreWorld

MAX_PROCESSES = 4
LIMIT = 1000

pick = st.integers(min_value=0, max_value=1_000)
sizes = st.sampled_from([50, 150, 250, 600, 1100])


class StoreMachine(RuleBasedStateMachine):
    """Processes write, free and die; words, jobs and facts wait until their rule lets them through."""

    def __init__(self) -> None:
        super().__init__()
        self.world = StoreWorld(LIMIT)
        self.started = 0
        for _ in range(2):
            self.process_starts()

    def _process(self, number: int) -> Process:
        living = self.world.living()
        return living[number % len(living)]

    @precondition(lambda self: len(self.world.living()) < MAX_PROCESSES)
    @rule()
    def process_starts(self) -> None:
        self.started += 1
        self.world.start(b"p%07d" % self.started)

    @precondition(lambda self: len(self.world.living()) > 1)
    @rule(which=pick, is_silent=st.booleans())
    def process_dies(self, which: int, is_silent: bool) -> None:
        self.world.die(self._process(which), is_silent=is_silent)

    @rule(writer=pick, owner=pick, size=sizes)
    def write(self, writer: int, owner: int, size: int) -> None:
        self.world.write(self._process(writer), self._process(owner), size)

    @rule(other=pick, which=pick)
    def write_again(self, other: int, which: int) -> None:
        """A task ran twice."""
        written = [*self.world.memory, *self.world.disk]
        if written:
            self.world.write_again(written[which % len(written)], self._process(other))

    @precondition(lambda self: self.world.table.moves)
    @rule(other=pick, which=pick)
    def write_again_what_is_moved(self, other: int, which: int) -> None:
        moved = list(self.world.table.moves)
        self.world.write_again(moved[which % len(moved)], self._process(other))

    @precondition(lambda self: self.world.sizes)
    @rule(writer=pick, which=pick)
    def rebuild(self, writer: int, which: int) -> None:
        """The latest are the likeliest, for they meet what is still on its way."""
        sizes = list(self.world.sizes.items())
        segment_id, size = sizes[-1 - which % min(3, len(sizes))]
        if segment_id in self.world.freed:
            self.world.rebuild(segment_id, size, self._process(writer))

    @rule(owner=pick, which=pick)
    def free(self, owner: int, which: int) -> None:
        process = self._process(owner)
        if process.owned:
            self.world.free(process, list(process.owned)[which % len(process.owned)])

    @rule(owner=pick, size=sizes)
    def pull(self, owner: int, size: int) -> None:
        self.world.begin_pull(self._process(owner), size)

    @rule(which=pick)
    def somebody_maps(self, which: int) -> None:
        files = {**self.world.disk, **self.world.memory}
        if files:
            segment_id, file = list(files.items())[which % len(files)]
            if segment_id in self.world.memory:
                file.mapped += 1
            else:
                self._process(which).said.append(SegmentMapped(segment_id))

    @rule()
    def all_is_unmapped(self) -> None:
        self.world.unmap_all()

    @rule()
    def it_is_looked_who_maps(self) -> None:
        self.world.look()

    @rule(is_full=st.booleans())
    def the_disk_fills_or_empties(self, is_full: bool) -> None:
        self.world.is_disk_full = is_full
        self.world.turn(0.0)

    @rule(seconds=st.sampled_from([BUSY_S, COPY_GRACE_S, DISK_RETRY_S, PROMISE_LASTS_S]))
    def time_passes(self, seconds: float) -> None:
        self.world.turn(seconds)

    @rule(which=pick)
    def a_word_arrives(self, which: int) -> None:
        speaking = [process for process in self.world.processes.values() if process.said]
        if speaking:
            self.world.deliver(speaking[which % len(speaking)])

    @rule(which=pick)
    def an_answer_arrives(self, which: int) -> None:
        hearing = [process for process in self.world.living() if process.heard]
        if hearing:
            self.world.hear(hearing[which % len(hearing)])

    @precondition(lambda self: self.world.jobs)
    @rule()
    def the_mover_works(self) -> None:
        self.world.work()

    @precondition(lambda self: self.world.removals)
    @rule()
    def the_remover_works(self) -> None:
        self.world.clear()

    @precondition(lambda self: self.world.facts)
    @rule()
    def a_fact_is_learnt(self) -> None:
        self.world.learn()

    @precondition(lambda self: self.world.notices)
    @rule()
    def a_death_is_noticed(self) -> None:
        self.world.notice()

    @rule()
    def everything_settles(self) -> None:
        self.world.settle()

    @invariant()
    def holds_together(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        world = self.world
        world.settle()
        world.turn(PROMISE_LASTS_S)
        world.settle()
        self.look_at_all()
        world.check_settled()
        for process in world.living():
            world.die(process)
        world.settle()
        self.look_at_all()
        world.check_settled()
        # What was mapped when its owner went counts as long as the views do.
        world.unmap_all()
        self.look_at_all()
        world.check_settled()
        assert not world.held
        assert not world.memory
        assert not world.disk
        assert world.table.used_bytes == 0

    def look_at_all(self) -> None:
        for _ in range(len(self.world.table.mapped)):
            self.world.look()
        self.world.settle()


StoreMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStoreMachine = StoreMachine.TestCase
