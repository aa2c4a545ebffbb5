"""Events into rows, recoveries, a figure and tables: pure, with a story that is written by hand."""

from __future__ import annotations

import json
import pathlib
from itertools import pairwise

import msgspec
import pytest
from matplotlib.figure import Figure

import ipyactors
from ipyactors.api.actor_table import ActorTable, label
from ipyactors.exceptions import ActorNotFoundError, OptionError, SessionError
from ipyactors.notebook.plots.attempt_plot import attempts
from ipyactors.notebook.plots.checkpoint_plot import checkpoints
from ipyactors.notebook.plots.figures import BOLT, DEATH, FLASH
from ipyactors.notebook.plots.lifeline_plot import GAPS_WITH_TIMES, MARK_STYLES, lifelines
from ipyactors.notebook.plots.lifeline_rows import Mark, Span, choose_rows, make_rows
from ipyactors.notebook.plots.recoveries import ACTOR_KINDS, find_recoveries
from ipyactors.notebook.plots.recovery_plot import recovery_times
from ipyactors.notebook.plots.recovery_table import FACTS, recoveries
from ipyactors.notebook.plots.rerun_plot import reruns
from ipyactors.notebook.plots.retry_plot import retries
from ipyactors.notebook.plots.wording import ROWS_AT_MOST
from ipyactors.wire.events import Became, Event, EventKind
from ipyactors.wire.specs import ActorState, ActorStatus, Death, LossReason

ACTOR = b"a" * 16
STORY = [
    Event(EventKind.ACTOR_CREATED, 100.0, "acct", actor_id=ACTOR),
    Event(EventKind.ACTOR_ALIVE, 100.5, "acct", actor_id=ACTOR),
    Event(EventKind.CALL_ATTEMPT, 101.0, "Account.deposit", actor_id=ACTOR, duration_s=0.25),
    Event(EventKind.ACTOR_DIED, 102.0, "acct", actor_id=ACTOR, detail="killed, signal 9"),
    Event(EventKind.CALL_RETRY, 102.0, "Account.deposit", actor_id=ACTOR),
    Event(EventKind.ACTOR_RESTARTING, 102.0, "acct", actor_id=ACTOR),
    Event(EventKind.ACTOR_ALIVE, 102.25, "acct", actor_id=ACTOR, incarnation=1),
    Event(EventKind.ACTOR_DIED, 104.0, "acct", actor_id=ACTOR, incarnation=1, detail="exited, exit code 3"),
    Event(EventKind.ACTOR_DEAD, 104.0, "acct", actor_id=ACTOR, incarnation=1),
    Event(EventKind.TASK_RETRY, 101.5, "flaky", task_id=b"1", detail="exited with code 1"),
    Event(EventKind.TASK_ATTEMPT, 102.0, "flaky", task_id=b"1", attempt=1, duration_s=0.25),
    Event(EventKind.TASK_ATTEMPT, 101.0, "flaky", task_id=b"2", duration_s=0.5),
    Event(EventKind.TASK_FAILED, 103.0, "flaky", task_id=b"3", detail="exited with code 1"),
    Event(EventKind.WORKER_STARTED, 90.0),
]


def test_rows_are_actors_then_tasks_with_time_from_the_first_event() -> None:
    rows = list(make_rows(STORY))
    assert [row.label for row in rows] == ["acct", "flaky #1", "flaky #2", "flaky #3"]
    assert [(span.what, span.start_s, span.end_s) for span in rows[0].spans] == [
        ("life", 0.5, 2.0),
        ("gap", 2.0, 2.25),
        ("life", 2.25, 4.0),
    ]
    assert [mark.what for mark in rows[0].marks] == ["call", "death", "retry", "death", "end"]
    assert rows[1].marks == (Mark("retry", 1.5),)
    assert [(span.what, span.start_s, span.end_s) for span in rows[2].spans] == [("done", 0.5, 1.0)]
    assert [row.has_trouble for row in rows] == [True, True, False, True]


def test_a_task_s_bars_and_rows_count_attempts_from_one() -> None:
    rows = {row.label: row for row in make_rows(STORY)}
    assert [span.text for span in rows["flaky #1"].spans if span.what == "done"] == ["2"]
    first = next(line for line in repr(recoveries(STORY)).splitlines() if "flaky #1" in line)
    assert first.split("  ")[0] == "task flaky #1, attempt 1"
    assert "  attempt 2 " in first


def test_what_the_system_asks_of_an_actor_is_no_call_of_the_user() -> None:
    life = [
        Event(EventKind.ACTOR_CREATED, 100.0, "a", actor_id=ACTOR),
        Event(EventKind.ACTOR_ALIVE, 100.5, "a", actor_id=ACTOR),
        Event(EventKind.CHECKPOINT_MADE, 104.0, "a", actor_id=ACTOR),
    ]
    methods = ("add", "__ray_call__", "__ray_ready__", "__ipyactors_look__", "__ipyactors_checkpoint__")
    calls = [
        Event(EventKind.CALL_ATTEMPT, 101.0 + at, f"A.{method}", actor_id=ACTOR, task_id=bytes([at]), duration_s=0.5)
        for at, method in enumerate(methods, 1)
    ]
    events = [*life, *calls]
    assert "2 calls answered" in texts_of(lifelines(events))
    labels = [label.get_text() for label in attempts(events).axes[0].get_yticklabels()]
    assert labels == ["a.add", "a.on"]
    assert [label.get_text() for label in reruns(events).axes[0].get_yticklabels()] == ["A.add", "A.on"]
    lost = [msgspec.structs.replace(call, kind=EventKind.CALL_FAILED) for call in calls]
    assert [label.get_text() for label in retries(lost).axes[0].get_yticklabels()] == ["A.add", "A.on"]


def test_of_a_live_session_whoever_lives_is_drawn_until_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [span.end_s for span in next(make_rows(STORY[:2], until_s=130.0)).spans] == [30.0]
    assert next(make_rows(STORY, until_s=130.0)).spans[-1].end_s == 4.0, "it is gone for good"
    monkeypatch.setattr("ipyactors.api.inspect.events", lambda: STORY[:2])
    assert lifelines().axes[0].get_xlim()[1] > 1000, "the story is of 1970"
    assert lifelines(STORY[:2]).axes[0].get_xlim()[1] < 1, "of other events, nobody knows how it went on"


def test_a_call_without_an_answer_and_an_actor_that_is_gone_look_different() -> None:
    assert MARK_STYLES["unanswered"]["marker"] not in {"x", "X"}


def texts_of(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_an_actor_whose_answers_are_all_that_is_known_of_its_life_has_lived() -> None:
    """The head was killed before it had told that the actor, or its second incarnation, was alive."""
    unsaid = [event for event in STORY if event.kind is not EventKind.ACTOR_ALIVE]
    late = Event(EventKind.CALL_ATTEMPT, 102.01, "Account.deposit", actor_id=ACTOR, duration_s=0.5)
    second = Event(EventKind.CALL_ATTEMPT, 103.0, "Account.deposit", actor_id=ACTOR, duration_s=0.5, incarnation=1)
    row = next(make_rows([*unsaid, late, second]))
    assert [(span.what, round(span.start_s, 2), span.end_s, span.text) for span in row.spans] == [
        ("life", 0.75, 2.0, "0"),
        ("gap", 2.0, 2.5, "500 ms"),
        ("life", 2.5, 4.0, "1"),
    ]
    alive = next(make_rows([unsaid[0], unsaid[1]]))
    assert [(span.what, span.start_s, span.end_s) for span in alive.spans] == [("life", 0.75, 1.0)]


def test_an_answer_that_the_driver_noted_before_the_head_that_the_actor_is_back_changes_nothing() -> None:
    early = Event(EventKind.CALL_ATTEMPT, 102.24, "Account.deposit", actor_id=ACTOR, incarnation=1)
    spans = next(make_rows([*STORY, early])).spans
    assert [span.what for span in spans] == ["life", "gap", "life"]


def test_rows_without_trouble_are_left_out_first_and_order_is_kept() -> None:
    fine = [Event(EventKind.TASK_ATTEMPT, 101.0, "fine", task_id=bytes([9, index])) for index in range(ROWS_AT_MOST)]
    kept, left_out = choose_rows(list(make_rows([*fine, *STORY])))
    assert (len(kept), left_out) == (ROWS_AT_MOST, 4)
    labels = [row.label for row in kept]
    assert {"acct", "flaky #1", "flaky #3"} <= set(labels)
    assert labels.index("fine #1") < labels.index("fine #2")


def test_a_figure_shows_itself_and_touches_no_state_of_pyplot() -> None:
    import matplotlib.pyplot as plt

    figure = lifelines(STORY)
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    png, size = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size["width"] > 400
    assert repr(figure) == '<lifelines; .savefig("lifelines.png")>'
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert {"process died", "down", "gone for good"} <= set(texts)
    axes = Figure().add_subplot()
    assert lifelines(STORY, axes) is axes.figure


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_no_events_are_a_figure_too_which_says_so() -> None:
    figure = lifelines([])
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "nothing has happened yet: no actor was made and no task has ended"
    ]
    assert figure._repr_png_()[0].startswith(b"\x89PNG")


def test_a_session_is_needed_where_no_events_are_given() -> None:
    with pytest.raises(SessionError, match="events: there is no session"):
        lifelines()


def test_a_picture_may_be_made_from_a_file(tmp_path: pathlib.Path) -> None:
    figure = lifelines(ipyactors.export_events(tmp_path / "run.events.json.gz", STORY))
    assert legend(figure) == legend(lifelines(STORY))


def test_a_picture_of_one_actor() -> None:
    other = Event(EventKind.ACTOR_CREATED, 100.0, "other", actor_id=b"b" * 16)
    for which in ("acct", ACTOR.hex()[:6]):
        axes = lifelines([*STORY, other], actor=which).axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["acct"]
    with pytest.raises(ActorNotFoundError, match=r"No event tells of an actor 'no'.*Actors in them: acct, other\."):
        lifelines([*STORY, other], actor="no")


def test_a_picture_of_several_actors() -> None:
    others = [Event(EventKind.ACTOR_ALIVE, 100.0, name, actor_id=name.encode() * 16) for name in "bc"]
    for which in (["acct", "c"], ("c", ACTOR.hex())):
        axes = lifelines([*others, *STORY], actor=which).axes[0]
        assert sorted(label.get_text() for label in axes.get_yticklabels()) == ["acct", "c"]
    assert {one.name for one in recoveries(STORY, actor=["acct"])} == {"acct"}
    with pytest.raises(ActorNotFoundError, match="an actor 'no'"):
        lifelines(STORY, actor=["acct", "no"])
    with pytest.raises(OptionError, match="names no actor"):
        lifelines(STORY, actor=[])


def injected(event: Event) -> Event:
    return msgspec.structs.replace(event, injected=True)


def test_an_injected_death_has_another_shape_than_one_that_happened() -> None:
    order = Event(EventKind.INJECTED, 101.9, "acct", actor_id=ACTOR, detail="SIGKILL", injected=True)
    worker = Event(EventKind.WORKER_DIED, 102.0, "acct", actor_id=ACTOR, detail="SIGKILL", injected=True)
    slow = Event(EventKind.INJECTED, 100.9, "acct", actor_id=ACTOR, detail="200 ms longer", injected=True)
    story = [injected(event) if event.wall_s == 102.0 and event.kind in ACTOR_KINDS else event for event in STORY]
    [row, *_] = make_rows([worker, *story, order, slow])
    told = [mark.what for mark in row.marks if mark.what != "call"]
    assert told == ["injection", "injected death", "retry", "death", "end"]
    assert {"process died", "death that was injected", "injected fault"} <= set(
        legend(lifelines([*story, order, slow]))
    )
    markers = {line.get_color(): line.get_marker() for line in lifelines(story).axes[0].lines}
    assert markers[FLASH] == BOLT
    assert markers[DEATH] != BOLT


def test_a_task_that_an_injection_interrupts_is_marked() -> None:
    ends = [
        Event(EventKind.WORKER_DIED, 101.0, worker_id=b"w", detail="exited with code 1", injected=True),
        Event(EventKind.TASK_RETRY, 101.0, "f", task_id=b"1", worker_id=b"w", detail="exited with code 1"),
        Event(EventKind.TASK_RETRY, 102.0, "f", task_id=b"1", worker_id=b"x", detail="exited with code 1"),
    ]
    [row] = make_rows(ends)
    assert [mark.what for mark in row.marks] == ["retry", "injected death", "retry"]


def test_the_part_of_a_call_that_a_death_interrupts_is_lost() -> None:
    resent = Event(EventKind.CALL_RETRY, 102.125, "Account.deposit", actor_id=ACTOR, duration_s=2.0)
    story = [resent if event.kind is EventKind.CALL_RETRY else event for event in STORY]
    [row, *_] = make_rows(story)
    assert Span("lost", 1.0, 2.0) in row.spans  # from the last answer to the death
    unanswered = Event(EventKind.CALL_FAILED, 104.0, "Account.deposit", actor_id=ACTOR, incarnation=1)
    [row, *_] = make_rows([*story, unanswered])
    assert Mark("unanswered", 4.0) in row.marks


def test_thousands_of_deaths_are_bounded_in_ink() -> None:
    lives = [
        event
        for number in range(5000)
        for event in (
            Event(EventKind.ACTOR_ALIVE, 100.0 + number, "acct", actor_id=ACTOR, incarnation=number),
            Event(EventKind.ACTOR_DIED, 100.8 + number, "acct", actor_id=ACTOR, incarnation=number),
        )
    ]
    axes = lifelines(lives).axes[0]
    assert sum(len(bars.get_paths()) for bars in axes.collections) < 5000
    assert sum(len(line.get_xdata()) for line in axes.lines) < 500


def test_what_is_left_out_is_said() -> None:
    fine = [Event(EventKind.TASK_ATTEMPT, 101.0, "fine", task_id=bytes([9, index])) for index in range(ROWS_AT_MOST)]
    label = lifelines([*STORY, *fine]).axes[0].get_xlabel()
    assert label.endswith("4 more rows left out, those without trouble first")


DURABLE = [
    Event(EventKind.ACTOR_CREATED, 100.0, "acct", actor_id=ACTOR),
    Event(EventKind.ACTOR_ALIVE, 100.5, "acct", actor_id=ACTOR),
    Event(EventKind.CALL_ATTEMPT, 101.0, "Account.deposit", actor_id=ACTOR, worker_id=b"w"),
    Event(EventKind.CHECKPOINT_MADE, 101.5, "acct", actor_id=ACTOR,
          detail="checkpoint 63601b5648 after call 1, 55 bytes"),
    Event(EventKind.CALL_FAILED, 101.75, "Account.withdraw", actor_id=ACTOR, worker_id=b"w", detail="ValueError: no"),
    Event(EventKind.ACTOR_DIED, 102.0, "acct", actor_id=ACTOR, detail="was killed by SIGKILL"),
    Event(EventKind.ACTOR_RECOVERED, 103.0, "acct", actor_id=ACTOR, incarnation=1, duration_s=0.5, count=17,
          detail="from checkpoint 63601b5648, 17 calls replayed"),
    Event(EventKind.ACTOR_ALIVE, 103.0, "acct", actor_id=ACTOR, incarnation=1),
    Event(EventKind.ACTOR_UPGRADED, 104.0, "acct", actor_id=ACTOR, incarnation=1),
]  # fmt: skip


def test_a_durable_actor_has_its_checkpoints_its_replays_and_what_they_come_to() -> None:
    [row] = make_rows(DURABLE)
    assert row.spans == (
        Span("life", 0.5, 2.0, "0"),
        Span("gap", 2.0, 3.0, "1.0 s"),
        Span("redone", 1.5, 2.0),
        Span("replay", 2.5, 3.0, "17"),
        Span("life", 3.0, 4.0, "1"),
    )
    assert row.marks == (Mark("checkpoint", 1.5), Mark("death", 2.0), Mark("upgrade", 4.0))
    assert row.restores == ((1.5, 3.0),)
    assert row.sum_up == "acct: 1 death · 1 checkpoint · 17 calls replayed · 2 calls answered · none lost"
    axes = lifelines(DURABLE).axes[0]
    assert row.sum_up in [text.get_text() for text in axes.texts]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"checkpoint", "replay, and of how many calls", "another class"} <= set(texts)


def test_a_call_that_nobody_has_answered_is_lost() -> None:
    unanswered = Event(EventKind.CALL_FAILED, 104.0, "Account.deposit", actor_id=ACTOR, incarnation=1)
    [row] = make_rows([*DURABLE, unanswered])
    assert row.sum_up.endswith("2 calls answered · 1 call lost")


def test_a_call_that_is_known_to_have_had_no_effect_is_not_lost() -> None:
    failed = Event(EventKind.CALL_FAILED, 104.0, "Account.read", actor_id=ACTOR, incarnation=1)
    story = [*DURABLE, *(msgspec.structs.replace(failed, became=one) for one in (Became.NO_EFFECT, Became.NOT_RUN))]
    [row] = make_rows(story)
    assert row.sum_up.endswith("2 calls answered · 2 given up, without effect · none lost")
    assert [mark.what for mark in row.marks if mark.at_s == 4.0] == ["upgrade", "given up", "given up"]
    assert "call given up, without effect" in legend(lifelines(story))
    [row] = make_rows([*DURABLE, msgspec.structs.replace(failed, became=Became.BEGUN)])
    assert row.sum_up.endswith("1 call lost")


@pytest.mark.parametrize(
    ("injected", "died", "words"),
    [(1, 1, "1 death, injected"), (3, 3, "3 deaths, all injected"), (1, 3, "3 deaths, 1 of them injected")],
)
def test_how_many_deaths_were_injected(injected: int, died: int, words: str) -> None:
    deaths = [
        Event(EventKind.ACTOR_DIED, 105.0 + k, "acct", actor_id=ACTOR, injected=k < injected) for k in range(died)
    ]
    alive = [event for event in DURABLE if event.kind is not EventKind.ACTOR_DIED]
    assert next(make_rows([*alive, *deaths])).sum_up.startswith(f"acct: {words} · ")


def test_ends_of_calls_are_explained_where_they_are_drawn() -> None:
    assert "end of a call" in legend(lifelines(STORY))
    plain = Event(EventKind.CALL_ATTEMPT, 103.0, "B.b", actor_id=b"b" * 16)
    made = Event(EventKind.ACTOR_ALIVE, 101.0, "b", actor_id=b"b" * 16)
    assert "end of a call (not of durable actors)" in legend(lifelines([*DURABLE, made, plain]))
    assert not [words for words in legend(lifelines(DURABLE)) if words.startswith("end of a call")]
    assert next(make_rows(STORY)).marks[0] == Mark("call", 1.0), "when it was answered"


def test_nothing_is_cut_at_the_right_edge_and_no_text_lies_on_another_one() -> None:
    quick = [
        Event(EventKind.TASK_RETRY, 100.0, "f", task_id=b"1", duration_s=10.0, detail="exited"),
        *(Event(EventKind.TASK_RETRY, 100.0 + k / 100, "f", task_id=b"1", attempt=k, duration_s=0.009)
          for k in range(1, 60)),
        Event(EventKind.TASK_ATTEMPT, 104.0, "f", task_id=b"1", attempt=60, duration_s=0.01),
    ]  # fmt: skip
    for story in (quick, DURABLE, STORY):
        axes = lifelines(story).axes[0]
        axes.figure.draw_without_rendering()
        inside = sorted((text.xy[1], text.get_window_extent().x0, text.get_window_extent().x1) for text in axes.texts)
        assert all(right <= axes.get_window_extent().x1 for _, _, right in inside)
        for (row, _, right), (next_row, left, _) in pairwise(inside):
            assert row != next_row or right <= left
    assert lifelines(quick).axes[0].texts[-1].get_text() == "61"


def test_what_is_written_is_large_enough_to_be_read() -> None:
    for draw in (lifelines, attempts, retries, reruns, recovery_times, checkpoints):
        figure = draw([*STORY, *DURABLE])
        axes = figure.axes[0]
        legends = [*figure.legends, *([axes.get_legend()] if axes.get_legend() else [])]
        assert all(text.get_fontsize() >= 9.5 for text in axes.texts)
        assert all(text.get_fontsize() >= 9 for one in legends for text in one.get_texts())
        others = (axes.title, *axes.get_xticklabels(), *axes.get_yticklabels())
        assert all(text.get_fontsize() >= 9.5 for text in others)


def test_a_legend_has_as_many_columns_as_fit() -> None:
    figure = lifelines([*STORY, *DURABLE])
    figure.draw_without_rendering()
    assert figure.axes[0].get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_a_durable_actor_takes_two_lines_and_the_others_make_room() -> None:
    other = Event(EventKind.TASK_ATTEMPT, 102.0, "flaky", task_id=b"1", duration_s=0.25)
    assert list(lifelines([*DURABLE, other]).axes[0].get_yticks()) == [0, 2]


def test_where_an_actor_died_often_only_what_has_room_is_written() -> None:
    lives = [
        event
        for number in range(GAPS_WITH_TIMES + 1)
        for event in (
            Event(EventKind.ACTOR_ALIVE, 100.0 + number, "acct", actor_id=ACTOR, incarnation=number),
            Event(EventKind.ACTOR_DIED, 100.8 + number, "acct", actor_id=ACTOR, incarnation=number),
        )
    ]
    last = [
        Event(EventKind.ACTOR_ALIVE, 120.0, "acct", actor_id=ACTOR, incarnation=98),
        Event(EventKind.ACTOR_DIED, 120.01, "acct", actor_id=ACTOR, incarnation=98),
        Event(EventKind.ACTOR_ALIVE, 121.0, "acct", actor_id=ACTOR, incarnation=99),
        Event(EventKind.ACTOR_DEAD, 130.0, "acct", actor_id=ACTOR, incarnation=99),
    ]
    texts = [text.get_text() for text in lifelines([*lives, *last]).axes[0].texts]
    assert texts == [*(str(number) for number in range(GAPS_WITH_TIMES + 1)), "99"]


def test_recoveries_of_a_durable_actor_say_how_many_calls_were_replayed() -> None:
    [recovery] = find_recoveries(DURABLE)
    assert (recovery.next_number, recovery.replayed_calls) == (1, 17)
    assert "incarnation 1; 17 calls replayed" in repr(recoveries(DURABLE))


def test_recovery_times_are_a_histogram_of_actors_that_came_back() -> None:
    axes = recovery_times(STORY).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 1
    assert axes.get_title(loc="left") == "1 recovery · median (the line) 250 ms · 95% within 250 ms"
    nothing = recovery_times([])
    assert nothing.axes[0].get_title(loc="left") == "no recoveries"
    assert nothing._repr_png_()[0].startswith(b"\x89PNG")
    assert repr(nothing) == '<recovery times; .savefig("recovery_times.png")>'


def test_recoveries_say_what_died_what_came_back_and_how_fast() -> None:
    found = [(one.name, one.number, one.next_number, one.back_s, one.retried_calls) for one in find_recoveries(STORY)]
    assert found == [
        ("flaky #1", 0, 1, 0.25, 0),
        ("acct", 0, 1, 0.25, 1),
        ("flaky #3", 0, None, None, 0),
        ("acct", 1, None, None, 0),
    ]


def test_recoveries_are_a_table_and_json() -> None:
    bundle = recoveries(STORY)._repr_mimebundle_()
    assert "actor acct, incarnation 0" in bundle["text/plain"]
    assert "incarnation 1; 1 call sent again" in bundle["text/plain"]
    assert ">250 ms</td>" in bundle["text/html"]
    assert len(json.loads(json.dumps(bundle[FACTS]))) == 4


def test_actors_are_a_table_in_text_and_html() -> None:
    table = ActorTable(
        [
            ActorStatus(ACTOR, ActorState.ALIVE, 1, -1, class_name="<Account>", name="acct",
                        death=Death(LossReason.KILLED, signal=9)),
            ActorStatus(b"a" + bytes(15), ActorState.PENDING, class_name="Big", waiting_for="needs 8 CPU"),
        ],
        "",
    )  # fmt: skip
    lines = repr(table).splitlines()
    assert " ".join(lines[1].split()) == "acct <Account> ● alive 1 no limit incarnation 0 was killed by SIGKILL"
    assert " ".join(lines[2].split()) == "6100000000 Big … pending 0 0 waiting: needs 8 CPU"
    assert "&lt;Account&gt;" in table._repr_mimebundle_()["text/html"]
    assert [label(one) for one in table] == ["<Account> 'acct'", "Big 6100000000"]
    assert repr(ActorTable([], "")) == "no actors"
