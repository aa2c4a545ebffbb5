"""Random lives of objects: whatever is asked for arrives, or fails for a reason that a plain model knows too.

The model knows which calls there were, what they took and returned, and what the user still refers to. From that,
and from what is in the stores, it works out the fewest calls that have to run for a value to be there again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipyactors.ground.exceptions import (
    ObjectReconstructionFailedError,
    ObjectReconstructionFailedLineageDisabledError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
    ObjectReconstructionFailedPutError,
    ObjectReconstructionFailedRetriesDisabledError,
    WorkerCrashedError,
)
from ipyactors.owner import rebuild
from ipyactors.owner.lineage import Record
from ipyactors.owner.objects import Entry
from tests.support.rebuild_world import HOME, LARGE, NODES, SMALL, World

SIZES = st.sampled_from([SMALL, LARGE, LARGE])
pick = st.integers(min_value=0, max_value=1_000)


@dataclasses.dataclass
class Made:
    """What the model knows of a call, or of a put (which has no ``name``)."""

    name: str
    deps: tuple[bytes, ...]
    max_retries: int
    has_lineage: bool = True
    is_evicted: bool = False


class RebuildMachine(RuleBasedStateMachine):
    """Drives an owner through all that can happen to its objects. ``held`` is what the user refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.held: dict[bytes, Entry] = {}
        self.made: dict[bytes, Made] = {}  # by object id
        self.sizes: dict[bytes, str] = {}
        self.count = 0

    def choose(self, number: int) -> bytes:
        return sorted(self.held)[number % len(self.held)]

    # -- what the user does --------------------------------------------------------------------------------------

    @rule(
        deps=st.lists(pick, max_size=3),
        returns=st.lists(SIZES, min_size=1, max_size=3),
        max_retries=st.sampled_from([-1, -1, 0, 1, 3, 3]),
        has_lineage=st.sampled_from([True, True, True, False]),
        is_finished=st.booleans(),
    )
    def submit(
        self, deps: list[int], returns: list[str], max_retries: int, *, has_lineage: bool, is_finished: bool
    ) -> None:
        chosen = tuple(self.choose(number) for number in deps) if self.held else ()
        self.count += 1
        made = Made(f"f{self.count}", chosen, max_retries, has_lineage)
        entries = self.world.call(
            made.name,
            *(self.held[object_id] for object_id in chosen),
            returns=tuple(returns),
            max_retries=max_retries,
            lineage=has_lineage,
        )
        for entry, size in zip(entries, returns, strict=True):
            self.held[entry.object_id] = entry
            self.made[entry.object_id] = made
            self.sizes[entry.object_id] = size
        if is_finished:
            self.world.drive()

    @rule(size=SIZES)
    def put(self, size: str) -> None:
        entry = self.world.put(size)
        self.held[entry.object_id] = entry
        self.made[entry.object_id] = Made("", (), 0)
        self.sizes[entry.object_id] = size

    @initialize(calls=st.lists(st.tuples(st.lists(pick, max_size=2), SIZES), min_size=2, max_size=6))
    def begin(self, calls: list[tuple[list[int], str]]) -> None:
        for deps, size in calls:
            self.submit(deps, [size], -1, has_lineage=True, is_finished=True)

    @precondition(lambda self: len(self.held) > 1)
    @rule(numbers=st.lists(pick, min_size=1, max_size=3))
    def drop(self, numbers: list[int]) -> None:
        for number in numbers[: len(self.held) - 1]:
            del self.held[self.choose(number)]

    @precondition(lambda self: self.held)
    @rule(number=pick)
    def ask(self, number: int) -> None:
        """Miss data, and do not wait for it."""
        entry = self.held[self.choose(number)]
        if entry.done and entry.stored is not None and not self.world.has(entry.stored):
            rebuild.on_missing(self.world.state, self.world.out, entry)
            self.world.settle()

    @precondition(lambda self: self.held)
    @rule(number=pick)
    def get(self, number: int) -> None:
        world, object_id = self.world, self.choose(number)
        world.drive()
        world.take_ran()
        entry = self.held[object_id]
        if entry.failure is not None:
            self.check_reason(entry.failure, self.closure(object_id))
            return
        fewest, there, attempts = self.closure(object_id), self.present(), dict(world.attempts)
        value = world.get(entry)
        ran = world.take_ran()
        assert there <= self.present(), "what was there is lost by a rebuild of something else"
        if value == object_id:
            assert sorted(ran) == sorted(fewest), f"{ran} ran, and {fewest} would do"
            for made in self.made.values():
                if made.name in fewest:
                    assert made.has_lineage
                    assert made.max_retries < 0 or attempts[made.name] <= made.max_retries, "no retry was left"
        else:
            self.check_reason(value, fewest)
            assert len(ran) == len(set(ran)), "a call ran twice"
            assert set(ran) <= fewest

    @precondition(lambda self: self.held)
    @rule(number=pick, also=st.lists(pick, max_size=4), dropped=st.lists(pick, max_size=4))
    def lose_and_get(self, number: int, also: list[int], dropped: list[int]) -> None:
        """Lose the data of an object and of some others, drop some more, and ask for it."""
        object_id = self.choose(number)
        for index in (number, *also):
            self.lose(index, ())
        for index in dropped:
            if self.choose(index) != object_id:
                del self.held[self.choose(index)]
        self.get(sorted(self.held).index(object_id))

    @precondition(lambda self: self.held)
    @rule(number=pick, dropped=st.lists(pick, max_size=6))
    def lose_all_and_get(self, number: int, dropped: list[int]) -> None:
        """Lose all data, drop some objects, and ask for one of the others."""
        self.lose_and_get(number, list(range(len(self.held))), dropped)

    # -- what the world does -------------------------------------------------------------------------------------

    @rule(number=pick)
    def step(self, number: int) -> None:
        self.world.step(number)

    @precondition(lambda self: self.held)
    @rule(number=pick, nodes=st.sampled_from([(), (HOME,), NODES[1:]]))
    def lose(self, number: int, nodes: tuple[bytes, ...]) -> None:
        entry = self.held[self.choose(number)]
        if entry.stored is not None:
            self.world.lose(entry, *nodes)

    @precondition(lambda self: self.held)
    @rule(number=pick, node=st.sampled_from(NODES))
    def copy(self, number: int, node: bytes) -> None:
        entry = self.held[self.choose(number)]
        if entry.done and entry.stored is not None and self.world.has(entry.stored) and node in self.world.nodes:
            self.world.copy(entry, node)

    @precondition(lambda self: len(self.world.nodes) > 1)
    @rule()
    def lose_node(self) -> None:
        self.world.lose_node(self.world.nodes[-1])

    @precondition(lambda self: len(self.world.nodes) < 3)
    @rule()
    def add_node(self) -> None:
        self.world.nodes.append(next(node for node in NODES if node not in self.world.nodes))

    @precondition(lambda self: not self.world.crashes)
    @rule(count=st.sampled_from([0, 0, 1, 2]))
    def crash(self, count: int) -> None:
        self.world.crashes = count

    @precondition(lambda self: self.world.state.lineage.records())
    @rule()
    def evict(self) -> None:
        oldest = self.world.state.lineage.records()[0]
        for object_id, made in self.made.items():
            if object_id[:16] == oldest.task_id[:16]:
                made.is_evicted = True
        self.world.state.lineage.bar(oldest.task_id, ObjectReconstructionFailedLineageEvictedError)

    # -- the model -----------------------------------------------------------------------------------------------

    def present(self) -> set[bytes]:
        """Return the large objects whose data is somewhere, and that the user refers to."""
        return {object_id for object_id in self.held if self.sizes[object_id] == LARGE and self.is_there(object_id)}

    def closure(self, object_id: bytes) -> set[str]:
        """Return the names of the fewest calls that have to run for an object to be there; ``""`` for a put."""
        names: set[str] = set()
        agenda = [object_id]
        seen: set[bytes] = set()
        while agenda:
            wanted = agenda.pop()
            if wanted in seen or self.is_there(wanted):
                continue
            seen.add(wanted)
            made = self.made[wanted]
            names.add(made.name)
            agenda += made.deps
        return names

    def is_there(self, object_id: bytes) -> bool:
        if self.sizes[object_id] == LARGE:
            return object_id in self.held and bool(self.world.segments.get(object_id))
        entry = self.held.get(object_id)
        return (entry is not None and entry.failure is None) or object_id in self.kept()

    def kept(self) -> set[bytes]:
        """Return the small objects that nothing makes again, and that records keep therefore."""
        records = self.world.state.lineage.records()
        return {argument.object_id for record in records for argument in record.arguments if argument.kept}

    def check_reason(self, failure: Any, needed: set[str]) -> None:
        reasons: set[type] = set()
        for made in self.made.values():
            if made.name not in needed:
                continue
            attempts = self.world.attempts.get(made.name, 0)
            if not made.name:
                reasons.add(ObjectReconstructionFailedPutError)
            if made.name and not made.has_lineage:
                reasons.add(ObjectReconstructionFailedLineageDisabledError)
            if made.name and made.max_retries == 0:
                reasons.add(ObjectReconstructionFailedRetriesDisabledError)
            if made.max_retries >= 0 and attempts > made.max_retries:
                reasons |= {ObjectReconstructionFailedMaxAttemptsExceededError, WorkerCrashedError}
            if made.is_evicted:
                reasons.add(ObjectReconstructionFailedLineageEvictedError)
        assert isinstance(failure, (ObjectReconstructionFailedError, WorkerCrashedError)), failure
        assert type(failure) in reasons, f"{failure!r} is none of {reasons}"

    # -- always --------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_kept_that_nobody_needs(self) -> None:
        state = self.world.state
        state.check_invariants()
        if self.world.out.sent or state.unanswered or state.searches:
            return
        assert not state.rebuilding
        assert not state.waiting
        assert not state.overdue
        reachable: set[bytes] = set()
        agenda = [entry.lineage for entry in self.held.values()]
        while agenda:
            record = agenda.pop()
            if isinstance(record, Record) and record.bar is None and record.task_id not in reachable:
                reachable.add(record.task_id)
                agenda += [argument.record for argument in record.arguments]
        assert {record.task_id for record in state.lineage.records()} == reachable
        assert set(state.lineage.entries) <= {*self.held, *self.kept()}
        stored = {object_id for object_id, places in self.world.segments.items() if places}
        assert stored <= set(self.held), "data of what nobody refers to is in a store"

    def teardown(self) -> None:
        self.world.drive()
        self.held.clear()
        assert self.world.state.lineage.records() == []
        assert not any(self.world.segments.values())


TestRebuildMachine = RebuildMachine.TestCase
TestRebuildMachine.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
