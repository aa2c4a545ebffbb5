"""Starts the machines of a session on this computer: the first one, with the head, and any number of further ones."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping

import msgspec

from ipyactors.ground import ids
from ipyactors.ground.config import MAX_LINEAGE_BYTES, AgentConfig
from ipyactors.ground.exceptions import StartError
from ipyactors.ground.quantities import Units, to_units
from ipyactors.launch.local import AgentProcess, start_agent
from ipyactors.launch.machines import prepare_machine
from ipyactors.launch.sessions import prepare_session
from ipyactors.wire import liveness


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What a machine offers; what is None is detected by its agent. ``memory`` and ``object_store_memory`` in bytes."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: Mapping[str, float] | None = None
    object_store_memory: int | None = None

    @property
    def total(self) -> Units:
        """The resources that are given, in units. A zero is said, and not left out: it means that there is none."""
        given = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": self.memory, **(self.resources or {})}
        return {name: to_units({name: amount}).get(name, 0) for name, amount in given.items() if amount is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """A machine that was started from this process: what its agent was told, and the agent."""

    config: AgentConfig
    agent: AgentProcess

    @property
    def node_id(self) -> bytes:
        """The machine's id."""
        return self.config.node_id


def start_first(
    offer: Offer,
    *,
    session: str | None = None,
    namespace: str | None = None,
    max_lineage_bytes: int = MAX_LINEAGE_BYTES,
    outlives_driver: bool = False,
) -> Machine:
    """Start a session with its first machine; do not wait until it is ready. Raises StartError.

    One that ``outlives_driver`` does so for as long as it holds detached actors.
    """
    prepared = prepare_session(session)
    config = AgentConfig(
        paths=prepared.paths,
        node_id=ids.new_node_id(),
        total=offer.total,
        driver_pid=os.getpid(),
        sys_path=tuple(sys.path),
        cwd=os.getcwd(),
        namespace=namespace if namespace is not None else prepared.paths.name,
        store_limit_bytes=offer.object_store_memory or 0,
        max_lineage_bytes=max_lineage_bytes,
        outlives_driver=outlives_driver,
    )
    return Machine(config, start_agent(prepared, config))


def start_further(first: Machine, offer: Offer) -> Machine:
    """Start another machine of a session that this process has started; do not wait until the head knows it.

    It ends with this process, as the first one does. Raises StartError.
    """
    identity = liveness.identify(first.agent.pid) if first.agent.is_alive() else None
    if identity is None:
        raise StartError(
            f"no machine was added to session {first.config.paths.name!r}: the session has ended. Nothing was started. "
            "Start another one: init(nodes=[...]) or LocalCluster()."
        )
    node_id = ids.new_node_id()
    prepared = prepare_machine(first.config.paths, node_id)
    config = msgspec.structs.replace(
        first.config,
        paths=prepared.paths,
        node_id=node_id,
        total=offer.total,
        store_limit_bytes=offer.object_store_memory or 0,
        joins=True,
        first_agent=tuple(identity),
    )
    return Machine(config, start_agent(prepared, config))
