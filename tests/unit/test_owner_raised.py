"""What is said of where an exception was raised: which attempt, which incarnation of which actor."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ipyactors.owner import raised, values
from ipyactors.owner.actors import ActorClient, MethodCall
from ipyactors.owner.calls import NOTHING, TaskCall
from ipyactors.owner.templates import ANY_EXCEPTION, MethodTemplate, TaskTemplate
from ipyactors.wire.specs import Definition, Payload, RemoteError

ERROR = RemoteError("ValueError", "bad", "")
TASK = TaskTemplate(Definition(b"d", "train", Payload(b"")), "train", {})
METHOD = MethodTemplate("add", class_name="Counter")


def task(attempt: int = 0, **options: Any) -> TaskCall:
    call = TaskCall(dataclasses.replace(TASK, **options), b"t", NOTHING, (), None)
    for _ in range(attempt):
        call.take_retry()
    return call


def method(attempt: int = 0, name: str = "acct", incarnation: int = 1, **options: Any) -> MethodCall:
    client = ActorClient(b"a" * 16, "Counter", name)
    client.incarnation = incarnation
    call = MethodCall(dataclasses.replace(METHOD, **options), client, b"t", NOTHING, (), None)
    for _ in range(attempt):
        call.take_retry()
    return call


@pytest.mark.parametrize(
    ("call", "retryable", "place"),
    [
        (task(), False, ""),
        (task(1), False, "attempt 2 of 4 · task train"),
        (task(3, retry_on=ANY_EXCEPTION), True, "attempt 4 of 4 · task train"),
        (task(6, retry_on=ANY_EXCEPTION, max_retries=-1), True, "attempt 7 · task train"),
        (task(retry_on=b"x"), False, "attempt 1 of 4 (retry_exceptions does not name ValueError) · task train"),
        (method(), False, "actor acct, incarnation 1"),
        (method(name="", incarnation=0), False, "actor Counter, incarnation 0"),
        (method(1, max_task_retries=3, retry_on=b"x"), True, "attempt 2 of 4 · actor acct, incarnation 1"),
        (method(retry_on=b"x", is_durable=True), False, "attempt 1 of 1 · actor acct, incarnation 1"),
    ],
)
def test_the_place_is_told_where_there_is_something_to_tell(
    call: TaskCall | MethodCall, retryable: bool, place: str
) -> None:
    found = raised.placed(ERROR, call, retryable=retryable)
    assert found.place == place
    assert getattr(values.exception_of(found), "__notes__", []) == [place] * bool(place)


def test_a_cancelled_call_is_not_said_to_be_of_the_wrong_type() -> None:
    call = task(1, retry_on=b"x")
    call.cancelled = True
    assert raised.placed(ERROR, call, retryable=False).place == "attempt 2 of 4 · task train"
