"""Programs written for Ray, run as scripts with one changed import."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.support.programs import Program, side_by_side

FOLDER = pathlib.Path(__file__).parent / "seed_programs"
NAMES = ("immortal_actor", "controller", "account", "persistent_account", "account_pool", "resources")
#: By the probability with which a task crashes.
OUTCOMES = {"0": {"SUCCESS"}, "1": {"FAILURE"}, "0.5": {"SUCCESS", "FAILURE"}}

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Wait for a program; it must end well and say nothing on standard error. Each is given a folder of its own."""

    def program(name: str, *arguments: str) -> Program:
        folder = tmp_path_factory.mktemp(name)
        return Program([str(FOLDER / f"{name}.py"), str(folder), *arguments], folder)

    programs = {name: program(name) for name in NAMES}
    programs |= {probability: program("potentially_fail", probability) for probability in OUTCOMES}
    with side_by_side(programs, at_once=4) as finish:

        def run_one(name: str) -> str:
            done = finish(name)
            assert done.returncode == 0, done.stderr
            assert done.stderr == "", "nothing is printed to a user who did not ask"
            return done.stdout

        yield run_one


def test_the_immortal_actor_goes_on_from_its_checkpoint(run: Run) -> None:
    # The calls that made it 3 and 5 crashed after the checkpoint and ran again: at least once is what was asked for.
    assert run("immortal_actor") == "[1, 2, 4, 6, 7, 8]\n"


def test_the_controller_loads_the_states_of_dead_workers_into_new_ones(run: Run) -> None:
    assert run("controller").splitlines() == [
        "[5, 5]",
        "a worker died: all states are loaded into new workers",
        "[7, 7]",
    ]


def test_the_basic_account(run: Run) -> None:
    assert run("account").splitlines() == [
        "INFO :: Current Balance: 99.0",
        "INFO :: Balance after Withdraw: 33.0",
        "INFO :: Balance after Deposit: 66.0",
        "INFO :: Balance after Deposit: 99.0",
        "ERROR :: Withdrawal is not supported by current balance",
        "Actor(Account 'Saved' #2)",
        "no such actor any more",
        "pong",
        "it has left",
        "it has left",
    ]


def test_the_account_that_stores_itself_in_a_file(run: Run) -> None:
    lines = run("persistent_account").splitlines()
    assert lines[:3] == [
        "INFO :: Current balance: 99.0",
        "INFO :: Balance after Withdraw: 33.0",
        "INFO :: Balance after Deposit: 66.0",
    ]
    assert lines[3] == "Actor(Account 'Account' #1)"
    assert lines[4] == "INFO :: Current balance 66.0"
    assert lines[6] == "a new actor"
    assert lines[3] != lines[5], "the prints tell them apart, as the program's author meant them to"


def test_the_account_over_a_pool_of_persistence_actors(run: Run) -> None:
    assert run("account_pool").splitlines() == ["100.0", "101.0"]


def test_an_actor_with_resources_of_its_own(run: Run) -> None:
    assert run("resources").splitlines() == ["pong", "{'CPU': 1.0, 'GPU': 0.0}"]


@pytest.mark.parametrize("probability", OUTCOMES)
def test_the_loop_over_a_task_that_may_crash(run: Run, probability: str) -> None:
    lines = run(probability).splitlines()
    assert len(lines) == 3
    assert set(lines) <= OUTCOMES[probability]
