"""The head and a durable actor die together, in the middle of a call that calls another durable actor."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import pytest

import ipyactors as ia
from tests.support import anatomy
from tests.support.durable import get, pid_of
from tests.support.gates import Gate, Tally, until

pytestmark = pytest.mark.usefixtures("runtime")


@ia.remote(durable=True)
class Account:
    def __init__(self, place: pathlib.Path) -> None:
        self.place, self.entries = place, []

    def book(self, entry: str) -> int:
        wait_here(self.place, f"booking {entry}")
        self.entries.append(entry)
        return len(self.entries)

    @ia.method(effect="readonly")
    def look(self) -> list[str]:
        return list(self.entries)


@ia.remote(durable=True)
class Bank:
    def __init__(self, place: pathlib.Path, account: Any) -> None:
        self.place, self.account, self.transfers = place, account, []

    def transfer(self, name: str) -> list[int]:
        first = get(self.account.book.remote(f"{name} from"))
        wait_here(self.place, f"between {name}")
        self.transfers.append([first, get(self.account.book.remote(f"{name} to"))])
        return self.transfers[-1]

    @ia.method(effect="readonly")
    def look(self) -> list[list[int]]:
        return self.transfers


def wait_here(place: pathlib.Path, moment: str) -> None:
    """Say that a moment has come, and wait there if the test wants it."""
    Tally(place / "moments").add(moment)
    if (place / f"stop {moment}").exists():
        Gate(place / "go on").wait()


@pytest.mark.parametrize("first", ["head", "bank"])
@pytest.mark.parametrize("moment", ["booking b from", "between b", "booking b to"])
def test_the_head_and_who_calls_die_together(moment: str, first: str, tmp_path: pathlib.Path) -> None:
    account = Account.remote(tmp_path)
    bank = Bank.remote(tmp_path, account)
    assert get(bank.transfer.remote("a")) == [1, 2]
    (tmp_path / f"stop {moment}").touch()
    transfers = [bank.transfer.remote(name) for name in "bc"]
    until(lambda: moment in Tally(tmp_path / "moments").lines(), moment)
    head_pid, bank_pid = anatomy.head().pid, pid_of(bank)
    for pid in (head_pid, bank_pid) if first == "head" else (bank_pid, head_pid):
        os.kill(pid, signal.SIGKILL)
    Gate(tmp_path / "go on").open()
    assert get(transfers) == [[3, 4], [5, 6]]
    assert anatomy.head().pid != head_pid
    assert pid_of(bank) != bank_pid
    assert get(bank.look.remote()) == [[1, 2], [3, 4], [5, 6]]
    assert get(account.look.remote()) == [f"{name} {side}" for name in "abc" for side in ("from", "to")]
    assert get(bank.transfer.remote("d")) == [7, 8]
