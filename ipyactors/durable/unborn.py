"""A word in the folder of an actor that never came to be: why it did not, as half a sentence.

Its log does not tell it from an actor that nobody has called. Without this word, a replay would run the constructor
again and find that it "now" raises.
"""

from __future__ import annotations

from ipyactors.durable.disk import Disk

#: The file.
NAME = "unborn"

#: Characters; an error's message may have any length.
_AT_MOST = 2000


def note(disk: Disk, words: str) -> None:
    """Leave word that there is no actor, and will be none. Raises OSError."""
    disk.replace(NAME, words[:_AT_MOST].encode(errors="backslashreplace"))


def read(disk: Disk) -> str:
    """Return why there is no actor; empty if nothing is said, or it cannot be read."""
    try:
        return disk.read(NAME).decode(errors="replace")
    except OSError:
        return ""
