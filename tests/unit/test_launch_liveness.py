"""Who is alive, and that only the right process is ever ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ipyactors.launch.local import package_parent
from ipyactors.wire import liveness
from ipyactors.wire.liveness import Identity


def identity_of(process: subprocess.Popen[bytes]) -> Identity:
    found = liveness.identify(process.pid)
    assert found is not None
    return found


def test_a_process_is_the_same_at_each_look(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert identity == identity_of(sleeper)
    assert liveness.is_running(identity)
    assert sleeper.pid in liveness.children_of(os.getpid())


def test_a_zombie_is_not_running_but_still_has_its_pid(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert liveness.kill(identity, group=True)
    assert liveness.wait_gone(identity, 30)
    assert not liveness.is_running(identity)
    assert liveness.identify(sleeper.pid) == identity
    sleeper.wait()
    assert liveness.identify(sleeper.pid) is None
    assert not liveness.kill(identity)


def test_a_pid_that_was_used_again_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    before = identity_of(sleeper)._replace(started=1)
    assert not liveness.is_running(before)
    assert not liveness.kill(before, group=True)
    assert liveness.wait_gone(before, 0)
    assert sleeper.poll() is None


def test_waiting_for_a_living_process_ends_in_time(sleeper: subprocess.Popen[bytes]) -> None:
    assert not liveness.wait_gone(identity_of(sleeper), 0.01)


def test_a_name_with_parentheses_and_spaces_is_no_obstacle(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = tmp_path_factory.mktemp("p") / ") R 1 (x"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    try:
        assert liveness.is_running(identity_of(process))
        assert process.pid in liveness.children_of(os.getpid())
    finally:
        process.kill()
        process.wait()


def test_a_child_dies_with_its_parent() -> None:
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from ipyactors.wire import liveness\n"
        "parent = os.getpid(); told, tell = os.pipe(); pid = os.fork()\n"
        "if pid == 0:\n"
        "    liveness.die_with_parent(parent); os.write(tell, b'.'); time.sleep(600)\n"
        "os.read(told, 1); print(pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, package_parent()], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    child = liveness.identify(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert liveness.wait_gone(child, 30)
