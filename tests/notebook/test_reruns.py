"""The figure of what ran again: which calls, in which order, with which reasons."""

from __future__ import annotations

from ipyactors.notebook.rerun_plot import ROWS_AT_MOST, reruns, runs_of
from ipyactors.wire.events import Event, EventKind


def attempt(task_id: bytes, name: str, wall_s: float, duration_s: float = 0.5) -> Event:
    return Event(EventKind.TASK_ATTEMPT, wall_s, name=name, task_id=task_id, duration_s=duration_s)


def lost(task_id: bytes, name: str, wall_s: float, detail: str) -> Event:
    return Event(EventKind.OBJECT_LOST, wall_s, name=name, task_id=task_id, detail=detail)


EVENTS = [
    attempt(b"1", "make", 1.0),
    attempt(b"2", "add", 2.0),
    Event(EventKind.NODE_LOST, 3.0, name="vm"),
    lost(b"2", "add", 4.0, "no machine has a copy: add runs again"),
    lost(b"1", "make", 4.0, "add needs it again: make runs again"),
    attempt(b"1", "make", 5.0),
    attempt(b"2", "add", 6.0),
    attempt(b"3", "other", 7.0),
]


def test_each_call_has_its_runs_and_reasons() -> None:
    make, add, other = runs_of(EVENTS)
    assert (make.name, len(make.spans), make.reasons) == ("make", 2, ["add needs it again: make runs again"])
    assert add.spans == [(1.5, 2.0), (5.5, 6.0)]
    assert (other.name, len(other.spans), other.reasons) == ("other", 1, [])


def test_the_figure_names_the_calls_and_says_why() -> None:
    axes = reruns(EVENTS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["make", "add", "other"]
    assert [text.get_text() for text in axes.texts] == ["add needs it again", "no machine has a copy"]
    assert len(axes.patches) == 5


def test_what_ran_again_is_shown_before_what_did_not() -> None:
    once = [attempt(b"x%d" % number, f"once{number}", 10.0 + number) for number in range(2 * ROWS_AT_MOST)]
    labels = [label.get_text() for label in reruns([*EVENTS, *once]).axes[0].get_yticklabels()]
    assert len(labels) == ROWS_AT_MOST
    assert labels[:2] == ["make", "add"]
    assert labels[-1] == once[-1].name


def test_nothing_happened() -> None:
    assert reruns([]).axes[0].get_yticklabels() == []
