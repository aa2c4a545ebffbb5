"""What a session's machines look like in tables: those of ``%cluster`` and of ``nodes()`` say it in the same words."""

from __future__ import annotations

from typing import Any

from ipyactors.api.cluster_report import ClusterReport
from ipyactors.api.reprs import nodes_as_table


def machine(node_id: str, host: str = "vm", **more: Any) -> dict[str, Any]:
    return {
        "NodeID": node_id,
        "Alive": True,
        "NodeManagerHostname": host,
        "Resources": {"CPU": 2.0, "memory": 25.28e9},
        "Available": {"CPU": 1.5, "memory": 25.28e9},
        "Workers": 3,
        "Leaving": False,
        **more,
    }


def lines(*machines: dict[str, Any]) -> list[list[str]]:
    table = nodes_as_table(machines)["text/plain"]
    report = ClusterReport(machines, {"alive": 2}, ("1 task: needs 3 CPU",))
    assert repr(report).startswith(f"{table}\n\n")
    assert "1 task: needs 3 CPU" in repr(report)
    assert report._repr_html_().startswith(nodes_as_table(machines)["text/html"])
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def test_both_say_what_is_held() -> None:
    assert lines(machine("6e01")) == [
        ["machine", "state", "CPUs held", "memory held", "workers"],
        ["vm", "alive", "0.5 of 2", "0 B of 25.3 GB", "3"],
    ]


def test_other_resources_are_shown_where_there_are_some() -> None:
    headings, row = lines(machine("6e01", Resources={"CPU": 2.0, "gpu": 3.0}, Available={"CPU": 2.0, "gpu": 1.0}))
    assert headings[-2:] == ["other resources held", "workers"]
    assert row[-2:] == ["gpu 2 of 3", "3"]


def test_machines_on_one_host_are_told_apart_by_the_beginning_of_their_ids() -> None:
    found = lines(machine("6e01234567890123"), machine("6e91234567890123", Alive=False), machine("6e5", "other"))
    assert [row[:2] for row in found[1:]] == [["vm 6e01234567", "alive"], ["vm 6e91234567", "lost"], ["other", "alive"]]
