"""Programs written for Ray, run as scripts with one changed import."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

PROGRAMS = pathlib.Path(__file__).parent / "seed_programs"


def run(name: str, folder: pathlib.Path, *arguments: str) -> str:
    """Run a program to its end; it must end well, say nothing on standard error, and is given ``folder``."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / f"{name}.py"), str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing is printed to a user who did not ask"
    return done.stdout


def test_the_immortal_actor_goes_on_from_its_checkpoint(tmp_path: pathlib.Path) -> None:
    # The calls that made it 3 and 5 crashed after the checkpoint and ran again: at least once is what was asked for.
    assert run("immortal_actor", tmp_path) == "[1, 2, 4, 6, 7, 8]\n"


def test_the_controller_loads_the_states_of_dead_workers_into_new_ones(tmp_path: pathlib.Path) -> None:
    assert run("controller", tmp_path).splitlines() == [
        "[5, 5]",
        "a worker died: all states are loaded into new workers",
        "[7, 7]",
    ]


def test_the_basic_account(tmp_path: pathlib.Path) -> None:
    out = re.sub(r"[0-9a-f]{8}", "ID", run("account", tmp_path))
    assert out.splitlines() == [
        "INFO :: Current Balance: 99.0",
        "INFO :: Balance after Withdraw: 33.0",
        "INFO :: Balance after Deposit: 66.0",
        "INFO :: Balance after Deposit: 99.0",
        "ERROR :: Withdrawal is not supported by current balance",
        "Actor(Account 'Saved', ID)",
        "no such actor any more",
        "pong",
        "it has left",
        "it has left",
    ]


def test_the_account_that_stores_itself_in_a_file(tmp_path: pathlib.Path) -> None:
    lines = run("persistent_account", tmp_path).splitlines()
    assert lines[:3] == [
        "INFO :: Current balance: 99.0",
        "INFO :: Balance after Withdraw: 33.0",
        "INFO :: Balance after Deposit: 66.0",
    ]
    assert re.fullmatch(r"Actor\(Account 'Account', [0-9a-f]{8}\)", lines[3])
    assert lines[4] == "INFO :: Current balance 66.0"
    assert lines[6] == "a new actor"
    assert lines[3] != lines[5], "the prints tell them apart, as the program's author meant them to"


def test_the_account_over_a_pool_of_persistence_actors(tmp_path: pathlib.Path) -> None:
    assert run("account_pool", tmp_path).splitlines() == ["100.0", "101.0"]


def test_an_actor_with_resources_of_its_own(tmp_path: pathlib.Path) -> None:
    assert run("resources", tmp_path).splitlines() == ["pong", "{'CPU': 1.0, 'GPU': 0.0}"]


@pytest.mark.parametrize(
    ("probability", "allowed"), [("0", {"SUCCESS"}), ("1", {"FAILURE"}), ("0.5", {"SUCCESS", "FAILURE"})]
)
def test_the_loop_over_a_task_that_may_crash(tmp_path: pathlib.Path, probability: str, allowed: set[str]) -> None:
    lines = run("potentially_fail", tmp_path, probability).splitlines()
    assert len(lines) == 3
    assert set(lines) <= allowed
