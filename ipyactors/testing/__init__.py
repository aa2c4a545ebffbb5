"""For tests of programs that use ipyactors: clusters on one machine, faults on purpose, a checker of histories."""

from __future__ import annotations

from ipyactors.testing.history import Operation, Report, check_history
from ipyactors.testing.local_cluster import LocalCluster, LocalNode

__all__ = ["LocalCluster", "LocalNode", "Operation", "Report", "check_history"]
