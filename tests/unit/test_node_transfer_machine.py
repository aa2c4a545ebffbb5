"""Random lives of stores that fetch from each other: what is published is whole, and whoever asked is answered."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyactors.node import transfer
from ipyactors.node.pulls import STALL_S, WINDOW
from ipyactors.node.serving import RETRY_S
from ipyactors.wire.store_messages import SegmentHere
from tests.support.transfer_world import Segment, Store, World, text

NAMES = [b"n1", b"n2", b"n3", b"n4"]
OWNERS = [b"d1------", b"d2------"]
SEGMENTS = [owner + b"segment-%04d" % at for owner in OWNERS for at in range(3)]
PROCESSES = [b"w1", b"w2"]
PIECES = [0.5, 1, 2.5, 9, 20, 8.1]

pick = st.integers(min_value=0, max_value=1_000)


class TransferMachine(RuleBasedStateMachine):
    """Stores ask, owners make and free, links break, machines die, at any moment and in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(*NAMES)
        self.asked: set[tuple[bytes, bytes, bytes]] = set()
        self.writings: dict[tuple[bytes, int], bytes] = {}
        self.versions = 0
        self.gone_owners: set[bytes] = set()

    def store(self, at: int) -> Store:
        stores = list(self.world.stores.values())
        return stores[at % len(stores)]

    # -- processes -------------------------------------------------------------------------------------------------

    @rule(at=pick, which=pick)
    def owner_makes(self, at: int, which: int) -> None:
        """Also again, elsewhere and with other contents, as a task that runs twice does."""
        segment_id = SEGMENTS[which % len(SEGMENTS)]
        if segment_id[:8] in self.gone_owners:
            return
        self.versions += 1
        data = text(PIECES[which % len(PIECES)], seed=self.versions)
        self.writings[segment_id, self.versions] = data
        self.store(at).seal(segment_id, Segment(data, self.versions))

    @rule(at=pick, which=pick, process=pick, sources=st.lists(pick, max_size=4))
    def process_asks(self, at: int, which: int, process: int, sources: list[int]) -> None:
        store, segment_id = self.store(at), SEGMENTS[which % len(SEGMENTS)]
        process_id = PROCESSES[process % len(PROCESSES)]
        self.asked.add((store.node_id, process_id, segment_id))
        store.pull(process_id, segment_id, *(self.store(source) for source in sources))

    @rule(at=pick, process=pick)
    def process_dies(self, at: int, process: int) -> None:
        store, process_id = self.store(at), PROCESSES[process % len(PROCESSES)]
        transfer.on_process_gone(store.pulls, store, process_id, self.world.now)
        self.asked = {ask for ask in self.asked if ask[:2] != (store.node_id, process_id)}

    @rule(which=pick)
    def owner_frees(self, which: int) -> None:
        segment_id = SEGMENTS[which % len(SEGMENTS)]
        for store in self.world.stores.values():
            if store.holds_original(segment_id):
                store.free(segment_id)

    @rule(at=pick, which=pick)
    def owner_dies(self, at: int, which: int) -> None:
        """The stores hear of it one after the other."""
        owner_id = OWNERS[which % len(OWNERS)]
        self.gone_owners.add(owner_id)
        self.store(at).owner_gone(owner_id)

    # -- stores ----------------------------------------------------------------------------------------------------

    @rule(at=pick, which=pick)
    def store_drops_a_copy(self, at: int, which: int) -> None:
        store, segment_id = self.store(at), SEGMENTS[which % len(SEGMENTS)]
        if segment_id in store.segments and store.segments[segment_id].is_copy:
            del store.segments[segment_id]

    @rule(at=pick, steps=st.integers(1, 20))
    def files_are_worked_on(self, at: int, steps: int) -> None:
        store = self.store(at)
        for _ in range(min(steps, len(store.jobs))):
            store.work()

    @rule(at=pick, which=pick, outcome=st.sampled_from(["memory", "memory", "disk", "none"]))
    def room_is_made(self, at: int, which: int, outcome: str) -> None:
        store = self.store(at)
        if store.room_asked:
            number = list(store.room_asked)[which % len(store.room_asked)]
            store.give_room(number, spill=outcome == "disk", problem="full" if outcome == "none" else "")

    @rule(at=pick, memory=st.booleans(), disk=st.booleans())
    def file_systems_fill_up_or_not(self, at: int, memory: bool, disk: bool) -> None:
        self.store(at).is_memory_full, self.store(at).is_disk_full = memory, disk

    @rule(at=pick, is_frozen=st.booleans())
    def store_freezes_or_wakes(self, at: int, is_frozen: bool) -> None:
        self.store(at).is_frozen = is_frozen

    # -- the network -----------------------------------------------------------------------------------------------

    @rule(at=pick, steps=st.integers(1, 30), back=st.booleans())
    def messages_arrive(self, at: int, steps: int, back: bool) -> None:
        for _ in range(steps):
            wires = self.world.busy_wires()
            if wires:
                self.world.deliver(wires[at % len(wires)], back=back)

    @rule()
    def everything_flows(self) -> None:
        self.world.flow()

    @rule(reader=pick, source=pick, mends=st.booleans())
    def link_changes(self, reader: int, source: int, mends: bool) -> None:
        one, other = self.store(reader), self.store(source)
        if one is not other:
            (self.world.mend if mends else self.world.cut)(one.node_id, other.node_id)

    @precondition(lambda self: self.world.notices)
    @rule()
    def reader_notices(self) -> None:
        self.world.notice()

    @rule(at=pick)
    def source_notices(self, at: int) -> None:
        store = self.store(at)
        if store.unreachable:
            store.tell_unreachable()

    @rule(count=st.integers(1, 3))
    def pieces_will_be_damaged(self, count: int) -> None:
        self.world.damage += count

    @precondition(lambda self: len(self.world.stores) > 2)
    @rule(at=pick)
    def machine_dies(self, at: int) -> None:
        node_id = self.store(at).node_id
        self.world.kill(node_id)
        self.asked = {ask for ask in self.asked if ask[0] != node_id}

    @rule(seconds=st.sampled_from([0.1, RETRY_S, STALL_S]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def tables_are_consistent(self) -> None:
        self.world.check()

    @invariant()
    def what_is_published_is_whole(self) -> None:
        for store in self.world.stores.values():
            for segment_id, segment in store.segments.items():
                assert segment.data == self.writings[segment_id, segment.version]

    def teardown(self) -> None:
        """Once all is quiet, everyone has an answer, and nothing half-done is left."""
        for store in self.world.stores.values():
            store.is_frozen = store.is_memory_full = store.is_disk_full = False
        for reader, source in list(self.world.down):
            self.world.mend(reader, source)
        self.world.damage = 0
        self.world.settle()
        self.world.pass_time(STALL_S)
        self.world.flow()
        self.what_is_published_is_whole()
        for node_id, process_id, segment_id in self.asked:
            answers = self.world.stores[node_id].answers
            assert any((who, what.segment_id) == (process_id, segment_id) for who, what in answers)
        for store in self.world.stores.values():
            assert not store.parts
            assert not store.room_asked
            assert not store.serving.requests
            assert not store.serving.undelivered
            assert not store.serving.files
        self.no_copy_outlives_its_original()

    def no_copy_outlives_its_original(self) -> None:
        """With every link in order throughout, a copy goes with the original that it was read from."""
        if self.world.cuts or len(self.world.stores) < len(NAMES):
            return
        for segment_id in SEGMENTS:
            for store in self.world.stores.values():
                if store.holds_original(segment_id):
                    store.free(segment_id)
        self.world.flow()
        for owner_id in self.gone_owners:
            for store in self.world.stores.values():
                store.owner_gone(owner_id)
        assert not any(store.segments for store in self.world.stores.values())


TransferMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTransferMachine = TransferMachine.TestCase


STEP = st.tuples(
    st.sampled_from(["flow", "flow", "flow", "flow", "cut", "mend", "notice", "damage", "kill", "stall", "room"]), pick
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.integers(1, 60), steps=st.lists(STEP, max_size=40))
def test_what_is_sent_again_is_bounded_by_the_window(pieces: int, steps: list[tuple[str, int]]) -> None:
    """One reader, three sources of one writing: each disturbance costs a window, however far the transfer was."""
    world = World(*NAMES)
    here = world.stores[b"n1"]
    segment_id = SEGMENTS[0]
    for name in NAMES[1:]:
        world.stores[name].segments[segment_id] = Segment(text(pieces))
    here.pull(b"w1", segment_id, *(world.stores[name] for name in NAMES[1:]))
    disturbances = 0
    for step, at in steps:
        sources = [store for store in world.stores.values() if store is not here]
        disturbances += disturb(world, step, sources[at % len(sources)] if sources else None, at)
        world.check()
        if not disturbances:
            under_way = world.most_under_way(here.node_id, segment_id)
            waiting = sum(len(line) for store in sources for line in store.serving.requests.values())
            reading = sum(len(store.jobs) for store in sources)
            assert under_way + waiting + reading <= WINDOW
    for reader, source in list(world.down):
        world.mend(reader, source)
    world.settle()
    asks = len(here.asked)
    assert asks <= pieces + WINDOW * disturbances + world.damaged
    assert sum(world.served.values()) <= asks
    ((_, answer),) = here.answers
    if isinstance(answer, SegmentHere):
        assert here.segments[segment_id].data == text(pieces)
        assert asks >= pieces


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(st.integers(2, 40), min_size=3, max_size=3),
    versions=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    steps=st.lists(STEP, min_size=5, max_size=40),
)
def test_pieces_of_different_writings_are_never_mixed(
    pieces: list[int], versions: list[int], steps: list[tuple[str, int]]
) -> None:
    """The sources have what different runs of a task have made; the reader goes from one to the other all the time."""
    world = World(*NAMES)
    here = world.stores[b"n1"]
    segment_id = SEGMENTS[0]
    writings = {version: text(pieces[version - 1], seed=version) for version in (1, 2, 3)}
    for name, version in zip(NAMES[1:], versions, strict=True):
        world.stores[name].segments[segment_id] = Segment(writings[version], version)
    here.pull(b"w1", segment_id, *(world.stores[name] for name in NAMES[1:]))
    for step, at in steps:
        sources = [store for store in world.stores.values() if store is not here]
        disturb(world, step, sources[at % len(sources)] if sources else None, at)
        world.check()
    for reader, source in list(world.down):
        world.mend(reader, source)
    world.settle()
    ((_, answer),) = here.answers
    if isinstance(answer, SegmentHere):
        arrived = here.segments[segment_id]
        assert arrived.data == writings[arrived.version]


def disturb(world: World, step: str, source: Store | None, at: int) -> int:
    """Take one step of a schedule; return how many disturbances it was."""
    here: Any = world.stores[b"n1"]
    match step:
        case "flow":
            for _ in range(at % 50):
                if wires := world.busy_wires():
                    world.deliver(wires[at % len(wires)], back=at % 2 == 0)
                for store in world.stores.values():
                    for _ in range(at % 4):
                        if store.jobs:
                            store.work()
        case "room" if here.room_asked:
            here.give_room(spill=at % 2 == 0)
        case "cut" if source is not None:
            world.cut(b"n1", source.node_id)
            return 1
        case "mend" if source is not None:
            world.mend(b"n1", source.node_id)
            return 1
        case "notice" if world.notices:
            world.notice()
        case "damage":
            world.damage += 1
            return 1
        case "kill" if source is not None and at % 3 == 0:
            world.kill(source.node_id)
            return 1
        case "stall":
            world.pass_time(STALL_S)
            return 1
    return 0
