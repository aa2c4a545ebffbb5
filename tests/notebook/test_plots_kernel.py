"""Pictures and traces of what really happened, in a real kernel."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel
from tests.support.trace_rules import check_trace

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = "%load_ext ipyactors\nimport ipyactors, os, signal\nipyactors.init(num_cpus=2)"
DEFINED = """%%remote
@ipyactors.remote(durable=True, checkpoint=ipyactors.every(calls=3), max_restarts=-1)
class Account:
    def __init__(self): self.balance = 0
    def deposit(self, amount):
        self.balance += amount
        return self.balance
    @ipyactors.method(effect='readonly')
    def pid(self): return os.getpid()

@ipyactors.remote(max_concurrency=2)
class Pair:
    def meet(self, other): return other

def doomed(): raise ValueError('no')
"""
HAPPENS = """acct = Account.options(name="acct").remote()
pair = Pair.options(name="pair").remote()
for _ in range(4):
    ipyactors.get(acct.deposit.remote(1))
os.kill(ipyactors.get(acct.pid.remote()), signal.SIGKILL)
ipyactors.get([acct.deposit.remote(1), *(pair.meet.remote(n) for n in range(8))])
try: ipyactors.get(doomed.remote())
except ValueError: pass"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        for cell in (SETUP, DEFINED, HAPPENS):
            running.check(cell)
        yield running


def test_timeline_shows_the_lifelines(kernel: Kernel) -> None:
    for line in ("%timeline", "%timeline --actor acct", "%timeline --actor $pair"):
        shown = kernel.check(line)
        assert shown.result == '<lifelines; .savefig("lifelines.png")>'
        assert shown.mimetypes == ["text/plain", "image/png"]


def test_timeline_with_a_file_writes_a_trace(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "trace.json"
    shown = kernel.check(f"%timeline {path} --actor acct")
    traced = json.loads(path.read_text())
    check_trace(traced)
    assert f"{path}: {len(traced)} trace events" in shown.text
    assert not shown.mimetypes
    kernel.check(f"%timeline '{path}'")
    traced = json.loads(path.read_text())
    check_trace(traced)
    names = {one["args"]["name"] for one in traced if one["name"] == "thread_name"}
    assert {"acct", "pair"} <= names
    assert {"recovery", "checkpoint made", "actor died"} <= {one["name"] for one in traced}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%timeline --actor nobody", "no live actor has the name nobody|nobody"),
        ("%timeline /no/such/folder/trace.json", "the trace was not written: .*No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(kernel: Kernel, line: str, words: str) -> None:
    shown = kernel.run(line)
    assert shown.error_name == "UsageError"
    assert re.search(words, shown.error_text)


def test_checkpoints_say_what_is_known_of_them(kernel: Kernel) -> None:
    kernel.check("""from ipyactors.notebook.plots.checkpoint_rows import make_rows
[row] = make_rows(ipyactors.events())
[saved, *_] = row.saved
assert (saved.lsn, row.replays[0].calls, saved.begun) == (3, 1, 1), row
assert 0 < saved.size_bytes < 10_000, row""")


@pytest.mark.parametrize("name", ["attempts", "checkpoints", "lifelines", "recovery_times", "reruns", "retries"])
def test_each_figure_shows_itself(kernel: Kernel, name: str) -> None:
    shown = kernel.check(f"import ipyactors.plots\nipyactors.plots.{name}()")
    assert shown.mimetypes == ["text/plain", "image/png"]
    assert shown.result == f'<{name.replace("_", " ")}; .savefig("{name}.png")>'


def test_a_picture_may_be_made_in_another_process(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "run.events.json.gz"
    kernel.check(f"ipyactors.export_events({str(path)!r})")
    there = (
        "import sys, ipyactors, ipyactors.plots\n"
        "path = sys.argv[1]\n"
        "ipyactors.plots.lifelines(path).savefig(path + '.svg')\n"
        "print(ipyactors.plots.recoveries(path))\n"
        "assert not ipyactors.is_initialized()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", there, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "actor acct, incarnation 0" in done.stdout
    assert (tmp_path / "run.events.json.gz.svg").read_text().startswith("<?xml")
