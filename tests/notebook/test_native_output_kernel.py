"""A real kernel: what the programs of a call write is under its cell, as what the call prints."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors, os, subprocess
ipyactors.init(num_cpus=3)"""

TALK = """%%remote
def talk(*paths):
    print('before')
    for number, path in enumerate(paths):
        os.system(f'echo line {number}; until [ -e {path} ]; do sleep 0.02; done')
    print('after')"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        running.check(TALK)
        yield running


def start(kernel: Kernel, code: str) -> str:
    """Run a cell to its end; return its message id."""
    cell = kernel.start(code)
    shown = kernel.finish(cell)
    assert shown.status == "ok", shown.traceback
    return cell


def test_in_one_cell_all_is_in_order(kernel: Kernel) -> None:
    cell = start(kernel, "print('sent')\nipyactors.get(talk.remote('/', '/'))\nprint('got')")
    words = "sent\n(talk) before\n(talk) line 0\n(talk) line 1\n(talk) after\ngot\n"
    assert [(one.kind, one.text) for one in kernel.page.under(cell)] == [("stdout", words)]


def test_each_line_is_under_its_cell_while_the_program_runs_and_another_cell_too(
    kernel: Kernel, tmp_path: pathlib.Path
) -> None:
    gates = [str(tmp_path / str(number)) for number in range(3)]
    first = start(kernel, f"ref = talk.remote(*{gates})")
    kernel.wait_page(lambda page: "line 0\n" in page.text(first))
    second = start(kernel, f"open({gates[0]!r}, 'w').close(); ipyactors.get(talk.remote('/')); print('mine')")
    kernel.wait_page(lambda page: "line 1\n" in page.text(first))
    pathlib.Path(gates[1]).touch()
    kernel.wait_page(lambda page: "line 2\n" in page.text(first))
    assert "after" not in kernel.page.text(first)
    third = start(kernel, f"open({gates[2]!r}, 'w').close(); ipyactors.get(ref)")
    assert kernel.page.text(first) == "(talk) before\n(talk) line 0\n(talk) line 1\n(talk) line 2\n(talk) after\n"
    assert kernel.page.text(second) == "(talk) before\n(talk) line 0\n(talk) after\nmine\n"
    assert kernel.page.text(third) == ""


def test_a_flood_does_not_reach_the_page_and_its_end_does(kernel: Kernel) -> None:
    kernel.check("%%remote\ndef flood(): subprocess.run(['seq', '100000'], check=True)")
    before = kernel.page.messages
    cell = start(kernel, "ipyactors.get(flood.remote()); print('done')")
    text = kernel.page.text(cell)
    assert text.startswith("(flood) 1\n(flood) 2\n")
    assert "lines are left out here: over 2,000 a second" in text
    assert text.endswith("(flood) 100000\ndone\n")
    assert text.count("\n") < 5_050
    assert kernel.page.messages - before < 2_000


def test_a_bar_of_a_program_moves_in_one_place(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def load():
    subprocess.run(['bash', '-c', 'for i in 1 2 3; do printf "\\\\r%s of 3" $i; sleep 0.3; done; echo; echo done'])"""
    )
    cell = start(kernel, "ipyactors.get(load.remote())")
    assert [(one.kind, one.text.strip()) for one in kernel.page.under(cell)] == [
        ("display", "(load) 3 of 3"),
        ("stdout", "(load) done"),
    ]


@pytest.mark.parametrize("what", ["leave", "leaver.leave"])
def test_what_a_call_leaves_running_writes_under_its_cell(what: str, kernel: Kernel, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    kernel.check(
        """%%remote
class Leaver:
    def leave(self, path):
        subprocess.Popen(['bash', '-c', f'until [ -e {path} ]; do sleep 0.02; done; echo late words'])"""
    )
    kernel.check(
        """%%remote
def leave(path):
    subprocess.Popen(['bash', '-c', f'until [ -e {path} ]; do sleep 0.02; done; echo late words'])"""
    )
    created = start(kernel, "leaver = Leaver.remote()")
    called = start(kernel, f"ipyactors.get({what}.remote({str(gate)!r}))")
    later = start(kernel, "print('mine')")
    gate.touch()
    cells = (created, called, later)
    kernel.wait_page(lambda page: any("late words" in page.text(cell) for cell in cells))
    assert ["late words" in kernel.page.text(cell) for cell in cells] == [False, True, False]


@pytest.mark.parametrize(
    "code",
    [
        "for i in range(30_000): print('\\r', i)",
        "subprocess.run(['bash', '-c', 'for i in {1..30000}; do printf \"\\\\r%s\\\\n\" $i; done'])",
        "from IPython.display import clear_output; clear_output(); [print(i) for i in range(30_000)]",
    ],
)
def test_a_flood_of_lines_that_move_does_not_reach_the_page(code: str, kernel: Kernel) -> None:
    kernel.check(f"%%remote\ndef flood():\n    {code}")
    cell = start(kernel, "ipyactors.get(flood.remote()); print('done')")
    kernel.wait_page(lambda page: "lines are left out here" in page.text(cell))
    assert 1_000 < kernel.page.text(cell).count("\n") < 5_500


def test_any_bytes_and_many_bars_fail_no_call(kernel: Kernel) -> None:
    kernel.check(
        """%%remote
def noise():
    os.system('head -c 300000 /dev/urandom')
    print('file 50%\\rfile 100%\\nfile done\\n' * 1500)
    return 'all is well'"""
    )
    cell = start(kernel, "assert ipyactors.get(noise.remote()) == 'all is well'")
    assert "file 100%" in kernel.page.text(cell)
