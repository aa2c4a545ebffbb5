"""The pure choices: where to place, whether to restart, how a wait reads."""

from __future__ import annotations

import pytest

from ipyactors.ground.exceptions import OptionError
from ipyactors.ground.quantities import Units, to_units
from ipyactors.head import placement
from ipyactors.head.machine import Claim, Node
from ipyactors.head.restarts import RestartPolicy, decide


def node(name: str, total: dict[str, float], available: dict[str, float] | None = None) -> Node:
    return Node(name.encode(), name, to_units(total), to_units(total if available is None else available))


def cpus(amount: float) -> Units:
    return to_units({"CPU": amount})


def test_machines_are_filled_to_half_one_after_the_other_and_then_evenly() -> None:
    nodes = [node("a", {"CPU": 4}), node("b", {"CPU": 8, "GPU": 1})]
    order = ""
    while chosen := placement.choose_node(nodes, cpus(1)):
        order += chosen.hostname
        chosen.available["CPU"] -= 10_000
    assert order == "aa" + "bbbb" + "bab" + "bab"
    assert placement.choose_node(nodes, to_units({"GPU": 1})) is nodes[1]
    assert placement.choose_node(nodes, to_units({"GPU": 2})) is None


def test_what_is_set_aside_counts_as_taken() -> None:
    nodes = [node("a", {"CPU": 4}), node("b", {"CPU": 4})]
    assert placement.choose_node(nodes, cpus(1), {b"a": cpus(2)}) is nodes[1]
    assert placement.choose_node(nodes, cpus(4), {b"a": cpus(1)}) is nodes[1]
    assert placement.choose_node(nodes, cpus(4), {b"a": cpus(1), b"b": cpus(1)}) is None


def test_the_scarcest_resource_says_how_full_a_machine_is() -> None:
    nodes = [node("a", {"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1}), node("b", {"CPU": 2, "GPU": 4})]
    assert placement.choose_node(nodes, to_units({"CPU": 1, "GPU": 1})) is nodes[1]
    assert placement.choose_node(nodes, cpus(1)) is nodes[0]


def test_the_machine_that_has_the_data_is_preferred_where_it_has_room() -> None:
    nodes = [node("a", {"CPU": 4}), node("b", {"CPU": 4}, {"CPU": 1}), node("c", {"CPU": 4}, {"CPU": 0})]
    assert placement.choose_node(nodes, cpus(1), prefer=b"b") is nodes[1]
    assert placement.choose_node(nodes, cpus(2), prefer=b"b") is nodes[0]
    assert placement.choose_node(nodes, cpus(1), {b"b": cpus(1)}, prefer=b"b") is nodes[0]
    assert placement.choose_node(nodes, cpus(1), prefer=b"c") is nodes[0]


def test_who_asks_for_nothing_goes_where_least_is_going_on() -> None:
    nodes = [node("a", {"CPU": 1}), node("b", {"CPU": 4})]
    order = ""
    for number in range(5):
        chosen = placement.choose_node(nodes, {})
        assert chosen is not None
        order += chosen.hostname
        chosen.claims[number] = Claim(number, chosen.node_id, {})
    assert order == "abbbb"


def test_a_demand_for_nothing_fits_even_where_cpus_are_overdrawn() -> None:
    overdrawn = Node(b"a", "a", cpus(1), {"CPU": -10_000})
    assert placement.choose_node([overdrawn], {}) is overdrawn


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        ({"CPU": 2}, "needs 2 CPU; free now: 0.5 CPU on host a (4 in all)"),
        ({"CPU": 2, "GPU": 1}, "needs 2 CPU, 1 GPU; free now: 0.5 CPU, 1 GPU on host a (4 CPU, 1 GPU in all)"),
        ({"CPU": 5}, "needs 5 CPU; no machine has that much, and the one that comes nearest has 4 CPU, 1 GPU"),
    ],
)
def test_waits_are_explained(demand: dict[str, float], words: str) -> None:
    nodes = [node("a", {"CPU": 4, "GPU": 1}, {"CPU": 0.5, "GPU": 1})]
    assert placement.explain_waiting(nodes, to_units(demand)) == words


@pytest.mark.parametrize(
    ("demand", "nearest"),
    [
        ({"CPU": 1, "far": 2}, {"CPU": 2, "far": 1}),
        ({"CPU": 8, "head": 1}, {"CPU": 4, "head": 1}),
        ({"CPU": 3, "far": 1}, {"CPU": 2, "far": 1}),
        ({"gpu": 1}, {"CPU": 4, "head": 1}),
    ],
)
def test_what_comes_nearest_is_one_machine_that_there_is(demand: dict[str, float], nearest: dict[str, float]) -> None:
    """It has not the most of each from different ones."""
    nodes = [node("a", {"CPU": 4, "head": 1}), node("b", {"CPU": 2, "far": 1})]
    assert placement.nearest_total(nodes, to_units(demand)) == to_units(nearest)


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
