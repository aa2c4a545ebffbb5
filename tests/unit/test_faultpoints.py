"""Fault points: nothing happens unless one is armed, and then exactly what was asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ipyactors.ground import faultpoints


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faultpoints.disarm()


def hits(name: str, count: int) -> list[int]:
    """Return at which of ``count`` hits something was raised."""
    raised = []
    for number in range(1, count + 1):
        try:
            faultpoints.hit(name)
        except faultpoints.InjectedError:
            raised.append(number)
    return raised


def test_nothing_happens_unless_armed() -> None:
    faultpoints.hit("a.place")
    faultpoints.arm("another.place", "raise")
    faultpoints.hit("a.place")


@pytest.mark.parametrize(("nth", "expected"), [(1, [1]), (3, [3]), (0, [1, 2, 3, 4])])
def test_it_happens_at_the_hit_that_was_asked_for(nth: int, expected: list[int]) -> None:
    faultpoints.arm("a.place", "raise", nth)
    assert hits("a.place", 4) == expected


def test_arming_again_starts_counting_again() -> None:
    faultpoints.arm("a.place", "raise", 2)
    assert hits("a.place", 1) == []
    faultpoints.arm("a.place", "raise", 2)
    assert hits("a.place", 2) == [2]


def test_disarming_one_leaves_the_others() -> None:
    faultpoints.arm("one", "raise", 0)
    faultpoints.arm("two", "raise", 0)
    faultpoints.disarm("one", "unknown")
    assert hits("one", 2) == []
    assert hits("two", 1) == [1]
    faultpoints.disarm()
    assert hits("two", 1) == []


def test_a_full_disk_is_the_error_of_a_full_disk() -> None:
    faultpoints.arm("a.place", "enospc")
    with pytest.raises(OSError, match=r"a\.place") as caught:
        faultpoints.hit("a.place")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(("action", "nth"), [("explode", 1), ("kill", -1), ("", 1)])
def test_what_means_nothing_is_refused(action: str, nth: int) -> None:
    with pytest.raises(ValueError, match="was not armed"):
        faultpoints.arm("a.place", action, nth)


@pytest.mark.parametrize("text", ["a.place", "a.place:explode", "a.place:kill:often", "a.place:kill:-1"])
def test_a_text_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.place"):
        faultpoints.arm_all(text)
    assert hits("a.place", 2) == []


def test_a_text_arms_several() -> None:
    faultpoints.arm_all(" one:raise , two:raise:2,, three:enospc:0 ")
    assert hits("one", 3) == [1]
    assert hits("two", 3) == [2]
    for _ in range(2):
        with pytest.raises(OSError):
            faultpoints.hit("three")


def run(armed: str) -> subprocess.Popen[bytes]:
    """Start a process that hits a fault point twice and says so each time."""
    code = "from ipyactors.ground import faultpoints\nfor n in '12':\n faultpoints.hit('a.place'); print(n, flush=True)"
    environment = {**os.environ, faultpoints.VARIABLE: armed}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)


@pytest.mark.parametrize(
    ("armed", "status", "said"),
    [
        ("a.place:kill:2", -signal.SIGKILL, b"1\n"),
        ("a.place:exit", faultpoints.EXIT_STATUS, b""),
        ("elsewhere:kill", 0, b"1\n2\n"),
    ],
)
def test_the_environment_arms_a_process_from_its_start(armed: str, status: int, said: bytes) -> None:
    process = run(armed)
    out, _ = process.communicate()
    assert (process.returncode, out) == (status, said)


def test_a_stopped_process_goes_on_when_it_is_told_to() -> None:
    process = run("a.place:stop:2")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, b"1\n2\n")


def test_an_order_is_done_once_by_whoever_is_first(tmp_path: pathlib.Path) -> None:
    """Processes that run already look into a folder; whoever hits the point for the nth time since takes the order."""
    code = (
        "import sys\nfrom ipyactors.ground import faultpoints\n"
        "for _ in sys.stdin:\n faultpoints.hit('a.place'); print('hit', flush=True)"
    )
    environment = {**os.environ, faultpoints.VARIABLE: f"@{tmp_path}"}
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
                )
            )
            for _ in range(2)
        )
        assert [go_on(one), go_on(other)] == [True, True]
        order = faultpoints.order(tmp_path, "a.place", "exit", 2)
        assert [go_on(one), go_on(other), go_on(one)] == [True, True, False]
        assert not order.exists()
        assert one.wait() == faultpoints.EXIT_STATUS
        assert [path.name for path in tmp_path.iterdir()] == [f"a.place.{one.pid}.taken"]
        assert [go_on(other), go_on(other)] == [True, True]
        faultpoints.order(tmp_path, "a.place", "exit")  # another one: hits are counted from here on
        assert go_on(other) is False


def go_on(process: subprocess.Popen[bytes]) -> bool:
    """Have a process hit its point; return whether it says that it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return process.stdout.readline() == b"hit\n"


def test_an_order_that_means_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"a\.place"):
        faultpoints.order(tmp_path, "a.place", "explode")
    assert list(tmp_path.iterdir()) == []
