"""The loop of a durable actor at rest, and when callers are gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod
from ipyactors.worker import durable_loop
from ipyactors.worker.durable_loop import DurableLoop, Line
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
            due_in_s=lambda: due_in_s, make_if_due=self._make, calls_until_due=lambda most: most
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
