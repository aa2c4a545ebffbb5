"""The house as it is measured: sizes, floors, circles, and what must not be written anywhere."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ipyactors"
FILES = sorted(PACKAGE.rglob("*.py"))

FILE_LINES, CLASS_LINES, CLASS_METHODS, FUNCTION_LINES = 400, 300, 20, 60


def nodes(path: pathlib.Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text()))


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_nothing_is_larger_than_its_ceiling() -> None:
    found = []
    for path in FILES:
        if path.read_text().count("\n") > FILE_LINES:
            found.append(f"{path}: more than {FILE_LINES} lines")
        for node in nodes(path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno} {node.name}: {lines_of(node)} lines")
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) for part in node.body)
                if lines_of(node) > CLASS_LINES or methods > CLASS_METHODS:
                    found.append(f"{path}:{node.lineno} {node.name}: {lines_of(node)} lines, {methods} methods")
    assert not found, "\n".join(found)


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: pathlib.Path, modules: set[str], *, deferred: bool = True) -> Iterator[str]:
    """Yield the modules of ours that a file imports, those for typing included; ``deferred``: also inside functions."""
    everything = list(nodes(path))
    functions = [node for node in everything if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = {id(part) for function in functions for part in ast.walk(function)}
    for node in everything:
        if id(node) in inside and not deferred:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ipyactors"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


def test_there_is_no_import_circle_not_even_for_typing_or_inside_a_function() -> None:
    modules = {module_of(path) for path in FILES}
    arrows = {module_of(path): set(imports_of(path, modules)) for path in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"a circle: {' -> '.join((*trail[trail.index(module) :], module))}"
        if module not in done:
            for other in arrows.get(module, ()):
                visit(other, (*trail, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


def test_nothing_imports_the_roof() -> None:
    modules = {module_of(path) for path in FILES}
    for path in FILES:
        assert "ipyactors" not in set(imports_of(path, modules, deferred=False)), f"{path} imports the roof"


def test_imports_go_down_the_floors() -> None:
    lint = pathlib.Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


_OWNER = ["reactor", "retries", "raised", "outbox", "leases", "borrowing", "calls", "objects", "streams", "state"]
_REBUILDING = ["arguments", "lineage", "losses", "rebuild", "replays", "runs"]
_SEVERAL_NODES = ["head/copies", "head/nodes", "head/settling", "node/membership", "owner/locality"]
_HEAD = [
    "reactor",
    "members",
    "leases",
    "waiting",
    "actors",
    "handles",
    "placement",
    "restarts",
    "tables",
    "describe",
    "kv",
]
_DURABLE = ("disk", "record", "segment", "log", "call_tables", "manifest", "recovery", "actor_log", "blobs", "replays")
_FSCK = ("fsck", "fsck_evidence", "fsck_facts", "fsck_findings", "fsck_report", "routes", "salvage", "stretches")
_ROWS = ("recoveries", "lifeline_rows", "attempt_rows", "checkpoint_rows", "wording")
PURE = [
    *(f"owner/{name}.py" for name in (*_OWNER, *_REBUILDING)),
    *(f"{role}/census.py" for role in ("owner", "head", "node")),
    "owner/ages.py",
    "owner/deadlock.py",
    "owner/endless_waits.py",
    *(f"head/{name}.py" for name in _HEAD),
    *(f"{name}.py" for name in _SEVERAL_NODES),
    "worker/mailbox.py",
    "worker/places.py",
    "worker/running.py",
    "node/reactor.py",
    "node/store_mapped.py",
    "node/store_moves.py",
    "node/store_reactor.py",
    "node/store_room.py",
    "node/store_table.py",
    "node/pulls.py",
    "node/transfer.py",
    "node/serving.py",
    *(f"durable/{name}.py" for name in (*_DURABLE, *_FSCK)),
    "api/trace.py",
    *(f"notebook/plots/{name}.py" for name in _ROWS),
]
IMPURE = {"zmq", "asyncio", "time", "os", "threading", "socket", "subprocess", "select", "signal"}


def test_decisions_import_no_socket_clock_or_process() -> None:
    for name in PURE:
        for node in nodes(PACKAGE / name):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not IMPURE & {part.partition(".")[0] for part in names}, f"{name} imports {names}"


def test_import_is_light() -> None:
    code = "import sys, ipyactors; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"zmq", "numpy", "matplotlib", "IPython", "ipykernel", "ipywidgets"} & set(loaded)


def test_no_file_speaks_of_a_machine_path() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    forbidden = re.compile("|".join((r"/root" + r"/\.pyenv", "/work" + "/main", "/work" + "/shared")))
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".ipynb", ".json", ".cfg", ""} and path.is_file():
            found = forbidden.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found and found.group()}"
