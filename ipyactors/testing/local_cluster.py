"""Several machines on one: each a real agent with workers, folders and a store of its own, to be added and killed.

What a machine's end does to a program can thus be tried on a laptop. The machines share this computer's processors, so
what they are said to offer is for placing work and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import psutil

from ipyactors.api import keywords, offers, runtime
from ipyactors.ground.exceptions import SessionError
from ipyactors.launch.cluster import Machine, Offer, start_first, start_further
from ipyactors.owner import process

#: A machine that was asked to leave has this long until it is killed, unless something else is said.
LEAVES_WITHIN_S = 60.0

#: The head sees the end of a machine at once; more than this only passes if the head itself is stopped.
_NOTICED_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.005


class LocalNode:
    """One machine of a :class:`LocalCluster`."""

    def __init__(self, machine: Machine, offer: Mapping[str, Any]) -> None:
        self._machine = machine
        self.offer = dict(offer)
        """What it was said to offer."""

    @property
    def node_id(self) -> str:
        """Its id in hexadecimal, as in :func:`ipyactors.nodes` and ``get_runtime_context().get_node_id()``."""
        return self._machine.node_id.hex()

    @property
    def pid(self) -> int:
        """The pid of its agent."""
        return self._machine.agent.pid

    @property
    def store_dir(self) -> str:
        """The folder of its store."""
        return self._machine.config.paths.store_dir

    @property
    def is_alive(self) -> bool:
        """Whether its agent runs."""
        return self._machine.agent.is_alive()

    def __repr__(self) -> str:
        return f"<node {self.node_id}, agent {self.pid}, {'alive' if self.is_alive else 'gone'}, {self.offer}>"


class LocalCluster:
    """A session of several machines on this computer, to which drivers come with ``init(address=cluster.address)``.

    The arguments are what the first machine offers. Drivers live on it, and its end would be the end of the session, so
    it cannot be removed. The session ends with the block, with :meth:`close`, or with this process.

    >>> with LocalCluster(num_cpus=1) as cluster:
    ...     gpu = cluster.add_node(num_cpus=2, resources={"gpu_node": 1})
    ...     ipyactors.init(address=cluster.address)
    ...     ...
    ...     cluster.remove_node(gpu)

    Raises OptionError for a wrong amount, StartError if processes cannot be started.
    """

    @keywords.checked("LocalCluster")
    def __init__(
        self,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        memory: int | None = None,
        resources: Mapping[str, float] | None = None,
        object_store_memory: int | None = None,
    ) -> None:
        offer = _offer(num_cpus, num_gpus, memory, resources, object_store_memory)
        self._pid = os.getpid()
        self._first = start_first(Offer(**offer))
        self.nodes: list[LocalNode] = [LocalNode(self._first, offer)]
        """The machines that have not been removed, the first one first; some may have died."""
        self._removed: list[LocalNode] = []
        self._first.agent.wait_ready()

    @property
    def address(self) -> str:
        """What to give to ``init(address=...)``, in this process or another one of this user."""
        return self._first.config.paths.state_dir

    @keywords.checked("add_node")
    def add_node(
        self,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        memory: int | None = None,
        resources: Mapping[str, float] | None = None,
        object_store_memory: int | None = None,
    ) -> LocalNode:
        """Start another machine; return when work may be placed on it. Raises OptionError, StartError."""
        offer = _offer(num_cpus, num_gpus, memory, resources, object_store_memory)
        machine = start_further(self._first, Offer(**offer))
        machine.agent.wait_ready()
        node = LocalNode(machine, offer)
        self.nodes.append(node)
        return node

    def remove_node(self, node: LocalNode, graceful: bool = False, timeout_s: float = LEAVES_WITHIN_S) -> None:
        """Take a machine away; return when nothing of it is left on this computer.

        If this process is a driver of the cluster, it knows of the loss when this returns: what it submits then goes
        elsewhere at once.

        Without ``graceful`` its agent and all processes below it are killed at once, as by a power failure. With it,
        the machine announces that it leaves: nothing is started on it any more, the tasks that run there are finished,
        and the values in its store are moved to the first machine; then it goes. Actors there end with it in either
        case (those that may restart come back elsewhere), and so do values that its workers own. A machine that has
        not left after ``timeout_s`` is killed.

        Raises TypeError for what is no machine, ValueError for the first one, and for one that is not, or no longer,
        of this cluster.
        """
        if not isinstance(node, LocalNode):
            raise TypeError(
                f"remove_node takes a node that add_node returned, not {type(node).__name__}. Nothing was done."
            )
        if node in self._removed:
            raise ValueError(f"node {node.node_id}: was removed already. Nothing was done.")
        if node not in self.nodes:
            raise ValueError(f"node {node.node_id}: is not of this cluster. Nothing was done.")
        if node is self.nodes[0]:
            raise ValueError(
                "the first machine cannot be removed: the session would end with it. Nothing was done. Use close()."
            )
        self.nodes.remove(node)
        self._removed.append(node)
        agent = node._machine.agent
        if graceful:
            agent.terminate()
        if graceful and agent.wait(timeout_s) is not None:
            agent.stop()
        else:
            below = _tree(node.pid)
            agent.kill()
            for one in below:
                with contextlib.suppress(psutil.Error):
                    one.kill()
        self._await_noticed(node)

    def _await_noticed(self, node: LocalNode) -> None:
        """Wait until the driver in this process has heard of the loss, if there is one.

        The head tells of the loss before it answers that the machine is gone.
        """
        engine = runtime.live_engine() if self._is_driven_from_here() else None
        deadline = time.monotonic() + _NOTICED_WITHIN_S
        while engine is not None and time.monotonic() < deadline:
            alive = {one.node_id for one in engine.describe_cluster().nodes if one.is_alive}
            if node._machine.node_id not in alive:
                return
            time.sleep(_LOOK_AGAIN_S)

    def _is_driven_from_here(self) -> bool:
        """Return whether this process is a driver of the cluster."""
        session = process.session()
        return session is not None and session.is_driver and session.paths.state_dir == self.address

    def close(self) -> None:
        """End the session with all its machines; this process leaves it first, if it is a driver. May be repeated."""
        if os.getpid() != self._pid:
            return  # a fork has copies of descriptors, and no part in the cluster
        if self._is_driven_from_here():
            runtime.shutdown()
        for node in self.nodes:
            node._machine.agent.stop()

    def __enter__(self) -> Self:
        if not self.nodes[0].is_alive:
            raise SessionError("this cluster has ended. Make another one: LocalCluster().")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalCluster at {self.address}, {len(self.nodes)} nodes>"


def _offer(
    num_cpus: float,
    num_gpus: float,
    memory: int | None,
    resources: Mapping[str, float] | None,
    object_store_memory: int | None,
) -> dict[str, Any]:
    with offers.nothing_started():
        return offers.parse_offer(
            {
                "num_cpus": num_cpus,
                "num_gpus": num_gpus,
                "memory": memory,
                "resources": resources,
                "object_store_memory": object_store_memory,
            }
        )


def _tree(pid: int) -> Sequence[psutil.Process]:
    """Return all processes below one."""
    with contextlib.suppress(psutil.Error):
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found
    return []
