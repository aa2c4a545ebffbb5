"""A user's own name for a call: whoever makes it again, from wherever, gets what the first one was answered."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import CallAbortedError, OptionError, ReplayDivergenceError, TaskCancelledError
from ipyactors.testing import LocalCluster
from tests.support.actors import Log
from tests.support.drivers import Driver, clean_folders
from tests.support.durable import get, kill
from tests.support.gates import Gate, Tally, until


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    ia.shutdown()
    with LocalCluster(num_cpus=2) as cluster:
        ia.init(address=cluster.address)
        yield cluster.address
        ia.shutdown()


pytestmark = pytest.mark.usefixtures("address")


@ia.remote(durable=True)
class Shop:
    def __init__(self) -> None:
        self.sold: list[Any] = []

    def sell(self, what: Any, gate: Any = None, tally: Any = None) -> int:
        self.sold.append(what)
        if tally is not None:
            tally.add()
        if gate is not None:
            gate.wait()
        return len(self.sold)

    def fail(self, what: Any) -> None:
        self.sold.append(what)
        raise ValueError(f"out of {what}")

    def give(self) -> list[Any]:
        return self.sold

    def die(self, tally: Tally) -> None:
        import os

        tally.add()
        os.kill(os.getpid(), 9)

    @ia.method(effect="readonly")
    def look(self) -> list[Any]:
        return self.sold


def test_a_call_with_a_key_is_made_once_through_crashes(tmp_path: pathlib.Path) -> None:
    shop = Shop.remote()
    sell = shop.sell.options(key="order 7")
    assert [get(sell.remote("tea")) for _ in range(3)] == [1, 1, 1]
    kill(shop)
    assert get(sell.remote("tea")) == 1
    get(shop.checkpoint())
    kill(shop)
    assert get(sell.remote("tea")) == 1
    assert get(shop.sell.options(key="order 8").remote("tea")) == 2
    with pytest.raises(ValueError, match="out of milk"):
        get(shop.fail.options(key="order 9").remote("milk"))
    kill(shop)
    with pytest.raises(ValueError, match="out of milk"):
        get(shop.fail.options(key="order 9").remote("milk"))
    assert get(shop.look.remote()) == ["tea", "tea", "milk"]


def test_one_key_is_one_call(tmp_path: pathlib.Path) -> None:
    shop = Shop.remote()
    assert get(shop.sell.options(key="k").remote("tea")) == 1
    for other in (shop.sell.options(key="k").remote("milk"), shop.give.options(key="k").remote()):
        with pytest.raises(ReplayDivergenceError) as caught:
            get(other)
        assert "has the key 'k' of an earlier call, of another method or with other arguments" in str(caught.value)
        assert "Nothing was run. Use another key." in str(caught.value)
    kill(shop)
    with pytest.raises(ReplayDivergenceError):
        get(shop.sell.options(key="k").remote("milk"))
    assert get(shop.look.remote()) == ["tea"]


def test_a_second_call_waits_for_the_first(tmp_path: pathlib.Path) -> None:
    shop = Shop.remote()
    gate, tally = Gate(tmp_path / "gate"), Tally(tmp_path / "tally")
    refs = [shop.sell.options(key="k").remote("tea", gate, tally) for _ in range(3)]
    until(tally.lines, "it runs")
    refs += [shop.sell.options(key="k").remote("tea", gate, tally) for _ in range(3)]
    kill(shop)
    gate.open()
    assert get(refs) == [1] * 6
    assert get(shop.look.remote()) == ["tea"]


def test_the_key_of_a_call_that_was_given_up_is_free(tmp_path: pathlib.Path) -> None:
    shop, tally = Shop.options(max_task_retries=0).remote(), Tally(tmp_path / "tally")
    for runs in (1, 2):
        with pytest.raises(CallAbortedError):
            get(shop.die.options(key="k").remote(tally))
        assert len(tally.lines()) == runs
    assert get(shop.look.remote()) == []


def test_keys_need_calls_that_are_recorded() -> None:
    shop = Shop.remote()
    with pytest.raises(OptionError, match="key"):
        shop.look.options(key="k").remote()
    with pytest.raises(OptionError, match="key"):
        Log.remote().read.options(key="k").remote()


@ia.remote(max_retries=5)
def sell_and_die_once(shop: Any, tally: Tally) -> int:
    import os

    position = ia.get(shop.sell.options(key="from a task").remote("tea"))
    if tally.add() == 1:
        os.kill(os.getpid(), 9)
    return int(position)


def test_from_a_task_that_is_tried_again_and_from_others(tmp_path: pathlib.Path) -> None:
    shop, tally = Shop.remote(), Tally(tmp_path / "tally")
    assert get(sell_and_die_once.remote(shop, tally)) == 1
    assert get(sell_and_die_once.remote(shop, tally)) == 1
    assert get(shop.sell.options(key="from a task").remote("tea")) == 1
    assert get(shop.look.remote()) == ["tea"]


_OTHER = """
ia.init(address={address!r})
shop = ia.get_actor("shop", namespace={namespace!r})
say("told", ia.get(shop.sell.options(key="order").remote("tea"), timeout=60))
say("other", ia.get(shop.sell.remote("milk"), timeout=60))
listen()
"""


def test_from_another_driver(address: str) -> None:
    shop = Shop.options(name="shop").remote()
    assert get(shop.sell.options(key="order").remote("tea")) == 1
    body = _OTHER.format(address=address, namespace=ia.get_runtime_context().namespace)
    for position in (2, 3):
        with clean_folders() as folders, Driver(folders, body) as driver:
            assert driver.hear("told") == "1"
            assert driver.hear("other") == str(position)
            driver.tell("go")
            assert driver.end()[0] == 0
        kill(shop)
    assert get(shop.sell.options(key="order").remote("tea")) == 1
    assert get(shop.look.remote()) == ["tea", "milk", "milk"]


@ia.remote(durable=True)
class Flaky:
    def __init__(self) -> None:
        self.tried = 0

    def sell(self, succeeds_at: int) -> int:
        self.tried += 1
        if self.tried < succeeds_at:
            raise ValueError(f"attempt {self.tried}")
        return self.tried


def test_a_call_with_a_key_is_tried_again_if_that_was_asked_for() -> None:
    flaky = Flaky.remote()
    sell = flaky.sell.options(key="k", max_task_retries=5, retry_exceptions=True)
    assert get(sell.remote(3)) == 3
    kill(flaky)
    assert get(sell.remote(3)) == 3
    get(flaky.checkpoint())
    kill(flaky)
    assert get(flaky.sell.options(key="k").remote(3)) == 3
    with pytest.raises(ValueError, match="attempt 5"):
        get(flaky.sell.options(key="other", max_task_retries=1, retry_exceptions=True).remote(9))
    with pytest.raises(ValueError, match="attempt 5"):
        get(flaky.sell.options(key="other", max_task_retries=-1, retry_exceptions=True).remote(9))


def test_other_arguments_are_told_however_deep(tmp_path: pathlib.Path) -> None:
    shop = Shop.remote()
    order = {"amount": 10, "lines": [{"tea": 1}] * 20, "tags": {"a", "b", "c"}}
    sell = shop.sell.options(key="k")
    assert get(sell.remote(order)) == 1
    equal = {"tags": {"c", "b", "a"}, "lines": [{"tea": 1} for _ in range(20)], "amount": 10}
    assert get(sell.remote(equal)) == 1
    with pytest.raises(ReplayDivergenceError, match="with other arguments"):
        get(sell.remote({**order, "amount": 99}))


def test_a_readonly_call_that_ends_each_process_is_given_up_alone() -> None:
    @ia.remote(durable=True)
    class Fragile(Flaky):
        @ia.method(effect="readonly")
        def look(self) -> None:
            import os

            os.kill(os.getpid(), 9)

    fragile = Fragile.remote()
    assert get(fragile.sell.remote(0)) == 1
    looked, sold = fragile.look.remote(), fragile.sell.remote(0)
    with pytest.raises(CallAbortedError, match="It was tried 4 times, and had no effect"):
        get(looked)
    assert get(sold) == 2


def test_who_cancels_a_keyed_call_does_not_cancel_it_for_others(tmp_path: pathlib.Path) -> None:
    @ia.remote(durable=True)
    class Payer:
        def __init__(self) -> None:
            self.paid = 0

        def hold(self, gate: Gate) -> None:
            gate.wait()

        def pay(self) -> Any:
            self.paid += 1
            return self.paid

    payer, gate = Payer.remote(), Gate(tmp_path / "gate")
    get(payer.pay.remote())
    held = payer.hold.remote(gate)
    first, second = payer.pay.options(key="rent").remote(), payer.pay.options(key="rent").remote()
    last = payer.pay.remote()
    ia.cancel(first)
    gate.open()
    get(held)
    with contextlib.suppress(TaskCancelledError):  # unless it has not come to that in time
        assert get(first) == 2
    assert get([second, last]) == [2, 3]
    kill(payer)
    assert get(payer.pay.options(key="rent").remote()) == 2
    assert get(payer.pay.remote()) == 4
