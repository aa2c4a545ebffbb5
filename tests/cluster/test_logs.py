"""``logs``: the end of what an actor's or a call's processes have printed."""

from __future__ import annotations

import ctypes
import os
import pathlib
import time

import pytest

import ipyactors

pytestmark = pytest.mark.usefixtures("shared_runtime")


@ipyactors.remote(max_restarts=1, max_task_retries=1)
class Talker:
    def say(self, *words: str) -> None:
        for word in words:
            print(word)

    def die(self, path: str) -> None:
        print("last words")
        if not os.path.exists(path):
            pathlib.Path(path).touch()
            os._exit(3)


@ipyactors.remote
class Crasher:
    def crash(self) -> None:
        print("about to crash")
        ctypes.string_at(0)


@ipyactors.remote
def count(number: int) -> None:
    for value in range(number):
        print(value)


@ipyactors.remote
def wait_for(path: str) -> None:
    print("waiting")
    pathlib.Path(path + ".began").touch()
    while not os.path.exists(path):
        time.sleep(0.01)


def test_an_actor_has_one_log_for_each_incarnation(tmp_path: pathlib.Path) -> None:
    talker = Talker.options(name="t").remote()
    ipyactors.get(talker.say.remote("one", "two"))
    ipyactors.get(talker.die.remote(str(tmp_path / "died")))
    first, second = ipyactors.logs(talker)
    assert (first.number, first.lines, first.is_whole) == (0, ("one", "two", "last words"), True)
    assert (second.number, second.lines) == (1, ("last words",))
    assert str(second) == "Talker 't', incarnation 1, 1 line:\n    last words"
    (shortened, _) = ipyactors.logs(talker, lines=2)
    assert (shortened.lines, shortened.is_whole) == (("two", "last words"), False)
    assert str(shortened).startswith("Talker 't', incarnation 0, the last 2 lines:\n")


def test_a_crash_in_native_code_is_shown_from_its_head_without_our_frames() -> None:
    crasher = Crasher.remote()
    with pytest.raises(ipyactors.exceptions.ActorDiedError):
        ipyactors.get(crasher.crash.remote())
    (log,) = ipyactors.logs(crasher, lines=20)
    assert log.lines[:2] == ("about to crash", "Fatal Python error: Segmentation fault")
    assert any(line.endswith(" in crash") for line in log.lines)
    assert not any("/ipyactors/" in line or "<string>" in line for line in log.lines)
    assert log.is_whole


def test_a_call_has_the_log_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipyactors.api.logs._STEP_BYTES", 16)
    ref = count.remote(1000)
    ipyactors.get(ref)
    (log,) = ipyactors.logs(ref, lines=50)
    assert (log.what, log.number) == ("count, attempt 1", 0)
    assert log.lines == tuple(map(str, range(950, 1000)))


def test_a_call_that_runs_has_one_too(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "gate")
    ref = wait_for.remote(path)
    while not os.path.exists(path + ".began"):
        time.sleep(0.01)
    (log,) = ipyactors.logs(ref)
    assert log.lines[-1] == "waiting"
    pathlib.Path(path).touch()
    ipyactors.get(ref)


def test_an_actor_whose_constructor_raised_has_a_log() -> None:
    @ipyactors.remote
    class Broken:
        def __init__(self) -> None:
            print("trying")
            raise ValueError("no")

        def value(self) -> None: ...

    broken = Broken.remote()
    with pytest.raises(ipyactors.exceptions.ActorDiedError, match=r"is final, whatever max_restarts says:\nTraceback"):
        ipyactors.get(broken.value.remote())
    (log,) = ipyactors.logs(broken)
    assert (log.number, log.lines[0]) == (0, "trying")


def test_what_has_no_worker_has_no_log() -> None:
    logs = ipyactors.logs(ipyactors.put(1))
    assert logs == ()
    assert "no log" in repr(logs)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(TypeError, match="takes an actor's handle or name, or a reference, not int"):
        ipyactors.logs(1)  # type: ignore[arg-type]
    with pytest.raises(ipyactors.exceptions.OptionError, match="at least 1"):
        ipyactors.logs(ipyactors.put(1), lines=0)
