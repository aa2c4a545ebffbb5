"""Which calls may start beside others: rounds that close at their first end, and end together."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipyactors.worker.gate import Gate, Kind

CHANGING, READING, ALONE = Kind.CHANGING, Kind.READING, Kind.ALONE


def gate_with(*kinds: Kind, limit: int = 10) -> Gate[int]:
    """Return a gate where calls of these kinds wait, known as 0, 1, and so on."""
    gate: Gate[int] = Gate(limit)
    for key, kind in enumerate(kinds):
        gate.join(key, kind)
    return gate


def started(gate: Gate[int]) -> list[int]:
    """Have everything start that may."""
    keys = []
    while (key := gate.start()) is not None:
        keys.append(key)
        gate.check_invariants()
    return keys


def test_any_number_starts_until_the_first_has_ended() -> None:
    gate = gate_with(CHANGING, CHANGING)
    assert started(gate) == [0, 1]
    gate.join(2, CHANGING)
    assert started(gate) == [2]
    gate.end(1)
    gate.join(3, CHANGING)
    assert started(gate) == []
    assert gate.take_ended() == []


def test_the_last_end_is_the_time_for_a_checkpoint_which_opens_the_gate() -> None:
    gate = gate_with(CHANGING, CHANGING)
    started(gate)
    gate.end(1)
    gate.end(0)
    gate.join(2, CHANGING)
    assert gate.take_ended() == [1, 0]
    assert gate.take_ended() == [], "one checkpoint is enough"
    assert (gate.is_settled, gate.may_look_up) == (False, False)
    assert started(gate) == []
    gate.saved()
    assert (gate.is_settled, gate.may_look_up) == (True, True)
    assert started(gate) == [2]
    assert not gate.is_settled


def test_no_more_run_than_may() -> None:
    gate = gate_with(CHANGING, READING, CHANGING, READING, limit=2)
    assert started(gate) == [0, 1]
    gate.end(1)
    assert started(gate) == [2]
    gate.end(0)
    assert started(gate) == [3]


def test_those_that_had_begun_before_are_one_round_and_no_more_run_than_may() -> None:
    gate = gate_with(CHANGING, READING, limit=2)
    gate.resume([7, 8, 9])
    assert not gate.is_settled
    assert started(gate) == [7, 8]
    gate.end(7)
    gate.end(8)
    assert (gate.take_ended(), gate.is_held) == ([], True)
    assert started(gate) == [9, 1]
    gate.end(9)
    assert gate.take_ended() == [7, 8, 9]
    gate.saved()
    assert started(gate) == [0]


def test_others_are_let_into_a_round_that_is_held_until_its_next_end() -> None:
    gate = gate_with(CHANGING, CHANGING, CHANGING, limit=3)
    assert started(gate) == [0, 1, 2]
    assert not gate.is_wanted
    assert gate.end(0), "it has closed the gate"
    assert not gate.is_wanted, "nobody waits"
    gate.join(3, CHANGING)
    assert (gate.is_wanted, started(gate)) == (True, [])
    gate.reopen()
    assert not gate.is_wanted, "it is open"
    assert started(gate) == [3]
    gate.join(4, CHANGING)
    assert started(gate) == [], "there is no room"
    assert gate.held == ([0], [1, 2, 3])
    assert gate.end(3), "it has closed the gate again"
    assert started(gate) == []
    assert not gate.end(1)
    gate.end(2)
    assert gate.take_ended() == [0, 3, 1, 2], "one checkpoint ends them all"
    gate.saved()
    assert started(gate) == [4]


def test_a_round_that_is_over_lets_nobody_in() -> None:
    gate = gate_with(CHANGING, CHANGING)
    started(gate)
    gate.end(0)
    gate.reopen()
    gate.forget(1)
    gate.join(2, CHANGING)
    assert (gate.is_held, started(gate)) == (False, [])
    gate.take_ended()
    gate.reopen()
    assert started(gate) == []
    gate.saved()
    assert started(gate) == [2]


def test_who_must_be_alone_is_not_let_into_a_round() -> None:
    gate = gate_with(CHANGING, CHANGING)
    started(gate)
    gate.end(0)
    gate.join(2, ALONE)
    assert not gate.is_wanted
    gate.reopen()
    assert started(gate) == []


def test_reading_passes_those_that_wait_for_the_gate_and_no_others() -> None:
    gate = gate_with(CHANGING, CHANGING, READING, limit=1)
    assert started(gate) == [0]
    gate.end(0)
    assert started(gate) == [2]
    gate.end(2)
    gate.take_ended()
    gate.saved()
    gate.join(3, READING)
    assert started(gate) == [1]


def test_what_reads_is_not_waited_for() -> None:
    gate = gate_with(READING, CHANGING)
    started(gate)
    gate.end(1)
    assert gate.take_ended() == [1]


def test_who_must_be_alone_waits_for_the_checkpoint_and_holds_back_the_next() -> None:
    gate = gate_with(CHANGING, ALONE, CHANGING, READING)
    assert started(gate) == [0, 3]
    gate.end(0)
    assert started(gate) == []
    gate.take_ended()
    assert started(gate) == []
    gate.saved()
    assert started(gate) == [1]
    assert (gate.is_settled, gate.may_look_up) == (False, False)
    gate.join(4, READING)
    assert started(gate) == [4]
    gate.end(1)
    assert gate.is_settled
    assert started(gate) == [2]


def test_what_has_not_run_after_all_leaves_no_trace() -> None:
    gate = gate_with(CHANGING, CHANGING, ALONE)
    assert started(gate) == [0, 1]
    gate.forget(0)
    assert gate.take_ended() == []
    gate.forget(1)
    assert gate.is_settled
    assert started(gate) == [2]
    gate.forget(2)
    assert gate.is_settled


@pytest.mark.parametrize("kind", list(Kind))
def test_what_was_dropped_does_not_start(kind: Kind) -> None:
    gate = gate_with(kind, CHANGING)
    gate.drop({0})
    assert started(gate) == [1]


class GateMachine(RuleBasedStateMachine):
    """The same by a simple account: who waits, who runs, what is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: Gate[int] = Gate(4)
        self.made = 0
        self.waiting: list[tuple[int, Kind]] = []
        self.running: dict[int, Kind] = {}
        self.ended: list[int] = []
        self.saving = self.reopened = False

    @rule(kind=st.sampled_from(Kind))
    def join(self, kind: Kind) -> None:
        self.made += 1
        self.gate.join(self.made, kind)
        self.waiting.append((self.made, kind))

    def _expected(self) -> int | None:
        kinds = list(self.running.values())
        if len(kinds) >= 4:
            return None
        is_first = True
        for key, kind in self.waiting:
            if kind is READING:
                return key
            is_free = not self.ended and ALONE not in kinds
            may_join = is_free or (self.reopened and CHANGING in kinds)
            may_start = may_join if kind is CHANGING else is_free and CHANGING not in kinds
            if is_first and may_start:
                return key
            is_first = False
        return None

    @rule()
    def start(self) -> None:
        expected = self._expected()
        assert self.gate.start() == expected
        if expected is not None:
            kind = dict(self.waiting)[expected]
            self.waiting.remove((expected, kind))
            self.running[expected] = kind

    @precondition(lambda self: self.running)
    @rule(data=st.data(), has_run=st.booleans())
    def end(self, data: st.DataObject, has_run: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        was_open = not self.ended or self.reopened
        has_changed = self.running.pop(key) is CHANGING and has_run
        if has_changed:
            self.ended.append(key)
            self.reopened = False
        if has_run:
            assert self.gate.end(key) == (has_changed and was_open)
        else:
            self.gate.forget(key)

    @rule()
    def reopen(self) -> None:
        self.gate.reopen()
        self.reopened = bool(self.ended) and CHANGING in self.running.values()

    @rule()
    def take_ended(self) -> None:
        is_due = bool(self.ended) and CHANGING not in self.running.values() and not self.saving
        assert self.gate.take_ended() == (self.ended if is_due else [])
        self.saving |= is_due

    @precondition(lambda self: self.saving)
    @rule()
    def saved(self) -> None:
        self.gate.saved()
        self.ended, self.saving, self.reopened = [], False, False

    @invariant()
    def it_says_what_is_so(self) -> None:
        self.gate.check_invariants()
        kinds = self.running.values()
        assert self.gate.is_settled == (not self.ended and set(kinds) <= {READING})
        waits = next((kind for _, kind in self.waiting if kind is not READING), None)
        assert self.gate.is_held == (bool(self.ended) and CHANGING in kinds)
        assert self.gate.is_wanted == (self.gate.is_held and not self.reopened and waits is CHANGING)
        assert self.gate.may_look_up == (not self.saving and ALONE not in kinds)


GateMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestGateMachine = GateMachine.TestCase
