"""The peers, one file each. No peer is imported before it is measured: its import is part of its start."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from benchmarks.peers.base import Peer


class Entry(NamedTuple):
    """Where a peer's adapter is, and which distribution must be installed for it (empty: the standard library)."""

    name: str
    title: str
    adapter: str
    distribution: str

    def load(self) -> Peer:
        """Import the adapter and return one that has not started yet."""
        module, _, kind = self.adapter.partition(":")
        peer: Peer = getattr(importlib.import_module(f"benchmarks.peers.{module}"), kind)()
        return peer

    @property
    def remarks(self) -> dict[str, str]:
        """What a reader must know to compare, by metric. The adapter alone is imported, not the peer."""
        return dict(self.load().remarks)


OURS = "ipyactors"
LIMIT = "limit"

#: In the order of the table's columns.
ENTRIES = (
    Entry(OURS, "ipyactors", "ipyactors:IpyactorsPeer", ""),
    Entry("ray", "Ray", "ray:RayPeer", "ray"),
    Entry("dask", "Dask distributed", "dask:DaskPeer", "distributed"),
    Entry("ipyparallel", "ipyparallel", "ipyparallel:IpyparallelPeer", "ipyparallel"),
    Entry("xoscar", "xoscar", "xoscar:XoscarPeer", "xoscar"),
    Entry("loky", "loky", "executors:LokyPeer", "loky"),
    Entry("executor", "ProcessPoolExecutor", "executors:ProcessPoolExecutorPeer", ""),
    Entry("pool", "multiprocessing.Pool", "pool:PoolPeer", ""),
    Entry(LIMIT, "limit", "limit:LimitPeer", ""),
)

NAMES = tuple(entry.name for entry in ENTRIES)


def find_entry(name: str) -> Entry:
    """Return the entry of that name, which must be one of ``NAMES``."""
    return next(entry for entry in ENTRIES if entry.name == name)
