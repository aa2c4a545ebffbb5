"""The owner's part of a census: what this process owns, and what it has borrowed, with all that is known of it."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from ipyactors.ground import ids
from ipyactors.owner import origins, runs
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.lineage import Record
from ipyactors.owner.objects import Entry
from ipyactors.owner.origins import Origin
from ipyactors.owner.state import OwnerState
from ipyactors.owner.templates import STREAMING, ActorTemplate, MethodTemplate, TaskFacts
from ipyactors.wire.census_messages import (
    BorrowRecord,
    ObjectKind,
    ObjectRecord,
    ObjectsReported,
    ObjectState,
    ReportObjects,
    SiteRecord,
)
from ipyactors.wire.events import name_of_call
from ipyactors.wire.specs import Payload


def report(
    state: OwnerState, entries: Iterable[Entry], references: Mapping[Entry, int], message: ReportObjects, now_s: float
) -> ObjectsReported:
    """Return what there is; the largest first, where there is more than was asked for.

    ``entries`` are all that this process has, of whatever session; ``references`` are how many it has to each.
    """
    known = [entry for entry in entries if entry.owner_address or ids.owner_of(entry.object_id) == state.owner_id]
    owned = [entry for entry in known if not entry.owner_address]
    borrowed = [entry for entry in known if entry.owner_address]
    named = heapq.nlargest(message.at_most, owned, key=_size_of)
    uses = _Uses(state, known, references)
    sites = _Sites()
    records = [_owned(state, uses, sites, entry, now_s) for entry in named]
    records += _arguments(state, uses, sites, now_s)
    left_out = [len(some) - message.at_most for some in (owned, borrowed)]
    return ObjectsReported(
        message.census_id,
        tuple(records),
        tuple(_borrowed(uses, sites, entry) for entry in borrowed[: message.at_most]),
        sum(number for number in left_out if number > 0),
        sum(map(_size_of, owned)) - sum(map(_size_of, named)),
    )


class _Sites:
    """Lines of code in words; many objects come from the same line."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], SiteRecord | None] = {}

    def of(self, origin: Origin | None) -> SiteRecord | None:
        """Return the line of an origin; None if there is none."""
        if origin is None:
            return None
        key = (id(origin[1]), origin[2])
        if key not in self._known:
            self._known[key] = origins.site_of(origin)
        return self._known[key]


class _Uses:
    """By object id, who in this process has a use for it besides the references: calls, other objects, reruns."""

    def __init__(self, state: OwnerState, entries: Iterable[Entry], references: Mapping[Entry, int]) -> None:
        self.references = references
        self.pending = tuple(pending_calls(state))
        self.records = tuple(state.lineage.records())
        self.calls = Counter(object_id for call in self.pending for object_id in _needs(call))
        self.reruns = Counter(object_id for record in self.records for object_id in _needs_again(record))
        for constructor in state.constructors.values():
            self.reruns.update({spec.object_id for spec in constructor.names.refs})
        self.lost = frozenset(entry for entry in entries if entry.done and runs.is_lost(entry))
        self.inside: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for entry in entries:
            if entry.payload is not None:
                for spec in entry.payload.refs:
                    self.inside[spec.object_id].append(entry.object_id)


def pending_calls(state: OwnerState) -> Iterator[PendingCall]:
    """Yield every call that is not done, each once, wherever it is."""
    seen: set[int] = set()
    for calls in _places(state):
        for call in calls:
            if call.state is not CallState.DONE and id(call) not in seen:
                seen.add(id(call))
                yield call


def _places(state: OwnerState) -> Iterator[Iterable[PendingCall]]:
    yield state.waiting
    yield state.supplied
    for shape in state.leases.by_id.values():
        yield shape.queue
    for holder in state.holders.values():
        yield holder.in_flight.values()
    for client in state.actors.values():
        yield client.in_flight.values()
        yield client.outbox
        yield client.late


def _needs(call: PendingCall) -> set[bytes]:
    """Return what a call takes: as arguments of its own, and inside others."""
    return {entry.object_id for entry in call.deps} | {spec.object_id for spec in call.args.refs}


def _needs_again(record: Record) -> set[bytes]:
    """Return what is kept alive for the sake of a call that may have to be made again."""
    kept = {argument.object_id for argument in record.arguments if argument.kept is not None}
    return kept | {spec.object_id for spec in record.args.refs}


# -- one object ------------------------------------------------------------------------------------------------


def _owned(state: OwnerState, uses: _Uses, sites: _Sites, entry: Entry, now_s: float) -> ObjectRecord:
    object_id, payload = entry.object_id, entry.payload
    kind, name, index = _made_by(entry)
    return ObjectRecord(
        object_id,
        kind,
        name,
        index,
        _state(state, uses, entry),
        _size_of(entry),
        _locations(payload) if entry.done else (),
        references=uses.references.get(entry, 0),
        calls=uses.calls[object_id],
        borrowers=_borrowers(state, object_id),
        inside=tuple(uses.inside.get(object_id, ())),
        site=sites.of(entry.origin),
        age_s=_age(state, object_id, now_s),
        reruns=uses.reruns[object_id],
        is_pinned=object_id in state.objects.pinned,
    )


def _state(state: OwnerState, uses: _Uses, entry: Entry) -> ObjectState:
    if not entry.done:
        return ObjectState.PENDING
    if entry.failure is not None:
        return ObjectState.FAILED
    if not runs.is_lost(entry):
        return ObjectState.READY
    return ObjectState.REMAKEABLE if runs.can_be_made_again(state, entry, uses.lost) else ObjectState.LOST


def _made_by(entry: Entry) -> tuple[ObjectKind, str, int]:
    """Return what makes an object, its name, and which of the values it is (from 1; 0 for the only one)."""
    maker = entry.origin[0] if entry.origin is not None else None
    index = ids.index_of(entry.object_id)
    match maker:
        case None:
            return (ObjectKind.UNKNOWN if entry.origin is None else ObjectKind.PUT), "", 0
        case TaskFacts():
            kind, name = ObjectKind.TASK_RESULT, maker.name
        case MethodTemplate():
            kind, name = ObjectKind.METHOD_RESULT, name_of_call(maker.class_name, maker.method)
        case ActorTemplate():
            return ObjectKind.ARGUMENTS, f"{maker.class_name}.__init__", 0
        case str():
            return ObjectKind.UNKNOWN, maker, 0
    if maker.num_returns == STREAMING:
        return ObjectKind.ITEM, name, index
    return kind, name, index + 1 if maker.num_returns > 1 else 0


def _arguments(state: OwnerState, uses: _Uses, sites: _Sites, now_s: float) -> Iterator[ObjectRecord]:
    """Yield the arguments that are in a store: of calls under way, and of those that may have to be made again."""
    seen: set[bytes] = set()
    waiting = [(call.args, call.name, call.origin, 1, 0) for call in uses.pending]
    kept = [(record.args, record.name, None, 0, 1) for record in uses.records]
    for args, name, origin, calls, reruns in (*waiting, *kept):
        stored = args.stored
        if stored is None or stored.segment_id in seen:
            continue
        seen.add(stored.segment_id)
        yield ObjectRecord(
            stored.segment_id,
            ObjectKind.ARGUMENTS,
            name,
            0,
            ObjectState.READY,
            stored.size,
            _locations(args),
            calls=calls,
            site=sites.of(origin),
            age_s=_age(state, stored.segment_id, now_s),
            reruns=reruns,
        )


def _borrowed(uses: _Uses, sites: _Sites, entry: Entry) -> BorrowRecord:
    object_id, origin = entry.object_id, entry.origin
    return BorrowRecord(
        object_id,
        uses.references.get(entry, 0),
        uses.calls[object_id],
        tuple(uses.inside.get(object_id, ())),
        origin[0] if origin is not None and isinstance(origin[0], str) else "",
        sites.of(origin),
    )


def _borrowers(state: OwnerState, object_id: bytes) -> dict[bytes, int]:
    """Return how often an object was lent to whom and not given back; what is below that for a moment is left out."""
    counts: Counter[bytes] = Counter()
    for (_, borrower_id), count in state.objects.lent.get(object_id, {}).items():
        counts[borrower_id] += count
    return dict(+counts)


def _age(state: OwnerState, object_id: bytes, now_s: float) -> float:
    made_s = state.ages.made_s(ids.counter_of(object_id))
    return -1.0 if made_s is None else max(0.0, now_s - made_s)


def _size_of(entry: Entry) -> int:
    return _size(entry.payload) if entry.done and not runs.is_lost(entry) else 0


def _size(payload: Payload | None) -> int:
    if payload is None:
        return 0
    if payload.stored is not None:
        return payload.stored.size
    return len(payload.data) + sum(buffer.nbytes for buffer in payload.buffers)


def _locations(payload: Payload | None) -> tuple[bytes, ...]:
    if payload is None or payload.stored is None:
        return ()
    return tuple(location.node_id for location in payload.stored.locations)
