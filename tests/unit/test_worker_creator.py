"""What an actor's constructor writes: its creator has it before the head hears what became of the actor."""

from __future__ import annotations

import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
import zmq

from ipyactors.ground.ids import HEAD_ID
from ipyactors.wire.creator_messages import ActorToCreator, ConfirmOutput, OutputConfirmed
from ipyactors.wire.head_messages import ActorInitFailed, ActorReady, OwnerLost, OwnerToHead
from ipyactors.wire.worker_messages import OutputWritten
from ipyactors.wire.zmq_channel import ZmqChannel
from tests.unit.test_worker_process import Worker

cloudpickle.register_pickle_by_value(sys.modules[__name__])

_HEARD_WITHIN_MS = 60_000

#: The process asks with a limit, so as not to wait for a creator that is busy. Here it has to wait.
_PATIENT = "import ipyactors.owner.creator; ipyactors.owner.creator._HEARS_WITHIN_S = 60.0\n"


class World:
    """An actor's process, its creator and the head."""

    def __init__(self, folder: pathlib.Path, actor_class: type, first: str) -> None:
        address = f"ipc://{folder}/creator"
        self.worker = Worker(folder, actor_class, first=first, owner_address=address)
        self._context: zmq.Context[Any] = zmq.Context()
        self.creator = ZmqChannel(self._context, self.worker.caller, ActorToCreator, bind=address)
        self.head = ZmqChannel(self._context, HEAD_ID, OwnerToHead, bind=self.worker.paths.head_address)
        self._heard: dict[ZmqChannel, list[Any]] = {self.creator: [], self.head: []}

    def hear(self, channel: ZmqChannel, *kinds: type) -> Any:
        """Return the next message of these kinds; the creator gets no others."""
        heard = self._heard[channel]
        while not any(isinstance(message, kinds) for message in heard):
            poller = zmq.Poller()
            poller.register(channel._socket, zmq.POLLIN)
            assert poller.poll(_HEARD_WITHIN_MS), f"nothing comes. The worker's log:\n{self.worker.log.read_text()}"
            for _, messages in channel.receive():
                heard += messages
        while not isinstance(message := heard.pop(0), kinds):
            assert channel is not self.creator, message
        return message

    def heard_by_head(self, *kinds: type) -> list[Any]:
        """Return what has arrived at the head."""
        for _, messages in self.head.receive():
            self._heard[self.head] += messages
        return [message for message in self._heard[self.head] if isinstance(message, kinds)]

    def close(self) -> None:
        self.worker.close()
        self.creator.close()
        self.head.close()
        self._context.term()


@pytest.fixture
def create() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []
    with tempfile.TemporaryDirectory(prefix="ipyw", dir="/tmp") as folder:  # a socket's path must be short

        def create_one(actor_class: type, *, first: str = _PATIENT) -> World:
            worlds.append(World(pathlib.Path(folder), actor_class, first))
            return worlds[-1]

        yield create_one
        for world in worlds:
            world.close()


class Prints:
    def __init__(self) -> None:
        print("made")
        print("half", end="")


class Fails:
    def __init__(self) -> None:
        print("tried")
        raise ValueError("no")


class Silent:
    pass


@pytest.mark.parametrize(
    ("actor_class", "texts", "word"),
    [(Prints, ["made\n", "half\n"], ActorReady), (Fails, ["tried\n"], ActorInitFailed)],
)
def test_the_creator_has_it_before_the_head_hears(
    create: Callable[..., World], actor_class: type, texts: list[str], word: type
) -> None:
    world = create(actor_class)
    assert [world.hear(world.creator, OutputWritten).text for _ in texts] == texts
    world.hear(world.creator, ConfirmOutput)
    assert not world.heard_by_head(ActorReady, ActorInitFailed)
    world.creator.send(world.worker.worker_id, [OutputConfirmed()])
    world.hear(world.head, word)


def test_who_writes_nothing_asks_nothing(create: Callable[..., World]) -> None:
    world = create(Silent)
    world.hear(world.head, ActorReady)
    assert not world.creator.receive()


def test_a_creator_that_is_gone_is_not_waited_for(create: Callable[..., World]) -> None:
    world = create(Prints)
    world.hear(world.creator, ConfirmOutput, OutputWritten)
    world.head.send(world.worker.worker_id, [OwnerLost(world.worker.caller)])
    world.hear(world.head, ActorReady)


def test_a_creator_that_is_busy_is_not_waited_for_long(create: Callable[..., World]) -> None:
    world = create(Prints, first="import ipyactors.owner.creator; ipyactors.owner.creator._HEARS_WITHIN_S = 0.01\n")
    world.hear(world.head, ActorReady)
