"""What a process says of its objects when it is asked; where and when they were made."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping

from ipyactors.ground import ids
from ipyactors.owner import census, living, origins
from ipyactors.owner.ages import _MARKS_AT_MOST, RESOLUTION_S, Ages
from ipyactors.owner.calls import PendingCall
from ipyactors.owner.objects import Entry
from ipyactors.owner.refs import ObjectRef
from ipyactors.owner.templates import STREAMING, MethodTemplate
from ipyactors.wire.census_messages import ObjectKind, ObjectRecord, ObjectsReported, ObjectState, ReportObjects
from ipyactors.wire.specs import Location, Payload, RefSpec, Stored
from ipyactors.wire.worker_messages import CallSucceeded
from tests.support.owner_scenario import OWNER, OwnerScenario, error, payload, task_template

HERE = Location(b"n1", "mem://n1")


def stored(segment_id: bytes, size: int, *refs: RefSpec) -> Payload:
    return Payload(b"", (), refs, stored=Stored(segment_id, size, (HERE,)))


def put(scenario: OwnerScenario, value: Payload | None = None) -> Entry:
    entry = Entry(scenario._next_task_id(), origin=origins.note(None, 0))
    entry.complete(value or payload("value"))
    return entry


def report(
    scenario: OwnerScenario, *entries: Entry, references: Mapping[Entry, int] | None = None, at_most: int = 100
) -> ObjectsReported:
    message = ReportObjects(1, at_most)
    return census.report(scenario.state, entries, references or {}, message, scenario.now_s)


def only(reported: ObjectsReported) -> ObjectRecord:
    [record] = reported.owned
    return record


def result(call: PendingCall) -> Entry:
    return call.entries[0]


# -- what it is ------------------------------------------------------------------------------------------------


def test_a_put_has_its_size_its_references_and_its_line() -> None:
    scenario = OwnerScenario()
    entry = put(scenario)
    record = only(report(scenario, entry, references={entry: 2}))
    assert (record.kind, record.name, record.state) == (ObjectKind.PUT, "", ObjectState.READY)
    assert entry.payload is not None
    assert record.size == len(entry.payload.data)
    assert record.references == 2
    assert record.locations == ()
    assert record.site is not None
    assert record.site.file == __file__
    assert record.site.function == "put"
    assert (record.calls, record.reruns, record.borrowers, record.inside) == (0, 0, {}, ())


def test_a_stored_value_has_the_size_of_its_segment_and_its_machines() -> None:
    scenario = OwnerScenario()
    record = only(report(scenario, put(scenario, stored(b"s" * 20, 1_000_000))))
    assert (record.size, record.locations) == (1_000_000, (b"n1",))


def test_results_are_told_by_what_makes_them() -> None:
    scenario = OwnerScenario()
    maker = task_template("f")
    [one, first, second] = [
        Entry(ids.object_id(OWNER, number, index), origin=origins.note(template.facts, 0))
        for number, index, template in (
            (1, 0, maker),
            (2, 0, task_template("g", num_returns=2)),
            (2, 1, task_template("g", num_returns=2)),
        )
    ]
    method = Entry(ids.object_id(OWNER, 3), origin=origins.note(MethodTemplate("add", class_name="Counter"), 0))
    item = Entry(ids.object_id(OWNER, 4, 3), origin=origins.note(task_template("h", num_returns=STREAMING).facts, 0))
    entries = (one, first, second, method, item)
    found = {record.object_id: record for record in report(scenario, *entries).owned}
    records = [found[entry.object_id] for entry in entries]
    assert [(record.kind, record.name, record.index) for record in records] == [
        (ObjectKind.TASK_RESULT, "f", 0),
        (ObjectKind.TASK_RESULT, "g", 1),
        (ObjectKind.TASK_RESULT, "g", 2),
        (ObjectKind.METHOD_RESULT, "Counter.add", 0),
        (ObjectKind.ITEM, "h", 3),
    ]
    assert {record.state for record in found.values()} == {ObjectState.PENDING}


def test_a_failure_has_no_size() -> None:
    scenario = OwnerScenario()
    entry = Entry(ids.object_id(OWNER, 1))
    entry.fail(error())
    record = only(report(scenario, entry))
    assert (record.kind, record.state, record.size) == (ObjectKind.UNKNOWN, ObjectState.FAILED, 0)


def test_what_an_earlier_session_left_is_not_this_ones() -> None:
    scenario = OwnerScenario()
    assert report(scenario, Entry(ids.object_id(b"dearlier", 1))).owned == ()


# -- who needs it ----------------------------------------------------------------------------------------------


def test_calls_under_way_are_counted_wherever_they_are() -> None:
    scenario = OwnerScenario()
    entry, client = put(scenario), scenario.actor()
    scenario.task(deps=(entry,))  # queued: there is no lease
    scenario.method(client, deps=(entry,))  # in the outbox: the actor is not there
    waits = scenario.task(deps=(entry, result(scenario.task("g"))))  # waits for its other argument
    assert only(report(scenario, entry)).calls == 3
    scenario.grant(1, b"w1")
    scenario.alive(client, b"w2")
    assert only(report(scenario, entry)).calls == 3  # two are sent now
    scenario.hear(b"w2", CallSucceeded(1, (payload(1),)))
    assert only(report(scenario, entry)).calls == 2
    assert waits.deps


def test_an_object_inside_another_names_it() -> None:
    scenario = OwnerScenario()
    inner = put(scenario)
    outer = put(scenario, Payload(b"[...]", (), (RefSpec(inner.object_id, ""),)))
    found = {record.object_id: record for record in report(scenario, inner, outer).owned}
    assert found[inner.object_id].inside == (outer.object_id,)
    assert found[outer.object_id].inside == ()


def test_borrowers_are_counted_and_what_is_overdrawn_is_left_out() -> None:
    scenario = OwnerScenario()
    entry = put(scenario)
    scenario.state.objects.lent[entry.object_id] = {(OWNER, b"w1"): 2, (b"w1", b"w2"): 1, (OWNER, b"w3"): -1}
    assert only(report(scenario, entry)).borrowers == {b"w1": 2, b"w2": 1}


def test_large_arguments_of_a_call_under_way_are_an_object() -> None:
    scenario = OwnerScenario()
    call = scenario.task("f")
    call.args = stored(ids.object_id(OWNER, 77), 500)
    result(call).origin = origins.note(task_template().facts, 0)
    found = {record.kind: record for record in report(scenario).owned}
    record = found[ObjectKind.ARGUMENTS]
    assert (record.object_id, record.name, record.size) == (ids.object_id(OWNER, 77), "f", 500)
    assert (record.locations, record.calls, record.reruns) == ((b"n1",), 1, 0)
    assert record.site is not None
    assert record.site.file == __file__


def test_what_is_borrowed_is_reported_with_the_call_that_brought_it() -> None:
    scenario = OwnerScenario()
    borrowed = Entry(ids.object_id(b"w-other1", 5), None, "mem://other")
    borrowed.origin = ("Keeper.keep", None, 0)
    borrowed.complete(payload("theirs"))
    scenario.task(deps=(borrowed,))
    reported = report(scenario, borrowed, references={borrowed: 1})
    assert reported.owned == ()
    [record] = reported.borrowed
    assert (record.object_id, record.references, record.calls) == (borrowed.object_id, 1, 1)
    assert (record.name, record.site) == ("Keeper.keep", None)


def test_the_largest_are_named_first_and_the_rest_is_summed_up() -> None:
    scenario = OwnerScenario()
    entries = [put(scenario, stored(bytes([size]) * 20, size)) for size in (10, 30, 20, 5)]
    reported = report(scenario, *entries, at_most=2)
    assert [record.size for record in reported.owned] == [30, 20]
    assert (reported.left_out, reported.left_out_bytes) == (2, 15)


# -- what is alive ---------------------------------------------------------------------------------------------


def counted(scenario: OwnerScenario) -> Counter[bytes]:
    """Return how many references there are to what; other tests may have left entries of the same owner."""
    found: Counter[bytes] = Counter()
    for record in living.report(scenario.state, ReportObjects(1, 10_000), scenario.now_s).owned:
        found[record.object_id] += record.references
    return found


def test_references_are_found_wherever_they_are_held() -> None:
    scenario = OwnerScenario()
    scenario._counter = 1_000_000
    first, second = put(scenario), put(scenario)
    held = {"here": [ObjectRef(first)], "there": (ObjectRef(first), ObjectRef(second))}
    found = counted(scenario)
    assert (found[first.object_id], found[second.object_id]) == (2, 1)
    first_id = first.object_id
    del held["here"], first
    assert counted(scenario)[first_id] == 1
    del held
    gc.collect()
    found = counted(scenario)
    assert first_id not in found
    assert found[second.object_id] == 0


# -- where and when --------------------------------------------------------------------------------------------


def test_the_line_is_that_of_the_call_and_not_of_the_function() -> None:
    def nested() -> tuple[origins.Origin, origins.Origin]:
        one = origins.note(None, 1)
        return one, origins.note(None, 1)

    one, other = nested()
    first, second = origins.site_of(one), origins.site_of(other)
    assert first is not None
    assert second is not None
    assert second.line == first.line + 1
    assert first.function == "nested"


def test_what_no_python_code_has_called_has_no_line() -> None:
    assert origins.site_of(origins.note(None, 10_000)) is None


def test_frames_of_the_package_are_passed_over() -> None:
    import ipyactors

    scope = {"note": origins.note, "__name__": "x"}
    exec(compile("def inner(): return note(None, 0)", ipyactors.__file__, "exec"), scope)
    site = origins.site_of(scope["inner"]())  # type: ignore[operator]
    assert site is not None
    assert (site.file, site.function) == (__file__, "test_frames_of_the_package_are_passed_over")


def test_frames_of_ipython_between_a_cell_and_a_magic_are_passed_over() -> None:
    scope = {"note": origins.note, "__name__": "IPython.core.interactiveshell"}
    exec(compile("def run_cell_magic(): return note(None, 0)", "/x/interactiveshell.py", "exec"), scope)
    for _ in range(2):  # the second time, the file is known
        site = origins.site_of(scope["run_cell_magic"]())  # type: ignore[operator]
        assert site is not None
        assert site.file == __file__


def test_something_made_after_a_pause_is_timed_itself() -> None:
    ages = Ages()
    assert ages.made_s(1) is None
    ages.mark(5, 10.0)
    ages.mark(6, 10.0 + RESOLUTION_S / 2)
    ages.mark(90, 100.0)
    assert [ages.made_s(number) for number in (4, 5, 6, 89, 90, 95)] == [None, 10.0, 10.0, 10.0, 100.0, 100.0]


def test_ages_are_forgotten_evenly() -> None:
    ages = Ages()
    for number in range(3 * _MARKS_AT_MOST):
        ages.mark(number, number * 2 * RESOLUTION_S)
    assert len(ages._numbers) <= _MARKS_AT_MOST
    for number in range(_MARKS_AT_MOST, 3 * _MARKS_AT_MOST, 1000):
        made_s = ages.made_s(number)
        assert made_s is not None
        assert 0 <= number * 2 * RESOLUTION_S - made_s <= 16 * RESOLUTION_S
