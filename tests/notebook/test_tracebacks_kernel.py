"""A real kernel: what a remote error shows in each mode, and a post-mortem on the frames of a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, Shown, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = "%load_ext ipyactors\nimport ipyactors\nipyactors.init(num_cpus=2)"

INNER = """def inner(x, rows, password="hunter2"):
    low = x - x
    return x / low  # here"""
OUTER = """%%remote
def outer(x):
    rows = [{"a": i} for i in range(1000)]
    return inner(x, rows)"""
GET = "ipyactors.get(outer.remote(7))"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        for cell in (SETUP, INNER, OUTER):
            running.check(cell)
        yield running


def failed(kernel: Kernel, cell: str = GET, mode: str = "Context") -> Shown:
    """Run a cell that fails in a mode of ``%xmode``."""
    kernel.check(f"%xmode {mode}")
    shown = kernel.run(cell)
    kernel.check("%xmode Context")
    assert shown.status == "error"
    return shown


def debugged(kernel: Kernel, *lines: str) -> str:
    """Return what a post-mortem says to these lines."""
    return _COLOURS.sub("", kernel.converse("%debug", *lines, "q").text)


# -- what is shown -------------------------------------------------------------------------------------------------


def test_verbose_shows_the_workers_frames_and_the_remote_variables(kernel: Kernel) -> None:
    shown = failed(kernel, mode="Verbose").traceback
    parts = ["ipyactors.get(", "in Executor.run(", "outer(x=7)", "inner(x=7, rows=[{'a': 0}, ", "# here", "division by"]
    places = [shown.find(part) for part in parts]
    assert -1 not in places, shown
    assert places == sorted(places), "the worker ran the call: its frames are between the user's"
    assert "/engines/" not in shown, "and those of the caller, which only wait, are not there"
    assert "hunter2" not in shown.replace('password="hunter2"', "")


@pytest.mark.parametrize("mode", ["Plain", "Context", "Minimal", "Docs"])
def test_the_other_modes_show_neither(kernel: Kernel, mode: str) -> None:
    shown = failed(kernel, mode=mode).traceback
    assert "division by zero" in shown
    assert "/ipyactors/" not in shown
    assert "{'a': 0}" not in shown


def test_drawing_it_again_shows_the_same(kernel: Kernel) -> None:
    verbose = failed(kernel, mode="Verbose").traceback
    kernel.check("%xmode Verbose")
    assert kernel.run("%tb").traceback == verbose
    kernel.check("%xmode Plain")
    assert "/ipyactors/" not in kernel.run("%tb").traceback
    kernel.check("%xmode Context")


def test_an_actors_error_says_which_one_it_was_and_an_attempt_which(kernel: Kernel) -> None:
    kernel.check(
        "%%remote --max-restarts 3\nclass Account:\n    def fail(self, amount):\n        raise ValueError(amount)"
    )
    shown = failed(kernel, "ipyactors.get(Account.options(name='acct').remote().fail.remote(3))").traceback
    assert shown.splitlines()[-2:] == ["ValueError: 3", "actor acct, incarnation 0"]
    kernel.check("%%remote --retry-exceptions True --max-retries 2\ndef again():\n    raise KeyError('k')")
    shown = failed(kernel, "ipyactors.get(again.remote())").traceback
    assert shown.splitlines()[-2:] == ["KeyError: 'k'", "attempt 3 of 3 · task again"]


def test_a_group_is_shown_without_our_frames_and_with_those_of_its_members(kernel: Kernel) -> None:
    kernel.check(
        "%%remote\ndef several():\n    found = []\n    for text in 'ab':\n        try: int(text)\n"
        "        except ValueError as error: found.append(error)\n    raise ExceptionGroup('several', found)"
    )
    shown = failed(kernel, "ipyactors.get(several.remote())")
    said = shown.text + shown.traceback
    assert "ipyactors.get(several.remote())" in said
    assert said.count("try: int(text)") == 2
    assert "/ipyactors/" not in said
    assert "interactiveshell.py" not in said


def test_an_error_with_no_line_of_the_users_is_its_words(kernel: Kernel) -> None:
    shown = failed(kernel, "%%remote\nasync def never(): ...")
    assert "never is an async function" in shown.traceback
    assert "/ipyactors/" not in shown.traceback


# -- a post-mortem -------------------------------------------------------------------------------------------------


def test_a_post_mortem_walks_the_remote_frames(kernel: Kernel) -> None:
    failed(kernel)
    said = debugged(kernel, "args", "p low, x / 2", "p rows[0]", "up", "p x", "pp locals()", "up", "p outer", "down")
    assert "inner()" in said
    assert "return x / low  # here" in said
    assert "x = 7\nrows = [{'a': 0}, {'a': 1}, " in said
    assert "1000 in all]\npassword = <not shown: " in said
    assert "(0, 3.5)" in said
    assert "the value itself stayed in the worker" in said
    assert "return inner(x, rows)" in said
    assert "'x': 7" in said
    assert "----> 1 ipyactors.get(outer.remote(7))" in said, "above the remote frames is the user's own"
    assert "/ipyactors/" not in said, said
    assert "hidden" not in said, said


def test_a_post_mortem_lists_the_cell_with_the_remote_line(kernel: Kernel) -> None:
    failed(kernel)
    said = debugged(kernel, "list", "up", "list 1,4", "where")
    assert "      2     low = x - x" in said
    assert "----> 3     return x / low  # here" in said
    assert "      3     rows = [{" in said


def test_a_post_mortem_reaches_through_actors_to_what_their_tasks_held(kernel: Kernel) -> None:
    kernel.check(
        "%%remote\nclass Caller:\n    def __init__(self): self.balance = 3\n"
        "    async def call(self, amount):\n        left = self.balance - amount\n"
        "        return await outer.remote(left)"
    )
    failed(kernel, "ipyactors.get(Caller.remote().call.remote(1))")
    said = debugged(kernel, "p low", "up", "up", "p self", "p left", "up", "p Caller")
    assert "<Caller balance=3>" in said
    assert "\n2\n" in said
    assert "/ipyactors/" not in said, said
    assert "asyncio" not in said, said


def test_a_post_mortem_of_an_error_in_a_remote_cell_starts_at_the_users_line(kernel: Kernel) -> None:
    failed(kernel, f"{OUTER}\n\n{GET}")
    assert GET in debugged(kernel, "up", "up")


def test_a_post_mortem_does_not_wait_where_nobody_can_type(kernel: Kernel) -> None:
    failed(kernel)
    shown = kernel.run("%debug")
    assert (shown.status, shown.error_name) == ("error", "StdinNotImplementedError")
    assert "return x / low" in _COLOURS.sub("", shown.text)
    assert kernel.check("1 + 1").result == "2"
