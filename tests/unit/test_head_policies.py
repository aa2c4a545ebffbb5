"""The pure choices: where to place, whether to restart, how a wait reads."""

from __future__ import annotations

import pytest

from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.quantities import Units, to_units
from ipyactors.head import placement
from ipyactors.head.restarts import RestartPolicy, decide
from ipyactors.head.tables import Node


def node(name: str, total: dict[str, float], available: dict[str, float] | None = None) -> Node:
    return Node(name.encode(), name, to_units(total), to_units(total if available is None else available))


def cpus(amount: float) -> Units:
    return to_units({"CPU": amount})


def test_the_quietest_machine_is_chosen_among_those_with_room() -> None:
    nodes = [node("a", {"CPU": 4}, {"CPU": 1}), node("b", {"CPU": 4}, {"CPU": 3}), node("c", {"CPU": 8, "GPU": 1})]
    chosen = placement.choose_node(nodes, cpus(1))
    assert chosen is nodes[2]
    assert placement.choose_node(nodes, cpus(1), {b"c": cpus(8)}) is nodes[1]
    assert placement.choose_node(nodes, to_units({"GPU": 1})) is nodes[2]
    assert placement.choose_node(nodes, cpus(9)) is None


def test_a_demand_for_nothing_fits_even_where_cpus_are_overdrawn() -> None:
    overdrawn = Node(b"a", "a", cpus(1), {"CPU": -10_000})
    assert placement.choose_node([overdrawn], {}) is overdrawn


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        ({"CPU": 2}, "needs 2 CPU; free now: 0.5 CPU on host a (4 in all)"),
        ({"CPU": 2, "GPU": 1}, "needs 2 CPU, 1 GPU; free now: 0.5 CPU, 1 GPU on host a (4 CPU, 1 GPU in all)"),
        ({"CPU": 5}, "needs 5 CPU; no machine has that much (at most 4 CPU, 1 GPU)"),
    ],
)
def test_waits_are_explained(demand: dict[str, float], words: str) -> None:
    nodes = [node("a", {"CPU": 4, "GPU": 1}, {"CPU": 0.5, "GPU": 1})]
    assert placement.explain_waiting(nodes, to_units(demand)) == words


def test_a_wait_on_many_machines_stays_short() -> None:
    nodes = [node(name, {"CPU": 2}, {"CPU": 1}) for name in "abcde"]
    reason = placement.explain_waiting(nodes, cpus(2))
    assert reason.endswith("1 CPU on host c (2 in all), and too little on 2 more")
    assert placement.explain_waiting([], cpus(1)) == "needs 1 CPU; no machine has joined yet"


@pytest.mark.parametrize(
    ("max_restarts", "used", "is_restart"), [(0, 0, False), (1, 0, True), (1, 1, False), (-1, 10**6, True)]
)
def test_the_number_of_restarts(max_restarts: int, used: int, is_restart: bool) -> None:
    assert decide(RestartPolicy(max_restarts), used, (), 0.0).is_restart is is_restart


def test_the_intensity_guard_counts_a_window() -> None:
    policy = RestartPolicy(-1)
    at_s = [0.0, 10.0, 20.0, 30.0, 40.0]
    assert not decide(policy, 5, at_s, 59.0).is_restart
    assert "given up" in decide(policy, 5, at_s, 59.0).why
    assert decide(policy, 5, at_s, 60.0).is_restart


def test_a_policy_is_validated() -> None:
    with pytest.raises(OptionError, match="max_restarts=-2"):
        RestartPolicy(-2)
    with pytest.raises(OptionError, match="must be positive"):
        RestartPolicy(0, intensity=0)
