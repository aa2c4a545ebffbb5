"""Checkpoints that the head keeps: its process may die at any moment, theirs too."""

from __future__ import annotations

import errno
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.durable.checkpoint_store import CheckpointStore, open_store
from ipyactors.owner.kv import HeadKv
from ipyactors.wire.kv_messages import MAX_VALUE_BYTES
from tests.support import anatomy
from tests.support.gates import LIMIT_S, until

ACTOR = bytes(range(16))

pytestmark = pytest.mark.usefixtures("runtime")


def own_kv() -> HeadKv:
    """The store as this process, a driver or a worker, uses it."""
    from ipyactors.api import runtime

    return HeadKv(runtime.engine().session)  # type: ignore[attr-defined]


def own_store() -> CheckpointStore:
    return open_store("kv", pathlib.Path("/nonexistent"), ACTOR, own_kv())


@ia.remote(max_retries=0)
def save_and_die(name: str, data: bytes) -> None:
    own_store().save(name, data)
    os.kill(os.getpid(), 9)


@ia.remote
def load(locator: str) -> bytes:
    return own_store().load(locator)


def get(ref: Any) -> Any:
    return ia.get(ref, timeout=LIMIT_S)


def test_a_value_outlives_heads() -> None:
    kv = own_kv()
    for n in range(3):
        kv.put("a", b"%d" % n)
        anatomy.head().kill()
        assert kv.get("a") == b"%d" % n
    kv.delete("a")
    anatomy.head().kill()
    assert kv.get("a") is None


def test_what_a_head_did_not_hear_is_said_to_the_next() -> None:
    """It is stopped when it is asked, and killed: it has heard nothing."""
    kv = own_kv()
    kv.put("gone", b"1")
    head = anatomy.head()
    head.suspend()
    with ThreadPoolExecutor(3) as threads:
        done = threads.submit(kv.put, "a", b"1"), threads.submit(kv.get, "gone"), threads.submit(kv.delete, "none")
        session = kv._session
        until(lambda: len(session.state.requests) == 3, "all three are asked")
        head.kill()
        assert [future.result(LIMIT_S) for future in done] == [None, b"1", None]
    assert kv.get("a") == b"1"


def test_many_threads_while_heads_die() -> None:
    kv = own_kv()

    def work(thread: int) -> None:
        for n in range(40):
            data = os.urandom(1 + 1000 * n)
            kv.put(f"{thread}", data)
            assert kv.get(f"{thread}") == data
            if n == 10 * thread:
                anatomy.head().kill()

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(work, thread) for thread in range(4)]:
            future.result(LIMIT_S)


def test_a_worker_saves_and_dies_and_another_loads() -> None:
    data = os.urandom(3_000_000)
    with pytest.raises(ia.exceptions.WorkerCrashedError):
        get(save_and_die.remote("one", data))
    locator = own_store().save("two", b"2")
    assert get(load.remote(locator.replace("two", "one"))) == data


def test_what_is_too_large_does_not_leave() -> None:
    kv = own_kv()
    kv.put("a", bytes(MAX_VALUE_BYTES))
    with pytest.raises(OSError, match=r"8,388,609.*checkpoint_store") as caught:
        kv.put("a", bytes(MAX_VALUE_BYTES + 1))
    assert caught.value.errno == errno.EFBIG
    assert kv.get("a") == bytes(MAX_VALUE_BYTES)


def test_a_disk_that_fails_under_the_head() -> None:
    kv = own_kv()
    file = pathlib.Path(anatomy.paths().state_dir, "kv.sqlite")
    file.mkdir()
    with pytest.raises(OSError, match=f"the head's key-value store: .*{file}"):
        kv.put("a", b"1")
    file.rmdir()
    kv.put("a", b"1")
    assert kv.get("a") == b"1"


def test_a_session_that_has_ended() -> None:
    kv = own_kv()
    kv.put("a", b"1")
    ia.shutdown()
    for act in (lambda: kv.put("a", b"2"), lambda: kv.get("a"), lambda: kv.delete("a")):
        with pytest.raises(OSError, match="has ended"):
            act()
