"""The head as a process, over real sockets."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths
from ipyactors.ground.quantities import to_units
from ipyactors.wire.head_messages import HeadToOwner, LeaseGranted, OwnerRegistered, RegisterOwner, WantLeases
from ipyactors.wire.node_messages import HeadToNode, RegisterNode, StartWorker
from ipyactors.wire.zmq_channel import ZmqChannel

LIMIT_S = 60.0

RUN = """
import sys
from ipyactors.ground.config import SessionPaths
from ipyactors.head.server import run
folder, alive_fd = sys.argv[1:]
run(SessionPaths("test", folder, folder), 0, int(alive_fd))
"""


class Peer:
    """One outbound socket to the head."""

    def __init__(self, context: zmq.Context[Any], process_id: bytes, words: Any, address: str) -> None:
        self.channel = ZmqChannel(context, process_id, words)
        self.channel.connect(ids.HEAD_ID, address)
        self._waiting: list[Any] = []

    def say(self, *messages: Any) -> None:
        assert self.channel.send(ids.HEAD_ID, messages)

    def hear(self) -> Any:
        """The next message of the head."""
        while not self._waiting:
            if not self.channel.has_arrived():
                assert self.channel._socket.poll(LIMIT_S * 1000), "the head did not answer"
            self._waiting += [message for _peer, messages in self.channel.receive() for message in messages]
        return self._waiting.pop(0)


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SessionPaths, subprocess.Popen[bytes], int]]:
    folder = str(tmp_path_factory.mktemp("h"))
    paths = SessionPaths("test", folder, folder)
    reading, writing = os.pipe()
    command = [sys.executable, "-c", RUN, folder, str(reading)]
    process = subprocess.Popen(command, pass_fds=[reading])
    os.close(reading)
    yield paths, process, writing
    process.kill()
    process.wait()


def test_a_lease_over_real_sockets_and_a_quiet_end(head: tuple[SessionPaths, subprocess.Popen[bytes], int]) -> None:
    paths, process, writing = head
    with zmq.Context() as context:
        agent = Peer(context, b"n1", HeadToNode, paths.head_address)
        driver = Peer(context, b"d1", HeadToOwner, paths.head_address)
        worker: Peer | None = None
        try:
            agent.say(RegisterNode("here", to_units({"CPU": 1})))
            driver.say(RegisterOwner("ipc://d1", is_driver=True, pid=1), WantLeases(1, to_units({"CPU": 1}), 1))
            assert isinstance(driver.hear(), OwnerRegistered)
            started = agent.hear()
            assert isinstance(started, StartWorker)
            worker = Peer(context, started.worker_id, HeadToOwner, paths.head_address)
            worker.say(RegisterOwner("ipc://w1", is_driver=False, pid=2))
            assert isinstance(worker.hear(), OwnerRegistered)
            granted = driver.hear()
            assert isinstance(granted, LeaseGranted)
            assert (granted.worker_id, granted.address) == (started.worker_id, "ipc://w1")
        finally:
            for peer in (agent, driver, worker):
                if peer is not None:
                    peer.channel.close()
    os.close(writing)
    assert process.wait(LIMIT_S) == 0
    assert not pathlib.Path(paths.head_address.removeprefix("ipc://")).exists()
