"""Durable actors that run calls side by side: what was answered is in their state, once and whole."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import pathlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.actor import Checkpointable
from ipyactors.durable import record
from ipyactors.exceptions import (
    ActorDiedError,
    CallAbortedError,
    CallOutcomeUnknownError,
    OptionError,
    RecoveryFailedError,
    TaskCancelledError,
)
from ipyactors.ground import faultpoints
from tests.support.durable import folder, get, kill, pid_of, records
from tests.support.gates import Gate, Tally, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


async def opened(gate: Gate) -> None:
    await asyncio.to_thread(gate.wait)


def dies_before_it_is_sent(tally: Tally, uid: int) -> None:
    """Of the first call: have the process die, once, when the next call that it makes is noted."""
    if uid == 1 and tally.lines().count("early") == 0:
        tally.add("early")
        faultpoints.arm("durable.nested.noted", "kill")


@ia.remote(durable=True, max_task_retries=-1)
class Awaiting:
    """Notes the beginning and the end of each change."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    @ia.method(effect="persist")
    async def add(self, uid: int, wait_s: float = 0.0) -> tuple[int, int]:
        self.begun.append(uid)
        try:
            await asyncio.sleep(wait_s)
        finally:
            self.ended.append(uid)
        return uid, len(self.ended)

    @ia.method(effect="persist")
    async def add_at(self, uid: int, gate: Gate, tally: Tally | None = None) -> int:
        self.begun.append(uid)
        try:
            await opened(gate)
        finally:
            self.ended.append(uid)
            if tally is not None:
                tally.add()
        return uid

    @ia.method(effect="persist")
    async def add_and_raise(self, uid: int) -> None:
        self.begun.append(uid)
        await asyncio.sleep(0)
        self.ended.append(uid)
        raise LookupError(f"no {uid}")

    @ia.method(effect="persist")
    async def stream(self, uid: int, gate: Gate) -> Any:
        self.begun.append(uid)
        yield uid
        await opened(gate)
        yield len(self.begun)
        self.ended.append(uid)

    @ia.method(effect="persist")
    async def spoil(self) -> None:
        self.lock = threading.Lock()

    @ia.method(effect="persist")
    async def pass_on(self, other: Any, uid: int, tally: Tally) -> Any:
        position = await other.add.remote(uid)
        if tally.add(str(uid)) == 1:
            os.kill(os.getpid(), 9)
        self.begun.append(uid)
        self.ended.append(uid)
        return position

    @ia.method(effect="persist")
    async def pass_on_at(self, other: Any, uid: int, gate: Gate, tally: Tally) -> Any:
        await opened(gate)
        dies_before_it_is_sent(tally, uid)
        position = await other.add.remote(uid)
        tally.add("passed on")
        return position

    @ia.method(effect="persist")
    async def die(self, tally: Tally) -> None:
        self.begun.append(-1)
        tally.add()
        os.kill(os.getpid(), 9)

    @ia.method(effect="persist")
    async def leave(self) -> None:
        ia.actor.exit_actor()

    @ia.method(effect="readonly")
    async def read(self) -> tuple[list[int], list[int]]:
        return list(self.begun), list(self.ended)


@ia.remote(durable=True, max_concurrency=6, max_task_retries=-1)
class Threaded:
    """The same in threads."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    @ia.method(effect="persist")
    def add(self, uid: int, wait_s: float = 0.0) -> tuple[int, int]:
        self.begun.append(uid)
        time.sleep(wait_s)
        self.ended.append(uid)
        return uid, len(self.ended)

    @ia.method(effect="persist")
    def add_at(self, uid: int, gate: Gate) -> int:
        self.begun.append(uid)
        gate.wait()
        self.ended.append(uid)
        return uid

    @ia.method(effect="persist")
    def add_and_raise(self, uid: int) -> None:
        self.begun.append(uid)
        self.ended.append(uid)
        raise LookupError(f"no {uid}")

    @ia.method(effect="persist")
    def stream(self, uid: int, gate: Gate) -> Any:
        self.begun.append(uid)
        yield uid
        gate.wait()
        yield len(self.begun)
        self.ended.append(uid)

    @ia.method(effect="persist")
    def spoil(self) -> None:
        self.lock = threading.Lock()

    @ia.method(effect="persist")
    def pass_on(self, other: Any, uid: int, tally: Tally) -> Any:
        position = ia.get(other.add.remote(uid))
        if tally.add(str(uid)) == 1:
            os.kill(os.getpid(), 9)
        self.begun.append(uid)
        self.ended.append(uid)
        return position

    @ia.method(effect="persist")
    def pass_on_at(self, other: Any, uid: int, gate: Gate, tally: Tally) -> Any:
        gate.wait()
        dies_before_it_is_sent(tally, uid)
        position = ia.get(other.add.remote(uid))
        tally.add("passed on")
        return position

    @ia.method(effect="persist")
    def die(self, tally: Tally) -> None:
        self.begun.append(-1)
        tally.add()
        os.kill(os.getpid(), 9)

    @ia.method(effect="persist")
    def leave(self) -> None:
        ia.actor.exit_actor()

    @ia.method(effect="readonly")
    def read(self) -> tuple[list[int], list[int]]:
        return list(self.begun), list(self.ended)


@ia.remote(durable=True)
class Plain:
    def __init__(self) -> None:
        self.entries: list[int] = []

    def add(self, uid: int) -> int:
        self.entries.append(uid)
        return len(self.entries)

    def read(self) -> list[int]:
        return self.entries


@pytest.fixture(params=[Awaiting, Threaded], ids=["async", "threads"])
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def actor(cls: Any) -> Iterator[Any]:
    made = cls.remote()
    yield made
    ia.kill(made)


def assert_whole(actor: Any, uids: Any) -> None:
    """Check that the actor has done these once each, and nothing else; now, and after one more crash."""
    for _ in range(2):
        begun, ended = get(actor.read.remote())
        assert collections.Counter(begun) == collections.Counter(ended) == collections.Counter(uids)
        kill(actor)


def test_calls_run_side_by_side_and_end_with_one_checkpoint(actor: Any, gate: Gate) -> None:
    refs = [actor.add_at.remote(uid, gate) for uid in range(5)]
    assert len(records(actor, record.Checkpoint)) == 0
    gate.open()
    assert get(refs) == list(range(5))
    checkpoints, ends = len(records(actor, record.Checkpoint)), len(records(actor, record.Done))
    assert ends == 5
    assert checkpoints <= 5
    assert_whole(actor, range(5))


def test_every_answered_call_is_there_once_and_none_half(actor: Any) -> None:
    """Threads call, some of them reading beside; the process is killed at random, again and again."""
    answered: list[int] = []
    seen: set[int] = set()
    chance = random.Random(7)

    def call(number: int) -> None:
        for turn in range(16):
            uids = [number * 1000 + turn * 10 + index for index in range(4)]
            refs = [actor.add.remote(uid, uid % 3 / 1000) for uid in uids]
            seen.update(*get(actor.read.remote()))
            assert [uid for uid, _ in get(refs)] == uids
            answered.extend(uids)

    with ThreadPoolExecutor(4) as callers:
        calling = [callers.submit(call, number) for number in range(4)]
        for _ in range(8):
            count = len(answered)  # without an end in between the actor would be given up
            until(lambda count=count: len(answered) > count or all(one.done() for one in calling), "an answer")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.02))
            kill(actor)
        for one in calling:
            one.result()
    assert len(answered) == 4 * 16 * 4
    assert seen <= set(answered)
    assert_whole(actor, answered)


def test_what_runs_long_is_begun_again_side_by_side(actor: Any, gate: Gate) -> None:
    refs = [actor.add_at.remote(uid, gate) for uid in range(4)]
    until(lambda: len(records(actor, record.Call)) == 4, "all in the log")
    kill(actor)
    quick = actor.add.remote(9)
    pid_of(actor)
    kill(actor)
    gate.open()
    assert get(refs) == list(range(4))
    get(quick)
    assert len(records(actor, record.Call)) <= 5
    assert_whole(actor, [0, 1, 2, 3, 9])


def test_nobody_sees_what_may_be_undone(actor: Any, gate: Gate) -> None:
    held = actor.add_at.remote(1, gate)
    until(lambda: records(actor, record.Call), "the call in the log")
    looking = actor.read.remote()
    kill(actor)
    pid_of(actor)
    assert ia.wait([looking], timeout=0.2)[0] == []
    gate.open()
    assert get(held) == 1
    assert get(looking) in (([1], []), ([1], [1]), ([], []))
    assert get(actor.read.remote()) == ([1], [1])


def test_reading_does_not_wait_in_line(actor: Any, gate: Gate) -> None:
    """It starts before calls that came earlier and wait; where nothing is under way it is answered at once."""
    assert get(actor.read.remote()) == ([], [])
    held = actor.add_at.remote(1, gate)
    get_later = [actor.add.remote(uid) for uid in (2, 3)]
    looking = [actor.read.remote() for _ in range(3)]
    gate.open()
    get([held, *get_later])
    for begun, ended in get(looking):
        assert set(ended) <= set(begun) <= {1, 2, 3}


def test_items_come_when_nothing_can_undo_them(actor: Any, gate: Gate) -> None:
    stream = actor.stream.options(num_returns="streaming").remote(1, gate)
    until(lambda: records(actor, record.Call), "the call in the log")
    kill(actor)
    gate.open()
    assert [get(item) for item in stream] == [1, 1]
    assert_whole(actor, [1])


def test_items_of_a_serial_actor_are_not_shown_either_before_a_checkpoint_has_them(gate: Gate, tally: Tally) -> None:
    @ia.remote(durable=True)
    class Serial:
        @ia.method(effect="persist", num_returns="streaming")
        def stream(self) -> Any:
            for _ in range(1000):  # so many that they would not wait for company
                yield os.getpid()
            tally.add()
            gate.wait()

    actor = Serial.remote()
    stream = actor.stream.remote()
    until(tally.lines, "the items")
    kill(actor)
    gate.open()
    assert {get(item) for item in stream} == {pid_of(actor)}, "what the process that was killed has shown"
    assert len(tally.lines()) == 2


def test_what_was_raised_keeps_what_was_changed(actor: Any) -> None:
    with pytest.raises(LookupError, match="no 1"):
        get(actor.add_and_raise.remote(1))
    get(actor.add.remote(2))
    assert_whole(actor, [1, 2])


def test_where_no_checkpoint_can_be_made_nothing_was_done(actor: Any) -> None:
    get(actor.add.remote(1))
    with pytest.raises(CallAbortedError, match=r"none could be made: .*lock") as raised:
        get(actor.spoil.remote())
    assert "It had no effect" in str(raised.value)
    get(actor.add.remote(2))
    assert_whole(actor, [1, 2])


def test_nested_calls_are_made_once(actor: Any, tally: Tally) -> None:
    other = Plain.remote()
    refs = [actor.pass_on.remote(other, uid, tally) for uid in range(3)]
    assert sorted(get(refs)) == [1, 2, 3]
    assert sorted(get(other.read.remote())) == [0, 1, 2]
    assert_whole(actor, range(3))


def test_who_calls_later_than_those_beside_him_is_heard(
    actor: Any, gate: Gate, tally: Tally, tmp_path: pathlib.Path
) -> None:
    """What comes later in the log may call first: that settles nothing of the one before."""
    other, at_once = Plain.remote(), Gate(tmp_path / "open")
    at_once.open()
    early = actor.pass_on_at.remote(other, 1, gate, tally)
    late = actor.pass_on_at.remote(other, 2, at_once, tally)
    until(lambda: "passed on" in tally.lines(), "the late one has passed it on")
    gate.open()
    assert get([early, late]) == [2, 1]
    assert get(other.read.remote()) == [2, 1]


def test_a_checkpoint_on_demand_waits_for_the_running_ones(actor: Any, gate: Gate) -> None:
    held = actor.add_at.remote(1, gate)
    made = ia.checkpoint(actor) if hasattr(ia, "checkpoint") else actor.checkpoint()
    late = actor.add.remote(2)
    gate.open()
    assert isinstance(get(made), str)
    assert get(held) == 1
    get(late)
    assert_whole(actor, [1, 2])


@ia.remote(durable=True)
class NewerAwaiting:
    @ia.method(effect="persist")
    async def add(self, uid: int) -> str:
        self.begun.append(uid)  # type: ignore[attr-defined]
        self.ended.append(uid)  # type: ignore[attr-defined]
        return "newer"

    @ia.method(effect="readonly")
    async def read(self) -> Any:
        return self.begun, self.ended  # type: ignore[attr-defined]


@ia.remote(durable=True, max_concurrency=6)
class NewerThreaded:
    @ia.method(effect="persist")
    def add(self, uid: int) -> str:
        self.begun.append(uid)  # type: ignore[attr-defined]
        self.ended.append(uid)  # type: ignore[attr-defined]
        return "newer"

    @ia.method(effect="readonly")
    def read(self) -> Any:
        return self.begun, self.ended  # type: ignore[attr-defined]


def test_an_upgrade_waits_for_the_running_ones(cls: Any, actor: Any, gate: Gate) -> None:
    held = actor.add_at.remote(1, gate)
    until(lambda: records(actor, record.Call), "the call in the log")
    with ThreadPoolExecutor(1) as upgrader:
        upgrading = upgrader.submit(actor.upgrade, NewerThreaded if cls is Threaded else NewerAwaiting)
        gate.open()
        upgrading.result()
    assert get(held) == 1
    assert get(actor.add.remote(2)) == "newer"
    kill(actor)
    assert get(actor.add.remote(3)) == "newer"
    assert_whole(actor, [1, 2, 3])


def test_a_call_that_waits_is_cancelled_and_never_runs(actor: Any, gate: Gate) -> None:
    held = actor.add_at.remote(1, gate)
    ended = actor.add.remote(2)
    until(lambda: len(records(actor, record.Call)) == 2, "both in the log")
    # The second has ended or is about to: the gate closes.
    waiting = [actor.add.remote(uid) for uid in range(3, 40)]
    for ref in waiting:
        ia.cancel(ref)
    gate.open()
    assert get(held) == 1
    get(ended)
    done = [1, 2]
    for uid, ref in zip(range(3, 40), waiting, strict=True):
        try:
            get(ref)
            done.append(uid)
        except TaskCancelledError as error:
            if "It was not run" not in str(error):
                done.append(uid)
    assert_whole(actor, done)


def test_a_coroutine_that_is_cancelled_ends_as_it_ends(gate: Gate, tally: Tally) -> None:
    actor = Awaiting.remote()
    held, other = actor.add_at.remote(1, gate, tally), actor.add_at.remote(2, gate)
    until(lambda: len(records(actor, record.Call)) == 2, "both in the log")
    ia.cancel(held)
    until(tally.lines, "the end of the first")
    gate.open()
    with pytest.raises(TaskCancelledError, match="It was interrupted while it ran"):
        get(held)
    assert get(other) == 2
    assert_whole(actor, [1, 2])


def test_who_ends_the_actor_lets_the_others_finish(actor: Any, gate: Gate) -> None:
    held = actor.add_at.remote(1, gate)
    until(lambda: records(actor, record.Call), "the call in the log")
    leaving = actor.leave.remote()
    until(lambda: len(records(actor, record.Call)) == 2, "both in the log")
    gate.open()
    assert get(held) == 1
    with pytest.raises((ActorDiedError, CallOutcomeUnknownError), match="exit_actor"):
        get(leaving)
    with pytest.raises(ActorDiedError):
        get(actor.read.remote())


def test_the_word_to_finish_comes_after_all_before_it(actor: Any) -> None:
    refs = [actor.add.remote(uid, 0.001) for uid in range(30)]
    actor.__ray_terminate__.remote()
    assert [uid for uid, _ in get(refs)] == list(range(30))
    with pytest.raises(ActorDiedError):
        get(actor.read.remote())


def test_what_keeps_ending_the_process_is_given_up_with_what_runs_beside_it(cls: Any, gate: Gate, tally: Tally) -> None:
    actor = cls.options(max_task_retries=1).remote()
    get(actor.add.remote(1))
    beside, deadly = actor.add_at.remote(2, gate), actor.die.remote(tally)
    for ref in (beside, deadly):
        with pytest.raises(CallAbortedError, match=r"the actor's process ended 2 times while.*no effect"):
            get(ref)
    assert len(tally.lines()) == 2
    get(actor.add.remote(3))
    assert_whole(actor, [1, 3])


def test_a_checkpointable_saves_at_the_end_of_each_round(tmp_path: pathlib.Path) -> None:
    @ia.remote(max_concurrency=4, max_task_retries=-1)
    class Saved(Checkpointable):
        def __init__(self) -> None:
            self.uids: list[int] = []

        @ia.method(effect="persist")
        def add(self, uid: int) -> int:
            self.uids.append(uid)
            return uid

        @ia.method(effect="readonly")
        def read(self) -> list[int]:
            return self.uids

        def should_checkpoint(self, context: Any) -> bool:
            return False

        def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
            (tmp_path / checkpoint_id).write_text(json.dumps(self.uids))

        def load_checkpoint(self, actor_id: str, available_checkpoints: Any) -> Any:
            newest = available_checkpoints[0].checkpoint_id if available_checkpoints else None
            if newest is not None:
                self.uids = json.loads((tmp_path / newest).read_text())
            return newest

        def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None:
            (tmp_path / checkpoint_id).unlink()

    actor = Saved.remote()
    for turn in range(3):
        assert get([actor.add.remote(turn * 10 + index) for index in range(10)]) == [turn * 10 + i for i in range(10)]
        kill(actor)
    assert sorted(get(actor.read.remote())) == list(range(30))


def test_a_checkpoint_gone_bad_is_said_and_nothing_is_made_up(cls: Any) -> None:
    actor = cls.remote()
    get([actor.add.remote(uid) for uid in range(4)])
    place = folder(actor)
    for path in place.glob("data-*"):
        path.write_bytes(b"nothing")
    kill(actor)
    with pytest.raises(RecoveryFailedError, match="side by side"):
        get(actor.read.remote())
    assert list(place.glob("log-*"))


def test_methods_that_do_not_say_what_they_do_are_refused_at_creation() -> None:
    class Vague:
        async def change(self) -> None: ...

    with pytest.raises(OptionError) as raised:
        ia.remote(durable=True)(Vague)
    text = str(raised.value)
    assert "change" in text
    assert '@method(effect="persist")' in text
    assert '@method(effect="readonly")' in text
    assert "max_concurrency=1" in text
    assert "No actor was made." in text
