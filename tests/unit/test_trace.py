"""Events as a trace: what viewers insist on, and that nothing overlaps on one thread."""

from __future__ import annotations

import random
from typing import Any

from ipyactors.api.trace import trace_of
from ipyactors.wire.events import Event, EventKind
from tests.support.trace_rules import check_trace

ACTOR, NODE, WORKER = b"a" * 16, b"n" * 8, b"w" * 8
HERE = {"actor_id": ACTOR, "worker_id": WORKER, "node_id": NODE}


def slices(traced: list[dict[str, Any]], name: str = "") -> list[tuple[int, int]]:
    """Return from when to when, in microseconds, of each slice, or of those of this name."""
    return [(one["ts"], one["ts"] + one["dur"]) for one in traced if one["ph"] == "X" and name in one["name"]]


def threads(traced: list[dict[str, Any]]) -> dict[int, str]:
    return {one["tid"]: one["args"]["name"] for one in traced if one["name"] == "thread_name"}


def created(concurrency: int) -> Event:
    return Event(EventKind.ACTOR_CREATED, 1.0, "acct", actor_id=ACTOR, count=concurrency)


def called(wall_s: float, duration_s: float, number: int = 0, kind: EventKind = EventKind.CALL_ATTEMPT) -> Event:
    task_id = number.to_bytes(20, "big") if number else b""
    return Event(kind, wall_s, "Account.deposit", task_id=task_id, duration_s=duration_s, **HERE)


STORY = [
    Event(EventKind.NODE_ADDED, 1.0, "vm", node_id=NODE),
    created(1),
    Event(EventKind.ACTOR_ALIVE, 1.5, "acct", **HERE),
    called(2.0, 0.25, 1),
    Event(EventKind.CHECKPOINT_MADE, 2.1, "acct", **HERE, detail="checkpoint 0123456789 after call 1, 55 bytes"),
    Event(EventKind.INJECTED, 2.9, "acct", **HERE, detail="SIGKILL during deposit", injected=True),
    Event(EventKind.ACTOR_DIED, 3.0, "acct", **HERE, detail="was killed by SIGKILL", injected=True),
    Event(EventKind.CALL_RETRY, 3.0, "Account.deposit", actor_id=ACTOR, task_id=b"2" * 20, duration_s=0.5),
    Event(EventKind.ACTOR_RECOVERED, 3.5, "acct", **HERE, incarnation=1, count=1, detail="from its constructor"),
    Event(EventKind.ACTOR_ALIVE, 3.5, "acct", **HERE, incarnation=1),
    Event(EventKind.CALL_ATTEMPT, 4.0, "Account.deposit", task_id=b"2" * 20, attempt=1, incarnation=1, duration_s=0.25,
          **HERE),
    Event(EventKind.TASK_RETRY, 5.0, "f", task_id=b"3" * 20, worker_id=b"x", node_id=NODE, duration_s=0.5, detail="no"),
    Event(EventKind.TASK_FAILED, 6.0, "f", task_id=b"3" * 20, worker_id=b"y", node_id=NODE, attempt=1, detail="no"),
    Event(EventKind.HEAD_RESTARTED, 7.0),
]  # fmt: skip


def test_machines_actors_and_workers_have_names() -> None:
    traced = trace_of(STORY)
    check_trace(traced)
    processes = {one["pid"]: one["args"]["name"] for one in traced if one["name"] == "process_name"}
    assert sorted(processes.values()) == ["machine vm", "session"]
    assert sorted(threads(traced).values()) == ["acct", "session", "session", "worker 1", "worker 2"]


def test_slices_are_attempts_and_recoveries_and_say_what_became_of_them() -> None:
    told = [
        (one["name"], one["ts"], one["dur"], one["args"].get("outcome"), one["args"].get("attempt"))
        for one in trace_of(STORY)
        if one["ph"] == "X"
    ]
    assert told == [
        ("Account.deposit", 1_750_000, 250_000, "ok", 1),
        ("Account.deposit", 2_500_000, 500_000, "sent again", 1),
        ("recovery", 3_000_000, 500_000, None, None),
        ("Account.deposit", 3_750_000, 250_000, "ok", 2),
        ("f", 4_500_000, 500_000, "sent again", 1),
        ("f", 6_000_000, 0, "failed", 2),
    ]


def test_calls_have_the_names_that_users_know() -> None:
    made = [
        Event(EventKind.CALL_ATTEMPT, 2.0, f"Account.{method}", actor_id=ACTOR, task_id=bytes([k]) * 20)
        for k, method in enumerate(("__ipyactors_checkpoint__", "__ray_ready__", "__ray_call__", "deposit"))
    ]
    assert {one["name"] for one in trace_of(made) if one["ph"] == "X"} == {"Account.on", "Account.deposit"}


def test_deaths_checkpoints_and_injections_are_instants() -> None:
    instants = {one["name"]: one for one in trace_of(STORY) if one["ph"] == "i"}
    assert {"checkpoint made", "injected: SIGKILL during deposit", "actor died (injected)"} <= set(instants)
    assert instants["actor died (injected)"]["args"]["detail"] == "was killed by SIGKILL"
    assert [instants[name]["s"] for name in ("node added: vm", "head restarted", "actor alive")] == ["p", "g", "t"]


def test_a_retry_is_an_arrow_from_an_attempt_to_the_next() -> None:
    arrows = [(one["ph"], one["id"], one["ts"]) for one in trace_of(STORY) if one["ph"] in {"s", "f"}]
    assert arrows == [("s", 1, 2_999_999), ("f", 1, 3_750_000), ("s", 2, 4_999_999), ("f", 2, 6_000_000)]


def test_live_actors_and_retries_are_counted() -> None:
    counted = [(one["name"], *one["args"].values()) for one in trace_of(STORY) if one["ph"] == "C"]
    assert counted == [
        ("actors alive", 1), ("actors alive", 0), ("retries", 1), ("actors alive", 1), ("retries", 2),
    ]  # fmt: skip


def test_an_actor_that_runs_one_call_at_a_time_has_one_thread() -> None:
    batch = [called(2.0, 0.25), called(2.0, 0.25), called(2.001, 0.25)]  # answers that were read at one moment
    traced = trace_of([created(1), *batch])
    check_trace(traced)
    assert slices(traced) == [(1_251_000, 1_501_000), (1_501_000, 1_751_000), (1_751_000, 2_001_000)]
    assert list(threads(traced).values()).count("acct") == 1


def test_side_by_side_there_are_as_many_threads_as_calls_at_a_time() -> None:
    batch = [called(2.0, 0.25), called(2.0, 0.25), called(2.001, 0.25)]
    traced = trace_of([created(2), *batch])
    check_trace(traced)
    assert slices(traced) == [(1_501_000, 1_751_000), (1_750_000, 2_000_000), (1_751_000, 2_001_000)]
    assert {"acct", "acct, lane 2"} <= set(threads(traced).values())
    unknown = trace_of(batch)  # its creation is too long ago to be known
    check_trace(unknown)
    assert len(threads(unknown)) == 3


def test_what_failed_began_after_what_was_answered_before() -> None:
    sent_at_once = [called(2.0, 0.25), called(2.5, 1.5, kind=EventKind.CALL_FAILED)]
    assert slices(trace_of([created(1), *sent_at_once])) == [(1_750_000, 2_000_000), (2_000_000, 2_500_000)]


def test_answers_that_come_with_a_recovery_do_not_move_it() -> None:
    late = Event(EventKind.CALL_ATTEMPT, 3.5, "Account.deposit", incarnation=1, duration_s=0.25, **HERE)
    traced = trace_of([*STORY[:10], late, late, *STORY[10:]])
    check_trace(traced)
    assert slices(traced, "recovery") == [(3_000_000, 3_500_000)]


def test_any_events_make_a_trace_that_is_valid() -> None:
    for seed in range(300):
        check_trace(trace_of(sorted(_some(random.Random(seed)), key=lambda event: event.wall_s)))


def _some(chance: random.Random) -> list[Event]:
    """Return events that need not make sense together."""
    events = []
    for _ in range(chance.randrange(60)):
        of_actor = chance.random() < 0.7
        events.append(
            Event(
                chance.choice(list(EventKind)),
                chance.choice([1.0, 2.0, 1.0 + chance.random()]),
                chance.choice(["", "f"]),
                actor_id=bytes([97, chance.randrange(2)]) if of_actor else b"",
                worker_id=bytes([chance.randrange(3)]) * chance.randrange(2),
                node_id=bytes([chance.randrange(2)]) * chance.randrange(2),
                task_id=bytes([chance.randrange(9)]) * chance.randrange(2),
                attempt=chance.randrange(3),
                incarnation=chance.randrange(3),
                duration_s=chance.choice([0.0, 0.0000001, chance.random()]),
                injected=chance.random() < 0.2,
                count=chance.randrange(3),
            )
        )
    return events


def test_nothing_makes_an_empty_trace() -> None:
    assert trace_of([]) == []
