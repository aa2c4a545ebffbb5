"""Random lives of objects whose owners die: what is referred to arrives, or fails for a reason that a model knows too.

The model knows which calls have returned which references, and which of their arguments there are. From that, and from
what is in the stores, it works out the fewest calls that have to run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipyactors.ground import ids
from ipyactors.ground.exceptions import ObjectReconstructionFailedLineageEvictedError as Evicted
from ipyactors.ground.exceptions import OwnerDiedError
from ipyactors.owner import loans
from ipyactors.owner.objects import Entry
from tests.support.orphan_world import OrphanWorld, Value
from tests.support.rebuild_world import LARGE

pick = st.integers(min_value=0, max_value=1_000)
LETTERS = st.text(alphabet="SL", min_size=1, max_size=3)


@dataclasses.dataclass
class Made:
    """What the model knows of a call that has returned references: its argument, and the runs that it has left."""

    dep: Entry | None
    runs_left: int
    has_lineage: bool
    is_evicted: bool = False

    @property
    def may_run(self) -> bool:
        return self.has_lineage and not self.is_evicted and self.runs_left != 0


class OrphansMachine(RuleBasedStateMachine):
    """Drives an owner that borrows from its workers. ``held`` are the references of the user, by what they stand for.

    Of each call one result with references is kept; ``deps`` are results that calls take as arguments.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = OrphanWorld()
        self.held: dict[Value, Entry] = {}
        self.made: dict[str, Made] = {}
        self.deps: list[Entry] = []
        self.count = 0

    def choose(self, number: int) -> Value:
        return sorted(self.held)[number % len(self.held)]

    # -- what the user does --------------------------------------------------------------------------------------

    @initialize(calls=st.lists(LETTERS, min_size=1, max_size=3))
    def begin(self, calls: list[str]) -> None:
        [dep] = self.world.call("argument", returns=(LARGE,), max_retries=-1)
        self.world.drive()
        self.deps.append(dep)
        for letters in calls:
            self.submit(letters, 3, takes=True, has_lineage=True)

    @rule(
        letters=LETTERS,
        max_retries=st.sampled_from([-1, 0, 1, 3]),
        takes=st.booleans(),
        has_lineage=st.sampled_from([True, True, True, False]),
    )
    def submit(self, letters: str, max_retries: int, *, takes: bool, has_lineage: bool) -> None:
        self.count += 1
        name = f"f{self.count}"
        deps = tuple(self.deps) if takes else ()
        [entry] = self.world.call(
            name, *deps, returns=(f"refs:{letters}",), max_retries=max_retries, lineage=has_lineage
        )
        for position, ref in enumerate(self.world.inner(entry)):
            self.held[name, 0, position] = ref
        self.made[name] = Made(deps[0] if deps else None, max_retries, has_lineage)
        self.world.take_ran()

    @precondition(lambda self: len(self.held) > 1)
    @rule(numbers=st.lists(pick, min_size=1, max_size=3))
    def drop(self, numbers: list[int]) -> None:
        for number in numbers[: len(self.held) - 1]:
            del self.held[self.choose(number)]

    @precondition(lambda self: self.held)
    @rule(number=pick)
    def ask(self, number: int) -> None:
        """Need an object, and do not wait for it."""
        self.world.ask_for(self.held[self.choose(number)])
        self.world.settle()

    @rule(number=pick)
    def step(self, number: int) -> None:
        self.world.step(number)

    @precondition(lambda self: self.held)
    @rule(number=pick)
    def get(self, number: int) -> None:
        world, key = self.world, self.choose(number)
        self.rest()
        entry = self.held[key]
        if entry.failure is not None:
            return
        made = self.made[key[0]]
        is_lost, may_run = world.is_lost(entry), made.may_run
        value = world.get_inner(entry)
        ran = world.take_ran()
        self.count_runs(ran)
        if not is_lost:
            assert value == key
            assert ran == [], "it was there"
        elif may_run:
            assert value == key, value
            assert sorted(ran) in ([key[0]], ["argument", key[0]]), f"{ran} ran"
            for other, sibling in self.held.items():
                if other[0] == key[0] and sibling.failure is None:
                    assert not world.is_lost(sibling), "another run will be needed for what this one could have made"
        else:
            assert isinstance(value, OwnerDiedError), value
            assert value.reason
            assert ran == []

    # -- what happens --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(number=pick, loses=st.booleans())
    def crash_owner(self, number: int, *, loses: bool) -> None:
        """End the process that has an object now; perhaps its data is lost too."""
        entry = loans.heir_of(self.held[self.choose(number)])
        self.rest()
        reachable = {loans.heir_of(ref).object_id for ref in self.held.values() if ref.failure is None}
        stored = reachable & self.world.kept()
        self.world.kill(ids.owner_of(entry.object_id))
        self.rest()
        assert stored <= self.world.kept(), "data was removed to which a reference leads"
        if loses and ids.owner_of(loans.heir_of(entry).object_id) in self.world.gone:
            self.world.lose_data(entry)

    @precondition(lambda self: self.held)
    @rule(number=pick)
    def crash_owner_in_the_middle(self, number: int) -> None:
        """End it while words are under way."""
        self.world.kill(ids.owner_of(loans.heir_of(self.held[self.choose(number)]).object_id))

    @precondition(lambda self: self.held)
    @rule(number=pick, also=pick, loses=st.booleans())
    def crash_owner_and_get(self, number: int, also: int, *, loses: bool) -> None:
        self.crash_owner(number, loses=loses)
        self.crash_owner(also, loses=loses)
        self.get(number)

    @precondition(lambda self: self.deps[0].stored is not None)
    @rule()
    def lose_argument(self) -> None:
        self.rest()
        if self.deps[0].stored is not None:
            self.world.lose(self.deps[0])

    @precondition(lambda self: self.world.state.lineage.records())
    @rule()
    def evict(self) -> None:
        oldest = [record for record in self.world.state.lineage.records() if record.name in self.made]
        for record in oldest[:1]:
            self.made[record.name].is_evicted = True
            self.world.state.lineage.bar(record.task_id, Evicted)

    # -- the model -----------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Let everything come to rest that was begun."""
        self.world.drive()
        self.count_runs(self.world.take_ran())

    def count_runs(self, ran: list[str]) -> None:
        for name in ran:
            if name in self.made and self.made[name].runs_left > 0:
                self.made[name].runs_left -= 1

    # -- always --------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_kept_that_nobody_needs(self) -> None:
        world, state = self.world, self.world.state
        state.check_invariants()
        if world.out.sent or state.unanswered or state.searches or state.objects.gone:
            return
        assert not state.rebuilding
        needed: set[bytes] = set()
        for entry in self.held.values():
            heir: Any = entry
            while heir is not None:
                needed.add(heir.object_id)
                heir = getattr(heir, "heir", None)
        assert world.kept() <= needed, "data is kept to which nothing refers"
        assert world.claims == state.objects.claimed <= needed
        assert set(state.objects.borrowed) <= needed
        names = {record.name for record in state.lineage.records()}
        assert names <= {"argument", *(name for name, _, _ in self.held)}

    def teardown(self) -> None:
        self.world.drive()
        self.held.clear()
        self.deps.clear()
        for made in self.made.values():
            made.dep = None
        self.world.drive()
        assert not self.world.kept()
        assert not self.world.claims
        assert not self.world.state.objects.borrowed
        assert self.world.state.lineage.records() == []


TestOrphansMachine = OrphansMachine.TestCase
TestOrphansMachine.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
