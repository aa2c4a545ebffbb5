"""The memory killer, for real: a control group with little memory, and a task that wants more. Needs root."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

LIMIT_BYTES = 400_000_000

PROGRAM = """
import ipyactors as ia

def eat():
    eaten = []
    while True:
        eaten.append(bytearray(b"x") * 10_000_000)

ia.init(num_cpus=1)
try:
    ia.get(ia.remote(max_retries=0)(eat).remote())
except ia.exceptions.OutOfMemoryError as error:
    print(error)
print(ia.get(ia.remote(lambda: "still here").remote()))
"""


def _parent_group() -> tuple[pathlib.Path, str] | None:
    """Return this process's memory group and the name of its limit file: version 1 or 2."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return pathlib.Path("/sys/fs/cgroup/memory" + path), "memory.limit_in_bytes"
    path = pathlib.Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
    group = pathlib.Path("/sys/fs/cgroup" + path)
    return (group, "memory.max") if (group / "cgroup.subtree_control").exists() else None


@pytest.fixture
def group() -> Iterator[pathlib.Path]:
    found = _parent_group() if sys.platform == "linux" else None
    if found is None:
        pytest.skip("no control group for memory on this machine")
    made = found[0] / f"ipyactors-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / found[1]).write_text(str(LIMIT_BYTES))
    except OSError as error:
        with contextlib.suppress(OSError):
            made.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield made
    made.rmdir()


def test_a_task_that_eats_all_memory_is_told_apart_from_any_other_kill(group: pathlib.Path) -> None:
    join = f"echo $$ > {group}/cgroup.procs && exec {sys.executable} -c '{PROGRAM}'"
    done = subprocess.run(["bash", "-c", join], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    words, last = done.stdout.splitlines()
    assert "Task eat crashed: its worker process was killed by SIGKILL, out of memory (0.4 GB of 0.4 GB" in words
    assert last == "still here"
