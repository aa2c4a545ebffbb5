"""Everything of this process that a reference could be to: found by asking Python's garbage collector.

There is no list of all entries, and of all references there cannot be one: each would cost every call more than the
call site does. The collector has such a list anyway. Going through it takes a few milliseconds, or a second and a
half where there are a million references, and only when somebody asks for a census.
"""

from __future__ import annotations

import gc
from collections import Counter

from ipyactors.owner import census
from ipyactors.owner.objects import BorrowedEntry, Entry, Reference
from ipyactors.owner.state import OwnerState
from ipyactors.wire.census_messages import ObjectsReported, ReportObjects


def report(state: OwnerState, message: ReportObjects, now_s: float) -> ObjectsReported:
    """Return what this process owns and holds at this moment; under the session's lock."""
    entries: list[Entry] = []
    references: Counter[Entry] = Counter()
    kinds = set(Reference.__subclasses__())
    for thing in gc.get_objects():
        kind = type(thing)
        if kind in kinds:
            # Another thread may be in the middle of making it: then it has nothing yet.
            if hasattr(thing, "_entry"):
                references[thing._entry] += 1
        elif (kind is Entry or kind is BorrowedEntry) and hasattr(thing, "lineage"):  # which is set last
            entries.append(thing)
    return census.report(state, entries, references, message, now_s)
