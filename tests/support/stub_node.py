"""An agent whose head and workers are stubs, and a driver that holds one: for tests of real processes.

A stub worker does what the class name in its order says. The stub head listens where a head would; what the agent
tells it is appended to ``head.seen`` and what a test puts into ``head.orders`` is passed on, both files of
MessagePack frames in the runtime folder's neighbour, the state folder.
"""

from __future__ import annotations

import os
import pathlib
import random
import select
import signal
import subprocess
import sys
import time

import msgspec
import zmq

from ipyactors.ground import ids
from ipyactors.ground.config import AgentConfig, SessionPaths, WorkerConfig
from ipyactors.launch.local import start_agent
from ipyactors.launch.sessions import prepare_session
from ipyactors.node.entry import Roles
from ipyactors.node.main import run_agent
from ipyactors.wire.marks import Marks
from ipyactors.wire.node_messages import HeadToNode, NodeToHead
from ipyactors.wire.specs import ActorSpec
from ipyactors.wire.zmq_channel import ZmqChannel

AGENT = "tests.support.stub_node:main"
CALLER = b"dcaller-"
_ROLES = Roles(worker="tests.support.stub_node:worker", head="tests.support.stub_node:head")


class Seen(msgspec.Struct, array_like=True):
    """A message from the agent, as the stub head noted it."""

    peer: bytes
    message: NodeToHead


def main() -> None:
    run_agent(_ROLES)


def broken_main() -> None:
    run_agent(Roles(worker="tests.support.stub_node:missing", head="tests.support.stub_node:head"))


def head(paths: SessionPaths, head_epoch: int, alive_fd: int) -> None:
    channel = ZmqChannel(zmq.Context(), ids.HEAD_ID, NodeToHead, bind=paths.head_address)
    orders = os.open(f"{paths.state_dir}/head.orders", os.O_RDWR)
    decoder = msgspec.msgpack.Decoder(tuple[bytes, HeadToNode])
    poll = select.poll()
    for descriptor in (alive_fd, channel.fileno()):
        poll.register(descriptor, select.POLLIN)
    pathlib.Path(f"{paths.state_dir}/head.{head_epoch}.pid").write_text(str(os.getpid()))
    while True:
        while batches := channel.receive():
            # Not before: an order can only go to an agent that has said hello.
            poll.register(orders, select.POLLIN)
            for peer, messages in batches:
                for message in messages:
                    note(f"{paths.state_dir}/head.seen", msgspec.msgpack.encode(Seen(peer, message)))
        events = dict(poll.poll())
        if alive_fd in events:
            return
        if orders in events:
            for frame in split(os.read(orders, 1 << 20)):
                node_id, order = decoder.decode(frame)
                assert channel.send(node_id, [order])


def worker(config: WorkerConfig, worker_id: bytes, actor: ActorSpec | None, _incarnation: int) -> None:
    # The listing itself uses a descriptor that is closed again when it is looked at.
    descriptors = [fd for fd in sorted(map(int, os.listdir("/proc/self/fd"))) if os.path.exists(f"/proc/self/fd/{fd}")]
    marks = Marks(config.paths.marks_path(worker_id))
    marks.mark(CALLER, 7)
    pathlib.Path(config.paths.process_address(worker_id).removeprefix("ipc://")).touch()
    what = actor.class_name if actor is not None else "sleep"
    print(f"worker does {what}", flush=True)
    match what:
        case "exit":
            os._exit(3)
        case "return":
            return
        case "raise":
            raise ValueError("a worker's last words")
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "describe":
            print("fds", descriptors)
            print("stdin", os.readlink("/proc/self/fd/0"), "group", os.getpgrp() == os.getpid())
            print("omp", os.environ.get("OMP_NUM_THREADS"))
            print("sigint", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            print("sigchld", signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL, "random", random.random())
            return
        case "family":
            # One child in the group, one that has run away into a session of its own.
            for own_session in (False, True):
                child = subprocess.Popen(["sleep", "600"], start_new_session=own_session)
                note(f"{config.paths.state_dir}/family", str(child.pid).encode())
    note(f"{config.paths.state_dir}/sleeping", worker_id)
    while True:
        time.sleep(600)


def driver() -> None:
    """Hold an agent until killed. Prints the agent's pid once it is ready; the session's name is the argument."""
    session = prepare_session(sys.argv[1])
    os.mkfifo(f"{session.paths.state_dir}/head.orders", 0o600)
    agent = start_agent(session, config_for(session.paths), role=AGENT)
    agent.wait_ready()
    print(agent.pid, flush=True)
    signal.pause()


def config_for(paths: SessionPaths) -> AgentConfig:
    return AgentConfig(paths, b"n-test--", {"CPU": 20_000}, os.getpid(), tuple(sys.path), os.getcwd())


def note(path: str, frame: bytes) -> None:
    """Append one frame in a single write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, len(frame).to_bytes(4, "little") + frame)
    os.close(descriptor)


def split(data: bytes) -> list[bytes]:
    """Return the frames in ``data``."""
    frames = []
    while len(data) >= 4 and len(data) >= 4 + (length := int.from_bytes(data[:4], "little")):
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames
