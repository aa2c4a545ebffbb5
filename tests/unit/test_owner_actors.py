"""Method calls as their caller decides: order, restarts, what becomes of each call."""

from __future__ import annotations

import msgspec
import pytest

from ipyactors.ground.exceptions import (
    ActorDiedError,
    ActorError,
    ActorUnavailableError,
    CallAbortedError,
    CallOutcomeUnknownError,
)
from ipyactors.owner import reactor
from ipyactors.owner.actors import WINDOW
from ipyactors.owner.calls import CallState
from ipyactors.wire.events import Became, EventKind
from ipyactors.wire.head_messages import (
    ActorChanged,
    CreateActorReply,
    GetActor,
    GetActorReply,
    OwnerLost,
    ReleaseActor,
    WatchOwner,
)
from ipyactors.wire.specs import ActorSpec, ActorState, ActorStatus, Death, LossReason
from ipyactors.wire.worker_messages import (
    ActorExiting,
    CallMethod,
    CallRaised,
    CallSucceeded,
    CancelCall,
    FinishAndExit,
)
from tests.support.owner_scenario import HEAD, OWNER, OwnerScenario, definition, error, payload

W1, W2 = b"wworker1", b"wworker2"


@pytest.fixture
def owner() -> OwnerScenario:
    return OwnerScenario()


def test_calls_wait_until_the_actor_is_alive_and_leave_in_order(owner: OwnerScenario) -> None:
    client = owner.actor()
    calls = [owner.method(client, name) for name in ("a", "b", "c")]
    owner.silence()
    owner.alive(client, W1)
    sent = owner.take(CallMethod, CallMethod, CallMethod)
    assert [(word.seq, word.method, word.task_id) for word in sent] == [
        (seq, name, call.task_id) for seq, name, call in zip((1, 2, 3), "abc", calls, strict=True)
    ]


def test_a_call_whose_argument_is_missing_holds_the_later_ones_of_this_caller(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    argument = owner.task()
    owner.out.sent.clear()
    owner.method(client, "first", deps=(argument.entries[0],))
    owner.method(client, "second")
    owner.silence()
    owner.grant(1, W2)
    owner.out.sent.clear()
    owner.answer(W2, 1)
    assert [word.method for word in owner.take(CallMethod, CallMethod)] == ["first", "second"]


def test_no_more_than_a_window_is_under_way(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    for _ in range(WINDOW + 10):
        owner.method(client, settle=False)
    owner.settle()
    assert len(owner.take_seqs(W1, CallMethod)) == WINDOW
    owner.answer(W1, 1, 2)
    assert owner.take_seqs(W1, CallMethod) == [WINDOW + 1, WINDOW + 2]


def test_a_death_fails_the_call_that_ran_and_keeps_those_that_had_not_started(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    calls = [owner.method(client) for _ in range(3)]
    owner.out.sent.clear()
    owner.died(client, W1, started=1, final=False, incarnation=1)
    assert isinstance(calls[0].entries[0].failure, ActorUnavailableError)
    assert [call.state for call in calls[1:]] == [CallState.QUEUED] * 2
    late = owner.method(client, "late")
    owner.silence()
    owner.alive(client, W2, incarnation=1)
    sent = owner.take(CallMethod, CallMethod, CallMethod)
    assert [word.task_id for word in sent] == [call.task_id for call in (*calls[1:], late)]
    assert [(word.seq, word.attempt, word.incarnation) for word in sent] == [(1, 0, 1), (2, 0, 1), (3, 0, 1)]


def test_max_task_retries_resends_in_order(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    calls = [owner.method(client, max_task_retries=1) for _ in range(3)]
    owner.died(client, W1, started=2, final=False, incarnation=1)
    owner.out.sent.clear()
    owner.alive(client, W2, incarnation=1)
    sent = owner.take(CallMethod, CallMethod, CallMethod)
    assert [word.task_id for word in sent] == [call.task_id for call in calls]
    assert [word.attempt for word in sent] == [1, 1, 0]


def test_a_call_made_while_it_restarts_costs_no_retry(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.died(client, W1, started=0, final=False, incarnation=1)
    call = owner.method(client, max_task_retries=1)
    owner.alive(client, W2, incarnation=1)
    assert (call.attempt, call.retries_left) == (0, 1)


def test_a_final_death_says_of_each_call_whether_it_had_started(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    ran, waited = owner.method(client, "ran"), owner.method(client, "waited")
    owner.died(client, W1, started=1, final=True)
    for call, words in (
        (ran, "Counter.ran had started and may have taken effect"),
        (waited, "Counter.waited was not run"),
    ):
        failure = call.entries[0].failure
        assert isinstance(failure, ActorDiedError)
        assert words in str(failure)
        assert "killed by SIGKILL" in str(failure)


def test_a_call_to_a_dead_actor_fails_at_once(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.died(client, W1, started=0, final=True)
    call = owner.method(client)
    assert isinstance(call.entries[0].failure, ActorDiedError)
    owner.silence()


def test_a_constructor_that_raised_is_told_with_its_traceback(owner: OwnerScenario) -> None:
    client = owner.actor()
    call = owner.method(client)
    died = Death(LossReason.INIT_FAILED, init_error=error("too little"))
    owner.hear(b"head", ActorChanged(ActorStatus(client.actor_id, ActorState.DEAD, death=died)))
    assert "constructor raised ValueError: too little" in str(call.entries[0].failure)


def test_the_new_incarnation_may_be_heard_of_before_the_death(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.method(client, max_task_retries=-1)
    owner.out.sent.clear()
    owner.alive(client, W2, incarnation=1)
    (word,) = owner.take(CallMethod)
    assert (word.attempt, word.incarnation) == (1, 1)


def test_an_exception_is_retried_only_when_asked(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    call = owner.method(client, max_task_retries=1)
    owner.hear(W1, CallRaised(1, error("first"), retryable=True))
    owner.hear(W1, CallRaised(2, error("second"), retryable=True))
    place = "attempt 2 of 2 · actor c, incarnation 0"
    assert call.entries[0].failure == msgspec.structs.replace(error("second"), place=place)


def test_an_exception_tells_since_when_its_attempt_was_under_way(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.method(client, max_task_retries=1)
    for seq, retryable in ((1, True), (2, False)):
        owner.now_s += 2.0
        owner.settle()
        owner.hear(W1, CallRaised(seq, error(), retryable=retryable))
    assert owner.out.durations_s == [(EventKind.CALL_RETRY, 2.0), (EventKind.CALL_FAILED, 2.0)]


def test_an_event_tells_which_of_the_calls_of_a_dead_actor_had_begun_and_since_when_at_most(
    owner: OwnerScenario,
) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    for _ in range(2):
        owner.method(client)
    owner.now_s += 2.0
    owner.settle()
    owner.died(client, W1, started=1, final=True)
    owner.method(client)
    assert owner.out.became == [Became.BEGUN, Became.NOT_RUN, Became.NOT_RUN]
    assert owner.out.durations_s == [(EventKind.CALL_FAILED, wait_s) for wait_s in (2.0, 0.0, 0.0)]


def test_an_event_tells_that_a_call_was_given_up_without_effect(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.method(client, "read", is_durable=True, is_readonly=True)
    owner.method(client, "add", is_durable=True)
    owner.died(client, W1, started=1, final=False, incarnation=1)
    assert owner.out.became == [Became.NO_EFFECT]
    owner.alive(client, W2, incarnation=1)
    owner.died(client, W2, started=1, final=True)
    assert owner.out.became[1:] == [Became.NOT_KNOWN], "only its log can tell"


def test_nothing_is_sent_to_an_actor_that_is_leaving(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.hear(W1, ActorExiting("exit_actor()"))
    call = owner.method(client)
    owner.silence()
    owner.died(client, W1, started=0, final=True)
    assert "was not run" in str(call.entries[0].failure)


def test_the_weight_goes_back_when_the_last_handle_goes_and_all_calls_are_answered(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    owner.method(client)
    owner.out.sent.clear()
    client.handles = 0
    owner.state.ready_actors.add(client)
    owner.settle()
    owner.silence()
    owner.answer(W1, 1)
    watch, release = owner.take(WatchOwner, ReleaseActor)
    assert (watch.owner_id, release.count) == (W1, 1)
    assert client.actor_id not in owner.state.actors


def test_calls_after_a_handle_went_and_came_again_are_numbered_on(owner: OwnerScenario) -> None:
    first = owner.actor()
    owner.alive(first, W1)
    owner.method(first)
    owner.answer(W1, 1)
    first.handles = 0
    owner.state.ready_actors.add(first)
    owner.settle()
    again = owner.actor()
    assert again is not first
    owner.alive(again, W1)
    owner.out.sent.clear()
    owner.method(again)
    assert owner.take_seqs(W1, CallMethod) == [2]


def test_the_connection_to_an_actor_that_was_let_go_of_ends_with_its_worker(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    client.handles = 0
    owner.state.ready_actors.add(client)
    owner.settle()
    assert W1 in owner.out.connected
    owner.hear(HEAD, OwnerLost(W1))
    assert W1 not in owner.out.connected
    assert not owner.state.left_streams


def test_calls_after_the_word_to_finish_are_never_sent_even_if_the_actor_restarts_before(owner: OwnerScenario) -> None:
    client = owner.actor()
    before = owner.method(client)
    client.finishing = True
    late = owner.method(client)
    owner.alive(client, W1)
    owner.take(CallMethod, FinishAndExit)
    owner.died(client, W1, started=0, final=False)
    owner.silence()
    owner.alive(client, W2, 1)
    again, _ = owner.take(CallMethod, FinishAndExit)
    assert again.task_id == before.task_id
    owner.answer(W2, 1)
    owner.silence()
    owner.died(client, W2, started=1, final=True, incarnation=1)
    assert before.entries[0].failure is None
    assert "was not run" in str(late.entries[0].failure)


def test_nothing_is_sent_to_a_process_that_was_told_to_die(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    client.exiting = "kill()"
    owner.method(client)
    owner.silence()
    owner.died(client, W1, started=0, final=False)
    owner.alive(client, W2, 1)
    owner.take(CallMethod)


def test_an_actor_found_by_name_is_counted_and_known_in_the_order_in_which_the_head_spoke(owner: OwnerScenario) -> None:
    old = owner.actor("c")
    owner.alive(old, W1)
    old.handles = 0
    owner.state.requests[7] = GetActor(7, "c", "n")
    spec = ActorSpec(old.actor_id, "Counter", OWNER, definition("Counter"), payload(0), name="c")
    starting = ActorStatus(old.actor_id, ActorState.STARTING, 1)
    owner.hear(HEAD, GetActorReply(7, spec, starting))
    owner.alive(old, W2, 1)
    client = owner.state.actors[old.actor_id]
    assert (client.handles, client.weight, client.state, client.worker_id) == (1, 2, ActorState.ALIVE, W2)


def test_cancel_of_a_call_that_waits_and_of_one_that_runs(owner: OwnerScenario) -> None:
    client = owner.actor()
    waiting = owner.method(client)
    reactor.cancel(owner.state, owner.out, waiting.entries[0], force=False, recursive=True)
    owner.alive(client, W1)
    owner.silence()
    running = owner.method(client)
    owner.out.sent.clear()
    reactor.cancel(owner.state, owner.out, running.entries[0], force=False, recursive=True)
    owner.take(CancelCall)
    assert running.state is CallState.SENT, "only the worker can say what becomes of it"


def test_what_the_head_says_of_an_actor_that_nobody_here_holds_is_ignored(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    client.handles = 0
    owner.state.ready_actors.add(client)
    owner.settle()
    owner.out.sent.clear()
    owner.died(client, W1, started=0, final=False, incarnation=1)
    assert not owner.state.actors
    owner.silence()


def test_calls_that_raised_are_made_again_in_the_order_in_which_they_were_made(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    calls = [owner.method(client, max_task_retries=1) for _ in range(4)]
    waiting = owner.task()
    late = owner.method(client, deps=(waiting.entries[0],))
    owner.out.sent.clear()
    owner.hear(W1, CallRaised(2, error(), retryable=True), CallRaised(1, error(), retryable=True))
    sent = [message for _, message in owner.out.sent if isinstance(message, CallMethod)]
    assert [word.task_id for word in sent] == [calls[0].task_id, calls[1].task_id]
    assert client.outbox[-1] is late


def test_what_the_head_grants_to_a_request_that_nobody_waits_for_goes_back(owner: OwnerScenario) -> None:
    spec = ActorSpec(b"late".ljust(16, b"."), "Counter", OWNER, definition("Counter"), payload(()))
    owner.hear(b"head", GetActorReply(5, spec), CreateActorReply(6, b"x" * 16, existing=spec))
    assert owner.take(ReleaseActor, ReleaseActor) == [ReleaseActor(spec.actor_id, 1)] * 2
    assert not owner.state.actors


def test_a_readonly_call_to_a_durable_actor_is_given_up_alone(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    looks = owner.method(client, "look", is_durable=True, is_readonly=True, max_task_retries=2)
    waits = owner.method(client, "look", is_durable=True, is_readonly=True, max_task_retries=0)
    logged = owner.method(client, "add", is_durable=True, max_task_retries=0)
    for incarnation in (1, 2, 3):
        assert looks.state is CallState.SENT
        owner.died(client, client.worker_id, started=1, final=False, incarnation=incarnation)
        owner.alive(client, f"wworker{incarnation}".encode(), incarnation)
    failure = looks.entries[0].failure
    assert isinstance(failure, CallAbortedError)
    assert "was tried 3 times, and had no effect on the actor, for it is readonly" in str(failure)
    assert waits.state is logged.state is CallState.SENT, "one had not begun, the other is counted by the actor"
    owner.died(client, client.worker_id, started=2, final=False, incarnation=4)
    assert "was tried once" in str(waits.entries[0].failure)
    assert logged.state is CallState.QUEUED


def test_a_logged_call_was_sent_again_for_each_process_that_it_had_begun_in(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    calls = [owner.method(client, "add", is_durable=True) for _ in range(3)]
    for incarnation in (1, 2):
        owner.died(client, client.worker_id, started=1, final=False, incarnation=incarnation)
        owner.alive(client, f"wworker{incarnation}".encode(), incarnation)
    assert not owner.out.events, "whether they had begun, or were over, is known to the actor alone"
    owner.hear(
        client.worker_id,
        CallSucceeded(1, (payload(1),), crashes=(0, 1)),
        CallRaised(2, error(), crashes=(1,)),
        CallSucceeded(3, (payload(1),)),
    )
    assert owner.out.events == [
        (EventKind.CALL_RETRY, "Counter.add", 0),
        (EventKind.CALL_RETRY, "Counter.add", 1),
        (EventKind.CALL_ATTEMPT, "Counter.add", 2),
        (EventKind.CALL_RETRY, "Counter.add", 0),
        (EventKind.CALL_FAILED, "Counter.add", 1),
        (EventKind.CALL_ATTEMPT, "Counter.add", 0),
    ]
    assert all(call.state is CallState.DONE for call in calls)


def test_where_a_log_is_that_can_tell_is_said(owner: OwnerScenario) -> None:
    owner.state.actors_dir = "/sessions/s1/actors"
    client = owner.actor()
    owner.alive(client, W1)
    call = owner.method(client, "add", is_durable=True)
    owner.died(client, W1, started=1, final=True)
    failure = call.entries[0].failure
    assert isinstance(failure, CallOutcomeUnknownError)
    assert f"ipyactors fsck -v /sessions/s1/actors/{client.actor_id.hex()}" in str(failure)


@pytest.mark.parametrize("method", ["__ipyactors_checkpoint__", "__ipyactors_upgrade__"])
def test_what_no_log_counts_is_counted_here(owner: OwnerScenario, method: str) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    asked = owner.method(client, method, is_durable=True, max_task_retries=2)
    ready = owner.method(client, "__ray_ready__", is_durable=True, max_task_retries=0)
    for incarnation in (1, 2, 3):
        assert asked.state is CallState.SENT
        owner.died(client, client.worker_id, started=1, final=False, incarnation=incarnation)
        owner.alive(client, f"wworker{incarnation}".encode(), incarnation)
    failure = asked.entries[0].failure
    assert isinstance(failure, ActorError)
    assert f"The call Counter.{method.removeprefix('__ipyactors_').removesuffix('__')}() was given up" in str(failure)
    assert "was given up: while it ran, or may have run, the process of actor" in str(failure)
    assert "It was tried 3 times, and no call to the actor is lost by that; later calls go on." in str(failure)
    assert ("runs the class that it had, or the new one" in str(failure)) == ("upgrade" in method)
    assert ready.state is CallState.SENT, "whoever waits for it to be ready may wait on"


def test_errors_name_a_checkpoint_by_its_function_and_events_do_not(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    asked = owner.method(client, "__ipyactors_checkpoint__")
    owner.died(client, W1, started=1, final=True)
    assert "The call Counter.checkpoint() had started" in str(asked.entries[0].failure)
    assert asked.name == "Counter.__ipyactors_checkpoint__"


def test_the_call_that_has_ended_its_actor_says_so(owner: OwnerScenario) -> None:
    client = owner.actor()
    owner.alive(client, W1)
    before = owner.method(client, "leave", is_durable=True)
    leaves = owner.method(client, "leave", is_durable=True)
    behind = owner.method(client, "leave", is_durable=True)
    owner.hear(W1, CallSucceeded(before.seq, (payload(1),)))
    detail = "exit_actor() was called in Counter.leave"
    death = Death(LossReason.INTENDED, detail=detail, worker_id=W1, started={OWNER: leaves.seq})
    owner.hear(HEAD, ActorChanged(ActorStatus(client.actor_id, ActorState.DEAD, death=death)))
    failure = leaves.entries[0].failure
    assert isinstance(failure, ActorDiedError)
    assert str(failure) == (
        f"Actor {client.label} is dead: its process was ended on purpose ({detail}). The call Counter.leave had begun, "
        "and ended with it: it has no result, and the actor does not come back. Create the actor again to go on."
    )
    assert "was not run" in str(behind.entries[0].failure)
