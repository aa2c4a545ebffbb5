"""Leader and followers: whoever waits reads, and nobody is forgotten. Real threads, a pipe as the socket."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import operator
import os
import signal
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ipyactors.wire import leader
from ipyactors.wire.interrupts import deferred
from ipyactors.wire.leader import LeaderFollowers
from tests.support.gates import until

GENEROUS_S = 30.0


class Mailbox:
    """Counts the bytes that arrive through a pipe; edge-triggered on purpose: it reads all of them at each turn."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.seen = 0
        self.turned_by: set[str] = set()
        self.lock = threading.Lock()
        self.leader = LeaderFollowers(self.turn, [self.reader], "test")
        self.leader.start()

    def turn(self) -> float | None:
        with self.lock:
            self.turned_by.add(threading.current_thread().name)
            with contextlib.suppress(BlockingIOError):
                self.seen += len(os.read(self.reader, 65536))
        return None

    def post(self, count: int = 1) -> None:
        os.write(self.writer, b"x" * count)

    def close(self) -> None:
        self.leader.close()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


def test_the_standby_thread_reads_when_nobody_waits(box: Mailbox) -> None:
    read = threading.Event()
    turn = box.turn

    def noting() -> float | None:
        pause = turn()
        if box.seen:
            read.set()
        return pause

    box.leader._turn = noting
    box.post()
    assert read.wait(GENEROUS_S)


def test_the_waiting_thread_reads_itself(box: Mailbox) -> None:
    threading.Timer(0.05, box.post).start()
    assert box.leader.wait(lambda: box.seen >= 1, GENEROUS_S)
    assert threading.current_thread().name in box.turned_by


def test_a_wait_ends_at_its_timeout(box: Mailbox) -> None:
    assert not box.leader.wait(lambda: False, 0.02)
    assert not box.leader.wait(lambda: False, 0)


def test_many_waiting_threads_are_all_served(box: Mailbox) -> None:
    results: list[bool] = []

    def wait_for(count: int) -> None:
        results.append(box.leader.wait(lambda: box.seen >= count, GENEROUS_S))

    threads = [threading.Thread(target=wait_for, args=(count,)) for count in range(1, 21)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        box.post()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert results == [True] * 20


def test_the_lead_changes_hands_many_times_and_nothing_is_missed(box: Mailbox) -> None:
    rounds, threads_at_once = 300, 4
    answered = [0] * threads_at_once

    def run(index: int) -> None:
        for _ in range(rounds):
            before = box.seen
            box.post()
            assert box.leader.wait(lambda before=before: box.seen > before, GENEROUS_S)
            answered[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(threads_at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert answered == [rounds] * threads_at_once


def test_when_waits_are_ended_all_return_and_reading_goes_on(box: Mailbox) -> None:
    results: list[bool] = []

    def wait() -> None:
        results.append(box.leader.wait(lambda: False, GENEROUS_S))

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: len(box.leader._followers) == len(threads) - 1, "one leads and the others follow")
    box.leader.end_waits()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert results == [False] * len(threads)
    assert not box.leader.wait(lambda: False)
    box.post()
    until(lambda: box.seen == 1, "the standby thread reads")


def test_wake_makes_a_sleeping_leader_look_again(box: Mailbox) -> None:
    changed: list[bool] = []

    def change() -> None:
        changed.append(True)
        box.leader.wake()

    threading.Timer(0.05, change).start()
    assert box.leader.wait(lambda: bool(changed), GENEROUS_S)


def test_an_interrupt_ends_a_wait_and_leaves_it_usable(box: Mailbox) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        box.leader.wait(lambda: False, GENEROUS_S)
    box.post()
    assert box.leader.wait(lambda: box.seen >= 1, GENEROUS_S)


def _interrupted_before(sleep: Callable[[], Any]) -> Any:
    """Have SIGINT come when ``sleep`` is about to: no Python code, and so no handler, runs between the two."""
    come = functools.partial(getattr(ctypes.CDLL(None), "raise"), signal.SIGINT)
    return list(map(operator.call, (come, sleep)))[1]


def test_an_interrupt_just_before_the_leader_sleeps_is_not_held_up() -> None:
    lone = LeaderFollowers(lambda: None, [], "test")  # not started: no standby thread
    poll = lone._new_poll()
    lone._poll = types.SimpleNamespace(  # type: ignore[assignment]
        poll=lambda timeout: _interrupted_before(functools.partial(poll.poll, timeout))
    )
    woken = threading.Event()
    rescue = threading.Timer(GENEROUS_S, lambda: (woken.set(), lone.wake()))
    rescue.start()
    with pytest.raises(KeyboardInterrupt):
        lone.wait(woken.is_set)
    rescue.cancel()
    assert not woken.is_set(), "it slept on, and the interrupt came only with what it waited for"
    lone.close()


def test_an_interrupt_just_before_a_follower_sleeps_is_not_held_up(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_uninterrupted = leader._Follower.wait

    def wait(self: Any, timeout_s: float | None) -> None:
        if (
            threading.current_thread() is not threading.main_thread()
        ):  # it may follow the standby thread before it leads
            wait_uninterrupted(self, timeout_s)
            return
        timeout = -1 if timeout_s is None else timeout_s
        _interrupted_before(functools.partial(self._latch.acquire, timeout=timeout))

    monkeypatch.setattr(leader._Follower, "wait", wait)
    is_over = threading.Event()
    leading = threading.Thread(target=box.leader.wait, args=(is_over.is_set,))
    leading.start()
    until(lambda: box.leader._leader == leading.ident, "the other thread leads")
    rescue = threading.Timer(GENEROUS_S, box.post)
    rescue.start()
    with pytest.raises(KeyboardInterrupt):
        box.leader.wait(lambda: box.seen > 0)
    rescue.cancel()
    is_over.set()
    box.leader.end_waits()
    leading.join()
    assert box.seen == 0, "it slept on, and the interrupt came only with what it waited for"


def test_an_interrupt_in_a_deferred_section_comes_at_its_end() -> None:
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117 - the outer one is what is tested
        with deferred() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.came
            with deferred():
                signal.raise_signal(signal.SIGINT)
            reached.append("the end")
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_deferred_section_on_another_thread_does_nothing() -> None:
    handlers: list[object] = []

    def run() -> None:
        with deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_an_interrupt_whose_handler_does_not_raise_leaves_the_wait_as_it_was(box: Mailbox) -> None:
    main = threading.main_thread().ident
    assert main is not None
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        box.post()

    before = signal.signal(signal.SIGINT, note)
    try:
        threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
        assert box.leader.wait(lambda: box.seen >= 1, GENEROUS_S)
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT]


def test_a_signal_handler_may_wait_while_its_thread_leads(box: Mailbox) -> None:
    main = threading.main_thread().ident
    assert main is not None
    answered: list[bool] = []

    def wait_inside(_number: int, _frame: object) -> None:
        box.post()
        answered.append(box.leader.wait(lambda: box.seen >= 1, GENEROUS_S))
        threading.Timer(0.05, box.post).start()

    before = signal.signal(signal.SIGUSR1, wait_inside)
    try:
        threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGUSR1)).start()
        assert box.leader.wait(lambda: box.seen >= 2, GENEROUS_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answered == [True]


def test_a_storm_of_interrupts_with_followers_leaves_everything_usable(box: Mailbox) -> None:
    main = threading.main_thread().ident
    assert main is not None
    over = threading.Event()

    def follow() -> None:
        while not over.is_set():
            box.leader.wait(over.is_set, 0.001)

    def storm() -> None:
        while not over.is_set():
            box.post()
            signal.pthread_kill(main, signal.SIGINT)

    threads = [threading.Thread(target=follow) for _ in range(3)] + [threading.Thread(target=storm)]
    interrupts = 0

    def count(_number: int, _frame: object) -> None:
        nonlocal interrupts
        interrupts += 1

    before = signal.signal(signal.SIGINT, count)
    try:
        for thread in threads:
            thread.start()
        while interrupts < 3000:
            seen = box.seen
            assert box.leader.wait(lambda seen=seen: box.seen > seen, GENEROUS_S)
    finally:
        over.set()
        for thread in threads:
            thread.join(GENEROUS_S)
        signal.signal(signal.SIGINT, before)
    assert not any(thread.is_alive() for thread in threads)
