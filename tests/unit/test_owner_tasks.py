"""Tasks as their owner decides: leases, pipelines, retries."""

from __future__ import annotations

import msgspec
import pytest

from ipyactors.ground import ids
from ipyactors.ground.clock import FakeClock
from ipyactors.ground.exceptions import (
    OutOfMemoryError,
    PlacementError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ipyactors.owner import leases, reactor
from ipyactors.owner.calls import CallState
from ipyactors.owner.current import CurrentCall
from ipyactors.owner.event_log import EventLog
from ipyactors.owner.labels import call_label_of, label_of
from ipyactors.owner.leases import Lease, Shape
from ipyactors.owner.streams import Stream
from ipyactors.wire.events import EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    KillLeasedWorker,
    LeaseGranted,
    LeaseLost,
    ReclaimLease,
    ReturnLease,
    ShapeUnplaceable,
    WantLeases,
)
from ipyactors.wire.specs import ActorState, ActorStatus, Death, LossReason, RemoteError
from ipyactors.wire.worker_messages import (
    CallCancelled,
    CallRaised,
    CallsReturned,
    CancelCall,
    Define,
    ItemYielded,
    OutputWritten,
    RunTask,
)
from tests.support.owner_scenario import OwnerScenario, error, payload

W1, W2 = b"wworker1", b"wworker2"


@pytest.fixture
def owner() -> OwnerScenario:
    return OwnerScenario()


def test_the_first_task_asks_for_one_lease_and_is_sent_when_it_is_granted(owner: OwnerScenario) -> None:
    call = owner.task()
    (wish,) = owner.take(WantLeases)
    assert (wish.count, wish.demand) == (1, {"CPU": 10_000})
    owner.grant(1, W1)
    define, run = owner.take(Define, RunTask)
    assert run.definition_id == define.definition.definition_id
    assert run.task_id == call.task_id
    owner.answer(W1, 1, value=7)
    assert call.state is CallState.DONE
    assert call.entries[0].payload == payload(7)
    owner.silence()


def test_a_definition_is_sent_once_to_a_worker(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    owner.answer(W1, 1)
    owner.out.sent.clear()
    owner.task()
    owner.take(RunTask)


def test_an_unknown_function_is_sent_one_at_a_time(owner: OwnerScenario) -> None:
    for _ in range(3):
        owner.task()
    owner.grant(1, W1)
    assert owner.take_seqs(W1, RunTask) == [1]
    owner.answer(W1, 1, duration_s=1.0)
    assert owner.take_seqs(W1, RunTask) == [2]


def test_a_quick_function_is_sent_ahead(owner: OwnerScenario) -> None:
    for _ in range(50):
        owner.task(settle=False)
    owner.settle()
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.answer(W1, 1, duration_s=1e-5)
    assert owner.take_seqs(W1, RunTask) == list(range(2, 51))


def test_queued_tasks_are_shared_evenly(owner: OwnerScenario) -> None:
    owner.state.leases.mean_s[owner_definition("f")] = 1e-5
    for _ in range(10):
        owner.task(settle=False)
    owner.hear(b"head", LeaseGranted(1, 1, W1, "mem://1"), LeaseGranted(2, 1, W2, "mem://2"))
    sent = [peer for peer, message in owner.out.sent if isinstance(message, RunTask)]
    assert (sent.count(W1), sent.count(W2)) == (5, 5)


def owner_definition(name: str) -> bytes:
    return name.encode().ljust(16, b".")


@pytest.mark.parametrize(
    ("mean_s", "depth"),
    [(None, 1), (10.0, 1), (0.006, 1), (0.001, 10), (1e-9, leases.PIPELINE_CALLS)],
)
def test_pipeline_depth(mean_s: float | None, depth: int) -> None:
    assert leases.pipeline_depth(mean_s) == depth


def test_a_crash_is_retried_and_the_rest_runs_elsewhere_at_no_cost(owner: OwnerScenario) -> None:
    owner.state.leases.mean_s[owner_definition("f")] = 1e-5
    calls = [owner.task(max_retries=1, settle=False) for _ in range(3)]
    owner.settle()
    owner.grant(1, W1)
    owner.lose(1, W1, started=1)
    assert [call.attempt for call in calls] == [1, 0, 0]
    assert owner.out.events == [(EventKind.TASK_RETRY, "f", 0)], "it says which attempt failed"
    owner.out.sent.clear()
    owner.grant(2, W2)
    runs = owner.take(Define, RunTask, RunTask, RunTask, WantLeases)[1:4]
    assert [run.task_id for run in runs] == [call.task_id for call in calls]
    assert [run.attempt for run in runs] == [1, 0, 0]


def test_retries_are_used_up(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=1)
    for lease_id, worker in ((1, W1), (2, W2)):
        owner.grant(lease_id, worker)
        owner.lose(lease_id, worker, started=1, last_output=("Fatal Python error",))
    failure = call.entries[0].failure
    assert isinstance(failure, WorkerCrashedError)
    assert "tried 2 times" in str(failure)
    assert "killed by SIGKILL" in str(failure)
    assert "Fatal Python error" in str(failure)
    assert owner.state.unanswered == 0


def test_no_retry_is_used_up_by_a_worker_that_dies_before_the_task_started(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=0)
    owner.grant(1, W1)
    owner.lose(1, W1, started=0)
    assert call.state is CallState.QUEUED


def test_unlimited_retries(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=-1)
    for lease_id in range(1, 50):
        owner.grant(lease_id, b"wwork%03d" % lease_id)
        owner.lose(lease_id, b"wwork%03d" % lease_id, started=1)
    assert call.state is CallState.QUEUED
    assert call.attempt == 49


def test_out_of_memory_has_its_own_error(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=0)
    owner.grant(1, W1)
    killed = Death(
        LossReason.OUT_OF_MEMORY,
        signal=9,
        max_rss_bytes=2_100_000_000,
        limit_bytes=2_000_000_000,
        started={b"downer01": 1},
    )
    owner.hear(b"head", LeaseLost(1, W1, killed))
    assert isinstance(call.entries[0].failure, OutOfMemoryError)
    assert "out of memory (2.1 GB of 2.0 GB allowed)" in str(call.entries[0].failure)


def test_an_exception_is_retried_only_when_asked(owner: OwnerScenario) -> None:
    call = owner.task()
    owner.grant(1, W1)
    owner.hear(W1, CallRaised(1, error("first"), retryable=True))
    assert call.attempt == 1
    owner.hear(W1, CallRaised(2, error("second"), retryable=False))
    assert call.entries[0].failure == msgspec.structs.replace(error("second"), place="attempt 2 of 4 · task f")


def test_an_exception_tells_since_when_its_attempt_was_under_way(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    for seq, retryable in ((1, True), (2, False)):
        owner.now_s += 2.0
        owner.settle()
        owner.hear(W1, CallRaised(seq, error(), retryable=retryable))
    assert owner.out.durations_s == [(EventKind.TASK_RETRY, 2.0), (EventKind.TASK_FAILED, 2.0)]


def test_what_waits_behind_a_long_task_goes_to_another_worker(owner: OwnerScenario) -> None:
    owner.state.leases.mean_s[owner_definition("f")] = 1e-4
    calls = [owner.task(settle=False) for _ in range(4)]
    owner.settle()
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(W1, CallsReturned((2, 3, 4)))
    (wish,) = owner.take(WantLeases)
    assert wish.count == 3, "the stalled lease gets no more while it is busy"
    owner.grant(2, W2)
    assert owner.take_seqs(W2, RunTask) == [1, 2, 3]
    assert [call.attempt for call in calls] == [0, 0, 0, 0]


def test_a_task_that_was_cancelled_on_its_way_back_is_not_sent_again(owner: OwnerScenario) -> None:
    owner.state.leases.mean_s[owner_definition("f")] = 1e-4
    _long, cancelled, other = [owner.task(settle=False) for _ in range(3)]
    owner.settle()
    owner.grant(1, W1)
    reactor.cancel(owner.state, owner.out, cancelled.entries[0], force=False, recursive=True)
    owner.out.sent.clear()
    owner.hear(W1, CallsReturned((2, 3)))  # sent before the worker heard of the cancel
    assert isinstance(cancelled.entries[0].failure, TaskCancelledError)
    assert other.state is CallState.QUEUED
    (wish,) = owner.take(WantLeases)
    assert wish.count == 1


def test_arguments_are_waited_for_and_their_failure_is_passed_on(owner: OwnerScenario) -> None:
    first = owner.task("a")
    second = owner.task("b", deps=(first.entries[0],))
    assert second.state is CallState.WAITING
    owner.grant(1, W1)
    owner.hear(W1, CallRaised(1, error("broken")))
    note = f"{call_label_of(second)} was not run: its argument {label_of(first.entries[0])} failed."
    assert second.entries[0].failure == msgspec.structs.replace(error("broken"), notes=(note,))
    assert owner.state.unanswered == 0


def test_a_long_chain_of_calls_that_were_not_run_keeps_the_first_notes_and_the_last(owner: OwnerScenario) -> None:
    calls = [owner.task("a")]
    for _ in range(20):
        calls.append(owner.task("b", deps=(calls[-1].entries[0],)))
    owner.grant(1, W1)
    owner.hear(W1, CallRaised(1, error("broken")))
    failure = calls[-1].entries[0].failure
    assert isinstance(failure, RemoteError)
    named = [note.partition(" was not run")[0] for note in failure.notes]
    assert named == [call_label_of(call) for call in (*calls[1:6], calls[-1])]


def test_an_argument_arrives_as_a_value(owner: OwnerScenario) -> None:
    first = owner.task("a")
    owner.task("b", deps=(first.entries[0],))
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.answer(W1, 1, value="there")
    run = next(message for _, message in owner.out.sent if isinstance(message, RunTask))
    assert run.arg_values == (payload("there"),)


def test_what_can_never_be_placed_fails_with_what_is_asked_and_what_exists(owner: OwnerScenario) -> None:
    call = owner.task(demand={"CPU": 10_000, "GPU": 40_000})
    owner.hear(b"head", ShapeUnplaceable(1, {"CPU": 10_000, "GPU": 40_000}, {"CPU": 20_000}))
    failure = call.entries[0].failure
    assert isinstance(failure, PlacementError)
    assert "1 CPU, 4 GPU" in str(failure)
    assert "2 CPU" in str(failure)


def test_an_idle_lease_goes_back_after_a_while_and_at_once_when_others_wait(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    owner.answer(W1, 1)
    owner.out.sent.clear()
    owner.now_s += leases.IDLE_LEASE_S / 2
    owner.settle()
    owner.silence()
    owner.hear(b"head", ReclaimLease(1))
    owner.take(ReturnLease)


def test_a_reclaimed_lease_finishes_what_it_has(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(b"head", ReclaimLease(1))
    owner.silence()
    owner.answer(W1, 1)
    owner.take(ReturnLease)


def test_a_worker_leased_again_is_counted_on_from_where_it_was(owner: OwnerScenario) -> None:
    owner.task()
    owner.grant(1, W1)
    owner.answer(W1, 1)
    owner.now_s += 10
    owner.settle()
    owner.out.sent.clear()
    owner.task()
    owner.grant(2, W1)
    run = owner.take(WantLeases, RunTask)[1]
    assert run.seq == 2, "the worker remembers what it had, and the function"


def test_cancel_before_it_is_sent(owner: OwnerScenario) -> None:
    call = owner.task()
    reactor.cancel(owner.state, owner.out, call.entries[0], force=False, recursive=True)
    owner.settle()
    assert isinstance(call.entries[0].failure, TaskCancelledError)
    assert "was not run" in str(call.entries[0].failure)
    owner.grant(1, W1)
    assert owner.take_seqs(W1, RunTask) == []


def test_cancel_while_it_runs(owner: OwnerScenario) -> None:
    call = owner.task()
    owner.grant(1, W1)
    owner.out.sent.clear()
    reactor.cancel(owner.state, owner.out, call.entries[0], force=False, recursive=True)
    (word,) = owner.take(CancelCall)
    assert word.recursive
    owner.hear(W1, CallCancelled(1, started=True))
    assert "interrupted while it ran" in str(call.entries[0].failure)


def test_forced_cancel_ends_the_worker_and_is_never_retried(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=-1)
    owner.grant(1, W1)
    owner.out.sent.clear()
    reactor.cancel(owner.state, owner.out, call.entries[0], force=True, recursive=True)
    killing, _cancelling = owner.take(KillLeasedWorker, CancelCall)
    assert (killing.worker_id, killing.seq) == (W1, 1)
    owner.lose(1, W1, started=1)
    assert isinstance(call.entries[0].failure, TaskCancelledError)


def test_forced_cancel_of_what_waits_behind_another_spares_the_worker(owner: OwnerScenario) -> None:
    owner.state.leases.mean_s[owner_definition("f")] = 1e-5
    owner.task(settle=False)
    second = owner.task(settle=False)
    owner.settle()
    owner.grant(1, W1)
    owner.out.sent.clear()
    reactor.cancel(owner.state, owner.out, second.entries[0], force=True, recursive=True)
    owner.take(CancelCall)


def test_items_of_a_generator_are_taken_once_through_a_crash(owner: OwnerScenario) -> None:
    call = owner.task(num_returns=-1)
    owner.grant(1, W1)
    owner.hear(W1, ItemYielded(1, 0, payload("a")), ItemYielded(1, 1, payload("b")))
    owner.lose(1, W1, started=1)
    owner.grant(2, W2)
    run = next(message for peer, message in owner.out.sent if peer == W2 and isinstance(message, RunTask))
    assert run.skip_items == 2
    owner.hear(W2, ItemYielded(1, 1, payload("again")), ItemYielded(1, 2, payload("c")))
    owner.answer(W2, 1)
    assert call.stream is not None
    assert [item.payload for item in call.stream.waiting] == [payload("a"), payload("b"), payload("c")]
    assert call.stream.ended


def test_output_of_a_nested_task_goes_to_the_caller_of_its_parent(owner: OwnerScenario) -> None:
    parent = CurrentCall(b"dparent1", 5, b"p" * 16, "outer")
    owner.task(parent=parent)
    owner.grant(1, W1)
    owner.out.sent.clear()
    owner.hear(W1, OutputWritten(1, "f", 1, "hello\n"))
    (word,) = owner.take(OutputWritten)
    assert (word.seq, word.source) == (5, "f")
    assert owner.out.shown == []


def test_a_late_answer_of_a_dead_worker_changes_nothing(owner: OwnerScenario) -> None:
    call = owner.task(max_retries=1)
    owner.grant(1, W1)
    owner.lose(1, W1, started=1)
    owner.answer(W1, 1, value="late")
    assert call.state is CallState.QUEUED


def test_a_generator_whose_items_have_a_gap_ends_with_an_error(owner: OwnerScenario) -> None:
    call = owner.task(num_returns=-1)
    owner.grant(1, W1)
    owner.hear(W1, ItemYielded(1, 0, payload("a")), ItemYielded(1, 2, payload("c")))
    owner.answer(W1, 1)
    assert call.stream is not None
    first, last = call.stream.waiting
    assert first.payload == payload("a")
    assert "item 2 of the generator was lost" in str(last.failure)


def test_a_generator_may_have_more_items_than_fit_two_bytes() -> None:
    stream = Stream(ids.object_id(b"downer01", 7))
    stream.received = 70_000
    item = stream.add(70_000, payload("late"))
    assert item is not None
    assert item.object_id == ids.object_id(b"downer01", 7, 70_001)


def test_an_attempt_says_where_it_ran(owner: OwnerScenario) -> None:
    """The worker, and the machine, as the lease says; of a call, as the actor's status says."""
    owner.task(max_retries=1)
    owner.hear(b"head", LeaseGranted(1, 1, W1, "mem://1", b"node0001"))
    owner.lose(1, W1, started=1)
    owner.hear(b"head", LeaseGranted(2, 1, W2, "mem://2", b"node0002"))
    owner.answer(W2, 1)
    client = owner.actor()
    owner.method(client)
    status = ActorStatus(client.actor_id, ActorState.ALIVE, 0, -1, b"wactor01", b"node0003", "mem://a")
    owner.hear(b"head", ActorChanged(status))
    owner.answer(b"wactor01", 1)
    assert owner.out.places == [
        (EventKind.TASK_RETRY, W1, b"node0001"),
        (EventKind.TASK_ATTEMPT, W2, b"node0002"),
        (EventKind.CALL_ATTEMPT, b"wactor01", b"node0003"),
    ]


def test_the_log_keeps_where_an_attempt_ran(owner: OwnerScenario) -> None:
    log = EventLog(FakeClock())
    lease = Lease(1, Shape(1, {}), W1, 0.0, b"node0001")
    call = owner.task()
    log.record(EventKind.TASK_ATTEMPT, call, 0.5, "", lease)
    log.record(EventKind.TASK_FAILED, call, 0.0, "no", None)
    places = {event.kind: (event.worker_id, event.node_id) for event in log.events()}
    assert places == {EventKind.TASK_ATTEMPT: (W1, b"node0001"), EventKind.TASK_FAILED: (b"", b"")}


def test_what_fits_nowhere_is_told_how_to_get_more(owner: OwnerScenario) -> None:
    call = owner.task()
    owner.hear(b"head", ShapeUnplaceable(1, {"CPU": 10_000}, {"CPU": 5_000}))
    words = str(call.entries[0].failure)
    assert "start with more: init(num_cpus=..., num_gpus=..., resources={...})" in words
    assert "or add a machine that has it: cluster.add_node(...)" in words
