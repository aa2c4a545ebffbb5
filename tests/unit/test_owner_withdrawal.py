"""What an interrupted cell has submitted: which calls are cancelled, which go on, and what is said of it."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipyactors.ground.exceptions import TaskCancelledError
from ipyactors.owner import reactor, scopes
from ipyactors.owner.calls import CallState, PendingCall
from ipyactors.owner.templates import STREAMING
from ipyactors.owner.waits import NO_THREAD, Waits
from ipyactors.owner.withdrawal import CALLS_A_TURN, Withdrawal, withdraw, words_of_what_goes_on
from ipyactors.wire.specs import ActorState
from ipyactors.wire.worker_messages import CallCancelled, CallMethod, CancelCall, FetchObject, RunTask
from tests.support.owner_scenario import OwnerScenario

W1, A1 = b"wworker1", b"wactor_1"
CELL, OTHER = 3, 2


class Cells(OwnerScenario):
    """Calls made by cells; ``stop`` interrupts one of them."""

    def of(self, call: PendingCall, scope: int = CELL) -> PendingCall:
        call.scope = scope
        return call

    def stop(self, awaited: Iterable[object] = (), begun: int = 0) -> Withdrawal:
        self.out.sent.clear()
        self.done = withdraw(self.state, self.out, CELL, awaited, {A1: begun})
        self.settle()
        return self.done.settled()

    def cancels(self) -> list[tuple[bytes, int]]:
        return [(peer, message.seq) for peer, message in self.out.sent if isinstance(message, CancelCall)]


@pytest.fixture
def cells() -> Cells:
    return Cells()


# -- tasks -----------------------------------------------------------------------------------------------------


def test_a_task_that_waits_for_a_worker_and_one_that_has_it_are_cancelled(cells: Cells) -> None:
    sent = cells.of(cells.task())
    cells.grant(1, W1)
    queued = cells.of(cells.task())
    assert (sent.state, queued.state) == (CallState.SENT, CallState.QUEUED)
    assert cells.stop() == Withdrawal(tasks=2)
    assert cells.cancels() == [(W1, sent.seq)]
    assert queued.state is CallState.DONE


def test_what_another_cell_or_a_script_has_submitted_goes_on(cells: Cells) -> None:
    others = [cells.of(cells.task(), OTHER), cells.of(cells.task(), 0)]
    assert cells.stop() == Withdrawal()
    assert [call.state for call in others] == [CallState.QUEUED] * 2


def test_what_is_done_is_not_counted(cells: Cells) -> None:
    cells.of(cells.task())
    cells.grant(1, W1)
    cells.answer(W1, 1)
    assert cells.stop() == Withdrawal()


def test_a_task_goes_with_those_that_need_its_result(cells: Cells) -> None:
    first = cells.of(cells.task())
    cells.of(cells.task(deps=first.entries))
    assert cells.stop() == Withdrawal(tasks=2)
    assert not cells.state.waiting


# -- others wait -----------------------------------------------------------------------------------------------


def by_entry(call: PendingCall) -> object:
    return call.entries[0]


def by_stream(call: PendingCall) -> object:
    return call.stream


@pytest.mark.parametrize(("returns", "of"), [(1, by_entry), (2, by_entry), (STREAMING, by_stream)])
def test_what_other_code_waits_for_goes_on(cells: Cells, returns: int, of: Callable[[PendingCall], object]) -> None:
    awaited, unwanted = (cells.of(cells.task(num_returns=returns)) for _ in range(2))
    assert cells.stop([of(awaited)]) == Withdrawal(tasks=1, kept_tasks=1)
    assert awaited.state is CallState.QUEUED
    assert unwanted.state is CallState.DONE


def test_what_a_call_of_another_cell_needs_goes_on_and_what_that_needs(cells: Cells) -> None:
    first = cells.of(cells.task())
    second = cells.of(cells.task(deps=first.entries))
    last = cells.of(cells.task(deps=second.entries), OTHER)
    assert cells.stop() == Withdrawal(kept_tasks=2)
    assert not any(call.cancelled for call in (first, second, last))


def test_what_a_call_that_goes_on_needs_goes_on(cells: Cells) -> None:
    first = cells.of(cells.task())
    second = cells.of(cells.task(deps=first.entries))
    assert cells.stop([second.entries[0]]) == Withdrawal(kept_tasks=2)


def lend_and_ask(cells: Cells, call: PendingCall, peer: bytes) -> None:
    entry = call.entries[0]
    cells.state.objects.exported[entry.object_id] = entry
    cells.state.objects.pinned.add(entry.object_id)
    cells.hear(peer, FetchObject(entry.object_id))


def test_what_another_process_asks_for_goes_on(cells: Cells) -> None:
    call = cells.of(cells.task())
    lend_and_ask(cells, call, b"wunknown")
    assert cells.stop() == Withdrawal(kept_tasks=1)


@pytest.mark.parametrize(("scope", "said"), [(CELL, Withdrawal(tasks=2)), (OTHER, Withdrawal(kept_tasks=1))])
def test_what_a_task_asks_for_goes_on_only_with_that_task(cells: Cells, scope: int, said: Withdrawal) -> None:
    cells.of(cells.task(), scope)
    cells.grant(1, W1)
    lend_and_ask(cells, cells.of(cells.task("wanted")), W1)
    assert cells.stop() == said


# -- actors ----------------------------------------------------------------------------------------------------


def test_a_method_call_that_has_begun_goes_on_and_the_others_are_withdrawn(cells: Cells) -> None:
    client = cells.actor()
    cells.alive(client, A1)
    for _ in range(3):
        cells.of(cells.method(client))
    assert cells.stop(begun=1) == Withdrawal(running={"Counter 'c'": 1}, open={"Counter 'c'": 2})
    assert cells.cancels() == [(A1, 2), (A1, 3)]
    cells.hear(A1, CallCancelled(2, started=False))
    assert not cells.done.is_answered
    assert cells.done.settled().open == cells.done.settled().withdrawn == {"Counter 'c'": 1}
    cells.answer(A1, 3)  # it had begun when the actor heard that it was not wanted
    assert cells.done.is_answered
    assert cells.done.settled() == Withdrawal(withdrawn={"Counter 'c'": 1}, running={"Counter 'c'": 1})
    assert client.state is ActorState.ALIVE


def test_a_method_call_that_waits_for_its_actor_is_withdrawn_at_once(cells: Cells) -> None:
    call = cells.of(cells.method(cells.actor()))
    assert cells.stop() == Withdrawal(withdrawn={"Counter 'c'": 1})
    assert call.state is CallState.DONE


def test_a_durable_actor_that_is_restarting_ends_what_it_may_have_in_its_log(cells: Cells) -> None:
    client = cells.actor()
    cells.alive(client, A1)
    call = cells.of(cells.method(client, is_durable=True))
    cells.died(client, A1, started=1, final=False)
    assert cells.stop() == Withdrawal(running={"Counter 'c'": 1})
    assert not call.cancelled


def test_a_withdrawn_call_takes_along_the_task_that_makes_its_argument(cells: Cells) -> None:
    task = cells.of(cells.task())
    cells.of(cells.method(cells.actor(), deps=task.entries))
    assert cells.stop() == Withdrawal(tasks=1, withdrawn={"Counter 'c'": 1})


# -- many of them -----------------------------------------------------------------------------------------------


def test_the_calls_of_a_large_cell_are_counted_at_once_and_ended_a_few_a_turn(cells: Cells) -> None:
    client = cells.actor()
    calls = [cells.of(call) for _ in range(CALLS_A_TURN) for call in (cells.task(), cells.method(client))]
    done = withdraw(cells.state, cells.out, CELL, (), {})
    assert done.settled() == Withdrawal(tasks=CALLS_A_TURN, withdrawn={"Counter 'c'": CALLS_A_TURN})
    assert done.is_answered
    for turn in (1, 2):
        assert cells.state.withdrawn
        cells.settle()
        assert sum(call.state is CallState.DONE for call in calls) == turn * CALLS_A_TURN
    assert not cells.state.withdrawn
    assert cells.state.unanswered == 0
    assert all(isinstance(call.entries[0].failure, TaskCancelledError) for call in calls)


def test_what_is_withdrawn_and_has_not_ended_is_not_sent_and_not_withdrawn_again(cells: Cells) -> None:
    source, client = cells.of(cells.task(), OTHER), cells.actor()
    cells.grant(1, W1)
    deps = source.entries
    calls = [cells.of(call) for call in (cells.task(), cells.method(client), cells.task(deps=deps))]
    withdraw(cells.state, cells.out, CELL, (), {})
    cells.out.sent.clear()
    ended, cells.state.withdrawn = cells.state.withdrawn, deque()  # as if many were before them
    cells.answer(W1, source.seq)
    cells.alive(client, A1)
    assert not [message for _, message in cells.out.sent if isinstance(message, (RunTask, CallMethod))]
    cells.state.withdrawn = ended
    assert withdraw(cells.state, cells.out, CELL, (), {}) == Withdrawal()
    cells.settle()
    assert [call.state for call in calls] == [CallState.DONE] * 3


def test_what_is_withdrawn_and_has_not_ended_can_be_cancelled(cells: Cells) -> None:
    calls = [cells.of(cells.task()), cells.of(cells.method(cells.actor()))]
    withdraw(cells.state, cells.out, CELL, (), {})
    for call in calls:
        reactor.cancel_call(cells.state, cells.out, call, force=True, recursive=True)
        assert call.state is CallState.DONE
    cells.settle()
    assert cells.state.unanswered == 0


def test_what_goes_on_where_nothing_is_to_be_cancelled_is_counted(cells: Cells) -> None:
    client = cells.actor()
    assert words_of_what_goes_on(cells.state, CELL) == ""
    cells.of(cells.task())
    assert words_of_what_goes_on(cells.state, CELL) == "1 task goes on (interrupt=keep)"
    cells.of(cells.task(), OTHER)
    for _ in range(2):
        cells.of(cells.method(client))
    words = f"1 task and 2 calls of {client.label} go on (interrupt=keep)"
    assert words_of_what_goes_on(cells.state, CELL) == words
    assert cells.stop() == Withdrawal(tasks=1, withdrawn={client.label: 2}), "nothing was cancelled by that"


# -- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (Withdrawal(), ""),
        (Withdrawal(1), "1 task cancelled"),
        (Withdrawal(3, {"Tally 't'": 1}), "3 tasks cancelled, 1 call of Tally 't' withdrawn"),
        (
            Withdrawal(0, {"Tally 't'": 2}, {"Tally 't'": 1}),
            "2 calls of Tally 't' withdrawn; 1 call is running in Tally 't' and goes on",
        ),
        (Withdrawal(running={"Tally 't'": 2}), "2 calls are running in Tally 't' and go on"),
        (Withdrawal(open={"Tally 't'": 1}), "1 call of Tally 't' is being withdrawn"),
        (Withdrawal(kept_tasks=1), "1 task goes on, for somebody else waits for it"),
        (Withdrawal(1, kept_tasks=2), "1 task cancelled; 2 tasks go on, for somebody else waits for them"),
        (Withdrawal(kept_calls={"Tally 't'": 1}), "1 call of Tally 't' goes on, for somebody else waits for it"),
        (
            Withdrawal(running={"A": 1}, kept_tasks=1),
            "1 call is running in A and goes on; 1 task goes on, for somebody else waits for it",
        ),
        (
            Withdrawal(kept_tasks=1, kept_calls={"A": 2, "B": 1}),
            "1 task, 2 calls of A and 1 call of B go on, for somebody else waits for them",
        ),
    ],
)
def test_the_words(done: Withdrawal, words: str) -> None:
    assert done.words() == words


# -- who waits -------------------------------------------------------------------------------------------------


def test_a_wait_counts_while_it_lasts_and_not_for_the_thread_that_was_interrupted() -> None:
    waits = Waits()
    with waits.during(["mine"]), waits.during(["another's"], 7), waits.during(["a coroutine's"], NO_THREAD):
        assert waits.subjects(7, 0) == {"mine", "a coroutine's"}
        assert len(waits.subjects(-1, 0)) == 3
    assert waits.subjects(7, 0) == set()


def test_a_wait_of_the_same_cell_does_not_count_and_that_of_a_thread_of_its_own_does() -> None:
    waits = Waits()
    context = contextvars.copy_context()
    scope = context.run(scopes.enter)
    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(lambda: waits.during(["thread's"])).result()
        same = pool.submit(context.run, waits.during, ["same cell's"]).result()
    creation = context.run(lambda: waits.during(["creation's"], NO_THREAD, scope=0))
    coroutine = context.run(waits.during, ["coroutine's"], NO_THREAD)
    with own, same, creation, coroutine:
        assert waits.subjects(7, scope) == {"thread's", "creation's"}
        assert waits.subjects(7, scope + 1) == {"thread's", "creation's", "same cell's", "coroutine's"}
