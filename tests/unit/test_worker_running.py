"""A cancel finds its call at every step between the line and its answer."""

from __future__ import annotations

from ipyactors.owner.current import CurrentCall
from ipyactors.worker.running import Key, Running

A = b"d1234567"


def call(seq: int) -> tuple[Key, CurrentCall]:
    return (A, seq), CurrentCall(A, seq, b"t", "f")


def test_a_call_that_runs_is_found() -> None:
    running = Running()
    key, one = call(1)
    assert running.admit(key, one)
    assert running.find(key) is one
    assert running.admit(*call(2))  # nothing of the cancel is left


def test_a_call_that_is_cancelled_on_its_way_is_not_admitted() -> None:
    running = Running()
    key, one = call(1)
    assert running.find(key) is None
    assert not running.admit(key, one)
    assert running == {}
    assert running.admit(key, one)  # the note was for once


def test_a_cancel_that_came_too_late_hits_nobody() -> None:
    running = Running()
    first, one = call(1)
    running.admit(first, one)
    del running[first]
    assert running.find(first) is None
    assert running.admit(*call(2))
    assert running.admit(first, one)  # the note is gone with the next call
