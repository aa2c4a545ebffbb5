"""The stop button in a real kernel: the cell ends, what it has submitted is cancelled, everything else goes on."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, Shown, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import asyncio, ipyactors, os, threading, time
ipyactors.init(num_cpus=3)"""

#: Everything here that runs long does so for ten minutes: a cell that ends has not waited for it.
DEFINITIONS = """
@ipyactors.remote
def long(path):
    open(path, 'w').close()
    time.sleep(600)

@ipyactors.remote
def items(path):
    yield 1
    open(path, 'w').close()
    time.sleep(600)

@ipyactors.remote
def quick(*_): return 1

@ipyactors.remote
class Tally:
    def __init__(self): self.value = 0
    def add(self, amount=1):
        self.value += amount
        return self.value
    def wait(self, begun, go_on):
        open(begun, 'w').close()
        while not os.path.exists(go_on): time.sleep(0.01)
        return self.add(100)
    def unused(self, _): pass

def until(*paths):
    for path in paths:
        while not os.path.exists(path): time.sleep(0.01)
    print('waiting', flush=True)

def outcome(ref):
    try: ipyactors.get(ref)
    except ipyactors.exceptions.TaskCancelledError as error: return str(error)
    return 'not cancelled'
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        running.check(DEFINITIONS)
        running.check("tally = Tally.remote()")
        yield running


def stop(kernel: Kernel, code: str) -> Shown:
    """Run a cell, press the stop button once it has printed that it waits."""
    cell = kernel.start(code)
    kernel.wait_printed(cell, "waiting")
    kernel.interrupt()
    return kernel.finish(cell)


def assert_reads_well(shown: Shown, line: str) -> None:
    assert (shown.status, shown.error_name) == ("error", "KeyboardInterrupt"), shown.traceback
    assert f"{line}\n" in f"{shown.traceback}\n", shown.traceback
    assert "CancelledError" not in shown.traceback
    assert "/ipyactors/" not in shown.traceback
    assert "asyncio/" not in shown.traceback, shown.traceback


@pytest.mark.parametrize(
    "waits",
    [
        "ipyactors.get(ref)",
        "ipyactors.wait([ref])",
        "next(ipyactors.as_completed([ref]))",
        "await anext(ipyactors.as_completed([ref]))",
        "ref.future().result()",
        "await ref",
        "await asyncio.gather(ref, ref)",
        "await asyncio.sleep(0), ipyactors.get(ref)",
        "await asyncio.sleep(600)",
        "time.sleep(600)",
    ],
)
def test_the_cell_ends_and_its_task_with_it(kernel: Kernel, tmp_path: pathlib.Path, waits: str) -> None:
    started = str(tmp_path / "started")
    line = f"until({started!r}), {waits}"  # one statement: between two of them the cell is at none
    shown = stop(kernel, f"ref = long.remote({started!r})\n{line}")
    assert_reads_well(shown, line)
    assert shown.text.strip() == "interrupted: 1 task cancelled"
    assert "interrupted while it ran" in kernel.check("outcome(ref)").result
    kernel.check("assert ipyactors.get(tally.add.remote(0)) == 0")


@pytest.mark.parametrize("loop", ["for ref in {}: ipyactors.get(ref)", "async for ref in {}: await ref"])
def test_the_cell_ends_while_it_waits_for_the_next_item(kernel: Kernel, tmp_path: pathlib.Path, loop: str) -> None:
    started = str(tmp_path / "started")
    line = loop.format(f"(until({started!r}), stream)[1]")
    shown = stop(kernel, f"stream = items.remote({started!r})\n{line}")
    assert_reads_well(shown, line)
    assert shown.text.strip() == "interrupted: 1 task cancelled"


def test_a_cell_that_catches_the_interrupt_keeps_what_it_has_submitted(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    started = str(tmp_path / "started")
    shown = stop(
        kernel,
        f"ref = long.remote({started!r})\n"
        f"try: until({started!r}); ipyactors.get(ref)\nexcept KeyboardInterrupt: print('caught')",
    )
    assert (shown.status, shown.text.strip()) == ("ok", "caught")
    assert kernel.check("'run' in ipyactors.explain(ref)").result == "True"
    kernel.check("ipyactors.cancel(ref)")


def test_what_earlier_cells_and_other_threads_wait_for_goes_on(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    paths = [str(tmp_path / name) for name in ("earlier", "awaited", "unwanted")]
    kernel.check(f"earlier = long.remote({paths[0]!r})")
    shown = stop(
        kernel,
        f"awaited = long.remote({paths[1]!r})\n"
        "thread = threading.Thread(target=lambda: outcome(awaited), daemon=True); thread.start()\n"
        f"unwanted = long.remote({paths[2]!r})\nuntil(*{paths!r})\nipyactors.get(unwanted)",
    )
    said = "interrupted: 1 task cancelled; 1 task goes on, for somebody else waits for it"
    assert shown.text.strip() == said
    assert "interrupted while it ran" in kernel.check("outcome(unwanted)").result
    kernel.check("assert thread.is_alive() and not ipyactors.wait([earlier, awaited], timeout=0)[0]")
    kernel.check("ipyactors.cancel(earlier); ipyactors.cancel(awaited); thread.join()")


@pytest.mark.parametrize(
    "waits", ["asyncio.wait([future := asyncio.ensure_future(ref)])", "asyncio.to_thread(lambda: outcome(ref))"]
)
def test_what_other_code_of_the_same_cell_waits_for_is_cancelled(
    kernel: Kernel, tmp_path: pathlib.Path, waits: str
) -> None:
    started = str(tmp_path / "started")
    shown = stop(kernel, f"ref, future = long.remote({started!r}), None\nuntil({started!r})\nawait {waits}")
    assert shown.text.strip() == "interrupted: 1 task cancelled"
    assert "interrupted while it ran" in kernel.check("outcome(ref)").result
    kernel.check("if future: await asyncio.wait([future]); future.exception()")  # else asyncio complains, some time


def test_what_a_thread_of_an_earlier_cell_calls_goes_on(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    started = str(tmp_path / "started")
    kernel.check(
        "go, made = threading.Event(), []\n"
        f"thread = threading.Thread(target=lambda: (go.wait(), made.append(long.remote({started!r}))))\n"
        "thread.start()"
    )
    shown = stop(kernel, f"go.set(); until({started!r}); time.sleep(600)")
    assert shown.text.strip() == ""
    kernel.check("thread.join(); assert not ipyactors.wait(made, timeout=0)[0]; ipyactors.cancel(made[0])")


@pytest.mark.parametrize("options", ["", ", durable=True"])
def test_an_actor_ends_what_it_has_begun_and_the_rest_is_withdrawn(
    kernel: Kernel, tmp_path: pathlib.Path, options: str
) -> None:
    begun, go_on = str(tmp_path / "begun"), str(tmp_path / "go on")
    kernel.check(f"named = Tally.options(name='acct'{options}).remote()")
    shown = stop(
        kernel,
        f"running = named.wait.remote({begun!r}, {go_on!r}); queued = [named.add.remote() for _ in range(5)]\n"
        f"until({begun!r})\nipyactors.get(queued)",
    )
    state = "are being withdrawn" if "durable" in options else "withdrawn"
    words = f"interrupted: 5 calls of Tally 'acct' {state}; 1 call is running in Tally 'acct' and goes on"
    assert shown.text.strip() == words
    kernel.check(f"open({go_on!r}, 'w').close()")
    assert kernel.check("ipyactors.get(running)").result == "100"
    assert kernel.check("ipyactors.get(named.add.remote())").result == "101"
    assert "It was not run" in kernel.check("outcome(queued[0])").result
    kernel.check("ipyactors.kill(named)")


def test_a_cell_with_very_many_calls(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    begun, go_on, started = (str(tmp_path / name) for name in ("begun", "go on", "started"))
    kernel.check("busy = Tally.options(name='busy').remote()")
    shown = stop(
        kernel,
        f"running = busy.wait.remote({begun!r}, {go_on!r}); calls = [busy.add.remote() for _ in range(5000)]\n"
        f"first = long.remote({started!r}); tasks = [quick.remote(first) for _ in range(5000)]\n"
        f"until({begun!r}, {started!r})\nipyactors.get(calls + tasks)",
    )
    counts = "5001 tasks cancelled, 5000 calls of Tally 'busy' withdrawn"
    assert shown.text.strip() == f"interrupted: {counts}; 1 call is running in Tally 'busy' and goes on"
    kernel.check(f"open({go_on!r}, 'w').close()")
    assert kernel.check("ipyactors.get(running), ipyactors.get(busy.add.remote())").result == "(100, 101)"
    kernel.check("assert all('It was not run' in outcome(ref) for ref in calls + tasks)")
    kernel.check("ipyactors.kill(busy)")


ASYNC = """
@ipyactors.remote
class Async:
    def __init__(self): self.value = 0
    async def add(self, begun, go_on):
        open(begun, 'w').close()
        while not os.path.exists(go_on): await asyncio.sleep(0.01)
        self.value += 1
        return self.value
"""


def test_an_async_method_that_has_begun_is_not_cancelled(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    begun, go_on = str(tmp_path / "begun"), str(tmp_path / "go on")
    kernel.check(f"{ASYNC}\nasynchronous = Async.remote()")
    shown = stop(kernel, f"ref = asynchronous.add.remote({begun!r}, {go_on!r})\nuntil({begun!r})\nawait ref")
    assert shown.text.strip().startswith("interrupted: 1 call is running in Async")
    kernel.check(f"open({go_on!r}, 'w').close()")
    assert kernel.check("await ref").result == "1"


def test_the_user_may_want_everything_to_go_on(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    started = str(tmp_path / "started")
    kernel.check("ipyactors.config(interrupt='keep')")
    shown = stop(kernel, f"ref = long.remote({started!r})\nuntil({started!r})\nipyactors.get(ref)")
    assert shown.text.strip() == "interrupted: 1 task goes on (interrupt=keep)"
    kernel.check("assert not ipyactors.wait([ref], timeout=0)[0]")
    kernel.check("ipyactors.config(interrupt='cancel'); ipyactors.cancel(ref)")


def test_the_handler_of_sigint_is_the_one_that_was_there_before(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    ask = "import signal; signal.getsignal(signal.SIGINT).__qualname__"
    before = kernel.check(f"%unload_ext ipyactors\n{ask}").result
    kernel.check("import sys; assert 'ipyactors' not in sys.unraisablehook.__module__")
    kernel.check("%load_ext ipyactors")
    started = str(tmp_path / "started")
    stop(kernel, f"ref = long.remote({started!r})\nuntil({started!r})\nawait ref")
    assert kernel.check(ask).result == before


@pytest.mark.parametrize(
    "waits", ["[None for _ in iter(int, 1)]", "time.sleep(600)", "await asyncio.sleep(600)", "ipyactors.get(ref)"]
)
def test_an_interrupt_that_python_would_drop_ends_the_cell(kernel: Kernel, tmp_path: pathlib.Path, waits: str) -> None:
    started = str(tmp_path / "started")
    kernel.check(
        "import signal, sys, weakref\nclass Thing: pass\n"
        "def drop_one():\n"
        "    thing = Thing()\n"
        "    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "    del thing"
    )
    line = f"until({started!r}), drop_one(), {waits}"
    shown = kernel.run(f"ref = long.remote({started!r})\n{line}")
    assert_reads_well(shown, line)
    assert shown.text == "waiting\ninterrupted: 1 task cancelled\n"


def test_a_cell_that_is_stopped_between_two_of_its_lines(kernel: Kernel, tmp_path: pathlib.Path) -> None:
    """IPython compiles each when the one before it has run."""
    started = str(tmp_path / "started")
    kernel.check(
        "import codeop, signal\nbefore = codeop.Compile.__call__\n"
        "def interrupted(self, source, filename, symbol, **kwargs):\n"
        "    if symbol == 'exec' and 'Name(id=\\'never\\'' in ast.dump(source): signal.raise_signal(signal.SIGINT)\n"
        "    return before(self, source, filename, symbol, **kwargs)\n"
        "import ast\ncodeop.Compile.__call__ = interrupted"
    )
    shown = kernel.run(f"ref = long.remote({started!r})\nuntil({started!r})\nnever = 1")
    kernel.check("codeop.Compile.__call__ = before")
    assert (shown.status, shown.error_name) == ("error", "KeyboardInterrupt")
    assert shown.text == "waiting\ninterrupted: 1 task cancelled\n"


def test_iterators_that_an_interrupt_keeps_from_being_made_leave_no_words(kernel: Kernel) -> None:
    shown = kernel.run(
        "import signal\nfrom ipyactors.engines import following\n"
        "def interrupted(entries): signal.raise_signal(signal.SIGINT); return made(entries)\n"
        "made, following.Completions = following.Completions, interrupted\n"
        "try: next(ipyactors.as_completed([quick.remote()]))\n"
        "except KeyboardInterrupt: print('stopped')\n"
        "finally: following.Completions = made"
    )
    assert shown.text == "stopped\n"
