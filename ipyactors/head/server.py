"""The head's process: one socket, two clocks, the pipe that tells when its agent is gone, and a look at other agents.

Single-threaded. A turn takes what has arrived, lets the reactor decide, and sends to each peer one batch of all that
was decided for it; then the process sleeps until something arrives or the reactor's next look is due.

EOF on an inherited pipe is the death notice: the agent holds the writing end and never writes, so the reading end
becomes readable exactly when the agent is gone, however it went. A head without its agent is of no use and ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import select
import signal
import sys
import traceback
from typing import NoReturn

import zmq

from ipyactors.ground import ids
from ipyactors.ground.clock import Clock, SystemClock
from ipyactors.ground.config import SessionPaths
from ipyactors.head.nodes import workers_of
from ipyactors.head.out import Shelf
from ipyactors.head.reactor import Reactor
from ipyactors.head.settling import SETTLE_S
from ipyactors.head.shelf import DiskShelf
from ipyactors.head.tables import Tables
from ipyactors.head.watching import AgentWatch
from ipyactors.wire.census_messages import NodeToCensus, OwnerToCensus
from ipyactors.wire.channel import Channel
from ipyactors.wire.chaos_messages import OwnerToChaos
from ipyactors.wire.codec import Message
from ipyactors.wire.head_messages import OwnerToHead
from ipyactors.wire.kv_messages import OwnerToKv
from ipyactors.wire.node_messages import NodeToHead
from ipyactors.wire.store_messages import OwnerToStores, StoreToHead
from ipyactors.wire.zmq_channel import ZmqChannel

#: What may be said to the head.
WORDS = OwnerToHead | OwnerToStores | OwnerToCensus | OwnerToKv | OwnerToChaos | NodeToHead | StoreToHead | NodeToCensus


class Outbox:
    """Collects what the reactor wants said, one batch for each peer. See :class:`ipyactors.head.out.Out`."""

    def __init__(self, channel: Channel, agents: AgentWatch, shelf: Shelf) -> None:
        self._channel = channel
        self.shelf = shelf
        self.watch_agent = agents.add
        self._queued: dict[bytes, list[Message]] = {}

    def to_owner(self, owner_id: bytes, message: Message) -> None:
        """Queue ``message`` for a driver or worker."""
        self._queued.setdefault(owner_id, []).append(message)

    def to_node(self, node_id: bytes, message: Message) -> None:
        """Queue ``message`` for an agent."""
        self._queued.setdefault(node_id, []).append(message)

    def flush(self) -> None:
        """Send what is queued. Who is not connected is gone: its agent's report of that is on its way."""
        queued, self._queued = self._queued, {}
        for peer, messages in queued.items():
            self._channel.send(peer, messages)


class Server:
    """Turns and sleep; decides nothing."""

    def __init__(self, channel: Channel, tables: Tables, clock: Clock, shelf: Shelf) -> None:
        self._channel = channel
        self._clock = clock
        self._agents = AgentWatch(functools.partial(workers_of, tables))
        self._outbox = Outbox(channel, self._agents, shelf)
        self._reactor = Reactor(tables, self._outbox)

    def take_turn(self) -> float:
        """Act on all that has arrived; return how many seconds may be slept at most."""
        while True:
            batches = self._channel.receive()
            now_s, wall_s = self._clock.monotonic(), self._clock.wall()
            for peer, messages in batches:
                for message in messages:
                    self._reactor.on_message(peer, message, now_s, wall_s)
            for node_id in self._agents.take_lost(now_s):
                self._reactor.on_agent_gone(node_id, now_s, wall_s)
            next_turn_s = self._reactor.on_turn(now_s, wall_s)
            self._outbox.flush()
            # The descriptor is edge-triggered, and sending may have used the edge up.
            if not self._channel.has_arrived():
                pause_s = self._agents.pause_s(now_s)
                return next_turn_s if pause_s is None else min(next_turn_s, pause_s)

    def serve_until_eof(self, alive_fd: int) -> None:
        """Take turns until the agent's end of the pipe is closed."""
        poll = select.poll()
        for descriptor in (alive_fd, self._channel.fileno(), *self._agents.descriptors):
            poll.register(descriptor, select.POLLIN)
        while True:
            sleep_s = self.take_turn()
            ready = poll.poll(sleep_s * 1000.0)
            if any(descriptor == alive_fd for descriptor, _events in ready):
                return


def serve(paths: SessionPaths, head_epoch: int, alive_fd: int) -> None:
    """Be the session's head until its agent is gone. Leaves no socket file behind."""
    clock = SystemClock()
    tables = Tables(head_epoch, settle_at_s=clock.monotonic() + SETTLE_S)
    with zmq.Context() as context:
        channel = ZmqChannel(context, ids.HEAD_ID, WORDS, bind=paths.head_address)
        shelf = DiskShelf(pathlib.Path(paths.state_dir, "kv.sqlite"))
        with contextlib.closing(channel), contextlib.closing(shelf):
            Server(channel, tables, clock, shelf).serve_until_eof(alive_fd)
    # ZeroMQ removes the file of an earlier socket when it binds, but not its own when it closes.
    with contextlib.suppress(OSError):
        os.unlink(paths.head_address.removeprefix("ipc://"))


def run(paths: SessionPaths, head_epoch: int, alive_fd: int) -> NoReturn:
    """Be a session's head in a process of its own: never returns, and runs none of what a parent left for its exit.

    ``head_epoch`` is 0 for a session's first head and rises by one each time. ``alive_fd`` is the reading end of a
    pipe whose writing end only the agent has. A failure is written to standard error, and the exit code is 1; the
    agent then starts another head.
    """
    code = 0
    try:
        # The session's end reaches the head through its agent; Ctrl-C in a terminal is the driver's business.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        serve(paths, head_epoch, alive_fd)
    except BaseException:  # whatever it is, the process ends here and must say why
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
