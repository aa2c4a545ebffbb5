"""The objects of the session: who owns and holds which, how large it is, where it is, which line it comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from ipyactors.api import runtime
from ipyactors.api.memory_join import Joined
from ipyactors.api.memory_report import MemoryReport
from ipyactors.api.memory_rows import MemoryGroup, MemoryRow
from ipyactors.wire.census_messages import CensusReply

#: What the objects may be put together by.
GROUPINGS = ("site", "owner")

#: What the rows may be sorted by.
ORDERS = ("size", "age")

#: The key of what has no call site.
NO_SITE = "(no line of code is known)"


def memory(
    *,
    group_by: Literal["site", "owner"] | None = None,
    sort_by: Literal["size", "age"] = "size",
    limit: int | None = None,
) -> MemoryReport:
    """Return the objects of the session with size, place, owner, holders, call site and age.

    All processes and all stores are asked, so it is for people and not for loops: it takes some milliseconds, and two
    seconds where a process cannot answer because native code holds its interpreter; the report names it then.

    A value that nobody can reach any more takes up shared memory as long as an array (or another view) made of it is
    left: it counts against ``object_store_memory`` until then, and is a row of kind ``freed``, which says who maps it.
    References in a cycle of Python objects that nobody has any more count until Python collects it (``gc.collect()``).

    ``group_by`` adds up by call site or by owner; ``sort_by`` puts the largest first, or the oldest; ``limit`` is how
    many rows, or groups, are wanted. Of each process at most the 10,000 largest objects are listed.

    The report shows itself as a table, and is a sequence of rows; ``report.to_dict()`` is for JSON.

    Raises TypeError or ValueError for a wrong argument; HeadUnavailableError if the head does not answer; SessionError
    without a session, and none is started.
    """
    __tracebackhide__ = True
    check(group_by, sort_by, limit)
    return make_report(runtime.engine_for("memory").take_census(), group_by=group_by, sort_by=sort_by, limit=limit)


def check(group_by: object, sort_by: object, limit: object) -> None:
    """Raise TypeError or ValueError for an argument of :func:`memory` that it does not take."""
    __tracebackhide__ = True
    if group_by is not None and group_by not in GROUPINGS:
        raise ValueError(f"group_by={group_by!r}: takes 'site', 'owner' or None.")
    if sort_by not in ORDERS:
        raise ValueError(f"sort_by={sort_by!r}: takes 'size' or 'age'.")
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit={limit!r}: takes an int or None, not {type(limit).__name__}.")
    if limit < 1:
        raise ValueError(f"limit={limit!r}: takes a number above 0, or None for all.")


def make_report(
    reply: CensusReply, *, group_by: str | None = None, sort_by: str = "size", limit: int | None = None
) -> MemoryReport:
    """Return the report on a census."""
    joined = Joined(reply)
    rows = sorted(joined.rows, key=_size_order if sort_by == "size" else _age_order)
    left_out, left_out_bytes = joined.left_out()
    groups: list[MemoryGroup] = []
    if group_by is not None:
        groups = _group(rows, group_by)
        groups.sort(key=lambda group: -group.size_bytes if sort_by == "size" else -(group.oldest_s or 0.0))
        groups = groups[:limit]
    elif limit is not None:
        left_out += len(rows[limit:])
        left_out_bytes += sum(row.size_bytes for row in rows[limit:])
        rows = rows[:limit]
    return MemoryReport(
        tuple(rows), tuple(joined.nodes), tuple(groups), group_by, left_out, left_out_bytes, tuple(joined.silent())
    )


def _size_order(row: MemoryRow) -> tuple[float, float, str]:
    return -row.size_bytes, -(row.age_s or 0.0), row.object_id


def _age_order(row: MemoryRow) -> tuple[float, float, str]:
    return -(row.age_s or 0.0), -row.size_bytes, row.object_id


def _group(rows: Iterable[MemoryRow], group_by: str) -> list[MemoryGroup]:
    found: defaultdict[str, list[MemoryRow]] = defaultdict(list)
    for row in rows:
        site = NO_SITE if row.site is None else str(row.site)
        found[site if group_by == "site" else str(row.owner)].append(row)
    return [
        MemoryGroup(
            key,
            len(members),
            sum(row.size_bytes for row in members),
            max((row.age_s for row in members if row.age_s is not None), default=None),
        )
        for key, members in found.items()
    ]
