"""``ipyactors.memory()`` and ``ipyactors memory``: what is where, whose it is, who holds it, which line it is from."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ipyactors import MemoryReport, MemoryRow
from ipyactors.ground import tracebacks
from tests.support import anatomy
from tests.support.drivers import Driver, clean_folders
from tests.support.gates import LIMIT_S, Gate, until
from tests.support.leaks import RunFolders

N = 100_000  # float64: 800 kB
_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def ia(shared_runtime: Any) -> Any:
    return shared_runtime


def row_of(ref: Any, report: MemoryReport) -> MemoryRow:
    [found] = [row for row in report if row.object_id == ref.hex()]
    return found


def how(row: MemoryRow) -> list[str]:
    """Who holds an object, without the pids."""
    return sorted(f"{holder.how} {holder.process.runs or holder.process.role}" for holder in row.holders)  # type: ignore[union-attr]


def here() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


def make_keeper(ia: Any, name: str) -> Any:
    @ia.remote
    class Keeper:
        def keep(self, value: Any) -> int:
            self.value = value
            return os.getpid()

        def drop(self) -> None:
            self.value = None

    return Keeper.options(name=name).remote()


# -- what there is ---------------------------------------------------------------------------------------------


def test_values_that_were_put(ia: Any) -> None:
    small, line = ia.put({"a": 1}), here()
    large = ia.put(np.ones(N))
    again = [large, ia.put([1])][0]
    report = ia.memory()
    row = row_of(small, report)
    assert (row.what, row.state, row.owner.role, row.owner.pid) == ("put", "ready", "driver", os.getpid())
    assert [place.medium for place in row.places] == ["inline"]
    assert row.site is not None
    assert (row.site.file, row.site.line, row.site.function) == (__file__, line, "test_values_that_were_put")
    assert how(row) == ["references driver"]
    assert row.age_s is not None
    row = row_of(large, report)
    assert [place.medium for place in row.places] == ["memory"]
    assert row.size_bytes >= 800_000
    # Two variables, one reference object.
    assert again is large
    assert [holder.count for holder in row.holders] == [1]
    # The agent hears of a value by another connection than of the census.
    until(lambda: ia.memory().nodes[0].used_bytes >= row.size_bytes, "the agent has counted the value")
    [node] = report.nodes
    assert node.limit_bytes >= row.size_bytes
    assert report.silent == ()
    assert report[0].size_bytes == max(one.size_bytes for one in report)


def test_results_of_tasks_methods_and_generators(ia: Any) -> None:
    @ia.remote
    def make() -> np.ndarray:
        return np.ones(N)

    @ia.remote(num_returns=2)
    def pair() -> tuple[int, int]:
        return 1, 2

    @ia.remote(num_returns="streaming")
    def stream() -> Any:
        yield np.zeros(N)
        yield 1

    @ia.remote
    def fail() -> None:
        raise ValueError("no")

    keeper = make_keeper(ia, "results")
    made, (first, second), method, failed = make.remote(), pair.remote(), keeper.keep.remote(1), fail.remote()
    items = list(stream.remote())
    ia.wait([made, first, second, method, failed, *items], num_returns=7, timeout=LIMIT_S)
    report = ia.memory()
    whats = [row_of(ref, report).what for ref in (made, first, second, method, *items, failed)]
    assert whats == [
        "task result of make",
        "task result 1 of pair",
        "task result 2 of pair",
        "method result of Keeper.keep",
        "item 1 of stream",
        "item 2 of stream",
        "task result of fail",
    ]
    assert [row_of(ref, report).places[0].medium for ref in (made, first, items[0], items[1])] == [
        "memory",
        "inline",
        "memory",
        "inline",
    ]
    assert row_of(failed, report).state == "failed"
    assert {row_of(ref, report).site.file for ref in (made, first, method, *items)} == {__file__}  # type: ignore[union-attr]


def test_a_large_argument_in_flight_and_the_view_of_it(ia: Any, gate: Gate, tmp_path: pathlib.Path) -> None:
    begun = Gate(tmp_path / "begun")

    @ia.remote
    def work(array: np.ndarray, other: np.ndarray, begun: Gate, gate: Gate) -> float:
        begun.open()
        gate.wait()
        return float(array.sum() + other.sum())

    shared = ia.put(np.ones(N))
    ref, line = work.remote(np.ones(2 * N), shared, begun, gate), here()
    begun.wait()
    report = ia.memory()
    [arguments] = [row for row in report if row.what == "arguments of work"]
    assert arguments.size_bytes >= 1_600_000
    assert arguments.site is not None
    assert (arguments.site.file, arguments.site.line) == (__file__, line)
    assert how(arguments) == ["calls driver", "mapping worker"]
    assert how(row_of(shared, report)) == ["calls driver", "mapping worker", "references driver"]
    [mapper] = [holder.process for holder in arguments.holders if holder.how == "mapping"]
    assert mapper is not None
    assert mapper.pid in [worker.pid for worker in anatomy.workers()]
    pending = row_of(ref, report)
    assert (pending.state, pending.size_bytes, pending.places) == ("pending", 0, ())
    gate.open()
    assert ia.get(ref, timeout=LIMIT_S) == 3 * N
    # What the result would have to be made again from goes with the result.
    [arguments] = [row for row in ia.memory() if row.what == "arguments of work"]
    assert "reruns driver" in how(arguments)
    assert "calls driver" not in how(arguments)
    del ref
    until(lambda: not [row for row in ia.memory() if row.what == "arguments of work"], "the arguments are gone")


def test_a_nested_reference_in_an_actor(ia: Any) -> None:
    keeper = make_keeper(ia, "nested")
    inner = ia.put(np.ones(N))
    outer = ia.put([inner])
    pid = ia.get(keeper.keep.remote({"it": [inner]}), timeout=LIMIT_S)
    report = ia.memory()
    row = row_of(inner, report)
    assert how(row) == ["object driver", "references Keeper 'nested'", "references driver"]
    [kept] = [holder for holder in row.holders if holder.process is not None and holder.process.role == "worker"]
    assert (kept.process.pid, kept.count, kept.since) == (pid, 1, "Keeper.keep")  # type: ignore[union-attr]
    [inside] = [holder for holder in row.holders if holder.how == "object"]
    assert (inside.object_id, inside.container) == (outer.hex(), "put")
    ia.get(keeper.drop.remote(), timeout=LIMIT_S)
    until(lambda: how(row_of(inner, ia.memory())) == ["object driver", "references driver"], "the actor has let go")


def test_a_view_that_an_actor_keeps(ia: Any) -> None:
    keeper = make_keeper(ia, "viewer")
    ref = ia.put(np.ones(N))
    ia.get(keeper.keep.remote(ref), timeout=LIMIT_S)
    assert how(row_of(ref, ia.memory())) == ["mapping Keeper 'viewer'", "references driver"]
    ia.get(keeper.drop.remote(), timeout=LIMIT_S)
    until(lambda: how(row_of(ref, ia.memory())) == ["references driver"], "the view is gone")


def test_what_a_worker_owns(ia: Any) -> None:
    @ia.remote
    class Maker:
        def make(self) -> list[Any]:
            import ipyactors

            return [ipyactors.put(np.ones(N))]

        def look(self) -> int:
            import ipyactors

            return len(ipyactors.memory())

    maker = Maker.options(name="m").remote()
    [ref] = ia.get(maker.make.remote(), timeout=LIMIT_S)
    row = row_of(ref, ia.memory())
    assert (row.owner.role, row.owner.runs) == ("worker", "Maker 'm'")
    assert "references driver" in how(row)
    assert row.site is not None
    assert (row.site.file, row.site.function) == (__file__, "Maker.make")
    [held] = [holder for holder in row.holders if holder.how == "references"]
    assert f"{pathlib.Path(__file__).name}, line " in held.since
    assert ia.get(maker.look.remote(), timeout=LIMIT_S) >= 1


def test_the_line_of_a_cell(ia: Any) -> None:
    text = "import ipyactors\nref = ipyactors.put(1)\ndef make():\n    return [ipyactors.put(2)]\nother = make()[0]\n"
    tracebacks.remember_source("/no/such/file.py", text, "Cell In[7]")
    scope: dict[str, Any] = {}
    exec(compile(text, "/no/such/file.py", "exec"), scope)
    report = ia.memory()
    assert str(row_of(scope["ref"], report).site) == "Cell In[7], line 2"
    assert str(row_of(scope["other"], report).site) == "Cell In[7], line 4, in make"


def test_the_line_is_the_users_where_the_package_makes_the_call(ia: Any) -> None:
    from ipyactors.util import ActorPool

    pool = ActorPool([make_keeper(ia, "pooled")])
    pool.submit(lambda actor, value: actor.keep.remote(value), np.ones(N))
    report = ia.memory(group_by="site")
    assert all(row.site is not None and row.site.file == __file__ for row in report if row.name == "Keeper.keep")
    pool.get_next(timeout=LIMIT_S)


def test_groups_and_limits(ia: Any) -> None:
    refs = [ia.put(np.ones(N)) for _ in range(3)]
    [line] = [str(row_of(refs[0], ia.memory()).site)]
    [group] = [group for group in ia.memory(group_by="site").groups if group.key == line]
    assert group.objects == 3
    assert group.size_bytes >= 3 * 800_000
    assert len(ia.memory(limit=2)) == 2
    [owner] = [group for group in ia.memory(group_by="owner").groups if group.key.startswith("driver")]
    assert owner.objects >= 3


# -- who does not answer ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_process_that_cannot_answer_is_named(ia: Any) -> None:
    keeper = make_keeper(ia, "stuck")
    ref = ia.put(1)
    pid = ia.get(keeper.keep.remote([ref]), timeout=LIMIT_S)
    with stopped(pid):
        report = ia.memory()
    assert report.silent == (f"Keeper 'stuck' (pid {pid})",)
    assert how(row_of(ref, report)) == ["lent Keeper 'stuck'", "references driver"]
    assert ia.memory().silent == ()


def test_a_head_that_was_started_again_is_asked_again(ia: Any) -> None:
    ref = ia.put(1)
    anatomy.head().kill()
    report = ia.memory()
    assert row_of(ref, report).state == "ready"


# -- from outside ----------------------------------------------------------------------------------------------

_CELLS = '''
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("""import numpy as np, ipyactors as ia
ia.init(num_cpus=1, session={name!r})
ref = ia.put(np.ones(100_000))
""", store_history=True)
shell.run_cell("""def make():
    return ia.put([1])
other = make()
""", store_history=True)
say("ready")
listen()
'''


def command(folders: RunFolders, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as its user would, in another process and another folder."""
    return subprocess.run(
        [sys.executable, "-m", "ipyactors", *words],
        capture_output=True,
        text=True,
        cwd=folders.top,
        env={**os.environ, **folders.environment(), "PYTHONPATH": str(_ROOT)},
        timeout=LIMIT_S,
        check=False,
    )


def test_the_command_line_against_a_live_session() -> None:
    pytest.importorskip("IPython")
    with clean_folders() as folders:
        none = command(folders, "memory")
        assert (none.returncode, none.stdout) == (1, "")
        assert none.stderr.startswith("Error: There is no live session under ")
        with Driver(folders, _CELLS.format(name="first")) as driver:
            driver.hear("ready")
            done = command(folders, "memory", "--json")
            assert done.returncode == 0, done.stderr
            rows = json.loads(done.stdout)["rows"]
            assert [(row["what"], row["owner"]["pid"], row["places"][0]["medium"]) for row in rows] == [
                ("put", driver.pid, "memory"),
                ("put", driver.pid, "inline"),
            ]
            sites = [(row["site"]["file"], row["site"]["line"], row["site"]["function"]) for row in rows]
            assert sites == [("Cell In[1]", 3, ""), ("Cell In[2]", 2, "make")]
            table = command(folders, "memory", "--session", "first").stdout
            assert "Cell In[1], line 3" in table
            assert "  driver  " in table
            assert "Cell In[2], line 2, in make" in command(folders, "memory", "--group-by", "site").stdout
            with Driver(folders, _CELLS.format(name="second")) as other:
                other.hear("ready")
                several = command(folders, "memory")
                assert several.returncode == 1
                assert "There are 2 live sessions: first, second. Choose one with --session NAME." in several.stderr
                assert command(folders, "memory", "--session", "second").returncode == 0
                other.tell("end")
                assert other.end()[0] == 0
            # Being looked at has changed nothing.
            driver.tell("end")
            assert driver.end() == (0, "")


def test_what_was_let_go_of_is_on_its_way_out(ia: Any) -> None:
    """It may still be in a store at that moment, but it is not an object that nobody knows."""
    make = ia.remote(lambda: np.ones(N))
    gc.collect()  # a cycle that a test before has left may hold references
    for _ in range(5):
        put, made = ia.put(np.ones(N)), make.remote()
        ia.wait([made], timeout=LIMIT_S)
        del put, made
        assert {row.what for row in ia.memory()} <= {"freed"}


def test_what_a_cycle_holds_is_held_until_python_collects_it(ia: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        cycle: list[Any] = [ia.put(1)]
        cycle.append(cycle)
        del cycle
        assert [row.what for row in ia.memory() if row.what != "freed"] == ["put"]
        gc.collect()
        assert {row.what for row in ia.memory()} <= {"freed"}
    finally:
        gc.enable()
