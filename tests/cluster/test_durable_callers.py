"""Who calls a durable actor may crash too: what it had called is done once, also when it calls again."""

from __future__ import annotations

import itertools
import os
import pathlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

import ipyactors as ia
from tests.support.durable import Killer, get, kill, pid_of
from tests.support.gates import Gate, Tally, until

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ia.remote(durable=True)
class Account:
    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.seen: list[Any] = []

    def deposit(self, amount: int, mark: Any = None) -> int:
        self.balance += amount
        self.seen.append(mark)
        return self.balance

    def look(self) -> tuple[int, list[Any]]:
        return self.balance, self.seen


@ia.remote
def square(n: int) -> int:
    return n * n


@ia.remote(max_retries=20)
def deposit_and_die_twice(account: Any, mark: Any, tally: Tally) -> list[int]:
    """Three calls of a task, which dies after the first, and after the second."""
    positions = [ia.get(account.deposit.remote(1, (mark, 0)))]
    if tally.add() == 1:
        os.kill(os.getpid(), 9)
    positions.append(ia.get(account.deposit.remote(1, (mark, 1))))
    if tally.add() == 3:
        os.kill(os.getpid(), 9)
    positions.append(ia.get(account.deposit.remote(1, (mark, 2))))
    return positions


def test_threads_of_a_driver_each_keep_their_order() -> None:
    account = Account.remote()

    def deposit(who: int) -> list[int]:
        return get([account.deposit.remote(1, (who, n)) for n in range(200)])

    with Killer(account, seed=11) as killer, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(deposit, range(4)))
        killer.wait_for_kills(3)
    balance, seen = get(account.look.remote())
    assert balance == 800
    assert sorted(itertools.chain(*answers)) == list(range(1, 801))
    for who in range(4):
        assert [n for name, n in seen if name == who] == list(range(200))


def test_a_task_that_dies_half_way_has_called_once(tmp_path: pathlib.Path) -> None:
    account = Account.remote()
    with Killer(account, seed=12, at_least=0):
        tallies = [Tally(tmp_path / str(n)) for n in range(4)]
        answers = get([deposit_and_die_twice.remote(account, n, tallies[n]) for n in range(4)])
    kill(account)
    balance, seen = get(account.look.remote())
    assert balance == 12
    assert sorted(seen) == [(n, k) for n in range(4) for k in range(3)]
    for n, positions in enumerate(answers):
        assert [seen[position - 1] for position in positions] == [(n, 0), (n, 1), (n, 2)]


def test_a_plain_actor_whose_call_is_retried_has_called_once(tmp_path: pathlib.Path) -> None:
    @ia.remote(max_restarts=-1, max_task_retries=-1)
    class Caller:
        def call(self, account: Any, tally: Tally) -> int:
            answer = ia.get(account.deposit.remote(5, "x"))
            if len(tally.lines()) < 2:
                tally.add()
                os.kill(os.getpid(), 9)
            return answer

    account, caller = Account.remote(), Caller.remote()
    assert get(caller.call.remote(account, Tally(tmp_path / "tally"))) == 5
    assert get(caller.call.remote(account, Tally(tmp_path / "tally"))) == 10
    assert get(account.look.remote()) == (10, ["x", "x"])


@ia.remote(durable=True, max_concurrency=1)
class Bank:
    """Moves money from one account to another, which are durable too."""

    def __init__(self, one: Any, other: Any) -> None:
        self.one, self.other = one, other
        self.count = 0

    def transfer(self, amount: int, mark: Any) -> tuple[int, float, uuid.UUID, float]:
        self.count += 1
        context = ia.get_runtime_context()
        refs = [self.one.deposit.remote(-amount, mark), self.other.deposit.remote(amount, mark)]
        ia.get(refs)
        return self.count, context.now(), context.uuid4(), context.random()

    def forget(self, amount: int, mark: Any) -> int:
        self.count += 1
        self.one.deposit.remote(-amount, mark)
        self.other.deposit.remote(amount, mark)
        return self.count

    def ask_tasks(self, n: int) -> tuple[list[int], list[int]]:
        """Results in the order in which they come, and of the first one only."""
        self.count += 1
        refs = [square.remote(k) for k in range(n)]
        ready, rest = ia.wait(refs, num_returns=1)
        by_time = [ia.get(ref) for ref in ia.as_completed(rest)]
        return ia.get(ready), by_time

    async def ask_side_by_side(self, n: int) -> int:
        total = 0
        for k in range(n):
            total += await square.remote(k)
        self.count += 1
        return total

    def send(self, account: Any) -> list[Any]:
        """A reference is kept, and taken by a later call."""
        self.kept = account.deposit.remote(1, "kept")
        return [self.kept]

    def take(self) -> int:
        return ia.get(self.kept)

    def forward(self, account: Any, mark: Any) -> int:
        """The account is known from the arguments alone, and nobody waits for it."""
        self.count += 1
        account.deposit.remote(1, mark)
        return self.count

    def look(self) -> int:
        return self.count


@pytest.mark.parametrize("method", ["transfer", "forget"])
def test_transfers_through_crashes_of_all_three(method: str) -> None:
    one, other = Account.remote(1000), Account.remote(0)
    bank = Bank.remote(one, other)
    with Killer(one, other, bank, seed=13) as killer:
        answers = get([getattr(bank, method).remote(1, n) for n in range(300)])
        killer.wait_for_kills(6)
    kill(bank)
    assert get(bank.look.remote()) == 300
    assert [answer[0] if method == "transfer" else answer for answer in answers] == list(range(1, 301))
    until(lambda: len(get(other.look.remote())[1]) >= 300 <= len(get(one.look.remote())[1]), "all transfers")
    for account in (one, other):
        kill(account)
    assert get(one.look.remote()) == (700, list(range(300)))
    assert get(other.look.remote()) == (300, list(range(300)))


def test_two_levels(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Office:
        def __init__(self, bank: Any) -> None:
            self.bank = bank
            self.told: list[Any] = []

        def order(self, mark: Any) -> int:
            self.told.append(ia.get(self.bank.transfer.remote(2, mark)))
            return len(self.told)

        def look(self) -> list[Any]:
            return self.told

    one, other = Account.remote(1000), Account.remote(0)
    bank = Bank.remote(one, other)
    office = Office.remote(bank)
    with Killer(one, other, bank, office, seed=14) as killer:
        assert get([office.order.remote(n) for n in range(100)]) == list(range(1, 101))
        killer.wait_for_kills(8)
    told = get(office.look.remote())
    kill(office)
    assert get(office.look.remote()) == told
    assert [answer[0] for answer in told] == list(range(1, 101))
    assert get(one.look.remote()) == (800, list(range(100)))
    assert get(other.look.remote()) == (200, list(range(100)))


def test_tasks_and_waiting_in_methods() -> None:
    bank = Bank.remote(None, None)
    with Killer(bank, seed=15) as killer:
        for (first,), rest in get([bank.ask_tasks.remote(6) for _ in range(20)]):
            assert sorted([first, *rest]) == [0, 1, 4, 9, 16, 25]
        assert get([bank.ask_side_by_side.remote(5) for _ in range(20)]) == [30] * 20
        killer.wait_for_kills(4)
    kill(bank)
    assert get(bank.look.remote()) == 40


def test_a_call_that_nobody_waits_for_to_an_actor_that_nobody_keeps() -> None:
    """A replay has the handle only while the call that it came with is done again."""
    account, bank = Account.remote(), Bank.remote(None, None)
    for round_ in range(4):
        account_process = psutil.Process(pid_of(account))
        account_process.suspend()  # it answers nothing, so nothing is known to have arrived
        get([bank.forward.remote(account, (round_, n)) for n in range(5)])
        kill(bank)
        account_process.kill()
        assert get(bank.look.remote()) == 5 * round_ + 5
    until(lambda: get(account.look.remote())[0] >= 20, "all deposits")
    assert get(account.look.remote()) == (20, [(round_, n) for round_ in range(4) for n in range(5)])


def test_a_reference_that_a_later_call_takes() -> None:
    account, bank = Account.remote(), Bank.remote(None, None)
    [kept] = get(bank.send.remote(account))
    kill(bank)
    assert get(bank.take.remote()) == 1
    kill(bank)
    kill(account)
    assert get(bank.take.remote()) == 1
    assert get(account.look.remote()) == (1, ["kept"])
    del kept


def test_what_is_taken_from_outside_stays(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Taker:
        def __init__(self) -> None:
            self.taken: list[Any] = []

        def take(self, tally: Tally, gate: Gate) -> list[Any]:
            context = ia.get_runtime_context()
            self.taken += [context.now(), context.random(), context.uuid4()]
            self.taken += [context.once(tally.add, "once"), context.is_replaying]
            try:
                context.once(int, "x")
            except ValueError as error:
                self.taken.append(str(error))
            tally.add("runs")
            gate.wait()
            self.taken.append(context.random())
            return self.taken

        def look(self) -> list[Any]:
            return self.taken

    taker = Taker.remote()
    tally, gate = Tally(tmp_path / "tally"), Gate(tmp_path / "gate")
    ref = taker.take.remote(tally, gate)
    until(lambda: tally.lines() == ["once", "runs"], "it runs")
    kill(taker)
    until(lambda: tally.lines() == ["once", "runs", "runs"], "it runs again")
    gate.open()
    taken = get(ref)
    assert "invalid literal" in taken[5]
    kill(taker)
    again = get(taker.look.remote())
    assert again[:4] == taken[:4]
    assert again[5:] == taken[5:]
    assert tally.lines() == ["once", "runs", "runs", "runs"]


def test_an_actor_that_waits_for_itself_is_told() -> None:
    @ia.remote(durable=True)
    class Loop:
        def ask(self, *others: Any) -> Any:
            return ia.get(others[0].ask.remote(*others[1:])) if others else "asked"

    one, other = Loop.remote(), Loop.remote()
    with pytest.raises(ia.exceptions.ActorDeadlockError):
        get(one.ask.remote(other, one))


@pytest.mark.xfail(
    strict=True,
    raises=ia.exceptions.OwnerDiedError,
    reason="The log has the result with references that belong to the process that is gone; those that the replay has "
    "made in their places are not put in.",
)
def test_a_reference_among_the_results_is_good_after_a_crash() -> None:
    account, bank = Account.remote(), Bank.remote(None, None)
    [kept] = get(bank.send.remote(account))
    kill(bank)
    assert get(bank.take.remote()) == 1
    assert get(kept) == 1


@ia.remote(durable=True, checkpoint=ia.every(calls=1000))
class Looker:
    """Asks what may be answered otherwise later."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def use(self, name: str) -> Any:
        try:
            self.found.append(ia.get(ia.get_actor(name).look.remote()))
        except ValueError as error:
            self.found.append(str(error))
        return self.found[-1]

    def work(self, started: Gate) -> int:
        started.open()
        count = 0
        while not ia.get_runtime_context().is_canceled():
            count += 1
        self.found.append("cancelled")
        return len(self.found)

    def task_id(self) -> None:
        self.found.append(ia.get_runtime_context().get_task_id())

    @ia.method(effect="readonly")
    def look(self) -> list[Any]:
        return self.found


def test_what_get_actor_found_is_found_again_when_it_is_gone() -> None:
    looker, other = Looker.remote(), Account.options(name="p").remote(5)
    assert get(looker.use.remote("p")) == (5, [])
    words = get(looker.use.remote("nobody"))
    assert "no live actor is named 'nobody'" in words
    ia.kill(other)
    Account.options(name="nobody").remote()
    kill(looker)
    assert get(looker.look.remote()) == [(5, []), words]


def test_a_call_that_heard_that_it_is_cancelled_hears_it_again(tmp_path: pathlib.Path) -> None:
    looker, started = Looker.remote(), Gate(tmp_path / "started")
    working = looker.work.remote(started)
    started.wait()
    ia.cancel(working)
    until(lambda: get(looker.look.remote()), "the call to end")
    kill(looker)
    assert get(looker.look.remote()) == ["cancelled"]


def test_a_call_that_another_actor_has_made_keeps_its_id() -> None:
    @ia.remote(durable=True)
    class Asker:
        def ask(self, looker: Any) -> None:
            ia.get(looker.task_id.remote())

    looker, asker = Looker.remote(), Asker.remote()
    get(asker.ask.remote(looker))
    found = get(looker.look.remote())
    kill(looker)
    assert get(looker.look.remote()) == found
