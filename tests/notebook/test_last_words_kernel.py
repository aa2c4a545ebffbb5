"""A real kernel: what a call printed just before its process was killed is under its cell, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernels import Kernel, running_kernel

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(240)]

SETUP = """%load_ext ipyactors
import ipyactors, ctypes, os, pathlib, signal, time
ipyactors.init(num_cpus=3)"""

DEFINITIONS = """import tempfile
first_time = tempfile.mktemp()

@ipyactors.remote(max_retries=1)
def twice(path=first_time):
    if os.path.exists(path):
        print('alive')
        return 'returned'
    pathlib.Path(path).touch()
    print('about to die')
    os.kill(os.getpid(), signal.SIGKILL)

@ipyactors.remote(max_retries=0)
def abort():
    libc = ctypes.CDLL(None)
    os.write(2, b'the library gives up\\n')
    print('about to', end=' ', flush=True)
    libc.abort()

@ipyactors.remote
class Plain:
    def die(self):
        print('about to die')
        os.kill(os.getpid(), signal.SIGKILL)
    def wait(self, path):
        while not os.path.exists(path):
            time.sleep(0.02)
        self.die()

@ipyactors.remote(durable=True)
class Room:
    def __init__(self):
        self.n = 0
    def give(self, path):
        self.n += 1
        print('giving', self.n)
        if not os.path.exists(path):
            pathlib.Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.n
room = Room.options(name='room').remote()"""

DIED = """try:
    ipyactors.get({})
except ipyactors.exceptions.IpyactorsError as error:
    print(type(error).__name__)"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as running:
        running.check(SETUP)
        running.check(DEFINITIONS)
        yield running


def text_of(kernel: Kernel, code: str) -> str:
    """Run a cell to its end; return what is under it."""
    cell = kernel.start(code)
    shown = kernel.finish(cell)
    assert shown.status == "ok", shown.traceback
    return kernel.page.text(cell)


def test_an_attempt_that_is_killed_has_its_words_before_those_of_the_next(kernel: Kernel) -> None:
    text = text_of(kernel, "print(ipyactors.get(twice.remote()))")
    assert text == "(twice) about to die\n(twice) alive\nreturned\n"


def test_what_a_library_says_before_it_aborts_is_shown_and_not_the_crash_report(kernel: Kernel) -> None:
    text = text_of(kernel, DIED.format("abort.remote()"))
    assert text == "(abort) the library gives up\n(abort) about to \nWorkerCrashedError\n"


def test_an_actors_words_come_before_the_error(kernel: Kernel) -> None:
    text = text_of(kernel, "plain = Plain.options(name='p1').remote()\n" + DIED.format("plain.die.remote()"))
    assert text == "(Plain 'p1') about to die\nActorDiedError\n"


def test_the_words_are_under_the_cell_of_the_call_whichever_runs(kernel: Kernel) -> None:
    first = kernel.start("plain = Plain.remote(); gate = tempfile.mktemp(); ref = plain.wait.remote(gate)")
    assert kernel.finish(first).status == "ok"
    second = text_of(kernel, "pathlib.Path(gate).touch()\n" + DIED.format("ref"))
    assert second == "ActorDiedError\n"
    assert kernel.page.text(first) == "(Plain) about to die\n"


def test_a_durable_call_shows_each_time_that_it_runs(kernel: Kernel) -> None:
    text = text_of(kernel, "print(ipyactors.get(room.give.remote(tempfile.mktemp())))")
    assert text == "(Room 'room') giving 1\n(Room 'room') giving 1\n1\n"


def test_code_that_runs_on_an_actor_and_kills_it(kernel: Kernel) -> None:
    kernel.check("once = tempfile.mktemp()")
    text = text_of(
        kernel,
        """%%on room --readonly
print('about to die')
if not os.path.exists(once):
    pathlib.Path(once).touch()
    os.kill(os.getpid(), signal.SIGKILL)""",
    )
    assert text == "(Room 'room') about to die\n" * 2


def test_a_task_of_a_cell_that_is_killed(kernel: Kernel) -> None:
    cell = kernel.start("%%task --max-retries 0\nprint('about to die')\nos.kill(os.getpid(), signal.SIGKILL)")
    assert kernel.finish(cell).status == "ok"
    kernel.run("await _")
    assert kernel.page.text(cell).count("about to die") == 1
