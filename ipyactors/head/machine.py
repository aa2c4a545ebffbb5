"""A machine as the head knows it, and what is held on it. What is available is changed by :class:`Tables` alone."""

from __future__ import annotations

import dataclasses

from ipyactors.ground.quantities import UNITS_PER_ONE, Units
from ipyactors.wire.specs import NodeStatus


@dataclasses.dataclass(slots=True, eq=False)
class Claim:
    """Resources of one node that are spoken for. While ``is_lent``, its CPUs are free for others."""

    claim_id: int
    node_id: bytes
    demand: Units
    is_lent: bool = False

    @property
    def held(self) -> Units:
        """What is kept from the node at this moment."""
        if not self.is_lent:
            return self.demand
        return {name: amount for name, amount in self.demand.items() if name != "CPU"}

    @property
    def lendable(self) -> Units:
        """What a blocked worker lends: its CPUs, nothing else (memory and GPUs stay in use while it waits)."""
        return {"CPU": self.demand["CPU"]} if "CPU" in self.demand else {}


@dataclasses.dataclass(slots=True)
class Node:
    """A machine. ``idle`` maps idle task workers to when they became so (s, monotonic), longest idle first.

    ``unbound`` are leases decided for this node that wait for a worker; any worker that becomes free serves the
    first of them. After workers failed to start, none is started before ``no_start_before_s``. ``address`` and ``pid``
    are its agent's. ``is_leaving``: nothing is started there any more; ``is_dismissed``: its agent was told to go;
    ``is_injected``: ``ipyactors.chaos`` has it end.
    """

    node_id: bytes
    hostname: str
    total: Units
    available: Units
    workers: set[bytes] = dataclasses.field(default_factory=set)
    starting: set[bytes] = dataclasses.field(default_factory=set)
    idle: dict[bytes, float] = dataclasses.field(default_factory=dict)
    unbound: dict[int, None] = dataclasses.field(default_factory=dict)
    claims: dict[int, Claim] = dataclasses.field(default_factory=dict)
    start_failures: int = 0
    no_start_before_s: float = 0.0
    start_problem: str = ""
    address: str = ""
    pid: int = 0
    store_limit_bytes: int = 0
    is_leaving: bool = False
    is_dismissed: bool = False
    is_injected: bool = False

    @property
    def idle_limit(self) -> int:
        """How many idle workers are kept: one for each CPU, at least two."""
        return max(2, self.total.get("CPU", 0) // UNITS_PER_ONE)


@dataclasses.dataclass(frozen=True, slots=True)
class LostNode:
    """A machine that is gone: how it shows from now on, and how the loss was noticed."""

    status: NodeStatus
    detail: str
