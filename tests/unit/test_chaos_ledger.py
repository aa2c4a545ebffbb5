"""What a process leaves of its orders: whatever was written is what the agent reads, at any moment of its death."""

from __future__ import annotations

import pathlib

import pytest

from ipyactors.wire import chaos_ledger
from ipyactors.wire.chaos_ledger import Ledger, read_ledger
from ipyactors.wire.chaos_words import Act, Deed, Moment, Order, Progress, Report


def order(order_id: int, times: int = 1, **fields: int) -> Order:
    return Order(order_id, Deed.KILL, Moment.DURING, b"a1", "Account", signal=9, times=times, **fields)


def test_a_process_that_had_no_orders_leaves_nothing(tmp_path: pathlib.Path) -> None:
    assert read_ledger(str(tmp_path / "none")) is None


def test_what_was_counted_and_done_is_there_and_what_is_over_is_not_left(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger(path)
    for one in (order(1), order(2, times=2), order(3)):
        ledger.arm(Progress(one))
    ledger.count((Progress(order(2, times=2), 5), Progress(order(3), 7)), tuple)
    acts = Act(order(1), 1, 1.5, "Account.deposit", is_deadly=True), Act(order(2, times=2), 1, 2.5)
    for act in acts:
        ledger.act(act)
    report = read_ledger(path)
    assert report == Report((Progress(order(2, times=2), 5, 1), Progress(order(3), 7, 0)), acts)


def test_orders_that_were_cleared_are_not_left(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger(path)
    for order_id in (1, 2, 3):
        ledger.arm(Progress(order(order_id)))
    ledger.clear((2,))
    report = read_ledger(path)
    assert report is not None
    assert [one.order.order_id for one in report.progress] == [1, 3]
    ledger.clear(())
    assert read_ledger(path) == Report()


def test_a_frame_that_was_cut_off_is_left_out_wherever_it_was(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    ledger.arm(Progress(order(1)))
    whole = path.read_bytes()
    ledger.act(Act(order(1), 1, 1.0))
    content = path.read_bytes()
    for size in range(len(whole), len(content)):
        path.write_bytes(content[:size])
        assert read_ledger(str(path)) == Report((Progress(order(1)),))


def test_one_that_has_grown_large_is_written_anew_with_what_is_left(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos_ledger, "_COMPACT_AT_BYTES", 300)
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    counting, quiet = Progress(order(1, times=0)), Progress(order(2))
    ledger.arm(counting)
    ledger.arm(quiet)
    for counted in range(1, 500):
        counting = Progress(order(1, times=0), counted)
        ledger.count((counting,), lambda left=counting: (left, quiet))
        assert read_ledger(str(path)) == Report((counting, quiet))
    assert path.stat().st_size < 500
    assert [one.name for one in tmp_path.iterdir()] == ["ledger"]
