"""The names that users rely on. A name that goes missing here is a broken promise."""

from __future__ import annotations

import importlib
import pathlib
import subprocess
import sys
import tomllib

import pytest

import ipyactors

ROOF = [
    "ActorClass",
    "ActorHandle",
    "MemoryReport",
    "MemoryRow",
    "ObjectRef",
    "ObjectRefGenerator",
    "RemoteFunction",
    "RuntimeContext",
    "SessionContext",
    "__version__",
    "actor",
    "as_completed",
    "available_resources",
    "cancel",
    "cluster_resources",
    "events",
    "exceptions",
    "explain",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "list_actors",
    "list_named_actors",
    "memory",
    "method",
    "nodes",
    "on_event",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "util",
    "wait",
]

REPOSITORY = pathlib.Path(__file__).parents[2]


def test_the_roof() -> None:
    assert sorted(ipyactors.__all__) == sorted(ROOF)


@pytest.mark.parametrize(
    "name",
    [
        "ipyactors",
        "ipyactors.compat.ray",
        "ipyactors.compat.ray.actor",
        "ipyactors.compat.ray.exceptions",
        "ipyactors.compat.ray.util",
        "ipyactors.compat.ray.util.multiprocessing",
        "ipyactors.compat.ray.util.queue",
        "ipyactors.exceptions",
        "ipyactors.testing",
        "ipyactors.util",
        "ipyactors.util.multiprocessing",
    ],
)
def test_all_is_sorted_and_there(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public), public


def test_every_error_is_public() -> None:
    from ipyactors.ground import exceptions as ground

    errors = {name for name, value in vars(ground).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert errors == set(ipyactors.exceptions.__all__)


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert ipyactors.__version__ == project["version"]


def test_the_import_is_light() -> None:
    heavy = ("numpy", "matplotlib", "IPython", "ipywidgets", "zmq", "psutil", "ipyactors.engines.local")
    code = f"import sys, ipyactors; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
