"""A start takes as long as its imports. What each process loads for a first small task, and what it must not.

Driver, agent and zygote import at the same time: the first two what they need, the zygote what any worker may need.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_LIMIT_S = 60

_FIRST_TASK = """
import json, sys
import ipyactors

ipyactors.init(num_cpus=1)

@ipyactors.remote
def loaded():
    return list(sys.modules)

print(json.dumps({"worker": ipyactors.get(loaded.remote()), "driver": list(sys.modules)}))
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    return set(run(f"{statement}\nimport sys; print(*sys.modules)").split())


def below(names: set[str], *packages: str) -> list[str]:
    """Return those modules that are one of the packages, or in one."""
    return sorted(name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages))


@pytest.fixture(scope="module")
def first_task() -> dict[str, set[str]]:
    return {process: set(names) for process, names in json.loads(run(_FIRST_TASK)).items()}


def test_a_driver_loads_no_other_role_and_nothing_that_a_first_task_does_not_use(
    first_task: dict[str, set[str]],
) -> None:
    others = ("ipyactors.node", "ipyactors.head", "ipyactors.worker", "ipyactors.notebook", "ipyactors.cli")
    later = ("ipyactors.util", "ipyactors.api.memory", "ipyactors.api.memory_join", "ipyactors.api.memory_report")
    heavy = ("asyncio", "multiprocessing", "ssl", "html", "numpy", "psutil", "click", "rich", "IPython")
    assert below(first_task["driver"], *others, *later, *heavy) == []


def test_a_driver_starts_the_agent_before_it_loads_what_it_needs_itself() -> None:
    before = loaded_by("import ipyactors; ipyactors.init; import ipyactors.engines.starting")
    late = ("zmq", "cloudpickle", "ipyactors.owner.session", "ipyactors.store", "ipyactors.api.definitions", "asyncio")
    assert below(before, *late) == []


def test_a_worker_has_everything_in_memory_that_its_code_may_import(first_task: dict[str, set[str]]) -> None:
    wanted = {"ipyactors.util.queue", "ipyactors.api.memory", "ipyactors.worker.main", "asyncio", "zmq", "cloudpickle"}
    assert wanted <= first_task["worker"]
    assert below(first_task["worker"], "ipyactors.node.agent", "ipyactors.node.store_keeper", "ipyactors.head") == []


def test_an_agent_forks_the_zygote_before_it_loads_its_own_parts() -> None:
    before = loaded_by("import ipyactors.node.main")
    late = ("zmq", "ipyactors.node.agent", "ipyactors.node.store_keeper", "ipyactors.store", "ipyactors.head")
    assert below(before, *late, "ipyactors.api", "ipyactors.owner", "ipyactors.worker", "asyncio") == []


def test_nothing_loads_what_only_checkpoints_elsewhere_need(first_task: dict[str, set[str]]) -> None:
    for loaded in (*first_task.values(), loaded_by("import ipyactors.head.server, ipyactors.owner.kv")):
        assert below(loaded, "fsspec", "paramiko", "s3fs", "aiohttp", "sqlite3") == []


def test_an_agent_and_a_head_load_nothing_of_owners_and_workers() -> None:
    loaded = loaded_by("import ipyactors.node.main, ipyactors.node.agent, ipyactors.head.server")
    others = ("ipyactors.api", "ipyactors.owner", "ipyactors.engines", "ipyactors.worker", "ipyactors.util")
    assert below(loaded, *others, "asyncio", "multiprocessing", "cloudpickle", "psutil", "numpy") == []
