"""Attempts of calls and what they failed of: rows and counts from a story written by hand, and what is drawn."""

from __future__ import annotations

import msgspec

from ipyactors.notebook.plots.attempt_plot import attempts
from ipyactors.notebook.plots.attempt_rows import SMOOTH_AT_MOST, Attempt, choose_calls
from ipyactors.notebook.plots.figures import BOLT
from ipyactors.notebook.plots.retry_plot import Cause, count_causes, retries
from ipyactors.notebook.plots.wording import ROWS_AT_MOST, gist, in_size, in_time, shorten
from ipyactors.wire.events import Became, Event, EventKind

ACTOR = b"a" * 16
GONE = "Actor Account 'acct' is dead: its process exited with code 3. The call Account.die had started."
STORY = [
    Event(EventKind.ACTOR_CREATED, 99.0, "acct", actor_id=ACTOR),
    Event(EventKind.TASK_ATTEMPT, 101.0, "fine", task_id=b"1", duration_s=1.0),
    Event(EventKind.TASK_RETRY, 101.0, "flaky", task_id=b"2", duration_s=0.5, detail="exited with code 1"),
    Event(EventKind.TASK_RETRY, 102.0, "flaky", task_id=b"2", attempt=1, duration_s=0.25, detail="OSError: not yet"),
    Event(EventKind.TASK_ATTEMPT, 104.0, "flaky", task_id=b"2", attempt=2, duration_s=0.5),
    Event(
        EventKind.CALL_RETRY, 103.0, "Account.add", actor_id=ACTOR, task_id=b"3", duration_s=1.0, detail="was killed"
    ),
    Event(EventKind.TASK_RETRY, 102.0, "bad", task_id=b"4", duration_s=0.5, detail="ValueError: $never\nmore"),
    Event(EventKind.TASK_FAILED, 103.0, "bad", task_id=b"4", attempt=1, duration_s=0.5, detail="ValueError: $never"),
    Event(EventKind.CALL_FAILED, 103.5, "Account.die", actor_id=ACTOR, task_id=b"5", incarnation=1, detail=GONE),
]


def test_a_row_for_each_call_those_that_failed_first() -> None:
    calls = choose_calls(STORY)
    assert [row.label for row in calls.rows] == ["bad", "acct.die", "flaky", "acct.add", "fine"]
    assert [row.in_words() for row in calls.rows] == [
        "2 attempts, 1.5 s, failed: ValueError: $never",
        "1 attempt, incarnation 1, failed: exited with code 3",
        "3 attempts, 3.5 s",
        "1 attempt, 1.0 s, incarnation 0, sent again: was killed",
        "1 attempt, 1.0 s",
    ]
    assert calls.rows[2].attempts == (
        Attempt("lost", 0.5, 1.0, "exited with code 1"),
        Attempt("lost", 1.75, 2.0, "OSError: not yet"),
        Attempt("ok", 3.5, 4.0),
    )


def test_a_call_that_ended_well_and_ran_again_for_its_value() -> None:
    again = Event(EventKind.TASK_ATTEMPT, 110.0, "fine", task_id=b"1", duration_s=1.0)
    [row] = choose_calls([STORY[1], again]).rows
    assert [one.what for one in row.attempts] == ["again", "ok"]
    assert not row.has_failed


def test_calls_of_one_name_are_numbered_as_they_were_submitted() -> None:
    two = [Event(EventKind.TASK_ATTEMPT, at_s, "f", task_id=task_id) for task_id, at_s in ((b"2", 1.0), (b"1", 2.0))]
    assert [row.label for row in choose_calls(two).rows] == ["f #1", "f #2"]


def test_what_ended_well_at_once_is_left_out_first() -> None:
    smooth = [Event(EventKind.TASK_ATTEMPT, 1.0, "f", task_id=b"f%03d" % number) for number in range(100)]
    calls = choose_calls([*STORY, *smooth])
    assert (len(calls.rows), calls.left_out, calls.left_out_with_trouble) == (4 + SMOOTH_AT_MOST, 91, 0)
    assert (
        attempts([*STORY, *smooth])
        .axes[0]
        .get_xlabel()
        .endswith("91 more calls left out, all of which ended well at once")
    )
    bad = [Event(EventKind.TASK_FAILED, 1.0, "f", task_id=b"f%03d" % number) for number in range(100)]
    calls = choose_calls([*STORY, *bad])
    assert (len(calls.rows), calls.left_out, calls.left_out_with_trouble) == (ROWS_AT_MOST, 65, 64)
    assert attempts([*STORY, *bad]).axes[0].get_xlabel().endswith("left out, 64 of which failed or ran again")


def test_a_death_that_was_injected_marks_the_attempts_that_it_ended() -> None:
    died = Event(EventKind.ACTOR_DIED, 103.0, "acct", actor_id=ACTOR, injected=True)
    rows = {row.label: row for row in choose_calls([*STORY, died]).rows}
    assert rows["acct.add"].attempts[0].is_injected
    assert not rows["acct.die"].attempts[0].is_injected  # of another incarnation
    assert not rows["flaky"].attempts[0].is_injected


def test_what_failed_began_when_its_process_was_free_for_it() -> None:
    answered = Event(EventKind.TASK_ATTEMPT, 102.5, "f", task_id=b"6", worker_id=b"w", duration_s=0.25)
    sent_ahead = Event(EventKind.TASK_RETRY, 103.0, "f", task_id=b"7", worker_id=b"w", duration_s=1.0)
    rows = choose_calls([answered, sent_ahead]).rows
    assert rows[0].attempts == (Attempt("lost", 0.5, 1.0),)  # since the first one was sent, 2 s before
    serial = msgspec.structs.replace(STORY[0], count=1)
    called = Event(EventKind.CALL_ATTEMPT, 102.75, "Account.add", actor_id=ACTOR, task_id=b"8", worker_id=b"w")
    for created, start_s in ((serial, 2.75), (STORY[0], 2.0)):
        [row] = [row for row in choose_calls([created, *STORY[1:], called]).rows if row.label == "acct.add #1"]
        assert row.attempts[0].start_s == start_s


KILLED = "Actor Account 'acct' is dead: its process was killed by SIGKILL (injected during Account.add). It had."
DIED = [
    Event(EventKind.ACTOR_CREATED, 100.0, "acct", actor_id=ACTOR, count=1),
    *(Event(EventKind.CALL_ATTEMPT, 101.0 + k, "Account.add", actor_id=ACTOR, task_id=bytes([k]), worker_id=b"w",
            duration_s=0.5)
      for k in range(2)),
    Event(EventKind.ACTOR_DIED, 103.0, "acct", actor_id=ACTOR, injected=True),
    Event(EventKind.CALL_FAILED, 103.0, "Account.add", actor_id=ACTOR, task_id=bytes([2]), duration_s=2.5,
          detail=KILLED, became=Became.BEGUN),
    *(Event(EventKind.CALL_FAILED, 103.0, "Account.add", actor_id=ACTOR, task_id=bytes([k]), detail=KILLED,
            became=Became.NOT_RUN) for k in (3, 4)),
]  # fmt: skip
WHY = "killed by SIGKILL (injected during Account.add)"


def test_a_call_that_was_not_run_has_no_attempt_and_did_not_die() -> None:
    begun, *not_run = choose_calls(DIED).rows[:3]
    assert begun.attempts == (Attempt("failed", 1.5, 2.5, KILLED, is_injected=True),), "since the call before"
    assert begun.in_words() == f"1 attempt, 1.0 s, incarnation 0, failed: was {WHY}"
    assert [row.in_words() for row in not_run] == [f"not run: was {WHY}"] * 2
    assert all(row.has_failed and not row.attempts[0].is_injected for row in not_run)
    retried = Event(EventKind.CALL_RETRY, 102.5, "Account.add", actor_id=ACTOR, task_id=bytes([4]), duration_s=0.5)
    [row] = [row for row in choose_calls([*DIED[:3], retried, *DIED[3:]]).rows if len(row.attempts) == 2]
    assert row.in_words() == f"1 attempt, 500 ms, incarnation 0, not run again: was {WHY}"
    drawn = attempts(DIED).axes[0]
    told = [text.get_text() for text in drawn.get_legend().get_texts()]
    assert told == ["ended well", "last attempt, failed", "given up", "ended by an injection"]
    [bolts] = [line for line in drawn.lines if line.get_marker() == BOLT]
    assert len(bolts.get_xdata()) == 1
    assert [(cause.again, cause.failed) for cause in count_causes(DIED)] == [(0, 1)]


def test_time_begins_at_0_and_words_have_the_room_that_they_need() -> None:
    for story in (STORY, DIED, DIED[2:]):
        axes = attempts(story).axes[0]
        assert axes.get_xticks()[0] == 0
        assert len(axes.get_xticks()) >= 2
        axes.figure.draw_without_rendering()
        right = axes.get_window_extent().x1
        edges = [text.get_window_extent().x1 for text in axes.texts]
        assert all(edge <= right + 1 for edge in edges)
        assert right - max(edges) < 0.1 * right, "what is left free at the right"
    texts = [text.get_text() for text in attempts(DIED).axes[0].texts]
    assert f"1 attempt, 1.0 s, incarnation 0, failed: was {WHY}" in texts


def test_the_figure_draws_attempts_waits_and_ends() -> None:
    figure = attempts(STORY)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "acct.die", "flaky", "acct.add", "fine"]
    assert "2 attempts, 1.5 s, failed: ValueError: $never" in [text.get_text() for text in axes.texts]
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["ended well", "attempt that was lost", "last attempt, failed", "waiting for the next attempt",
                    "end of an attempt that was lost", "given up"]  # fmt: skip
    assert repr(figure) == '<attempts; .savefig("attempts.png")>'
    assert figure._repr_png_()[0].startswith(b"\x89PNG")


def test_one_attempt_and_none_are_figures_too() -> None:
    assert attempts(STORY[1:2])._repr_png_()[0].startswith(b"\x89PNG")
    nothing = attempts([])
    assert [text.get_text() for text in nothing.axes[0].texts] == ["no attempts: no call has ended yet"]
    assert nothing._repr_png_()[0].startswith(b"\x89PNG")


def test_causes_are_counted_for_each_function() -> None:
    assert count_causes(STORY) == [
        Cause("bad", "ValueError", 1, 1),
        Cause("flaky", "OSError", 1, 0),
        Cause("flaky", "exited with code 1", 1, 0),
        Cause("Account.add", "was killed", 1, 0),
        Cause("Account.die", "exited with code 3", 0, 1),
    ]
    died = Event(EventKind.ACTOR_DIED, 103.0, "acct", actor_id=ACTOR, injected=True)
    assert Cause("Account.add", "was killed (injected)", 1, 0) in count_causes([*STORY, died])


def test_the_figure_of_retries_has_a_bar_for_each_cause() -> None:
    figure = retries(STORY)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts][:2] == ["2  ValueError", "1  OSError"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "flaky", "", "Account.add", "Account.die"]
    assert repr(figure) == '<retries; .savefig("retries.png")>'
    many = [Event(EventKind.TASK_RETRY, 1.0, f"f{number:02}", task_id=b"1", detail="no") for number in range(50)]
    assert retries(many).axes[0].get_xlabel() == "attempts that failed \u00b7 10 more of 10 other causes left out"
    nothing = retries(STORY[1:2])
    assert [text.get_text() for text in nothing.axes[0].texts] == ["no attempt has failed"]
    assert nothing._repr_png_()[0].startswith(b"\x89PNG")


def test_words() -> None:
    assert [in_time(one) for one in (0.0, 5e-7, 3.2e-5, 0.0004, 0.0126, 3.44, 44.4, 300, 9000)] == [
        "0 ms", "0.5 \u00b5s", "32 \u00b5s", "0.4 ms", "13 ms", "3.4 s", "44 s", "5 min", "2.5 h",
    ]  # fmt: skip
    assert [in_size(one) for one in (1, 55, 1234, 25_000_000, 10**13)] == [
        "1 byte", "55 bytes", "1.23 kB", "25 MB", "1e+04 GB",
    ]  # fmt: skip
    assert gist("KeyError: 3.14 is missing. Look\nthere", 99) == "KeyError: 3.14 is missing"
    for actor in ("A 'a b'", "A 5ae90b11"):
        assert gist(f"A.f was given up: while it ran, the process of actor {actor} was killed. It.", 99) == "was killed"
    assert gist("word " * 20, 10) == "word word\u2026"
    assert shorten("f" * 50 + "#12", 10) == "ffffff\u2026#12"
