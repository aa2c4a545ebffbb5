"""What a call's programs, C libraries and children write reaches its caller as what it prints does."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import ipyactors as ia
from ipyactors.exceptions import WorkerCrashedError
from tests.support.durable import get, kill
from tests.support.gates import Gate, until

pytestmark = pytest.mark.usefixtures("shared_runtime")

Seen = Callable[[], str]


def say(word: str) -> None:
    """Have a program write a line."""
    subprocess.run(["/bin/echo", word], check=True)


def test_all_that_a_task_writes_comes_in_order_before_its_answer(seen: Seen) -> None:
    @ia.remote
    def write() -> None:
        import ctypes

        print("print")
        os.system("echo system; echo error >&2")
        print("between")
        os.write(1, b"descriptor\n")
        sys.stdout.buffer.write(b"buffer\n")
        libc = ctypes.CDLL(None)
        libc.printf(b"printf\n")
        libc.fflush(None)
        print("partial ", end="", flush=True)
        subprocess.run(["/bin/echo", "line"], check=True)
        os.write(2, b"unended")

    get(write.remote())
    lines = ["print", "system", "error", "between", "descriptor", "buffer", "printf", "partial line", "unended"]
    assert seen() == "".join(f"(write) {line}\n" for line in lines)


def test_a_line_is_shown_while_its_program_runs(seen: Seen, gate: Gate) -> None:
    @ia.remote(num_cpus=0)
    def wait(path: str) -> None:
        os.system(f"echo begun; until [ -e {path} ]; do sleep 0.05; done; echo ended")

    ref = wait.remote(str(gate.path))
    until(lambda: "(wait) begun\n" in seen(), "the line")
    gate.open()
    get(ref)
    assert seen() == "(wait) begun\n(wait) ended\n"


@pytest.mark.parametrize("limit", [1, 2])
def test_a_method_of_any_kind_and_a_constructor(limit: int, seen: Seen, gate: Gate) -> None:
    class Plain:
        def __init__(self, path: str) -> None:
            os.system(f"echo built; until [ -e {path} ]; do sleep 0.05; done; echo ready")

        def write(self) -> None:
            say("written")

    class Awaited(Plain):
        async def write(self) -> None:
            say("written")

    for cls in (Plain, Awaited):
        actor = ia.remote(cls).options(max_concurrency=limit, num_cpus=0).remote(str(gate.path))
        until(lambda cls=cls: f"({cls.__name__}) built\n" in seen(), "the constructor's line")  # type: ignore[misc]
        gate.open()
        get(actor.write.remote())
        for word in ("ready", "written"):  # a constructor's may come after a method's: it goes to the creator
            until(lambda text=f"({cls.__name__}) {word}\n": text in seen(), "the line")  # type: ignore[misc]
        ia.kill(actor)
        os.unlink(gate.path)


def test_what_a_call_leaves_running_is_shown(seen: Seen, gate: Gate) -> None:
    @ia.remote(num_cpus=0)
    class Starter:
        def start(self, path: str) -> None:
            subprocess.Popen(["/bin/sh", "-c", f"until [ -e {path} ]; do sleep 0.05; done; echo late"])

    starter = Starter.remote()
    get(starter.start.remote(str(gate.path)))
    gate.open()
    until(lambda: seen() == "(Starter) late\n", "the line")


def test_a_forked_child_prints_for_the_call_that_waits_for_it(seen: Seen) -> None:
    @ia.remote
    def fork() -> None:
        import multiprocessing

        child = multiprocessing.get_context("fork").Process(target=print, args=("child",))
        child.start()
        child.join()
        print("parent")

    get(fork.remote())
    assert seen() == "(fork) child\n(fork) parent\n"


def test_who_redirects_descriptors_has_what_is_written_there(seen: Seen, tmp_path: pathlib.Path) -> None:
    @contextlib.contextmanager
    def redirected(path: str) -> Any:
        kept = os.dup(1)
        with open(path, "w") as file:
            os.dup2(file.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    @ia.remote
    def redirect(path: str) -> None:
        with redirected(path):
            os.system("echo there")
            print("both")
        os.system("echo here")

    get(redirect.remote(str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "there\nboth\n"
    assert seen() == "(redirect) both\n(redirect) here\n"


def test_a_replay_shows_nothing_again(seen: Seen) -> None:
    @ia.remote(durable=True, num_cpus=0)
    class Teller:
        def tell(self, word: str) -> None:
            os.system(f"echo {word}")

    teller = Teller.remote()
    get([teller.tell.remote(word) for word in ("one", "two")])
    kill(teller)
    get(teller.tell.remote("three"))
    until(lambda: "three" in seen(), "the last line")
    assert seen() == "(Teller) one\n(Teller) two\n(Teller) three\n"


def test_the_report_on_a_death_has_it_in_the_order_of_the_log() -> None:
    @ia.remote(max_retries=0)
    def die() -> None:
        print("first")
        os.system("echo second")
        print("third")
        os.system("echo fourth")
        os.kill(os.getpid(), 9)

    with pytest.raises(WorkerCrashedError, match=r"first\s+second\s+third\s+fourth"):
        get(die.remote())


def test_what_was_written_before_an_exit_is_shown(seen: Seen) -> None:
    @ia.remote(max_retries=0)
    def leave() -> None:
        say("last words")
        os._exit(3)

    with pytest.raises(WorkerCrashedError):
        get(leave.remote())
    until(lambda: seen() == "(leave) last words\n", "the line")


def test_what_an_earlier_task_wrote_is_not_in_the_report() -> None:
    @ia.remote(max_retries=0, num_cpus=2)
    def write(word: str, *, dies: bool) -> None:
        os.system(f"echo {word}")
        if dies:
            os.kill(os.getpid(), 9)

    get(write.remote("earlier", dies=False))
    with pytest.raises(WorkerCrashedError, match="later") as raised:
        get(write.remote("later", dies=True))
    assert "earlier" not in str(raised.value)


def test_the_last_words_of_a_constructor_are_in_the_log_only(seen: Seen, gate: Gate) -> None:
    @ia.remote(num_cpus=0)
    class Broken:
        def __init__(self) -> None:
            say("trying")
            gate.wait()
            raise LookupError("nothing there")

        def use(self) -> None: ...

    broken = Broken.remote()
    until(lambda: "trying" in seen(), "the line")
    gate.open()
    with pytest.raises(Exception, match="nothing there"):
        get(broken.use.remote())
    assert seen() == "(Broken) trying\n"
