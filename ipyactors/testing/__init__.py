"""For tests of programs that use ipyactors: clusters on one machine, faults on purpose."""

from __future__ import annotations

from ipyactors.testing.local_cluster import LocalCluster, LocalNode

__all__ = ["LocalCluster", "LocalNode"]
