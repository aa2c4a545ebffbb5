"""The head's key-value store: what is asked, and what is answered."""

from __future__ import annotations

import errno

import pytest

from ipyactors.wire.kv_messages import MAX_KEY_BYTES, MAX_VALUE_BYTES, KvDelete, KvGet, KvPut, KvReply
from tests.support.head_scenario import HeadScenario

DRIVER, OTHER = b"d1------", b"d2------"


@pytest.fixture
def head() -> HeadScenario:
    head = HeadScenario()
    head.add_node()
    head.add_driver(DRIVER)
    head.add_driver(OTHER)
    head.forget()
    return head


def test_what_one_puts_another_gets_until_it_is_deleted(head: HeadScenario) -> None:
    head.say(DRIVER, KvPut(1, "a", b"1"), KvPut(2, "a", b"2"), KvPut(3, "empty", b""))
    head.expect(DRIVER, KvReply(1), KvReply(2), KvReply(3))
    head.say(OTHER, KvGet(1, "a"), KvGet(2, "empty"), KvGet(3, "b"))
    head.expect(OTHER, KvReply(1, b"2"), KvReply(2, b""), KvReply(3, None))
    head.say(DRIVER, KvDelete(4, "a"), KvDelete(5, "a"), KvGet(6, "a"))
    head.expect(DRIVER, KvReply(4), KvReply(5), KvReply(6, None))
    head.expect_silence()


def test_what_is_asked_again_by_the_next_head_is_answered_alike(head: HeadScenario) -> None:
    again = HeadScenario(head_epoch=1)
    again.shelf = head.shelf
    again.add_node()
    again.add_driver(DRIVER)
    again.forget()
    head.say(DRIVER, KvPut(1, "a", b"1"), KvDelete(2, "b"))
    head.forget()
    again.say(DRIVER, KvPut(1, "a", b"1"), KvDelete(2, "b"), KvGet(3, "a"))
    again.expect(DRIVER, KvReply(1), KvReply(2), KvReply(3, b"1"))


def test_a_value_may_be_as_long_as_the_limit_and_no_longer(head: HeadScenario) -> None:
    head.say(DRIVER, KvPut(1, "a", bytes(MAX_VALUE_BYTES)))
    head.expect(DRIVER, KvReply(1))
    head.say(DRIVER, KvPut(2, "a", bytes(MAX_VALUE_BYTES + 1)))
    reply = head.take_one(DRIVER, KvReply)
    assert (reply.request_id, reply.errno) == (2, errno.EFBIG)
    for words in ("8,388,608 bytes (8 MiB)", "8,388,609", "Nothing was kept", "checkpoint_store='file:///"):
        assert words in reply.error
    assert head.shelf.kept == {"a": bytes(MAX_VALUE_BYTES)}


@pytest.mark.parametrize("key", ["", "ü" * (MAX_KEY_BYTES // 2) + "x"])
def test_a_key_that_is_none(head: HeadScenario, key: str) -> None:
    head.say(DRIVER, KvPut(1, key, b""), KvGet(2, key), KvDelete(3, key))
    replies = head.take(DRIVER)
    assert all(isinstance(reply, KvReply) and "1 to 1,024 bytes" in reply.error for reply in replies)
    assert len(replies) == 3
    assert not head.shelf.kept


def test_a_disk_that_fails_is_told_of_and_the_head_goes_on(head: HeadScenario) -> None:
    head.say(DRIVER, KvPut(1, "a", b"1"))
    head.forget()
    head.shelf.error = OSError(errno.ENOSPC, "database or disk is full")
    head.say(DRIVER, KvPut(2, "a", b"2"), KvGet(3, "a"), KvDelete(4, "a"))
    words = "the head's key-value store: database or disk is full"
    head.expect(DRIVER, *(KvReply(n, error=words, errno=errno.ENOSPC) for n in (2, 3, 4)))
    head.shelf.error = None
    head.say(DRIVER, KvGet(5, "a"))
    head.expect(DRIVER, KvReply(5, b"1"))
