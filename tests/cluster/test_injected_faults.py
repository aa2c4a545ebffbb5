"""``ipyactors.chaos`` on real processes: each fault, to plain and to durable actors, and what becomes of the calls."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors import chaos
from ipyactors.exceptions import (
    ActorNotFoundError,
    ActorUnavailableError,
    CallAbortedError,
    ChaosError,
    OptionError,
    OptionTypeError,
    SessionError,
    WorkerCrashedError,
)
from ipyactors.testing import LocalCluster, Operation, check_history
from ipyactors.wire.events import EventKind
from tests.support.durable import actor_id, get, recoveries, status
from tests.support.gates import Gate, Tally, until

MOMENTS = ("before", "during", "after")


@pytest.fixture(autouse=True)
def session(shared_runtime: Any) -> Iterator[None]:
    yield
    if ia.is_initialized():
        chaos.clear()


def roll(last: str, uid: str) -> str:
    return hashlib.blake2b(f"{last} {uid}".encode(), digest_size=8).hexdigest()


@ia.remote(durable=True)
class Journal:
    """Appends what it is given, and answers with the index and a hash of all that there is."""

    def __init__(self) -> None:
        self.uids: list[str] = []
        self.hash = ""

    def append(self, uid: str) -> tuple[int, str]:
        self.uids.append(uid)
        self.hash = roll(self.hash, uid)
        return len(self.uids) - 1, self.hash

    @ia.method(effect="persist")
    def append_for_good(self, uid: str) -> tuple[int, str]:
        self.uids.append(uid)
        self.hash = roll(self.hash, uid)
        return len(self.uids) - 1, self.hash

    @ia.method(effect="readonly")
    def read(self) -> list[str]:
        return self.uids


@ia.remote(max_restarts=-1)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int = 1) -> int:
        self.count += number
        return self.count

    def pid(self) -> int:
        return os.getpid()


@ia.remote(max_retries=3)
def run(tally: Tally, line: str) -> str:
    tally.add(line)
    return line


class Record:
    """Appends to a journal, and keeps what this process has seen of it."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self.seen: list[Operation] = []

    def append(self, count: int) -> list[int]:
        """Append so many, side by side; return their indices."""
        began = time.monotonic()
        uids = [f"u{len(self.seen) + k}" for k in range(count)]
        answers = get([self.journal.append.remote(uid) for uid in uids])
        for uid, (index, digest) in zip(uids, answers, strict=True):
            number = len(self.seen)
            self.seen.append(Operation("d", number, uid, began, time.monotonic(), "ok", index, digest))
        return [index for index, _ in answers]

    def check(self) -> None:
        """Everything was done exactly once, in the order in which it was submitted."""
        report = check_history(self.seen, get(self.journal.read.remote()), roll=roll)
        assert report.is_valid, report
        assert report.total == len(self.seen) > 0


def events_of(handle: Any, kind: EventKind = EventKind.INJECTED) -> list[Any]:
    own = actor_id(handle)
    return [event for event in ia.events() if event.actor_id == own and event.kind is kind]


def details(handle: Any) -> list[str]:
    return [event.detail for event in events_of(handle)]


def deaths_of(handle: Any) -> list[bool]:
    """Whether each of its processes that has died did so by injection."""
    return [event.injected for event in events_of(handle, EventKind.ACTOR_DIED)]


# -- a durable actor dies --------------------------------------------------------------------------------------

ENDS = {
    "SIGKILL": lambda target, **at: chaos.kill(target, **at),
    "SIGTERM": lambda target, **at: chaos.kill(target, "SIGTERM", **at),
    "SIGSEGV": lambda target, **at: chaos.segfault(target, **at),
    "os._exit(3)": lambda target, **at: chaos.exit(target, 3, **at),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_durable_actor_that_is_killed_at_an_exact_call_has_each_call_once(how: str) -> None:
    journal = Journal.remote()
    record = Record(journal)
    for moment in MOMENTS:
        ordered = ENDS[how](journal, **{moment: "append"}, nth=3)
        assert ordered.what == f"{how} {moment} the 3rd call of append"
        assert [one.what for one in chaos.pending()] == [ordered.what]
        record.append(5)
        assert chaos.pending() == []
    record.check()
    assert details(journal) == [f"{how} {moment} Journal.append" for moment in MOMENTS]
    assert deaths_of(journal) == [True] * 3


@pytest.mark.parametrize("how", ENDS)
def test_a_durable_actor_that_is_killed_now_has_each_call_once(how: str) -> None:
    journal = Journal.remote()
    record = Record(journal)
    record.append(2)
    assert ENDS[how](journal) is None
    until(lambda: deaths_of(journal), "its death")
    record.append(2)
    record.check()
    assert details(journal) == [how]
    words = events_of(journal, EventKind.ACTOR_DIED)[0].detail
    expected = "exited with code 3 (injected)" if how.startswith("os") else f"was killed by {how} (injected)"
    assert words == expected


def test_before_has_it_in_the_log_during_not_its_end_and_after_both() -> None:
    expected = {"before": "1 taken up again", "during": "1 taken up again", "after": "2 calls replayed"}
    for moment, words in expected.items():
        journal = Journal.remote()
        record = Record(journal)
        record.append(1)
        chaos.kill(journal, **{moment: "append"})
        record.append(1)
        record.check()
        [recovery] = recoveries(journal)
        assert words in recovery, (moment, recovery)
        assert ("taken up again" in recovery) == (moment != "after")


def test_a_call_that_was_killed_before_it_began_has_not_ended_a_process(tmp_path: pathlib.Path) -> None:
    journal = Journal.options(max_task_retries=0).remote()
    chaos.kill(journal, before="append", times=3)
    assert get(journal.append.remote("a"))[0] == 0
    chaos.kill(journal, during="append")
    with pytest.raises(CallAbortedError, match=r"max_task_retries=0 allows 0.*injected during Journal\.append"):
        get(journal.append.remote("b"))
    assert get(journal.append.remote("c"))[0] == 1


def test_the_nth_call_is_counted_through_deaths_and_what_is_run_again_is_not_killed_again() -> None:
    journal = Journal.remote()
    record = Record(journal)
    chaos.exit(journal, 7, during="append", nth=4)
    record.append(2)
    chaos.kill(journal)  # two were counted, by a process that is gone
    record.append(1)
    assert details(journal) == ["SIGKILL"]
    record.append(1)
    assert details(journal) == ["SIGKILL", "os._exit(7) during Journal.append"]
    record.append(3)
    record.check()
    assert deaths_of(journal) == [True, True]


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_death_the_nth_call_is_the_same_one_however_many_the_log_had(moment: str) -> None:
    journal = Journal.remote()
    record = Record(journal)
    record.append(1)
    chaos.kill(journal, before="append", nth=2)
    chaos.kill(journal, **{moment: "append"}, nth=6)
    assert record.append(12) == list(range(1, 13))
    record.check()
    assert chaos.pending() == []
    replayed = recoveries(journal)[-1].partition(" calls replayed")[0].split()[-1]
    # The one before; then the call that came 2nd begins twice, for it was killed before it began.
    assert int(replayed) == {"before": 5, "during": 5, "after": 6}[moment]
    assert details(journal) == ["SIGKILL before Journal.append", f"SIGKILL {moment} Journal.append"]


def test_a_poison_call_is_given_up_when_it_was_killed_too_often() -> None:
    journal = Journal.options(max_task_retries=1).remote()
    chaos.kill(journal, during="append", times=2)
    poison = journal.append.remote("a")
    with pytest.raises(CallAbortedError, match="injected during"):
        get(poison)
    assert [(event.kind, event.attempt) for event in ia.events() if event.task_id.hex() == poison.task_id()] == [
        (EventKind.CALL_RETRY, 0),
        (EventKind.CALL_FAILED, 1),
    ]
    assert get(journal.read.remote()) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_call_whose_end_is_a_checkpoint_is_done_once(moment: str) -> None:
    journal = Journal.remote()
    chaos.kill(journal, **{moment: "append_for_good"}, nth=2)
    assert [get(journal.append_for_good.remote(uid))[0] for uid in "abc"] == [0, 1, 2]
    assert get(journal.read.remote()) == list("abc")


def test_a_readonly_method_can_be_its_end_too() -> None:
    journal = Journal.remote()
    record = Record(journal)
    record.append(2)
    chaos.kill(journal, during="read")
    record.check()
    assert details(journal) == ["SIGKILL during Journal.read"]


@ia.remote(durable=True, max_concurrency=4)
class Beside:
    def __init__(self) -> None:
        self.uids: list[str] = []

    @ia.method(effect="persist")
    def append(self, uid: str) -> str:
        self.uids.append(uid)
        return uid

    @ia.method(effect="readonly")
    def read(self) -> list[str]:
        return self.uids


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_durable_actor_whose_calls_run_side_by_side_has_each_call_once(moment: str) -> None:
    beside = Beside.remote()
    chaos.kill(beside, **{moment: "append"}, nth=5)
    uids = [str(k) for k in range(12)]
    assert get([beside.append.remote(uid) for uid in uids]) == uids
    assert sorted(get(beside.read.remote()), key=int) == uids
    assert deaths_of(beside) == [True]


def test_a_call_beside_others_that_was_found_in_the_log_is_counted_after_its_end_too() -> None:
    beside = Beside.remote()
    chaos.kill(beside, before="append", nth=4)
    chaos.kill(beside, after="append", nth=6)
    uids = [str(k) for k in range(8)]
    assert get([beside.append.remote(uid) for uid in uids]) == uids
    assert sorted(get(beside.read.remote()), key=int) == uids
    assert deaths_of(beside) == [True, True]
    assert chaos.pending() == []


# -- a plain actor dies ----------------------------------------------------------------------------------------


def test_a_plain_actor_that_dies_before_a_call_runs_it_in_its_next_process() -> None:
    counter = Counter.remote()
    chaos.kill(counter, before="add", nth=2)
    assert get([counter.add.remote() for _ in range(3)]) == [1, 1, 2]


@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_plain_actor_that_dies_with_a_call_has_the_calls_before_answered_and_that_one_failed(moment: str) -> None:
    counter = Counter.remote()
    for _ in range(3):
        chaos.exit(counter, 9, **{moment: "add"}, nth=3)
        refs = [counter.add.remote() for _ in range(5)]
        assert get(refs[:2]) == [1, 2]
        with pytest.raises(ActorUnavailableError, match=rf"exited with code 9 \(injected {moment} Counter.add\)"):
            get(refs[2])
        assert get(refs[3:]) == [1, 2]
        chaos.kill(counter)
    assert deaths_of(counter) == [True] * 6


def test_a_plain_actor_that_is_killed_now_is_known_to_be_gone() -> None:
    counter = Counter.remote()
    for _ in range(5):
        assert get([counter.add.remote() for _ in range(2)]) == [1, 2]
        chaos.kill(counter)
    assert status(counter).incarnation == 5


def test_the_code_of_an_exit_now_is_the_code_of_the_death() -> None:
    for code in (0, 3, 77):
        counter = Counter.remote()
        get(counter.add.remote())
        chaos.exit(counter, code)
        assert events_of(counter, EventKind.ACTOR_DIED)[0].detail == f"exited with code {code} (injected)"


def test_an_actor_that_has_no_restarts_left_is_dead_as_after_any_crash() -> None:
    once = Counter.options(max_restarts=0).remote()
    chaos.segfault(once, during=True)
    with pytest.raises(ia.exceptions.ActorDiedError, match="SIGSEGV"):
        get(once.add.remote())
    with pytest.raises(ChaosError, match=r"Counter is dead: its process was killed by SIGSEGV .*\. Nothing was done"):
        chaos.kill(once)


@pytest.mark.parametrize("verb", [chaos.kill, chaos.exit, chaos.segfault, lambda one: chaos.freeze(one, 0.01)])
def test_an_actor_that_was_just_made_is_waited_for(verb: Callable[[Any], object]) -> None:
    counter = Counter.remote()
    verb(counter)
    assert get(counter.add.remote()) == 1
    assert status(counter).incarnation == (1 if verb in (chaos.kill, chaos.exit, chaos.segfault) else 0)


def test_an_actor_whose_arguments_are_not_there_yet_is_waited_for(gate: Gate) -> None:
    @ia.remote(max_restarts=-1)
    class Late:
        def __init__(self, argument: int) -> None:
            self.argument = argument

        def value(self) -> int:
            return self.argument

    @ia.remote
    def wait() -> int:
        gate.wait()
        return 7

    late = Late.remote(wait.remote())
    chaos_thread = threading.Thread(target=chaos.kill, args=(late,))
    chaos_thread.start()
    gate.open()
    chaos_thread.join()
    assert get(late.value.remote()) == 7
    assert status(late).incarnation == 1


def test_an_actor_that_cannot_be_made_is_not_waited_for() -> None:
    @ia.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no")

        def value(self) -> None: ...

    broken = Broken.remote()
    with pytest.raises(ia.exceptions.ActorDiedError):
        get(broken.value.remote())
    with pytest.raises(ChaosError, match=r"Broken is dead: .*its constructor raised ValueError: no\. Nothing was done"):
        chaos.kill(broken)
    with pytest.raises(ChaosError, match=r"Counter is dead: .*no machine can hold it.*Nothing was done"):
        chaos.kill(Counter.options(num_cpus=1000).remote())


@ia.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=3)
class Threads:
    def add(self, number: int) -> int:
        return number + 1


@ia.remote(max_restarts=-1, max_task_retries=-1)
class Async:
    async def add(self, number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    async def count(self, limit: int) -> Any:
        for number in range(limit):
            yield number


@pytest.mark.parametrize("cls", [Threads, Async])
def test_an_actor_with_threads_or_a_loop_dies_at_an_exact_call_too(cls: Any) -> None:
    beside = cls.remote()
    for moment in MOMENTS:
        chaos.kill(beside, **{moment: "add"}, nth=4)
        assert get([beside.add.remote(k) for k in range(8)]) == list(range(1, 9))
        assert chaos.pending() == []
    assert deaths_of(beside) == [True] * 3


def test_a_generator_has_run_when_its_items_were_taken() -> None:
    beside = Async.remote()
    chaos.kill(beside, during="count")
    assert [get(ref) for ref in beside.count.remote(5)] == list(range(5))
    assert deaths_of(beside) == [True]


# -- the call goes wrong ---------------------------------------------------------------------------------------


class OddError(Exception):
    pass


@pytest.mark.parametrize("cls", [Journal, Counter])
def test_a_call_raises_what_was_ordered_and_has_no_effect(cls: Any) -> None:
    actor = cls.remote()
    method, values = (actor.append, ["a", "b"]) if cls is Journal else (actor.add, [1, 1])
    chaos.fail(actor, OddError("not today"), on=True)
    with pytest.raises(OddError, match="not today"):
        get(method.remote(values[0]))
    first = get(method.remote(values[1]))
    assert first == 1 if cls is Counter else first[0] == 0
    chaos.kill(actor)
    if cls is Journal:  # a replay must not come to anything else
        assert get(actor.read.remote()) == ["b"]
        assert get(actor.append.remote("c"))[0] == 1
    assert details(actor)[0] == f"raises OddError('not today') instead of {cls.__name__}.{method._plan.template.method}"


@pytest.mark.parametrize("cls", [Journal, Counter])
def test_what_was_raised_is_retried_where_that_was_asked_for(cls: Any) -> None:
    actor = cls.remote()
    method = actor.append if cls is Journal else actor.add
    method = method.options(retry_exceptions=[OddError], max_task_retries=2)
    chaos.fail(actor, OddError, times=2)
    answer = get(method.remote("a" if cls is Journal else 1))
    assert (answer[0] if cls is Journal else answer) in (0, 1)
    assert chaos.pending() == []


def test_it_is_said_that_an_actor_is_frozen_for_as_long_as_it_is() -> None:
    counter = Counter.remote()
    get(counter.add.remote())
    chaos.freeze(counter, 30)
    ref = counter.add.remote()
    words = "its process is frozen by an injection (chaos.freeze for 30 s; "
    assert ia.explain(ref).startswith(f"Counter.add is at the actor. There, {words}")
    assert f"Now: {words}" in ia.explain(counter)
    assert re.search(r"Calls of this process: 1 with it, 0 waiting; no answer for \d+\.\d s\.$", ia.explain(counter))
    assert any(row["busy_with"].startswith(words) for row in ia.list_actors())
    ia.kill(counter)


def test_a_frozen_actor_answers_nobody_and_goes_on_then() -> None:
    counter = Counter.remote()
    get(counter.add.remote())
    chaos.freeze(counter, 0.5)
    began = time.monotonic()
    assert get(counter.add.remote()) == 2
    assert time.monotonic() - began > 0.4
    for moment in MOMENTS:
        chaos.freeze(counter, 0.3, **{moment: "add"})
    began = time.monotonic()
    assert get(counter.add.remote()) == 3
    assert time.monotonic() - began > 0.8
    assert deaths_of(counter) == []


@pytest.mark.parametrize("cls", [Counter, Async])
def test_a_slow_actor_takes_longer_until_it_is_cleared(cls: Any) -> None:
    actor = cls.remote()
    chaos.slow(actor, 0.2, times=2)
    began = time.monotonic()
    for _ in range(3):
        get(actor.add.remote(1))
    took_s = time.monotonic() - began
    assert took_s > 0.4
    chaos.slow(actor, 60.0)
    assert chaos.clear(actor) == 1
    get(actor.add.remote(1))


# -- the answer goes wrong -------------------------------------------------------------------------------------


def test_answers_of_a_durable_actor_that_are_lost_come_from_its_log() -> None:
    journal = Journal.remote()
    record = Record(journal)
    chaos.drop_replies(journal, 2)
    record.append(4)
    chaos.drop_replies(journal, 5)  # only one comes
    record.append(1)
    chaos.clear(journal)
    record.append(1)
    record.check()
    assert all(deaths_of(journal))
    assert details(journal)[:2] == ["loses the reply of Journal.append"] * 2


def test_an_answer_of_a_plain_actor_that_is_lost_is_a_call_that_may_have_run() -> None:
    counter = Counter.remote()
    chaos.drop_replies(counter, on="add")
    with pytest.raises(ActorUnavailableError, match="may have taken effect"):
        get(counter.add.remote())
    again = Counter.options(max_task_retries=1).remote()
    chaos.drop_replies(again)
    assert get(again.add.remote()) == 1


@pytest.mark.parametrize("cls", [Journal, Counter, Threads, Async])
def test_answers_that_come_twice_or_late_are_the_same_answers(cls: Any) -> None:
    actor = cls.remote()
    method = actor.append if cls is Journal else actor.add
    chaos.duplicate_replies(actor, 3)
    chaos.delay_replies(actor, 0.2, 2, nth=2)
    answers = get([method.remote(str(k) if cls is Journal else 1) for k in range(6)])
    numbers = [answer[0] if cls is Journal else answer for answer in answers]
    expected = {Journal: list(range(6)), Counter: list(range(1, 7))}
    assert numbers == expected.get(cls, [2] * 6)
    assert chaos.pending() == []
    assert get(method.remote("x" if cls is Journal else 1)) is not None


@pytest.mark.parametrize("cls", [Counter, Threads, Async])
def test_an_answer_that_is_late_and_alone_comes(cls: Any) -> None:
    """Nothing else is said by its process that it could leave with."""
    actor = cls.remote()
    get(actor.add.remote(1))
    chaos.delay_replies(actor, 0.2)
    assert get(actor.add.remote(1)) == 2
    assert details(actor) == [f"holds back for 0.2 s the reply of {cls.__name__}.add"]


@pytest.mark.parametrize("late_s", [0.0, 0.2])
def test_references_in_an_answer_that_comes_twice_are_given_back_twice(late_s: float) -> None:
    @ia.remote
    class Maker:
        def make(self) -> list[Any]:
            return [ia.put(bytes(200_000))]

    maker = Maker.remote()
    chaos.duplicate_replies(maker)
    if late_s:
        chaos.delay_replies(maker, late_s)
    [inside] = get(maker.make.remote())
    assert len(get(inside)) == 200_000
    del inside
    until(lambda: not [row for row in ia.memory().rows if row.size_bytes > 200_000], "the value to be freed")


def test_an_answer_that_is_late_when_the_process_dies_is_lost_with_it() -> None:
    journal = Journal.remote()
    chaos.delay_replies(journal, 60.0, on="append")
    late = journal.append.remote("a")
    assert get(journal.append.remote("b"))[0] == 1
    chaos.kill(journal)
    assert get(late)[0] == 0


# -- checkpoints -----------------------------------------------------------------------------------------------


def test_a_checkpoint_that_finds_no_room_is_no_loss() -> None:
    journal = Journal.remote()
    record = Record(journal)
    record.append(3)
    chaos.fill_disk(journal, times=2)
    for _ in range(2):
        with pytest.raises(OSError, match=r"No space left on device \(injected by chaos.fill_disk\)"):
            get(ia.checkpoint(journal))
    get(ia.checkpoint(journal))
    record.append(1)
    chaos.kill(journal)
    record.check()
    assert details(journal)[:2] == ["finds no space left for a checkpoint"] * 2


def test_a_call_that_ends_with_a_checkpoint_is_undone_without_one() -> None:
    journal = Journal.remote()
    chaos.fill_disk(journal)
    with pytest.raises(CallAbortedError, match="No space left"):
        get(journal.append_for_good.remote("a"))
    assert get(journal.append_for_good.remote("b"))[0] == 0
    assert deaths_of(journal) == [True]  # it had to undo the call


def test_a_disk_is_full_for_so_long() -> None:
    journal = Journal.remote()
    get(journal.append.remote("a"))
    chaos.fill_disk(journal, seconds=0.5)

    def is_made() -> bool:
        try:
            return bool(get(ia.checkpoint(journal)))
        except OSError:
            return False

    assert not is_made()
    until(is_made, "a checkpoint")


@pytest.mark.parametrize("store", ["", "kv", "folder"])
def test_a_damaged_checkpoint_costs_a_longer_replay_and_no_state(store: str, tmp_path: pathlib.Path) -> None:
    where = f"file://{tmp_path}/data" if store == "folder" else store
    options = {"checkpoint_store": where} if where else {}
    journal = Journal.options(**options).remote()
    record = Record(journal)
    record.append(2)
    older = get(ia.checkpoint(journal))
    record.append(2)
    newest = get(ia.checkpoint(journal))
    record.append(1)
    assert chaos.corrupt_checkpoint(journal) == newest
    chaos.kill(journal)
    record.check()
    assert f"from checkpoint {older[:10]}, 3 calls replayed; not used: " in recoveries(journal)[0]
    assert details(journal) == ["damages the newest checkpoint", "SIGKILL"]


def test_without_a_checkpoint_none_can_be_damaged() -> None:
    with pytest.raises(ChaosError, match=r"has no checkpoint yet\. Nothing was damaged"):
        chaos.corrupt_checkpoint(Journal.remote())


# -- tasks -----------------------------------------------------------------------------------------------------


def test_the_nth_attempt_of_a_task_dies_and_is_retried(tally: Tally) -> None:
    ordered = chaos.kill(run, during=True, nth=2, times=2)
    assert ordered is not None
    assert ordered.what == "SIGKILL during 2 attempts from the 2nd on"
    assert get(run.remote(tally, "a")) == "a"
    assert get(run.remote(tally, "b")) == "b"
    assert tally.lines() == ["a", "b", "b", "b"]
    assert chaos.pending() == []
    died = [event for event in ia.events() if event.kind is EventKind.WORKER_DIED and event.injected]
    assert {event.detail for event in died[-2:]} == {"was killed by SIGKILL (injected during run)"}


def test_a_task_that_dies_before_it_has_begun_costs_no_retry(tally: Tally) -> None:
    chaos.exit(run, 4, before=True)
    assert get(run.options(max_retries=0).remote(tally, "a")) == "a"
    chaos.exit(run, 4, after=True)
    with pytest.raises(WorkerCrashedError, match=r"exited with code 4 \(injected after run\)"):
        get(run.options(max_retries=0).remote(tally, "b"))


def test_a_task_raises_is_slow_is_frozen_and_its_reply_goes_wrong(tally: Tally) -> None:
    chaos.fail(run, OddError("x"))
    with pytest.raises(OddError):
        get(run.remote(tally, "a"))
    chaos.fail(run, OddError("x"))
    assert get(run.options(retry_exceptions=True).remote(tally, "b")) == "b"
    chaos.slow(run, 0.1, times=1)
    chaos.freeze(run, 0.1, before=True)
    chaos.duplicate_replies(run)
    chaos.delay_replies(run, 0.1)
    assert get(run.remote(tally, "c")) == "c"
    chaos.drop_replies(run)
    assert get(run.remote(tally, "d")) == "d"
    assert tally.lines() == ["b", "c", "d", "d"]
    assert chaos.pending() == []


def test_orders_for_tasks_can_be_cleared(tally: Tally) -> None:
    chaos.kill(run, during=True, times=9)
    chaos.fail(run, OddError, times=9)
    assert chaos.clear(run) == 2
    assert get(run.remote(tally, "a")) == "a"
    assert tally.lines() == ["a"]


# -- what is left, and what is refused -------------------------------------------------------------------------


def test_what_is_cleared_is_not_done() -> None:
    journal, counter = Journal.options(name="cleared").remote(), Counter.remote()
    get([journal.append.remote("a"), counter.add.remote()])
    chaos.kill(journal, before=True)
    chaos.kill(journal, during=True)
    chaos.kill(counter, before=True)
    assert [repr(one) for one in chaos.pending()] == [
        "Fault(Journal 'cleared': SIGKILL before the next call)",
        "Fault(Journal 'cleared': SIGKILL during the next call)",
        "Fault(Counter: SIGKILL before the next call)",
    ]
    assert chaos.clear("cleared") == 2
    assert chaos.clear() == 1
    assert get([journal.append.remote("b"), counter.add.remote()])[1] == 2
    assert deaths_of(journal) == deaths_of(counter) == []


def test_an_order_for_an_actor_that_is_still_being_made_is_in_force(gate: Gate) -> None:
    @ia.remote(max_restarts=-1)
    class Late:
        def __init__(self, gate: Gate) -> None:
            gate.wait()

        def value(self) -> int:
            return os.getpid()

    late = Late.remote(gate)
    chaos.kill(late, before="value", nth=2)
    gate.open()
    first, second = get([late.value.remote() for _ in range(2)])
    assert first != second


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda it: chaos.kill("nobody"), ActorNotFoundError, "no live actor is named 'nobody'"),
        (lambda it: chaos.kill(7), TypeError, "an actor's handle or name, or a remote function, not int"),
        (lambda it: chaos.kill(it, before="ad"), OptionError, "has no method 'ad'. Did you mean 'add'"),
        (lambda it: chaos.kill(it, before=True, after=True), OptionError, "before and after were given"),
        (lambda it: chaos.kill(it, before=3), OptionTypeError, "a method's name, or True"),
        (lambda it: chaos.kill(it, "SIGHUP"), OptionError, "takes SIGKILL or SIGTERM"),
        (lambda it: chaos.kill(it, nth=2), OptionError, "say before, during or after"),
        (lambda it: chaos.kill(it, before=True, nth=0), OptionError, "a number from 1 on"),
        (lambda it: chaos.kill(it, before=True, times="x"), OptionTypeError, "a number from 1 on"),
        (lambda it: chaos.kill(run), OptionError, "has no process of its own"),
        (lambda it: chaos.kill(run, before="add"), OptionError, "is a function and has no methods"),
        (lambda it: chaos.exit(it, 256), OptionError, "from 0 to 255"),
        (lambda it: chaos.freeze(it, 0), OptionError, "seconds above 0"),
        (lambda it: chaos.slow(it, "1"), OptionTypeError, "takes seconds"),
        (lambda it: chaos.fail(it, "no"), TypeError, "fail takes an exception"),
        (lambda it: chaos.fail(it, OddError(threading.Lock())), TypeError, "cannot be pickled"),
        (lambda it: chaos.fill_disk(it), TypeError, "takes a durable actor"),
        (lambda it: chaos.corrupt_checkpoint(run), TypeError, "takes a durable actor"),
        (lambda it: chaos.kill_node("zz"), ChaosError, "no live machine has a NodeID that begins"),
        (lambda it: chaos.kill_node(ia.nodes()[0]["NodeID"]), ChaosError, "the session's first one"),
        (lambda it: chaos.storm(seed=1, kinds=["rain"]), OptionError, "there is no 'rain'"),
        (lambda it: chaos.storm(seed=1, rate=0), OptionError, "seconds above 0|above 0"),
        (lambda it: chaos.storm(seed=1, targets=[run]), TypeError, "storm takes actors"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_done(call: Any, error: type, words: str) -> None:
    counter = Counter.remote()
    with pytest.raises(error, match=words):
        call(counter)
    assert chaos.pending() == []
    assert get(counter.add.remote()) == 1


# -- the head, machines, storms --------------------------------------------------------------------------------


def test_the_head_is_killed_and_orders_that_a_process_has_stay_in_force() -> None:
    journal = Journal.remote()
    record = Record(journal)
    record.append(1)
    chaos.kill(journal, during="append", nth=2)
    record.append(1)
    chaos.kill_head()
    assert [(one.what, one.counted) for one in chaos.pending()] == [("SIGKILL during the 2nd call of append", 1)]
    restarted = [event for event in ia.events() if event.kind is EventKind.HEAD_RESTARTED]
    assert restarted[-1].injected
    assert [event.name for event in ia.events() if event.detail == "SIGKILL to the head"] == ["head"]
    record.append(3)
    record.check()
    assert deaths_of(journal) == [True]


def test_a_short_storm_loses_nothing_and_does_nothing_twice() -> None:
    journal = Journal.options(name="stormy").remote()
    fragile = Counter.options(max_restarts=0).remote()
    record = Record(journal)
    record.append(1)
    get(fragile.add.remote())
    with chaos.storm(seed=11, rate=30, kinds=[*chaos.KINDS, "fill_disk", "kill_head"]) as storm:
        until(lambda: record.append(3) and storm.report.faults.total() >= 40, "forty faults")
    record.check()
    report = storm.report
    assert report.faults["kill"] + report.faults["exit"] + report.faults["segfault"] > 0
    assert report.deaths[1] == 0, report
    assert chaos.pending() == []
    assert all(event.injected for event in report.events if event.kind is EventKind.INJECTED)
    assert get(fragile.add.remote()) == 2  # it would not have come back
    assert deaths_of(fragile) == []


def test_a_storm_of_a_certain_length_returns_its_report() -> None:
    counter = Counter.remote()
    get(counter.add.remote())
    report = chaos.storm(seed=3, rate=50, duration=0.5, targets=[counter], kinds="freeze")
    assert set(report.faults) <= {"freeze"}
    assert set(report.targets) <= {"Counter"}
    assert report.duration_s >= 0.5


def test_without_a_session_there_is_nothing_to_go_wrong() -> None:
    ia.shutdown()
    try:
        for call in (chaos.pending, chaos.clear, chaos.kill_head, lambda: chaos.storm(seed=1)):
            with pytest.raises(SessionError, match="there is no session"):
                call()
        assert not ia.is_initialized()
    finally:
        ia.init(num_cpus=2)


def test_a_machine_is_killed_and_its_actors_come_back_elsewhere() -> None:
    ia.shutdown()
    with LocalCluster(num_cpus=2, resources={"here": 1}) as cluster:
        node = cluster.add_node(num_cpus=2, resources={"there": 1})
        ia.init(address=cluster.address)
        try:
            journal = Journal.options(num_cpus=2).remote()  # leaves no room here
            far = Counter.options(num_cpus=2, max_task_retries=-1).remote()
            get([journal.append.remote("a"), far.add.remote()])
            chaos.kill_node(node.node_id)
            assert [machine["Alive"] for machine in ia.nodes()] == [True, False]
            lost = [event for event in ia.events() if event.kind is EventKind.NODE_LOST]
            assert [event.injected for event in lost] == [True]
            injected = [event for event in ia.events() if event.kind is EventKind.ACTOR_DIED]
            assert [event.injected for event in injected] == [True]
            with pytest.raises(ChaosError, match=r"first one, with which it would end\. Nothing was done"):
                chaos.kill_node(cluster.nodes[0].node_id)
        finally:
            ia.shutdown()
    ia.init(num_cpus=2)


def test_a_signal_handler_of_the_actors_own_may_bear_sigterm() -> None:
    @ia.remote(max_restarts=-1)
    class Stubborn:
        def __init__(self) -> None:
            signal.signal(signal.SIGTERM, lambda *_: None)

        def value(self) -> int:
            return os.getpid()

    stubborn = Stubborn.remote()
    for at in ({}, {"before": True}, {"during": True}):
        pid = get(stubborn.value.remote())
        chaos.kill(stubborn, "SIGTERM", **at)
        assert get(stubborn.value.remote()) == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: deaths_of(stubborn), "its death")
    assert deaths_of(stubborn) == [False]


@pytest.mark.parametrize(("moment", "tried"), [("before", 1), ("during", 2), ("after", 1)])
def test_events_tell_how_often_a_durable_call_was_tried(moment: str, tried: int) -> None:
    journal = Journal.remote()
    chaos.kill(journal, **{moment: "append"}, nth=2)
    refs = [journal.append.remote(str(number)) for number in range(3)]
    get(refs)
    kinds = (EventKind.CALL_RETRY, EventKind.CALL_ATTEMPT)
    ours = [
        [event for event in ia.events() if event.task_id.hex() == ref.task_id() and event.kind in kinds] for ref in refs
    ]
    assert [len(one) for one in ours] == [1, tried, 1]
    assert [event.attempt for event in ours[1]] == list(range(tried))
    if tried > 1:
        lost, ended = ours[1]
        (died,) = [event for event in ia.events() if event.kind is EventKind.ACTOR_DIED
                   and event.actor_id == lost.actor_id]  # fmt: skip
        assert (lost.kind, lost.incarnation, lost.detail) == (EventKind.CALL_RETRY, died.incarnation, died.detail)
        assert (ended.kind, ended.incarnation) == (EventKind.CALL_ATTEMPT, died.incarnation + 1)
