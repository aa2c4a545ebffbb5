"""From nothing to a live session: folders, agents, this process's part in it; or into one that runs already.

The agent is started first, and what this process itself needs (ZeroMQ above all) is imported while the agent does
the same in its own interpreter: on two cores, that takes a third off the start. So this file imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ipyactors.ground import ids
from ipyactors.ground.config import SessionPaths, lineage_limit_bytes
from ipyactors.launch.address import SessionNote, find_session
from ipyactors.launch.cluster import Machine, Offer, start_first, start_further
from ipyactors.launch.local import AgentProcess
from ipyactors.launch.visiting import VisitedAgent
from ipyactors.wire.interrupts import deferred

if TYPE_CHECKING:
    from ipyactors.engines.local import LocalEngine
    from ipyactors.owner.session import Session


def start_local_engine(
    *,
    address: str | None = None,
    nodes: Sequence[Mapping[str, Any]] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    resources: Mapping[str, float] | None = None,
    object_store_memory: int | None = None,
    namespace: str | None = None,
    session: str | None = None,
    log_to_driver: bool = True,
    max_lineage_bytes: int | None = None,
    outlives_driver: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
) -> LocalEngine:
    """Start the processes, make this one the driver, and return its engine; with ``address``, come to those that run.

    ``nodes`` says what each machine offers, the first one's included; without it there is one, which offers what else
    is given. What is not given is detected by the agent. A session that ``outlives_driver`` goes on without it while
    it holds detached actors (:mod:`ipyactors.engines.returning`). ``meanwhile`` is called while the agents start.
    Returns when the runtime takes work. Raises StartError; nothing is left behind then. With ``address``, raises
    SessionError.
    """
    limit_bytes = lineage_limit_bytes(max_lineage_bytes)
    if address is not None:
        return visit(find_session(address), namespace, limit_bytes, log_to_driver=log_to_driver)
    offers = [Offer(**node) for node in nodes or ()]
    offers = offers or [Offer(num_cpus, num_gpus, memory, resources, object_store_memory)]
    machines: list[Machine] = []
    try:
        with deferred():  # an interrupt in the middle of it would leave an agent that nobody knows of
            first = start_first(
                offers[0],
                session=session,
                namespace=namespace,
                max_lineage_bytes=limit_bytes,
                outlives_driver=outlives_driver,
            )
            machines.append(first)
        for offer in offers[1:]:
            with deferred():
                machines.append(start_further(first, offer))
        return _drive(machines, meanwhile, log_to_driver=log_to_driver)
    except BaseException:
        for machine in machines:
            machine.agent.abandon()
        raise


def _drive(machines: Sequence[Machine], meanwhile: Callable[[], object], *, log_to_driver: bool) -> LocalEngine:
    """Make this process the driver of the session that it has started."""
    from ipyactors.engines.local import LocalEngine  # imports ZeroMQ, while the agents do the same

    meanwhile()
    for machine in machines:
        machine.agent.wait_ready()
    first = machines[0]
    driver = _make_driver(first.config.paths, first.node_id, first.config.namespace, first.config.max_lineage_bytes)
    _start_driver(driver, first.agent, log_to_driver=log_to_driver)
    further = [machine.agent for machine in machines[1:]]
    return LocalEngine(driver, first.agent, further=further, outlives_driver=first.config.outlives_driver)


def visit(note: SessionNote, namespace: str | None, max_lineage_bytes: int, *, log_to_driver: bool) -> LocalEngine:
    """Make this process one more driver of a session that another process has started. Raises SessionError."""
    from ipyactors.engines.local import LocalEngine

    agent = VisitedAgent(note)
    try:
        where = note.namespace if namespace is None else namespace
        driver = _make_driver(note.paths, note.node_id, where, max_lineage_bytes)
        _start_driver(driver, agent, log_to_driver=log_to_driver)
    except BaseException:
        agent.leave()
        raise
    return LocalEngine(driver, visited=agent)


def _make_driver(paths: SessionPaths, node_id: bytes, namespace: str, max_lineage_bytes: int) -> Session:
    from ipyactors.owner.session import Session

    return Session(
        paths,
        ids.new_driver_id(),
        is_driver=True,
        namespace=namespace,
        node_id=node_id,
        max_lineage_bytes=max_lineage_bytes,
    )


def _start_driver(driver: Session, agent: AgentProcess | VisitedAgent, *, log_to_driver: bool) -> None:
    from ipyactors.owner import process
    from ipyactors.owner.output import show_nothing

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
