"""From nothing to a live session on this machine: folders, agent, this process's part in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from ipyactors.ground import ids
from ipyactors.ground.config import AgentConfig
from ipyactors.ground.quantities import to_units
from ipyactors.launch.local import AgentProcess, start_agent
from ipyactors.launch.sessions import prepare_session
from ipyactors.owner import current
from ipyactors.owner.output import show_nothing
from ipyactors.owner.session import Session


def start_runtime(
    *,
    num_cpus: float | None,
    num_gpus: float | None,
    memory: float | None,
    resources: Mapping[str, float] | None,
    namespace: str | None,
    name: str | None,
    log_to_driver: bool,
) -> tuple[Session, AgentProcess]:
    """Start the processes and make this one the driver. What is not given is detected by the agent.

    Returns when the runtime takes work. Raises StartError; nothing is left behind then.
    """
    offered = {"CPU": num_cpus, "GPU": num_gpus, "memory": memory, **(resources or {})}
    given = {key: float(amount) for key, amount in offered.items() if amount is not None}
    prepared = prepare_session(name)
    config = AgentConfig(
        paths=prepared.paths,
        node_id=ids.new_node_id(),
        total={key: to_units({key: amount}).get(key, 0) for key, amount in given.items()},
        driver_pid=os.getpid(),
        sys_path=tuple(sys.path),
        cwd=os.getcwd(),
        namespace=namespace if namespace is not None else prepared.paths.name,
    )
    agent = start_agent(prepared, config)
    agent.wait_ready()
    session = Session(
        config.paths,
        ids.new_driver_id(),
        is_driver=True,
        namespace=config.namespace,
        node_id=config.node_id,
    )
    if not log_to_driver:
        session.on_output = show_nothing
    try:
        session.start()
    except BaseException:
        session.close()
        agent.stop()
        raise
    current.set_session(session)
    return session, agent
