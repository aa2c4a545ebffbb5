"""The news that data is nowhere to be had; whoever owns it decides what follows."""

from __future__ import annotations


class SegmentsMissing(Exception):  # noqa: N818 - a fact for the runtime, never shown to a user
    """Raised when these segments are on no machine that is known to have had them."""

    def __init__(self, segment_ids: tuple[bytes, ...]) -> None:
        super().__init__(", ".join(segment_id.hex() for segment_id in segment_ids))
        self.segment_ids = segment_ids
