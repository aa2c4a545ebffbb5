"""Words, batches, payloads and channels."""

from __future__ import annotations

import pickle
import threading
import traceback
import typing

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyactors.ground.exceptions import SerializationError
from ipyactors.wire import creator_messages, head_messages, node_messages, serialize, worker_messages
from ipyactors.wire.codec import Codec, ProtocolError, encode
from ipyactors.wire.memory_channel import Switchboard
from ipyactors.wire.specs import Payload
from ipyactors.wire.worker_messages import CallMethod, CallSucceeded, CancelCall, RunTask, WorkerToCaller

DOORS = {
    "head": head_messages.OwnerToHead | node_messages.NodeToHead,
    "owner outbound": head_messages.HeadToOwner
    | node_messages.NodeToProcess
    | worker_messages.WorkerToCaller
    | worker_messages.OwnerToBorrower
    | creator_messages.CreatorToActor,
    "owner inbound": worker_messages.CallerToWorker | worker_messages.BorrowerToOwner | creator_messages.ActorToCreator,
    "agent": node_messages.ProcessToNode,
    "agent outbound": node_messages.HeadToNode,
    "zygote": node_messages.ZygoteToAgent,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_admits_each_of_its_words_and_no_two_share_a_tag(door: str) -> None:
    words = typing.get_args(DOORS[door]) or (DOORS[door],)
    tags = [word.__struct_config__.tag for word in words]
    assert len(set(tags)) == len(tags)
    Codec(DOORS[door])


def test_a_word_of_another_door_is_refused_before_anything_is_acted_upon() -> None:
    frame = encode([CallSucceeded(1), CancelCall(2)])
    with pytest.raises(ProtocolError):
        Codec(WorkerToCaller).decode(frame)


@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error_and_nothing_else(noise: bytes) -> None:
    codec = Codec(DOORS["owner inbound"])
    try:
        decoded = codec.decode(noise)
    except ProtocolError:
        return
    assert all(isinstance(word, msgspec.Struct) for word in decoded)


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.binary(max_size=100), st.text(max_size=20)), max_size=20))
def test_batches_arrive_as_they_were_sent(calls: list[tuple[int, bytes, str]]) -> None:
    messages = [CallMethod(seq, b"t" * 16, name, Payload(data)) for seq, data, name in calls]
    assert Codec(DOORS["owner inbound"]).decode(encode(messages)) == messages


def test_text_that_is_not_unicode_is_escaped_and_takes_nothing_else_with_it() -> None:
    messages = [
        RunTask(1, b"t" * 16, b"f", "fine", Payload(b"\xff\x00")),
        RunTask(2, b"t" * 16, b"f", "na\ud800me", Payload(b"\xff", (memoryview(b"large"),)), attempt=3),
    ]
    first, second = Codec(DOORS["owner inbound"]).decode(encode(messages))
    assert first == messages[0]
    assert (second.name, second.args.data, bytes(second.args.buffers[0]), second.attempt) == (
        r"na\ud800me",
        b"\xff",
        b"large",
        3,
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5) | st.tuples(inner, inner),
)


@given(VALUES)
def test_values_survive(value: object) -> None:
    assert serialize.loads(serialize.dumps(value)) == value


@given(st.lists(VALUES, max_size=4).map(tuple), st.dictionaries(st.text(), VALUES, max_size=3))
def test_arguments_survive(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    assert serialize.loads(serialize.dumps_call(args, kwargs, what="f")) == (args, kwargs)


def test_a_large_array_travels_beside_the_pickle_and_arrives_read_only() -> None:
    array = np.arange(100_000.0)
    payload = serialize.dumps({"x": array})
    assert len(payload.data) < 1_000
    assert [view.nbytes for view in payload.buffers] == [array.nbytes]
    (message,) = Codec(DOORS["owner inbound"]).decode(encode([RunTask(1, b"t" * 16, b"d" * 16, "f", payload)]))
    arrived = serialize.loads(message.args)["x"]
    np.testing.assert_array_equal(arrived, array)
    assert not arrived.flags.writeable


def test_a_small_array_arrives_as_the_receivers_own() -> None:
    arrived = serialize.loads(serialize.dumps(np.arange(10)))
    arrived[0] = 5
    assert arrived[0] == 5


def test_an_array_that_is_not_contiguous_survives() -> None:
    array = np.arange(1_000_000.0).reshape(1000, 1000)[:, ::2]
    np.testing.assert_array_equal(serialize.loads(serialize.dumps(array)), array)


class _Owner:
    def __init__(self) -> None:
        self.fine = 1
        self.parts = {"guard": [threading.Lock()]}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": 1, "guard": threading.Lock()}, ("the value", "['guard']")),
        (_Owner(), ("the value", "attribute 'parts'", "['guard']", "[0]")),
    ],
)
def test_what_cannot_be_pickled_is_named_with_the_path_to_it(value: object, path: tuple[str, ...]) -> None:
    with pytest.raises(SerializationError) as caught:
        serialize.dumps(value, what="the value")
    assert caught.value.path == path
    assert "lock" in str(caught.value)


class _Refusing:
    def __getstate__(self) -> object:
        raise LookupError("my own reason")


@pytest.mark.parametrize("value", [threading.Lock(), (x for x in ()), [[threading.Lock()]]])
def test_the_pickler_s_own_lines_are_not_shown(value: object) -> None:
    with pytest.raises(SerializationError) as caught:
        serialize.dumps(value)
    assert "cloudpickle" not in "".join(traceback.format_exception(caught.value))
    assert "another exception" not in "".join(traceback.format_exception(caught.value))


def test_the_line_of_the_user_s_own_pickling_code_is_shown() -> None:
    with pytest.raises(SerializationError, match="my own reason") as caught:
        serialize.dumps([_Refusing()])
    cause = caught.value.__cause__
    assert isinstance(cause, LookupError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)] == ["__getstate__"]


def test_a_captured_variable_that_cannot_be_pickled_is_named() -> None:
    guard = threading.Lock()

    def f() -> bool:
        return guard.locked()

    with pytest.raises(SerializationError, match=r"variable 'guard' \(from the enclosing function\) is a lock"):
        serialize.dumps(f, what="f")


def test_an_arg_slot_is_small_and_survives() -> None:
    slot = pickle.loads(pickle.dumps(serialize.ArgSlot(3), 5))
    assert slot.index == 3


def test_the_switchboard_delivers_when_told_and_can_cut() -> None:
    board = Switchboard()
    server = board.channel(b"wserver1", DOORS["owner inbound"], bind="mem://s")
    client = board.channel(b"dclient1", DOORS["owner outbound"])
    client.connect(b"wserver1", "mem://s")
    assert client.send(b"wserver1", [CancelCall(1)])
    assert server.receive() == []
    board.deliver()
    assert server.receive() == [(b"dclient1", [CancelCall(1)])]
    assert server.send(b"dclient1", [CallSucceeded(1)])
    board.drop = lambda _sender, receiver: receiver == b"dclient1"
    server.send(b"dclient1", [CallSucceeded(2)])
    board.deliver()
    assert client.receive() == [(b"wserver1", [CallSucceeded(1)])]
    assert not client.send(b"wnobody1", [CancelCall(1)])
