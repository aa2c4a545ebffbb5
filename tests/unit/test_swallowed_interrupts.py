"""An interrupt that Python would drop: it is raised again, and what else cannot be raised is left to others."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from typing import Any

import pytest

from ipyactors.notebook.swallowed_interrupts import SwallowedInterrupts


@pytest.fixture
def left_to_others(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: found.append(unraisable.exc_type))
    return found


class Thing:
    """Weak references to it are possible."""


def drop(error: type[BaseException]) -> None:
    """Have ``error`` raised where nothing can be raised."""

    def callback(_: object) -> None:
        raise error

    thing = Thing()
    reference = weakref.ref(thing, callback)
    del thing
    assert reference() is None


def test_other_errors_are_left_to_the_hook_that_was_there(left_to_others: list[Any]) -> None:
    before = sys.unraisablehook
    swallowed = SwallowedInterrupts()
    swallowed.install()
    drop(ValueError)
    thread = threading.Thread(target=drop, args=(KeyboardInterrupt,))
    thread.start()
    thread.join()
    assert left_to_others == [ValueError, KeyboardInterrupt]
    swallowed.release()
    swallowed.release()
    assert sys.unraisablehook is before


def test_a_hook_that_goes_on_to_ours_is_left_and_served(left_to_others: list[Any]) -> None:
    swallowed = SwallowedInterrupts()
    swallowed.install()
    ours = sys.unraisablehook
    sys.unraisablehook = theirs = lambda unraisable: ours(unraisable)
    swallowed.release()
    assert sys.unraisablehook is theirs
    drop(KeyboardInterrupt)
    assert left_to_others == [KeyboardInterrupt]


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals are the main thread's")
def test_an_interrupt_in_a_callback_is_raised_again(left_to_others: list[Any]) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    swallowed = SwallowedInterrupts()
    swallowed.install()
    thing, never = Thing(), threading.Event()
    try:
        with pytest.raises(KeyboardInterrupt):
            reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
            del thing
            assert reference() is None
            never.wait(60)
    finally:
        swallowed.release()
        signal.signal(signal.SIGINT, handler)
    assert left_to_others == []
