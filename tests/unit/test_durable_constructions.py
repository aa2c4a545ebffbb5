"""What constructors have taken from outside: of each class one stretch of a single row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ipyactors.durable import constructions
from ipyactors.durable.constructions import Stretch
from ipyactors.durable.record import Value, ValueKind

NEW, THIRD = b"n" * 16, b"t" * 16


def taken(row: Sequence[Value], count: int) -> list[Value]:
    """Return a row that goes on with so many values."""
    return [*row, *(Value(len(row) + index, ValueKind.NOW, b"%d" % index) for index in range(count))]


def constructed(row: Sequence[Value], definition_id: bytes, count: int, last_lsn: int = 0) -> list[Value]:
    """Return a row that goes on with a class whose constructor has taken so many values."""
    begun = taken([*row, constructions.beginning(row, definition_id, last_lsn)], count)
    return [*begun, constructions.end(begun)]


def test_the_first_class_needs_no_more_than_its_values() -> None:
    row = taken([], 2)
    assert constructions.first_of(row) == Stretch(row, 0)
    assert constructions.first_of(constructed(row, NEW, 3)) == Stretch(row, 0)
    assert constructions.first_of([]) == Stretch([])
    assert constructions.find(row, NEW) is None


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("count", [0, 3])
def test_each_class_has_what_it_took(first: int, count: int) -> None:
    row = constructed(taken([], first), NEW, count, last_lsn=41)
    assert [one.index for one in row] == list(range(len(row)))
    new = Stretch(row[first + 1 : -1], first + 1, is_over=True, after=41)
    assert constructions.find(row, NEW) == new
    row = constructed(row, THIRD, 1, last_lsn=43)
    assert constructions.find(row, NEW) == new
    third = constructions.find(row, THIRD)
    assert third == Stretch(row[-2:-1], len(row) - 2, is_over=True, after=43)


@pytest.mark.parametrize("count", [0, 2])
def test_one_that_has_not_returned_is_not_over(count: int) -> None:
    row = constructed([], NEW, 1)
    row = taken([*row, constructions.beginning(row, THIRD, 7)], count)
    found = constructions.find(row, THIRD)
    assert found == Stretch(row[4:], 4, is_over=False, after=7)


def test_one_that_was_given_up_is_none_and_what_it_took_then_counts() -> None:
    row = [constructions.beginning([], NEW, 7)]
    row = constructed(taken(row, 2), THIRD, 1, last_lsn=8)
    assert constructions.find(row, NEW) is None
    row = constructed(row, NEW, 1, last_lsn=9)
    assert constructions.find(row, NEW) == Stretch(row[-2:-1], len(row) - 2, is_over=True, after=9)
