"""Random lives of references among several processes: what can be reached is there, what cannot is not."""

from __future__ import annotations

import gc
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipyactors.owner import loans
from ipyactors.owner.objects import Entry
from tests.support.loans_world import Process, World

MAX_PROCESSES = 7

pick = st.integers(min_value=0, max_value=1_000)
picks = st.lists(pick, max_size=3)


class LoansMachine(RuleBasedStateMachine):
    """Moves references in every way there is; messages arrive late, and in any order that their wires allow."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.count = 0

    @initialize()
    def begin(self) -> None:
        self.world.add(b"driver00", is_driver=True)
        for _ in range(3):
            self.process_comes()

    # -- choosing -------------------------------------------------------------------------------------------------

    def process(self, at: int) -> Process:
        processes = list(self.world.processes.values())
        return processes[at % len(processes)]

    def some_of(self, process: Process, at: Sequence[int]) -> list[Entry]:
        """Return some of a process's references; one may be chosen twice."""
        return [process.refs[index % len(process.refs)] for index in at] if process.refs else []

    def done(self, process: Process, sends: bool) -> None:
        """End a step; with ``sends``, what it wants sent leaves at once."""
        if sends:
            process.mail.flush()

    # -- who is there ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.processes) < MAX_PROCESSES)
    @rule()
    def process_comes(self) -> None:
        self.count += 1
        self.world.add(b"worker%02d" % self.count)

    @precondition(lambda self: len(self.world.processes) > 2)
    @rule(at=pick, share=st.floats(0, 1))
    def process_crashes(self, at: int, share: float) -> None:
        self.world.crash(self.process(at).process_id, share)
        if not self.world.processes:  # they were each other's actors
            self.process_comes()

    @precondition(lambda self: self.world.crashed)
    @rule(at=pick)
    def head_hears_of_a_crash(self, at: int) -> None:
        self.world.report(self.world.crashed[at % len(self.world.crashed)])

    # -- what user code does --------------------------------------------------------------------------------------

    @rule(at=pick, inside=picks)
    def put(self, at: int, inside: Sequence[int]) -> None:
        process = self.process(at)
        process.put(self.some_of(process, inside))

    @rule(at=pick, to=pick, what=picks, sends=st.booleans())
    def send_as_arguments(self, at: int, to: int, what: Sequence[int], sends: bool) -> None:
        process, worker = self.process(at), self.process(to)
        process.call(worker.process_id, self.some_of(process, what))
        self.done(process, sends)

    @rule(at=pick, to=pick, what=picks, sends=st.booleans())
    def send_as_result(self, at: int, to: int, what: Sequence[int], sends: bool) -> None:
        process, caller = self.process(at), self.process(to)
        process.answer(caller.process_id, self.some_of(process, what))
        self.done(process, sends)

    @rule(at=pick, which=pick, sends=st.booleans())
    def drop(self, at: int, which: int, sends: bool) -> None:
        process = self.process(at)
        if process.refs:
            del process.refs[which % len(process.refs)]
            if sends:
                process.turn()

    @rule(at=pick, which=pick, opens=st.booleans(), sends=st.booleans())
    def take_from_inbox(self, at: int, which: int, opens: bool, sends: bool) -> None:
        """Unpickle a payload, or throw it away unopened."""
        process = self.process(at)
        if process.inbox:
            payload = process.inbox.pop(which % len(process.inbox))
            if opens:
                process.refs += [loans.adopt(process.state, process.mail, spec) for spec in payload.refs]
            del payload
            if sends:
                process.turn()

    @rule(at=pick, which=pick, sends=st.booleans())
    def fetch(self, at: int, which: int, sends: bool) -> None:
        process = self.process(at)
        if process.refs:
            self.world.fetch(process, process.refs[which % len(process.refs)])
            self.done(process, sends)

    @rule(at=pick, which=pick)
    def get(self, at: int, which: int) -> None:
        """Unpickle the value of a reference that is there."""
        process = self.process(at)
        if process.refs:
            payload = process.refs[which % len(process.refs)].payload
            if payload is not None:
                process.refs += [loans.adopt(process.state, process.mail, spec) for spec in payload.refs]

    @rule(at=pick, which=pick)
    def pickle_outside(self, at: int, which: int) -> None:
        process = self.process(at)
        if process.refs:
            entry = process.refs[which % len(process.refs)]
            spec = loans.refer(process.state, process.mail, entry, is_carried=False)
            process.mail.flush()
            self.world.loose.append((spec, process.process_id, self.world.said(process.process_id)))

    @precondition(lambda self: self.world.loose)
    @rule(at=pick, which=pick, sends=st.booleans())
    def unpickle_outside(self, at: int, which: int, sends: bool) -> None:
        process = self.process(at)
        spec, _, _ = self.world.loose[which % len(self.world.loose)]
        process.refs.append(loans.adopt(process.state, process.mail, spec))
        self.done(process, sends)

    # -- actors ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.actors) < 3)
    @rule(at=pick, what=picks, restarts=st.integers(0, 2))
    def create_actor(self, at: int, what: Sequence[int], restarts: int) -> None:
        creator = self.process(at)
        self.world.create(creator, self.some_of(creator, what), restarts)

    @precondition(lambda self: self.world.actors)
    @rule(at=pick, which=pick)
    def actor_is_started(self, at: int, which: int) -> None:
        actor = self.world.actors[which % len(self.world.actors)]
        process = self.process(at)
        owner_id = actor.spec.owner_id
        is_startable = not (actor.is_dead or actor.worker_id) and owner_id in self.world.processes
        if is_startable and process.process_id != owner_id:
            self.world.start(actor, process)
            process.mail.flush()

    @precondition(lambda self: self.world.actors)
    @rule(which=pick)
    def actor_is_ready(self, which: int) -> None:
        actor = self.world.actors[which % len(self.world.actors)]
        if actor.is_starting and actor.worker_id in self.world.processes and not actor.is_dead:
            self.world.finish_start(actor)

    # -- what happens in between ----------------------------------------------------------------------------------

    @precondition(lambda self: self.world.ready())
    @rule(at=st.lists(pick, min_size=1, max_size=8), sends=st.booleans())
    def messages_arrive(self, at: Sequence[int], sends: bool) -> None:
        for index in at:
            ready = self.world.ready()
            if ready:
                wire = ready[index % len(ready)]
                self.world.deliver(wire)
                if sends and wire[1] in self.world.processes:
                    self.world.processes[wire[1]].turn()

    @rule(at=pick)
    def process_takes_a_turn(self, at: int) -> None:
        self.process(at).turn()

    @rule()
    def everything_arrives(self) -> None:
        self.world.settle()
        self.world.check_nothing_is_kept()

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def what_can_be_reached_is_there(self) -> None:
        self.world.check_nothing_is_freed()

    @invariant()
    def tables_are_consistent(self) -> None:
        for process in self.world.processes.values():
            process.state.objects.check_invariants()

    def teardown(self) -> None:
        """When all is dropped, nothing is left."""
        self.world.settle()
        self.world.check_nothing_is_freed()
        self.world.check_nothing_is_kept()
        for actor in self.world.actors:
            actor.is_dead = True
        for process in self.world.processes.values():
            process.refs.clear()
            process.inbox.clear()
            process.state.constructors.clear()
        self.world.settle()
        self.world.check_nothing_is_kept()
        if not self.world.loose:
            for process in self.world.processes.values():
                objects = process.state.objects
                assert not [*objects.exported, *objects.lent, *objects.loans, *objects.gone]
                assert not self.world.owning.get(process.process_id, False)


LoansMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLoansMachine = LoansMachine.TestCase


def test_nothing_here_needs_the_garbage_collector() -> None:
    """Entries go by their reference counts alone, or the counts would depend on when the collector runs."""
    gc.disable()
    try:
        world = World()
        owner, borrower = world.add(b"driver00", is_driver=True), world.add(b"worker01")
        owner.put([])
        owner.call(borrower.process_id, owner.refs)
        world.settle()
        borrower.inbox.clear()
        owner.refs.clear()
        world.settle()
        world.check_nothing_is_kept()
        assert not owner.state.objects.exported
    finally:
        gc.enable()
