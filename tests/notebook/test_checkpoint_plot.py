"""Checkpoints: what there is, what was replayed, and what a recovery would cost now."""

from __future__ import annotations

from itertools import pairwise

from ipyactors.notebook.plots.checkpoint_plot import checkpoints
from ipyactors.notebook.plots.checkpoint_rows import Replay, Saved, make_rows
from ipyactors.notebook.plots.figures import BOLT
from ipyactors.notebook.plots.wording import ROWS_AT_MOST
from ipyactors.wire.events import Event, EventKind

ACTOR = b"a" * 16


def made(at_s: float, checkpoint_id: str, lsn: int, size: str, actor_id: bytes = ACTOR) -> Event:
    detail = f"checkpoint {checkpoint_id} after call {lsn}, {size} bytes"
    return Event(EventKind.CHECKPOINT_MADE, at_s, "acct", actor_id=actor_id, detail=detail, duration_s=0.125)


def called(at_s: float) -> Event:
    return Event(EventKind.CALL_ATTEMPT, at_s, "Account.deposit", actor_id=ACTOR, worker_id=b"w", duration_s=0.25)


STORY = [
    Event(EventKind.ACTOR_CREATED, 100.0, "acct", actor_id=ACTOR),
    called(101.0),
    made(102.0, "63601b5648", 1, "55"),
    called(102.5),
    called(102.75),
    made(103.0, "63c56ab5cf", 3, "1,234"),
    called(103.5),
    Event(EventKind.ACTOR_DIED, 104.0, "acct", actor_id=ACTOR, injected=True),
    Event(EventKind.ACTOR_RECOVERED, 105.0, "acct", actor_id=ACTOR, incarnation=1, duration_s=0.5, count=3,
          detail="from checkpoint 63601b5648, 3 calls replayed; not used: checkpoint 63c56ab5cf: damaged"),
    called(106.0),
]  # fmt: skip


def texts(events: list[Event]) -> list[str]:
    return [text.get_text() for text in checkpoints(events).axes[0].texts]


def test_a_row_says_what_there_is_and_what_it_would_cost_now() -> None:
    [row] = make_rows(STORY)
    assert row.saved == (
        Saved("63601b5648", 2.0, 55, 1, 0.125, since=2, begun=1),
        Saved("63c56ab5cf", 3.0, 1234, 3, 0.125, since=2),
    )
    assert row.replays == (Replay(5.0, 0.5, 3),)
    assert row.deaths == ((4.0, True),)
    assert row.steps.calls == (1, 0, 1, 2, 0, 1, 2, 2)
    assert row.in_words() == (
        "2 checkpoints, the newest 1.23 kB, 3.0 s old \u00b7 "
        "if it died now: nothing lost, at most 2 calls to replay, about 500 ms"
    )


def test_a_row_ends_when_the_log_does_or_now_as_a_lifeline() -> None:
    task = Event(EventKind.TASK_ATTEMPT, 109.0, "f", task_id=b"t" * 20, duration_s=1.0)
    assert [row.now_s for row in make_rows([*STORY, task])] == [9.0]
    assert [row.now_s for row in make_rows([*STORY, task], until_s=130.0)] == [30.0]
    dead = Event(EventKind.ACTOR_DEAD, 107.0, "acct", actor_id=ACTOR)
    assert [row.now_s for row in make_rows([*STORY, dead, task], until_s=130.0)] == [7.0]


def test_one_actor_has_the_cost_over_time() -> None:
    figure = checkpoints(STORY)
    axes = figure.axes[0]
    assert axes.get_ylabel() == "calls to replay"
    assert axes.get_title(loc="left").startswith("acct: 2 checkpoints")
    assert texts(STORY) == ["3 calls, 500 ms", "3.0 s old\n1.23 kB", "4.0 s old\n55 bytes"]
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["checkpoint", "checkpoint that a recovery began with", "death that was injected"]
    assert repr(figure) == '<checkpoints; .savefig("checkpoints.png")>'
    assert figure._repr_png_()[0].startswith(b"\x89PNG")


def test_words_lie_under_no_bolt_and_on_no_other_words() -> None:
    deaths = [
        event
        for number in range(12)
        for event in (
            made(100.3 + number * 0.3, "63601b5648", number, "55"),
            Event(EventKind.ACTOR_DIED, 100.4 + number * 0.3, "acct", actor_id=ACTOR, injected=True),
            Event(EventKind.ACTOR_RECOVERED, 100.45 + number * 0.3, "acct", actor_id=ACTOR, count=3, duration_s=0.01),
        )
    ]
    axes = checkpoints([STORY[0], *deaths, called(104.0)]).axes[0]
    axes.figure.draw_without_rendering()
    boxes = sorted((text.xy[1], text.get_window_extent().x0, text.get_window_extent().x1) for text in axes.texts)
    assert 3 <= len(boxes) < 24, "those that have room"
    for (row, _, right), (next_row, left, _) in pairwise(boxes):
        assert row != next_row or right <= left
    [bolts] = [line for line in axes.lines if line.get_marker() == BOLT]
    bolts_px = [axes.transData.transform((at_s, 0.0))[0] for at_s in bolts.get_xdata()]
    assert not [(row, left) for row, left, right in boxes if row for at_px in bolts_px if left <= at_px <= right]
    assert max(right for _, _, right in boxes) <= axes.figure.bbox.x1


def test_several_actors_have_a_row_each() -> None:
    axes = checkpoints([*STORY, made(104.0, "63eec23848", 9, "9", b"b" * 16)]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["acct", "acct"]
    words = [text.get_text() for text in axes.texts]
    assert (
        words[1] == "1 checkpoint, the newest 9 bytes, 2.0 s old \u00b7 if it died now: nothing lost, nothing to replay"
    )


def test_many_actors_are_bounded() -> None:
    many = [made(104.0, "63eec23848", 9, "9", b"%016d" % number) for number in range(100)]
    axes = checkpoints(many).axes[0]
    assert len(axes.get_yticklabels()) == ROWS_AT_MOST
    assert axes.get_xlabel().endswith("60 more actors left out")


def test_an_actor_without_a_checkpoint_and_one_that_is_gone() -> None:
    recovered = [event for event in STORY if event.kind is not EventKind.CHECKPOINT_MADE]
    [row] = make_rows(recovered)
    assert row.in_words().startswith("no checkpoint yet \u00b7 if it died now: nothing lost, at most 5 calls to replay")
    assert checkpoints(recovered)._repr_png_()[0].startswith(b"\x89PNG")
    dead = Event(EventKind.ACTOR_DEAD, 107.0, "acct", actor_id=ACTOR)
    [row] = make_rows([*STORY, dead])
    assert row.in_words() == "2 checkpoints, the newest 1.23 kB \u00b7 gone for good"


def test_without_a_durable_actor_it_says_so() -> None:
    plain = [event for event in STORY if event.kind in {EventKind.ACTOR_CREATED, EventKind.CALL_ATTEMPT}]
    assert texts(plain) == ["no checkpoints: no durable actor has made one or has come back"]
