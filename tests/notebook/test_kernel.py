"""A real kernel: tracebacks, output, and what is left when the kernel goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel
from tests.support.leaks import RunFolders, find_leaks, wait_processes_gone

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = "%load_ext ipyactors\nimport ipyactors, os, time\nipyactors.init(num_cpus=2)"

COUNTER = """%%remote --max-restarts 1
class Counter:
    def __init__(self): self.value = 0
    def add(self, amount):
        self.value += amount
        return self.value
    def pid(self): return os.getpid()"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        running.check(COUNTER)
        yield running


# -- tracebacks ------------------------------------------------------------------------------------------------

FAILS = """%%remote
def outer(x):
    return inner(x)

def unused(): ...
"""
INNER = """def inner(x):
    low = x - x
    return x / low  # here"""


@pytest.mark.parametrize("mode", ["Plain", "Context"])
def test_a_remote_error_reads_as_if_the_code_had_run_here(kernel: Kernel, mode: str) -> None:
    kernel.check(f"%xmode {mode}")
    kernel.check(INNER)
    kernel.check(FAILS)
    shown = kernel.run("ref = outer.remote(7)\nipyactors.get(ref)")
    kernel.check("%xmode Context")
    assert shown.error_name == "ZeroDivisionError"
    assert "ipyactors.get(ref)" in shown.traceback
    assert "return inner(x)" in shown.traceback
    assert "return x / low  # here" in shown.traceback
    assert "/ipyactors/" not in shown.traceback, shown.traceback
    assert "skipping hidden" not in shown.traceback, shown.traceback


def test_the_shortest_mode_has_the_error_in_one_line(kernel: Kernel) -> None:
    kernel.check("%xmode Minimal")
    shown = kernel.run(FAILS + "\nipyactors.get(outer.remote('x'))")
    kernel.check("%xmode Context")
    assert "unsupported operand" in shown.traceback
    assert "/ipyactors/" not in shown.traceback


def test_a_remote_error_names_the_cell_and_the_line_with_the_magic_line_counted(kernel: Kernel) -> None:
    number = kernel.check(FAILS).number
    shown = kernel.run("ipyactors.get(outer.remote(7))")
    assert f"Cell In[{number}], line 3" in shown.traceback, shown.traceback
    assert f"Cell In[{shown.number}], line 1" in shown.traceback, "its caller's is IPython's own"


def test_the_arrow_points_to_the_line_that_raised(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef late(x):\n    y = x\n    return y[0]\n")
    shown = kernel.run("ipyactors.get(late.remote(7))")
    assert "----> 4     return y[0]" in shown.traceback, shown.traceback


@pytest.mark.parametrize(
    "mistake",
    ["late.remote()", "late(1)", "late.options(max_retries=-7)", "late.remote(1).nothing", "await late.remote(7)"],
)
def test_a_mistake_shows_the_users_line_and_nothing_of_ours(kernel: Kernel, mistake: str) -> None:
    kernel.check("%%remote\ndef late(x):\n    y = x\n    return y[0]\n")
    shown = kernel.run(mistake)
    assert shown.status == "error"
    assert f"----> 1 {mistake}" in shown.traceback
    assert "/ipyactors/" not in shown.traceback, shown.traceback
    assert "skipping hidden" not in shown.traceback


def test_an_error_in_a_remote_cell_itself_starts_at_the_users_line(kernel: Kernel) -> None:
    shown = kernel.run("%%remote\ndef f(): pass\n\n{}['missing']\n")
    assert shown.error_name == "KeyError"
    assert "line 4" in shown.traceback
    assert "{}['missing']" in shown.traceback
    assert "run_cell_magic" not in shown.traceback, shown.traceback
    assert "/ipyactors/" not in shown.traceback


def test_a_wrong_option_is_one_line(kernel: Kernel) -> None:
    shown = kernel.run("%%remote --max-restarts 3\ndef f(): pass")
    assert shown.status == "error"
    assert shown.error_name == "UsageError"
    assert "--max-restarts is an option of a remote class" in shown.text + shown.traceback
    assert len((shown.text + shown.traceback).strip().splitlines()) == 1


# -- output ----------------------------------------------------------------------------------------------------


def test_what_a_worker_prints_is_under_the_cell_before_the_result(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef speak():\n    print('hello')\n    print('from there')\n    return 1")
    shown = kernel.check("print('sent'); value = ipyactors.get(speak.remote()); print('got', value)")
    assert shown.text.splitlines() == ["sent", "(speak) hello", "(speak) from there", "got 1"]


def test_defining_and_calling_shows_nothing_else(kernel: Kernel) -> None:
    assert kernel.check(COUNTER).text == "replaced actor class Counter (max_restarts=1)\n"
    shown = kernel.check("counter = Counter.remote(); ipyactors.get(counter.add.remote(2))")
    assert (shown.text, shown.result) == ("", "2")


# -- the end ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_folders() -> Iterator[RunFolders]:
    folders = RunFolders.make()
    yield folders
    folders.remove()


def assert_nothing_left(folders: RunFolders) -> None:
    left = wait_processes_gone(folders.home)
    assert not left, [process.cmdline() for process in left]
    assert find_leaks(folders) == []
    assert not list(folders.sockets.iterdir())


def test_a_kernel_that_is_shut_down_leaves_nothing(own_folders: RunFolders) -> None:
    with running_kernel(own_folders.environment()) as kernel:
        kernel.check(SETUP)
        kernel.check(COUNTER + "\ncounter = Counter.remote()\nipyactors.get(counter.add.remote(1))")
    assert_nothing_left(own_folders)


def test_a_kernel_that_is_killed_leaves_nothing(own_folders: RunFolders) -> None:
    with running_kernel(own_folders.environment()) as kernel:
        kernel.check(SETUP)
        kernel.check(COUNTER + "\ncounter = Counter.remote()\nipyactors.get(counter.add.remote(1))")
        os.kill(kernel.pid, signal.SIGKILL)
    assert_nothing_left(own_folders)


def test_a_kernel_that_is_restarted_starts_anew(own_folders: RunFolders) -> None:
    with running_kernel(own_folders.environment()) as kernel:
        kernel.check(SETUP)
        kernel.check(COUNTER + "\ncounter = Counter.options(name='c').remote()\nipyactors.get(counter.add.remote(1))")
        kernel.restart()
        kernel.check(SETUP)
        kernel.check(COUNTER)
        assert kernel.check("ipyactors.get(Counter.options(name='c').remote().add.remote(1))").result == "1"
    assert_nothing_left(own_folders)
