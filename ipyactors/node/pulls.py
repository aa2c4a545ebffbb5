"""Segments on their way here from other machines, as the agent knows them. Pure.

A *pull* is the one transfer of a segment to this machine, however many processes have asked for it. What is known of
it is kept by piece and not by position: after a cut, only the pieces that were under way are asked for again.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque

from ipyactors.ground import ids
from ipyactors.wire.specs import Location

#: A segment travels in pieces of this size; each has its own checksum. Copying one is what a turn may cost at most.
CHUNK_BYTES = 1024 * 1024

#: How many pieces of one segment are under way at once, those that are being written here included.
WINDOW = 8

#: How many segments travel here at once. With the window it bounds what waits in the memory of the sources.
MAX_PULLS = 8

#: A source that has been asked and has sent nothing for this long is given up for another.
STALL_S = 10.0

#: A source that has failed this often, with no good piece in between, is not asked again.
MAX_STRIKES = 2

#: How many owners that are gone are remembered, for wishes that were on their way when they went.
KEPT_GONE = 10_000

#: How often a pull begins anew because its sources hold different writings of the segment.
MAX_FRESH_STARTS = 4


class Stage(enum.Enum):
    """Where a pull is in its life; see :data:`STEPS`."""

    WAITING = "waiting"
    """For its turn: ``MAX_PULLS`` others are on."""
    OPENING = "opening"
    """Its first piece is asked for, and nothing else."""
    ROOM = "room"
    """The store makes room; the first piece is kept in memory."""
    READING = "reading"
    PUBLISHING = "publishing"
    """All is written; the file is getting its name."""


# A segment's size is known only to who has it, and no byte is written before there is room for all of them. So the
# first piece is asked for alone (a segment of one piece costs one round trip), room is made for the total that it
# names, and only then is the window opened. A pull goes back to the opening when what it has is of no use: another
# source holds another writing of the segment (its task ran twice), or memory filled up in spite of the accounts and the
# file is begun again on disk. A pull that ends is no longer in the table, whatever its stage was.
STEPS: dict[Stage, frozenset[Stage]] = {
    Stage.WAITING: frozenset({Stage.OPENING}),
    Stage.OPENING: frozenset({Stage.ROOM, Stage.READING}),
    Stage.ROOM: frozenset({Stage.READING}),
    Stage.READING: frozenset({Stage.OPENING, Stage.PUBLISHING}),
    Stage.PUBLISHING: frozenset({Stage.OPENING}),
}


@dataclasses.dataclass(slots=True)
class Source:
    """A machine that is said to have the segment. ``trouble`` is what went wrong with it last."""

    location: Location
    strikes: int = 0
    is_out: bool = False
    trouble: str = ""

    @property
    def node_id(self) -> bytes:
        """The machine's id."""
        return self.location.node_id


@dataclasses.dataclass(slots=True, eq=False)
class Pull:
    """One segment on its way here.

    ``number`` names the file that it is written to; a fresh start has a new one. ``asked`` maps the offsets of the
    pieces under way to how often the present source was asked for them; ``again`` are those that were under way when a
    source went; from ``next_offset`` on nothing was asked for yet. ``in_hand`` are pieces that arrived and are being
    written; ``held`` is the first piece while room is made. ``total`` is -1 until that piece tells it, with the
    ``version`` of the segment: which writing of it this is. ``heard_s``: when the source was last heard, or began to be
    waited for. ``keep``: the segment's owner counts on this copy.
    """

    segment_id: bytes
    number: int
    chunk_bytes: int = CHUNK_BYTES
    askers: dict[bytes, None] = dataclasses.field(default_factory=dict)
    sources: list[Source] = dataclasses.field(default_factory=list)
    stage: Stage = Stage.WAITING
    source: Source | None = None
    total: int = -1
    version: int = 0
    asked: dict[int, int] = dataclasses.field(default_factory=dict)
    again: deque[int] = dataclasses.field(default_factory=lambda: deque([0]))
    next_offset: int = dataclasses.field(init=False)
    in_hand: set[int] = dataclasses.field(default_factory=set)
    held: memoryview | None = None
    written_bytes: int = 0
    must_spill: bool = False
    keep: bool = False
    fresh_starts: int = 0
    heard_s: float = 0.0

    def __post_init__(self) -> None:
        """The first piece is the first to be asked for."""
        self.next_offset = self.chunk_bytes

    @property
    def has_file(self) -> bool:
        """Whether something of it is on this machine."""
        return self.stage in (Stage.READING, Stage.PUBLISHING)

    def wants_more(self) -> bool:
        """Return whether a piece is left to be asked for."""
        return bool(self.again) or self.next_offset < self.total

    def may_ask(self) -> bool:
        """Return whether the window is open."""
        if self.stage is Stage.OPENING:
            return not self.asked
        return self.stage is Stage.READING and len(self.asked) + len(self.in_hand) < WINDOW

    def take_offset(self) -> int:
        """Return the offset of the piece to be asked for next."""
        if self.again:
            return self.again.popleft()
        offset = self.next_offset
        self.next_offset += self.chunk_bytes
        return offset

    def piece_bytes(self, offset: int, total: int) -> int:
        """Return how long the piece at ``offset`` is in a segment of ``total`` bytes; 0 if that ends before."""
        return max(0, min(self.chunk_bytes, total - offset))

    def step(self, stage: Stage) -> None:
        """Go on to another stage."""
        assert stage in STEPS[self.stage], f"a pull cannot go from {self.stage} to {stage}"
        self.stage = stage

    def leave_source(self) -> None:
        """Let the source go; what it was asked for will be asked again, in order."""
        self.source = None
        self.again = deque(sorted([*self.asked, *self.again]))
        self.asked.clear()

    def begin_afresh(self, number: int) -> None:
        """Forget every piece, and go back to the opening; the source stays."""
        self.step(Stage.OPENING)
        self.number, self.total, self.version, self.written_bytes, self.held = number, -1, 0, 0, None
        self.again, self.next_offset = deque([0]), self.chunk_bytes
        self.asked.clear()
        self.in_hand.clear()
        self.fresh_starts += 1


@dataclasses.dataclass(slots=True)
class Pulls:
    """All pulls of this machine.

    ``cut`` are sources that have no connection now, ``lost`` are machines that are gone, ``gone`` owners that are, each
    with the segments that others have claimed.
    """

    node_id: bytes
    chunk_bytes: int = CHUNK_BYTES
    by_segment: dict[bytes, Pull] = dataclasses.field(default_factory=dict)
    by_number: dict[int, Pull] = dataclasses.field(default_factory=dict)
    waiting: deque[Pull] = dataclasses.field(default_factory=deque)
    cut: set[bytes] = dataclasses.field(default_factory=set)
    lost: dict[bytes, str] = dataclasses.field(default_factory=dict)
    gone: dict[bytes, frozenset[bytes]] = dataclasses.field(default_factory=dict)
    numbers: int = 0

    def new_number(self) -> int:
        """Return a number that no pull has had."""
        self.numbers += 1
        return self.numbers

    def is_unwanted(self, segment_id: bytes) -> bool:
        """Return whether its owner is gone, and nobody has claimed it."""
        keep = self.gone.get(ids.owner_of(segment_id))
        return keep is not None and segment_id not in keep

    def active(self) -> int:
        """Return how many are on."""
        return len(self.by_segment) - len(self.waiting)

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables contradict each other."""
        assert self.active() <= MAX_PULLS
        assert not self.waiting or self.active() == MAX_PULLS, "one waits though there is a place"
        assert {pull.number for pull in self.by_segment.values()} == self.by_number.keys()
        for segment_id, pull in self.by_segment.items():
            assert pull.segment_id == segment_id
            assert self.by_number[pull.number] is pull
            assert pull.askers, "nobody wants it"
            assert (pull.stage is Stage.WAITING) == (pull in self.waiting)
            assert (pull.stage is Stage.ROOM) == (pull.held is not None)
            assert len(pull.asked) + len(pull.in_hand) <= WINDOW
            assert not pull.asked or pull.source is not None
            assert not pull.asked.keys() & pull.in_hand
            assert not pull.asked.keys() & set(pull.again)
            if pull.stage in (Stage.OPENING, Stage.READING):
                assert pull.asked or pull.in_hand, "nothing will ever happen to it"


def choose_source(sources: list[Source], cut: set[bytes]) -> Source | None:
    """Return whom to ask: of those in question the connected before the others, then the least troubled, the first."""
    candidates = [source for source in sources if not source.is_out]
    return min(candidates, key=lambda source: (source.node_id in cut, source.strikes), default=None)


def explain_failure(pull: Pull) -> str:
    """Return why the segment could not be had, source by source."""
    if not pull.sources:
        return "no other machine was named that has it"
    return "; ".join(f"node {ids.short(source.node_id)}: {source.trouble}" for source in pull.sources)
