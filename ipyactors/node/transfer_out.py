"""What transfers between stores may cause, and nothing else.

Nothing here answers; what comes of it arrives as a fact later.
"""

from __future__ import annotations

from typing import Protocol

from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import DropCopies, ReadSegment, SegmentChunk, SegmentGone, SegmentHere


class PullOut(Protocol):
    """The shell's side of fetching. ``number`` names the file that a pull is written to."""

    def ask(self, source: Location, message: ReadSegment) -> None:
        """Ask the store of another machine for a piece."""
        ...

    def make_room(self, number: int, segment_id: bytes, size: int) -> None:
        """Have the store of this machine make room for the whole segment."""
        ...

    def create(self, number: int, segment_id: bytes, *, spill: bool) -> None:
        """Begin the file: in shared memory, or on disk."""
        ...

    def write(self, number: int, offset: int, data: memoryview) -> None:
        """Write a piece into the file."""
        ...

    def publish(self, number: int) -> None:
        """Give the file the segment's name."""
        ...

    def abandon(self, number: int) -> None:
        """Remove the file, if there is one, published or not, and give its room back."""
        ...

    def tell(self, process_id: bytes, message: SegmentHere | SegmentGone) -> None:
        """Send to a process of this machine; dropped if it is gone."""
        ...


class ServeOut(Protocol):
    """The shell's side of serving."""

    def read(self, reader_id: bytes, message: ReadSegment) -> None:
        """Read a piece from its file; answered by a fact, with nothing if there is no such segment."""
        ...

    def forget(self, segment_id: bytes) -> None:
        """Close the file of a segment, if it is open: nobody reads it now."""
        ...

    def send(self, reader_id: bytes, message: SegmentChunk | DropCopies) -> None:
        """Send to the store of another machine; a reader that cannot be reached is a fact later."""
        ...
