"""TAB in a real kernel: options, values and actors after our magics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors
ipyactors.init(nodes=[{"num_cpus": 2}, {"num_cpus": 1}])
@ipyactors.remote
class Counter:
    def add(self, amount): return amount
    def get(self): return 0
acct = Counter.options(name="acct").remote()
access = Counter.options(name="access").remote()
spaced = Counter.options(name="an actor").remote()
keeper = Counter.options(name="kept", durable=True).remote()
kept = ipyactors.get(ipyactors.checkpoint(keeper))
@ipyactors.remote
def double(x): return 2 * x
class OddError(Exception): pass
limit = 3"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        yield running


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("%%remote --max-re|", ["%%remote --max-retries", "%%remote --max-restarts"]),
        ("%%remote --durable --checkpoint-|\nclass C: pass", ["%%remote --durable --checkpoint-store"]),
        ("%%remote --durable h|", ["%%remote --durable host"]),
        ("%%remote --lifetime |", ["%%remote --lifetime detached", "%%remote --lifetime non_detached"]),
        ("%%remote --lifetime=n|", ["%%remote --lifetime=non_detached"]),
        ("%%remote --max-retries $li|", ["%%remote --max-retries $limit"]),
        ("%%remote --retry-exceptions OSError,Odd|", ["%%remote --retry-exceptions OSError,OddError"]),
        ("%%remote --num-cpus 1 --num-g| --memory 3", ["%%remote --num-cpus 1 --num-gpus"]),
        ("%%task --li|", ["%%task --lineage"]),
        ("%%task --lineage F|", ["%%task --lineage False"]),
        ("%%on ac|\nself", ["%%on acct", "%%on access"]),
        ("%%on acct --rea|\nself", ["%%on acct --readonly"]),
        ("x = 1\n  %kill acc|", ["  %kill acct", "  %kill access"]),
        ("x = %kill acct --res|", ["x = %kill acct --restart"]),
        ("%kill 'acct' --|", ["%kill 'acct' --namespace", "%kill 'acct' --restart"]),
        ("%remote_init --q|", ["%remote_init --quiet"]),
        ("%kill an|", ["%kill 'an actor'"]),
        ("%kill 'an|", ["%kill 'an actor'"]),
        ("%kill 'an ac|", ["%kill 'an actor'"]),
        ("%kill 'an |", ["%kill 'an actor'"]),
        ('%kill "an|"', ['%kill "an actor']),
        ('%kill "acc|', ['%kill "acct"', '%kill "access"']),
        ("%%on an|\nself", ["%%on 'an actor'"]),
        ("%timeline --actor an|", ["%timeline --actor 'an actor'"]),
        ("%actor --log an|", ["%actor --log 'an actor'"]),
        ("%%remote --durable --checkpoint calls=3,|", ["%%remote --durable --checkpoint calls=3,seconds="]),
        ("%chaos storm --kinds kill,kill_|", ["%chaos storm --kinds kill,kill_head"]),
        ("%chaos storm --kinds sl|", ["%chaos storm --kinds slow"]),
        ("%chaos drop-|", ["%chaos drop-replies"]),
        ("%chaos fail do|", ["%chaos fail double"]),
        ("%chaos kill --before ad| acct", ["%chaos kill --before add"]),
        ("%chaos fill-disk |", [f"%chaos fill-disk {one}" for one in ("keeper", "kept", "--times")]),
        ("%upgrade |", [f"%upgrade {one}" for one in ("keeper", "kept", "--namespace")]),
        ("%checkpoints |", [f"%checkpoints {one}" for one in ("keeper", "kept", "--namespace", "--restore", "--yes")]),
    ],
)
def test_tab_offers_what_may_come(kernel: Kernel, code: str, lines: list[str]) -> None:
    assert sorted(kernel.complete(code)) == sorted(lines)


def test_tab_offers_the_checkpoints_of_the_actor_that_stands_behind(kernel: Kernel) -> None:
    checkpoint_id = kernel.check("kept").result.strip("'")[:10]
    assert kernel.complete("%checkpoints --restore | kept") == [f"%checkpoints --restore {checkpoint_id}"]


def test_tab_offers_the_machines_that_can_be_killed(kernel: Kernel) -> None:
    first, other = eval(kernel.check("[one['NodeID'] for one in ipyactors.nodes()]").result)
    [line] = kernel.complete("%chaos kill_node |")
    assert other.startswith(line.removeprefix("%chaos kill_node "))
    assert not first.startswith(line.removeprefix("%chaos kill_node "))


def test_what_tab_offers_works(kernel: Kernel) -> None:
    for begun in ("an", "'an"):
        [line] = kernel.complete(f"%actor {begun}|")
        assert kernel.check(line).result.startswith("Counter 'an actor'")


def test_elsewhere_tab_offers_what_it_did_before(kernel: Kernel) -> None:
    assert "%%task" in kernel.complete("%%ta|")
    assert "    lim = limit" in kernel.complete("%%task\n    lim = lim|")
    assert "%%time" in kernel.complete("%%tim|")
    assert not any("--max-" in line for line in kernel.complete("x = 1\n%%remote --max|"))
    kernel.check("%unload_ext ipyactors")
    assert not any("--max-" in line for line in kernel.complete("%%remote --max|"))
    kernel.check("%load_ext ipyactors")
