"""Injected faults as the agent reports them, as the owner of tasks counts them, and as a storm draws them."""

from __future__ import annotations

import os
import pathlib
import signal
from collections import Counter

import msgspec
import pytest

from ipyactors.api.chaos_storm import KINDS, StormReport, strikes
from ipyactors.exceptions import OptionError
from ipyactors.ground.config import SessionPaths
from ipyactors.node import membership, reactor
from ipyactors.node.children import Child, Evidence, compose_death
from ipyactors.node.evidence import Coroner, OomCounter
from ipyactors.owner.calls import TaskCall
from ipyactors.owner.faults import TaskFaults
from ipyactors.wire.chaos_ledger import Ledger
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress, Report
from ipyactors.wire.deaths import describe_death
from ipyactors.wire.events import Event, EventKind
from ipyactors.wire.node_messages import ForkWorker, KillHead, KillWorker, SignalWorker, WorkerSignalled
from ipyactors.wire.specs import LossReason
from tests.support.owner_scenario import payload, task_template
from tests.unit.test_node_reactor import NODE, W1, Node, Recorder

KILL = Order(7, Deed.KILL, Moment.DURING, b"a1", "Account", signal=9)
DEADLY = Act(KILL, 1, 2.0, "Account.deposit", is_deadly=True)


# -- the agent -------------------------------------------------------------------------------------------------


class Signals(Recorder):
    def signal(self, child: Child, number: int, *, continue_after_s: float = 0.0) -> None:
        self.deeds.append(("signal", child.pid, number, continue_after_s))

    def kill_head(self) -> None:
        self.deeds.append(("kill_head",))


@pytest.fixture
def out() -> Signals:
    return Signals()


def test_a_worker_gets_the_signal_and_who_wants_to_know_is_told(out: Signals) -> None:
    state = Node().state
    state.children[W1] = Child(ForkWorker(W1), pid=70)
    reactor.on_signal_worker(state, out, SignalWorker(W1, signal.SIGSTOP, 2.0, 5), 0.0)
    assert out.deeds == [("signal", 70, signal.SIGSTOP, 2.0), ("head", WorkerSignalled(5))]
    out.deeds.clear()
    reactor.on_signal_worker(state, out, SignalWorker(b"w9", signal.SIGTERM, ticket=6), 0.0)
    assert out.deeds == [("head", WorkerSignalled(6))]


def test_the_next_head_is_told_that_the_one_before_was_killed_on_purpose(out: Signals) -> None:
    state = Node().state
    membership.on_process_message(state, out, b"d1", KillHead(), 0.0)
    assert out.deeds == [("kill_head",)]
    reactor.on_head_lost(state, out, 0.0)
    reactor.on_head_lost(state, out, 1.0)  # by itself, this time
    greetings = [message for deed, *message in out.deeds if deed == "head"]
    assert [greeting.killed_head for [greeting] in greetings] == [True, False]


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (Evidence(signal=9, faults=Report((), (DEADLY,))), "was killed by SIGKILL (injected during Account.deposit)"),
        (Evidence(exit_code=3, faults=Report((), (DEADLY,))), "exited with code 3 (injected during Account.deposit)"),
    ],
)
def test_a_death_says_that_it_was_injected(evidence: Evidence, words: str) -> None:
    death = compose_death(Child(ForkWorker(W1)), evidence, NODE)
    assert death.injected
    assert death.faults == evidence.faults
    assert describe_death(death) == words


def test_a_signal_that_was_sent_explains_the_death_by_that_signal_and_no_other() -> None:
    child = Child(ForkWorker(W1), signalled=SignalWorker(W1, signal.SIGTERM))
    assert compose_death(child, Evidence(signal=signal.SIGTERM), NODE).injected
    assert not compose_death(child, Evidence(signal=signal.SIGSEGV), NODE).injected
    assert not compose_death(child, Evidence(exit_code=0), NODE).injected


def test_a_signal_with_a_handler_at_a_call_explains_the_death_by_that_signal_and_no_other() -> None:
    act = Act(msgspec.structs.replace(KILL, signal=signal.SIGTERM), 1, 2.0, "Account.deposit")
    left = Report((), (act,))
    assert compose_death(Child(ForkWorker(W1)), Evidence(signal=signal.SIGTERM, faults=left), NODE).injected
    assert not compose_death(Child(ForkWorker(W1)), Evidence(exit_code=1, faults=left), NODE).injected


def test_who_is_killed_on_purpose_did_not_die_of_an_injection() -> None:
    child = Child(ForkWorker(W1), kill=KillWorker(W1, detail="kill()"))
    death = compose_death(child, Evidence(signal=9, faults=Report((), ())), NODE)
    assert (death.injected, death.reason) == (False, LossReason.INTENDED)


def test_the_coroner_reads_what_the_process_noted_and_removes_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    paths = SessionPaths("s", str(tmp_path), str(tmp_path))
    ledger = Ledger(paths.faults_path(W1))
    ledger.arm(Progress(KILL))
    ledger.act(DEADLY)
    coroner = Coroner(paths, 0, OomCounter([]))
    evidence = coroner.examine(Child(ForkWorker(W1)), signal.SIGKILL, 0, 1.0)
    assert evidence.faults == Report((), (DEADLY,))
    assert not os.path.exists(paths.faults_path(W1))
    assert coroner.examine(Child(ForkWorker(W1)), signal.SIGKILL, 0, 1.0).faults is None


# -- the owner of tasks ----------------------------------------------------------------------------------------


def call(name: str = "f", attempt: int = 0) -> TaskCall:
    made = TaskCall(task_template(name), b"t" * 20, payload(()), (), None)
    made.attempt = attempt
    return made


def test_attempts_of_a_function_are_counted_as_they_are_sent_and_each_only_once() -> None:
    faults = TaskFaults()
    order = Order(4, Deed.KILL, Moment.DURING, subject="f", signal=9, nth=2, times=2)
    faults.add(call().template.definition.definition_id, order)
    first, second, other = call(), call(), call("g")
    assert faults.of(other) == faults.of(first) == ()
    [given] = faults.of(second)
    assert (given.nth, given.times, given.base) == (1, 1, 0)
    assert faults.of(second) == (given,)  # it was given back, and is sent elsewhere
    assert faults.of(first) == ()
    second.attempt = 1
    [again] = faults.of(second)
    assert again.base == 1
    second.attempt = 2
    assert faults.of(second) == ()


def test_an_attempt_that_a_worker_had_not_begun_when_it_died_of_its_order_goes_well_elsewhere() -> None:
    faults = TaskFaults()
    order = Order(4, Deed.KILL, Moment.BEFORE, subject="f", signal=9, times=2)
    faults.add(call().template.definition.definition_id, order)
    first, second = call(), call()
    [of_first], [of_second] = faults.of(first), faults.of(second)
    faults.note_done(Report((), (Act(of_first, 1, 1.0, "f", is_deadly=True),)))
    assert faults.of(first) == ()
    assert faults.of(second) == (of_second,)  # it waited behind, and has still to die


def test_orders_for_tasks_are_forgotten_by_function_or_all_together() -> None:
    faults = TaskFaults()
    f, g = (call(name).template.definition.definition_id for name in "fg")
    for order_id, definition_id in enumerate((f, g, f), 1):
        faults.add(definition_id, Order(order_id, Deed.FAIL, Moment.DURING))
    assert faults.remove(f) == (1, 3)
    assert faults.of(call()) == ()
    assert faults.remove() == (2,)


# -- storms ----------------------------------------------------------------------------------------------------


def test_a_storm_is_the_same_again_with_the_same_seed() -> None:
    first, again, other = (strikes(seed, 5.0, KINDS) for seed in (7, 7, 8))
    drawn = [first() for _ in range(500)]
    assert drawn == [again() for _ in range(500)]
    assert drawn != [other() for _ in range(500)]
    assert set(KINDS) == {strike.kind for strike in drawn}
    mean_s = sum(strike.after_s for strike in drawn) / len(drawn)
    assert 0.15 < mean_s < 0.25


def test_a_report_reads_well() -> None:
    died = [Event(EventKind.ACTOR_DIED, 1.0, worker_id=b"w%d" % k, injected=k > 0) for k in range(3)]
    faults, targets = Counter(kill=3, freeze=1), Counter({"Account 'acct'": 4})
    report = StormReport(7, 10.0, faults, targets, 1, 2, died)
    assert report.deaths == (2, 1)
    assert repr(report) == (
        "storm of seed 7: 4 faults in 10.0 s\n"
        "  kill                 3\n"
        "  freeze               1\n"
        "  on Account 'acct': 4\n"
        "  1 of them waited for calls that did not come\n"
        "  2 more found no actor that could bear them\n"
        "processes of actors that died: 2 by injection, 1 otherwise"
    )


def test_a_storm_with_a_duration_is_over_before_a_with_block_and_says_so() -> None:
    report = StormReport(7, 2.0)
    with pytest.raises(OptionError, match=r"blown already, for 2\.0 s.*Leave duration out for a with block"), report:
        pytest.fail("the block must not run")
