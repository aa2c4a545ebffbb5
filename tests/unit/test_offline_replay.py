"""Logs of durable actors that are done again without them: what is run, what is compared, what is refused."""

from __future__ import annotations

import pathlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import ipyactors as ia
from ipyactors.api import runtime
from ipyactors.durable import constructions, log, replays, segment
from ipyactors.durable.disk import Disk
from ipyactors.durable.replays import Plan
from ipyactors.exceptions import (
    IpyactorsError,
    LogDamagedError,
    RecoveryFailedError,
    ReplayDivergenceError,
    SerializationError,
    SessionError,
)
from ipyactors.ground.checkpointable import Checkpoint, Checkpointable, CheckpointContext
from ipyactors.owner import current, process
from ipyactors.worker import offline
from ipyactors.worker.offline import ReplayedCall
from tests.support.actor_folder import ACTOR, Life
from tests.support.lived_actor import Lived, definition_of, number, once
from tests.support.sim_disk import SimDisk


@pytest.fixture(autouse=True)
def process_for_that(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process is as it was after a replay, but that it has been told which actor it is."""
    monkeypatch.setattr(current, "_actor", None)
    yield
    assert process.session() is None
    assert runtime.live_engine() is None


def make_account() -> type:
    class Account:
        made = 0

        def __init__(self, balance: int = 0) -> None:
            self.balance = balance
            self.log: list[int] = []

        def deposit(self, amount: int) -> int:
            self.log.append(amount)
            self.balance += amount
            return self.balance

        def withdraw(self, amount: int) -> int:
            if amount > self.balance:
                raise ValueError(f"only {self.balance} ({object()!r})")
            return self.deposit(-amount)

        def keep(self, array: Any) -> Any:
            self.array = array
            return array * 2

    return Account


@pytest.fixture
def lived(tmp_path: pathlib.Path) -> Lived:
    """An account after 10 calls, the last of which has raised."""
    lived = Lived(tmp_path, make_account(), 100)
    for amount in range(9):
        lived.call("deposit", amount)
    lived.call("withdraw", 1000)
    return lived


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def damage(path: pathlib.Path, offset: int = 20) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


# -- from where to where ---------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Disk:
    return SimDisk()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 4096)
    monkeypatch.setattr(log, "RESERVE_BYTES", 512)


def plan(disk: Disk) -> Plan:
    return replays.plan(replays.read(disk, ACTOR))


def test_it_can_begin_with_the_constructor_and_with_each_checkpoint(disk: Disk) -> None:
    life = Life(disk)
    life.calls(4)
    first = life.checkpoint()
    life.calls(3)
    second = life.checkpoint()
    life.begin()
    planned = plan(disk)
    assert [(one.checkpoint_id, one.lsn, one.until) for one in planned.starts] == [
        ("", 0, 8),
        (first, 4, 8),
        (second, 7, 8),
    ]
    assert planned.choose().lsn == 0
    assert planned.choose(from_oldest=False).lsn == 7
    assert planned.choose(6, from_oldest=False).lsn == 4
    assert planned.choose(0).lsn == 0
    common = next(second[:size] for size in range(len(second), 0, -1) if first.startswith(second[:size]))
    assert planned.find(second).lsn == planned.find(second[: len(common) + 1]).lsn == 7
    with pytest.raises(ValueError, match="the ids of 2 checkpoints begin with"):
        planned.find(common)
    with pytest.raises(ValueError, match="no call at lsn 9: the log ends at 8"):
        planned.choose(9)
    with pytest.raises(ValueError, match="checkpoint nothing is not there"):
        planned.find("nothing")


@pytest.mark.usefixtures("small_segments")
def test_what_the_log_began_with_may_be_gone(disk: Disk) -> None:
    life = Life(disk)
    for _ in range(5):
        life.calls(30)
        life.checkpoint()
    planned = plan(disk)
    assert [one.lsn for one in planned.starts] == [90, 120, 150]
    with pytest.raises(ValueError, match=r"lsn 5 is gone: what is kept begins with checkpoint .* .after lsn 90"):
        planned.choose(5)


def test_no_replay_passes_a_persist_method(tmp_path: pathlib.Path) -> None:
    lived = Lived(tmp_path, make_account())
    lived.call("deposit", 1)
    lived.call("deposit", 2, is_persist=True)
    lived.call("deposit", 3)
    lived.checkpoint("first")
    lived.call("deposit", 4)
    lived.abort(lived.begin("deposit", 4, is_persist=True))
    lived.call("deposit", 6)
    planned = offline.plan(lived.close())
    assert [(one.checkpoint_id, one.until) for one in planned.starts] == [("", 1), ("first", 6)]
    assert planned.persist == (2,)
    assert planned.left_out() == (3,)
    with pytest.raises(ValueError, match="no replay comes to lsn 2: lsn 2 is a call of deposit, a persist method"):
        planned.choose(2)
    replayed = offline.replay(lived.path)
    assert (replayed.begun_with.checkpoint_id, replayed.calls, replayed.aborted) == ("first", 2, 1)
    assert replayed.instance.balance == 16


# -- done again ------------------------------------------------------------------------------------------------


def test_a_log_is_done_again(lived: Lived) -> None:
    unfinished = lived.begin("deposit", 10**9)
    path = lived.close()
    before, calls = contents(path), list[ReplayedCall]()
    replayed = offline.replay(path, on_call=calls.append)
    assert vars(replayed.instance) == vars(lived.instance)
    assert (replayed.calls, replayed.unfinished, replayed.aborted) == (10, 1, 0)
    assert [(call.lsn, call.name, call.outcome) for call in (calls[0], *calls[-2:])] == [
        (1, "Account.deposit", "returned"),
        (10, "Account.withdraw", "raised"),
        (11, "Account.deposit", "not over"),
    ]
    assert calls[0].logged_s == 0.001
    assert calls[-1].replayed_s is None
    assert replayed.notes == (f"The log was written by Python 3.0.0; this is {sys.version.split()[0]}.",)
    assert contents(path) == before
    assert unfinished.call_id


def test_it_can_be_stopped_anywhere(lived: Lived) -> None:
    path = lived.close()
    assert [offline.replay(path, until=lsn).instance.log for lsn in (0, 1, 4)] == [[], [0], [0, 1, 2, 3]]


def test_it_can_begin_with_a_checkpoint(lived: Lived) -> None:
    lived.checkpoint("first")
    lived.call("deposit", 7)
    lived.checkpoint("second")
    lived.call("deposit", 8)
    path = lived.close()
    ways: tuple[dict[str, Any], ...] = ({}, {"from_oldest": False}, {"since": "first"}, {"since": ""})
    done = [offline.replay(path, **way) for way in ways]
    assert [(one.begun_with.checkpoint_id, one.calls) for one in done] == [
        ("", 12),
        ("second", 1),
        ("first", 2),
        ("", 12),
    ]
    assert all(vars(one.instance) == vars(lived.instance) for one in done)


def test_it_says_when_it_has_come_to_a_state_that_a_checkpoint_is_of(lived: Lived) -> None:
    lived.checkpoint("first")
    lived.abort(lived.begin("deposit", 10**9))
    lived.checkpoint("second")
    lived.upgrade(type("Other", (type(lived.instance),), {}))
    lived.call("deposit", 8)
    path = lived.close()
    passed = list[tuple[str, str, int]]()

    def on_checkpoint(checkpoint_id: str, instance: Any) -> None:
        passed.append((checkpoint_id, type(instance).__name__, len(instance.log)))

    offline.replay(path, since="", on_checkpoint=on_checkpoint)
    kept = [("second", "Account", 9), ("before-Other", "Account", 9), ("after-Other", "Other", 9)]
    assert passed == kept
    passed.clear()
    offline.replay(path, since="before-Other", on_checkpoint=on_checkpoint)
    assert passed == kept
    passed.clear()
    offline.replay(path, since="", until=10, on_checkpoint=on_checkpoint)
    assert passed == []


def test_large_values_are_read_from_their_files(lived: Lived) -> None:
    lived.call("keep", np.arange(100_000))
    replayed = offline.replay(lived.close())
    assert (replayed.instance.array == np.arange(100_000)).all()


def test_an_upgraded_actor_changes_its_class_where_it_did(lived: Lived) -> None:
    class Doubling(type(lived.instance)):  # type: ignore[misc]
        def deposit(self, amount: int) -> int:
            return int(super().deposit(2 * amount))

    lived.upgrade(Doubling)
    lived.call("deposit", 5)
    planned = offline.plan(lived.close())
    assert [len(one.switches) for one in planned.starts] == [2, 1, 0]
    for start in planned.starts:
        replayed = offline.replay(lived.path, since=start.checkpoint_id)
        assert type(replayed.instance).__name__ == "Doubling"
        assert vars(replayed.instance) == vars(lived.instance)
    assert type(offline.replay(lived.path, until=9).instance).__name__ == "Account"


def test_the_log_tells_where_an_actor_was_upgraded_without_a_checkpoint(lived: Lived) -> None:
    lived.upgrade(type("Other", (type(lived.instance),), {}))
    lived.log.secure()
    lived.disk.remove([name for name in lived.disk.names() if name.startswith("checkpoint-")])
    planned = offline.plan(lived.close())
    assert [(one.lsn, one.until) for one in planned.starts] == [(0, 10)]
    assert type(offline.replay(lived.path).instance).__name__ == "Other"
    assert type(offline.replay(lived.path, until=9).instance).__name__ == "Account"


class Chancy:
    """Takes chance and effects from outside. Its class is a module's, as those of packages are."""

    ran: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.first = ia.get_runtime_context().random()

    def roll(self) -> float:
        return ia.get_runtime_context().random() + self.first

    def pay(self) -> str:
        return ia.get_runtime_context().once(lambda: self.ran.append(1) or "paid")

    def ask(self) -> str:
        return type(ia.list_named_actors()).__name__

    def submit_beside(self) -> str:
        problems: list[BaseException] = []

        def submit() -> None:
            try:
                ia.remote(len).remote("abc")
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=submit)
        thread.start()
        thread.join()
        return "submitted" if not problems else f"{type(problems[0]).__name__}"

    def leave(self) -> None:
        sys.exit(3)


def chancy(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lived:
    with monkeypatch.context() as patch:
        patch.setattr(Chancy, "__init__", lambda self: setattr(self, "first", 0.25))
        return Lived(tmp_path, Chancy, values=(number(0, 0.25),))


def test_what_was_taken_from_outside_is_given_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = chancy(tmp_path, monkeypatch)
    lived.end(lived.begin("roll", values=(number(0, 0.5),)), lambda: 0.75)
    lived.end(lived.begin("pay", values=(once(0, "paid"),)), lambda: "paid")
    assert offline.replay(lived.close()).calls == 2
    assert Chancy.ran == []


@pytest.mark.parametrize("values", [(), (number(0, 0.25), number(1, 0.25))], ids=["less", "more"])
def test_a_constructor_that_takes_something_else_diverges(
    tmp_path: pathlib.Path, values: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Chancy, "__init__", lambda self: setattr(self, "first", 0.25))
        lived = Lived(tmp_path, Chancy, values=values)
    with pytest.raises(ReplayDivergenceError, match=r"Chancy\.__init__ does not do again"):
        offline.replay(lived.close())


# -- divergences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "args", "outcome", "words"),
    [
        ("deposit", (5,), lambda: 999, "lsn 11.*it returned 999, and now it is 141"),
        ("withdraw", (1000,), lambda: 1, "lsn 11.*it returned, and now it raised ValueError: only 136"),
        ("deposit", (5,), lambda: 1 / 0, "lsn 11.*it raised ZeroDivisionError: .*, and now it returned"),
    ],
)
def test_what_ends_otherwise_is_said(
    lived: Lived, method: str, args: tuple[Any, ...], outcome: Any, words: str
) -> None:
    lived.end(lived.begin(method, *args), outcome)
    calls: list[ReplayedCall] = []
    with pytest.raises(ReplayDivergenceError, match=words) as caught:
        offline.replay(lived.close(), on_call=calls.append)
    assert caught.value.lsn == 11
    assert [call.lsn for call in calls if call.problem] == [11]


def test_a_call_that_leaves_now_diverges(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = chancy(tmp_path, monkeypatch)
    lived.end(lived.begin("leave"), lambda: None)
    with pytest.raises(ReplayDivergenceError, match="it ended, and now it ends the process: SystemExit: 3"):
        offline.replay(lived.close())


# -- what cannot be --------------------------------------------------------------------------------------------


def test_what_went_past_the_log_cannot_be_had(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = chancy(tmp_path, monkeypatch)
    lived.end(lived.begin("ask"), lambda: "ActorHandle")
    with pytest.raises(RecoveryFailedError, match="nobody is there to answer DescribeCluster"):
        offline.replay(lived.close())


def test_code_beside_the_call_is_refused_as_it_was(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived = chancy(tmp_path, monkeypatch)
    lived.end(lived.begin("submit_beside"), lambda: "NotReplayableError")
    assert offline.replay(lived.close()).calls == 1


def test_a_process_with_a_session_is_no_place_for_it(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lived.close()
    with monkeypatch.context() as patch:
        patch.setattr(process, "_session", object())
        with pytest.raises(SessionError, match="this process has a session"):
            offline.replay(path)


def test_damage_is_said_and_what_to_do(lived: Lived) -> None:
    lived.call("keep", np.arange(100_000))
    lived.checkpoint("first")
    path = lived.close()
    whole = {one.name: one.read_bytes() for one in path.iterdir()}
    aside = sorted(path.glob("blob-*"))
    cases: tuple[tuple[pathlib.Path, int, dict[str, Any], type[IpyactorsError], str], ...] = (
        (path / "spec", 20, {}, RecoveryFailedError, "spec is not whole.*fsck"),
        (next(path.glob("log-*")), 200, {}, LogDamagedError, "damaged in log-.*fsck"),
        (aside[0], 5000, {}, RecoveryFailedError, "the arguments of keep are gone: .*fsck"),
        (aside[1], 5000, {}, RecoveryFailedError, "what Account.keep .lsn 11. returned is gone.*fsck"),
        (path / "data-first", 20, {"since": "first"}, RecoveryFailedError, "checkpoint first.*cannot be had.*fsck"),
    )
    for file, offset, way, kind, words in cases:
        damage(file, offset)
        with pytest.raises(kind, match=words):
            offline.replay(path, **way)
        file.write_bytes(whole[file.name])
    assert offline.replay(path).calls == 11


def test_a_class_that_cannot_be_imported_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bank_of_old.py").write_text("class Account:\n    def read(self):\n        return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import bank_of_old  # type: ignore[import-not-found]

    lived = Lived(tmp_path, bank_of_old.Account)
    lived.call("read")
    path = lived.close()
    assert offline.replay(path).calls == 1
    (tmp_path / "bank_of_old.py").unlink()
    del sys.modules["bank_of_old"]
    with pytest.raises(SerializationError, match="No module named 'bank_of_old'"):
        offline.replay(path)


# -- checkpoints of the actor's own ----------------------------------------------------------------------------


class Saving(Checkpointable):
    """Saves its state itself."""

    place: pathlib.Path

    def __init__(self) -> None:
        self.count, self.born = 0, ia.get_runtime_context().random()

    def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    def should_checkpoint(self, checkpoint_context: CheckpointContext) -> bool:
        return False

    def save_checkpoint(self, actor_id: str, checkpoint_id: str) -> None:
        (self.place / checkpoint_id).write_text(str(self.count))

    def load_checkpoint(self, actor_id: str, available_checkpoints: Sequence[Checkpoint]) -> str | None:
        for one in available_checkpoints:
            if (self.place / one.checkpoint_id).exists():
                self.count = int((self.place / one.checkpoint_id).read_text())
                return one.checkpoint_id
        return None

    def checkpoint_expired(self, actor_id: str, checkpoint_id: str) -> None: ...


def test_an_actor_loads_its_own_checkpoints(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saving, "place", tmp_path, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(Saving, "__init__", lambda self: vars(self).update(count=0, born=0.5))
        lived = Lived(tmp_path, Saving, values=(number(0, 0.5),), by_itself=True, keep=20)
    lived.call("add", 1)
    lived.instance.save_checkpoint("", "first")
    lived.checkpoint("first")
    lived.call("add", 2)
    path = lived.close()
    for since, calls in (("first", 1), ("", 2)):
        replayed = offline.replay(path, since=since)
        assert (replayed.instance.count, replayed.instance.born, replayed.calls) == (3, 0.5, calls)
    (tmp_path / "first").unlink()
    with pytest.raises(RecoveryFailedError, match="load_checkpoint returned None, and was given checkpoint first"):
        offline.replay(path, since="first")


class SavingBetter(Saving):
    """What it was upgraded to."""


def test_the_class_that_it_was_upgraded_to_has_what_its_constructor_took(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saving, "place", tmp_path, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(Saving, "__init__", lambda self: vars(self).update(count=0, born=0.5))
        lived = Lived(tmp_path, Saving, values=(number(0, 0.5),), by_itself=True, keep=20)
    lived.call("add", 1)
    lived.upgrade(SavingBetter)
    lived.instance.save_checkpoint("", "after-SavingBetter")
    row = [number(0, 0.5)]
    definition_id = definition_of(SavingBetter).definition_id
    for value in (constructions.beginning(row, definition_id, 1), number(2, 0.75)):
        lived.log.add_value(0, value)
        row.append(value)
    lived.call("add", 2)
    lived.log.write()
    assert offline.replay(lived.path, since="after-SavingBetter").instance.born not in (0.5, 0.75), "it is not over"
    lived.log.add_value(0, constructions.end(row))
    lived.call("add", 3)
    path = lived.close()
    for since, born, calls in (("after-SavingBetter", 0.75, 2), ("", 0.5, 3)):
        replayed = offline.replay(path, since=since)
        assert (replayed.instance.count, replayed.instance.born, replayed.calls) == (6, born, calls)
        assert isinstance(replayed.instance, SavingBetter)
