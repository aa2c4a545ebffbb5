"""The names that users rely on. A name that goes missing here is a broken promise."""

from __future__ import annotations

import ast
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
    "ActorReport",
    "CheckpointInfo",
    "CheckpointList",
    "ClusterReport",
    "MemoryReport",
    "MemoryRow",
    "ObjectRef",
    "ObjectRefGenerator",
    "Progress",
    "RemoteFunction",
    "RuntimeContext",
    "SessionContext",
    "WorkerLog",
    "WorkerLogs",
    "__version__",
    "actor",
    "as_completed",
    "available_resources",
    "cancel",
    "chaos",
    "checkpoint",
    "cluster_resources",
    "config",
    "describe_actor",
    "describe_cluster",
    "events",
    "every",
    "exceptions",
    "explain",
    "export_events",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "list_actors",
    "list_checkpoints",
    "list_named_actors",
    "load_events",
    "logs",
    "memory",
    "method",
    "nodes",
    "on",
    "on_event",
    "progress",
    "put",
    "remote",
    "restore",
    "shutdown",
    "timeline",
    "upgrade",
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
        "ipyactors.actor",
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


def loaded_by(statement: str) -> set[str]:
    """Return which modules a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_loads_nothing() -> None:
    ours = {name for name in loaded_by("import ipyactors") if name.startswith("ipyactors")}
    assert ours == {"ipyactors", "ipyactors.ground", "ipyactors.ground.version"}


def test_every_name_of_the_roof_is_there_without_another_import() -> None:
    names = [name for name in ROOF if name != "__version__"]
    ours = loaded_by(f"import ipyactors; [getattr(ipyactors, name) for name in {names!r}]")
    assert {"ipyactors.actor", "ipyactors.exceptions", "ipyactors.util"} <= ours
    heavy = {"numpy", "matplotlib", "IPython", "ipywidgets", "zmq", "psutil", "ipyactors.engines.local"}
    assert not heavy & ours


def test_the_roof_names_one_home_for_each_name_as_type_checkers_see_it() -> None:
    seen = {}
    for node in ast.walk(ast.parse((REPOSITORY / "ipyactors" / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            at_home = node.module if node.module != "ipyactors" else None
            seen |= {alias.name: at_home or f"ipyactors.{alias.name}" for alias in node.names}
    assert seen.items() >= ipyactors._HOMES.items()
    assert sorted([*ipyactors._HOMES, "__version__"]) == sorted(ROOF)


@pytest.mark.parametrize("name", ["plots", "testing"])
def test_modules_that_few_need_are_loaded_when_they_are_asked_for(name: str) -> None:
    program = f"import ipyactors, sys; assert 'ipyactors.{name}' not in sys.modules; print(ipyactors.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"ipyactors.{name}\n"
    assert name in dir(ipyactors)
    assert name not in ipyactors.__all__


def test_what_needs_matplotlib_says_so() -> None:
    program = "import sys; sys.modules['matplotlib'] = None; import ipyactors; ipyactors.plots"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ipyactors.plots needs matplotlib, which is not installed here: pip install" in done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'ipyactors' has no attribute 'gett'"):
        _ = ipyactors.gett
    assert set(ROOF) <= set(dir(ipyactors))


def test_completion_offers_what_is_public_alone() -> None:
    offered = {name for name in dir(ipyactors) if not name.startswith("_")}
    assert offered == {name for name in ROOF if not name.startswith("_")} | {"plots", "testing"}
    assert [name for name in dir(ipyactors.plots) if not name.startswith("_")] == ipyactors.plots.__all__
