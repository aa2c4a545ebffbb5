"""What the user's own code may do while results arrive: wait in a callback, let a generator go, build actors."""

from __future__ import annotations

import importlib
import logging
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from ipyactors import exceptions
from tests.support.gates import until


def test_a_callback_of_a_future_may_wait_for_other_results(shared_runtime: Any) -> None:
    ia = shared_runtime

    @ia.remote
    def double(x: int) -> int:
        return 2 * x

    found: queue.Queue[int] = queue.Queue()
    future = double.remote(1).future()
    future.add_done_callback(lambda done: found.put(ia.get(double.remote(done.result()))))
    assert found.get(timeout=60) == 4


def test_a_callback_that_takes_its_time_holds_up_nobody(shared_runtime: Any) -> None:
    ia = shared_runtime

    @ia.remote
    def double(x: int) -> int:
        return 2 * x

    release = threading.Event()
    double.remote(1).future().add_done_callback(lambda _: release.wait(60))
    try:
        assert ia.get(double.remote(2)) == 4
        assert double.remote(3).future().result(60) == 6
    finally:
        release.set()


class _Interrupting:
    """Interrupts at the end of the import of a module, in a callback: Python swallows what is raised there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._callback: object = None

    def find_spec(self, name: str, *_: object) -> None:
        if name == self._name:
            lock = importlib._bootstrap._module_locks[name]()  # type: ignore[attr-defined]
            self._callback = weakref.ref(lock, lambda _: signal.raise_signal(signal.SIGINT))


def test_an_interrupt_while_the_first_future_is_made_is_not_lost(
    shared_runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = shared_runtime.put(1)
    name = "ipyactors.owner.futures"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Interrupting(name), *sys.meta_path])
    with pytest.raises(KeyboardInterrupt):
        ref.future()
    assert ref.future().result(60) == 1


def test_a_listener_that_waits_is_told_so(shared_runtime: Any) -> None:
    ia = shared_runtime

    @ia.remote
    def task() -> int:
        return 1

    told: queue.Queue[str] = queue.Queue()

    def listen(_event: Any) -> None:
        if told.empty():
            with pytest.raises(exceptions.SessionError) as caught:
                ia.get(task.remote())
            told.put(str(caught.value))

    stop = ia.on_event(listen)
    try:
        ia.get(task.remote())
        assert "cannot wait for results" in told.get(timeout=60)
    finally:
        stop()
    assert ia.get(task.remote()) == 1


def test_a_generator_that_is_let_go_is_cancelled(runtime: Any) -> None:
    ia = runtime

    @ia.remote(num_cpus=2)
    def count() -> Any:
        number = 0
        while True:
            yield number
            number += 1

    items = count.remote()
    assert ia.get(next(items)) == 0
    del items
    until(lambda: ia.available_resources().get("CPU") == 2, "its CPUs are free")


def test_constructor_arguments_that_arrive_do_not_disturb_a_stream(shared_runtime: Any) -> None:
    ia = shared_runtime

    @ia.remote(num_cpus=0)
    def count(items: int) -> Any:
        yield from range(items)

    @ia.remote(num_cpus=0)
    def one() -> int:
        return 1

    @ia.remote
    class Pair:
        def __init__(self, left: int, right: int) -> None:
            self.sum = left + right

        def total(self) -> int:
            return self.sum

    for _ in range(20):
        items = count.remote(1000)
        pairs = [Pair.remote(one.remote(), one.remote()) for _ in range(2)]
        assert sum(1 for _ in items) == 1000
        assert ia.get([pair.total.remote() for pair in pairs]) == [2, 2]


DEFAULT_HANDLER = """
import os, signal, threading
import ipyactors as ia

signal.signal(signal.SIGINT, signal.SIG_DFL)
ia.init(num_cpus=1)
forever = ia.remote(lambda: __import__("time").sleep(1000)).remote()
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
ia.get(forever)
"""


def test_a_process_that_wants_to_die_of_an_interrupt_does(shared_runtime: Any) -> None:
    done = subprocess.run([sys.executable, "-c", DEFAULT_HANDLER], timeout=100, check=False)
    assert done.returncode == -signal.SIGINT


def test_what_is_not_done_at_shutdown_says_so_for_ever_after(runtime: Any) -> None:
    ia = runtime

    @ia.remote
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @ia.remote
    class Sleeper:
        def sleep(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

    done = sleep.remote(0)
    assert ia.get(done) == 0
    running = sleep.remote(1000)
    unfinished = [running, sleep.remote(running), Sleeper.remote().sleep.remote(1000)]
    ia.shutdown()
    for ref in unfinished:
        with pytest.raises(exceptions.SessionError, match=r"has ended \(shutdown\(\) was called\)"):
            ia.get(ref)
    assert ia.get(done) == 0, "a value that had arrived is not lost"


def test_what_remote_code_logs_appears(shared_runtime: Any, capfd: pytest.CaptureFixture[str]) -> None:
    ia = shared_runtime

    @ia.remote
    def careful() -> None:
        logging.getLogger("user").warning("careful now")

    ia.get(careful.remote())
    assert capfd.readouterr().err == "(careful) careful now\n"
