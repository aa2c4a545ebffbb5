"""The figure of what ran again: which calls, in which order, with which reasons."""

from __future__ import annotations

from ipyactors.notebook.plots.rerun_plot import Loss, reruns, runs_of
from ipyactors.notebook.plots.wording import ROWS_AT_MOST
from ipyactors.wire.events import Event, EventKind


def attempt(task_id: bytes, name: str, wall_s: float, duration_s: float = 0.5, node_id: bytes = b"") -> Event:
    return Event(EventKind.TASK_ATTEMPT, wall_s, name=name, task_id=task_id, duration_s=duration_s, node_id=node_id)


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
    assert (make.name, len(make.spans), make.losses) == ("make", 2, [Loss("add needs it again", 4.0)])
    assert add.spans == [(1.5, 2.0), (5.5, 6.0)]
    assert (other.name, len(other.spans), other.losses) == ("other", 1, [])


def test_calls_come_in_order_of_submission_and_those_of_one_name_are_numbered() -> None:
    ended = [attempt(b"2", "f", 1.0), attempt(b"1", "f", 2.0), attempt(b"3", "g", 3.0)]
    assert [run.name for run in runs_of(ended)] == ["f #1", "f #2", "g"]


def test_a_loss_that_a_copy_made_good_is_no_reason_to_run() -> None:
    [run] = runs_of([attempt(b"1", "f", 1.0), lost(b"1", "f", 2.0, "a copy is used")])
    assert run.losses == []


def test_the_figure_names_the_calls_and_says_why() -> None:
    axes = reruns(EVENTS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["make", "add", "other"]
    assert [text.get_text() for text in axes.texts] == ["add needs it again", "no machine has a copy"]
    assert len(axes.patches) == 5


def test_where_nothing_ran_again_nothing_is_explained_but_that() -> None:
    figure = reruns([attempt(b"1", "make", 1.0), attempt(b"2", "add", 2.0)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first run"]
    assert figure.axes[0].get_xlabel() == "seconds since the first run began \u00b7 no value was lost"
    assert "ran again" in [text.get_text() for text in reruns(EVENTS).legends[0].get_texts()]
    assert "no value" not in reruns(EVENTS).axes[0].get_xlabel()


def values_of(events: list[Event]) -> list[tuple[float, float]]:
    """Return from when to when values are drawn that were lost, in seconds since the first run."""
    lines = reruns(events).axes[0].lines
    return [tuple(line.get_xdata()) for line in lines if line.get_marker() == "X"]


def test_a_lost_value_is_drawn_until_its_machine_was_lost() -> None:
    assert values_of(EVENTS) == [(1.5, 2.5)]  # made by add; what make had made was not kept
    assert values_of([event for event in EVENTS if event.kind is not EventKind.NODE_LOST]) == [(1.5, 3.5)]


def test_machines_that_were_there_before_are_not_drawn() -> None:
    there, new = (Event(EventKind.NODE_ADDED, at_s, name="vm") for at_s in (0.1, 3.5))
    figure = reruns([there, *EVENTS, new])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[-2:] == ["a machine was lost", "a machine was added"]
    [line] = [line for line in figure.axes[0].lines if line.get_label() == "a machine was added"]
    assert list(line.get_xdata()) == [3.0, 3.0]


def test_each_run_says_on_which_machine_if_there_were_several() -> None:
    lost_with = Event(EventKind.NODE_LOST, 3.0, name="vm", node_id=b"one")
    why = "no machine has a copy: f runs again"
    ran = [attempt(b"1", "f", 1.0, node_id=b"one"), attempt(b"2", "g", 2.0, node_id=b"one"), lost_with]
    again = [*ran, lost(b"1", "f", 4.0, why), attempt(b"1", "f", 5.0, node_id=b"two")]
    assert [run.machines for run in runs_of(again)] == [[b"one", b"two"], [b"one"]]
    figure = reruns(again)
    drawn = [(text.get_text(), text.xy) for text in figure.axes[0].texts if text.get_text().isdecimal()]
    assert drawn == [("1", (2.5, 1.0)), ("1", (0.0, 0)), ("2", (4.0, 0)), ("1", (1.0, 1))]
    assert figure.legends[0].get_texts()[-1].get_text() == "which machine"
    assert not [text for text in reruns(ran).axes[0].texts if text.get_text().isdecimal()]


def test_what_ran_again_is_shown_before_what_did_not() -> None:
    once = [attempt(b"x%03d" % number, f"once{number}", 10.0 + number) for number in range(2 * ROWS_AT_MOST)]
    labels = [label.get_text() for label in reruns([*EVENTS, *once]).axes[0].get_yticklabels()]
    assert len(labels) == ROWS_AT_MOST
    assert labels[:2] == ["make", "add"]
    assert labels[-1] == once[-1].name


def test_nothing_happened() -> None:
    figure = reruns([])
    assert figure.axes[0].get_yticklabels() == []
    assert repr(figure) == '<reruns; .savefig("reruns.png")>'
    assert figure._repr_png_()[0].startswith(b"\x89PNG")
