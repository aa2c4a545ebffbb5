"""Where a call would best run."""

from __future__ import annotations

from ipyactors.owner.calls import TaskCall
from ipyactors.owner.locality import preferred_node
from ipyactors.owner.objects import Entry
from ipyactors.owner.templates import TaskTemplate
from ipyactors.wire.specs import Definition, Location, Payload, Stored

TEMPLATE = TaskTemplate(Definition(b"f" * 16, "f", Payload(b"")), "f", {"CPU": 10_000})


def stored(size: int, *node_ids: bytes) -> Payload:
    places = tuple(Location(node_id, f"ipc://{node_id.decode()}") for node_id in node_ids)
    return Payload(b"", stored=Stored(b"s" * 20, size, places))


def call(args: Payload, *values: Payload) -> TaskCall:
    entries = []
    for number, value in enumerate(values):
        entry = Entry(b"d1------%012d" % number)
        entry.complete(value)
        entries.append(entry)
    return TaskCall(TEMPLATE, b"t" * 20, args, tuple(entries), None)


def test_the_machine_with_most_bytes_is_preferred() -> None:
    small = Payload(b"args")
    assert preferred_node(call(small)) == b""
    assert preferred_node(call(small, Payload(b"value"))) == b""
    assert preferred_node(call(small, stored(9, b"n1"), stored(5, b"n2"), stored(5, b"n2"))) == b"n2"
    assert preferred_node(call(stored(20, b"n1"), stored(15, b"n2"), stored(3, b"n2"))) == b"n1"
    assert preferred_node(call(stored(1, b"n1"), stored(9, b"n1", b"n2"), stored(2, b"n2"))) == b"n2"


def test_data_that_is_nowhere_speaks_for_no_machine() -> None:
    assert preferred_node(call(stored(20))) == b""
