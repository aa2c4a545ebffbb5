"""Stored values, as far as the head has a part in them: it knows all machines, and who is gone.

Where values are is known to their owners; the head keeps no table of them. It passes on two things: the question
where segments are, and that an owner wants segments removed wherever they may be. What becomes of those whose owner is
gone is in ``claims.py``.
"""

from __future__ import annotations

from ipyactors.ground import ids
from ipyactors.head.machine import Node
from ipyactors.head.out import Out
from ipyactors.head.tables import Owner, Search, Tables
from ipyactors.wire.specs import Location
from ipyactors.wire.store_messages import (
    CopiesFound,
    FindCopies,
    ForgetSegments,
    LookForSegments,
    SegmentsFound,
)

# -- what owners and stores say ------------------------------------------------------------------------------------


def on_find_copies(tables: Tables, out: Out, owner: Owner, message: FindCopies) -> None:
    """Ask every machine."""
    search = Search(owner.owner_id, message.request_id, message.segment_ids, {*tables.nodes})
    number = tables.next_search_id()
    tables.searches[number] = search
    for node_id in tables.nodes:
        out.to_node(node_id, LookForSegments(number, search.segment_ids))
    _answer_if_complete(tables, out, number)


def on_segments_found(tables: Tables, out: Out, node: Node, message: SegmentsFound) -> None:
    """Note where segments are; answer when every machine has, or is gone."""
    search = tables.searches.get(message.request_id)
    if search is None or node.node_id not in search.waiting:
        return
    search.waiting.discard(node.node_id)
    place = Location(node.node_id, node.address)
    for segment_id in message.segment_ids:
        search.found.setdefault(segment_id, []).append(place)
    search.sizes.update(zip(message.segment_ids, message.sizes, strict=False))
    _answer_if_complete(tables, out, message.request_id)


def on_forget_segments(tables: Tables, out: Out, owner: Owner, message: ForgetSegments) -> None:
    """Have every machine remove what the sender owns; it has no say about what others own."""
    own = tuple(segment_id for segment_id in message.segment_ids if ids.owner_of(segment_id) == owner.owner_id)
    if own:
        for node_id in tables.nodes:
            out.to_node(node_id, ForgetSegments(own))


# -- when members come and go ----------------------------------------------------------------------------------------


def on_owner_gone(tables: Tables, owner_id: bytes) -> None:
    """Drop the questions of a process that is gone."""
    for number in [number for number, search in tables.searches.items() if search.owner_id == owner_id]:
        del tables.searches[number]


def on_node_lost(tables: Tables, out: Out, node_id: bytes) -> None:
    """Expect no answer from a machine that is gone; what it had found is gone too."""
    for number, search in list(tables.searches.items()):
        search.waiting.discard(node_id)
        for places in search.found.values():
            places[:] = [place for place in places if place.node_id != node_id]
        _answer_if_complete(tables, out, number)


def _answer_if_complete(tables: Tables, out: Out, number: int) -> None:
    search = tables.searches[number]
    if not search.waiting:
        del tables.searches[number]
        locations = {segment_id: tuple(places) for segment_id, places in search.found.items() if places}
        sizes = {segment_id: search.sizes[segment_id] for segment_id in locations if segment_id in search.sizes}
        out.to_owner(search.owner_id, CopiesFound(search.request_id, locations, sizes))
