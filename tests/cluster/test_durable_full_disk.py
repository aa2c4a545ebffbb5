"""A full disk under a durable actor: when it is made, when it comes back, and when a result has no room."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import ActorDiedError, CallAbortedError
from ipyactors.ground import faultpoints
from ipyactors.wire.outside import OUT_OF_BAND_BYTES
from tests.support.durable import get, kill, records
from tests.support.gates import until


@pytest.fixture
def orders(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """The folder that a session looks into for what is to go wrong next."""
    folder = tmp_path / "orders"
    folder.mkdir()
    monkeypatch.setenv(faultpoints.VARIABLE, f"@{folder}")
    ia.shutdown()
    ia.init(num_cpus=2)
    yield folder
    ia.shutdown()


@ia.remote(durable=True)
class Ledger:
    def __init__(self) -> None:
        self.entries: list[str] = []

    def add(self, entry: str) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def add_and_show(self, entry: str) -> bytes:
        self.entries.append(entry)
        return bytes(OUT_OF_BAND_BYTES + len(self.entries))

    @ia.method(effect="readonly")
    def read(self) -> list[str]:
        return self.entries


def folder_of(handle: Any) -> str:
    return str(handle._ipyactors_client.folder)


@pytest.mark.parametrize("point", ["durable.replace.before_rename", "durable.allocate.before"])
def test_an_actor_that_there_is_no_room_for_is_told_of_as_that(orders: pathlib.Path, point: str) -> None:
    faultpoints.order(orders, point, "enospc")
    ledger = Ledger.remote()
    with pytest.raises(ActorDiedError) as caught:
        get(ledger.add.remote("a"))
    words = str(caught.value)
    assert f"there is no room for its log in {folder_of(ledger)}: No space left on device" in words
    assert "The call Ledger.add was not run" in words
    assert "Make room on that disk, and create the actor again" in words
    assert "constructor" not in words
    assert "Traceback" not in words
    assert get(Ledger.remote().add.remote("b")) == 1


@pytest.mark.parametrize("point", ["durable.write.before", "durable.sync.before"])
def test_an_actor_that_cannot_come_back_for_lack_of_room_comes_back_later(orders: pathlib.Path, point: str) -> None:
    ledger = Ledger.options(durable="host").remote()
    assert get(ledger.add.remote("a")) == 1
    order = faultpoints.order(orders, point, "enospc")
    kill(ledger)
    until(lambda: not order.exists(), "the next process to find the disk full")
    assert get(ledger.add.remote("b")) == 2
    assert get(ledger.read.remote()) == ["a", "b"]


def test_a_result_that_there_is_no_room_for_has_its_call_undone_and_nobody_blamed(orders: pathlib.Path) -> None:
    ledger = Ledger.remote()
    assert get(ledger.add.remote("a")) == 1
    faultpoints.order(orders, "durable.replace.before_rename", "enospc")
    with pytest.raises(CallAbortedError) as caught:
        get(ledger.add_and_show.remote("b"))
    words = str(caught.value)
    assert f"there is no room for its result in {folder_of(ledger)}: No space left on device" in words
    assert "had no effect" in words
    assert "(make room on that disk, and call again)" in words
    assert "ended" not in words
    assert get(ledger.read.remote()) == ["a"]
    assert len(get(ledger.add_and_show.remote("c"))) == OUT_OF_BAND_BYTES + 2
    kill(ledger)
    assert get(ledger.read.remote()) == ["a", "c"]
    from ipyactors.durable.record import Abort

    assert len(records(ledger, Abort)) == 1
