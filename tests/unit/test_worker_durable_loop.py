"""The loop of a durable actor at rest, and when callers are gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ipyactors.owner.current import CurrentCall
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod
from ipyactors.worker import durable_loop
from ipyactors.worker.durable_loop import DurableLoop, DurableParts, Line
from ipyactors.worker.logged_call import LoggedCall
from ipyactors.worker.mailbox import Mailbox


class Parts:
    """What the loop works with; records what it is asked."""

    def __init__(self, due_in_s: float | None = None) -> None:
        self.made = 0
        self.taken: list[tuple[bytes, int]] = []
        self.forgotten: list[bytes] = []
        self.log = SimpleNamespace(write=lambda: None)
        self.calls = SimpleNamespace(take=self._take, forget_process=self.forgotten.append)
        self.checkpointer = SimpleNamespace(
            is_due=lambda **_how: due_in_s is not None and due_in_s <= 0,
            due_in_s=lambda: due_in_s,
            make_if_due=self._make,
            calls_until_due=lambda most: most,
        )

    def _make(self) -> None:
        self.made += 1

    def _take(self, caller: bytes, call: CallMethod) -> None:
        self.taken.append((caller, call.seq))


class Waits:
    """A session that is asked to wait: it never has anything."""

    def __init__(self) -> None:
        self.limits: list[float | None] = []

    def wait(self, _is_done: Any, timeout_s: float | None = None) -> bool:
        self.limits.append(timeout_s)
        return False


def make(parts: Parts) -> tuple[DurableLoop, Waits, Mailbox, Line, list[str]]:
    session, box, told = Waits(), Mailbox(is_actor=True), []
    line = Line(box)
    executor, answers = SimpleNamespace(busy_since_s=1.0), SimpleNamespace(flush=lambda: told.append("flush"))

    def give_up(error: Exception) -> Any:
        raise AssertionError(error)

    loop = DurableLoop(
        session,
        box,
        line,
        executor,
        answers,
        None,
        lambda: told.append("progress"),
        give_up,  # type: ignore[arg-type]
    )
    loop._parts = parts  # type: ignore[assignment]
    return loop, session, box, line, told


def test_an_incarnation_that_is_idle_for_a_while_has_come_to_something() -> None:
    loop, session, _, _, told = make(Parts())
    loop._rest()
    assert session.limits == [durable_loop.IDLE_IS_PROGRESS_S]
    assert told == ["progress"]
    loop._rest()
    assert session.limits[1:] == [None]
    assert told == ["progress"]


def test_a_checkpoint_that_is_due_before_is_no_progress() -> None:
    loop, session, _, _, told = make(Parts(due_in_s=0.25))
    loop._rest()
    assert session.limits == [0.25]
    assert told == []


def test_a_checkpoint_that_is_due_is_made_at_rest() -> None:
    parts = Parts(due_in_s=0.0)
    loop, session, _, _, told = make(parts)
    loop._rest()
    assert (parts.made, session.limits, told) == (1, [], ["flush"])


class Runs(Parts):
    """What calls are run with; its checkpointer is asked, and makes one if ``is_due``."""

    begin = DurableParts.begin

    def __init__(self, *, is_due: bool = True) -> None:
        super().__init__()
        self.counted = 0
        self._journal, self._begun = None, SimpleNamespace(note=lambda _lsn: None)
        checkpointer = self.checkpointer
        checkpointer.is_due = lambda **_how: is_due
        checkpointer.note_call = self._count
        checkpointer.request = lambda: None

    def _count(self, _duration_s: float) -> None:
        self.counted += 1


def call_of(lsn: int, **facts: Any) -> LoggedCall:
    call = CallMethod(lsn + 1, b"t" * 20, "add", Payload(b""), is_readonly=not lsn, **facts)
    return LoggedCall(call, CurrentCall(b"d-caller", lsn + 1, call.task_id, "A.add"), lsn)


def run(parts: Parts, *line: LoggedCall) -> None:
    """Run the first of the calls while the others are in line."""
    loop, _, _, waiting, _ = make(parts)
    waiting.logged.extend(line[1:])
    anything: Any = loop
    anything._marks = SimpleNamespace(mark=lambda _caller, _seq: None)
    anything._executor.run = lambda _running, _call: None
    anything._executor.exit = None
    anything._answers.begin = anything._answers.forget = lambda _logged: None
    loop._run(line[0])


@pytest.mark.parametrize(("after", "made"), [((), 1), ((0,), 1), ((2,), 0), ((2, 0), 0)])
def test_a_checkpoint_waits_only_for_calls_that_are_in_the_log(after: tuple[int, ...], made: int) -> None:
    """What is taken together ends with the call that is not logged: there is always one where those alternate."""
    parts = Runs()
    run(parts, call_of(1), *map(call_of, after))
    assert (parts.made, parts.counted) == (made, 1)


def test_a_checkpoint_may_become_due_while_nobody_writes() -> None:
    parts = Runs()
    run(parts, call_of(0))
    assert (parts.made, parts.counted) == (1, 0)


def test_what_a_checkpoint_ends_with_is_not_counted_against_the_next() -> None:
    parts = Runs(is_due=False)
    run(parts, call_of(1, is_persist=True))
    assert parts.counted == 0


def test_one_that_is_due_for_other_reasons_than_the_clock_is_made_at_rest() -> None:
    parts = Runs()
    loop, *_ = make(parts)
    loop._rest()
    assert parts.made == 1


def test_what_lost_callers_have_sent_is_not_run_for_it_may_have_been() -> None:
    parts = Parts()
    loop, _, box, line, _ = make(parts)
    for seq in (1, 2):
        for caller in (b"d-lost00", b"d-lives0"):
            box.ready.append((caller, CallMethod(seq, b"t" * 20, "add", Payload(b""))))
    line.gone.append(b"d-lost00")
    assert loop._take()
    assert parts.forgotten == [b"d-lost00"]
    assert parts.taken == [(b"d-lives0", 1), (b"d-lives0", 2)]
    box.ready.append((b"d-lost00", CallMethod(3, b"t" * 20, "add", Payload(b""))))
    loop._take()
    assert len(parts.taken) == 2


def test_of_lost_callers_only_the_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_loop, "KEPT_LOST", 2)
    line = Line(Mailbox(is_actor=True))
    line.gone.extend(bytes([number]) for number in range(4))
    line.lose_gone(lambda _process_id: None)
    assert [line.is_lost(bytes([number])) for number in range(4)] == [False, False, True, True]


def test_it_has_caught_up_once_all_that_was_interrupted_is_over_and_in_the_log() -> None:
    told: list[str] = []

    class Interrupted(Runs):
        note_over = DurableParts.note_over

        def __init__(self) -> None:
            super().__init__(is_due=False)
            self.log.write = lambda: told.append("written")
            self._unfinished, self._on_caught_up = {1, 2}, lambda: told.append("caught up")

    loop, _, _, waiting, _ = make(Interrupted())
    calls = [call_of(1), call_of(2), call_of(3)]
    for call in calls[:2]:
        call.running.caller = b""
    waiting.logged.extend(calls)
    anything: Any = loop
    anything._marks = SimpleNamespace(mark=lambda _caller, _seq: None)
    anything._executor.exit = None
    anything._answers.begin = anything._answers.forget = lambda _logged: None

    def execute(running: CurrentCall, _call: CallMethod) -> None:
        told.append(f"ran {running.lsn}")
        anything._executor.exit = "over" if running.lsn == 3 else None

    anything._executor.run = execute
    loop.run(lambda: None)
    assert told == ["ran 1", "written", "ran 2", "written", "caught up", "ran 3"]
