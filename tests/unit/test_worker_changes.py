"""Which state of its actor a readonly method has seen, and when it may be asked for that again."""

from __future__ import annotations

import pytest

from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import ActorVersion, CallMethod
from ipyactors.worker.changes import Changes, HasChangedError


def begun(changes: Changes, *, is_readonly: bool, expected: ActorVersion | None = None) -> CurrentCall:
    running = CurrentCall(b"caller01", 1, b"task", "A.m")
    changes.begin(running, CallMethod(1, b"task", "m", Payload(b""), is_readonly=is_readonly, expected=expected))
    return running


def change(changes: Changes) -> None:
    changes.end(begun(changes, is_readonly=False))


def test_what_nothing_has_changed_is_the_same_in_every_incarnation() -> None:
    for incarnation in (0, 3):
        changes = Changes(incarnation)
        assert changes.seen_by(begun(changes, is_readonly=True)) == (0, 0)


def test_a_changed_actor_is_told_by_its_incarnation_and_the_number_of_changes() -> None:
    changes = Changes(3)
    change(changes)
    change(changes)
    look = begun(changes, is_readonly=True)
    changes.end(look)
    assert changes.seen_by(look) == (3, 2)
    assert changes.seen_by(begun(changes, is_readonly=True, expected=(3, 2))) == (3, 2)
    for other in ((3, 1), (2, 2), (0, 0)):
        with pytest.raises(HasChangedError):
            begun(changes, is_readonly=True, expected=other)


def test_what_runs_beside_a_change_has_seen_no_one_state() -> None:
    changes = Changes(0)
    slow = begun(changes, is_readonly=False)
    during = begun(changes, is_readonly=True)
    assert changes.seen_by(during) is None
    changes.end(slow)
    changes.end(slow)
    assert changes.seen_by(during) is None
    after = begun(changes, is_readonly=True, expected=(0, 1))
    changes.check(after)
    change(changes)
    assert changes.seen_by(after) is None
    with pytest.raises(HasChangedError):
        changes.check(after)


def test_a_call_that_changes_has_seen_nothing_to_be_asked_for() -> None:
    changes = Changes(0)
    assert changes.seen_by(begun(changes, is_readonly=False)) is None


def test_the_states_of_a_durable_actor_are_known_by_the_place_in_its_log() -> None:
    """What is not in the log counts for nothing, and side by side a call may begin before one with a lower place."""
    changes = Changes(3)
    changes.start_at(7)
    change(changes)
    assert changes.seen_by(begun(changes, is_readonly=True)) == (0, 7)
    for lsn in (9, 8):
        running = CurrentCall(b"caller01", 1, b"task", "A.m", lsn=lsn)
        changes.begin(running, CallMethod(1, b"task", "m", Payload(b"")))
        changes.end(running)
        assert changes.seen_by(begun(changes, is_readonly=True)) == (0, 9)
