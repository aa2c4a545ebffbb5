"""What this machine and these libraries allow: the same questions, put to the bare mechanism behind each answer.

Nothing that sends pickled calls over pyzmq to another process can be faster than this; how far a system is above it
is what its bookkeeping costs. ``python -m benchmarks.peers.limit ADDRESS`` is the echo process.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from typing import Any, ClassVar

from benchmarks import work
from benchmarks.measure import Effort, sample
from benchmarks.peers.base import Peer

_BATCH = 64
_PING_BYTES = 150  # about what a call of a small function takes
_QUIT = b""


class LimitPeer(Peer):
    """pyzmq over ``ipc://``, one thread on each side; memcpy; fork."""

    remarks: ClassVar[dict[str, str]] = {
        "first_result_s": "start a Python that imports zmq",
        "idle_pss_mb": "two idle Pythons that have imported zmq",
        "task_p50_us": f"pyzmq ping-pong of {_PING_BYTES} bytes",
        "actor_p50_us": f"pyzmq ping-pong of {_PING_BYTES} bytes",
        "tasks_per_s": f"pickled calls, {_BATCH} in a frame, one worker",
        "actor_calls_per_s": f"pickled calls, {_BATCH} in a frame",
        "recovery_p50_ms": "fork, exit, wait",
        "retry_p50_ms": "fork, exit, wait",
        "create_ms": "fork, exit, wait for each",
        "first_put_gb_per_s": "memcpy to fresh pages",
        "put_gb_per_s": "memcpy to warm pages",
        "argument_ms": "memcpy to warm pages",
        "reference_ms": f"pyzmq ping-pong of {_PING_BYTES} bytes",
    }

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="limit")
        self._socket: Any = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._copies: dict[int, Any] = {}
        subprocess.run([sys.executable, "-c", "import zmq"], check=True)

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.send(_QUIT)
            self._socket.context.destroy(linger=1000)
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()
            child.wait()
        self._folder.cleanup()

    def first_result(self) -> None:
        """Do nothing: the interpreter that has started is the result."""

    def occupy_both_workers(self) -> None:
        for _ in range(2):
            code = "import sys, zmq; print(flush=True); sys.stdin.read()"
            child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._children.append(child)
            if child.stdout is not None:
                child.stdout.readline()  # it has imported zmq

    # -- calls ------------------------------------------------------------------------------------------------

    def call_task(self) -> None:
        socket = self._connect()
        socket.send(b"x" * _PING_BYTES)
        socket.recv()

    def call_tasks(self, count: int) -> None:
        socket = self._connect()
        sent = 0
        waiting = 0
        while sent < count:
            calls = [pickle.dumps(((number,), {}), 5) for number in range(sent, min(sent + _BATCH, count))]
            socket.send(pickle.dumps(calls, 5))
            sent += len(calls)
            waiting += 1
        for _ in range(waiting):
            for result in pickle.loads(socket.recv()):
                pickle.loads(result)

    def time_actor_calls(self, effort: Effort) -> list[float]:
        return sample(self.call_task, effort)

    def call_actor_often(self, count: int) -> None:
        self.call_tasks(count)

    # -- processes --------------------------------------------------------------------------------------------

    def time_recoveries(self, effort: Effort) -> list[float]:
        return sample(_fork_and_wait, effort)

    def time_retries(self, effort: Effort) -> list[float]:
        return sample(_fork_and_wait, effort)

    def create_actors(self, count: int) -> None:
        for _ in range(count):
            _fork_and_wait()

    # -- data -------------------------------------------------------------------------------------------------

    def put(self, array: Any) -> Any:
        copy = self._copies.get(array.nbytes)
        if copy is None:
            copy = self._copies[array.nbytes] = array.copy()
        else:
            copy[:] = array
        return copy

    def pass_array(self, array: Any) -> None:
        self.put(array)

    def pass_stored(self, stored: Any) -> float:
        self.call_task()  # a reference is as small as any argument
        return float(stored[0])

    def _connect(self) -> Any:
        if self._socket is None:
            import zmq

            address = f"ipc://{self._folder.name}/echo"
            self._children.append(
                subprocess.Popen([sys.executable, "-m", "benchmarks.peers.limit", address], stdin=subprocess.PIPE)
            )
            self._socket = zmq.Context().socket(zmq.DEALER)
            self._socket.set_hwm(0)
            self._socket.connect(address)
        return self._socket


def _fork_and_wait() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def serve(address: str) -> None:
    """Answer pings as they are and batches of pickled calls with pickled results, until told to quit."""
    import zmq

    socket = zmq.Context().socket(zmq.ROUTER)
    socket.set_hwm(0)
    socket.bind(address)
    while True:
        peer, frame = socket.recv_multipart()
        if frame == _QUIT:
            break
        if frame.startswith(b"x"):
            socket.send_multipart([peer, frame])
            continue
        results = []
        for call in pickle.loads(frame):
            args, kwargs = pickle.loads(call)
            results.append(pickle.dumps(work.echo(*args, **kwargs), 5))
        socket.send_multipart([peer, pickle.dumps(results, 5)])
    socket.context.destroy(linger=1000)


if __name__ == "__main__":
    serve(sys.argv[1])
