"""Durable actors whose processes fail at every fault point, on real processes, and what their callers have seen.

Each case has one process fail at one point, in one way, under a load; then the whole history is checked. All points
with SIGKILL run every time under the loads of a serial actor, and of the rest a choice by a seed, which is printed:
``IPYACTORS_SEED`` repeats it, ``IPYACTORS_SWEEP=all`` runs everything.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.durable import log, segment
from ipyactors.durable.actor_log import read_remains
from ipyactors.durable.folder import Folder
from ipyactors.durable.record import Call, Done
from ipyactors.durable.weak_points import IN_USER_CODE, WEAK_POINTS
from ipyactors.exceptions import ActorError, RecoveryFailedError, ReplayDivergenceError, TaskError
from ipyactors.ground import faultpoints
from ipyactors.testing.history import Operation
from tests.support import durable, durable_load
from tests.support.durable_load import LARGE, Account, Appender, Bank, Callers, Relay, Upgraded
from tests.support.gates import until
from tests.support.seeds import SEED

PACKAGE = pathlib.Path(ia.__file__).parent
RUNS_ALL = os.environ.get("IPYACTORS_SWEEP") == "all"
STOPPED_S = 3.0

#: Points that are only hit while an actor is made, where nobody knows it yet.
AT_THE_START = {"durable.allocate.before", "durable.allocate.after"}

#: Points that are only hit when a process comes back: the one before it is killed by a point that every call hits.
COMING_BACK = {point for point in WEAK_POINTS if point.startswith(("durable.replay.", "durable.open."))} | {
    "durable.call.known",
    "durable.nested.released",
}

#: Is only hit by the process that comes after one that has died at :data:`SAVED`, or in one that has failed there.
UNMADE = "durable.checkpoint.unmade"
SAVED = "durable.checkpoint.saved"

ONLY_APPENDERS = {"durable.call.aborted", "durable.blob.written", *AT_THE_START} | {
    point for point in WEAK_POINTS if point.startswith("durable.upgrade.")
}
ONLY_BANKS = {point for point in WEAK_POINTS if point.startswith(("durable.nested.", "durable.value."))}

#: Each call of this load is a checkpoint.
OF_CHECKPOINTS = {point for point in WEAK_POINTS if re.match(r"durable\.(checkpoint|replace|remove|write|sync)", point)}

#: Each call hits these, also those that run side by side.
OF_CALLS = {f"durable.{name}" for name in ("call.arrived", "call.taken", "call.ended", "answers.secured")}

#: Where an exception that is no OSError would come out in the user's code of a bank, as in :data:`IN_USER_CODE`.
OF_FILES = {point for point in WEAK_POINTS if point.split(".")[1] in ("allocate", "write", "sync", "replace", "remove")}

#: Where a large result may find no room: then its call is given up.
OF_LARGE_RESULTS = {"durable.blob.written", "durable.replace.before_rename", "durable.replace.after_rename"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One failure at the ``nth`` hit of a point, under one of the loads of :func:`cases`."""

    load: str
    point: str
    action: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.load}-{self.point}-{self.action}-{self.nth}"

    @property
    def may_be_final(self) -> bool:
        """Whether the actor may be dead afterwards: what keeps it from coming back is told, and not tried for ever."""
        where = COMING_BACK | AT_THE_START | {"durable.call.aborted"}
        return self.action in ("raise", "enospc") and self.point in where

    @property
    def options(self) -> dict[str, Any]:
        """The options of actors under this load; without checkpoints, the log tells everything."""
        if self.may_be_final or self.point == "durable.replay.call":
            return {"durable": "host"}
        return {"durable": "host", "checkpoint": ia.every(calls=4), "num_checkpoints_to_keep": 2}


def cases() -> list[Case]:
    """Return all cases that make sense."""
    rng = random.Random(SEED)
    made = []
    everywhere_else = WEAK_POINTS.keys() - OF_CHECKPOINTS
    loads = {"append": ONLY_BANKS, "bank": ONLY_APPENDERS, "persist": everywhere_else}
    loads |= dict.fromkeys(("threads", "coroutines"), everywhere_else - OF_CALLS)
    for load, not_here in loads.items():
        for point in sorted(WEAK_POINTS.keys() - not_here):
            for action in ("kill", "stop", "raise", "enospc"):
                if load == "bank" and action in ("raise", "enospc") and point in IN_USER_CODE:
                    continue
                if load == "bank" and action == "raise" and point in OF_FILES:
                    continue
                at_first = ("durable.upgrade", "durable.call.ab", UNMADE)
                once = point in COMING_BACK | AT_THE_START or point.startswith(at_first)
                made.append(Case(load, point, action, 1 if once else rng.randint(1, 3)))
    return made


def chosen() -> list[Case]:
    """Return the cases of this run."""
    rng = random.Random(SEED + 1)
    every = cases()
    if RUNS_ALL:
        return every
    side_by_side = [case for case in every if case.load in ("threads", "coroutines") and case.action == "kill"]
    taken = [case for case in every if case.action == "kill" and case not in side_by_side]
    taken += rng.sample(side_by_side, 10)
    for action, count in (("stop", 2), ("raise", 14), ("enospc", 14)):
        taken += rng.sample([case for case in every if case.action == action], count)
    return taken


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A session whose processes look into this folder for what to do."""
    folder = tmp_path_factory.mktemp("orders")
    ia.shutdown()
    os.environ[faultpoints.VARIABLE] = f"@{folder}"
    try:
        ia.init(num_cpus=4)
    finally:
        del os.environ[faultpoints.VARIABLE]
    yield folder
    ia.shutdown()


class Order:
    """What one case orders, and whether it was done."""

    def __init__(self, orders: pathlib.Path, case: Case) -> None:
        shutil.rmtree(orders)
        orders.mkdir()
        self._orders, self._case = orders, case
        self._is_given = False
        self._helper = threading.Thread(target=self._go_on, name="goes on")

    def give(self) -> None:
        """Order it, unless that was done."""
        if self._is_given:
            return
        self._is_given = True
        case = self._case
        self._path = faultpoints.order(self._orders, case.point, case.action, case.nth)
        if case.point in COMING_BACK:
            before = "durable.nested.submitted" if case.load == "bank" else "durable.answers.secured"
            faultpoints.order(self._orders, before, "kill", 4)
        if case.point == UNMADE:
            faultpoints.order(self._orders, SAVED, "kill")
        if case.action == "stop":
            self._helper.start()

    def _go_on(self) -> None:
        """Have a process that was stopped go on after a while."""
        until(self._taken, f"{self._case.point} is hit")
        time.sleep(STOPPED_S)  # what is to be survived is the time itself
        os.kill(self._taken()[0], signal.SIGCONT)

    def check(self) -> None:
        """It must have happened."""
        if self._helper.ident is not None:
            self._helper.join()
        assert self._taken(), f"{self._case.point} was not hit {self._case.nth} times"

    @property
    def was_taken(self) -> bool:
        """Whether somebody has done it, or is about to."""
        return bool(self._taken())

    def _taken(self) -> list[int]:
        return [int(path.name.split(".")[-2]) for path in self._orders.glob(f"{self._case.point}.*.taken")]


def test_every_fault_point_is_in_the_table() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        found |= set(re.findall(r'faultpoints\.hit\("(durable\.[^"]+)"\)', path.read_text()))
    assert found == set(WEAK_POINTS)
    assert set(WEAK_POINTS) >= IN_USER_CODE


@pytest.mark.parametrize("case", chosen(), ids=str)
def test_nothing_is_lost_at(case: Case, orders: pathlib.Path) -> None:
    print(f"IPYACTORS_SEED={SEED}")
    order = Order(orders, case)
    {
        "append": sweep_append,
        "bank": sweep_bank,
        "persist": sweep_persist,
        "threads": sweep_side_by_side,
        "coroutines": sweep_side_by_side,
    }[case.load](case, order)
    order.check()


# -- an append-only list ------------------------------------------------------------------------------------------


def sweep_append(case: Case, order: Order) -> None:
    if case.point in AT_THE_START:
        order.give()
    actor = Appender.options(**case.options).remote()
    callers = Callers()
    callers.start("first", [("", actor.append.remote)] * 3)
    if case.point not in AT_THE_START:
        callers.join()
    order.give()
    callers.start("thread", [("", actor.append.remote)] * 12)
    callers.start("large", [("", lambda uid: actor.echo.remote(uid, LARGE))] * 3, window=1)
    if case.action != "raise" or case.point not in OF_FILES:  # whose own log would raise in its method
        callers.start("relay", [("", Relay.remote(actor).append.remote)] * 5)
    task = durable_load.append_from_task.remote(actor, "task", 4, time.monotonic())
    if case.point.startswith("durable.upgrade"):
        _insist(lambda: actor.upgrade(Upgraded))
    elif case.point == "durable.call.aborted":
        callers.start("poison", [("", actor.die.options(max_task_retries=0).remote)])
    elif not case.may_be_final:
        callers.start("persist", [("", actor.keep.remote)] * 2)
    callers.join()
    for turn in range(3):  # it may have died just when a checkpoint left nothing to replay
        if case.point not in COMING_BACK or order.was_taken:
            break
        callers.start(f"once more {turn}", [("", actor.append.remote)])
        callers.join()
        durable.kill(actor)
        durable.get(actor.read.remote())
    history = callers.history + ia.get(task, timeout=durable_load.PATIENCE_S)
    report = durable_load.check(history, _final(actor, case))
    assert report.is_valid, report
    _check_known(case, history)


def _insist(action: Callable[[], Any]) -> None:
    """Do it again until it is done: it does no harm."""
    for _ in range(5):
        try:
            action()
        except (ActorError, TaskError) as error:
            print(f"again after {error}")
        else:
            return
    action()


def _final(actor: Any, case: Case) -> list[str]:
    """Return what an actor's list holds; of one that is dead, what its log says."""
    try:
        final: list[str] = durable.get(actor.read.remote())
    except ActorError as error:
        if not case.may_be_final:
            raise
        if not isinstance(error, RecoveryFailedError) and case.point not in AT_THE_START:
            raise
        return durable_load.appended_by_the_log(durable.folder(actor))
    return final


def _check_known(case: Case, history: list[Operation]) -> None:
    """Each call has been done, but for those that are expected to be given up."""
    if case.may_be_final:
        return
    given_up = {"poison"} if case.action in ("kill", "stop") else {"persist"}  # no checkpoint, no end
    has_no_room = case.action == "enospc" and case.point in OF_LARGE_RESULTS
    bad = [one for one in history if one.outcome != "ok"]
    assert not has_no_room or len(bad) <= 1, "only the call that has found no room is given up"
    assert all(one.outcome == "failed" and (has_no_room or one.caller in given_up) for one in bad), "\n".join(
        map(str, bad)
    )


def sweep_persist(case: Case, order: Order) -> None:
    actor = Appender.options(**case.options).remote()
    callers = Callers()
    callers.start("first", [("", actor.keep.remote)] * 3)
    callers.join()
    order.give()
    for name in ("persist", "other"):
        callers.start(name, [("", actor.keep.remote)] * 4)
    callers.start("append", [("", actor.append.remote)] * 4)
    callers.join()
    report = durable_load.check(callers.history, _final(actor, case))
    assert report.is_valid, report
    if case.action in ("kill", "stop"):
        assert not [one for one in callers.history if one.outcome != "ok"]


def sweep_side_by_side(case: Case, order: Order) -> None:
    """The calls of an actor that runs several at once, on threads or in an event loop; each persists what it did."""
    cls = durable_load.Threads if case.load == "threads" else durable_load.Coroutines
    actor = cls.options(durable="host", num_checkpoints_to_keep=2).remote()
    durable.get(actor.read.remote())
    order.give()
    callers = Callers()
    for name in ("one", "other", "third"):
        callers.start(name, [("", actor.append.remote)] * 5, window=1)
    callers.join()
    report = durable_load.check(callers.history, _final(actor, case))
    assert report.is_valid, report
    if case.action in ("kill", "stop"):
        assert not [one for one in callers.history if one.outcome != "ok"]


# -- transfers between accounts -----------------------------------------------------------------------------------


def sweep_bank(case: Case, order: Order) -> None:
    accounts = [Account.options(**case.options).remote(1000) for _ in range(2)]
    bank = Bank.options(**case.options).remote(*accounts)
    callers = Callers()
    callers.start("first", [("", lambda uid: bank.transfer.remote(uid, 1))] * 3)
    callers.join()
    order.give()
    for name in ("one", "other"):
        amounts = iter(range(100))
        calls = [("", lambda uid, amounts=amounts: bank.transfer.remote(uid, next(amounts)))] * 7
        callers.start(name, calls)
    task = durable_load.append_from_task.remote(accounts[0], "task", 5, time.monotonic())
    callers.join()
    direct = ia.get(task, timeout=durable_load.PATIENCE_S)
    final = _final(bank, case)
    report = durable_load.check(callers.history, final)
    assert report.is_valid, report
    _check_known(case, callers.history)
    if any(one.outcome != "ok" for one in callers.history):
        return
    lists = [_final_of_account(account, case, len(final)) for account in accounts]
    assert [[uid for uid in entries if uid[:4] != "task"] for entries in lists] == [final, final]
    report = durable_load.check(direct, [uid for uid in lists[0] if uid[:4] == "task"])
    assert [report.lost, report.duplicated, report.effective] == [[], [], []], report
    assert sum(durable.get([account.total.remote() for account in accounts])) == 2000


def _final_of_account(account: Any, case: Case, count: int) -> list[str]:
    """Return an account's list once it has so many transfers: the bank does not wait for each."""

    def look() -> list[str]:
        entries = _final(account, case)
        return entries if sum(uid[:4] != "task" for uid in entries) >= count else []

    return until(look, f"{count} transfers")


# -- a log that ends at any byte ----------------------------------------------------------------------------------


def test_a_log_cut_at_any_byte_has_the_calls_whose_records_are_whole(
    orders: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """What a power failure may leave: of each length of the end, exactly the calls come back that were safe."""
    actor = Appender.remote()
    callers = Callers()
    callers.start("driver", [("", actor.append.remote)] * 4, window=1)
    callers.join()
    folder = durable.folder(actor)
    whole = log.read(Folder(folder), durable.actor_id(actor))
    ia.kill(actor)
    name, ends = segment.name_at(0), _ends_of_calls(whole)
    content = (folder / name).read_bytes()[: segment.HEAD_BYTES + whole.end + 1000]
    for length in range(whole.end + 1):
        left = _cut(content, segment.HEAD_BYTES + length)
        (tmp_path / name).write_bytes(left)
        remains = read_remains(Folder(tmp_path), durable.actor_id(actor))
        history = remains.since(None)
        done = [past for past in history.past.values() if isinstance(past.end, Done)]
        assert len(done) == sum(_is_same(left, content, end) for end in ends), length


@pytest.mark.parametrize("seed", range(12))
def test_an_actor_comes_back_from_a_log_cut_at_random(seed: int, orders: pathlib.Path) -> None:
    """The same with real processes; a call that was begun and not ended is run again."""
    actor = Appender.remote()
    callers = Callers()
    callers.start("driver", [("", actor.append.remote)] * 6, window=1)
    callers.join()
    folder, pid = durable.folder(actor), durable.pid_of(actor)
    os.kill(pid, signal.SIGSTOP)
    whole = log.read(Folder(folder), durable.actor_id(actor))
    length = random.Random(f"{SEED} {seed}").randint(_ends_of_calls(whole)[1], whole.end)
    path = folder / segment.name_at(0)
    content = path.read_bytes()
    left = _cut(content, segment.HEAD_BYTES + length)
    path.write_bytes(left)
    os.kill(pid, signal.SIGKILL)
    found = durable.get(actor.read.remote())
    logged = sum(_is_same(left, content, end) for end in _ends_of_calls(whole, Call))
    assert found == [one.uid for one in callers.history][:logged]
    assert durable.get(actor.append.remote("next"))[0] == len(found)


def _cut(content: bytes, length: int) -> bytes:
    return content[:length] + bytes(len(content) - length)


def _is_same(left: bytes, content: bytes, end: int) -> bool:
    """Return whether the log is as it was up to a position; what is cut off may have been zeros."""
    return left[: segment.HEAD_BYTES + end] == content[: segment.HEAD_BYTES + end]


def _ends_of_calls(whole: log.Contents, kind: type = Done) -> list[int]:
    """Return the positions behind the records of one kind: those that end calls."""
    positions = [position for position, _ in whole.positioned()] + [whole.end]
    bodies = [one.body for _, one in whole.positioned()]
    return [after for body, after in zip(bodies, positions[1:], strict=True) if isinstance(body, kind)]


# -- an actor that does not do the same again ---------------------------------------------------------------------


@ia.remote(durable=True)
class Fickle(durable_load._List):
    """Answers differently in each process."""

    def draw(self, uid: str) -> tuple[int, str]:
        index, _ = self.append(uid)
        return index, f"{os.getpid()}"


@pytest.mark.parametrize("moment", ["durable.answers.sent", "durable.call.begun", "durable.checkpoint.manifest"])
def test_what_does_not_do_the_same_again_is_caught(moment: str, orders: pathlib.Path) -> None:
    """It is said, never answered wrongly: what was answered before stands, and nothing is answered after."""
    order = Order(orders, Case("fickle", moment, "kill", 2))
    actor = Fickle.options(checkpoint=ia.every(calls=4), num_checkpoints_to_keep=2).remote()
    callers = Callers()
    callers.start("first", [("", actor.draw.remote)] * 5, window=1)
    callers.join()
    order.give()
    callers.start("second", [("", actor.draw.remote)] * 12, window=1)
    callers.join()
    order.check()
    try:
        final = durable.get(actor.read.remote())
    except (RecoveryFailedError, ReplayDivergenceError) as error:
        assert "does not do again what it did before" in str(error)  # noqa: PT017 - it may also come back
        answered = [one for one in callers.history if one.outcome == "ok"]
        assert [one.index for one in answered] == list(range(len(answered)))
    else:  # a checkpoint had everything that could have been done otherwise
        assert durable_load.check_history(callers.history, final).is_valid
