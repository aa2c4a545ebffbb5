"""A kernel that is restarted: what is detached lives on, is found again, and nothing else is left."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ipyactors.launch.address import SessionNote, read_note
from ipyactors.launch.visiting import end_session
from tests.support.kernels import Kernel, running_kernel
from tests.support.leaks import RunFolders, find_leaks, wait_processes_gone

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = "%load_ext ipyactors\nimport ipyactors, os\nipyactors.init(num_cpus=2);"
ACCOUNT = """%%remote --lifetime detached
class Account:
    def __init__(self, balance): self.balance = balance
    def deposit(self, amount):
        self.balance += amount
        return self.balance
"""
MAKE = "acct = Account.options(name='acct'{options}).remote(100)\nipyactors.get(acct.deposit.remote(33))"
FIND = "acct = ipyactors.get_actor('acct')\nipyactors.get(acct.deposit.remote(1))"


@pytest.fixture
def folders() -> Iterator[RunFolders]:
    folders = RunFolders.make()
    yield folders
    for folder in folders.home.glob("sessions/*"):  # what a test that has failed leaves would live on
        note = read_note(folder)
        if note is not None:
            end_session(note)
    folders.remove()


@pytest.fixture
def environment(folders: RunFolders, tmp_path: pathlib.Path) -> dict[str, str]:
    return {**folders.environment(), "JPY_SESSION_NAME": str(tmp_path / "bank.ipynb")}


@pytest.fixture
def kernel(folders: RunFolders, environment: dict[str, str]) -> Iterator[Kernel]:
    """The kernel of a notebook; when the test has passed and the kernel has ended, nothing may be left."""
    with running_kernel(environment) as kernel:
        yield kernel
    assert_nothing_left(folders)


def assert_nothing_left(folders: RunFolders) -> None:
    left = wait_processes_gone(folders.home)
    assert not left, [process.cmdline() for process in left]
    assert find_leaks(folders) == []
    assert not list(folders.sockets.iterdir())


def begin(kernel: Kernel, options: str = "") -> None:
    kernel.check(SETUP)
    kernel.check(ACCOUNT)
    assert kernel.check(MAKE.format(options=options)).result == "133"


def end(kernel: Kernel) -> None:
    kernel.check("ipyactors.shutdown(everything=True)")


@pytest.mark.parametrize("gracefully", [True, False])
@pytest.mark.parametrize("options", ["", ", durable=True, max_restarts=-1"])
def test_a_restarted_kernel_comes_back_to_its_detached_actors(kernel: Kernel, options: str, gracefully: bool) -> None:
    begin(kernel, options)
    for balance in (134, 135):
        kernel.restart(now=not gracefully)
        shown = kernel.check(SETUP)
        assert "came back to the session of this notebook, " in shown.text
        assert ": 1 detached actor is alive: Account 'acct' (incarnation 0). ipyactors.get_actor('acct')" in shown.text
        assert kernel.check(FIND).result == str(balance)
    end(kernel)


def test_an_edited_class_says_which_actors_of_the_kernel_before_still_run_the_old_one(kernel: Kernel) -> None:
    begin(kernel, ", durable=True, max_restarts=-1")
    kernel.restart(now=True)
    kernel.check(SETUP)
    durable = ACCOUNT.replace("detached", "detached --durable")
    assert "still run" not in kernel.check(durable + "# the same code").text
    kernel.restart(now=True)
    kernel.check(SETUP)
    edited = durable.replace("+=", "-=")
    assert " ".join(kernel.check(edited).text.split()) == (
        "defined actor class Account (lifetime='detached', durable=True), and an earlier Account is still run by "
        "Account 'acct'; to change that: %upgrade acct"
    )
    kernel.check("%upgrade acct")
    assert "still run" not in kernel.check(edited).text
    end(kernel)


def test_a_durable_actor_that_dies_without_a_kernel_is_there_again_with_its_state(kernel: Kernel) -> None:
    begin(kernel, ", durable=True, max_restarts=-1")
    pid = int(kernel.check("[one['pid'] for one in ipyactors.list_actors() if one['name'] == 'acct'][0]").result)
    os.kill(kernel.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    kernel.restart(now=True)
    assert "Account 'acct' (incarnation 1)" in kernel.check(SETUP).text
    assert kernel.check(FIND).result == "134"
    end(kernel)


def test_the_session_ends_with_its_last_detached_actor_when_no_kernel_is_there(kernel: Kernel) -> None:
    begin(kernel)
    kernel.restart(now=True)
    kernel.check(SETUP)
    kernel.check("ipyactors.kill(ipyactors.get_actor('acct'))")
    kernel.check("ipyactors.get(ipyactors.remote(lambda: 1).remote())")
    kernel.restart(now=True)
    assert kernel.check(SETUP).text == ""
    kernel.check("ipyactors.shutdown()")


def test_shutdown_in_a_kernel_that_came_back_leaves_the_session_to_its_actors(kernel: Kernel) -> None:
    begin(kernel)
    kernel.restart(now=True)
    kernel.check(SETUP)
    kernel.check("ipyactors.shutdown()")
    assert "came back" in kernel.check("ipyactors.init()").text
    end(kernel)
    assert kernel.check("ipyactors.init()").text == ""


def test_its_further_machines_stay_too(kernel: Kernel) -> None:
    setup = SETUP.replace("num_cpus=2", "nodes=[{'num_cpus': 1}, {'num_cpus': 1}]")
    kernel.check(setup)
    kernel.check(ACCOUNT)
    kernel.check("both = [Account.options(name=name, num_cpus=1).remote(0) for name in 'ab']")
    kernel.check("ipyactors.get([one.deposit.remote(1) for one in both])")
    assert kernel.check("len({one['node_id'] for one in ipyactors.list_actors()})").result == "2"
    kernel.restart(now=True)
    shown = kernel.check(setup)
    assert "2 detached actors are alive: Account 'a' (incarnation 0), Account 'b' (incarnation 0)." in shown.text
    assert "had no effect" not in shown.text
    deposits = "ipyactors.get([ipyactors.get_actor(name).deposit.remote(1) for name in 'ab'])"
    assert kernel.check(deposits).result == "[2, 2]"
    end(kernel)


def test_a_session_without_a_kernel_is_listed_and_ended_from_a_terminal(
    folders: RunFolders, environment: dict[str, str]
) -> None:
    def command(*arguments: str) -> str:
        code = "from ipyactors.cli.main import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        environ = {**os.environ, **environment}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout

    with running_kernel(environment) as kernel:
        begin(kernel)
        assert f"bank.ipynb, kernel: process {kernel.pid}" in command("sessions")
    [line] = command("sessions").splitlines()
    assert line.endswith("bank.ipynb, no kernel: its detached actors go on")
    assert "has ended." in command("sessions", "end", line.split()[0])
    assert "No session is live" in command("sessions")
    assert_nothing_left(folders)


def test_shutdown_in_the_kernel_that_started_it_ends_it_with_its_actors(kernel: Kernel) -> None:
    begin(kernel)
    kernel.check("ipyactors.shutdown()")


def test_other_arguments_than_at_first_have_no_effect_and_it_says_so(kernel: Kernel) -> None:
    begin(kernel)
    kernel.restart(now=True)
    shown = kernel.check(SETUP.replace("num_cpus=2", "num_cpus=1"))
    assert "came back" in shown.text
    assert "init: the session is running already; num_cpus had no effect" in shown.text
    end(kernel)


def test_only_the_same_notebook_finds_it(kernel: Kernel, environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    begin(kernel)
    os.kill(kernel.pid, signal.SIGKILL)
    with running_kernel({**environment, "JPY_SESSION_NAME": str(tmp_path / "other.ipynb")}) as other:
        assert other.check(SETUP).text == ""
    with running_kernel({**environment, "JPY_SESSION_NAME": ""}) as nameless:
        assert nameless.check(SETUP).text == ""
    kernel.restart(now=True)
    assert "came back" in kernel.check(SETUP).text
    end(kernel)


def test_a_second_kernel_of_a_notebook_whose_first_one_lives_starts_its_own(
    kernel: Kernel, folders: RunFolders, environment: dict[str, str]
) -> None:
    begin(kernel)
    [folder] = folders.home.glob("sessions/*")
    with running_kernel(environment) as second:
        assert second.check(SETUP).text == (
            f"another kernel of this notebook holds the session {folder.name}: 1 detached actor is alive: "
            "Account 'acct' (incarnation 0). This kernel has a session of its own; to get at that one: "
            f"ipyactors.shutdown(); ipyactors.init(address={folder.name!r})\n"
        )
        second.check(f"ipyactors.shutdown(); ipyactors.init(address={folder.name!r})")
        assert second.check(FIND).result == "134"
        second.check("ipyactors.shutdown()")
    assert kernel.check(FIND).result == "135"
    kernel.check("ipyactors.kill(acct)")
    with running_kernel(environment) as second:
        assert second.check(SETUP).text == ""
        second.check("ipyactors.shutdown()")
    kernel.check("ipyactors.shutdown()")


def test_a_kernel_without_a_notebook_leaves_nothing(folders: RunFolders) -> None:
    with running_kernel({**folders.environment(), "JPY_SESSION_NAME": ""}) as kernel:
        begin(kernel)
    assert_nothing_left(folders)


LOOKS = ("%cluster", "%actors", "%kill acct", "%timeline", "%chaos", "ipyactors.list_actors()")


def notes_in(folders: RunFolders) -> list[SessionNote]:
    """Return the notes of the sessions that live."""
    return [note for folder in folders.home.glob("sessions/*") if (note := read_note(folder)) is not None]


@pytest.mark.parametrize("ending", ["%cluster end", "ipyactors.shutdown(everything=True)"])
def test_before_it_has_come_back_a_kernel_says_what_lives_and_can_end_it(
    kernel: Kernel, folders: RunFolders, ending: str
) -> None:
    begin(kernel)
    kernel.restart(now=True)
    kernel.check("%load_ext ipyactors\nimport ipyactors")
    for look in LOOKS:
        shown = kernel.run(look)
        said = shown.text + shown.error_text
        assert "goes on with its detached actors; ipyactors.init() comes back to it" in said, (look, said)
    kernel.check(ending)
    assert not notes_in(folders)
    assert kernel.check("%cluster").text == "no session\n"
    assert kernel.check("ipyactors.init()").text == ""
    kernel.check("ipyactors.shutdown()")


def test_a_kernel_that_came_back_and_leaves_is_no_kernel_of_it_and_cluster_end_ends_it(
    kernel: Kernel, folders: RunFolders
) -> None:
    begin(kernel)
    kernel.restart(now=True)
    kernel.check(SETUP)
    kernel.check("ipyactors.shutdown()")
    assert [note.driven is not None and note.driven.by for note in notes_in(folders)] == [None]
    assert "came back" in kernel.check("ipyactors.init()").text
    kernel.check("%cluster end")


def test_a_kernel_that_knows_no_notebook_says_once_that_a_detached_actor_ends_with_it(folders: RunFolders) -> None:
    with running_kernel({**folders.environment(), "JPY_SESSION_NAME": ""}) as kernel:
        kernel.check(SETUP)
        kernel.check(ACCOUNT)
        shown = kernel.check(MAKE.format(options=""))
        assert shown.result == "133"
        assert shown.text.startswith("a detached actor ends with this kernel")
        assert "set IPYACTORS_NOTEBOOK in the environment to a path, before init()" in shown.text
        assert kernel.check("other = Account.options(name='other').remote(1)").text == ""
        kernel.check(
            "ipyactors.shutdown()\nos.environ['IPYACTORS_NOTEBOOK'] = 'bank.ipynb'\nipyactors.init(num_cpus=2);"
        )
        assert kernel.check("kept = Account.options(name='kept').remote(1)").text == ""
        kernel.check("ipyactors.shutdown(everything=True)")
    assert_nothing_left(folders)
