"""From nothing to a live session on this machine: folders, agent, this process's part in it.

The agent is started first, and what this process itself needs (ZeroMQ above all) is imported while the agent does
the same in its own interpreter: on two cores, that takes a third off the start. So this file imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ipyactors.ground import ids
from ipyactors.ground.config import AgentConfig
from ipyactors.ground.quantities import to_units
from ipyactors.launch.local import AgentProcess, start_agent
from ipyactors.launch.sessions import prepare_session

if TYPE_CHECKING:
    from ipyactors.engines.local import LocalEngine


def start_local_engine(
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    resources: Mapping[str, float] | None = None,
    namespace: str | None = None,
    session: str | None = None,
    log_to_driver: bool = True,
) -> LocalEngine:
    """Start the processes, make this one the driver, and return its engine.

    What is not given is detected by the agent. Returns when the runtime takes work. Raises StartError; nothing is
    left behind then.
    """
    offered = {"CPU": num_cpus, "GPU": num_gpus, "memory": memory, **(resources or {})}
    prepared = prepare_session(session)
    config = AgentConfig(
        paths=prepared.paths,
        node_id=ids.new_node_id(),
        # A zero is said, and not left out: it means that there is none, and nothing is to be detected.
        total={name: to_units({name: amount}).get(name, 0) for name, amount in offered.items() if amount is not None},
        driver_pid=os.getpid(),
        sys_path=tuple(sys.path),
        cwd=os.getcwd(),
        namespace=namespace if namespace is not None else prepared.paths.name,
    )
    agent = start_agent(prepared, config)
    try:
        return _join(config, agent, log_to_driver=log_to_driver)
    except BaseException:
        agent.stop()
        raise


def _join(config: AgentConfig, agent: AgentProcess, *, log_to_driver: bool) -> LocalEngine:
    from ipyactors.engines.local import LocalEngine
    from ipyactors.owner import process
    from ipyactors.owner.output import show_nothing
    from ipyactors.owner.session import Session

    agent.wait_ready()
    driver = Session(
        config.paths, ids.new_driver_id(), is_driver=True, namespace=config.namespace, node_id=config.node_id
    )
    if not log_to_driver:
        driver.on_output = show_nothing
    driver.watch_agent(
        agent.alive_fd,
        f"its agent, process {agent.pid}, ended unexpectedly, and all workers with it; its log: {agent.log}",
    )
    try:
        driver.start()
    except BaseException:
        driver.close()
        raise
    process.set_session(driver)
    return LocalEngine(driver, agent)
